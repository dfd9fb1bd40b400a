//! The cluster as placement sees it, changed event by event.

use super::counter::Moved;
use super::devices::Devices;
use super::filters::Around;
use super::fork::{Fork, Undo};
use super::neighbours::Neighbours;
use super::node::{NodeFacts, NodeState, Resident};
use super::pod::{PodFacts, PodKey};
use super::profile::Profile;
use super::ranking::Rankings;
use super::set::{NodeSet, Slot};
use super::shape::ShapeId;
use super::volumes::{ClaimFacts, ClaimKey, ClassFacts, VolumeFacts, Volumes};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// All nodes with their load; changed event by event, never rebuilt.
///
/// What follows from it (who runs near whom, how each kind of pod ranks the nodes) is kept beside it
/// and brought up to date by what changed. [`Snapshot::fork`] opens a what-if that
/// [`Snapshot::revert`] takes back at the cost of what was changed in it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub(super) profile: Profile,
    pub(super) nodes: Vec<Option<NodeState>>,
    pub(super) live: NodeSet,
    by_name: BTreeMap<Arc<str>, Slot>,
    free: Vec<Slot>,
    placed: BTreeMap<PodKey, (Arc<str>, Resident)>,
    nominated: BTreeMap<PodKey, (Arc<str>, PodFacts)>,
    /// Pods whose node is not known, by the node's name.
    homeless: BTreeMap<Arc<str>, BTreeSet<PodKey>>,
    pub(super) neighbours: Neighbours,
    pub(super) volumes: Volumes,
    pub(super) devices: Devices,
    pub(super) images: Images,
    pub(super) changes: Changes,
    pub(super) rankings: Rankings,
    pub(super) forks: Fork,
    /// How often labels of namespaces changed.
    relabelled: u64,
}

/// How far a snapshot has come: while it is the same, so is every answer of that snapshot. A what-if
/// that was taken back counts as a change if anything was changed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    nodes: u64,
    volumes: u64,
    devices: u64,
    namespaces: u64,
}

/// On how many nodes each image is.
#[derive(Debug, Clone, Default)]
pub(super) struct Images {
    pub(super) nodes: BTreeMap<String, usize>,
    /// Grows with every change that can move a score.
    pub(super) epoch: u64,
}

impl Images {
    fn change(&mut self, facts: &NodeFacts, change: fn(usize) -> usize) {
        if facts.images.is_empty() && self.nodes.is_empty() {
            return;
        }
        for name in facts.images.keys() {
            let count = self.nodes.entry(name.clone()).or_insert(0);
            *count = change(*count);
            if *count == 0 {
                self.nodes.remove(name);
            }
        }
        // The share of nodes with an image changes with every node.
        self.epoch += 1;
    }
}

/// Which nodes changed, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Changes {
    dropped: u64,
    slots: VecDeque<Slot>,
}

impl Changes {
    /// Entries kept per node.
    const DEPTH: usize = 2;

    fn note(&mut self, slot: Slot, nodes: usize) {
        self.slots.push_back(slot);
        if self.slots.len() > 1024 + Self::DEPTH * nodes {
            self.slots.pop_front();
            self.dropped += 1;
        }
    }

    /// How many changes there have been.
    pub(super) fn now(&self) -> u64 {
        self.dropped + self.slots.len() as u64
    }

    /// The nodes changed since; `None` if that is no longer known.
    pub(super) fn since(&self, then: u64) -> Option<impl Iterator<Item = Slot> + '_> {
        let skip = usize::try_from(then.checked_sub(self.dropped)?).ok()?;
        Some(self.slots.iter().skip(skip).copied())
    }
}

impl Snapshot {
    /// An empty snapshot for a scheduler of this configuration.
    pub fn with_profile(profile: Profile) -> Self {
        Self {
            profile,
            ..Self::default()
        }
    }

    /// How far this snapshot has come.
    pub fn version(&self) -> Version {
        Version {
            nodes: self.changes.now(),
            volumes: self.volumes.epoch,
            devices: self.devices.epoch,
            namespaces: self.relabelled,
        }
    }

    /// The nodes, in the order they came.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeState> {
        self.nodes.iter().flatten()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.by_name.len()
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&NodeState> {
        self.state(*self.by_name.get(name)?)
    }

    /// The node a pod is counted on, whether that node is known or not.
    pub fn node_of(&self, namespace: &str, name: &str) -> Option<&str> {
        let placed = self.placed.get(&PodKey::new(namespace, name));
        placed.map(|(node, _)| &**node)
    }

    /// The node that is being cleared for a pod.
    pub fn nominated_node_of(&self, namespace: &str, name: &str) -> Option<&str> {
        let nominated = self.nominated.get(&PodKey::new(namespace, name));
        nominated.map(|(node, _)| &**node)
    }

    /// Names of the nodes in a set, in the order they came.
    pub fn names(&self, set: &NodeSet) -> Vec<&str> {
        let states = set.iter().filter_map(|slot| self.state(slot));
        states.map(|state| &*state.facts.name).collect()
    }

    /// Adds a node or takes over its new facts; its load stays.
    pub fn set_node(&mut self, facts: NodeFacts) {
        let name: Arc<str> = facts.name.as_str().into();
        let known = self.by_name.get(&name).copied();
        let slot = known.unwrap_or_else(|| self.new_slot(&name));
        let old = self.state(slot).map(|state| state.facts.clone());
        if old.as_ref() == Some(&facts) && known.is_some() {
            return;
        }
        let same_images = |old: &NodeFacts| known.is_some() && old.images == facts.images;
        if !old.as_ref().is_some_and(same_images) {
            if let Some(old) = &old {
                self.images.change(old, |count| count.saturating_sub(1));
            }
            self.images.change(&facts, |count| count.saturating_add(1));
        }
        let relabelled = old.as_ref().is_none_or(|old| old.labels != facts.labels);
        if known.is_some() {
            self.forks.note(|| Undo::SetNode(old.unwrap_or_default()));
        } else {
            self.forks.note(|| Undo::RemoveNode(Arc::clone(&name)));
        }
        if relabelled {
            self.count_residents(slot, -1);
            self.neighbours.set_node(slot, Some(&facts.labels));
            self.count_residents(slot, 1);
        }
        if let Some(state) = self.state_mut(slot) {
            state.facts = facts;
        }
        self.take_in(&name, slot);
        self.changed(slot);
    }

    fn new_slot(&mut self, name: &Arc<str>) -> Slot {
        let slot = self.free.pop().unwrap_or(self.nodes.len());
        if slot >= self.nodes.len() {
            self.nodes.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.nodes.get_mut(slot) {
            *place = Some(NodeState::default());
        }
        self.live.insert(slot);
        self.by_name.insert(Arc::clone(name), slot);
        slot
    }

    /// Counts pods that were known before their node.
    fn take_in(&mut self, name: &Arc<str>, slot: Slot) {
        for key in self.homeless.remove(name).unwrap_or_default() {
            if let Some((_, resident)) = self.placed.get(&key) {
                let resident = resident.clone();
                self.load(slot, resident);
            }
        }
        let awaited = self.nominated.values().filter(|(node, _)| node == name);
        let awaited: Vec<PodFacts> = awaited.map(|(_, pod)| pod.clone()).collect();
        if let Some(state) = self.state_mut(slot) {
            for pod in awaited {
                state.nominate(pod);
            }
        }
    }

    /// Forgets a node; its pods count again should it come back.
    pub fn remove_node(&mut self, name: &str) {
        let Some((name, slot)) = self.by_name.remove_entry(name) else {
            return;
        };
        let keys: Vec<PodKey> = self
            .state(slot)
            .map(|state| state.residents().map(|r| r.pod.key()).collect())
            .unwrap_or_default();
        for key in &keys {
            self.unload(slot, key);
        }
        if !keys.is_empty() {
            self.homeless
                .insert(Arc::clone(&name), keys.into_iter().collect());
        }
        self.neighbours.set_node(slot, None);
        if let Some(state) = self.nodes.get_mut(slot).and_then(Option::take) {
            self.images
                .change(&state.facts, |count| count.saturating_sub(1));
            self.forks.note(|| Undo::SetNode(state.facts));
        }
        self.live.remove(slot);
        self.free.push(slot);
        self.changed(slot);
    }

    /// Counts a pod on a node (replacing what was known of it).
    pub fn place(&mut self, node: &str, pod: PodFacts) {
        let key = pod.key();
        // In this order, so that taking back ends with the nomination.
        self.withdraw_key(&key);
        self.displace_key(&key);
        let shape = self.neighbours.shape(&pod.namespace, &pod.spec);
        let resident = Resident { pod, shape };
        let known = self.by_name.get_key_value(node);
        let (name, slot) = match known {
            Some((name, slot)) => (Arc::clone(name), Some(*slot)),
            None => (Arc::from(node), None),
        };
        if let Some(slot) = slot {
            self.load(slot, resident.clone());
        } else {
            let waiting = self.homeless.entry(Arc::clone(&name)).or_default();
            waiting.insert(key.clone());
        }
        self.volumes
            .used(&resident.pod.namespace, &resident.pod.spec.claims);
        if !resident.pod.spec.devices.is_empty() {
            self.take_devices(&resident.pod, slot);
        }
        self.forks.note(|| Undo::Displace(key.clone()));
        self.placed.insert(key, (name, resident));
    }

    /// Stops counting a pod. Returns the node it was counted on.
    pub fn displace(&mut self, namespace: &str, name: &str) -> Option<String> {
        let node = self.displace_key(&PodKey::new(namespace, name))?;
        Some(node.to_string())
    }

    pub(super) fn displace_key(&mut self, key: &PodKey) -> Option<Arc<str>> {
        let (node, resident) = self.placed.remove(key)?;
        match self.by_name.get(&node).copied() {
            Some(slot) => self.unload(slot, key),
            None => {
                if let Some(waiting) = self.homeless.get_mut(&node) {
                    waiting.remove(key);
                    if waiting.is_empty() {
                        self.homeless.remove(&node);
                    }
                }
            }
        }
        let pod = resident.pod;
        self.volumes.unused(&pod.namespace, &pod.spec.claims);
        if !pod.spec.devices.is_empty() {
            self.free_devices(&pod);
        }
        self.forks.note(|| Undo::Place(Arc::clone(&node), pod));
        Some(node)
    }

    /// Counts a pod as about to come to a node that is being cleared for it: less important pods do
    /// not take its room.
    pub fn nominate(&mut self, node: &str, pod: PodFacts) {
        let key = pod.key();
        self.withdraw_key(&key);
        if let Some(slot) = self.by_name.get(node).copied() {
            if let Some(state) = self.state_mut(slot) {
                state.nominate(pod.clone());
            }
            self.changed(slot);
        }
        self.forks.note(|| Undo::Withdraw(key.clone()));
        self.nominated.insert(key, (node.into(), pod));
    }

    /// Takes a nomination back. Returns the node it was for.
    pub fn withdraw(&mut self, namespace: &str, name: &str) -> Option<String> {
        let (node, _) = self.withdraw_key(&PodKey::new(namespace, name))?;
        Some(node.to_string())
    }

    pub(super) fn withdraw_key(&mut self, key: &PodKey) -> Option<(Arc<str>, PodFacts)> {
        let (node, pod) = self.nominated.remove(key)?;
        if let Some(slot) = self.by_name.get(&node).copied() {
            if let Some(state) = self.state_mut(slot) {
                drop(state.withdraw(key));
            }
            self.changed(slot);
        }
        self.forks
            .note(|| Undo::Nominate(Arc::clone(&node), pod.clone()));
        Some((node, pod))
    }

    /// Takes over a namespace's labels; `None` = it is gone. Not part of a fork.
    pub fn set_namespace(&mut self, name: &str, labels: Option<BTreeMap<String, String>>) {
        let changed = self.neighbours.set_namespace(name, labels);
        self.relabelled += u64::from(changed);
    }

    /// Takes over a claim. Not part of a fork, like all facts of storage.
    pub fn set_claim(&mut self, claim: ClaimFacts) {
        self.volumes.set_claim(claim);
    }

    /// Forgets a claim.
    pub fn remove_claim(&mut self, namespace: &str, name: &str) {
        let key: ClaimKey = (namespace.to_owned(), name.to_owned());
        self.volumes.remove_claim(&key);
    }

    /// Takes over a volume.
    pub fn set_volume(&mut self, volume: VolumeFacts) {
        self.volumes.set_volume(volume);
    }

    /// Forgets a volume.
    pub fn remove_volume(&mut self, name: &str) {
        self.volumes.remove_volume(name);
    }

    /// Takes over a storage class.
    pub fn set_class(&mut self, class: ClassFacts) {
        self.volumes.set_class(class);
    }

    /// Forgets a storage class.
    pub fn remove_class(&mut self, name: &str) {
        self.volumes.remove_class(name);
    }

    /// What rules about one node have to know beside it.
    pub(super) fn around(&self) -> Around<'_> {
        Around {
            volumes: &self.volumes,
            devices: &self.devices,
        }
    }

    pub(super) fn state(&self, slot: Slot) -> Option<&NodeState> {
        self.nodes.get(slot)?.as_ref()
    }

    fn state_mut(&mut self, slot: Slot) -> Option<&mut NodeState> {
        self.nodes.get_mut(slot)?.as_mut()
    }

    pub(super) fn slot_of(&self, node: &str) -> Option<Slot> {
        self.by_name.get(node).copied()
    }

    /// The name of the node at a place.
    pub(super) fn shared_name(&self, slot: Slot) -> Option<Arc<str>> {
        let name = &self.state(slot)?.facts.name;
        let (name, _) = self.by_name.get_key_value(name.as_str())?;
        Some(Arc::clone(name))
    }

    pub(super) fn has_nominations(&self) -> bool {
        !self.nominated.is_empty()
    }

    fn changed(&mut self, slot: Slot) {
        self.changes.note(slot, self.nodes.len());
    }

    fn load(&mut self, slot: Slot, resident: Resident) {
        self.neighbours.moved(moved(&resident, slot, 1));
        if let Some(state) = self.state_mut(slot) {
            state.add(resident);
        }
        self.changed(slot);
    }

    fn unload(&mut self, slot: Slot, key: &PodKey) {
        let Some(resident) = self.state_mut(slot).and_then(|state| state.remove(key)) else {
            return;
        };
        self.neighbours.moved(moved(&resident, slot, -1));
        self.changed(slot);
    }

    /// Counts all pods of a node in (+1) or out (−1), around a change of its labels.
    fn count_residents(&mut self, slot: Slot, by: i64) {
        let residents: Vec<(ShapeId, bool)> = self
            .state(slot)
            .map(NodeState::residents)
            .into_iter()
            .flatten()
            .map(|resident| (resident.shape, resident.pod.terminating))
            .collect();
        for (shape, terminating) in residents {
            self.neighbours.moved(Moved {
                shape,
                slot,
                terminating,
                by,
            });
        }
    }
}

fn moved(resident: &Resident, slot: Slot, by: i64) -> Moved {
    Moved {
        shape: resident.shape,
        slot,
        terminating: resident.pod.terminating,
        by,
    }
}
