//! A Job and its pods at one moment, and what they add up to.

use super::indexes::Indexes;
use super::policy::{self, FailureAction, Judgement};
use super::view::{JobView, PodReplacement, Uncounted};
use crate::pods::{Phase, PodView};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Keeps a pod until its Job has counted it.
pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// Annotation and label with the pod's index.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
/// Annotation: earlier failures of the pod's index that count.
pub(super) const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// Annotation: earlier failures of the pod's index that were ignored.
pub(super) const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// Whether the pod waits to be counted.
pub(super) fn is_tracked(pod: &PodView) -> bool {
    pod.meta.finalizers.iter().any(|name| &**name == FINALIZER)
}

/// When the pod ended, as well as it is known.
pub(super) fn ended_at(pod: &PodView) -> Timestamp {
    let attempt = pod.attempt.as_deref();
    let grace = SignedDuration::from_secs(pod.grace_seconds.unwrap_or_default());
    let begun = |end: Timestamp| end.checked_sub(grace).unwrap_or(end);
    attempt
        .and_then(|attempt| attempt.ended.or(attempt.unready))
        .or_else(|| pod.meta.deleting.map(begun))
        .or(pod.meta.created)
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Failures of an index before a pod, as its annotations say: those that count, those ignored.
pub(super) fn earlier_failures(pod: &PodView) -> (i64, i64) {
    let number = |key| {
        let text = pod.meta.annotation(key);
        text.and_then(|text| text.parse::<i64>().ok())
            .unwrap_or_default()
            .max(0)
    };
    (number(FAILURES), number(IGNORED))
}

/// What is looked at.
#[derive(Debug)]
pub(super) struct Seen<'a> {
    pub(super) job: &'a JobView,
    /// Every pod the Job controls.
    pub(super) pods: &'a [Arc<PodView>],
    /// Those whose deletion was asked for, whether it has been seen or not.
    pub(super) doomed: &'a BTreeSet<Arc<str>>,
    pub(super) now: Timestamp,
}

impl Seen<'_> {
    /// The bound of indexes.
    pub(super) fn below(&self) -> u32 {
        self.job.spec.completions.unwrap_or_default()
    }

    /// The pod's index, if it has one within bounds.
    pub(super) fn index(&self, pod: &PodView) -> Option<u32> {
        let index = pod.meta.annotation(INDEX)?.parse().ok()?;
        (index < self.below()).then_some(index)
    }

    /// Whether the pod can count at all: one of an indexed Job needs an index.
    fn is_valid(&self, pod: &PodView) -> bool {
        !self.job.is_indexed() || self.index(pod).is_some()
    }

    /// Whether pods are only replaced once they have ended.
    pub(super) fn replaces_ended_only(&self) -> bool {
        self.job.spec.replacement == PodReplacement::Failed
    }

    pub(super) fn has_failed(&self, pod: &PodView) -> bool {
        let going = pod.meta.is_deleting() && pod.phase != Phase::Succeeded;
        pod.phase == Phase::Failed || (going && !self.replaces_ended_only())
    }

    fn is_going(&self, pod: &PodView) -> bool {
        pod.meta.is_deleting() || self.doomed.contains(&pod.meta.uid)
    }

    /// Pods that run, or will.
    pub(super) fn active(&self) -> impl Iterator<Item = &Arc<PodView>> {
        let alive = self.pods.iter().filter(|pod| !pod.phase.is_terminal());
        alive.filter(|pod| !self.is_going(pod))
    }

    /// Pods that are being deleted and have not ended.
    pub(super) fn terminating(&self) -> impl Iterator<Item = &Arc<PodView>> {
        let alive = self.pods.iter().filter(|pod| !pod.phase.is_terminal());
        alive.filter(|pod| self.is_going(pod))
    }

    /// Uids of pods that wait to be counted.
    pub(super) fn tracked(&self) -> BTreeSet<Arc<str>> {
        let tracked = self.pods.iter().filter(|pod| is_tracked(pod));
        tracked.map(|pod| Arc::clone(&pod.meta.uid)).collect()
    }

    /// What the Job's own rules say about a failed pod.
    pub(super) fn judge(&self, pod: &PodView) -> Option<Judgement> {
        policy::judge(self.job.spec.failure_policy.as_deref()?, pod)
    }

    /// Whether the pod's failure counts towards the limits.
    pub(super) fn counts(&self, pod: &PodView) -> bool {
        let judgement = self.judge(pod);
        judgement.is_none_or(|judgement| judgement.action != FailureAction::Ignore)
    }

    /// Adds up.
    pub(super) fn tally(&self) -> Tally {
        let status = &self.job.status;
        let uncounted = &status.uncounted_terminated_pods;
        let known = |list: &[Arc<str>]| list.iter().map(Arc::clone).collect::<BTreeSet<_>>();
        let (was_succeeded, was_failed) = (known(&uncounted.succeeded), known(&uncounted.failed));
        let mut tally = Tally {
            completed: Indexes::parse(&status.completed_indexes, self.below()),
            ..Tally::default()
        };
        let tracked = self.pods.iter().filter(|pod| is_tracked(pod));
        for pod in tracked.filter(|pod| self.is_valid(pod)) {
            if pod.phase == Phase::Succeeded && !was_succeeded.contains(&pod.meta.uid) {
                tally.newly_succeeded.push(Arc::clone(pod));
            } else if self.has_failed(pod) && !was_failed.contains(&pod.meta.uid) {
                tally.newly_failed.push(Arc::clone(pod));
            }
        }
        let counted = tally.newly_failed.iter().filter(|pod| self.counts(pod));
        tally.failed = status.failed + uncounted.failed.len() + counted.count();
        if self.job.is_indexed() {
            let indexes = tally.newly_succeeded.iter();
            let fresh: Indexes = indexes.filter_map(|pod| self.index(pod)).collect();
            tally.completed = tally.completed.union(&fresh);
            tally.succeeded = tally.completed.len();
            self.by_index(&mut tally);
        } else {
            tally.succeeded =
                status.succeeded + uncounted.succeeded.len() + tally.newly_succeeded.len();
        }
        tally
    }

    /// Where failures are counted by index: the indexes that failed, and the failed pods that hand
    /// their count on to a successor yet to be made.
    fn by_index(&self, tally: &mut Tally) {
        let Some(limit) = self.job.spec.backoff_limit_per_index else {
            return;
        };
        let failed = |pod: &&Arc<PodView>| is_tracked(pod) && self.has_failed(pod);
        let lost = self.pods.iter().filter(failed).filter_map(|pod| {
            let index = self.index(pod)?;
            let action = self.judge(pod).map(|judgement| judgement.action);
            let over = match action {
                Some(FailureAction::FailIndex) => true,
                Some(FailureAction::Ignore) => false,
                Some(FailureAction::FailJob | FailureAction::Count) | None => {
                    earlier_failures(pod).0 >= limit
                }
            };
            over.then_some(index)
        });
        let before = self
            .job
            .status
            .failed_indexes
            .as_deref()
            .unwrap_or_default();
        let all = Indexes::parse(before, self.below()).union(&lost.collect());
        let mut latest: BTreeMap<u32, (i64, &Arc<PodView>)> = BTreeMap::new();
        for pod in self.pods.iter().filter(|pod| is_tracked(pod)) {
            let Some(index) = self.index(pod) else {
                continue;
            };
            let (counted, ignored) = earlier_failures(pod);
            let rank = counted + ignored;
            let entry = latest.entry(index).or_insert((rank, pod));
            if entry.0 <= rank {
                *entry = (rank, pod);
            }
        }
        latest.retain(|index, (_, pod)| {
            self.has_failed(pod) && !all.has(*index) && !tally.completed.has(*index)
        });
        let delayed = latest.into_iter();
        tally.delayed = delayed.map(|(i, (_, pod))| (i, Arc::clone(pod))).collect();
        tally.failed_indexes = Some(all);
    }
}

impl Tally {
    /// Leaves of the newly ended pods those that will not be new again: they are in the list, or
    /// nothing holds them.
    pub(super) fn keep_counted(&mut self, list: &Uncounted, tracked: &BTreeSet<Arc<str>>) {
        let counted = |pod: &Arc<PodView>| {
            let uid = &pod.meta.uid;
            !tracked.contains(uid) || list.succeeded.contains(uid) || list.failed.contains(uid)
        };
        self.newly_succeeded.retain(counted);
        self.newly_failed.retain(counted);
    }
}

/// What a Job's pods add up to, counted or not.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Successes (of indexed Jobs: indexes that succeeded).
    pub(super) succeeded: usize,
    /// Failures that count.
    pub(super) failed: usize,
    /// Pods that succeeded and are not in the status.
    pub(super) newly_succeeded: Vec<Arc<PodView>>,
    /// Pods that failed and are not in the status, ignored ones included.
    pub(super) newly_failed: Vec<Arc<PodView>>,
    /// Indexes that succeeded.
    pub(super) completed: Indexes,
    /// Indexes that failed, where that is a thing.
    pub(super) failed_indexes: Option<Indexes>,
    /// By index, the last failed pod that has no successor.
    pub(super) delayed: BTreeMap<u32, Arc<PodView>>,
}
