//! From changes in the caches to the snapshot and the queue.

use super::hints::Event;
use super::state::AtNode;
use super::{Scheduler, is_ours};
use crate::facts;
use crate::pods::{NodeView, PodView};
use crate::runtime::{Cache, Cached, Change};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::time::Instant;

/// Follows the caches from now on.
pub(super) fn follow(scheduler: &Arc<Scheduler>) {
    let caches = &scheduler.caches;
    // What pods are judged by comes before the pods.
    on(scheduler, &caches.namespaces, Scheduler::namespace_changed);
    on(scheduler, &caches.storage_classes, Scheduler::class_changed);
    on(scheduler, &caches.volumes, Scheduler::volume_changed);
    on(scheduler, &caches.claims, Scheduler::claim_changed);
    on(scheduler, &caches.budgets, Scheduler::budget_changed);
    let devices = &caches.devices;
    on(scheduler, &devices.classes, Scheduler::device_class_changed);
    on(
        scheduler,
        &devices.templates,
        Scheduler::device_template_changed,
    );
    on(scheduler, &devices.claims, Scheduler::device_claim_changed);
    on(scheduler, &devices.slices, Scheduler::slice_changed);
    on(scheduler, &caches.nodes, Scheduler::node_changed);
    on(scheduler, &scheduler.csi_nodes, Scheduler::csi_node_changed);
    on(scheduler, &caches.pods, Scheduler::pod_changed);
}

fn on<V: Cached>(scheduler: &Arc<Scheduler>, cache: &Cache<V>, handle: fn(&Scheduler, &Change<V>)) {
    let scheduler = Arc::clone(scheduler);
    cache.on_change(move |change| handle(&scheduler, change));
}

impl Scheduler {
    pub(super) fn node_changed(&self, change: &Change<NodeView>) {
        let mut state = self.state.lock();
        match &change.new {
            Some(node) => {
                let mut facts = facts::of_node(node, self.volume_limits(&change.key.name));
                facts.pools = state.pools.of_node(&change.key.name);
                let known = state.snapshot.node(&facts.name);
                if known.is_some_and(|known| known.facts == facts) {
                    return;
                }
                state.change().set_node(facts);
            }
            None => state.change().remove_node(&change.key.name),
        }
        if state.wake_at(AtNode::Changed, &change.key.name, Instant::now()) {
            self.wake.notify_one();
        }
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        let old = change.old.as_deref();
        match change.new.as_ref().filter(|pod| !pod.phase.is_terminal()) {
            Some(pod) if pod.node.is_some() => self.pod_placed(old, pod),
            Some(pod) if is_ours(pod) => self.pod_waits(old, pod),
            _ => self.pod_gone(change),
        }
    }

    /// The pod is gone, ended, or not to be scheduled (any more, or yet).
    fn pod_gone(&self, change: &Change<PodView>) {
        let key = &change.key;
        let mut state = self.state.lock();
        let promised = state.withdraw(key);
        state.forget(key);
        let left = match state.snapshot.node_of(&key.namespace, &key.name) {
            Some(_) => state.change().displace(&key.namespace, &key.name),
            None => promised,
        };
        if self.awaiting_volumes.load(Ordering::Relaxed) > 0 {
            // It may be the one that waits for its volumes.
            self.storage_moved.send_modify(|count| *count += 1);
        }
        if let Some(node) = left
            && state.wake_at(AtNode::PodLeft, &node, Instant::now())
        {
            self.wake.notify_one();
        }
    }

    fn pod_placed(&self, old: Option<&PodView>, pod: &PodView) {
        let (Some(node), key) = (&pod.node, &pod.meta.key) else {
            return;
        };
        let now = Instant::now();
        let mut state = self.state.lock();
        let kept = state.withdraw(key);
        state.forget(key);
        if let Some(kept) = kept.filter(|kept| **kept != **node)
            && state.wake_at(AtNode::PodLeft, &kept, now)
        {
            self.wake.notify_one();
        }
        let same = old.is_some_and(|old| !counts_else(old, pod));
        if same && state.snapshot.node_of(&key.namespace, &key.name) == Some(node) {
            return;
        }
        let (_, facts) = state.facts_of(pod, self.spec_of(pod));
        state.change().place(node, facts);
        let mut woken = state.wake(Event::Came, now);
        let freed = |old: &PodView| old.node == pod.node && frees_room(old, pod);
        if old.is_some_and(freed) {
            woken |= state.wake_at(AtNode::PodLeft, node, now);
        }
        if woken {
            self.wake.notify_one();
        }
    }

    fn pod_waits(&self, old: Option<&PodView>, pod: &PodView) {
        let fresh = old.is_none_or(|old| old.meta.uid != pod.meta.uid || !is_ours(old));
        if !fresh && old.is_some_and(|old| !asks_else(old, pod)) {
            // A status alone (our own condition, for one) makes no pod fit.
            return;
        }
        let spec = self.spec_of(pod);
        let mut state = self.state.lock();
        if old.is_some_and(|old| old.meta.uid != pod.meta.uid) {
            // What its namesake had is not its own.
            let key = &pod.meta.key;
            state.forget(key);
            let kept = state.withdraw(key);
            let left = state.change().displace(&key.namespace, &key.name);
            if let Some(node) = left.or(kept) {
                state.wake_at(AtNode::PodLeft, &node, Instant::now());
            }
        }
        let (class, facts) = state.facts_of(pod, spec);
        if let Some(node) = pod.placement.nominated_node.as_ref().filter(|_| fresh) {
            // Nominated before this scheduler started.
            state.change().nominate(node, facts);
        }
        state.enqueue(pod, class, Instant::now());
        self.wake.notify_one();
    }

    fn namespace_changed(&self, change: &Change<crate::pods::NamespaceView>) {
        let labels = change.new.as_ref().map(|namespace| {
            let labels = namespace.meta.labels.iter();
            labels
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect()
        });
        let mut state = self.state.lock();
        state.change().set_namespace(&change.key.name, labels);
        if state.wake(Event::Namespace, Instant::now()) {
            self.wake.notify_one();
        }
    }

    fn claim_changed(&self, change: &Change<crate::pods::ClaimView>) {
        {
            let mut state = self.state.lock();
            let (namespace, name) = (&change.key.namespace, &change.key.name);
            match &change.new {
                Some(claim) => state.set_claim(&change.key, facts::of_claim(claim)),
                None => state.change().remove_claim(namespace, name),
            }
        }
        self.storage_changed();
    }

    fn volume_changed(&self, change: &Change<crate::pods::VolumeView>) {
        {
            let mut state = self.state.lock();
            if change
                .new
                .as_ref()
                .is_none_or(|volume| volume.claim.is_some())
            {
                state.promises.show(&change.key.name);
            }
            match &change.new {
                Some(volume) => state.change().set_volume(facts::of_volume(volume)),
                None => state.change().remove_volume(&change.key.name),
            }
        }
        self.storage_changed();
    }

    fn class_changed(&self, change: &Change<crate::pods::ClassView>) {
        {
            let mut state = self.state.lock();
            match &change.new {
                Some(class) => state.change().set_class(facts::of_class(class)),
                None => state.change().remove_class(&change.key.name),
            }
        }
        self.storage_changed();
    }

    fn storage_changed(&self) {
        self.storage_moved.send_modify(|count| *count += 1);
        if self.state.lock().wake(Event::Storage, Instant::now()) {
            self.wake.notify_one();
        }
    }

    fn budget_changed(&self, change: &Change<crate::pods::BudgetView>) {
        let facts = change.new.as_deref().map(facts::of_budget);
        self.state.lock().set_budget(&change.key, facts);
    }
}

/// Whether a pod on a node became another one for the pods that wait.
pub(crate) fn counts_else(old: &PodView, new: &PodView) -> bool {
    old.meta.uid != new.meta.uid
        || old.meta.labels != new.meta.labels
        || old.meta.is_deleting() != new.meta.is_deleting()
        || old.started != new.started
        || asks_for_else(old, new)
}

/// Whether a pod may ask for something else than it did.
fn asks_for_else(old: &PodView, new: &PodView) -> bool {
    old.containers != new.containers
        || old.placement.requests != new.placement.requests
        || old.placement.device_claims != new.placement.device_claims
        || old.placement.allocated != new.placement.allocated
        || facts::resize_is_infeasible(old) != facts::resize_is_infeasible(new)
}

/// Whether a pod on a node asks for less of anything than it did.
fn frees_room(old: &PodView, new: &PodView) -> bool {
    if !asks_for_else(old, new) {
        return false;
    }
    let (was, is) = (facts::spec_of(old, None), facts::spec_of(new, None));
    let mut requests = was.requests.requested();
    requests.any(|(name, amount)| amount > is.requests.amount(name))
        || was
            .host_ports
            .iter()
            .any(|port| !is.host_ports.contains(port))
}

/// Whether a pod without a node asks for something else.
fn asks_else(old: &PodView, new: &PodView) -> bool {
    old.meta.labels != new.meta.labels || facts::spec_of(old, None) != facts::spec_of(new, None)
}
