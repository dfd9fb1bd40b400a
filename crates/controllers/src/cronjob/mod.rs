//! Starts Jobs on a schedule.

mod plan;
mod timing;
mod view;

pub use view::{ActiveJob, Concurrency, CronJobSpec, CronJobStatus, CronJobView, CronJobWire};

use crate::job::{JobView, JobWire};
use crate::runtime::{
    Action, Cache, Change, Deletion, Doomed, EventKind, ObjectKey, Owner, Queue, Reconcile,
    Recorder, Reference, WriteError, run,
};
use crate::supervisor::Context;
use jiff::Timestamp;
use plan::{News, Overlap};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use timing::{Timing, Unusable};

const API_VERSION: &str = "batch/v1";
const KIND: &str = "CronJob";
/// Annotation of a Job: the time it was planned for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let cron_jobs: Cache<CronJobView> = Cache::start(context.client.clone(), context.seed ^ 0x0c);
    let doomed = Doomed::follow(&context.caches.jobs.all);
    watch(&context, &cron_jobs, &queue);
    cron_jobs.ready().await;
    context.caches.jobs.all.ready().await;
    let controller = CronJobs {
        recorder: context.recorder.component("cronjob-controller"),
        context,
        cache: cron_jobs,
        doomed,
        queue: queue.clone(),
    };
    match run(Arc::new(controller), queue).await {}
}

fn watch(context: &Context, cron_jobs: &Cache<CronJobView>, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    cron_jobs.on_change(move |change: &Change<CronJobView>| add.add(change.key.clone()));
    let add = queue.clone();
    let jobs = &context.caches.jobs.all;
    jobs.on_change(move |change: &Change<JobView>| {
        let sides = [change.old.as_ref(), change.new.as_ref()];
        for job in sides.into_iter().flatten() {
            let owner = job.meta.controller();
            if let Some(owner) = owner.filter(|owner| &*owner.kind == KIND) {
                add.add(ObjectKey {
                    namespace: Arc::clone(&job.meta.key.namespace),
                    name: Arc::clone(&owner.name),
                });
            }
        }
    });
}

struct CronJobs {
    context: Context,
    recorder: Recorder,
    cache: Cache<CronJobView>,
    doomed: Doomed,
    queue: Queue<ObjectKey>,
}

impl Reconcile for CronJobs {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "cronjob"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(cron_job) = self.cache.get(key) else {
            return Ok(Action::Wait);
        };
        let mut jobs = self
            .context
            .caches
            .jobs
            .by_controller
            .get(&cron_job.meta.uid);
        jobs.retain(|job| !self.doomed.contains(&job.meta.uid));
        let about = Reference::to(API_VERSION, KIND, &cron_job.meta);
        let mut status = cron_job.status.clone();
        self.tell(&about, plan::settle(&mut status, &jobs));
        let cron_job = self.write(cron_job, &status).await?;
        // A Job that cannot be deleted must not keep the next one from being started.
        let tidied = self.tidy(&about, &plan::outdated(&cron_job, &jobs)).await;
        let action = self.start(&about, &cron_job).await?;
        if let (Err(_), Action::Requeue(wait)) = (&tidied, &action) {
            // Tries to delete it come ever less often; starts are on time.
            self.queue.add_after(key.clone(), *wait);
        }
        tidied.map(|()| action)
    }
}

/// What to tell about a CronJob that can start nothing.
fn complaint(cron_job: &CronJobView, unusable: &Unusable) -> News {
    let schedule = &cron_job.spec.schedule;
    let (reason, message) = match unusable {
        Unusable::Zone(name) => (
            "UnknownTimeZone",
            format!("invalid timeZone: {name:?}: unknown time zone {name}"),
        ),
        Unusable::Schedule(error @ plimsoll_engine::cron::CronError::Never(_)) => (
            "InvalidSchedule",
            format!("invalid schedule: {schedule} : {error}"),
        ),
        Unusable::Schedule(error) => (
            "UnparseableSchedule",
            format!(
                "unparseable schedule: {schedule:?} : {}",
                error.upstream(schedule)
            ),
        ),
    };
    (EventKind::Warning, reason, message)
}

impl CronJobs {
    fn tell(&self, about: &Reference, news: impl IntoIterator<Item = News>) {
        for (kind, reason, message) in news {
            self.recorder.event(about, kind, reason, message);
        }
    }

    /// Writes the status if it differs, provided that nobody has changed the CronJob meanwhile.
    async fn write(
        &self,
        cron_job: Arc<CronJobView>,
        status: &CronJobStatus,
    ) -> Result<Arc<CronJobView>, WriteError> {
        if *status == cron_job.status {
            return Ok(cron_job);
        }
        let meta = &cron_job.meta;
        let patch = json!({
            "metadata": {"uid": *meta.uid, "resourceVersion": meta.resource_version()},
            "status": status.to_patch(),
        });
        self.context
            .writer
            .patch_subresource(&self.cache, &meta.key, "status", &patch)
            .await
    }

    /// Deletes finished Jobs that are too many. The first failure is returned after all have been
    /// tried.
    async fn tidy(&self, about: &Reference, jobs: &[Arc<JobView>]) -> Result<(), WriteError> {
        let mut outcome = Ok(());
        for job in jobs {
            let deleted = self.delete(about, &job.meta.key, &job.meta.uid).await;
            outcome = outcome.and(deleted);
        }
        outcome
    }

    /// Starts what is due and says when to look again.
    async fn start(
        &self,
        about: &Reference,
        cron_job: &Arc<CronJobView>,
    ) -> Result<Action, WriteError> {
        if cron_job.meta.is_deleting() {
            return Ok(Action::Wait);
        }
        let timing = match Timing::of(cron_job) {
            Ok(timing) => timing,
            Err(unusable) => {
                self.tell(about, [complaint(cron_job, &unusable)]);
                return Ok(Action::Wait);
            }
        };
        if cron_job.spec.suspend {
            return Ok(Action::Wait);
        }
        let now = self.context.clock.now();
        self.start_due(cron_job, &timing, now).await?;
        Ok(timing.wait(now).map_or(Action::Wait, Action::Requeue))
    }

    async fn delete(
        &self,
        about: &Reference,
        key: &ObjectKey,
        uid: &Arc<str>,
    ) -> Result<(), WriteError> {
        self.doomed.add(uid);
        let deletion = Deletion::of(uid);
        match self.context.writer.delete::<JobWire>(key, &deletion).await {
            Ok(()) => {
                let message = format!("Deleted job {}", key.name);
                self.recorder.normal(about, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) => {
                self.doomed.spare(uid);
                let message = format!("Deleted job: {}", error.message());
                self.recorder.warning(about, "FailedDelete", message);
                Err(error)
            }
        }
    }

    /// Starts a Job if one is due.
    async fn start_due(
        &self,
        cron_job: &Arc<CronJobView>,
        timing: &Timing,
        now: Timestamp,
    ) -> Result<(), WriteError> {
        let Some(due) = timing.due(cron_job, now) else {
            return Ok(());
        };
        let about = Reference::to(API_VERSION, KIND, &cron_job.meta);
        if due.many_missed {
            let message = "too many missed start times. Set or decrease \
                           .spec.startingDeadlineSeconds or check clock skew";
            self.recorder
                .warning(&about, "TooManyMissedTimes", message.to_owned());
        }
        if due.too_late {
            let message = format!(
                "Missed scheduled time to start a job: {}",
                timing::in_words(due.at)
            );
            self.recorder.warning(&about, "MissSchedule", message);
            return Ok(());
        }
        let name = job_name(cron_job, due.at);
        let mut status = cron_job.status.clone();
        if status.active.iter().any(|job| job.name == name) {
            return Ok(());
        }
        let Overlap::Start(replaced) = plan::overlap(cron_job, &status) else {
            let message = "Not starting job because prior execution is running and concurrency \
                           policy is Forbid";
            self.recorder
                .normal(&about, "JobAlreadyActive", message.to_owned());
            return Ok(());
        };
        for old in replaced {
            let key = ObjectKey::new(&old.namespace, &old.name);
            self.delete(&about, &key, &old.uid.as_str().into()).await?;
            status.active.retain(|job| job.uid != old.uid);
        }
        let body = job_body(cron_job, &name, &timing.shown(due.at));
        let Some(job) = self.create(cron_job, &about, &name, &body).await? else {
            return Ok(());
        };
        // It may have been created, and have ended, before the status could be written.
        if !job.is_finished() && !status.runs(&job.meta.uid) {
            status.active.push(active(&job));
        }
        status.last_schedule_time = Some(due.at);
        self.write(Arc::clone(cron_job), &status).await.map(drop)
    }

    /// Creates the Job. One of its name that is this CronJob's own is the one meant: the status
    /// could not be written after its creation.
    async fn create(
        &self,
        cron_job: &CronJobView,
        about: &Reference,
        name: &str,
        body: &Value,
    ) -> Result<Option<Arc<JobView>>, WriteError> {
        let (writer, cache) = (&self.context.writer, &self.context.caches.jobs.all);
        let namespace = cron_job.meta.namespace();
        match writer.create(cache, namespace, body).await {
            Ok(job) => {
                let message = format!("Created job {name}");
                self.recorder.normal(about, "SuccessfulCreate", message);
                Ok(Some(job))
            }
            Err(error) if error.is_already_exists() => {
                Ok(cache.find(namespace, name).filter(|job| {
                    let owner = job.meta.controller();
                    owner.is_some_and(|owner| owner.uid == cron_job.meta.uid)
                }))
            }
            Err(error) if error.is_namespace_terminating() => Ok(None),
            Err(error) => {
                let message = format!("Error creating job: {}", error.message());
                self.recorder.warning(about, "FailedCreate", message);
                Err(error)
            }
        }
    }
}

/// A running Job as the status names it.
fn active(job: &JobView) -> ActiveJob {
    ActiveJob {
        api_version: API_VERSION.to_owned(),
        kind: "Job".to_owned(),
        namespace: job.meta.namespace().to_owned(),
        name: job.meta.name().to_owned(),
        uid: job.meta.uid.to_string(),
        resource_version: job.meta.resource_version(),
    }
}

/// A name of its own for each planned time, so that none is started twice.
fn job_name(cron_job: &CronJobView, at: Timestamp) -> String {
    format!("{}-{}", cron_job.meta.name(), at.as_second() / 60)
}

/// The Job for a planned time.
fn job_body(cron_job: &CronJobView, name: &str, planned: &str) -> Value {
    let template = cron_job.spec.job_template.as_deref();
    let template: Value = template
        .and_then(|text| serde_json::from_str(text.get()).ok())
        .unwrap_or_default();
    let owner = Owner {
        api_version: API_VERSION.into(),
        kind: KIND.into(),
        name: Arc::clone(&cron_job.meta.key.name),
        uid: Arc::clone(&cron_job.meta.uid),
        controller: true,
        block_owner_deletion: true,
    };
    let part = |path: &str| template.pointer(path).cloned();
    let annotations = part("/metadata/annotations").and_then(|value| match value {
        Value::Object(map) => Some(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    });
    let mut annotations: Map<String, Value> = annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.into(), planned.into());
    let mut metadata = json!({
        "name": name, "annotations": annotations, "ownerReferences": [owner.to_reference()],
    });
    if let (Some(labels), Some(map)) = (part("/metadata/labels"), metadata.as_object_mut()) {
        map.insert("labels".into(), labels);
    }
    json!({
        "apiVersion": API_VERSION, "kind": "Job",
        "metadata": metadata, "spec": part("/spec").unwrap_or_default(),
    })
}
