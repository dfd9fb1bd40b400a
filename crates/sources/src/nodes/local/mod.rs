//! Nodes of the embedded cluster, in groups.

use super::fleet::{Conduct, Fate, Fleet, Floor, GPU_LABEL, GroupConfig, MachineError, Machines};
use async_trait::async_trait;
use plimsoll_api::nodegroup::{NodeGroup, NodeProvider, NodeRef, ProviderError, ProviderTemplate};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::watch;

/// Groups of embedded nodes: ordered machines join after the boot time of their group.
#[derive(Debug)]
pub struct Local {
    fleet: Fleet,
}

/// Machines that come when they should.
#[derive(Debug)]
struct Honest;

impl Conduct for Honest {
    fn fate(&self, group: &GroupConfig) -> Fate {
        Fate::Boots(group.boot)
    }
}

impl Local {
    /// Groups without machines yet.
    pub fn new(groups: impl IntoIterator<Item = GroupConfig>, machines: Arc<dyn Machines>) -> Self {
        let fleet = Fleet::new(groups, machines, Arc::new(Honest));
        Self { fleet }
    }

    /// See [`Fleet::start`].
    ///
    /// # Errors
    /// The first machine that cannot be made.
    pub async fn start(&self, existing: &[Arc<str>]) -> Result<Vec<Arc<str>>, MachineError> {
        self.fleet.start(existing).await
    }
}

#[async_trait]
impl NodeProvider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        Ok(self.fleet.groups())
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        Ok(self.fleet.group_of(node))
    }

    async fn template(&self, group: &str) -> Result<Option<ProviderTemplate>, ProviderError> {
        self.fleet.template(group).map(Some)
    }

    async fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        self.fleet.increase(group, delta)
    }

    async fn increase_atomically(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        self.fleet.increase(group, delta)
    }

    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        self.fleet.delete(group, nodes, Floor::Minimum)
    }

    async fn force_delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        self.fleet.delete(group, nodes, Floor::None)
    }

    async fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        self.fleet.decrease_target(group, delta)
    }

    fn gpu_label(&self) -> &'static str {
        GPU_LABEL
    }

    fn price(&self, node: &Value) -> Option<f64> {
        self.fleet.price(node)
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.fleet.changes())
    }

    async fn close(&self) {
        self.fleet.close();
    }
}
