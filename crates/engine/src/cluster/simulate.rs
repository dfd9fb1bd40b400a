//! Whether the pods of a node would fit elsewhere (reference §12.3).
//!
//! What one removal moves stays moved, so that the next one sees it; the node itself stays as a
//! ghost without pods, which keeps its places in topologies.

use super::disruption::{Evictable, RemainingBudgets};
use super::drain;
use super::group::NodeTemplate;
use super::shrink::EvictedPod;
use super::upcoming::is_upcoming;
use crate::placement::{
    Effect, Failure, Inclusion, NodeFacts, PodFacts, PodKey, RoomSearch, Snapshot, Taint,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The taint of nodes that are about to go.
pub(super) const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// The name of a node that does not exist yet.
const NEW_NODE: &str = "new-node-in-place-of-others";

/// Where the pods of a node went in the last look: tried first in the next.
pub(super) type Hints = BTreeMap<PodKey, Arc<str>>;

/// One what-if over all candidates.
pub(super) struct Simulation<'a> {
    snapshot: &'a mut Snapshot,
    search: RoomSearch,
    pub(super) budgets: RemainingBudgets,
    /// Pods that others' removal, or an eviction, brought to a node.
    guests: BTreeMap<Arc<str>, Vec<PodFacts>>,
    hints: &'a Hints,
    new_hints: Hints,
}

/// A removal that is possible.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moved {
    /// Each pod of the node, and where it went.
    pub(super) moves: Vec<(PodKey, Arc<str>)>,
    /// Whether budgets allow all evictions at once.
    pub(super) evictable: Evictable,
}

/// Why a removal is not possible.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Stuck {
    /// The snapshot does not know the node.
    Unknown,
    /// A pod fits nowhere.
    NoPlace(PodKey, Failure),
}

impl<'a> Simulation<'a> {
    /// Opens a what-if on the snapshot; [`Simulation::end`] takes it back.
    pub(super) fn begin<'n>(
        snapshot: &'a mut Snapshot,
        budgets: RemainingBudgets,
        hints: &'a Hints,
        gone: impl IntoIterator<Item = &'n Arc<str>>,
    ) -> Self {
        snapshot.fork();
        let mut search = RoomSearch::default();
        for node in gone {
            search.exclude(snapshot, node);
        }
        // Nodes that are on their way are no reason to do without one that stands.
        let names = snapshot.nodes().map(|node| &node.facts.name);
        let upcoming: Vec<String> = names.filter(|name| is_upcoming(name)).cloned().collect();
        for node in &upcoming {
            search.exclude(snapshot, node);
        }
        Self {
            snapshot,
            search,
            budgets,
            guests: BTreeMap::new(),
            hints,
            new_hints: Hints::new(),
        }
    }

    /// Takes everything back. Returns where pods went.
    pub(super) fn end(self) -> Hints {
        self.snapshot.revert();
        self.new_hints
    }

    /// Puts pods that have no node yet where there is room for them, so that others' pods do not
    /// take it.
    pub(super) fn expect(&mut self, expected: &BTreeMap<Arc<str>, Vec<PodFacts>>) {
        for (node, pods) in expected {
            if self.snapshot.node(node).is_none() {
                continue;
            }
            for pod in pods {
                if self.snapshot.node_of(&pod.namespace, &pod.name).is_none() {
                    self.snapshot.place(node, pod.clone());
                }
            }
        }
    }

    /// Keeps room for evicted pods that will come back. Returns those that find none.
    pub(super) fn expect_back(&mut self, evicted: &[EvictedPod]) -> Vec<PodKey> {
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        let mut homeless = Vec::new();
        for lost in evicted {
            let pod = &lost.pod;
            let static_pod = pod.annotations.contains_key("kubernetes.io/config.source");
            if pod.mirror || static_pod || drain::is_of_daemon_set(pod) {
                continue;
            }
            if let Some((owner, missing)) = pod.owner.as_ref().zip(lost.missing) {
                let expected = expected.entry(&*owner.uid).or_insert(0);
                if *expected >= missing {
                    continue;
                }
                *expected += 1;
            }
            let key = pod.pod.key();
            let (namespace, name) = (&*key.namespace, &*key.name);
            if self.snapshot.node_of(namespace, name).is_some() {
                continue;
            }
            match self.settle(&pod.pod) {
                Ok(_) => {}
                Err(_) => homeless.push(key),
            }
        }
        homeless
    }

    /// Places a pod where there is room, as a guest.
    fn settle(&mut self, pod: &PodFacts) -> Result<Arc<str>, Failure> {
        let key = pod.key();
        let hint = self.hints.get(&key).map(|node| &**node);
        let node = self.snapshot.room_for(pod, &mut self.search, hint)?;
        let guest = PodFacts {
            terminating: false,
            ..pod.clone()
        };
        self.snapshot.place(&node, guest.clone());
        self.guests
            .entry(Arc::clone(&node))
            .or_default()
            .push(guest);
        self.new_hints.insert(key, Arc::clone(&node));
        Ok(node)
    }

    /// Removes a node with these pods to be moved.
    pub(super) fn remove(&mut self, node: &Arc<str>, own: &[PodFacts]) -> Result<Moved, Stuck> {
        if self.snapshot.node(node).is_none() {
            return Err(Stuck::Unknown);
        }
        let guests = self.guests.remove(node).unwrap_or_default();
        let mut pods: Vec<(&PodFacts, bool)> = own.iter().map(|pod| (pod, true)).collect();
        pods.extend(guests.iter().map(|pod| (pod, false)));
        // The largest first: what fits at all then fits more often.
        pods.sort_by_cached_key(|(pod, _)| {
            let wanted = &pod.spec.requests;
            std::cmp::Reverse((wanted.cpu_milli, wanted.memory_bytes))
        });
        self.search.exclude(self.snapshot, node);
        self.snapshot.fork();
        self.clear(node, &pods);
        let mut settled = Vec::new();
        for (pod, is_own) in &pods {
            match self.settle(pod) {
                Ok(to) => settled.push((pod.key(), to, *is_own)),
                Err(why) => {
                    let stuck = Stuck::NoPlace(pod.key(), why);
                    self.take_back(node, settled.into_iter().map(|(_, to, _)| to));
                    if !guests.is_empty() {
                        self.guests.insert(Arc::clone(node), guests);
                    }
                    return Err(stuck);
                }
            }
        }
        self.snapshot.commit();
        let evictable = self.budgets.evictable(own).unwrap_or(Evictable::InWaves);
        self.budgets.spend(own);
        let moves = settled.into_iter().filter(|(.., is_own)| *is_own);
        Ok(Moved {
            moves: moves.map(|(pod, to, _)| (pod, to)).collect(),
            evictable,
        })
    }

    /// Leaves a ghost: the node without what has to be moved.
    fn clear(&mut self, node: &str, pods: &[(&PodFacts, bool)]) {
        for (pod, _) in pods {
            self.snapshot.displace(&pod.namespace, &pod.name);
        }
        // Only pods that ask see the taint; for the others the search leaves the node out.
        let honors = |pod: &PodFacts| {
            let mut spread = pod.spec.spread.iter();
            spread.any(|constraint| constraint.node_taints_policy == Inclusion::Honor)
        };
        if !pods.iter().any(|(pod, _)| honors(pod)) {
            return;
        }
        if let Some(mut facts) = self.snapshot.node(node).map(|state| state.facts.clone()) {
            facts.taints.push(Taint {
                key: TO_BE_DELETED.to_owned(),
                value: String::new(),
                effect: Effect::NoSchedule,
            });
            self.snapshot.set_node(facts);
        }
    }

    /// Undoes a removal that did not succeed, with the guests it brought to these nodes.
    fn take_back(&mut self, node: &str, settled: impl DoubleEndedIterator<Item = Arc<str>>) {
        self.snapshot.revert();
        self.search.include(self.snapshot, node);
        for to in settled.rev() {
            if let Some(guests) = self.guests.get_mut(&to) {
                guests.pop();
            }
        }
    }

    /// Whether these nodes could go if there were one more like the template. Nothing is changed.
    pub(super) fn could_replace(
        &mut self,
        nodes: &[(&Arc<str>, &[PodFacts])],
        template: &NodeTemplate,
    ) -> bool {
        let blocked = |pods: &[PodFacts]| self.budgets.evictable(pods).is_err();
        if nodes.iter().any(|(_, pods)| blocked(pods)) {
            return false;
        }
        self.snapshot.fork();
        let mut pods: Vec<&PodFacts> = Vec::new();
        for (node, own) in nodes {
            self.search.exclude(self.snapshot, node);
            for pod in *own {
                self.snapshot.displace(&pod.namespace, &pod.name);
            }
            pods.extend(*own);
        }
        self.add_new(template);
        pods.sort_by_cached_key(|pod| {
            let wanted = &pod.spec.requests;
            std::cmp::Reverse((wanted.cpu_milli, wanted.memory_bytes))
        });
        let fit = pods.into_iter().all(|pod| {
            let found = self
                .snapshot
                .room_for(pod, &mut self.search, Some(NEW_NODE));
            found.is_ok_and(|node| {
                self.snapshot.place(&node, pod.clone());
                true
            })
        });
        self.snapshot.revert();
        for (node, _) in nodes {
            self.search.include(self.snapshot, node);
        }
        fit
    }

    /// One more node, with what comes with every node.
    fn add_new(&mut self, template: &NodeTemplate) {
        self.snapshot.set_node(NodeFacts {
            name: NEW_NODE.to_owned(),
            ..template.node.clone()
        });
        for daemon in &template.daemons {
            let name = format!("{}-on-{NEW_NODE}", daemon.name);
            let pod = PodFacts {
                name: name.into(),
                ..daemon.clone()
            };
            self.snapshot.place(NEW_NODE, pod);
        }
    }
}
