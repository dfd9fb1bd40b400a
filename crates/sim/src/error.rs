//! What can keep a scenario from being run.

use plimsoll_apiserver::pki::PkiError;
use plimsoll_apiserver::store::StoreError;
use plimsoll_cluster::StartError;
use plimsoll_node::agent::AgentError;
use plimsoll_sources::nodes::fleet::MachineError;

/// Why a scenario was not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// It makes no sense.
    #[error("scenario: {0}")]
    Scenario(String),
    /// Called inside an asynchronous runtime, which would have to wait for virtual time.
    #[error("a scenario cannot be run inside an asynchronous runtime")]
    Nested,
    /// No runtime could be made.
    #[error("no runtime for virtual time")]
    Runtime(#[source] std::io::Error),
    /// The store in memory could not be made.
    #[error("no store in memory")]
    Store(#[source] StoreError),
    /// No key for service-account tokens could be made.
    #[error("no key for tokens")]
    Key(#[source] PkiError),
    /// The control plane did not start.
    #[error("the control plane did not start")]
    Start(#[source] StartError),
    /// The nodes did not start.
    #[error("the nodes did not start")]
    Nodes(#[source] AgentError),
    /// The machines of the node groups could not be made.
    #[error("the machines of the node groups were not made")]
    Machines(#[source] MachineError),
    /// A kind of custom objects could not be defined.
    #[error("a kind could not be defined")]
    Define(#[source] kube::Error),
    /// A manifest is not an object of a kind that is served.
    #[error("manifest {index}: {why}")]
    Manifest {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong.
        why: String,
    },
    /// The API server refused a manifest.
    #[error("manifest {index} was refused")]
    Refused {
        /// Its place in the list, from 0.
        index: usize,
        /// Why.
        source: kube::Error,
    },
}
