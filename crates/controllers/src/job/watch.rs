//! Which Job to look at when something changes.

use super::{Jobs, KIND, is_tracked};
use crate::job::JobView;
use crate::pods::{Caches, PodView};
use crate::runtime::{Change, ObjectKey, Owner, Queue};
use std::fmt;
use std::sync::Arc;

/// What to work on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// A Job.
    Job(ObjectKey),
    /// A pod that may wait for a Job that is no more.
    Orphan(ObjectKey),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(key) => write!(f, "{key}"),
            Self::Orphan(key) => write!(f, "orphan {key}"),
        }
    }
}

/// Fills the queue from now on.
pub(super) fn watch(jobs: &Jobs, queue: &Queue<Work>) {
    let caches = &jobs.context.caches;
    let (add, pace, records) = (queue.clone(), jobs.pace.clone(), Arc::clone(&jobs.records));
    let pods = caches.pods_by_controller.clone();
    caches.jobs.all.on_change(move |change: &Change<JobView>| {
        let replaced = match (&change.old, &change.new) {
            (Some(old), Some(new)) => old.meta.uid != new.meta.uid,
            (old, new) => old.is_some() && new.is_none(),
        };
        if let Some(old) = change.old.as_ref().filter(|_| replaced) {
            records.lock().remove(&old.meta.uid);
            let left = pods.get(&old.meta.uid).into_iter();
            let left = left.filter(|pod| is_tracked(pod));
            left.for_each(|pod| add.add(Work::Orphan(pod.meta.key.clone())));
        }
        match (&change.old, &change.new) {
            (_, None) => pace.forget(&change.key),
            (Some(old), Some(new)) if is_only_status(old, new) => pace.add(change.key.clone()),
            (_, Some(_)) => add.add(Work::Job(change.key.clone())),
        }
    });
    let (add, pace) = (queue.clone(), jobs.pace.clone());
    let known = caches.clone();
    caches.pods.on_change(move |change: &Change<PodView>| {
        if matters(change) {
            let sides = [change.old.as_ref(), change.new.as_ref()];
            let keys = sides.into_iter().flatten().filter_map(|pod| pod.job());
            keys.for_each(|key| pace.add(key));
        }
        if let Some(pod) = &change.new {
            orphaned(&known, pod).for_each(|work| add.add(work));
        }
    });
}

/// Whether nothing a person sets has changed.
fn is_only_status(old: &JobView, new: &JobView) -> bool {
    let asked = |job: &JobView| (job.meta.generation, job.meta.is_deleting());
    old.meta.uid == new.meta.uid && asked(old) == asked(new)
}

/// Whether a change of a pod can change what its Job does or shows.
fn matters(change: &Change<PodView>) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return true;
    };
    let facts = |pod: &PodView| (pod.phase, pod.meta.is_deleting(), pod.is_ready());
    facts(old) != facts(new)
        || old.meta.uid != new.meta.uid
        || old.meta.finalizers != new.meta.finalizers
        || old.meta.labels != new.meta.labels
        || old.meta.owners != new.meta.owners
        || old.attempt != new.attempt
}

/// What to do about a pod that no Job may look after.
fn orphaned(caches: &Caches, pod: &PodView) -> impl Iterator<Item = Work> {
    let mut work = Vec::new();
    if let Some(owner) = pod.meta.controller() {
        let live = pod.job().is_none_or(|job| {
            let job = caches.jobs.all.get(&job);
            job.is_some_and(|job| job.meta.uid == owner.uid && !job.is_finished())
        });
        if !live && is_tracked(pod) {
            work.push(Work::Orphan(pod.meta.key.clone()));
        }
    } else {
        let adopters = adopters(caches, pod);
        if adopters.is_empty() && is_tracked(pod) {
            work.push(Work::Orphan(pod.meta.key.clone()));
        }
        work.extend(adopters.into_iter().map(Work::Job));
    }
    work.into_iter()
}

/// The Jobs that would take an orphan.
pub(super) fn adopters(caches: &Caches, pod: &PodView) -> Vec<ObjectKey> {
    if pod.meta.is_deleting() {
        return Vec::new();
    }
    let jobs = caches
        .jobs
        .selecting(pod.meta.namespace(), &pod.meta.labels);
    jobs.iter().map(|job| job.meta.key.clone()).collect()
}

impl PodView {
    /// The Job that controls the pod.
    pub(super) fn job(&self) -> Option<ObjectKey> {
        let owner = self.meta.controller().filter(|owner| is_job(owner))?;
        Some(ObjectKey {
            namespace: Arc::clone(&self.meta.key.namespace),
            name: Arc::clone(&owner.name),
        })
    }
}

fn is_job(owner: &Owner) -> bool {
    &*owner.kind == KIND && owner.api_version.starts_with("batch/")
}
