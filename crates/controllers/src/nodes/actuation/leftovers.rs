//! What an earlier life of the program, or another autoscaler, had begun and not finished.

use super::Shared;
use super::course::reference;
use super::deleting::silent;
use super::taint;
use crate::pods::NodeView;
use plimsoll_api::nodegroup::{InstanceState, ProviderError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A node with something left on it.
pub(super) struct Leftover {
    pub(super) node: Arc<NodeView>,
    pub(super) group: Arc<str>,
    /// Whether the provider is removing its machine.
    pub(super) leaves: bool,
}

impl Shared {
    /// Finds nodes of the provider's groups that are marked and not under way.
    ///
    /// # Errors
    /// The provider cannot be read: then nobody knows which nodes are its.
    pub(super) async fn leftovers(&self) -> Result<Vec<Leftover>, ProviderError> {
        let mut marked = Vec::new();
        let no_soft = self.settings.taints.soft_count == 0;
        self.context.caches.nodes.for_each(|node| {
            if taint::is_marked(node) || no_soft && taint::is_candidate(node) {
                marked.push(Arc::clone(node));
            }
        });
        marked.retain(|node| !self.ledger.is_known(&node.meta.key.name));
        if marked.is_empty() {
            return Ok(Vec::new());
        }
        let leaving = self.leaving().await?;
        let mut leftovers = Vec::new();
        for node in marked {
            let reference = reference(&node);
            let group = self.provider.group_of(&reference);
            let limit = self.settings.provider_timeout;
            let group = tokio::time::timeout(limit, group).await;
            let Some(group) = group.unwrap_or_else(|_| Err(silent(limit)))? else {
                continue;
            };
            leftovers.push(Leftover {
                leaves: taint::is_marked(&node) && leaving.contains(&node.provider_id),
                node,
                group,
            });
        }
        Ok(leftovers)
    }

    /// Machines that the provider is removing.
    pub(super) async fn leaving(&self) -> Result<BTreeSet<Arc<str>>, ProviderError> {
        let limit = self.settings.provider_timeout;
        let groups = tokio::time::timeout(limit, self.provider.groups()).await;
        let groups = groups.unwrap_or_else(|_| Err(silent(limit)))?;
        let instances = groups.into_iter().flat_map(|group| group.instances);
        let leaving = instances.filter(|one| one.state == Some(InstanceState::Deleting));
        Ok(leaving.map(|one| one.id).collect())
    }

    /// Takes from a node what is left on it.
    pub(super) async fn clean(&self, leftover: &Leftover) {
        let node = &leftover.node;
        let name = &node.meta.key.name;
        if taint::is_marked(node) {
            self.release(name, &node.meta.uid).await;
            self.told.cleaned(name);
        }
        if self.settings.taints.soft_count == 0 {
            self.marker.insist(name, taint::not_candidate).await;
        }
    }
}
