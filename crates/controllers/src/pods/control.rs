//! Making and ending the pods of an owner, with an event about each.

use super::PodView;
use crate::runtime::{Cached, Deletion, Doomed, Recorder, Reference, WriteError};
use crate::supervisor::Context;
use futures::future::join_all;
use serde::Serialize;
use std::sync::Arc;

/// What it takes to make and end the pods of one owner.
pub(crate) struct PodControl<'a> {
    pub(crate) context: &'a Context,
    pub(crate) recorder: &'a Recorder,
    /// Whose pods they are: events are about it.
    pub(crate) owner: Reference,
    /// Where deletions are noted.
    pub(crate) doomed: &'a Doomed,
}

impl PodControl<'_> {
    /// Creates pods in batches of 1, 2, 4, …, so that a template that cannot be created costs one
    /// refused request and not hundreds.
    ///
    /// # Errors
    /// The first failure; no further batch is begun then.
    pub(crate) async fn create<B: Serialize>(
        &self,
        namespace: &str,
        bodies: &[B],
    ) -> Result<(), WriteError> {
        let (writer, cache) = (&self.context.writer, &self.context.caches.pods);
        let (mut rest, mut size) = (bodies, 1);
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(size.min(rest.len()));
            let creations = batch
                .iter()
                .map(|body| writer.create(cache, namespace, body));
            let mut outcome = Ok(());
            for created in join_all(creations).await {
                outcome = outcome.and(self.tell_created(created));
            }
            outcome?;
            (rest, size) = (later, size * 2);
        }
        Ok(())
    }

    fn tell_created(&self, created: Result<Arc<PodView>, WriteError>) -> Result<(), WriteError> {
        let pod = created.inspect_err(|error| self.complain("FailedCreate", "creating", error))?;
        let message = format!("Created pod: {}", pod.meta.name());
        self.recorder
            .normal(&self.owner, "SuccessfulCreate", message);
        Ok(())
    }

    /// Deletes exactly these pods, all at once.
    ///
    /// # Errors
    /// The first failure; the others are deleted all the same.
    pub(crate) async fn delete(&self, pods: &[Arc<PodView>]) -> Result<(), WriteError> {
        for pod in pods {
            self.doomed.add(&pod.meta.uid);
        }
        let writer = &self.context.writer;
        let deletions = pods.iter().map(|pod| async move {
            let deletion = Deletion::of(&pod.meta.uid);
            writer
                .delete::<<PodView as Cached>::Wire>(&pod.meta.key, &deletion)
                .await
        });
        let mut outcome = Ok(());
        for (pod, deleted) in pods.iter().zip(join_all(deletions).await) {
            outcome = outcome.and(self.tell_deleted(pod, deleted));
        }
        outcome
    }

    fn tell_deleted(
        &self,
        pod: &PodView,
        deleted: Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        deleted.inspect_err(|error| {
            self.doomed.spare(&pod.meta.uid);
            self.complain("FailedDelete", "deleting", error);
        })?;
        let message = format!("Deleted pod: {}", pod.meta.name());
        self.recorder
            .normal(&self.owner, "SuccessfulDelete", message);
        Ok(())
    }

    /// Nobody needs to hear that nothing can be made where everything goes.
    fn complain(&self, reason: &str, doing: &str, error: &WriteError) {
        if !error.is_namespace_terminating() {
            let message = format!("Error {doing}: {}", error.message());
            self.recorder.warning(&self.owner, reason, message);
        }
    }
}
