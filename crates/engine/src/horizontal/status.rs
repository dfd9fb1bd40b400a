//! The status an autoscaler shows, in the form of `autoscaling/v2`.

use super::spec::{MetricId, TargetRef};
use jiff::{Timestamp, Unit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The `status` of an autoscaler. Serialises exactly as the API shows it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// Never written by the controller; kept only to notice that it must be dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the count was last changed by this controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_time: Option<Timestamp>,
    /// The target's `spec.replicas` before the pass.
    #[serde(skip_serializing_if = "is_zero", deserialize_with = "null_as_zero")]
    pub current_replicas: i32,
    /// What the pass decided.
    #[serde(deserialize_with = "null_as_zero")]
    pub desired_replicas: i32,
    /// One entry per metric of the spec; `null` where none was read.
    pub current_metrics: Option<Vec<Value>>,
    /// In order of first appearance.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature is serde's"
)]
fn is_zero(value: &i32) -> bool {
    *value == 0
}

fn null_as_zero<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
    Ok(Option::<i32>::deserialize(deserializer)?.unwrap_or_default())
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `AbleToScale`, `ScalingActive`, `ScalingLimited`, `ScaledToZero`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When `status` last flipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
    /// One word.
    #[serde(default)]
    pub reason: String,
    /// One sentence.
    #[serde(default)]
    pub message: String,
}

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// Something happened as it should.
    Normal,
    /// Something needs attention.
    Warning,
}

/// An event to record on the autoscaler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Severity.
    pub kind: EventKind,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

impl Event {
    pub(super) fn warning(reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Warning,
            reason: reason.into(),
            message: message.into(),
        }
    }

    pub(super) fn normal(reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: EventKind::Normal,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Yes,
    No,
}

impl Status {
    /// Sets a condition; its transition time moves only when the status flips.
    pub(super) fn set(
        &mut self,
        now: Timestamp,
        kind: &str,
        holds: Holds,
        (reason, message): (&str, &str),
    ) {
        let status = if holds == Holds::Yes { "True" } else { "False" };
        let found = self
            .conditions
            .iter_mut()
            .find(|condition| condition.kind == kind);
        if let Some(condition) = found {
            if condition.status != status {
                condition.last_transition_time = Some(whole_seconds(now));
                status.clone_into(&mut condition.status);
            }
            reason.clone_into(&mut condition.reason);
            message.clone_into(&mut condition.message);
            return;
        }
        self.conditions.push(Condition {
            kind: kind.into(),
            status: status.into(),
            last_transition_time: Some(whole_seconds(now)),
            reason: reason.into(),
            message: message.into(),
        });
    }

    /// Whether a condition is there and `True`.
    pub fn holds(&self, kind: &str) -> bool {
        self.conditions
            .iter()
            .any(|c| c.kind == kind && c.status == "True")
    }

    pub(super) fn remove(&mut self, kind: &str) {
        self.conditions.retain(|condition| condition.kind != kind);
    }
}

/// API times carry whole seconds.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    let round = jiff::TimestampRound::new()
        .smallest(Unit::Second)
        .mode(jiff::RoundMode::Floor);
    time.round(round).unwrap_or(time)
}

/// What a metric shows now.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Current {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) average_value: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) average_utilization: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) metric: Option<&'a MetricId>,
    pub(super) current: Current,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) described_object: Option<&'a TargetRef>,
}
