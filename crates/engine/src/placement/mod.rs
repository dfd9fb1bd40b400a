//! Where a pod fits: one implementation of the scheduler's rules, for the scheduler and for
//! node autoscaling.
//!
//! [`Snapshot`] holds the nodes with what runs on them and is changed pod by pod; [`place`] filters
//! and scores every node for one pod and returns the choice with the reasons of all others.
//!
//! Facts: reference/embedded-cluster.md §16 (plugins, weights, reason strings).

mod affinity;
mod decision;
mod filters;
mod resources;
mod scores;
mod snapshot;

pub use affinity::{NodeAffinity, NodeTerm, Operator, PreferredTerm, Requirement};
pub use decision::{Candidate, Placement, Refusal, Refused, place, render};
pub use filters::{Effect, Taint, Toleration, TolerationOperator};
pub use resources::Resources;
pub use snapshot::{HostPort, NodeFacts, NodeState, PodFacts, Snapshot};
