//! The groups as a provider's.

use super::{ClusterApi, scalable, staying, template};
use async_trait::async_trait;
use plimsoll_api::nodegroup::{
    ErrorClass, NodeGroup, NodeProvider, NodeRef, ProviderError, ProviderTemplate,
};
use std::sync::Arc;
use tokio::sync::watch;

#[async_trait]
impl NodeProvider for ClusterApi {
    fn name(&self) -> &'static str {
        "clusterapi"
    }

    async fn groups(&self) -> Result<Vec<NodeGroup>, ProviderError> {
        let seen = self.look().await?;
        self.tidy(&seen).await;
        let told = seen.groups.values().map(|group| {
            let mut told = group.told(seen.instances(group));
            if seen.is_bare_pool(group) {
                // Departs: no node of it is drained in vain.
                told.min = told.min.max(told.target);
            }
            told
        });
        Ok(told.collect())
    }

    async fn group_of(&self, node: &NodeRef) -> Result<Option<Arc<str>>, ProviderError> {
        let seen = self.look().await?;
        Ok(seen.group_of(node, &self.settings.group))
    }

    async fn template(&self, group: &str) -> Result<Option<ProviderTemplate>, ProviderError> {
        let seen = self.look().await?;
        let group = seen.group(group)?;
        let capacity = match template::infrastructure(&group.object) {
            Some(reference) => self.access.capacity(&group.source, &reference).await?,
            None => None,
        };
        let node = template::node(group, capacity.as_ref(), &self.settings);
        Ok(node.map(|node| ProviderTemplate {
            node,
            price_per_hour: None,
        }))
    }

    async fn increase(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let seen = self.listed().await?;
        let group = seen.group(group)?;
        let resize = |size: usize| {
            let wanted = size.saturating_add(delta);
            if delta > 0 && wanted <= group.max {
                return Ok(wanted);
            }
            Err(scalable::too_large(group, wanted))
        };
        let done = self.access.rescale(&group.source, resize).await;
        self.forget();
        done
    }

    async fn increase_atomically(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        // One write of the scale.
        self.increase(group, delta).await
    }

    async fn delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        self.remove(group, nodes, true).await
    }

    async fn force_delete(&self, group: &str, nodes: &[NodeRef]) -> Result<(), ProviderError> {
        self.remove(group, nodes, false).await
    }

    async fn decrease_target(&self, group: &str, delta: usize) -> Result<(), ProviderError> {
        let seen = self.listed().await?;
        let found = seen.group(group)?;
        let living = seen.living(found);
        if found.replicas.saturating_sub(living) < delta {
            let message = format!(
                "{group} cannot give up {delta} machine(s): {living} of {} are there",
                found.replicas
            );
            return Err(ProviderError::new(ErrorClass::Invalid, message));
        }
        let left = found.replicas - delta;
        if left < found.min {
            return Err(scalable::too_small(found, left));
        }
        let floor = living.max(found.min);
        // Departs: upstream lowers the number only; the owner might take a machine with a node then.
        let absent = seen.of(group).filter(|m| !m.is_there() && !m.deleting);
        let mut absent = staying(absent, seen.surplus(found));
        absent.truncate(delta);
        let unborn = delta - absent.len();
        if unborn > 0 {
            let resize = |size: usize| Ok(size.saturating_sub(unborn).max(floor).min(size));
            self.access.rescale(&found.source, resize).await?;
        }
        if absent.is_empty() {
            self.forget();
            return Ok(());
        }
        self.shrink(found, &absent, floor).await
    }

    fn gpu_label(&self) -> &'static str {
        "cluster-api/accelerator"
    }

    async fn close(&self) {
        self.watching.stop();
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        Some(self.watching.changes())
    }
}
