//! Node groups: what a provider of machines offers to the node autoscaler.
//!
//! A [`NodeProvider`] knows groups of machines, changes how many there are, and removes named ones.
//! It never touches Node objects, taints or pods.
//!
//! Facts: reference/cluster-autoscaler.md §13.

mod error;
mod expander;
mod provider;

pub use error::{ErrorClass, ProviderError};
pub use expander::{ExpanderService, OfferedOption};
pub use provider::{
    Instance, InstanceProblem, InstanceState, NodeGroup, NodeProvider, NodeRef, OptionOverrides,
    ProviderTemplate,
};
