//! The shell every controller runs in: caches fed by watches, an ordered work queue, a loop around
//! `reconcile`, typed writes, and the event recorder.
//!
//! ```text
//! watch ──> Cache ──handlers──> Queue ──next──> reconcile(key) ──> writes ──> API server
//!             ^                                                      │
//!             └───────────── own writes are taken in at once ────────┘
//! ```
//!
//! Nothing here iterates a hash map or reads a foreign clock, so a run on a paused runtime is
//! repeatable to the byte.

mod cache;
mod controller;
mod correlate;
mod discovery;
mod doomed;
pub mod election;
mod index;
mod key;
mod meta;
mod queue;
mod recorder;
mod said;
mod write;

pub use cache::{Cache, Cached, Change, Full};
pub use controller::{Action, Reconcile, run, run_until};
pub use discovery::{Remaining, Served, ServedKind};
pub use index::Index;
pub use key::ObjectKey;
pub use meta::{Meta, Owner};
pub use queue::{Queue, QueueStats};
pub use recorder::{EventKind, Recorder, Reference};
pub use write::{Deletion, WriteError, Writer};

pub(crate) use controller::chain;
pub(crate) use doomed::Doomed;
pub(crate) use meta::wire;
pub(crate) use said::Said;
pub(crate) use write::null_if_empty;
