//! Room that is held for pods which are only imagined: while it is decided which nodes are not
//! needed, they are on the nodes where there is room for them, so that such a node counts as used,
//! and goes only if the room is to be had elsewhere.

use plimsoll_engine::cluster::{OwnerKind, PodOwner, PodsOnNodes, RunningPod, SAFE_TO_EVICT};
use plimsoll_engine::placement::{PodFacts, PodKey, PodSpec, Resources, Snapshot};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A pod with the node that has room for it.
#[derive(Debug)]
pub(super) struct HeldPod {
    pub(super) pod: PodFacts,
    pub(super) node: Arc<str>,
    /// What it is held for: kind, namespace and name in one.
    pub(super) owner: Arc<str>,
}

/// All of one kind.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<PodKey, HeldPod>);

impl Held {
    /// Where room is held for a pod.
    pub(super) fn node(&self, key: &PodKey) -> Option<&Arc<str>> {
        self.0.get(key).map(|held| &held.node)
    }

    /// How much is held on each node.
    pub(super) fn taken(&self) -> BTreeMap<Arc<str>, Resources> {
        let mut taken: BTreeMap<Arc<str>, Resources> = BTreeMap::new();
        for held in self.0.values() {
            let node = taken.entry(Arc::clone(&held.node)).or_default();
            node.add(&held.pod.spec.requests);
        }
        taken
    }

    /// Puts the pods where room is held for them.
    pub(super) fn put(&self, snapshot: &mut Snapshot) {
        for held in self.0.values() {
            snapshot.place(&held.node, held.pod.clone());
        }
    }

    /// Holds room for these from now on, and no more for others. Of `running`, only what changes is
    /// touched.
    pub(super) fn replace(&mut self, held: BTreeMap<PodKey, HeldPod>, running: &mut PodsOnNodes) {
        let before = std::mem::replace(&mut self.0, held);
        for key in before.keys().filter(|key| !self.0.contains_key(*key)) {
            running.remove(key);
        }
        for held in self.0.values() {
            running.set(as_running(held));
        }
    }
}

/// The pod without labels: neither disruption budgets nor rules of other pods are about it.
pub(super) fn unlabelled(spec: &PodSpec) -> Arc<PodSpec> {
    let mut spec = spec.clone();
    spec.labels.clear();
    Arc::new(spec)
}

/// The pod as one that runs, and may move.
fn as_running(held: &HeldPod) -> RunningPod {
    RunningPod {
        pod: held.pod.clone(),
        node: Arc::clone(&held.node),
        owner: Some(PodOwner {
            kind: OwnerKind::ReplicaSet,
            name: Arc::clone(&held.owner),
            uid: Arc::clone(&held.owner),
            replicas: None,
            exists: Some(true),
        }),
        annotations: BTreeMap::from([(SAFE_TO_EVICT.into(), "true".into())]),
        ..RunningPod::default()
    }
}
