//! A ReplicaSet's status from its pods.

use crate::pods::{PodView, ReplicaSetStatus, ReplicaSetView, StatusCondition};
use crate::pods::{availability, template_labels, template_value};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Why the number of pods could not be reached: reason and message.
pub(super) type Failure = (&'static str, String);

/// The pods of a ReplicaSet.
#[derive(Debug, Default)]
pub(super) struct Pods {
    pub(super) active: Vec<Arc<PodView>>,
    pub(super) terminating: usize,
}

/// The status, and when it will change without any event.
pub(super) fn compute(
    set: &ReplicaSetView,
    pods: &Pods,
    failure: Option<Failure>,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let wanted = template_labels(&template_value(&set.template));
    let labeled = |pod: &PodView| {
        wanted
            .iter()
            .all(|(key, value)| pod.meta.label(key) == Some(&**value))
    };
    let available: Vec<_> = pods
        .active
        .iter()
        .map(|pod| availability(pod, set.min_ready_seconds, now))
        .collect();
    let next = available
        .iter()
        .filter_map(|a| a.err())
        .filter(|d| *d != Duration::MAX)
        .min();
    let status = ReplicaSetStatus {
        replicas: count(pods.active.len()),
        fully_labeled_replicas: count(pods.active.iter().filter(|pod| labeled(pod)).count()),
        ready_replicas: count(pods.active.iter().filter(|pod| pod.is_ready()).count()),
        available_replicas: count(available.iter().filter(|a| a.is_ok()).count()),
        terminating_replicas: Some(count(pods.terminating)),
        observed_generation: set.meta.generation,
        conditions: conditions(&set.status.conditions, failure, now),
    };
    (status, next)
}

fn conditions(
    old: &[StatusCondition],
    failure: Option<Failure>,
    now: Timestamp,
) -> Vec<StatusCondition> {
    const KIND: &str = "ReplicaFailure";
    let mut conditions: Vec<_> = old.iter().filter(|c| c.kind != KIND).cloned().collect();
    if let Some((reason, message)) = failure {
        let previous = old.iter().find(|c| c.kind == KIND && c.reason == reason);
        conditions.push(previous.cloned().unwrap_or_else(|| StatusCondition {
            kind: KIND.into(),
            status: "True".into(),
            last_update_time: None,
            last_transition_time: Some(now),
            reason: reason.into(),
            message,
        }));
    }
    conditions
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
