//! Making room for a pod: its victims are told why and end gracefully.
//!
//! Upstream's order: the pod is nominated for the node, less important pods lose their nomination
//! there, the victims get the condition `DisruptionTarget`, are deleted with their own grace period
//! and hear of it by an event. The pod itself is tried again as room appears.

use super::Scheduler;
use super::carrying::reference;
use crate::pods::PodView;
use crate::runtime::{Deletion, ObjectKey, WriteError};
use futures::future::join_all;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::Instant;

/// What the condition of a victim says.
const WHY: &str = "default-scheduler: preempting to accommodate a higher priority pod";

impl Scheduler {
    /// Removes the victims from the node and gives the pod back to the queue.
    pub(super) async fn preempt(&self, pod: &PodView, node: &str, victims: &[ObjectKey]) {
        self.withdraw_less_important(pod, node).await;
        let removals = victims
            .iter()
            .filter_map(|victim| self.caches.pods.get(victim))
            .filter(|victim| !victim.meta.is_deleting())
            .map(|victim| async move { self.remove(pod, node, &victim).await });
        let failed = join_all(removals).await.into_iter().find_map(Result::err);
        // Another pod may have its name by now, with a place of its own in the queue.
        if self.still_waits(pod) {
            let mut state = self.state.lock();
            let now = Instant::now();
            match &failed {
                // What happened to the victims meanwhile has woken it.
                None => state.queue.park(&pod.meta.key, now),
                Some(_) => state.queue.fail(&pod.meta.key, now),
            }
        }
        if let Some(error) = failed {
            let key = &pod.meta.key;
            tracing::debug!(pod = %key, %error, why = error.message(), "victim not removed");
        }
        self.wake.notify_one();
    }

    async fn remove(&self, pod: &PodView, node: &str, victim: &PodView) -> Result<(), WriteError> {
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": WHY, "observedGeneration": victim.meta.generation,
            "lastProbeTime": null, "lastTransitionTime": now,
        });
        let status = json!({"conditions": [condition]});
        let (key, uid) = (&victim.meta.key, &victim.meta.uid);
        match self.patch_status(key, uid, status).await {
            // It is gone, or another pod has its name: there is nothing to remove.
            Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
            told => told?,
        }
        let deletion = Deletion {
            uid: Some(Arc::clone(uid)),
            ..Deletion::default()
        };
        self.writer
            .delete::<k8s_openapi::api::core::v1::Pod>(key, &deletion)
            .await?;
        let message = format!("Preempted by pod {} on node {node}", pod.meta.uid);
        self.recorder
            .normal(&reference(victim), "Preempted", message);
        Ok(())
    }

    /// Pods that were to come to the node but matter less look for another one.
    async fn withdraw_less_important(&self, pod: &PodView, node: &str) {
        let withdrawn = {
            let mut state = self.state.lock();
            let withdrawn = state.withdraw_below(node, pod.priority);
            let now = Instant::now();
            for key in &withdrawn {
                if let Some(pod) = self.caches.pods.get(key) {
                    state.retry(key, pod.priority, now);
                }
            }
            withdrawn
        };
        for key in withdrawn {
            let Some(other) = self.caches.pods.get(&key) else {
                continue;
            };
            let status = json!({"nominatedNodeName": Value::Null});
            if let Err(error) = self.patch_status(&key, &other.meta.uid, status).await {
                tracing::debug!(pod = %key, %error, why = error.message(), "still nominated");
            }
        }
    }
}
