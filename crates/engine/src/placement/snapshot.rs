//! Nodes and what runs on them.

use super::affinity::NodeAffinity;
use super::filters::{Taint, Toleration};
use super::resources::Resources;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
}

/// A port claimed on the node itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Address; `0.0.0.0` conflicts with every address.
    pub ip: String,
    /// Port.
    pub port: u16,
}

impl HostPort {
    fn conflicts(&self, other: &Self) -> bool {
        let any = |p: &Self| p.ip.is_empty() || p.ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(self) || any(other) || self.ip == other.ip)
    }
}

/// What placement needs to know of a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Sum of the containers' requests, raised to the largest init container, plus overhead.
    pub requests: Resources,
    /// `spec.nodeName` wish of the pod itself (a pod may name its node).
    pub node_name: Option<String>,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// Node affinity.
    pub affinity: NodeAffinity,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Host ports.
    pub host_ports: Vec<HostPort>,
    /// Pods of one group are spread over nodes: the controlling owner's uid.
    pub group: Option<Arc<str>>,
    /// Priority.
    pub priority: i32,
}

/// A node with its load.
#[derive(Debug, Clone, Default)]
pub struct NodeState {
    /// The node.
    pub facts: NodeFacts,
    /// Requests of the pods on it.
    pub used: Resources,
    /// Like `used`, but a pod without a request counts 100m and 200 MiB (for scores only).
    pub used_for_score: Resources,
    /// How many pods run on it.
    pub pods: usize,
    /// Pods per group.
    pub groups: BTreeMap<Arc<str>, usize>,
    ports: Vec<HostPort>,
}

impl NodeState {
    /// Whether one of the ports is taken here.
    pub(super) fn port_conflict(&self, wanted: &[HostPort]) -> bool {
        wanted
            .iter()
            .any(|w| self.ports.iter().any(|p| p.conflicts(w)))
    }

    fn add(&mut self, pod: &PodFacts) {
        self.used.add(&pod.requests);
        self.used_for_score.add(&score_requests(&pod.requests));
        self.pods += 1;
        self.ports.extend(pod.host_ports.iter().cloned());
        if let Some(group) = &pod.group {
            *self.groups.entry(Arc::clone(group)).or_insert(0) += 1;
        }
    }

    fn remove(&mut self, pod: &PodFacts) {
        self.used.subtract(&pod.requests);
        self.used_for_score.subtract(&score_requests(&pod.requests));
        self.pods = self.pods.saturating_sub(1);
        for port in &pod.host_ports {
            if let Some(at) = self.ports.iter().position(|p| p == port) {
                self.ports.swap_remove(at);
            }
        }
        let Some(group) = &pod.group else { return };
        if let Some(count) = self.groups.get_mut(group) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.groups.remove(group);
            }
        }
    }
}

/// Requests as scores see them: an absent one counts 100m / 200 MiB.
pub(super) fn score_requests(requests: &Resources) -> Resources {
    let or = |amount: i64, default: i64| if amount > 0 { amount } else { default };
    Resources::of(
        or(requests.cpu_milli, 100),
        or(requests.memory_bytes, 200 << 20),
    )
}

/// All nodes with their load; changed event by event, never rebuilt.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    nodes: BTreeMap<String, NodeState>,
    placed: BTreeMap<(String, String), (String, PodFacts)>,
    waiting_for_node: BTreeMap<String, BTreeSet<(String, String)>>,
}

impl Snapshot {
    /// The nodes, by name.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &NodeState> {
        self.nodes.values()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&NodeState> {
        self.nodes.get(name)
    }

    /// Adds a node or takes over its new facts; its load stays.
    pub fn set_node(&mut self, facts: NodeFacts) {
        let early = self
            .waiting_for_node
            .remove(&facts.name)
            .unwrap_or_default();
        let state = self.nodes.entry(facts.name.clone()).or_default();
        state.facts = facts;
        for key in early {
            if let Some((_, pod)) = self.placed.get(&key) {
                state.add(pod);
            }
        }
    }

    /// Forgets a node; its pods count again should it come back.
    pub fn remove_node(&mut self, name: &str) {
        if self.nodes.remove(name).is_none() {
            return;
        }
        let orphans: BTreeSet<_> = self
            .placed
            .iter()
            .filter(|(_, (node, _))| node == name)
            .map(|(key, _)| key.clone())
            .collect();
        if !orphans.is_empty() {
            self.waiting_for_node.insert(name.to_owned(), orphans);
        }
    }

    /// Counts a pod on a node (replacing what was known of it).
    pub fn place(&mut self, node: &str, pod: PodFacts) {
        let key = (pod.namespace.clone(), pod.name.clone());
        self.displace(&key.0, &key.1);
        match self.nodes.get_mut(node) {
            Some(state) => state.add(&pod),
            None => {
                self.waiting_for_node
                    .entry(node.to_owned())
                    .or_default()
                    .insert(key.clone());
            }
        }
        self.placed.insert(key, (node.to_owned(), pod));
    }

    /// Stops counting a pod. Returns the node it was counted on.
    pub fn displace(&mut self, namespace: &str, name: &str) -> Option<String> {
        let key = (namespace.to_owned(), name.to_owned());
        let (node, pod) = self.placed.remove(&key)?;
        if let Some(state) = self.nodes.get_mut(&node) {
            state.remove(&pod);
        }
        if let Some(waiting) = self.waiting_for_node.get_mut(&node) {
            waiting.remove(&key);
        }
        Some(node)
    }
}
