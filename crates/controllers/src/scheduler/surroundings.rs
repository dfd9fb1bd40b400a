//! What others say about a pod (its Services, its controller) and about a node (its CSI drivers).

use super::{CsiNode, Scheduler, facts};
use crate::pods::{PodView, label_key};
use crate::runtime::Change;
use plimsoll_engine::placement::{LabelSelector, PodSpec};
use std::collections::BTreeMap;

impl Scheduler {
    /// What the pod asks for.
    pub(super) fn spec_of(&self, pod: &PodView) -> PodSpec {
        let own = pod.placement.topology_spread_constraints.as_ref();
        // A pod with constraints of its own is not spread by default.
        let default = own.is_none().then(|| self.default_spread(pod));
        facts::spec_of(pod, default.flatten())
    }

    /// Selects the pod's like: what all its Services and its ReplicaSet select.
    fn default_spread(&self, pod: &PodView) -> Option<LabelSelector> {
        let namespace = pod.meta.namespace();
        let mut selector = LabelSelector::default();
        let mut found = false;
        for (key, value) in &pod.meta.labels {
            let services = self
                .services_by_label
                .get(&label_key(namespace, key, value));
            let selectors = services
                .iter()
                .filter_map(|service| service.selector.as_ref());
            for own in selectors.filter(|selector| selector.matches(&pod.meta.labels)) {
                found = true;
                selector
                    .requirements
                    .extend(facts::selector(own).requirements);
            }
        }
        let owner = pod.meta.controller();
        let owner = owner.filter(|owner| &*owner.kind == "ReplicaSet");
        let set = owner.and_then(|owner| self.caches.replica_sets.find(namespace, &owner.name));
        if let Some(own) = set.as_ref().and_then(|set| set.selector.as_ref()) {
            found = true;
            selector
                .requirements
                .extend(facts::selector(own).requirements);
        }
        selector.requirements.sort();
        selector.requirements.dedup();
        found.then_some(selector)
    }

    /// How many volumes of each driver can be attached to a node.
    pub(super) fn volume_limits(&self, node: &str) -> BTreeMap<String, usize> {
        let Some(known) = self.csi_nodes.find("", node) else {
            return BTreeMap::new();
        };
        let drivers = known.object.spec.drivers.iter();
        let limits = drivers.filter_map(|driver| {
            let count = driver.allocatable.as_ref()?.count?;
            Some((driver.name.clone(), usize::try_from(count).unwrap_or(0)))
        });
        limits.collect()
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
