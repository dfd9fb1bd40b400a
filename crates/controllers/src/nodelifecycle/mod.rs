//! Looks after the health of nodes.
//!
//! ```text
//! leases, statuses ─> silent? ─> Ready=Unknown ─┐
//! conditions, cordon ───────────────────────────┴> taints ─> pods not ready
//!                                  zones: how fast ┘   └──> NoExecute: pods leave in time
//! ```
//! Ready=False → `not-ready`, Ready=Unknown → `unreachable`: `NoSchedule` at once, `NoExecute` as
//! fast as the node's zone allows. Pressures and a cordon have taints of their own.

mod evict;
mod health;
mod taints;
mod zones;

use crate::pods::{NodeView, PodView, Taint};
use crate::runtime::{
    Action, Change, ObjectKey, Queue, Reconcile, Recorder, Reference, WriteError, null_if_empty,
    run,
};
use crate::supervisor::Context;
use health::Signs;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use taints::Driving;
use zones::{Answer, Zones};

/// What a silent node says no more.
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    context.caches.nodes.ready().await;
    context.caches.pods.ready().await;
    let signs = Signs::follow(&context);
    if let Some(signs) = &signs {
        signs.ready().await;
    }
    let evictions = evict::control(context.clone());
    let lifecycle = Lifecycle {
        recorder: context.recorder.component("node-controller"),
        context,
        signs,
        zones: Arc::default(),
    };
    watch(&lifecycle, &queue);
    let looking = run(Arc::new(lifecycle), queue);
    tokio::select! {
        biased;
        never = looking => match never {},
        never = evictions => match never {},
    }
}

fn watch(lifecycle: &Lifecycle, queue: &Queue<ObjectKey>) {
    let (add, zones) = (queue.clone(), Arc::clone(&lifecycle.zones));
    let (signs, recorder) = (lifecycle.signs.clone(), lifecycle.recorder.clone());
    let nodes = &lifecycle.context.caches.nodes;
    let all = nodes.clone();
    nodes.on_change(move |change: &Change<NodeView>| {
        say_membership(&recorder, change);
        let turned = zones.lock().follow(change);
        add.add(change.key.clone());
        if turned {
            // From here on all nodes are treated in another way. The silence may have been on
            // this side, so they get their time anew.
            if let Some(signs) = signs.as_ref().filter(|_| !zones.lock().nowhere()) {
                signs.restart();
            }
            all.for_each(|node| add.add(node.meta.key.clone()));
        }
    });
}

fn say_membership(recorder: &Recorder, change: &Change<NodeView>) {
    let (node, reason, what) = match (&change.old, &change.new) {
        (None, Some(node)) => (node, "RegisteredNode", "Registered Node NAME in Controller"),
        (Some(node), None) => (node, "RemovingNode", "Removing Node NAME from Controller"),
        _ => return,
    };
    let name = node.meta.name();
    let message = format!("Node {name} event: {}", what.replace("NAME", name));
    recorder.normal(&reference(node), reason, message);
}

fn reference(node: &NodeView) -> Reference {
    Reference::to("v1", "Node", &node.meta)
}

struct Lifecycle {
    context: Context,
    recorder: Recorder,
    signs: Option<Signs>,
    zones: Arc<Mutex<Zones>>,
}

impl Reconcile for Lifecycle {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "nodelifecycle"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(mut node) = self.context.caches.nodes.get(key) else {
            return Ok(Action::Wait);
        };
        let now = self.context.clock.now();
        let left = self.signs.as_ref().map(|signs| signs.left(&node));
        if left.is_some_and(|left| left.is_zero()) && says_something(&node) {
            node = self.declare_unknown(&node, now).await?;
        }
        let mut next = left.filter(|left| !left.is_zero());
        let (driving, later) = self.driving(&node, now);
        next = [next, later].into_iter().flatten().min();
        let wanted = taints::wanted(&node, driving, now);
        if *wanted != *node.taints {
            let tainted = self.taint(&node, &wanted).await;
            if tainted.is_err() && driving == Driving::On {
                self.zones.lock().give_back(&node, now);
            }
            tainted?;
        }
        if taints::is_unhealthy(&node) {
            self.mark_pods(&node, now).await?;
        }
        Ok(next.map_or(Action::Wait, Action::Requeue))
    }
}

/// Whether the node has a condition that a silent node would not have.
fn says_something(node: &NodeView) -> bool {
    let known = |kind: &&str| node.condition(kind).is_some_and(|c| c.unknown);
    !CONDITIONS.iter().all(known)
}

impl Lifecycle {
    /// Whether an unhealthy node's pods are to be driven away, and when to ask again.
    fn driving(&self, node: &NodeView, now: Timestamp) -> (Driving, Option<Duration>) {
        let mut zones = self.zones.lock();
        if !taints::is_unhealthy(node) || zones.nowhere() {
            return (Driving::Off, None);
        }
        if taints::drives(node) {
            return (Driving::AsItIs, None);
        }
        match zones.ask(node, now) {
            Answer::Go => (Driving::On, None),
            Answer::Later(wait) => (Driving::AsItIs, Some(wait)),
            Answer::Nowhere => (Driving::Off, None),
        }
    }

    async fn taint(&self, node: &NodeView, wanted: &[Taint]) -> Result<(), WriteError> {
        let patch = json!({
            "metadata": {"resourceVersion": node.meta.resource_version()},
            "spec": {"taints": null_if_empty(wanted)},
        });
        let (writer, cache) = (&self.context.writer, &self.context.caches.nodes);
        match writer.patch(cache, &node.meta.key, &patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn declare_unknown(
        &self,
        node: &NodeView,
        now: Timestamp,
    ) -> Result<Arc<NodeView>, WriteError> {
        let at = seconds(now);
        let unknown = |kind: &&str| -> Option<Value> {
            let (reason, message) = match node.condition(kind) {
                Some(condition) if condition.unknown => return None,
                Some(_) => ("NodeStatusUnknown", "Kubelet stopped posting node status."),
                None => (
                    "NodeStatusNeverUpdated",
                    "Kubelet never posted node status.",
                ),
            };
            let mut condition = json!({
                "type": kind, "status": "Unknown", "reason": reason, "message": message,
                "lastTransitionTime": at,
            });
            let created = node
                .meta
                .created
                .filter(|_| reason == "NodeStatusNeverUpdated");
            if let (Some(map), Some(created)) = (condition.as_object_mut(), created) {
                map.insert("lastHeartbeatTime".into(), seconds(created).into());
            }
            Some(condition)
        };
        let conditions: Vec<_> = CONDITIONS.iter().filter_map(unknown).collect();
        let patch = json!({
            "metadata": {"resourceVersion": node.meta.resource_version()},
            "status": {"conditions": conditions},
        });
        let cache = &self.context.caches.nodes;
        let (writer, key) = (&self.context.writer, &node.meta.key);
        let written = writer
            .merge_subresource(cache, key, "status", &patch)
            .await?;
        if node.is_ready() {
            let message = format!("Node {} status is now: NodeNotReady", node.meta.name());
            self.recorder
                .normal(&reference(node), "NodeNotReady", message);
        }
        Ok(written)
    }

    /// Pods of an unhealthy node serve nobody, and their node may be unable to say so.
    async fn mark_pods(&self, node: &NodeView, now: Timestamp) -> Result<(), WriteError> {
        for pod in self.context.caches.pods_by_node.get(node.meta.name()) {
            if pod.is_ready() && !pod.phase.is_terminal() {
                self.mark_pod(&pod, now).await?;
            }
        }
        Ok(())
    }

    async fn mark_pod(&self, pod: &PodView, now: Timestamp) -> Result<(), WriteError> {
        let patch = json!({
            "metadata": {"uid": *pod.meta.uid},
            "status": {"conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": seconds(now)}]},
        });
        let (writer, cache) = (&self.context.writer, &self.context.caches.pods);
        let key = &pod.meta.key;
        match writer.merge_subresource(cache, key, "status", &patch).await {
            Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
            outcome => drop(outcome?),
        }
        let about = Reference::to("v1", "Pod", &pod.meta);
        let message = "Node is not ready".to_owned();
        self.recorder.warning(&about, "NodeNotReady", message);
        Ok(())
    }
}

/// RFC 3339 in whole seconds, as `metav1.Time` prints.
fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
