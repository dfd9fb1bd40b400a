//! What others say about a pod (its Services, its controller) and about a node (its CSI drivers).

use super::{CsiNode, Scheduler};
use crate::facts;
use crate::pods::{PodView, ServiceView, label_key};
use crate::runtime::Change;
use crate::runtime::Full;
use k8s_openapi::api::storage::v1::CSINode;
use plimsoll_engine::placement::{LabelSelector, PodSpec, Requirement};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Scheduler {
    /// What the pod asks for.
    pub(super) fn spec_of(&self, pod: &PodView) -> PodSpec {
        let own = pod.placement.topology_spread_constraints.as_ref();
        // A pod with constraints of its own is not spread by default.
        let default = own.is_none().then(|| self.default_spread(pod));
        facts::spec_of(pod, default.flatten())
    }

    /// Selects the pod's like: what all its Services and its controller select.
    fn default_spread(&self, pod: &PodView) -> Option<LabelSelector> {
        let namespace = pod.meta.namespace();
        let labels = pod.meta.labels.iter();
        let services: Vec<Arc<ServiceView>> = labels
            .flat_map(|(key, value)| {
                let key = label_key(namespace, key, value);
                self.services_by_label.get(&key)
            })
            .collect();
        like(
            pod,
            services.iter().map(|service| &**service),
            self.selector_of_owner(pod),
        )
    }

    fn selector_of_owner(&self, pod: &PodView) -> Option<LabelSelector> {
        let owner = pod.meta.controller()?;
        let (namespace, name, caches) = (pod.meta.namespace(), &*owner.name, &self.caches);
        match &*owner.kind {
            "ReplicaSet" => {
                let set = caches.replica_sets.find(namespace, name)?;
                set.selector.as_ref().map(facts::selector)
            }
            "StatefulSet" => {
                let set = caches.stateful_sets.find(namespace, name)?;
                set.selector.as_ref().map(facts::selector)
            }
            "ReplicationController" => {
                let controller = caches.replication_controllers.find(namespace, name)?;
                controller.0.selector.as_ref().map(facts::selector)
            }
            _ => None,
        }
    }

    /// How many volumes of each driver can be attached to a node.
    pub(super) fn volume_limits(&self, node: &str) -> BTreeMap<String, usize> {
        let known = self.csi_nodes.find("", node);
        known.map(|known| limits(&known)).unwrap_or_default()
    }

    /// What can be attached to a node changed.
    pub(super) fn csi_node_changed(&self, change: &Change<CsiNode>) {
        if let Some(node) = self.caches.nodes.find("", &change.key.name) {
            self.node_changed(&Change {
                key: change.key.clone(),
                old: None,
                new: Some(node),
            });
        }
    }
}

/// Selects a pod's like: what those of the Services that select it and its controller select.
pub(super) fn like<'a>(
    pod: &PodView,
    services: impl Iterator<Item = &'a ServiceView>,
    owner: Option<LabelSelector>,
) -> Option<LabelSelector> {
    let selectors = services.filter_map(|service| service.selector.as_ref());
    let own = selectors.filter(|selector| selector.matches(&pod.meta.labels));
    let all: Vec<LabelSelector> = own.map(facts::selector).chain(owner).collect();
    if all.is_empty() {
        return None;
    }
    let requirements = all.into_iter().flat_map(|selector| selector.requirements);
    let mut requirements: Vec<Requirement> = requirements.collect();
    requirements.sort();
    requirements.dedup();
    Some(LabelSelector { requirements })
}

/// How many volumes of each driver can be attached.
pub(crate) fn limits(node: &Full<CSINode>) -> BTreeMap<String, usize> {
    let drivers = node.object.spec.drivers.iter();
    let limits = drivers.filter_map(|driver| {
        let count = driver.allocatable.as_ref()?.count?;
        Some((driver.name.clone(), usize::try_from(count).unwrap_or(0)))
    });
    limits.collect()
}
