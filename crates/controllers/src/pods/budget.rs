//! A disruption budget as its controller and the scheduler's preemption see it.

use super::pod::null_as_empty;
use super::selector::Selector;
use crate::runtime::{Cached, Meta, wire};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many pods of its set a budget keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// `spec.minAvailable`: so many must stay healthy.
    MinAvailable(IntOrString),
    /// `spec.maxUnavailable`: so many may be missing.
    MaxUnavailable(IntOrString),
}

/// A PodDisruptionBudget.
#[derive(Debug)]
pub struct BudgetView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.selector`: `None` selects nothing, an empty one every pod of the namespace.
    pub selector: Option<Selector>,
    /// `None` if the spec names neither bound: nothing may be disrupted then.
    pub bound: Option<Bound>,
    /// `status`.
    pub status: BudgetStatus,
}

impl BudgetView {
    /// Whether it protects a pod with these metadata.
    pub fn protects(&self, pod: &Meta) -> bool {
        self.meta.key.namespace == pod.key.namespace
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selector.matches(&pod.labels))
    }
}

/// A budget's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetStatus {
    /// The generation the figures belong to.
    pub observed_generation: i64,
    /// Evictions allowed now.
    pub disruptions_allowed: i32,
    /// Healthy pods.
    pub current_healthy: i32,
    /// Pods that must be healthy.
    pub desired_healthy: i32,
    /// Pods the budget counts on.
    pub expected_pods: i32,
    /// Pods whose eviction was granted and that have not begun to end, with when that was.
    #[serde(deserialize_with = "null_as_empty")]
    pub disrupted_pods: BTreeMap<String, Timestamp>,
    /// Conditions.
    #[serde(deserialize_with = "null_as_empty")]
    pub conditions: Vec<BudgetCondition>,
}

/// A condition of a budget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BudgetCondition {
    /// `DisruptionAllowed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// The generation it was judged at.
    pub observed_generation: i64,
    /// When `status` changed.
    pub last_transition_time: Option<Timestamp>,
    /// Machine-readable reason.
    pub reason: String,
    /// What a person reads.
    pub message: String,
}

impl Cached for BudgetView {
    type Wire = BudgetWire;

    fn from_wire(wire: BudgetWire) -> Self {
        let BudgetSpecWire {
            selector,
            min_available,
            max_unavailable,
        } = wire.spec;
        let bound = max_unavailable
            .map(Bound::MaxUnavailable)
            .or_else(|| min_available.map(Bound::MinAvailable));
        Self {
            meta: wire.metadata.into(),
            selector: selector.and_then(|selector| Selector::try_from(&selector).ok()),
            bound,
            status: wire.status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a budget.
#[derive(Debug, Clone, Deserialize)]
pub struct BudgetWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: BudgetSpecWire,
    #[serde(default)]
    status: BudgetStatus,
}

wire!(
    BudgetWire,
    NamespaceResourceScope,
    "policy",
    "v1",
    "PodDisruptionBudget",
    "poddisruptionbudgets"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BudgetSpecWire {
    selector: Option<LabelSelector>,
    min_available: Option<IntOrString>,
    max_unavailable: Option<IntOrString>,
}
