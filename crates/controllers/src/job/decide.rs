//! What to do about a Job: whether it ends, and which pods to create or to remove.

use super::backoff::{self, Record};
use super::indexes::Indexes;
use super::policy::{self, FailureAction};
use super::seen::{Seen, Tally, earlier_failures};
use crate::pods::{Phase, PodView};
use jiff::SignedDuration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Most pods created or deleted in one look.
const BURST: usize = 500;

/// Which end a Job comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
}

/// Why a Job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) message: String,
}

/// A pod to be created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NewPod {
    /// Its index, if the Job has indexes.
    pub(super) index: Option<u32>,
    /// Failures of its index that count and those ignored, where they are counted by index.
    pub(super) failures: Option<(i64, i64)>,
}

/// What to do with pods.
#[derive(Debug, Clone, Default)]
pub(super) enum Act {
    /// Nothing.
    #[default]
    Keep,
    /// Create these.
    Create(Vec<NewPod>),
    /// Delete these without counting them.
    Remove(Vec<Arc<PodView>>),
    /// Delete these and count them as they end: the Job is over.
    Stop(Vec<Arc<PodView>>),
}

impl Act {
    /// Uids of the pods that go because the Job is over.
    pub(super) fn stopped(&self) -> BTreeSet<Arc<str>> {
        match self {
            Self::Stop(pods) => pods.iter().map(|pod| Arc::clone(&pod.meta.uid)).collect(),
            Self::Keep | Self::Create(_) | Self::Remove(_) => BTreeSet::new(),
        }
    }
}

/// What is decided.
#[derive(Debug, Clone, Default)]
pub(super) struct Decision {
    /// The Job ends, once its pods have.
    pub(super) end: Option<End>,
    pub(super) act: Act,
    /// When to look again, whatever happens.
    pub(super) wake: Option<Duration>,
}

/// Decides.
pub(super) fn decide(seen: &Seen<'_>, tally: &Tally, record: Record) -> Decision {
    let active: Vec<Arc<PodView>> = seen.active().map(Arc::clone).collect();
    if let Some(end) = end(seen, tally) {
        return Decision {
            end: Some(end),
            act: Act::Stop(active),
            wake: None,
        };
    }
    let running = active.len();
    let (act, pause) = if seen.job.meta.is_deleting() {
        (Act::Keep, None)
    } else {
        adjust(seen, tally, record, active)
    };
    let left = match &act {
        Act::Keep => running,
        Act::Create(pods) => running + pods.len(),
        Act::Remove(pods) | Act::Stop(pods) => running - pods.len(),
    };
    let enough = match seen.job.spec.completions {
        Some(completions) => tally.succeeded >= count(completions),
        None => tally.succeeded > 0,
    };
    let complete = (enough && left == 0).then(|| End {
        outcome: Outcome::Success,
        reason: "CompletionsReached".to_owned(),
        message: "Reached expected number of succeeded pods".to_owned(),
    });
    let deadline = until_deadline(seen);
    Decision {
        end: complete,
        act,
        wake: pause.into_iter().chain(deadline).min(),
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Whether the Job has to end before all its work is done.
fn end(seen: &Seen<'_>, tally: &Tally) -> Option<End> {
    let status = &seen.job.status;
    let told = |outcome, kind| {
        let condition = status.holds(kind)?;
        Some(End {
            outcome,
            reason: condition.reason.clone(),
            message: condition.message.clone(),
        })
    };
    let failure = |(reason, message): (&str, String)| End {
        outcome: Outcome::Failure,
        reason: reason.to_owned(),
        message,
    };
    told(Outcome::Success, "SuccessCriteriaMet")
        .or_else(|| told(Outcome::Failure, "FailureTarget"))
        .or_else(|| by_policy(seen).map(failure))
        .or_else(|| by_limits(seen, tally).map(failure))
        .or_else(|| by_indexes(seen, tally).map(failure))
        .or_else(|| {
            let rules = seen.job.spec.success_policy.as_deref()?;
            let message = policy::success(rules, &tally.completed, seen.below())?;
            Some(End {
                outcome: Outcome::Success,
                reason: "SuccessPolicy".to_owned(),
                message,
            })
        })
}

fn by_policy(seen: &Seen<'_>) -> Option<(&'static str, String)> {
    seen.job.spec.failure_policy.as_ref()?;
    let mut failed = seen.pods.iter().filter(|pod| seen.has_failed(pod));
    let judgement = failed.find_map(|pod| {
        let judgement = seen.judge(pod)?;
        (judgement.action == FailureAction::FailJob).then_some(judgement)
    })?;
    Some(("PodFailurePolicy", judgement.message))
}

fn by_limits(seen: &Seen<'_>, tally: &Tally) -> Option<(&'static str, String)> {
    let limit = seen.job.spec.backoff_limit;
    let failed = i64::try_from(tally.failed).unwrap_or(i64::MAX);
    if failed > limit || restarted_too_often(seen) {
        let message = "Job has reached the specified backoff limit";
        return Some(("BackoffLimitExceeded", message.to_owned()));
    }
    if until_deadline(seen).is_some_and(|left| left.is_zero()) {
        let message = "Job was active longer than specified deadline";
        return Some(("DeadlineExceeded", message.to_owned()));
    }
    None
}

/// Where containers restart within their pods, their restarts are the failures.
fn restarted_too_often(seen: &Seen<'_>) -> bool {
    if !seen.job.spec.restarts_containers {
        return false;
    }
    let alive = |pod: &&Arc<PodView>| matches!(pod.phase, Phase::Running | Phase::Pending);
    let attempts = seen.pods.iter().filter(alive);
    let attempts = attempts.filter_map(|pod| pod.attempt.as_deref());
    let restarts: i64 = attempts.map(|attempt| attempt.restarts).sum();
    restarts >= seen.job.spec.backoff_limit.max(1)
}

/// How long until the deadline; zero when it has passed.
///
/// Departs: a Job that is being resumed has its start yet to come.
fn until_deadline(seen: &Seen<'_>) -> Option<Duration> {
    let spec = &seen.job.spec;
    let rests = spec.suspended || seen.job.status.holds("Suspended").is_some();
    let allowed = spec.active_deadline_seconds.filter(|_| !rests)?;
    let end = seen.job.status.start_time?;
    let end = end.checked_add(SignedDuration::from_secs(allowed)).ok()?;
    Some(Duration::try_from(end.duration_since(seen.now)).unwrap_or_default())
}

fn by_indexes(seen: &Seen<'_>, tally: &Tally) -> Option<(&'static str, String)> {
    let failed = tally.failed_indexes.as_ref()?;
    let most = seen.job.spec.max_failed_indexes;
    if most.is_some_and(|most| failed.len() > usize::try_from(most).unwrap_or_default()) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(("MaxFailedIndexesExceeded", message.to_owned()));
    }
    let all = tally.completed.union(failed).len() >= count(seen.below());
    (all && !failed.is_empty()).then(|| ("FailedIndexes", "Job has failed indexes".to_owned()))
}

/// Creates what is missing or removes what is too much, never both in one look.
fn adjust(
    seen: &Seen<'_>,
    tally: &Tally,
    record: Record,
    active: Vec<Arc<PodView>>,
) -> (Act, Option<Duration>) {
    let spec = &seen.job.spec;
    if spec.suspended {
        return (remove(active), None);
    }
    let wanted = match spec.completions {
        None if tally.succeeded > 0 => active.len(),
        None => spec.parallelism,
        Some(completions) => {
            let open = count(completions).saturating_sub(tally.succeeded);
            open.min(spec.parallelism)
        }
    };
    let mut removed = surplus(seen, active.clone(), active.len().saturating_sub(wanted));
    if !removed.is_empty() {
        removed.truncate(BURST);
        return (remove(removed), None);
    }
    let ending = if seen.replaces_ended_only() {
        seen.terminating().count()
    } else {
        0
    };
    let missing = wanted.saturating_sub(ending + active.len()).min(BURST);
    if missing == 0 {
        return (Act::Keep, None);
    }
    if tally.failed_indexes.is_none()
        && let Some(pause) = record.remaining(seen.now)
    {
        return (Act::Keep, Some(pause));
    }
    if !seen.job.is_indexed() {
        return (Act::Create(vec![NewPod::default(); missing]), None);
    }
    indexed(seen, tally, missing)
}

fn remove(pods: Vec<Arc<PodView>>) -> Act {
    if pods.is_empty() {
        Act::Keep
    } else {
        Act::Remove(pods)
    }
}

/// New pods for the first indexes that need one and need not wait.
fn indexed(seen: &Seen<'_>, tally: &Tally, missing: usize) -> (Act, Option<Duration>) {
    let busy: Indexes = seen.active().filter_map(|pod| seen.index(pod)).collect();
    let mut taken = tally.completed.union(&busy);
    if seen.replaces_ended_only() {
        let ending = seen.terminating().filter_map(|pod| seen.index(pod));
        taken = taken.union(&ending.collect());
    }
    if let Some(failed) = &tally.failed_indexes {
        taken = taken.union(failed);
    }
    let mut pods = Vec::new();
    let mut pause: Option<Duration> = None;
    for index in taken.missing(seen.below()) {
        if pods.len() == missing {
            break;
        }
        let before = tally.delayed.get(&index);
        if let Some(wait) = before.and_then(|pod| backoff::of_index(pod, seen.now)) {
            pause = Some(pause.map_or(wait, |pause| pause.min(wait)));
            continue;
        }
        let failures = before.map(|pod| {
            let (counted, ignored) = earlier_failures(pod);
            if seen.counts(pod) {
                (counted + 1, ignored)
            } else {
                (counted, ignored + 1)
            }
        });
        let by_index = tally.failed_indexes.is_some();
        pods.push(NewPod {
            index: Some(index),
            failures: by_index.then(|| failures.unwrap_or_default()),
        });
    }
    if pods.is_empty() {
        (Act::Keep, pause)
    } else {
        (Act::Create(pods), pause)
    }
}

/// Pods to remove, at least so many: first those with no index of their own, then those that have
/// got least far.
fn surplus(seen: &Seen<'_>, mut pods: Vec<Arc<PodView>>, at_least: usize) -> Vec<Arc<PodView>> {
    let mut surplus = Vec::new();
    if !seen.job.is_indexed() && at_least == 0 {
        return surplus;
    }
    pods.sort_by_key(|pod| progress(pod));
    if seen.job.is_indexed() {
        let mut best: BTreeMap<u32, Arc<PodView>> = BTreeMap::new();
        for pod in &pods {
            match seen.index(pod) {
                // Of several with one index, the last in order has got furthest.
                Some(index) => surplus.extend(best.insert(index, Arc::clone(pod))),
                None => surplus.push(Arc::clone(pod)),
            }
        }
        pods.retain(|pod| {
            let kept = seen.index(pod).and_then(|index| best.get(&index));
            kept.is_some_and(|kept| Arc::ptr_eq(kept, pod))
        });
    }
    let more = at_least.saturating_sub(surplus.len());
    surplus.extend(pods.into_iter().take(more));
    surplus
}

/// Orders pods by how far they have got; ties by uid.
fn progress(pod: &PodView) -> impl Ord + use<> {
    let phase = match pod.phase {
        Phase::Pending => 0,
        Phase::Unknown => 1,
        Phase::Running | Phase::Succeeded | Phase::Failed => 2,
    };
    (
        pod.node.is_some(),
        phase,
        pod.is_ready(),
        Reverse(pod.ready_since()),
        Reverse(pod.restarts),
        Reverse(pod.meta.created),
        Arc::clone(&pod.meta.uid),
    )
}
