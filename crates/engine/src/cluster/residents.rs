//! The pods on each node, kept pod by pod.

use super::running::RunningPod;
use crate::placement::PodKey;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The pods of one node.
#[derive(Debug, Clone, Default)]
pub struct Residents {
    pods: BTreeMap<PodKey, RunningPod>,
    version: u64,
}

impl Residents {
    /// The pods, by namespace and name.
    pub fn pods(&self) -> impl ExactSizeIterator<Item = &RunningPod> {
        self.pods.values()
    }

    /// Another number whenever one of the pods changed.
    pub fn version(&self) -> u64 {
        self.version
    }
}

/// All pods that are on nodes, by node; changed pod by pod, so that who decides sees what changed.
#[derive(Debug, Clone, Default)]
pub struct PodsOnNodes {
    nodes: BTreeMap<Arc<str>, Residents>,
    node_of: BTreeMap<PodKey, Arc<str>>,
    changes: u64,
    departures: u64,
}

impl PodsOnNodes {
    /// Takes over a pod, new or changed. What does not change anything costs a comparison.
    pub fn set(&mut self, pod: RunningPod) {
        let key = pod.pod.key();
        if let Some(node) = self.node_of.get(&key) {
            if *node != pod.node {
                self.remove(&key);
            } else if self.pod(&key) == Some(&pod) {
                return;
            }
        }
        self.changes += 1;
        let needs = |pod: &RunningPod| (Arc::clone(&pod.pod.spec), pod.terminal);
        if self.pod(&key).is_some_and(|old| needs(old) != needs(&pod)) {
            self.departures += 1;
        }
        self.node_of.insert(key.clone(), Arc::clone(&pod.node));
        let residents = self.nodes.entry(Arc::clone(&pod.node)).or_default();
        residents.version = self.changes;
        residents.pods.insert(key, pod);
    }

    /// Forgets a pod.
    pub fn remove(&mut self, key: &PodKey) -> Option<RunningPod> {
        let node = self.node_of.remove(key)?;
        let residents = self.nodes.get_mut(&node)?;
        self.changes += 1;
        self.departures += 1;
        residents.version = self.changes;
        let pod = residents.pods.remove(key);
        if residents.pods.is_empty() {
            self.nodes.remove(&node);
        }
        pod
    }

    /// One pod.
    pub fn pod(&self, key: &PodKey) -> Option<&RunningPod> {
        let node = self.node_of.get(key)?;
        self.nodes.get(node)?.pods.get(key)
    }

    /// The pods of a node; `None` if there are none.
    pub fn on(&self, node: &str) -> Option<&Residents> {
        self.nodes.get(node)
    }

    /// Another number whenever room may have been given back: a pod left, or needs something else.
    pub fn departures(&self) -> u64 {
        self.departures
    }

    /// How many pods there are.
    pub fn len(&self) -> usize {
        self.node_of.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.node_of.is_empty()
    }
}

impl Extend<RunningPod> for PodsOnNodes {
    fn extend<I: IntoIterator<Item = RunningPod>>(&mut self, pods: I) {
        pods.into_iter().for_each(|pod| self.set(pod));
    }
}

impl FromIterator<RunningPod> for PodsOnNodes {
    fn from_iter<I: IntoIterator<Item = RunningPod>>(pods: I) -> Self {
        let mut all = Self::default();
        all.extend(pods);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::PodsOnNodes;
    use crate::cluster::RunningPod;
    use crate::placement::{PodFacts, PodKey, PodSpec};

    fn pod(name: &str, node: &str) -> RunningPod {
        RunningPod {
            pod: PodFacts::new("default", name, PodSpec::default()),
            node: node.into(),
            ..RunningPod::default()
        }
    }

    #[test]
    fn only_what_changes_moves_the_version() {
        let mut pods = PodsOnNodes::default();
        pods.extend([pod("a", "n1"), pod("b", "n2")]);
        let version = |pods: &PodsOnNodes, node| pods.on(node).map(super::Residents::version);
        let (one, two) = (version(&pods, "n1"), version(&pods, "n2"));
        pods.set(pod("a", "n1"));
        assert_eq!((version(&pods, "n1"), pods.departures()), (one, 0));
        pods.set(RunningPod {
            mirror: true,
            ..pod("a", "n1")
        });
        assert_ne!(version(&pods, "n1"), one);
        assert_eq!((version(&pods, "n2"), pods.departures()), (two, 0));
    }

    #[test]
    fn a_pod_is_on_one_node() {
        let mut pods = PodsOnNodes::default();
        pods.extend([pod("a", "n1"), pod("a", "n2")]);
        assert_eq!((pods.len(), pods.departures()), (1, 1));
        assert!(pods.on("n1").is_none());
        let key = PodKey::new("default", "a");
        assert_eq!(&*pods.remove(&key).unwrap().node, "n2");
        assert!(pods.is_empty() && pods.on("n2").is_none());
    }
}
