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
mod explanation;
mod metrics;
mod observe;
mod options;
mod registry;
mod shell;
mod view;
pub mod wire;

pub use explanation::Explanations;
pub use metrics::Metrics;
pub use options::{Options, gated};
pub use shell::{Horizontal, Signals, control};
