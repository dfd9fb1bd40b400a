//! Deployments and ReplicaSets.

use super::pod::null_as_empty;
use super::selector::Selector;
use crate::runtime::{Cached, Meta, wire};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::sync::Arc;

/// A condition of a workload's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusCondition {
    /// `Available`, `Progressing`, `ReplicaFailure`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When it was looked at and differed (Deployments only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Timestamp>,
    /// When `status` changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
    /// Machine-readable reason.
    #[serde(default)]
    pub reason: String,
    /// What a person reads.
    #[serde(default)]
    pub message: String,
}

/// A ReplicaSet.
#[derive(Debug)]
pub struct ReplicaSetView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// `spec.selector`, decoded; `None` if it cannot be used.
    pub selector: Option<Selector>,
    /// The same as text, as its `Scale` shows it.
    pub scale_selector: Option<Arc<str>>,
    /// `spec.template`, undecoded.
    pub template: Box<RawValue>,
    /// `status`.
    pub status: ReplicaSetStatus,
}

/// A ReplicaSet's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    /// Pods that exist and are not terminating.
    pub replicas: i32,
    /// Of these, pods with all labels of the template.
    pub fully_labeled_replicas: i32,
    /// Of these, ready pods.
    pub ready_replicas: i32,
    /// Of these, pods ready for `minReadySeconds`.
    pub available_replicas: i32,
    /// Pods that are terminating; ReplicationControllers do not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminating_replicas: Option<i32>,
    /// The generation the figures belong to.
    pub observed_generation: i64,
    /// Conditions.
    #[serde(deserialize_with = "null_as_empty")]
    pub conditions: Vec<StatusCondition>,
}

impl Cached for ReplicaSetView {
    type Wire = ReplicaSetWire;

    fn from_wire(wire: ReplicaSetWire) -> Self {
        let ReplicaSetWire {
            metadata,
            spec,
            status,
        } = wire;
        let selector = selector(spec.selector.as_ref());
        Self {
            meta: metadata.into(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            scale_selector: selector.as_ref().map(|s| s.to_string().into()),
            selector,
            template: spec.template.unwrap_or_default(),
            status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a ReplicaSet.
#[derive(Debug, Clone, Deserialize)]
pub struct ReplicaSetWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ReplicaSetSpecWire,
    #[serde(default)]
    status: ReplicaSetStatus,
}

wire!(
    ReplicaSetWire,
    NamespaceResourceScope,
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReplicaSetSpecWire {
    replicas: Option<i32>,
    min_ready_seconds: Option<i32>,
    selector: Option<LabelSelector>,
    template: Option<Box<RawValue>>,
}

/// How a Deployment replaces pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// All old pods go before new ones come.
    Recreate,
    /// Step by step.
    RollingUpdate(RollingUpdate),
}

/// Bounds of a rolling update, as written (a number or a percentage).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollingUpdate {
    /// Pods above the desired number.
    pub max_surge: IntOrString,
    /// Pods that may be unavailable.
    pub max_unavailable: IntOrString,
}

/// A Deployment.
#[derive(Debug)]
pub struct DeploymentView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// `spec.paused`.
    pub paused: bool,
    /// `spec.revisionHistoryLimit`.
    pub revision_history_limit: i32,
    /// `spec.progressDeadlineSeconds`; 2³¹−1 means none.
    pub progress_deadline_seconds: Option<i32>,
    /// `spec.strategy`.
    pub strategy: Strategy,
    /// `spec.selector` as written, for its ReplicaSets.
    pub selector_text: Value,
    /// `spec.selector`, decoded; `None` if it cannot be used.
    pub selector: Option<Selector>,
    /// The same as text, as its `Scale` shows it.
    pub scale_selector: Option<Arc<str>>,
    /// `spec.template`, undecoded.
    pub template: Box<RawValue>,
    /// `status`.
    pub status: DeploymentStatus,
}

/// A Deployment's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    /// The generation the figures belong to.
    pub observed_generation: i64,
    /// Pods that are not terminating.
    pub replicas: i32,
    /// Of these, pods of the current template.
    pub updated_replicas: i32,
    /// Of these, ready pods.
    pub ready_replicas: i32,
    /// Of these, pods ready for `minReadySeconds`.
    pub available_replicas: i32,
    /// Pods that are missing to the desired number.
    pub unavailable_replicas: i32,
    /// Pods that are terminating.
    pub terminating_replicas: Option<i32>,
    /// Raised when a ReplicaSet of the hashed name exists with another template.
    pub collision_count: Option<i32>,
    /// Conditions.
    #[serde(deserialize_with = "null_as_empty")]
    pub conditions: Vec<StatusCondition>,
}

impl Cached for DeploymentView {
    type Wire = DeploymentWire;

    fn from_wire(wire: DeploymentWire) -> Self {
        let DeploymentWire {
            metadata,
            spec,
            status,
        } = wire;
        let percent = || IntOrString::String("25%".into());
        let strategy = spec.strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let strategy = match strategy.kind.as_deref() {
            Some("Recreate") => Strategy::Recreate,
            _ => Strategy::RollingUpdate(RollingUpdate {
                max_surge: rolling.max_surge.unwrap_or_else(percent),
                max_unavailable: rolling.max_unavailable.unwrap_or_else(percent),
            }),
        };
        let selector = selector(spec.selector.as_ref());
        Self {
            meta: metadata.into(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            paused: spec.paused.unwrap_or_default(),
            revision_history_limit: spec.revision_history_limit.unwrap_or(10),
            progress_deadline_seconds: spec.progress_deadline_seconds,
            strategy,
            scale_selector: selector.as_ref().map(|s| s.to_string().into()),
            selector,
            selector_text: serde_json::to_value(&spec.selector).unwrap_or_default(),
            template: spec.template.unwrap_or_default(),
            status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// An absent selector selects nothing.
pub(super) fn selector(selector: Option<&LabelSelector>) -> Option<Selector> {
    Selector::try_from(selector?)
        .ok()
        .filter(|selector| !selector.is_empty())
}

/// What is decoded of a Deployment.
#[derive(Debug, Clone, Deserialize)]
pub struct DeploymentWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: DeploymentSpecWire,
    #[serde(default)]
    status: DeploymentStatus,
}

wire!(
    DeploymentWire,
    NamespaceResourceScope,
    "apps",
    "v1",
    "Deployment",
    "deployments"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DeploymentSpecWire {
    replicas: Option<i32>,
    min_ready_seconds: Option<i32>,
    paused: Option<bool>,
    revision_history_limit: Option<i32>,
    progress_deadline_seconds: Option<i32>,
    strategy: Option<StrategyWire>,
    selector: Option<LabelSelector>,
    template: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StrategyWire {
    #[serde(rename = "type")]
    kind: Option<String>,
    rolling_update: Option<RollingWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RollingWire {
    max_surge: Option<IntOrString>,
    max_unavailable: Option<IntOrString>,
}

/// A pod template as JSON; an object even if the text is none.
pub(crate) fn template_value(template: &RawValue) -> Value {
    let value: Value = serde_json::from_str(template.get()).unwrap_or_default();
    if value.is_object() {
        value
    } else {
        Value::Object(serde_json::Map::new())
    }
}

/// The labels of a pod template.
pub(crate) fn template_labels(template: &Value) -> Vec<(Arc<str>, Arc<str>)> {
    let labels = template
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let mut labels: Vec<(Arc<str>, Arc<str>)> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
        .collect();
    labels.sort();
    labels
}
