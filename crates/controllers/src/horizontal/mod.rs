//! The horizontal autoscaler's shell: it watches, lets [`plimsoll_engine::horizontal`] decide, and
//! writes the difference.
//!
//! ```text
//! HPAs, pods, workloads ──changes──┐
//! usage samples ───────────────────┼──► Queue ──► observe ──► decide ──► scale, status, events
//! sync period ─────────────────────┘                             └─────► explanations
//! ```
//!
//! Nothing is listed per pass: pods are found through the label index of the shared caches'
//! runtime, autoscalers through the label that their selector names.

mod apply;
mod ask;
mod explanation;
mod findings;
mod key;
pub(crate) mod mapping;
mod metrics;
mod observe;
mod options;
mod outside;
mod persist;
mod pod_autoscaler;
mod recall;
mod record;
mod registry;
mod running;
mod shell;
mod view;
pub mod wire;
mod wishing;

pub use explanation::{Explanations, describe};
pub use key::{ScalerKey, ScalerKind};
pub use metrics::{Metrics, Pass};
pub use options::{Elsewhere, MemoryPlace, OUTSIDE_STALENESS, Options, STALENESS, Scope, gated};
pub use plimsoll_engine::horizontal::hold;
pub use running::{Horizontal, Signals, control};
