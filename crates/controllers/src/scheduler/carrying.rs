//! The writes that carry a decision out.

use super::devices::Grant;
use super::state::{AtNode, Decided, Verdict};
use super::volumes::{BindError, Step};
use super::{Scheduler, is_ours};
use crate::pods::PodView;
use crate::runtime::{ObjectKey, Reference, WriteError};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use tokio::time::Instant;

impl Scheduler {
    /// Writes what was decided; puts the pod back in line if that fails.
    pub(super) async fn carry_out(&self, decided: Decided) {
        let Decided {
            pod,
            verdict,
            volumes,
            grants,
        } = decided;
        match verdict {
            Verdict::Bind { node } => self.place_pod(&pod, &node, (volumes, &grants)).await,
            Verdict::Refuse { message, elsewhere } => {
                self.refuse(&pod, &message, "Unschedulable").await;
                if elsewhere {
                    self.free_unused(&pod).await;
                }
            }
            Verdict::Preempt {
                message,
                node,
                victims,
            } => {
                let told = self.refuse(&pod, &message, "Unschedulable");
                tokio::join!(biased; told, self.preempt(&pod, &node, &victims));
            }
        }
    }

    async fn place_pod(
        &self,
        pod: &PodView,
        node: &str,
        (volumes, grants): (Result<Vec<Step>, BindError>, &[Grant]),
    ) {
        if let Err(error) = self.carry_volumes(pod, node, volumes).await {
            let why = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {error}");
            return self.take_back(pod, &why).await;
        }
        if let Err(error) = self.grant(pod, grants).await {
            let why = format!("running PreBind plugin \"DynamicResources\": {error}");
            return self.take_back(pod, &why).await;
        }
        if let Err(error) = self.bind(pod, node).await {
            self.take_grants_back(pod, grants).await;
            let why = format!("running Bind plugin \"DefaultBinder\": {}", error.message());
            self.take_back(pod, &why).await;
        }
    }

    async fn carry_volumes(
        &self,
        pod: &PodView,
        node: &str,
        volumes: Result<Vec<Step>, BindError>,
    ) -> Result<(), BindError> {
        let steps = volumes?;
        if steps.is_empty() {
            return Ok(());
        }
        self.awaiting_volumes.fetch_add(1, Ordering::Relaxed);
        let bound = self.bind_volumes(pod, &steps, node).await;
        self.awaiting_volumes.fetch_sub(1, Ordering::Relaxed);
        self.release_volumes(&steps);
        bound
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

    /// Takes a decision back that could not be carried out.
    async fn take_back(&self, pod: &PodView, why: &str) {
        let key = &pod.meta.key;
        tracing::debug!(pod = %key, why, "not bound");
        let still_waits = self.still_waits(pod);
        {
            let now = Instant::now();
            let mut state = self.state.lock();
            // The watch may have shown meanwhile that it is bound after all. Once it is gone it counts
            // nowhere any more; what has its name now is another pod.
            let known = self.caches.pods.get(key);
            let same = known.filter(|known| known.meta.uid == pod.meta.uid && known.node.is_none());
            if same.is_some()
                && let Some(node) = state.change().displace(&key.namespace, &key.name)
            {
                state.wake_at(AtNode::PodLeft, &node, now);
            }
            if still_waits {
                state.queue.fail(key, now);
            }
        }
        self.wake.notify_one();
        if still_waits {
            self.refuse(pod, why, "SchedulerError").await;
        }
    }

    /// Whether this very pod still waits for this scheduler.
    pub(super) fn still_waits(&self, pod: &PodView) -> bool {
        let known = self.caches.pods.get(&pod.meta.key);
        known.is_some_and(|now| now.meta.uid == pod.meta.uid && now.node.is_none() && is_ours(&now))
    }

    /// Says why the pod is not scheduled: an event each time, the condition if that is news.
    async fn refuse(&self, pod: &PodView, message: &str, reason: &str) {
        self.recorder
            .warning(&reference(pod), "FailedScheduling", message.to_owned());
        let (since, nominated) = {
            let mut state = self.state.lock();
            let Some(since) = state.news(pod, message, self.clock.now()) else {
                return;
            };
            (since, state.nominated(&pod.meta.key))
        };
        let condition = json!({
            "type": "PodScheduled", "status": "False", "reason": reason, "message": message,
            "lastProbeTime": null, "observedGeneration": pod.meta.generation,
            "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        let mut status = json!({"conditions": [condition]});
        if nominated != pod.placement.nominated_node {
            let node = nominated.map_or(Value::Null, |node| Value::from(&*node));
            if let Some(status) = status.as_object_mut() {
                status.insert("nominatedNodeName".into(), node);
            }
        }
        if let Err(error) = self
            .patch_status(&pod.meta.key, &pod.meta.uid, status)
            .await
            && !error.is_not_found()
        {
            tracing::debug!(pod = %pod.meta.key, %error, why = error.message(), "status not written");
            self.state.lock().unsay(&pod.meta.key);
        }
    }

    /// Patches the status of exactly this pod; conditions are merged by type.
    pub(super) async fn patch_status(
        &self,
        key: &ObjectKey,
        uid: &str,
        status: Value,
    ) -> Result<(), WriteError> {
        let patch = json!({"metadata": {"uid": uid}, "status": status});
        self.writer
            .merge_subresource(&self.caches.pods, key, "status", &patch)
            .await?;
        Ok(())
    }
}

/// What events about the pod refer to.
pub(super) fn reference(pod: &PodView) -> Reference {
    Reference::to("v1", "Pod", &pod.meta)
}
