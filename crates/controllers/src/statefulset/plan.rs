//! What to do next for a StatefulSet, and why; pure.
//!
//! ```text
//! keep the wanted pods ─> remove the surplus ─> replace outdated ones
//! ```
//! In order (`OrderedReady`) each stage stops at the first thing to do or to wait for, and the next
//! stage begins only when nothing is left. In parallel all that can be done is done at once.
//!
//! Parity: a pod that never becomes ready holds up everything after it, a newer template included,
//! so that a broken template must be taken back and its pods deleted by hand.

use crate::pods::{Phase, PodManagement, StatefulUpdate};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

/// Most pods created for one set in one go; the next follow when these are seen.
pub(super) const BURST: usize = 500;

/// What has to be mended on a pod that is as it should be otherwise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    /// It lacks the labels with its name and number.
    pub(super) identity: bool,
    /// A claim of it does not exist.
    pub(super) claims_missing: bool,
    /// A claim of it has other owners than the retention policy says.
    pub(super) claim_owners: bool,
}

/// A pod of the set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Name of the revision it was made from.
    pub(super) revision: Arc<str>,
    /// `status.phase`.
    pub(super) phase: Phase,
    /// Whether it runs and is ready.
    pub(super) is_ready: bool,
    /// Whether it has been ready for `minReadySeconds`, or how long until then.
    pub(super) available: Result<(), Duration>,
    /// Whether it is being deleted.
    pub(super) ends: bool,
    /// What is wrong with it.
    pub(super) faults: Faults,
}

impl Member {
    /// Ready for long enough, and not ending.
    pub(super) fn is_available(&self) -> bool {
        self.is_ready && self.available.is_ok() && !self.ends
    }
}

/// Everything a plan is made from.
#[derive(Debug, Clone)]
pub(super) struct Observation {
    /// Pods wanted.
    pub(super) replicas: i32,
    /// Number of the first one.
    pub(super) start: i32,
    /// In order or all at once.
    pub(super) management: PodManagement,
    /// How a new template reaches the pods.
    pub(super) update: StatefulUpdate,
    /// Name of the template's revision.
    pub(super) update_revision: Arc<str>,
    /// The pods by their numbers.
    pub(super) members: BTreeMap<i32, Member>,
    /// Numbers without a pod that cannot have one yet: their claims go with the pod before.
    pub(super) blocked: BTreeSet<i32>,
}

impl Observation {
    /// The numbers that should have a pod.
    pub(super) fn range(&self) -> Range<i64> {
        let start = i64::from(self.start);
        let end = start + i64::from(self.replicas.max(0));
        // Numbers are 32 bits; a set that counts beyond has no such pods.
        start..end.min(i64::from(i32::MAX) + 1)
    }

    /// Whether a number should have a pod.
    pub(super) fn wants(&self, ordinal: i32) -> bool {
        self.range().contains(&i64::from(ordinal))
    }

    /// The same numbers, lowest first.
    fn wanted(&self) -> impl DoubleEndedIterator<Item = i32> + use<> {
        let numbers = self.range();
        numbers.filter_map(|ordinal| i32::try_from(ordinal).ok())
    }

    /// The first numbers without a pod, as many as one plan can fill.
    pub(super) fn missing(&self) -> impl Iterator<Item = i32> + '_ {
        let missing = move |ordinal: &i32| !self.members.contains_key(ordinal);
        self.wanted().filter(missing).take(BURST)
    }

    /// Pods beyond the wanted ones, highest first.
    fn surplus(&self) -> impl DoubleEndedIterator<Item = (i32, &Member)> {
        let members = self.members.iter().rev();
        members
            .map(|(ordinal, member)| (*ordinal, member))
            .filter(move |(ordinal, _)| !self.wants(*ordinal))
    }

    /// The template a new pod is made from.
    fn template(&self, ordinal: i32) -> Template {
        match &self.update {
            StatefulUpdate::RollingUpdate { partition, .. }
                if i64::from(ordinal) < i64::from(self.start) + i64::from(*partition) =>
            {
                Template::Current
            }
            StatefulUpdate::RollingUpdate { .. } | StatefulUpdate::OnDelete => Template::Update,
        }
    }
}

/// Which template a pod is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Template {
    /// That of the last finished rollout.
    Current,
    /// That of the set.
    Update,
}

/// Why a pod is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Because {
    /// It failed and is made anew.
    Failed,
    /// It came to an end and is made anew.
    Succeeded,
    /// The set has shrunk.
    Surplus,
    /// Its template is not the set's.
    Outdated,
}

/// Something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Create the pod, its claims first.
    Create(Template),
    /// Delete the pod.
    Delete(Because),
    /// Create the claims that are missing.
    MakeClaims,
    /// Put the labels with name and number on the pod.
    Identify,
    /// Give its claims the owners that the retention policy says.
    OwnClaims,
}

/// What a stage waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// The pod is gone.
    Gone,
    /// The pod is ready.
    Ready,
    /// The pod has been ready for long enough.
    Available,
    /// The claims of the pod before are gone.
    ClaimsGone,
    /// Some pods of the set are available again.
    FewerUnavailable,
}

/// One step of a plan, about one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Do it.
    Do(i32, Act),
    /// Nothing further may be done before.
    Wait(i32, Until),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ordinal, text) = match self {
            Self::Do(ordinal, act) => {
                let text = match act {
                    Act::Create(Template::Current) => "create from the current revision",
                    Act::Create(Template::Update) => "create from the update revision",
                    Act::Delete(Because::Failed) => "delete, for it failed",
                    Act::Delete(Because::Succeeded) => "delete, for it ended",
                    Act::Delete(Because::Surplus) => "delete, for it is surplus",
                    Act::Delete(Because::Outdated) => "delete, for its template is outdated",
                    Act::MakeClaims => "create missing claims",
                    Act::Identify => "mend the labels",
                    Act::OwnClaims => "mend the owners of the claims",
                };
                (ordinal, text)
            }
            Self::Wait(ordinal, until) => {
                let text = match until {
                    Until::Gone => "wait until it is gone",
                    Until::Ready => "wait until it is ready",
                    Until::Available => "wait until it has been ready for long enough",
                    Until::ClaimsGone => "wait until the claims of its predecessor are gone",
                    Until::FewerUnavailable => "wait until fewer pods are unavailable",
                };
                (ordinal, text)
            }
        };
        write!(f, "pod {ordinal}: {text}")
    }
}

/// Plans the next steps. They are to be done in order, and none after one that failed.
pub(super) fn plan(seen: &Observation) -> Vec<Step> {
    let mut steps = Vec::new();
    let ordered = seen.management == PodManagement::OrderedReady;
    // A stage that says `Break` has something to do or to wait for.
    let stages = [keep, shrink, roll];
    for stage in stages {
        if stage(seen, &mut steps).is_break() && ordered {
            break;
        }
    }
    steps
}

/// Makes the wanted pods, lowest first.
fn keep(seen: &Observation, steps: &mut Vec<Step>) -> ControlFlow<()> {
    let ordered = seen.management == PodManagement::OrderedReady;
    let mut created = 0;
    for ordinal in seen.wanted() {
        let outcome = match seen.members.get(&ordinal) {
            None if seen.blocked.contains(&ordinal) => {
                steps.push(Step::Wait(ordinal, Until::ClaimsGone));
                ControlFlow::Break(())
            }
            None => {
                created += 1;
                steps.push(Step::Do(ordinal, Act::Create(seen.template(ordinal))));
                ControlFlow::Break(())
            }
            Some(member) => tend(ordinal, member, ordered, steps),
        };
        if outcome.is_break() && (ordered || created >= BURST) {
            return outcome;
        }
    }
    ControlFlow::Continue(())
}

/// Looks after a pod that there is.
fn tend(ordinal: i32, member: &Member, ordered: bool, steps: &mut Vec<Step>) -> ControlFlow<()> {
    if member.phase.is_terminal() {
        steps.push(if member.ends {
            Step::Wait(ordinal, Until::Gone)
        } else {
            let failed = member.phase == Phase::Failed;
            let because = if failed {
                Because::Failed
            } else {
                Because::Succeeded
            };
            Step::Do(ordinal, Act::Delete(because))
        });
        return ControlFlow::Break(());
    }
    if member.phase == Phase::Pending && member.faults.claims_missing && !member.ends {
        steps.push(Step::Do(ordinal, Act::MakeClaims));
    }
    if ordered && let Some(until) = missing(member) {
        steps.push(Step::Wait(ordinal, until));
        return ControlFlow::Break(());
    }
    if !member.ends {
        if member.faults.identity {
            steps.push(Step::Do(ordinal, Act::Identify));
        }
        if member.faults.claim_owners {
            steps.push(Step::Do(ordinal, Act::OwnClaims));
        }
    }
    ControlFlow::Continue(())
}

/// What a pod lacks to be available.
fn missing(member: &Member) -> Option<Until> {
    if member.ends {
        Some(Until::Gone)
    } else if !member.is_ready {
        Some(Until::Ready)
    } else if member.available.is_err() {
        Some(Until::Available)
    } else {
        None
    }
}

/// Removes pods beyond the wanted ones, highest first.
fn shrink(seen: &Observation, steps: &mut Vec<Step>) -> ControlFlow<()> {
    for (ordinal, member) in seen.surplus() {
        if member.faults.claim_owners {
            steps.push(Step::Do(ordinal, Act::OwnClaims));
        }
    }
    let ordered = seen.management == PodManagement::OrderedReady;
    // Of several broken pods only the lowest may go: the others wait for those below them.
    let broken = seen
        .surplus()
        .rev()
        .find(|(_, member)| !member.is_available());
    for (ordinal, member) in seen.surplus() {
        let lowest_broken = broken.is_some_and(|(lowest, _)| lowest == ordinal);
        let blocked = missing(member).filter(|until| *until == Until::Gone || !lowest_broken);
        match blocked {
            Some(until) if ordered => steps.push(Step::Wait(ordinal, until)),
            Some(Until::Gone) => {}
            _ => steps.push(Step::Do(ordinal, Act::Delete(Because::Surplus))),
        }
        if ordered {
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}

/// Replaces pods whose template is outdated, highest first.
fn roll(seen: &Observation, steps: &mut Vec<Step>) -> ControlFlow<()> {
    let StatefulUpdate::RollingUpdate {
        partition,
        max_unavailable,
    } = &seen.update
    else {
        return ControlFlow::Continue(());
    };
    let first = i64::from(seen.start) + i64::from(*partition);
    match max_unavailable {
        Some(bound) => roll_several(seen, first, bound, steps),
        None => roll_one(seen, first, steps),
    }
}

/// One pod at a time; each must be available before the next goes.
fn roll_one(seen: &Observation, first: i64, steps: &mut Vec<Step>) -> ControlFlow<()> {
    for ordinal in seen.wanted().rev() {
        if i64::from(ordinal) < first {
            break;
        }
        let Some(member) = seen.members.get(&ordinal) else {
            // Being created.
            return ControlFlow::Break(());
        };
        if may_be_replaced(seen, member) {
            steps.push(Step::Do(ordinal, Act::Delete(Because::Outdated)));
            return ControlFlow::Break(());
        }
        if let Some(until) = missing(member) {
            steps.push(Step::Wait(ordinal, until));
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}

/// As many as the bound lets be unavailable. Outdated pods that are unavailable already cost nothing
/// more, and may be what the bound waits for.
fn roll_several(
    seen: &Observation,
    first: i64,
    bound: &IntOrString,
    steps: &mut Vec<Step>,
) -> ControlFlow<()> {
    let wanted = seen.members.iter();
    let wanted = wanted.filter(|(ordinal, _)| seen.wants(**ordinal));
    let available = wanted.clone().filter(|(_, member)| member.is_available());
    let replicas = usize::try_from(seen.replicas).unwrap_or_default();
    let unavailable = replicas.saturating_sub(available.count());
    let mut budget = bound_of(bound, seen.replicas).saturating_sub(unavailable);
    let mut waits = None;
    for (ordinal, member) in wanted.rev() {
        if i64::from(*ordinal) < first || !may_be_replaced(seen, member) {
            continue;
        }
        if member.is_available() {
            if budget == 0 {
                waits.get_or_insert(*ordinal);
                continue;
            }
            budget -= 1;
        }
        steps.push(Step::Do(*ordinal, Act::Delete(Because::Outdated)));
    }
    match waits {
        Some(ordinal) => {
            steps.push(Step::Wait(ordinal, Until::FewerUnavailable));
            ControlFlow::Break(())
        }
        None => ControlFlow::Continue(()),
    }
}

/// Whether a pod is outdated and nobody deletes it yet.
fn may_be_replaced(seen: &Observation, member: &Member) -> bool {
    // Pods that have ended were seen to before.
    member.revision != seen.update_revision && !member.ends && !member.phase.is_terminal()
}

/// How many pods may be unavailable: percentages round down, and one always may.
fn bound_of(bound: &IntOrString, replicas: i32) -> usize {
    let number = match bound {
        IntOrString::Int(number) => i64::from(*number),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|p| p.parse::<i64>().ok());
            percent.unwrap_or_default().saturating_mul(replicas.into()) / 100
        }
    };
    usize::try_from(number.max(1)).unwrap_or(1)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
