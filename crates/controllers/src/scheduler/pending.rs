//! Pods that wait for a node: in line by priority and age, or parked until something changes.

use crate::runtime::ObjectKey;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Place in line: higher priority first, then who came first.
type Rank = (Reverse<i32>, u64);

/// The line.
#[derive(Debug, Default)]
pub(super) struct Pending {
    line: BTreeMap<Rank, ObjectKey>,
    ranks: BTreeMap<ObjectKey, Rank>,
    /// Pods that fitted nowhere, with the place they had.
    parked: BTreeMap<ObjectKey, Rank>,
    sequence: u64,
}

impl Pending {
    /// Puts a pod in line; one that waits already, parked or not, keeps its age.
    pub(super) fn add(&mut self, key: &ObjectKey, priority: i32) {
        if self.ranks.contains_key(key) {
            return;
        }
        let rank = self.parked.remove(key).unwrap_or_else(|| {
            self.sequence += 1;
            (Reverse(priority), self.sequence)
        });
        self.line.insert(rank, key.clone());
        self.ranks.insert(key.clone(), rank);
    }

    /// Takes up to `count` pods from the front.
    pub(super) fn take(&mut self, count: usize) -> Vec<(ObjectKey, Taken)> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let Some((rank, key)) = self.line.pop_first() else {
                break;
            };
            self.ranks.remove(&key);
            taken.push((key, Taken(rank)));
        }
        taken
    }

    /// Parks a pod that fitted nowhere.
    pub(super) fn park(&mut self, key: ObjectKey, place: Taken) {
        if !self.ranks.contains_key(&key) {
            self.parked.insert(key, place.0);
        }
    }

    /// Puts every parked pod back in its place in line.
    pub(super) fn unpark(&mut self) {
        for (key, rank) in std::mem::take(&mut self.parked) {
            self.line.insert(rank, key.clone());
            self.ranks.insert(key, rank);
        }
    }

    /// Forgets a pod (bound, or gone).
    pub(super) fn forget(&mut self, key: &ObjectKey) {
        self.parked.remove(key);
        if let Some(rank) = self.ranks.remove(key) {
            self.line.remove(&rank);
        }
    }

    /// Whether pods are parked.
    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Which pods are parked.
    #[cfg(test)]
    pub(super) fn parked(&self) -> Vec<ObjectKey> {
        self.parked.keys().cloned().collect()
    }
}

/// The place a taken pod had.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken(Rank);

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("default", name)
    }

    fn names(taken: Vec<(ObjectKey, Taken)>) -> Vec<String> {
        taken
            .into_iter()
            .map(|(key, _)| key.name.to_string())
            .collect()
    }

    #[test]
    fn priority_comes_before_age() {
        let mut pending = Pending::default();
        pending.add(&key("old"), 0);
        pending.add(&key("new"), 0);
        pending.add(&key("urgent"), 10);
        pending.add(&key("old"), 0);
        assert_eq!(names(pending.take(9)), ["urgent", "old", "new"]);
    }

    #[test]
    fn a_parked_pod_returns_to_its_place() {
        let mut pending = Pending::default();
        pending.add(&key("first"), 0);
        let (first, place) = pending.take(1).remove(0);
        pending.park(first, place);
        pending.add(&key("second"), 0);
        assert_eq!(pending.parked(), [key("first")]);
        pending.unpark();
        assert_eq!(names(pending.take(9)), ["first", "second"]);
    }

    #[test]
    fn a_forgotten_pod_is_nowhere() {
        let mut pending = Pending::default();
        pending.add(&key("a"), 0);
        pending.forget(&key("a"));
        assert!(pending.take(1).is_empty() && !pending.has_parked());
    }
}
