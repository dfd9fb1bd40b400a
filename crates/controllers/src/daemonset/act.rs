//! Carries a plan out.

use super::body::{pin, pod};
use super::plan::{Because, Step};
use super::view::DaemonSetView;
use super::{DaemonSetError, DaemonSets, reference};
use crate::pods::PodView;
use crate::runtime::{Cached, Deletion, WriteError};
use futures::future::join_all;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Most pods created, and most deleted, in one reconcile.
const BURST: usize = 250;

/// What acting needs.
pub(super) struct Work<'a> {
    pub(super) controller: &'a DaemonSets,
    pub(super) set: &'a DaemonSetView,
    /// Hash of the newest template.
    pub(super) hash: &'a str,
    /// The pods by name.
    pub(super) pods: &'a BTreeMap<Arc<str>, Arc<PodView>>,
}

impl Work<'_> {
    /// Does the steps; answers when to look again because of a pause.
    pub(super) async fn carry_out(
        &self,
        steps: Vec<Step>,
        now: Timestamp,
    ) -> Result<Option<Duration>, DaemonSetError> {
        let mut wait: Option<Duration> = None;
        let (mut nodes, mut victims) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Create(node) => nodes.push(node),
                Step::Delete {
                    node,
                    pod: name,
                    because,
                } => {
                    let Some(pod) = self.pods.get(&name) else {
                        continue;
                    };
                    match self.may_go(pod, &node, because, now) {
                        Ok(()) => victims.push(pod),
                        Err(left) => wait = Some(wait.map_or(left, |known| known.min(left))),
                    }
                }
            }
        }
        if nodes.len() > BURST || victims.len() > BURST {
            wait = Some(Duration::ZERO);
        }
        nodes.truncate(BURST);
        victims.truncate(BURST);
        let created = self.create(&nodes).await;
        let deleted = self.delete(&victims).await;
        created.and(deleted)?;
        Ok(wait)
    }

    /// Whether a pod is deleted now; one that failed waits for its node's pause.
    fn may_go(
        &self,
        pod: &PodView,
        node: &Arc<str>,
        because: Because,
        now: Timestamp,
    ) -> Result<(), Duration> {
        let (about, recorder) = (reference(self.set), &self.controller.recorder);
        let key = &pod.meta.key;
        match because {
            Because::Failed => {
                let place = (Arc::clone(&self.set.meta.uid), Arc::clone(node));
                self.controller.backoff.lock().failed(&place, now)?;
                let message =
                    format!("Found failed daemon pod {key} on node {node}, will try to kill it");
                recorder.warning(&about, "FailedDaemonPod", message);
            }
            Because::Succeeded => {
                let message = format!(
                    "Found succeeded daemon pod {key} on node {node}, will try to delete it"
                );
                recorder.normal(&about, "SucceededDaemonPod", message);
            }
            Because::Surplus | Because::Misplaced | Because::Outdated => {}
        }
        Ok(())
    }

    /// Creates pods in batches of 1, 2, 4, …, so that a template that cannot be created costs one
    /// refused request and not hundreds.
    async fn create(&self, nodes: &[Arc<str>]) -> Result<(), DaemonSetError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let body = pod(self.set, self.hash);
        let context = &self.controller.context;
        let (writer, cache) = (&context.writer, &context.caches.pods);
        let namespace = self.set.meta.namespace();
        let (mut rest, mut size) = (nodes, 1);
        while !rest.is_empty() {
            let (batch, left) = rest.split_at(size.min(rest.len()));
            let creations = batch.iter().map(|node| {
                let body = pin(body.clone(), node);
                async move { writer.create(cache, namespace, &body).await }
            });
            let mut outcome = Ok(());
            for created in join_all(creations).await {
                outcome = outcome.and(self.tell_created(created));
            }
            outcome?;
            (rest, size) = (left, size * 2);
        }
        Ok(())
    }

    fn tell_created(&self, created: Result<Arc<PodView>, WriteError>) -> Result<(), WriteError> {
        let (about, recorder) = (reference(self.set), &self.controller.recorder);
        match created {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.meta.name());
                recorder.normal(&about, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) if error.is_namespace_terminating() => Err(error),
            Err(error) => {
                let message = format!("Error creating: {}", error.message());
                recorder.warning(&about, "FailedCreate", message);
                Err(error)
            }
        }
    }

    async fn delete(&self, victims: &[&Arc<PodView>]) -> Result<(), DaemonSetError> {
        let controller = self.controller;
        let writer = &controller.context.writer;
        let deletions = victims.iter().map(|pod| {
            controller.doomed.add(pod);
            let deletion = Deletion::of(&pod.meta.uid);
            async move {
                writer
                    .delete::<<PodView as Cached>::Wire>(&pod.meta.key, &deletion)
                    .await
            }
        });
        let (about, recorder) = (reference(self.set), &controller.recorder);
        let mut outcome = Ok(());
        for (pod, deleted) in victims.iter().zip(join_all(deletions).await) {
            match deleted {
                Ok(()) => {
                    let message = format!("Deleted pod: {}", pod.meta.name());
                    recorder.normal(&about, "SuccessfulDelete", message);
                }
                Err(error) => {
                    controller.doomed.spare(pod);
                    let message = format!("Error deleting: {}", error.message());
                    recorder.warning(&about, "FailedDelete", message);
                    outcome = Err(error.into());
                }
            }
        }
        outcome
    }
}
