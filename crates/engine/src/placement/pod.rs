//! What placement needs to know of a pod.

use super::affinity::NodeAffinity;
use super::devices::DeviceWish;
use super::pod_affinity::PodAffinity;
use super::resources::Resources;
use super::selector::LabelSelector;
use super::spread::SpreadConstraint;
use super::taints::Toleration;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A port claimed on the node itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// Address; empty or `0.0.0.0` conflicts with every address.
    pub ip: String,
    /// Port.
    pub port: u16,
}

impl HostPort {
    /// Whether both cannot be open on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        let any = |p: &Self| p.ip.is_empty() || p.ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(self) || any(other) || self.ip == other.ip)
    }
}

/// `spec.preemptionPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PreemptionPolicy {
    /// Pods of lower priority may be removed for it.
    #[default]
    LowerPriority,
    /// It waits its turn.
    Never,
}

/// What a pod asks for. Pods of one namespace with equal specs are interchangeable: they are
/// decided from one cached ranking.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodSpec {
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Sum of the containers' requests, raised to the largest init container (or the pod's own
    /// request), plus overhead.
    pub requests: Resources,
    /// The node a pod that is not bound yet asks for by name.
    pub node_name: Option<String>,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// Node affinity.
    pub affinity: NodeAffinity,
    /// Affinity to pods.
    pub pod_affinity: PodAffinity,
    /// Anti-affinity to pods.
    pub pod_anti_affinity: PodAffinity,
    /// Topology spread constraints.
    pub spread: Vec<SpreadConstraint>,
    /// Selector of the pod's Services and its ReplicaSet, StatefulSet or ReplicationController, by
    /// which a pod without constraints is spread softly.
    pub default_spread: Option<LabelSelector>,
    /// Tolerations.
    pub tolerations: Vec<Toleration>,
    /// Host ports.
    pub host_ports: Vec<HostPort>,
    /// Images of all containers.
    pub images: Vec<String>,
    /// Names of the claims the pod mounts (ephemeral volumes included).
    pub claims: Vec<String>,
    /// Claims to devices.
    pub devices: Vec<DeviceWish>,
    /// Priority.
    pub priority: i32,
    /// Whether others may be removed for it.
    pub preemption: PreemptionPolicy,
}

/// A pod: who it is, and what it asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// What it asks for; share it among identical pods.
    pub spec: Arc<PodSpec>,
    /// `status.startTime`: of pods equally important, the one that runs longer is spared.
    pub started: Option<Timestamp>,
    /// Whether it is being deleted.
    pub terminating: bool,
}

impl PodFacts {
    /// A pod of `namespace` that asks for `spec`.
    pub fn new(namespace: &str, name: &str, spec: impl Into<Arc<PodSpec>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            spec: spec.into(),
            started: None,
            terminating: false,
        }
    }

    /// Namespace and name.
    pub fn key(&self) -> PodKey {
        PodKey {
            namespace: Arc::clone(&self.namespace),
            name: Arc::clone(&self.name),
        }
    }
}

/// Namespace and name of a pod.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PodKey {
    /// Namespace.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

impl PodKey {
    /// From text.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for PodKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}
