//! From changes in the caches to the snapshot and the queue.

use super::{Scheduler, facts, is_ours};
use crate::pods::{NodeView, PodView};
use crate::runtime::Change;
use std::sync::Arc;
use tokio::time::Instant;

/// Follows the caches from now on.
pub(super) fn follow(scheduler: &Arc<Scheduler>) {
    let on_node = Arc::clone(scheduler);
    let nodes = &scheduler.caches.nodes;
    nodes.on_change(move |change| on_node.node_changed(change));
    let on_pod = Arc::clone(scheduler);
    let pods = &scheduler.caches.pods;
    pods.on_change(move |change| on_pod.pod_changed(change));
}

impl Scheduler {
    fn node_changed(&self, change: &Change<NodeView>) {
        let mut state = self.state.lock();
        match &change.new {
            Some(node) => {
                let facts = facts::of_node(node);
                let known = state.snapshot.node(&facts.name);
                if known.is_some_and(|known| known.facts == facts) {
                    return;
                }
                state.change().set_node(facts);
            }
            None => state.change().remove_node(&change.key.name),
        }
        state.wake(Instant::now());
        self.wake.notify_one();
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        let now = Instant::now();
        let mut state = self.state.lock();
        let Some(pod) = change.new.as_ref().filter(|pod| !pod.phase.is_terminal()) else {
            let kept_room = state.nominations.node_of(&change.key).is_some();
            state.forget(&change.key);
            let (namespace, name) = (&change.key.namespace, &change.key.name);
            let left = state.change().displace(namespace, name);
            if left.is_some() || kept_room {
                state.wake(now);
                self.wake.notify_one();
            }
            return;
        };
        if let Some(node) = &pod.node {
            if change.old.as_ref().is_none_or(|old| counts_else(old, pod)) {
                state.change().place(node, facts::of_pod(pod));
            }
            state.forget(&change.key);
        } else if is_ours(pod) {
            if let Some(node) = &pod.placement.nominated_node
                && state.nominations.node_of(&change.key).is_none()
                && change.old.is_none()
            {
                // Nominated before this scheduler started.
                let node = Arc::clone(node);
                state.nominations.set(&change.key, node, facts::of_pod(pod));
            }
            // A status alone (our own condition, for one) makes no pod fit.
            if change.old.as_ref().is_none_or(|old| wants_else(old, pod)) {
                state.enqueue(pod, now);
                self.wake.notify_one();
            }
        } else {
            state.forget(&change.key);
        }
    }
}

/// Whether a pod on a node became another one for the pods that wait.
fn counts_else(old: &PodView, new: &PodView) -> bool {
    old.node != new.node
        || old.meta.uid != new.meta.uid
        || old.meta.labels != new.meta.labels
        || old.meta.is_deleting() != new.meta.is_deleting()
        || old.containers != new.containers
}

/// Whether a pod became another one for the scheduler.
fn wants_else(old: &PodView, new: &PodView) -> bool {
    old.meta.uid != new.meta.uid
        || old.node.is_some()
        || !is_ours(old)
        || facts::of_pod(old) != facts::of_pod(new)
}
