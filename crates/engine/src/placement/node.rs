//! Nodes and what runs on them.

use super::devices::PoolFacts;
use super::pod::{HostPort, PodFacts, PodKey};
use super::resources::Resources;
use super::shape::ShapeId;
use super::taints::Taint;
use std::collections::BTreeMap;

/// What placement needs to know of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Taints.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// What pods may use.
    pub allocatable: Resources,
    /// How many pods it may run.
    pub max_pods: usize,
    /// Images on the node, by every name, with their sizes in bytes.
    pub images: BTreeMap<String, i64>,
    /// How many volumes of a CSI driver can be attached (`CSINode`), where that is limited.
    pub volume_limits: BTreeMap<String, usize>,
    /// Pools of devices that only this node reaches.
    pub pools: Vec<PoolFacts>,
}

/// A pod on a node.
#[derive(Debug, Clone)]
pub(super) struct Resident {
    pub(super) pod: PodFacts,
    pub(super) shape: ShapeId,
}

/// A node with its load.
#[derive(Debug, Clone, Default)]
pub struct NodeState {
    /// The node.
    pub facts: NodeFacts,
    /// Requests of the pods on it.
    pub used: Resources,
    /// CPU and memory like `used`, but a pod without a request counts 100m and 200 MiB (for scores
    /// only).
    pub used_for_score: Resources,
    residents: BTreeMap<PodKey, Resident>,
    /// Pods for which room is being made here.
    nominated: BTreeMap<PodKey, PodFacts>,
    ports: Vec<HostPort>,
}

impl NodeState {
    /// A node by itself, with these pods on it, as part of no snapshot.
    pub fn alone(facts: NodeFacts, pods: &[PodFacts]) -> Self {
        let mut state = Self {
            facts,
            ..Self::default()
        };
        for pod in pods {
            state.add(Resident {
                pod: pod.clone(),
                shape: ShapeId::NONE,
            });
        }
        state
    }

    /// How many pods run on it.
    pub fn pod_count(&self) -> usize {
        self.residents.len()
    }

    /// The pods on it, by namespace and name.
    pub fn pods(&self) -> impl ExactSizeIterator<Item = &PodFacts> {
        self.residents.values().map(|resident| &resident.pod)
    }

    /// Pods for which room is being made here.
    pub fn nominated(&self) -> impl ExactSizeIterator<Item = &PodFacts> {
        self.nominated.values()
    }

    pub(super) fn residents(&self) -> impl Iterator<Item = &Resident> {
        self.residents.values()
    }

    /// Whether one of the ports is taken here.
    pub(super) fn port_conflict(&self, wanted: &[HostPort]) -> bool {
        wanted
            .iter()
            .any(|w| self.ports.iter().any(|p| p.conflicts(w)))
    }

    pub(super) fn add(&mut self, resident: Resident) {
        let spec = &resident.pod.spec;
        self.used.add(&spec.requests);
        self.used_for_score.add(&spec.requests.for_score());
        self.ports.extend(spec.host_ports.iter().cloned());
        self.residents.insert(resident.pod.key(), resident);
    }

    pub(super) fn remove(&mut self, key: &PodKey) -> Option<Resident> {
        let resident = self.residents.remove(key)?;
        let spec = &resident.pod.spec;
        self.used.subtract(&spec.requests);
        self.used_for_score.subtract(&spec.requests.for_score());
        for port in &spec.host_ports {
            if let Some(at) = self.ports.iter().position(|p| p == port) {
                self.ports.swap_remove(at);
            }
        }
        Some(resident)
    }

    pub(super) fn nominate(&mut self, pod: PodFacts) {
        self.nominated.insert(pod.key(), pod);
    }

    pub(super) fn withdraw(&mut self, key: &PodKey) -> Option<PodFacts> {
        self.nominated.remove(key)
    }

    /// The node as a pod of `priority` finds it: nominated pods at least as important count as
    /// being there already. `None` if there are none.
    pub(super) fn with_nominated(&self, priority: i32) -> Option<Self> {
        let awaited = || {
            self.nominated
                .values()
                .filter(|pod| pod.spec.priority >= priority)
        };
        awaited().next()?;
        let mut state = self.clone();
        for pod in awaited() {
            state.add(Resident {
                pod: pod.clone(),
                shape: ShapeId::NONE,
            });
        }
        Some(state)
    }
}
