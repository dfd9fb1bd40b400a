//! Counts ended pods so that none is lost or counted twice, whatever fails when.
//!
//! ```text
//! 1. uids of ended pods -> status.uncountedTerminatedPods          (one write)
//! 2. their finalizer goes, so that they may vanish                 (one write a pod)
//! 3. uids without a finalizer -> status.succeeded, status.failed   (one write)
//! ```
//!
//! A crash between any two leaves each pod in exactly one of three places: with its finalizer,
//! in the list, or in the figures.

use super::decide::{End, Outcome};
use super::indexes::Indexes;
use super::seen::{Seen, Tally, is_tracked};
use super::view::{JobCondition, JobStatus};
use crate::pods::{Phase, PodView};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Most uids in the list at a time.
const MOST: usize = 500;

/// The first step.
#[derive(Debug)]
pub(super) struct Account {
    /// The status to be written before any finalizer goes.
    pub(super) status: JobStatus,
    /// Pods whose finalizer then goes.
    pub(super) release: Vec<Arc<PodView>>,
    /// Whether all ended pods are in; more are left otherwise.
    pub(super) whole: bool,
    /// What to tell once the status is written: reason and message.
    pub(super) news: Option<(&'static str, &'static str)>,
}

/// Makes out the first step.
pub(super) fn account(seen: &Seen<'_>, tally: &Tally, end: Option<&End>) -> Account {
    let mut account = Account {
        status: figures(seen, tally),
        release: Vec::new(),
        whole: true,
        news: None,
    };
    collect(seen, tally, end, &mut account);
    if let Some(end) = end {
        let kind = match end.outcome {
            Outcome::Success => "SuccessCriteriaMet",
            Outcome::Failure => "FailureTarget",
        };
        account.status.ensure(kind, "True", end, seen.now);
    } else if !seen.job.meta.is_deleting() {
        account.news = suspension(seen, &mut account.status);
    }
    account
}

/// Everything but the counting of ended pods.
fn figures(seen: &Seen<'_>, tally: &Tally) -> JobStatus {
    let mut status = seen.job.status.clone();
    settle(&mut status, &seen.tracked());
    status.active = seen.active().count();
    status.ready = Some(seen.active().filter(|pod| pod.is_ready()).count());
    status.terminating = Some(seen.terminating().count());
    if status.start_time.is_none() && !seen.job.spec.suspended {
        status.start_time = Some(seconds(seen.now));
    }
    status.failed_indexes = tally.failed_indexes.as_ref().map(Indexes::to_string);
    status
}

fn collect(seen: &Seen<'_>, tally: &Tally, end: Option<&End>, account: &mut Account) {
    let over = end.is_some() || seen.job.meta.is_deleting();
    let failing = end.is_some_and(|end| end.outcome == Outcome::Failure);
    let succeeding = end.is_some_and(|end| end.outcome == Outcome::Success);
    let before = Indexes::parse(&seen.job.status.completed_indexes, seen.below());
    let known = |list: &[Arc<str>]| list.iter().map(Arc::clone).collect::<BTreeSet<_>>();
    let uncounted = &mut account.status.uncounted_terminated_pods;
    let (succeeded, failed) = (known(&uncounted.succeeded), known(&uncounted.failed));
    let mut fresh = BTreeSet::new();
    for pod in seen.pods.iter().filter(|pod| is_tracked(pod)) {
        let index = seen.index(pod);
        let uid = &pod.meta.uid;
        let last = index.and_then(|index| tally.delayed.get(&index));
        let ended = pod.phase == Phase::Succeeded || seen.has_failed(pod);
        // A failed pod without a successor keeps the failures of its index.
        let waits = !over && last.is_some_and(|last| last.meta.uid == *uid);
        if waits || !(over || ended) {
            continue;
        }
        account.release.push(Arc::clone(pod));
        if pod.phase == Phase::Succeeded && !failed.contains(uid) {
            if seen.job.is_indexed() {
                fresh.extend(index.filter(|index| !before.has(*index)));
            } else if !succeeded.contains(uid) {
                uncounted.succeeded.push(Arc::clone(uid));
            }
        } else if (seen.has_failed(pod) || failing)
            && !(succeeding && was_stopped(seen, pod))
            && !failed.contains(uid)
            && (index.is_some() || !seen.job.is_indexed())
            && seen.counts(pod)
        {
            uncounted.failed.push(Arc::clone(uid));
        }
        if fresh.len() + uncounted.succeeded.len() + uncounted.failed.len() >= MOST {
            account.whole = false;
            break;
        }
    }
    if seen.job.is_indexed() {
        let completed = before.union(&fresh.into_iter().collect());
        account.status.succeeded = completed.len();
        account.status.completed_indexes = completed.to_string();
    }
}

/// Whether the pod ends only because enough others have succeeded.
fn was_stopped(seen: &Seen<'_>, pod: &PodView) -> bool {
    // Who asked for a deletion is known at the look that did. What others deleted before was
    // counted before, so that a pod that ends now was stopped at an earlier look.
    let by_policy = seen.job.spec.success_policy.is_some();
    by_policy && (pod.meta.is_deleting() || seen.doomed.contains(&pod.meta.uid))
}

/// Says whether the Job is suspended. A resumed one begins anew, and so does its deadline.
fn suspension(seen: &Seen<'_>, status: &mut JobStatus) -> Option<(&'static str, &'static str)> {
    let (value, reason, event, message) = if seen.job.spec.suspended {
        ("True", "JobSuspended", "Suspended", "Job suspended")
    } else {
        ("False", "JobResumed", "Resumed", "Job resumed")
    };
    let told = End {
        outcome: Outcome::Success,
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    if !status.ensure("Suspended", value, &told, seen.now) {
        return None;
    }
    if !seen.job.spec.suspended {
        status.start_time = Some(seconds(seen.now));
    }
    Some((event, message))
}

/// The third step: moves uids into the figures unless their pods still have the finalizer.
pub(super) fn settle(status: &mut JobStatus, tracked: &BTreeSet<Arc<str>>) {
    let uncounted = &mut status.uncounted_terminated_pods;
    let open = uncounted.succeeded.len() + uncounted.failed.len();
    let before = uncounted.succeeded.len();
    uncounted.succeeded.retain(|uid| tracked.contains(uid));
    status.succeeded += before - uncounted.succeeded.len();
    uncounted.failed.retain(|uid| tracked.contains(uid));
    status.failed += open - before - uncounted.failed.len();
}

/// Ends the Job if all its pods have ended and are counted.
pub(super) fn finish(status: &mut JobStatus, end: &End, now: Timestamp) -> bool {
    let uncounted = &status.uncounted_terminated_pods;
    let open = !uncounted.succeeded.is_empty() || !uncounted.failed.is_empty();
    if open || status.terminating.is_some_and(|pods| pods > 0) {
        return false;
    }
    let kind = match end.outcome {
        Outcome::Success => "Complete",
        Outcome::Failure => "Failed",
    };
    status.ensure(kind, "True", end, now);
    if end.outcome == Outcome::Success {
        status.completion_time = Some(seconds(now));
    }
    true
}

impl JobStatus {
    /// Makes a condition say this. One that is absent does not become false. Whether it changed.
    fn ensure(&mut self, kind: &str, status: &str, why: &End, now: Timestamp) -> bool {
        let wanted = JobCondition {
            kind: kind.to_owned(),
            status: status.to_owned(),
            last_probe_time: Some(seconds(now)),
            last_transition_time: Some(seconds(now)),
            reason: why.reason.clone(),
            message: why.message.clone(),
        };
        match self.conditions.iter_mut().find(|c| c.kind == kind) {
            Some(c) if c.status == status && c.reason == why.reason && c.message == why.message => {
                false
            }
            Some(condition) => {
                *condition = wanted;
                true
            }
            None if status == "False" => false,
            None => {
                self.conditions.push(wanted);
                true
            }
        }
    }
}

/// Times in objects have whole seconds.
fn seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}
