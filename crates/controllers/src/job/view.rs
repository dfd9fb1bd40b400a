//! A Job as controllers see it.

use super::policy::{FailureRule, SuccessRule};
use crate::pods::{Selector, null_as_empty};
use crate::runtime::{Cached, Meta, null_if_empty, wire};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::sync::Arc;

/// Which controller looks after a Job that names none.
const OWN_NAME: &str = "kubernetes.io/job-controller";

/// What counts as completion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CompletionMode {
    /// Pods are alike.
    #[default]
    NonIndexed,
    /// Each pod has an index; each index has to succeed once.
    Indexed,
}

/// When a pod that is being deleted is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PodReplacement {
    /// At once; it counts as failed.
    #[default]
    TerminatingOrFailed,
    /// Once it has ended.
    Failed,
}

/// A Job.
#[derive(Debug)]
pub struct JobView {
    /// Metadata.
    pub meta: Meta,
    /// `spec`.
    pub spec: JobSpec,
    /// `spec.selector`, decoded; `None` if it cannot be used.
    pub selector: Option<Selector>,
    /// `spec.template`, undecoded.
    pub template: Box<RawValue>,
    /// `status`.
    pub status: JobStatus,
}

/// The parts of a Job's spec that decide what happens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobSpec {
    /// Most pods at a time.
    pub parallelism: usize,
    /// Successes that make the Job complete; `None` for a work queue, whose first success does.
    pub completions: Option<u32>,
    /// What counts as completion.
    pub mode: CompletionMode,
    /// Most failures.
    pub backoff_limit: i64,
    /// Most failures of one index.
    pub backoff_limit_per_index: Option<i64>,
    /// Most failed indexes.
    pub max_failed_indexes: Option<i64>,
    /// Seconds from its start after which a Job fails.
    pub active_deadline_seconds: Option<i64>,
    /// Seconds after its end when a Job is deleted.
    pub ttl_seconds: Option<i64>,
    /// Whether no pod may run.
    pub suspended: bool,
    /// Whether another controller looks after the Job.
    pub managed_elsewhere: bool,
    /// When pods are replaced.
    pub replacement: PodReplacement,
    /// `podFailurePolicy.rules`.
    pub failure_policy: Option<Box<[FailureRule]>>,
    /// `successPolicy.rules`.
    pub success_policy: Option<Box<[SuccessRule]>>,
    /// Whether containers restart within their pod.
    pub restarts_containers: bool,
}

/// A condition of a Job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobCondition {
    /// `Complete`, `Failed`, `Suspended`, `FailureTarget`, `SuccessCriteriaMet`.
    #[serde(rename = "type", default, deserialize_with = "null_as_empty")]
    pub kind: String,
    /// `True` or `False`.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub status: String,
    /// When it was looked at.
    #[serde(default)]
    pub last_probe_time: Option<Timestamp>,
    /// When `status` changed.
    #[serde(default)]
    pub last_transition_time: Option<Timestamp>,
    /// Machine-readable reason.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub reason: String,
    /// What a person reads.
    #[serde(default, deserialize_with = "null_as_empty")]
    pub message: String,
}

/// Uids of pods that have ended, but are in no figure yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Uncounted {
    /// Of those that succeeded.
    #[serde(deserialize_with = "null_as_empty")]
    pub succeeded: Vec<Arc<str>>,
    /// Of those that failed.
    #[serde(deserialize_with = "null_as_empty")]
    pub failed: Vec<Arc<str>>,
}

/// A Job's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JobStatus {
    /// Conditions.
    #[serde(deserialize_with = "null_as_empty")]
    pub conditions: Vec<JobCondition>,
    /// When it began, or was resumed.
    pub start_time: Option<Timestamp>,
    /// When it was complete.
    pub completion_time: Option<Timestamp>,
    /// Pods that run or will.
    #[serde(deserialize_with = "count")]
    pub active: usize,
    /// Of these, ready ones.
    #[serde(deserialize_with = "some_count")]
    pub ready: Option<usize>,
    /// Pods that are ending.
    #[serde(deserialize_with = "some_count")]
    pub terminating: Option<usize>,
    /// Pods that succeeded, or indexes.
    #[serde(deserialize_with = "count")]
    pub succeeded: usize,
    /// Pods that failed.
    #[serde(deserialize_with = "count")]
    pub failed: usize,
    /// Indexes that succeeded, compressed.
    #[serde(deserialize_with = "null_as_empty")]
    pub completed_indexes: String,
    /// Indexes that failed, compressed.
    pub failed_indexes: Option<String>,
    /// Pods to be counted.
    #[serde(deserialize_with = "null_as_empty")]
    pub uncounted_terminated_pods: Uncounted,
}

/// A counter as somebody wrote it: one object with a number that cannot be must not keep the whole
/// cache from being read.
fn some_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let number: Option<i64> = Option::deserialize(deserializer)?;
    Ok(number.map(|number| usize::try_from(number).unwrap_or_default()))
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    some_count(deserializer).map(Option::unwrap_or_default)
}

impl JobStatus {
    /// A condition that holds.
    pub fn holds(&self, kind: &str) -> Option<&JobCondition> {
        let mut conditions = self.conditions.iter();
        conditions.find(|condition| condition.kind == kind && condition.status == "True")
    }

    /// The condition that ends a Job, once it has ended.
    pub fn end(&self) -> Option<&JobCondition> {
        self.holds("Complete").or_else(|| self.holds("Failed"))
    }

    /// The whole status for a merge patch: what is absent is removed.
    pub(super) fn to_patch(&self) -> Value {
        let number = |count: usize| (count > 0).then_some(count);
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        json!({
            "conditions": null_if_empty(&self.conditions),
            "startTime": self.start_time,
            "completionTime": self.completion_time,
            "active": number(self.active),
            "ready": self.ready,
            "terminating": self.terminating,
            "succeeded": number(self.succeeded),
            "failed": number(self.failed),
            "completedIndexes": text(&self.completed_indexes),
            "failedIndexes": self.failed_indexes,
            "uncountedTerminatedPods": {
                "succeeded": null_if_empty(&self.uncounted_terminated_pods.succeeded),
                "failed": null_if_empty(&self.uncounted_terminated_pods.failed),
            },
        })
    }
}

impl JobView {
    /// Whether each pod has an index.
    pub fn is_indexed(&self) -> bool {
        self.spec.mode == CompletionMode::Indexed
    }

    /// Whether it is complete or has failed for good.
    pub fn is_finished(&self) -> bool {
        self.status.end().is_some()
    }
}

impl Cached for JobView {
    type Wire = JobWire;

    fn from_wire(wire: JobWire) -> Self {
        let JobWire {
            metadata,
            spec,
            status,
        } = wire;
        let selector = spec.selector.as_ref();
        let selector = selector.and_then(|selector| Selector::try_from(selector).ok());
        Self {
            meta: metadata.into(),
            selector: selector.filter(|selector| !selector.is_empty()),
            spec: JobSpec::from(&spec),
            template: spec.template.unwrap_or_default(),
            status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl From<&JobSpecWire> for JobSpec {
    fn from(spec: &JobSpecWire) -> Self {
        let template = spec.template.as_deref().map_or("{}", RawValue::get);
        let template: TemplateWire = serde_json::from_str(template).unwrap_or_default();
        let manager = spec.managed_by.as_deref();
        let failure_policy = spec.pod_failure_policy.as_ref();
        let success_policy = spec.success_policy.as_ref();
        let only_failed = spec.pod_replacement_policy.as_deref() == Some("Failed");
        Self {
            parallelism: usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or_default(),
            completions: spec
                .completions
                .map(|count| u32::try_from(count).unwrap_or_default()),
            mode: match spec.completion_mode.as_deref() {
                Some("Indexed") => CompletionMode::Indexed,
                _ => CompletionMode::NonIndexed,
            },
            backoff_limit: spec.backoff_limit.unwrap_or(6),
            backoff_limit_per_index: spec.backoff_limit_per_index,
            max_failed_indexes: spec.max_failed_indexes,
            active_deadline_seconds: spec.active_deadline_seconds,
            ttl_seconds: spec.ttl_seconds_after_finished,
            suspended: spec.suspend.unwrap_or_default(),
            managed_elsewhere: manager.is_some_and(|name| name != OWN_NAME),
            // A pod's end must be known before a failure policy can judge it.
            replacement: if only_failed || failure_policy.is_some() {
                PodReplacement::Failed
            } else {
                PodReplacement::TerminatingOrFailed
            },
            failure_policy: failure_policy.map(|policy| policy.rules.clone().into()),
            success_policy: success_policy.map(|policy| policy.rules.clone().into()),
            restarts_containers: template.spec.restart_policy.as_deref() == Some("OnFailure"),
        }
    }
}

/// What is decoded of a Job.
#[derive(Debug, Clone, Deserialize)]
pub struct JobWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: JobSpecWire,
    #[serde(default)]
    status: JobStatus,
}

wire!(
    JobWire,
    NamespaceResourceScope,
    "batch",
    "v1",
    "Job",
    "jobs"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JobSpecWire {
    parallelism: Option<i64>,
    completions: Option<i64>,
    completion_mode: Option<String>,
    backoff_limit: Option<i64>,
    backoff_limit_per_index: Option<i64>,
    max_failed_indexes: Option<i64>,
    active_deadline_seconds: Option<i64>,
    ttl_seconds_after_finished: Option<i64>,
    suspend: Option<bool>,
    managed_by: Option<String>,
    pod_replacement_policy: Option<String>,
    pod_failure_policy: Option<Rules<FailureRule>>,
    success_policy: Option<Rules<SuccessRule>>,
    selector: Option<LabelSelector>,
    template: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Deserialize)]
struct Rules<R> {
    #[serde(default = "Vec::new", deserialize_with = "null_as_empty")]
    #[serde(bound(deserialize = "R: Deserialize<'de>"))]
    rules: Vec<R>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct TemplateWire {
    spec: TemplateSpecWire,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct TemplateSpecWire {
    restart_policy: Option<String>,
}

#[cfg(test)]
mod tests {
    use crate::job::testing::job;
    use serde_json::json;

    #[test]
    fn a_status_that_cannot_be_is_read_all_the_same() {
        let status = json!({
            "active": -1, "ready": -2, "terminating": null, "succeeded": null, "failed": 3,
            "conditions": [{"type": "Complete"}, {"status": "True", "reason": null}],
        });
        let job = job(&json!({}), &status);
        let counts = (job.status.active, job.status.succeeded, job.status.failed);
        assert_eq!(counts, (0, 0, 3));
        assert_eq!((job.status.ready, job.status.terminating), (Some(0), None));
        assert!(!job.is_finished());
    }
}
