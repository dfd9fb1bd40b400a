//! Runs pods until enough of them have succeeded.
//!
//! ```text
//! watch ──> Work ──> seen (Job + pods) ──> tally ──> decide ──> create / delete pods
//!                                            └─────> account ──> status, finalizers, status
//! ```
//!
//! Deciding and counting are pure; this module reads the caches and carries out.

mod account;
mod backoff;
mod body;
mod caches;
#[cfg(test)]
mod counting_tests;
mod decide;
#[cfg(test)]
mod decide_tests;
mod indexes;
mod pace;
mod policy;
#[cfg(test)]
mod policy_tests;
mod seen;
#[cfg(test)]
mod testing;
mod tracking;
mod view;
mod watch;

pub use caches::JobCaches;
pub use policy::{FailureAction, FailureRule, OnExitCodes, OnPodCondition, SuccessRule};
pub use view::{
    CompletionMode, JobCondition, JobSpec, JobStatus, JobView, JobWire, PodReplacement, Uncounted,
};

use crate::pods::{PodControl, PodView, Selector};
use crate::runtime::{Action, Doomed, Queue, Reconcile, Recorder, Reference, WriteError, run};
use crate::supervisor::Context;
use backoff::Record;
use body::{Pattern, owner};
use decide::{Act, NewPod, Outcome};
use pace::Pace;
use parking_lot::Mutex;
use seen::{FINALIZER, Seen, Tally, is_tracked};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use watch::Work;

const API_VERSION: &str = "batch/v1";
const KIND: &str = "Job";

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let doomed = Doomed::follow(&context.caches.pods);
    let pace = Pace::new(queue.clone());
    context.caches.jobs.all.ready().await;
    context.caches.pods.ready().await;
    let jobs = Jobs {
        recorder: context.recorder.component("job-controller"),
        context: context.clone(),
        doomed,
        records: Arc::default(),
        pace: pace.clone(),
    };
    watch::watch(&jobs, &queue);
    match run(Arc::new(jobs), queue).await {}
}

/// Failures since the last success, by the Job's uid.
type Records = Arc<Mutex<BTreeMap<Arc<str>, Record>>>;

struct Jobs {
    context: Context,
    recorder: Recorder,
    doomed: Doomed,
    records: Records,
    pace: Pace,
}

impl Reconcile for Jobs {
    type Key = Work;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "job"
    }

    async fn reconcile(&self, work: &Work) -> Result<Action, WriteError> {
        match work {
            Work::Orphan(pod) => self.free_orphan(pod).await.map(|()| Action::Wait),
            Work::Job(key) => {
                let jobs = &self.context.caches.jobs.all;
                let Some(job) = jobs.get(key).filter(|job| !job.spec.managed_elsewhere) else {
                    self.pace.forget(key);
                    return Ok(Action::Wait);
                };
                self.pace.looked(key);
                let outcome = self.look_after(&job).await;
                // It may have gone meanwhile, and nobody else would forget it again.
                let now = jobs.get(key);
                if now.as_ref().is_none_or(|now| now.meta.uid != job.meta.uid) {
                    self.records.lock().remove(&job.meta.uid);
                }
                if now.is_none() {
                    self.pace.forget(key);
                }
                outcome
            }
        }
    }
}

impl Jobs {
    async fn look_after(&self, job: &Arc<JobView>) -> Result<Action, WriteError> {
        if job.is_finished() {
            self.records.lock().remove(&job.meta.uid);
            let pods = self.pods(job);
            let left = pods.iter().filter(|pod| is_tracked(pod));
            return self.release(left).await.map(|()| Action::Wait);
        }
        if let Some(selector) = &job.selector {
            self.claim(job, selector).await?;
        }
        let pods = self.pods(job);
        let doomed = self.doomed(&pods);
        let seen = Seen {
            job,
            pods: &pods,
            doomed: &doomed,
            now: self.context.clock.now(),
        };
        let tally = seen.tally();
        let record = self.record(&seen, &tally);
        let decision = decide::decide(&seen, &tally, record);
        let stopped = decision.act.stopped();
        let acted = self.act(job, decision.act).await;
        let succeeds = decision.end.as_ref();
        let succeeds = succeeds.is_some_and(|end| end.outcome == Outcome::Success);
        let acted = if succeeds && !stopped.is_empty() {
            // Counted before the Job ends, pods that were stopped would have failed.
            acted?;
            Ok(())
        } else {
            acted
        };
        // A Job whose pods could not all be stopped has not ended yet.
        let end = decision.end.filter(|_| acted.is_ok());
        self.track(job, end.as_ref(), stopped).await?;
        match acted {
            Err(error) if !error.is_namespace_terminating() => Err(error),
            _ => Ok(decision.wake.map_or(Action::Wait, Action::Requeue)),
        }
    }

    fn pods(&self, job: &JobView) -> Vec<Arc<PodView>> {
        self.context.caches.pods_by_controller.get(&job.meta.uid)
    }

    /// Which of these pods are to be deleted as far as this controller is concerned.
    fn doomed(&self, pods: &[Arc<PodView>]) -> BTreeSet<Arc<str>> {
        let doomed = pods
            .iter()
            .filter(|pod| self.doomed.contains(&pod.meta.uid));
        doomed.map(|pod| Arc::clone(&pod.meta.uid)).collect()
    }

    /// The failures so far, newly ended pods included.
    ///
    /// Departs: after a restart, they are made out anew from the pods that are left.
    fn record(&self, seen: &Seen<'_>, tally: &Tally) -> Record {
        let known = self.records.lock().get(&seen.job.meta.uid).copied();
        let before = known.unwrap_or_else(|| {
            let fresh = |pod: &Arc<PodView>| {
                let mut fresh = tally.newly_succeeded.iter().chain(&tally.newly_failed);
                fresh.any(|new| new.meta.uid == pod.meta.uid)
            };
            let old = seen.pods.iter().filter(|pod| pod.phase.is_terminal());
            let old = old.filter(|pod| !fresh(pod)).map(Arc::clone);
            let (failed, succeeded): (Vec<_>, Vec<_>) = old.partition(|pod| seen.has_failed(pod));
            let record = Record::default().after(&succeeded, &failed);
            let mut records = self.records.lock();
            records.insert(Arc::clone(&seen.job.meta.uid), record);
            record
        });
        before.after(&tally.newly_succeeded, &tally.newly_failed)
    }

    /// Adopts matching orphans and releases own pods that match no more.
    async fn claim(&self, job: &JobView, selector: &Selector) -> Result<(), WriteError> {
        let (caches, writer) = (&self.context.caches, &self.context.writer);
        for pod in self.pods(job) {
            if !selector.matches(&pod.meta.labels) && !pod.meta.is_deleting() {
                let mut owners = pod.meta.owners.to_vec();
                owners.retain(|owner| owner.uid != job.meta.uid);
                writer.set_owners(&caches.pods, &pod.meta, &owners).await?;
            }
        }
        if job.meta.is_deleting() {
            return Ok(());
        }
        for pod in caches.select_pods(job.meta.namespace(), selector) {
            if pod.meta.controller().is_none() && !pod.meta.is_deleting() {
                self.adopt(job, &pod).await?;
            }
        }
        Ok(())
    }

    async fn act(&self, job: &Arc<JobView>, act: Act) -> Result<(), WriteError> {
        match act {
            Act::Keep => Ok(()),
            Act::Create(pods) => self.create(job, &pods).await,
            Act::Remove(pods) => {
                // Without the finalizer first, they would count as failed.
                self.release(pods.iter().filter(|pod| is_tracked(pod)))
                    .await?;
                self.control(job).delete(&pods).await
            }
            Act::Stop(pods) => self.control(job).delete(&pods).await,
        }
    }

    async fn create(&self, job: &Arc<JobView>, pods: &[NewPod]) -> Result<(), WriteError> {
        let pattern = Pattern::of(job);
        let bodies: Vec<_> = pods.iter().map(|new| pattern.pod(new)).collect();
        self.control(job)
            .create(job.meta.namespace(), &bodies)
            .await
    }

    fn control(&self, job: &JobView) -> PodControl<'_> {
        PodControl {
            context: &self.context,
            recorder: &self.recorder,
            owner: Reference::to(API_VERSION, KIND, &job.meta),
            doomed: &self.doomed,
        }
    }
}
