//! Usage from another server of `metrics.k8s.io`: one list a period for all pods, instead of one a
//! question.

mod poller;
mod state;
#[cfg(test)]
mod tests;
mod wire;

pub use poller::{PollOptions, Poller};
