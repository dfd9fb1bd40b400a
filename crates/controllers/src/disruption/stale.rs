//! Takes back the word that a pod is about to be disrupted when nothing came of it.

use crate::pods::PodView;
use crate::runtime::{Action, Change, ObjectKey, Queue, Reconcile, WriteError, run};
use crate::supervisor::Context;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// How long the condition may stand while its pod lives on.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// The condition that says so.
const DISRUPTION_TARGET: &str = "DisruptionTarget";
/// The node agent may take any time after it has said so.
const BY_KUBELET: &str = "TerminationByKubelet";

pub(super) async fn control(context: Context) -> Infallible {
    let queue = Queue::new();
    let (add, clock) = (queue.clone(), context.clock);
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            let pod = change.new.as_ref();
            if let Some(left) = pod.and_then(|pod| left(pod, clock.now())) {
                add.add_after(change.key.clone(), left);
            }
        });
    run(Arc::new(Stale { context }), queue).await
}

/// How long until the pod's condition is stale; `None` if it cannot be.
fn left(pod: &PodView, now: Timestamp) -> Option<Duration> {
    if pod.meta.is_deleting() || pod.phase.is_terminal() {
        return None;
    }
    let condition = pod.condition(DISRUPTION_TARGET)?;
    if !condition.holds || &*condition.reason == BY_KUBELET {
        return None;
    }
    let left = STALE_AFTER - now.duration_since(condition.since.unwrap_or(now));
    Some(Duration::try_from(left).unwrap_or_default())
}

struct Stale {
    context: Context,
}

impl Reconcile for Stale {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "stale-pod-disruption"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let now = self.context.clock.now();
        let Some(pod) = self.context.caches.pods.get(key) else {
            return Ok(Action::Wait);
        };
        match left(&pod, now) {
            None => return Ok(Action::Wait),
            Some(left) if !left.is_zero() => return Ok(Action::Requeue(left)),
            Some(_) => {}
        }
        let at = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let patch = json!({
            "metadata": {"uid": *pod.meta.uid},
            "status": {"conditions": [{
                "type": DISRUPTION_TARGET, "status": "False", "lastTransitionTime": at,
                "reason": null, "message": null,
            }]},
        });
        let (writer, cache) = (&self.context.writer, &self.context.caches.pods);
        match writer.merge_subresource(cache, key, "status", &patch).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(Action::Wait),
        }
    }
}
