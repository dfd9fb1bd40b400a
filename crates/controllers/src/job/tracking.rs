//! Carries out the counting of ended pods: status, finalizers, status.

use super::account::{self, Account};
use super::decide::{End, Outcome};
use super::seen::Seen;
use super::view::{JobStatus, JobView};
use super::watch::adopters;
use super::{API_VERSION, FINALIZER, Jobs, KIND, is_tracked, owner};
use crate::pods::PodView;
use crate::runtime::{ObjectKey, Reference, WriteError, null_if_empty};
use futures::future::join_all;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

impl Jobs {
    /// Counts what has ended, and ends the Job when it is time. `stopped` are the uids of pods
    /// whose deletion was asked for a moment ago, whether the cache shows it or not.
    pub(super) async fn track(
        &self,
        job: &Arc<JobView>,
        end: Option<&End>,
        stopped: BTreeSet<Arc<str>>,
    ) -> Result<(), WriteError> {
        let pods = self.pods(job);
        let mut doomed = self.doomed(&pods);
        doomed.extend(stopped);
        let now = self.context.clock.now();
        let seen = Seen {
            job,
            pods: &pods,
            doomed: &doomed,
            now,
        };
        let mut tally = seen.tally();
        let Account {
            mut status,
            release,
            whole,
            news,
        } = account::account(&seen, &tally, end);
        let mut current = Arc::clone(job);
        // Without pods to release, both writes are one.
        let two_steps = !release.is_empty();
        if two_steps && status != job.status {
            current = self.write(&current, &status).await?;
        }
        let released = self.release(&release).await;
        let left = self.pods(job);
        let going = self.doomed(&left);
        let after = Seen {
            job: &current,
            pods: &left,
            doomed: &going,
            now,
        };
        let tracked = after.tracked();
        // The others are new once more at the next look.
        tally.keep_counted(&status.uncounted_terminated_pods, &tracked);
        let record = self.record(&seen, &tally);
        let uid = Arc::clone(&job.meta.uid);
        self.records.lock().insert(uid, record);
        let seen = after;
        account::settle(&mut status, &tracked);
        status.terminating = Some(seen.terminating().count());
        let ending = end.filter(|_| whole && released.is_ok());
        let ended = ending.filter(|end| account::finish(&mut status, end, now));
        if status != current.status {
            self.write(&current, &status).await?;
        }
        let about = Reference::to(API_VERSION, KIND, &job.meta);
        if let Some((reason, message)) = news {
            self.recorder.normal(&about, reason, message.to_owned());
        }
        if let Some(end) = ended {
            self.tell_end(&about, end, &current, &status);
        }
        if !whole {
            self.pace.add(job.meta.key.clone());
        }
        released
    }

    fn tell_end(&self, about: &Reference, end: &End, job: &JobView, status: &JobStatus) {
        if end.outcome == Outcome::Failure {
            let message = end.message.clone();
            return self.recorder.warning(about, &end.reason, message);
        }
        let wanted = job.spec.completions;
        if wanted.is_some_and(|wanted| status.succeeded > usize::try_from(wanted).unwrap_or(0)) {
            let message = "Too many succeeded pods running after completion count reached";
            self.recorder
                .warning(about, "TooManySucceededPods", message.to_owned());
        }
        self.recorder
            .normal(about, "Completed", "Job completed".to_owned());
    }

    /// Writes the status, provided that nobody has changed the Job meanwhile.
    async fn write(
        &self,
        job: &Arc<JobView>,
        status: &JobStatus,
    ) -> Result<Arc<JobView>, WriteError> {
        let patch = json!({
            "metadata": {"uid": *job.meta.uid, "resourceVersion": job.meta.resource_version()},
            "status": status.to_patch(),
        });
        let (writer, cache) = (&self.context.writer, &self.context.caches.jobs.all);
        writer
            .patch_subresource(cache, &job.meta.key, "status", &patch)
            .await
    }

    /// Takes the finalizer from pods. The first failure is returned after all have been tried.
    pub(super) async fn release(
        &self,
        pods: impl IntoIterator<Item = &Arc<PodView>>,
    ) -> Result<(), WriteError> {
        let releases = pods.into_iter().map(|pod| self.free(pod));
        join_all(releases).await.into_iter().collect()
    }

    async fn free(&self, pod: &PodView) -> Result<(), WriteError> {
        let left = pod.meta.finalizers.iter().map(|name| &**name);
        let left: Vec<&str> = left.filter(|name| *name != FINALIZER).collect();
        // The list is replaced, so nobody may have changed it meanwhile.
        let patch = json!({"metadata": {
            "uid": *pod.meta.uid, "resourceVersion": pod.meta.resource_version(),
            "finalizers": null_if_empty(&left),
        }});
        self.patch_pod(pod, patch).await
    }

    /// Makes a pod the Job's own.
    pub(super) async fn adopt(&self, job: &JobView, pod: &PodView) -> Result<(), WriteError> {
        let owners = pod.meta.owners.iter();
        let owners = owners.filter(|owner| owner.uid != job.meta.uid);
        let mut owners: Vec<_> = owners.map(crate::runtime::Owner::to_reference).collect();
        owners.push(owner(job).to_reference());
        let mut finalizers: Vec<&str> = pod.meta.finalizers.iter().map(|name| &**name).collect();
        if !is_tracked(pod) {
            finalizers.push(FINALIZER);
        }
        let patch = json!({"metadata": {
            "uid": *pod.meta.uid, "resourceVersion": pod.meta.resource_version(),
            "ownerReferences": owners, "finalizers": finalizers,
        }});
        self.patch_pod(pod, patch).await
    }

    /// One that is gone is a success.
    async fn patch_pod(&self, pod: &PodView, patch: serde_json::Value) -> Result<(), WriteError> {
        let (writer, cache) = (&self.context.writer, &self.context.caches.pods);
        match writer.patch(cache, &pod.meta.key, &patch).await {
            Err(error) if error.is_not_found() => {
                cache.remove(&pod.meta.key);
                Ok(())
            }
            outcome => outcome.map(drop),
        }
    }

    /// Takes the finalizer from a pod that no Job will count.
    pub(super) async fn free_orphan(&self, key: &ObjectKey) -> Result<(), WriteError> {
        let caches = &self.context.caches;
        let Some(pod) = caches.pods.get(key).filter(|pod| is_tracked(pod)) else {
            return Ok(());
        };
        let counted_by = |owner: &crate::runtime::Owner| {
            let job = pod.job().and_then(|job| caches.jobs.all.get(&job));
            job.is_some_and(|job| {
                job.meta.uid == owner.uid && (job.spec.managed_elsewhere || !job.is_finished())
            })
        };
        let waits = match pod.meta.controller() {
            Some(owner) => counted_by(owner),
            None => !adopters(caches, &pod).is_empty(),
        };
        if waits {
            return Ok(());
        }
        self.free(&pod).await
    }
}
