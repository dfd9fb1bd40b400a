//! Room kept for pods that others make room for.
//!
//! A pod that preempts is nominated for a node until it is bound. Meanwhile pods of the same or a
//! lower priority must not take that room, so it is counted in the snapshot while they are decided.

use crate::runtime::ObjectKey;
use plimsoll_engine::placement::{PodFacts, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug)]
struct Nominee {
    node: Arc<str>,
    facts: PodFacts,
}

/// The nominated pods.
#[derive(Debug, Default)]
pub(super) struct Nominations {
    nominees: BTreeMap<ObjectKey, Nominee>,
    by_node: BTreeMap<Arc<str>, BTreeSet<ObjectKey>>,
    /// Those counted in the snapshot now.
    counted: BTreeSet<ObjectKey>,
}

impl Nominations {
    /// Keeps room for a pod on a node, and no longer elsewhere.
    pub(super) fn set(&mut self, key: &ObjectKey, node: Arc<str>, facts: PodFacts) {
        self.remove(key);
        let on_node = self.by_node.entry(Arc::clone(&node)).or_default();
        on_node.insert(key.clone());
        self.nominees.insert(key.clone(), Nominee { node, facts });
    }

    /// Keeps room for the pod no longer. It must not be counted. Returns its node.
    pub(super) fn remove(&mut self, key: &ObjectKey) -> Option<Arc<str>> {
        let nominee = self.nominees.remove(key)?;
        if let Some(on_node) = self.by_node.get_mut(&nominee.node) {
            on_node.remove(key);
            if on_node.is_empty() {
                self.by_node.remove(&nominee.node);
            }
        }
        Some(nominee.node)
    }

    /// The node a pod is nominated for.
    pub(super) fn node_of(&self, key: &ObjectKey) -> Option<&Arc<str>> {
        self.nominees.get(key).map(|nominee| &nominee.node)
    }

    /// The pods nominated for a node that have a lower priority.
    #[cfg(test)]
    pub(super) fn lower_on(&self, node: &str, priority: i32) -> Vec<ObjectKey> {
        let on_node = self.by_node.get(node).into_iter().flatten();
        let lower = |key: &&ObjectKey| {
            let nominee = self.nominees.get(*key);
            nominee.is_some_and(|nominee| nominee.facts.spec.priority < priority)
        };
        on_node.filter(lower).cloned().collect()
    }

    /// Counts in the snapshot exactly those whose room a pod of this priority must leave alone.
    pub(super) fn count_for(&mut self, pod: &ObjectKey, priority: i32, snapshot: &mut Snapshot) {
        if self.nominees.is_empty() {
            return;
        }
        let counts = |key: &ObjectKey, nominee: &Nominee| {
            key != pod && nominee.facts.spec.priority >= priority
        };
        for (key, nominee) in &self.nominees {
            match (counts(key, nominee), self.counted.contains(key)) {
                (true, false) => {
                    snapshot.place(&nominee.node, nominee.facts.clone());
                    self.counted.insert(key.clone());
                }
                (false, true) => {
                    snapshot.displace(&key.namespace, &key.name);
                    self.counted.remove(key);
                }
                _ => {}
            }
        }
    }

    /// Counts none of them any more.
    pub(super) fn uncount(&mut self, snapshot: &mut Snapshot) {
        for key in std::mem::take(&mut self.counted) {
            snapshot.displace(&key.namespace, &key.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plimsoll_engine::placement::{NodeFacts, PodSpec, Resources};

    fn pod(name: &str, priority: i32) -> PodFacts {
        let spec = PodSpec {
            requests: Resources::of(100, 0),
            priority,
            ..PodSpec::default()
        };
        PodFacts::new("default", name, spec)
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    fn used(snapshot: &Snapshot) -> i64 {
        snapshot.node("n").unwrap().used.cpu_milli
    }

    #[test]
    fn room_is_kept_from_equals_and_lower_ones_only() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(NodeFacts {
            name: "n".into(),
            ..NodeFacts::default()
        });
        let mut nominations = Nominations::default();
        nominations.set(&key("low"), "n".into(), pod("low", 1));
        nominations.set(&key("high"), "n".into(), pod("high", 5));
        for (name, priority, kept) in [("p", 0, 200), ("p", 5, 100), ("p", 6, 0), ("high", 5, 0)] {
            nominations.count_for(&key(name), priority, &mut snapshot);
            assert_eq!(used(&snapshot), kept, "{name} of priority {priority}");
        }
        nominations.count_for(&key("p"), 0, &mut snapshot);
        nominations.uncount(&mut snapshot);
        assert_eq!(used(&snapshot), 0);
        assert_eq!(nominations.lower_on("n", 5), [key("low")]);
        assert_eq!(nominations.remove(&key("low")).as_deref(), Some("n"));
        assert!(nominations.lower_on("n", 5).is_empty());
        assert!(nominations.node_of(&key("low")).is_none());
    }
}
