//! Machines that never became nodes, and targets that nothing fulfils.

use super::Shared;
use super::deleting::silent;
use plimsoll_api::nodegroup::{ErrorClass, NodeGroup, NodeRef, ProviderError};
use std::sync::Arc;

/// Why a machine without a node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwanted {
    /// It has not registered in time.
    Unregistered,
    /// The provider says that it could not be made.
    Failed,
}

/// Whether a group may be shrunk below its minimum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// It may not: what is too many stays.
    Keep,
    /// It may (`--force-delete-unregistered-nodes`, `--force-delete-failed-nodes`).
    Ignore,
}

impl Shared {
    /// Removes machines of a group that are no nodes; answers how many went.
    pub(super) async fn delete_instances(
        &self,
        group: &NodeGroup,
        ids: &[Arc<str>],
        (why, floor): (Unwanted, Floor),
    ) -> Result<usize, ProviderError> {
        let may = match floor {
            Floor::Keep => self.above_minimum(group),
            Floor::Ignore => ids.len(),
        };
        let nodes: Vec<NodeRef> = ids.iter().take(may).map(placeholder).collect();
        let kept = ids.len() - nodes.len();
        if kept > 0 {
            tracing::warn!(
                group = &*group.id,
                kept,
                min = group.min,
                "node group min size reached, skipping unregistered node removal"
            );
        }
        if nodes.is_empty() {
            return Ok(0);
        }
        let outcome = match floor {
            Floor::Keep => self.call_delete(&group.id, &nodes).await,
            Floor::Ignore => self.call_force_delete(&group.id, &nodes).await,
        };
        self.say(why, &nodes, outcome.as_ref().err());
        outcome.map(|()| nodes.len())
    }

    /// How many machines a group can lose, beside those that are going.
    fn above_minimum(&self, group: &NodeGroup) -> usize {
        let going = self.deletions_in(&group.id);
        group.target.saturating_sub(group.min).saturating_sub(going)
    }

    async fn call_force_delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        let limit = self.settings.provider_timeout;
        let call = self.provider.force_delete(group, nodes);
        let answer = tokio::time::timeout(limit, call).await;
        match answer.unwrap_or_else(|_| Err(silent(limit))) {
            // As upstream: a provider that knows no force is asked plainly.
            Err(error) if error.class == ErrorClass::Unsupported => {
                self.call_delete(group, nodes).await
            }
            answer => answer,
        }
    }

    fn say(&self, why: Unwanted, nodes: &[NodeRef], error: Option<&ProviderError>) {
        for node in nodes {
            let name = &node.name;
            match (why, error) {
                (Unwanted::Unregistered, None) => {
                    let message = format!("Removed unregistered node {name}");
                    self.told.note("DeleteUnregistered", message);
                }
                (Unwanted::Unregistered, Some(error)) => {
                    let message = format!("Failed to remove node {name}: {error}");
                    self.told.trouble("DeleteUnregisteredFailed", message);
                }
                (Unwanted::Failed, None) => {
                    tracing::info!("Deleted node {name} that could not be created");
                }
                (Unwanted::Failed, Some(error)) => {
                    tracing::warn!(
                        "Failed to delete node {name} that could not be created: {error}"
                    );
                }
            }
        }
    }

    /// Lowers a group's target by what does not exist; answers by how much.
    pub(super) async fn revert_target(
        &self,
        group: &NodeGroup,
        existing: usize,
    ) -> Result<usize, ProviderError> {
        let delta = group.target.saturating_sub(existing);
        if delta == 0 {
            return Ok(0);
        }
        let id = &group.id;
        let limit = self.settings.provider_timeout;
        let call = self.provider.decrease_target(id, delta);
        let answer = tokio::time::timeout(limit, call).await;
        match answer.unwrap_or_else(|_| Err(silent(limit))) {
            Ok(()) => {
                tracing::info!("Decreased size of {id} from {} to {existing}", group.target);
                Ok(delta)
            }
            Err(error) => {
                let message = format!("Failed to decrease size of {id} by {delta}: {error}");
                self.told.trouble("FailedToRevertScaleUp", message);
                Err(error)
            }
        }
    }
}

/// A machine without a node goes by its id.
fn placeholder(id: &Arc<str>) -> NodeRef {
    NodeRef {
        name: Arc::clone(id),
        provider_id: Arc::clone(id),
        labels: Vec::new(),
        annotations: Vec::new(),
    }
}
