//! A DaemonSet as its controller sees it.

use super::eligible::Rules;
use crate::pods::{Selector, StatusCondition};
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// How new templates reach the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Only as somebody deletes pods.
    OnDelete,
    /// Step by step.
    RollingUpdate {
        /// Nodes that may lack their pod, as written.
        max_unavailable: IntOrString,
        /// Nodes that may have a second pod, as written.
        max_surge: IntOrString,
    },
}

/// A DaemonSet.
#[derive(Debug)]
pub struct DaemonSetView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.selector`, decoded; `None` if it cannot be used.
    pub selector: Option<Selector>,
    /// `spec.template`, undecoded.
    pub template: Box<RawValue>,
    /// Where its pods belong.
    pub rules: Rules,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// `spec.revisionHistoryLimit`.
    pub revision_history_limit: i32,
    /// `spec.updateStrategy`.
    pub strategy: Strategy,
    /// `status`.
    pub status: DaemonSetStatus,
}

/// A DaemonSet's status: numbers of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DaemonSetStatus {
    /// Nodes that should have a pod and have one.
    pub current_number_scheduled: i32,
    /// Nodes that should have none and have one.
    pub number_misscheduled: i32,
    /// Nodes that should have a pod.
    pub desired_number_scheduled: i32,
    /// Of these, nodes whose pod is ready.
    pub number_ready: i32,
    /// The generation the figures belong to.
    pub observed_generation: i64,
    /// Of these, nodes whose pod has the newest template.
    pub updated_number_scheduled: i32,
    /// Of these, nodes whose pod has been ready for `minReadySeconds`.
    pub number_available: i32,
    /// The others.
    pub number_unavailable: i32,
    /// Raised when a revision of the hashed name exists with another template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collision_count: Option<i32>,
    /// Conditions; nobody sets any today.
    #[serde(skip_serializing)]
    pub conditions: Option<Vec<StatusCondition>>,
}

impl Cached for DaemonSetView {
    type Wire = DaemonSetWire;

    fn from_wire(wire: DaemonSetWire) -> Self {
        let DaemonSetWire {
            metadata,
            spec,
            status,
        } = wire;
        let rolling = spec.update_strategy.rolling_update.unwrap_or_default();
        let strategy = match spec.update_strategy.kind.as_deref() {
            Some("OnDelete") => Strategy::OnDelete,
            _ => Strategy::RollingUpdate {
                max_unavailable: rolling.max_unavailable.unwrap_or(IntOrString::Int(1)),
                max_surge: rolling.max_surge.unwrap_or(IntOrString::Int(0)),
            },
        };
        let selector = spec
            .selector
            .and_then(|selector| Selector::try_from(&selector).ok())
            .filter(|selector| !selector.is_empty());
        let template = spec.template.unwrap_or_default();
        Self {
            meta: metadata.into(),
            selector,
            rules: Rules::of(&template),
            template,
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            revision_history_limit: spec.revision_history_limit.unwrap_or(10),
            strategy,
            status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a DaemonSet.
#[derive(Debug, Clone, Deserialize)]
pub struct DaemonSetWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecWire,
    #[serde(default)]
    status: DaemonSetStatus,
}

wire!(
    DaemonSetWire,
    NamespaceResourceScope,
    "apps",
    "v1",
    "DaemonSet",
    "daemonsets"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecWire {
    selector: Option<LabelSelector>,
    template: Option<Box<RawValue>>,
    min_ready_seconds: Option<i32>,
    revision_history_limit: Option<i32>,
    update_strategy: StrategyWire,
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
    max_unavailable: Option<IntOrString>,
    max_surge: Option<IntOrString>,
}
