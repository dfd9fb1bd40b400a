//! What a provider offers.

use super::error::{ErrorClass, ProviderError};
use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It runs.
    Running,
    /// It is being made.
    Creating,
    /// It is being removed.
    Deleting,
}

/// Why an instance does not come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceProblem {
    /// What kind of failure.
    pub class: ErrorClass,
    /// The provider's code.
    pub code: String,
    /// Its message.
    pub message: String,
}

/// A machine of a group, or the place of one that is awaited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// As `spec.providerID` of its Node.
    pub id: Arc<str>,
    /// State; `None` where the provider does not say.
    pub state: Option<InstanceState>,
    /// Why it does not come.
    pub problem: Option<InstanceProblem>,
}

/// Options a group has of its own; `None` leaves the flag's value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OptionOverrides {
    /// 0–1.
    pub scale_down_utilization_threshold: Option<f64>,
    /// 0–1.
    pub scale_down_gpu_utilization_threshold: Option<f64>,
    /// How long a ready node must be unneeded.
    pub scale_down_unneeded_time: Option<SignedDuration>,
    /// How long an unready node must be unneeded.
    pub scale_down_unready_time: Option<SignedDuration>,
    /// How long an instance may take to become a node.
    pub max_node_provision_time: Option<SignedDuration>,
    /// How long a node may take to become ready.
    pub max_node_startup_time: Option<SignedDuration>,
    /// All nodes or none.
    pub zero_or_max_node_scaling: Option<bool>,
    /// Whether pods of DaemonSets are left out of the utilization.
    pub ignore_daemonsets_utilization: Option<bool>,
}

/// A group as the provider has it now.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeGroup {
    /// Name, unique at the provider.
    pub id: Arc<str>,
    /// Smallest size.
    pub min: usize,
    /// Largest size.
    pub max: usize,
    /// How many machines are asked for.
    pub target: usize,
    /// Machines, also those that are awaited where the provider names them.
    pub instances: Vec<Instance>,
    /// Options of its own.
    pub options: OptionOverrides,
    /// What the provider says of it in one line, for the log.
    pub debug: String,
}

/// What new nodes of a group will be.
#[derive(Debug, Clone, PartialEq)]
pub struct ProviderTemplate {
    /// A v1 Node object: labels, taints, capacity, allocatable.
    pub node: Value,
    /// Price of one node and hour in US dollars.
    pub price_per_hour: Option<f64>,
}

/// A node, by what a provider knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRef {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `spec.providerID`; empty where there is none.
    pub provider_id: Arc<str>,
    /// Labels and annotations, which some providers go by.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
    /// Annotations.
    pub annotations: Vec<(Arc<str>, Arc<str>)>,
}

/// Groups of machines.
#[async_trait]
pub trait NodeProvider: Send + Sync + std::fmt::Debug {
    /// `aws`, `local`, `externalgrpc`, `clusterapi`, `simulated`.
    fn name(&self) -> &'static str;

    /// The groups as they are now; called before each decision. A provider with a dear API answers
    /// from its cache and knows itself when to renew it.
    ///
    /// # Errors
    /// The provider cannot be read; nothing is decided then.
    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError>;

    /// The group of a node; `None` if it is none of this provider's. Answered for what
    /// [`NodeProvider::groups`] last returned.
    ///
    /// # Errors
    /// The provider cannot be read.
    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError>;

    /// What a new node of `group` will be; `None` if the provider cannot say.
    ///
    /// # Errors
    /// The group does not exist, or the provider cannot be read.
    async fn template(&self, group: &str) -> Result<Option<ProviderTemplate>, ProviderError>;

    /// Asks for `delta` more machines.
    ///
    /// # Errors
    /// Above the maximum, or what the provider answers. Nothing was changed then.
    async fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError>;

    /// The same, all or none.
    ///
    /// # Errors
    /// As [`NodeProvider::increase`]; by default that this is not offered.
    async fn increase_atomically(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let message = format!("{} cannot grow {group} by {delta} at once", self.name());
        Err(ProviderError::new(ErrorClass::Unsupported, message))
    }

    /// Removes these machines and lowers the target by as many. Idempotent: a machine that is gone
    /// or going is no error.
    ///
    /// # Errors
    /// Below the minimum, a node of another group, or what the provider answers; some of the
    /// machines may be gone then.
    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError>;

    /// The same, also below the minimum: for machines that never became nodes.
    ///
    /// # Errors
    /// As [`NodeProvider::delete`]; by default that this is not offered.
    async fn force_delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let (name, count) = (self.name(), nodes.len());
        let message = format!("{name} cannot take {count} machines of {group} below its minimum");
        Err(ProviderError::new(ErrorClass::Unsupported, message))
    }

    /// Lowers the target by `delta` machines that do not exist yet.
    ///
    /// # Errors
    /// Existing machines would have to go.
    async fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError>;

    /// Whether machines of `group` differ in what they have: the next one may have less than any
    /// that is there, though no less than its template. Answered for what
    /// [`NodeProvider::groups`] last returned.
    fn is_uneven(&self, _group: &str) -> bool {
        false
    }

    /// The label that nodes with GPUs carry.
    fn gpu_label(&self) -> &'static str {
        ""
    }

    /// Price of one node and hour in US dollars, where the provider knows it.
    fn price(&self, _node: &Value) -> Option<f64> {
        None
    }

    /// Ends what the provider holds open; called once, at the end.
    async fn close(&self) {}

    /// Changes whenever groups or instances may have, so that nobody has to poll; `None` if the
    /// provider cannot tell.
    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}
