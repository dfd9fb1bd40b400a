//! A CronJob as its controller sees it.

use crate::pods::null_as_empty;
use crate::runtime::{Cached, Meta, null_if_empty, wire};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What happens when a Job is due while an earlier one still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Concurrency {
    /// Both run.
    #[default]
    Allow,
    /// The new one is left out.
    Forbid,
    /// The earlier one is deleted.
    Replace,
}

/// A CronJob.
#[derive(Debug)]
pub struct CronJobView {
    /// Metadata.
    pub meta: Meta,
    /// `spec`.
    pub spec: CronJobSpec,
    /// `status`.
    pub status: CronJobStatus,
}

/// A CronJob's spec.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobSpec {
    /// When Jobs start.
    pub schedule: String,
    /// On whose clocks; UTC if absent.
    pub time_zone: Option<String>,
    /// Seconds after which a missed start is not made up for.
    pub starting_deadline_seconds: Option<i64>,
    /// What happens to Jobs that would overlap.
    #[serde(deserialize_with = "null_as_empty")]
    pub concurrency_policy: Concurrency,
    /// Whether no Job starts.
    #[serde(deserialize_with = "null_as_empty")]
    pub suspend: bool,
    /// Complete Jobs to keep.
    pub successful_jobs_history_limit: Option<usize>,
    /// Failed Jobs to keep.
    pub failed_jobs_history_limit: Option<usize>,
    /// `spec.jobTemplate`, undecoded.
    pub job_template: Option<Box<RawValue>>,
}

/// A Job that runs, as the status names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ActiveJob {
    /// `batch/v1`.
    pub api_version: String,
    /// `Job`.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// resourceVersion when it was made.
    pub resource_version: String,
}

/// A CronJob's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CronJobStatus {
    /// Jobs that run.
    #[serde(deserialize_with = "null_as_empty")]
    pub active: Vec<ActiveJob>,
    /// The last time for which a Job was started.
    pub last_schedule_time: Option<Timestamp>,
    /// When the last complete Job was complete.
    pub last_successful_time: Option<Timestamp>,
}

impl CronJobStatus {
    /// The whole status for a merge patch: what is absent is removed.
    pub(super) fn to_patch(&self) -> Value {
        json!({
            "active": null_if_empty(&self.active),
            "lastScheduleTime": self.last_schedule_time,
            "lastSuccessfulTime": self.last_successful_time,
        })
    }

    pub(super) fn runs(&self, uid: &str) -> bool {
        self.active.iter().any(|job| job.uid == uid)
    }
}

impl Cached for CronJobView {
    type Wire = CronJobWire;

    fn from_wire(wire: CronJobWire) -> Self {
        Self {
            meta: wire.metadata.into(),
            spec: wire.spec,
            status: wire.status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a CronJob.
#[derive(Debug, Clone, Deserialize)]
pub struct CronJobWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: CronJobSpec,
    #[serde(default)]
    status: CronJobStatus,
}

wire!(
    CronJobWire,
    NamespaceResourceScope,
    "batch",
    "v1",
    "CronJob",
    "cronjobs"
);
