//! A Deployment's status from its ReplicaSets.

use super::rolling::Bounds;
use crate::pods::{DeploymentStatus, DeploymentView, ReplicaSetView, StatusCondition};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::time::Duration;

pub(super) const AVAILABLE: &str = "Available";
pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const FAILURE: &str = "ReplicaFailure";

const COMPLETE: &str = "NewReplicaSetAvailable";
const EXCEEDED: &str = "ProgressDeadlineExceeded";

/// A deadline of 2³¹−1 seconds means none.
pub(super) fn deadline(deployment: &DeploymentView) -> Option<SignedDuration> {
    let seconds = deployment
        .progress_deadline_seconds
        .filter(|s| *s != i32::MAX)?;
    Some(SignedDuration::from_secs(seconds.into()))
}

/// The conditions of a status while it is worked out.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    list: Vec<StatusCondition>,
    now: Timestamp,
}

impl Conditions {
    pub(super) fn new(list: &[StatusCondition], now: Timestamp) -> Self {
        Self {
            list: list.to_vec(),
            now,
        }
    }

    pub(super) fn get(&self, kind: &str) -> Option<&StatusCondition> {
        self.list.iter().find(|condition| condition.kind == kind)
    }

    pub(super) fn remove(&mut self, kind: &str) {
        self.list.retain(|condition| condition.kind != kind);
    }

    /// Sets a condition, unless it has this status and reason already.
    pub(super) fn set(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let current = self.get(kind);
        if current.is_some_and(|c| c.status == status && c.reason == reason) {
            return;
        }
        self.replace(kind, status, reason, message);
    }

    /// Sets a condition anew, with the time of this update.
    fn replace(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let kept = self.get(kind).filter(|current| current.status == status);
        let condition = StatusCondition {
            kind: kind.into(),
            status: status.into(),
            last_update_time: Some(self.now),
            last_transition_time: kept.map_or(Some(self.now), |c| c.last_transition_time),
            reason: reason.into(),
            message,
        };
        self.remove(kind);
        self.list.push(condition);
    }
}

/// The ReplicaSets of a Deployment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sets {
    pub(super) new: Option<Arc<ReplicaSetView>>,
    /// Oldest first.
    pub(super) old: Vec<Arc<ReplicaSetView>>,
}

impl Sets {
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSetView>> {
        self.old.iter().chain(&self.new)
    }

    fn sum(&self, figure: impl Fn(&ReplicaSetView) -> i32) -> i32 {
        self.all()
            .fold(0, |sum, set| sum.saturating_add(figure(set)))
    }

    pub(super) fn total_spec(&self) -> i32 {
        self.sum(|set| set.replicas)
    }
}

/// The figures, with `conditions` and the Available condition.
pub(super) fn figures(
    deployment: &DeploymentView,
    sets: &Sets,
    mut conditions: Conditions,
) -> DeploymentStatus {
    let bounds = Bounds::of(&deployment.strategy, deployment.replicas);
    let available = sets.sum(|set| set.status.available_replicas);
    if available >= bounds.min_available() {
        let message = "Deployment has minimum availability.".into();
        conditions.set(AVAILABLE, "True", "MinimumReplicasAvailable", message);
    } else {
        let message = "Deployment does not have minimum availability.".into();
        conditions.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message);
    }
    DeploymentStatus {
        observed_generation: deployment.meta.generation,
        replicas: sets.sum(|set| set.status.replicas),
        updated_replicas: sets.new.as_ref().map_or(0, |set| set.status.replicas),
        ready_replicas: sets.sum(|set| set.status.ready_replicas),
        available_replicas: available,
        unavailable_replicas: sets.total_spec().saturating_sub(available).max(0),
        terminating_replicas: Some(sets.sum(|s| s.status.terminating_replicas.unwrap_or_default())),
        collision_count: deployment.status.collision_count,
        conditions: conditions.list,
    }
}

/// Whether the rollout is through.
pub(super) fn is_complete(deployment: &DeploymentView, status: &DeploymentStatus) -> bool {
    status.updated_replicas == deployment.replicas
        && status.replicas == deployment.replicas
        && status.available_replicas == deployment.replicas
        && status.observed_generation >= deployment.meta.generation
}

fn has_progressed(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let outdated = |status: &DeploymentStatus| status.replicas - status.updated_replicas;
    new.updated_replicas > old.updated_replicas
        || outdated(new) < outdated(old)
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

/// How long the rollout may still go without progress; zero = it is over its deadline. `None` if
/// nothing is timed.
fn time_left(deployment: &DeploymentView, conditions: &Conditions) -> Option<SignedDuration> {
    let deadline = deadline(deployment)?;
    let condition = conditions.get(PROGRESSING)?;
    match condition.reason.as_str() {
        COMPLETE => None,
        EXCEEDED => Some(SignedDuration::ZERO),
        _ => {
            let since = condition.last_update_time?;
            let left = deadline - conditions.now.duration_since(since);
            Some(left.max(SignedDuration::ZERO))
        }
    }
}

/// The status during and after a rollout, and when to look again without any event.
pub(super) fn rollout(
    deployment: &DeploymentView,
    sets: &Sets,
    conditions: Conditions,
) -> (DeploymentStatus, Option<Duration>) {
    let now = conditions.now;
    let mut status = figures(deployment, sets, conditions);
    let mut conditions = Conditions::new(&status.conditions, now);
    let new = sets.new.as_ref().map(|set| set.meta.name());
    let subject = new.map_or_else(
        || format!("Deployment {:?}", deployment.meta.name()),
        |name| format!("ReplicaSet {name:?}"),
    );
    let was_complete = status.replicas == status.updated_replicas
        && conditions
            .get(PROGRESSING)
            .is_some_and(|condition| condition.reason == COMPLETE);
    if deadline(deployment).is_none() {
        conditions.remove(PROGRESSING);
    } else if !was_complete {
        if is_complete(deployment, &status) {
            let message = format!("{subject} has successfully progressed.");
            conditions.set(PROGRESSING, "True", COMPLETE, message);
        } else if has_progressed(&deployment.status, &status) {
            let message = format!("{subject} is progressing.");
            conditions.replace(PROGRESSING, "True", "ReplicaSetUpdated", message);
        } else if time_left(deployment, &conditions).is_some_and(|left| left.is_zero()) {
            let message = format!("{subject} has timed out progressing.");
            conditions.set(PROGRESSING, "False", EXCEEDED, message);
        }
    }
    match replica_failure(sets) {
        Some(failure) => {
            conditions.set(
                FAILURE,
                &failure.status,
                &failure.reason,
                failure.message.clone(),
            );
        }
        None => conditions.remove(FAILURE),
    }
    let next = if is_complete(deployment, &status) {
        None
    } else {
        time_left(deployment, &conditions)
            .filter(SignedDuration::is_positive)
            .and_then(|left| Duration::try_from(left + SignedDuration::from_secs(1)).ok())
    };
    status.conditions = conditions.list;
    (status, next)
}

/// The newest set's failure, else that of an old one.
fn replica_failure(sets: &Sets) -> Option<&StatusCondition> {
    let failing =
        |set: &Arc<ReplicaSetView>| set.status.conditions.iter().any(|c| c.kind == FAILURE);
    let set = sets.new.iter().chain(&sets.old).find(|set| failing(set))?;
    set.status
        .conditions
        .iter()
        .find(|condition| condition.kind == FAILURE)
}
