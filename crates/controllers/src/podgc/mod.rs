//! Removes pods that nobody else will.
//!
//! Those of nodes that are gone, or out of service; those that end and have no node; and terminated
//! ones beyond a limit. Who has not ended yet is marked as failed first, with the reason.

use crate::pods::{NodeView, PodView};
use crate::runtime::{
    Action, Cached, Change, Deletion, Index, ObjectKey, Queue, Reconcile, WriteError, run,
};
use crate::supervisor::Context;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a node must be gone; it may only be registering anew.
const QUARANTINE: Duration = Duration::from_secs(40);
/// How long pods without a node may take to end (upstream looks every 20 s).
const ENDING: Duration = Duration::from_secs(20);
const TERMINATED: &str = "terminated";
/// Taint by which somebody vouches that a node has been shut down.
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    context.caches.nodes.ready().await;
    context.caches.pods.ready().await;
    let terminated = context.caches.pods.index(|pod| {
        if pod.phase.is_terminal() {
            vec![Arc::from(TERMINATED)]
        } else {
            Vec::new()
        }
    });
    watch(&context, &queue, &terminated);
    match run(
        Arc::new(PodGc {
            context,
            terminated,
        }),
        queue,
    )
    .await {}
}

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// Pods of a node that may be gone.
    Gone(Arc<str>),
    /// Pods of a node that is out of service.
    OutOfService(Arc<str>),
    /// A pod that ends and has no node.
    Ending(ObjectKey),
    /// The number of terminated pods.
    Terminated,
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone(name) => write!(f, "node {name}"),
            Self::OutOfService(name) => write!(f, "node {name}, out of service"),
            Self::Ending(key) => write!(f, "pod {key}"),
            Self::Terminated => f.write_str("terminated pods"),
        }
    }
}

fn watch(context: &Context, queue: &Queue<Work>, terminated: &Index<PodView>) {
    let add = queue.clone();
    context
        .caches
        .nodes
        .on_change(move |change: &Change<NodeView>| match &change.new {
            None => add.add_after(Work::Gone(Arc::clone(&change.key.name)), QUARANTINE),
            Some(node) if is_out_of_service(node) => {
                add.add(Work::OutOfService(Arc::clone(&change.key.name)));
            }
            Some(_) => {}
        });
    let (add, nodes) = (queue.clone(), context.caches.nodes.clone());
    let (limit, terminated) = (context.options.terminated_pods, terminated.clone());
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            let Some(pod) = &change.new else { return };
            let was_ending = change
                .old
                .as_ref()
                .is_some_and(|old| old.meta.is_deleting());
            let ends_now = pod.meta.is_deleting() && !was_ending;
            let was = change.old.as_ref().and_then(|old| old.node.as_ref());
            match &pod.node {
                None if ends_now => add.add_after(Work::Ending(change.key.clone()), ENDING),
                Some(name) if was != Some(name) || ends_now => match nodes.find("", name) {
                    None => add.add_after(Work::Gone(Arc::clone(name)), QUARANTINE),
                    Some(node) if ends_now && is_out_of_service(&node) => {
                        add.add(Work::OutOfService(Arc::clone(name)));
                    }
                    Some(_) => {}
                },
                Some(_) | None => {}
            }
            if limit > 0 && pod.phase.is_terminal() && terminated.count(TERMINATED) > limit {
                add.add(Work::Terminated);
            }
        });
}

/// Whether pods of the node may be taken for dead.
fn is_out_of_service(node: &NodeView) -> bool {
    !node.is_ready() && node.taints.iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

struct PodGc {
    context: Context,
    terminated: Index<PodView>,
}

impl Reconcile for PodGc {
    type Key = Work;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "podgc"
    }

    async fn reconcile(&self, work: &Work) -> Result<Action, WriteError> {
        let caches = &self.context.caches;
        match work {
            Work::Gone(node) => {
                if caches.nodes.find("", node).is_none() {
                    let pods = caches.pods_by_node.get(node);
                    self.remove_all(&pods, Because::NodeGone).await?;
                }
            }
            Work::OutOfService(name) => {
                let node = caches.nodes.find("", name);
                if node.is_some_and(|node| is_out_of_service(&node)) {
                    let mut pods = caches.pods_by_node.get(name);
                    pods.retain(|pod| pod.meta.is_deleting());
                    self.remove_all(&pods, Because::OutOfService).await?;
                }
            }
            Work::Ending(key) => {
                let pod = caches.pods.get(key);
                if let Some(pod) = pod.filter(|p| p.node.is_none() && p.meta.is_deleting()) {
                    self.remove(&pod, Because::Unscheduled).await?;
                }
            }
            Work::Terminated => self.remove_all(&self.surplus(), Because::Surplus).await?,
        }
        Ok(Action::Wait)
    }
}

/// Why a pod is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Because {
    NodeGone,
    OutOfService,
    Unscheduled,
    Surplus,
}

impl PodGc {
    /// Terminated pods beyond the limit: evicted ones first, then the oldest.
    fn surplus(&self) -> Vec<Arc<PodView>> {
        let mut pods = self.terminated.get(TERMINATED);
        pods.sort_by_key(|pod| (!pod.evicted, pod.meta.created));
        let limit = self.context.options.terminated_pods;
        pods.truncate(pods.len().saturating_sub(limit));
        pods
    }

    /// The first failure is returned after all have been tried.
    async fn remove_all(&self, pods: &[Arc<PodView>], because: Because) -> Result<(), WriteError> {
        let mut outcome = Ok(());
        for pod in pods {
            outcome = outcome.and(self.remove(pod, because).await);
        }
        outcome
    }

    async fn remove(&self, pod: &PodView, because: Because) -> Result<(), WriteError> {
        let (writer, cache) = (&self.context.writer, &self.context.caches.pods);
        let key = &pod.meta.key;
        if !pod.phase.is_terminal() {
            let patch = failure(pod, because, self.context.clock.now());
            match writer.merge_subresource(cache, key, "status", &patch).await {
                Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
                outcome => drop(outcome?),
            }
        }
        let deletion = Deletion {
            grace_seconds: Some(0),
            ..Deletion::of(&pod.meta.uid)
        };
        match writer
            .delete::<<PodView as Cached>::Wire>(key, &deletion)
            .await
        {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Nobody will tell any more how the pod ended, so it counts as failed.
fn failure(pod: &PodView, because: Because, now: Timestamp) -> Value {
    let mut status = json!({"phase": "Failed"});
    if because == Because::NodeGone
        && let Some(map) = status.as_object_mut()
    {
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        map.insert("conditions".into(), json!([condition]));
    }
    json!({"metadata": {"uid": *pod.meta.uid}, "status": status})
}
