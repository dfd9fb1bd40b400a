//! The arithmetic of budgets: pods and bounds in, figures out.

use crate::deployment::rolling::{Rounding, resolve};
use crate::pods::{Bound, BudgetCondition, BudgetStatus, BudgetView, PodView};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A pod whose eviction was granted should have begun to end after this time; otherwise it counts
/// again.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// What a budget was computed from and to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Figures {
    /// Pods there should be.
    pub(super) expected: i32,
    /// Pods that must be healthy.
    pub(super) desired: i32,
    /// Pods that are healthy.
    pub(super) healthy: i32,
}

impl Figures {
    /// Evictions that may be granted. Where nothing is expected nothing is allowed, so that the
    /// first pods of a set are protected before they have been counted.
    pub(super) fn allowed(self) -> i32 {
        if self.expected <= 0 {
            return 0;
        }
        self.healthy.saturating_sub(self.desired).max(0)
    }
}

/// What says how many pods there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basis {
    /// Nothing: a budget without a bound expects no pod, so it allows no eviction.
    Nothing,
    /// The pods that there are.
    Pods,
    /// What the pods' controllers want: the bound is relative to it.
    Scale,
}

/// What a bound is counted against.
pub(super) fn basis(bound: Option<&Bound>) -> Basis {
    match bound {
        None => Basis::Nothing,
        Some(Bound::MinAvailable(IntOrString::Int(_))) => Basis::Pods,
        Some(Bound::MaxUnavailable(_) | Bound::MinAvailable(IntOrString::String(_))) => {
            Basis::Scale
        }
    }
}

/// How many pods must be healthy; percentages round up, for both bounds.
///
/// # Errors
/// The bound is text that is no percentage.
pub(super) fn desired(bound: Option<&Bound>, expected: i32) -> Result<i32, String> {
    Ok(match bound {
        None => 0,
        Some(Bound::MinAvailable(least)) => amount(least, expected)?,
        Some(Bound::MaxUnavailable(most)) => {
            expected.saturating_sub(amount(most, expected)?).max(0)
        }
    })
}

fn amount(value: &IntOrString, expected: i32) -> Result<i32, String> {
    if let IntOrString::String(text) = value {
        let digits = text.strip_suffix('%').unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!(
                "invalid value for IntOrString: invalid type: string is not a percentage: {text:?}"
            ));
        }
    }
    Ok(resolve(value, expected, Rounding::Up))
}

/// Granted evictions whose pods have not begun to end.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// By pod name, with the time of the grant.
    pub(super) pods: BTreeMap<String, Timestamp>,
    /// Pods that should have been deleted by now and were not.
    pub(super) overdue: Vec<Arc<PodView>>,
    /// When the first of `pods` is overdue.
    pub(super) recheck: Option<Duration>,
}

/// Sorts the grants a status knows of by what became of their pods.
pub(super) fn in_flight(
    granted: &BTreeMap<String, Timestamp>,
    pods: &[Arc<PodView>],
    now: Timestamp,
) -> InFlight {
    let mut result = InFlight::default();
    if granted.is_empty() {
        return result;
    }
    for pod in pods.iter().filter(|pod| !pod.meta.is_deleting()) {
        let Some(at) = granted.get(pod.meta.name()) else {
            continue;
        };
        let left = DELETION_TIMEOUT.saturating_sub(now.duration_since(*at));
        if left.is_negative() {
            result.overdue.push(Arc::clone(pod));
            continue;
        }
        result.pods.insert(pod.meta.name().to_owned(), *at);
        // Just after the second in which it becomes overdue.
        let left = Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1);
        result.recheck = Some(result.recheck.map_or(left, |known| known.min(left)));
    }
    result
}

/// Pods that serve and are not about to go.
pub(super) fn healthy(pods: &[Arc<PodView>], in_flight: &BTreeMap<String, Timestamp>) -> i32 {
    let counts = |pod: &&Arc<PodView>| {
        pod.is_ready() && !pod.meta.is_deleting() && !in_flight.contains_key(pod.meta.name())
    };
    i32::try_from(pods.iter().filter(counts).count()).unwrap_or(i32::MAX)
}

/// What the condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// At least one pod may go.
    Sufficient,
    /// None may.
    Insufficient,
    /// Nobody knows, for this reason.
    SyncFailed(String),
}

/// The status that follows.
pub(super) fn status(
    budget: &BudgetView,
    figures: Figures,
    in_flight: BTreeMap<String, Timestamp>,
    now: Timestamp,
) -> BudgetStatus {
    let mut status = BudgetStatus {
        observed_generation: budget.meta.generation,
        disruptions_allowed: figures.allowed(),
        current_healthy: figures.healthy,
        desired_healthy: figures.desired,
        expected_pods: figures.expected,
        disrupted_pods: in_flight,
        conditions: budget.status.conditions.clone(),
    };
    let verdict = if status.disruptions_allowed > 0 {
        Verdict::Sufficient
    } else {
        Verdict::Insufficient
    };
    judge(&mut status, verdict, now);
    status
}

/// Writes the condition; its time changes only with its status.
pub(super) fn judge(status: &mut BudgetStatus, verdict: Verdict, now: Timestamp) {
    let (holds, reason, message) = match verdict {
        Verdict::Sufficient => ("True", "SufficientPods", String::new()),
        Verdict::Insufficient => ("False", "InsufficientPods", String::new()),
        Verdict::SyncFailed(why) => ("False", "SyncFailed", why),
    };
    let known = status
        .conditions
        .iter()
        .position(|condition| condition.kind == DISRUPTION_ALLOWED);
    let since = known
        .and_then(|at| status.conditions.get(at))
        .filter(|condition| condition.status == holds)
        .and_then(|condition| condition.last_transition_time);
    let condition = BudgetCondition {
        kind: DISRUPTION_ALLOWED.into(),
        status: holds.into(),
        observed_generation: status.observed_generation,
        last_transition_time: since.or(Some(now)),
        reason: reason.into(),
        message,
    };
    match known.and_then(|at| status.conditions.get_mut(at)) {
        Some(same) => *same = condition,
        None => status.conditions.push(condition),
    }
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
