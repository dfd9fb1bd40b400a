//! The horizontal autoscaler's decision, exactly as Kubernetes' own controller makes it, with the
//! steps that led to it.
//!
//! [`decide`] takes everything it depends on as one [`Observed`] value and returns a [`Decision`]:
//! the count to write, the status, conditions and events to show, the memory for the next pass and
//! the [`Step`]s. [`render`] turns the steps into sentences, [`replay`] recomputes the answer from
//! them alone.
//!
//! ```text
//! metrics ─► proposals ─► largest ─► stabilise ─► limit ─► decision
//!            (per_pod,    (decision)  (stabilize)  (limit)   + trace
//!             total)
//! ```

mod decision;
pub mod hold;
pub mod limit;
pub mod memory;
mod metric;
pub mod milli;
pub mod observed;
mod outcome;
mod per_pod;
pub mod pod;
mod replay;
pub mod schedule;
mod sentence;
pub mod spec;
pub mod stabilize;
pub mod status;
mod tolerance;
mod total;
pub mod trace;
mod wish;

pub use decision::{Decision, decide, decide_held, propose};
pub use hold::ByHand;
pub use memory::Memory;
pub use observed::{Observed, Reading, Sample, Scale, Selection, Settings};
pub use outcome::{same_outcome, summary, without_numbers};
pub use per_pod::Answer;
pub use replay::replay;
pub use schedule::Schedule;
pub use sentence::render;
pub use spec::Spec;
pub use status::{Condition, Event, EventKind, Status};
pub use tolerance::Band;
pub use trace::Step;
pub use wish::held_back;
