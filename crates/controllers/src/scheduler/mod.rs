//! The scheduler: binds pods to nodes by the rules of `engine::placement`.
//!
//! The snapshot follows the caches change by change. Pods wait in line by priority; one that fits
//! nowhere is parked, says why (condition and event), and is tried again when a node changes or a
//! pod leaves.

mod facts;
mod pending;

use crate::pods::{Caches, NodeView, PodView};
use crate::runtime::{Change, ObjectKey, Recorder, Reference, WriteError, Writer};
use crate::supervisor::Context;
use futures::future::join_all;
use jiff::Timestamp;
use parking_lot::Mutex;
use pending::{Pending, Taken};
use plimsoll_clock::Clock;
use plimsoll_engine::placement::{Placement, Snapshot, place, render};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Keeps the scheduler's ties apart from other uses of the seed.
const SEED: u64 = 0x7363_6865;
/// Pods decided together, whose bindings are then written side by side.
const BATCH: usize = 32;
/// Parked pods are looked at again at most this often.
const UNPARK_PAUSE: Duration = Duration::from_millis(50);
/// Pause after the API server refused a binding.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// The scheduler named `default-scheduler`.
#[derive(Debug)]
pub struct Scheduler {
    state: Mutex<State>,
    wake: Notify,
    caches: Caches,
    writer: Writer,
    recorder: Recorder,
    clock: Clock,
}

#[derive(Debug)]
struct State {
    snapshot: Snapshot,
    pending: Pending,
    unpark: bool,
    /// What was said last about each pod that waits, and since when it waits.
    said: BTreeMap<ObjectKey, (String, Timestamp)>,
    rng: StdRng,
}

/// One pod's decision.
struct Decided {
    pod: Arc<PodView>,
    placement: Placement,
    node: Option<String>,
}

impl Scheduler {
    /// Follows the caches from now on; the context's seed decides ties between equally good nodes.
    pub fn new(context: &Context) -> Arc<Self> {
        let state = State {
            snapshot: Snapshot::default(),
            pending: Pending::default(),
            unpark: false,
            said: BTreeMap::new(),
            rng: StdRng::seed_from_u64(context.seed ^ SEED),
        };
        let scheduler = Arc::new(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            caches: context.caches.clone(),
            writer: context.writer.clone(),
            recorder: context.recorder.component("default-scheduler"),
            clock: context.clock,
        });
        let on_node = Arc::clone(&scheduler);
        context
            .caches
            .nodes
            .on_change(move |change| on_node.node_changed(change));
        let on_pod = Arc::clone(&scheduler);
        context
            .caches
            .pods
            .on_change(move |change| on_pod.pod_changed(change));
        scheduler
    }

    fn node_changed(&self, change: &Change<NodeView>) {
        let mut state = self.state.lock();
        match &change.new {
            Some(node) => {
                let facts = facts::of_node(node);
                if state
                    .snapshot
                    .node(&facts.name)
                    .is_some_and(|known| known.facts == facts)
                {
                    return;
                }
                state.snapshot.set_node(facts);
            }
            None => state.snapshot.remove_node(&change.key.name),
        }
        self.unpark(&mut state);
    }

    fn pod_changed(&self, change: &Change<PodView>) {
        let mut state = self.state.lock();
        let Some(pod) = change.new.as_ref().filter(|pod| !pod.phase.is_terminal()) else {
            state.forget(&change.key);
            if state
                .snapshot
                .displace(&change.key.namespace, &change.key.name)
                .is_some()
            {
                self.unpark(&mut state);
            }
            return;
        };
        if let Some(node) = &pod.node {
            if change.old.as_ref().is_none_or(|old| old.node != pod.node) {
                state.snapshot.place(node, facts::of_pod(pod));
            }
            state.forget(&change.key);
        } else if is_ours(pod) {
            // A status alone (our own condition, for one) makes no pod fit.
            if change.old.as_ref().is_none_or(|old| wants_else(old, pod)) {
                state.pending.add(&change.key, pod.priority);
                self.wake.notify_one();
            }
        } else {
            state.forget(&change.key);
        }
    }

    fn unpark(&self, state: &mut State) {
        if state.pending.has_parked() && !state.unpark {
            state.unpark = true;
            self.wake.notify_one();
        }
    }

    /// Schedules for ever.
    pub async fn run(self: Arc<Self>) -> Infallible {
        self.caches.nodes.ready().await;
        self.caches.pods.ready().await;
        loop {
            let decided = self.decide_some();
            if decided.is_empty() && !self.return_parked().await {
                self.wake.notified().await;
            }
            join_all(decided.into_iter().map(|one| self.carry_out(one))).await;
        }
    }

    /// Puts parked pods back in line if something changed. Returns whether it did.
    async fn return_parked(&self) -> bool {
        if !self.state.lock().unpark {
            return false;
        }
        // Changes come in bursts (a scale-in frees many places): look once after each.
        tokio::time::sleep(UNPARK_PAUSE).await;
        let mut state = self.state.lock();
        state.unpark = false;
        state.pending.unpark();
        true
    }

    /// Since when the pod waits, if `message` has not been said about it yet.
    fn news(&self, key: &ObjectKey, message: &str) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let (said, since) = state
            .said
            .entry(key.clone())
            .or_insert_with(|| (String::new(), now));
        if said == message {
            return None;
        }
        message.clone_into(said);
        Some(*since)
    }

    fn decide_some(&self) -> Vec<Decided> {
        let mut state = self.state.lock();
        let mut decided = Vec::new();
        for (key, place) in state.pending.take(BATCH) {
            let Some(pod) = self.caches.pods.get(&key) else {
                continue;
            };
            if pod.node.is_none() && is_ours(&pod) {
                decided.push(state.decide(pod, place));
            }
        }
        decided
    }

    async fn carry_out(&self, decided: Decided) {
        let Decided {
            pod,
            placement,
            node,
        } = decided;
        let outcome = match &node {
            Some(node) => self.bind(&pod, node).await,
            None => self.refuse(&pod, &placement).await,
        };
        let Err(error) = outcome else { return };
        let key = &pod.meta.key;
        if node.is_some() {
            self.state
                .lock()
                .snapshot
                .displace(&key.namespace, &key.name);
        }
        if error.is_not_found() {
            return;
        }
        tracing::debug!(pod = %key, %error, why = error.message(), "not scheduled");
        tokio::time::sleep(RETRY_PAUSE).await;
        if self
            .caches
            .pods
            .get(key)
            .is_some_and(|now| now.node.is_none() && is_ours(&now))
        {
            self.state.lock().pending.add(key, pod.priority);
            self.wake.notify_one();
        }
    }

    async fn bind(&self, pod: &PodView, node: &str) -> Result<(), WriteError> {
        let key = &pod.meta.key;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"namespace": *key.namespace, "name": *key.name, "uid": *pod.meta.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        self.writer
            .post_subresource::<k8s_openapi::api::core::v1::Pod>(key, "binding", &binding)
            .await?;
        let message = format!("Successfully assigned {key} to {node}");
        self.recorder.normal(&reference(pod), "Scheduled", message);
        Ok(())
    }

    /// Says why the pod fits nowhere: an event each time, the condition if that is news.
    async fn refuse(&self, pod: &PodView, placement: &Placement) -> Result<(), WriteError> {
        let key = &pod.meta.key;
        let message = render(placement);
        self.recorder
            .warning(&reference(pod), "FailedScheduling", message.clone());
        let Some(since) = self.news(key, &message) else {
            return Ok(());
        };
        let conditions = json!([{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": message, "lastProbeTime": null,
            "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }]);
        let patch = json!({"status": {"conditions": conditions}});
        self.writer
            .patch_subresource(&self.caches.pods, key, "status", &patch)
            .await?;
        Ok(())
    }
}

impl State {
    fn forget(&mut self, key: &ObjectKey) {
        self.pending.forget(key);
        self.said.remove(key);
    }

    fn decide(&mut self, pod: Arc<PodView>, place_in_line: Taken) -> Decided {
        let wanted = facts::of_pod(&pod);
        let placement = place(&wanted, &self.snapshot);
        let node = placement
            .choice(self.rng.random_range(0..usize::MAX))
            .map(str::to_owned);
        match &node {
            // Counted at once, so that the next pod of the batch sees the room taken.
            Some(node) => self.snapshot.place(node, wanted),
            // Parked under the same lock, so that a node that appears now finds it parked.
            None => self.pending.park(pod.meta.key.clone(), place_in_line),
        }
        Decided {
            pod,
            placement,
            node,
        }
    }
}

/// Runs the scheduler until the task is dropped.
pub async fn control(context: Context) {
    match Scheduler::new(&context).run().await {}
}

/// Whether the pod waits for this scheduler.
fn is_ours(pod: &PodView) -> bool {
    let gated = pod
        .placement
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| gates.get() != "[]");
    pod.scheduler.is_none() && !pod.meta.is_deleting() && !gated
}

/// Whether a pod became another one for the scheduler.
fn wants_else(old: &PodView, new: &PodView) -> bool {
    old.meta.uid != new.meta.uid
        || old.node.is_some()
        || !is_ours(old)
        || facts::of_pod(old) != facts::of_pod(new)
}

fn reference(pod: &PodView) -> Reference {
    Reference::to("v1", "Pod", &pod.meta)
}
