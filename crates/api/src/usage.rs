//! The newest resource usage of nodes and pods, shared by who measures (node agents), who serves
//! (`metrics.k8s.io`) and who decides (the autoscalers).

use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

/// What one container used over a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container's name in the pod.
    pub name: Arc<str>,
    /// Average CPU over the window, in nanocores (10⁹ = one core).
    pub cpu_nano: u64,
    /// Working set at the end of the window, in bytes.
    pub memory_bytes: u64,
}

/// One pod's usage over a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodUsage {
    /// End of the window.
    pub timestamp: Timestamp,
    /// Length of the window, in milliseconds.
    pub window_ms: u32,
    /// Every running container that has been measured.
    pub containers: Box<[ContainerUsage]>,
}

/// One node's usage over a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUsage {
    /// End of the window.
    pub timestamp: Timestamp,
    /// Length of the window, in milliseconds.
    pub window_ms: u32,
    /// Average CPU over the window, in nanocores.
    pub cpu_nano: u64,
    /// Working set at the end of the window, in bytes.
    pub memory_bytes: u64,
}

/// (namespace, pod name).
pub type PodName = (Arc<str>, Arc<str>);

/// One round of measurement. A pod or node that is gone is sent with `None`.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Pods measured or gone.
    pub pods: Vec<(PodName, Option<PodUsage>)>,
    /// Nodes measured or gone.
    pub nodes: Vec<(Arc<str>, Option<NodeUsage>)>,
}

#[derive(Debug, Default)]
struct Inner {
    unavailable: Option<Arc<str>>,
    /// Only ever looked up, for every pod and every round: by hash.
    pods: HashMap<PodName, Arc<PodUsage>>,
    nodes: BTreeMap<Arc<str>, Arc<NodeUsage>>,
    silent: BTreeMap<Arc<str>, Arc<str>>,
}

/// The newest usage per pod and node. Clones share the same table.
#[derive(Debug, Clone, Default)]
pub struct UsageStore(Arc<RwLock<Inner>>);

impl UsageStore {
    /// Notes that nothing can be measured at present, and why; `None` once it can. What was measured
    /// before stays readable.
    pub fn set_unavailable(&self, why: Option<Arc<str>>) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .unavailable = why;
    }

    /// Why nothing can be measured at present.
    pub fn unavailable(&self) -> Option<Arc<str>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .unavailable
            .clone()
    }

    /// Takes in one round; older samples of the same objects are replaced.
    pub fn apply(&self, samples: &Samples) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (name, usage) in &samples.pods {
            match usage {
                Some(usage) => drop(inner.pods.insert(name.clone(), Arc::new(usage.clone()))),
                None => drop(inner.pods.remove(name)),
            }
        }
        for (name, usage) in &samples.nodes {
            match usage {
                Some(usage) => drop(
                    inner
                        .nodes
                        .insert(Arc::clone(name), Arc::new(usage.clone())),
                ),
                None => drop(inner.nodes.remove(name)),
            }
        }
    }

    /// One pod's newest usage.
    pub fn pod(&self, name: &PodName) -> Option<Arc<PodUsage>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .pods
            .get(name)
            .cloned()
    }

    /// One node's newest usage.
    pub fn node(&self, name: &str) -> Option<Arc<NodeUsage>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .nodes
            .get(name)
            .cloned()
    }

    /// What to apply to forget everything.
    pub fn gone(&self) -> Samples {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Samples {
            pods: inner.pods.keys().map(|name| (name.clone(), None)).collect(),
            nodes: inner
                .nodes
                .keys()
                .map(|name| (Arc::clone(name), None))
                .collect(),
        }
    }

    /// Says why one node is not measured, or with `None` that it is again.
    pub fn set_silent(&self, node: &Arc<str>, why: Option<&str>) {
        let mut inner = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => drop(inner.silent.insert(Arc::clone(node), why.into())),
            None => drop(inner.silent.remove(node)),
        }
    }

    /// Why a node is not measured; `None` for one that is, or that nobody knows.
    pub fn silent(&self, node: &str) -> Option<Arc<str>> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        inner.silent.get(node).cloned()
    }
}
