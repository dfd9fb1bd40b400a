//! StatefulSets.

use super::selector::Selector;
use super::workload::selector;
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether pods are made and removed one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodManagement {
    /// In the order of their numbers, each waiting for the one before.
    OrderedReady,
    /// All at once.
    Parallel,
}

/// How a changed template reaches the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatefulUpdate {
    /// Only when somebody deletes a pod.
    OnDelete,
    /// From the highest number down.
    RollingUpdate {
        /// Pods below this place keep their template; counts from the first pod, not from 0.
        partition: i32,
        /// How many may be unavailable, as written; one after another if absent.
        max_unavailable: Option<IntOrString>,
    },
}

/// What becomes of a claim when its pod or its set goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Retention {
    /// It stays.
    #[default]
    Retain,
    /// It goes, too.
    Delete,
}

impl From<Option<String>> for Retention {
    /// What is not known is kept.
    fn from(text: Option<String>) -> Self {
        match text.as_deref() {
            Some("Delete") => Self::Delete,
            _ => Self::Retain,
        }
    }
}

/// `spec.persistentVolumeClaimRetentionPolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClaimRetention {
    /// When the set is deleted.
    pub when_deleted: Retention,
    /// When the set shrinks.
    pub when_scaled: Retention,
}

/// A StatefulSet.
#[derive(Debug)]
pub struct StatefulSetView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.ordinals.start`: number of the first pod.
    pub start: i32,
    /// `spec.minReadySeconds`.
    pub min_ready_seconds: i32,
    /// `spec.revisionHistoryLimit`; a negative one keeps everything.
    pub revision_history_limit: i32,
    /// `spec.serviceName`: domain of the pods, or empty.
    pub service_name: Arc<str>,
    /// `spec.podManagementPolicy`.
    pub management: PodManagement,
    /// `spec.updateStrategy`.
    pub update: StatefulUpdate,
    /// `spec.persistentVolumeClaimRetentionPolicy`.
    pub retention: ClaimRetention,
    /// `spec.selector`, decoded; `None` if it cannot be used.
    pub selector: Option<Selector>,
    /// The same as text, as its `Scale` shows it.
    pub scale_selector: Option<Arc<str>>,
    /// `spec.selector.matchLabels`, which claims get as labels.
    pub match_labels: BTreeMap<String, String>,
    /// `spec.template`, undecoded.
    pub template: Box<RawValue>,
    /// `spec.volumeClaimTemplates`, undecoded.
    pub claim_templates: Option<Box<RawValue>>,
    /// `status`.
    pub status: StatefulSetStatus,
}

/// A StatefulSet's status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetStatus {
    /// The generation the figures belong to.
    pub observed_generation: i64,
    /// Pods that exist, ending ones too.
    pub replicas: i32,
    /// Of these, running and ready pods.
    pub ready_replicas: i32,
    /// Of these, pods ready for `minReadySeconds`.
    pub available_replicas: i32,
    /// Pods of the current revision that are not ending.
    pub current_replicas: i32,
    /// Pods of the update revision that are not ending.
    pub updated_replicas: i32,
    /// Name of the revision that a finished rollout left.
    pub current_revision: String,
    /// Name of the revision of the template.
    pub update_revision: String,
    /// How often the name of a revision was taken.
    pub collision_count: Option<i32>,
}

impl Cached for StatefulSetView {
    type Wire = StatefulSetWire;

    fn from_wire(wire: StatefulSetWire) -> Self {
        let StatefulSetWire {
            metadata,
            spec,
            status,
        } = wire;
        let strategy = spec.update_strategy.unwrap_or_default();
        let rolling = strategy.rolling_update.unwrap_or_default();
        let update = match strategy.kind.as_deref() {
            Some("OnDelete") => StatefulUpdate::OnDelete,
            _ => StatefulUpdate::RollingUpdate {
                partition: rolling.partition.unwrap_or_default(),
                max_unavailable: rolling.max_unavailable,
            },
        };
        let management = match spec.pod_management_policy.as_deref() {
            Some("Parallel") => PodManagement::Parallel,
            _ => PodManagement::OrderedReady,
        };
        let ordinals = spec.ordinals.unwrap_or_default();
        let retention = spec.retention.unwrap_or_default();
        let chosen = selector(spec.selector.as_ref());
        Self {
            meta: metadata.into(),
            replicas: spec.replicas.unwrap_or(1),
            start: ordinals.start.unwrap_or_default(),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            revision_history_limit: spec.revision_history_limit.unwrap_or(10),
            service_name: spec.service_name.unwrap_or_default().into(),
            management,
            update,
            retention: ClaimRetention {
                when_deleted: retention.when_deleted.into(),
                when_scaled: retention.when_scaled.into(),
            },
            scale_selector: chosen.as_ref().map(|s| s.to_string().into()),
            selector: chosen,
            match_labels: spec
                .selector
                .and_then(|selector| selector.match_labels)
                .unwrap_or_default(),
            template: spec.template.unwrap_or_default(),
            claim_templates: spec.volume_claim_templates,
            status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

impl StatefulSetView {
    /// The claim templates as JSON.
    pub(crate) fn claims(&self) -> Vec<Value> {
        let text = self.claim_templates.as_deref().map(RawValue::get);
        let list = text.and_then(|text| serde_json::from_str::<Option<Vec<Value>>>(text).ok());
        list.flatten().unwrap_or_default()
    }

    /// Name of the pod with this number.
    pub(crate) fn pod_name(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.meta.name())
    }
}

/// What is decoded of a StatefulSet.
#[derive(Debug, Clone, Deserialize)]
pub struct StatefulSetWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecWire,
    #[serde(default)]
    status: StatefulSetStatus,
}

wire!(
    StatefulSetWire,
    NamespaceResourceScope,
    "apps",
    "v1",
    "StatefulSet",
    "statefulsets"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecWire {
    replicas: Option<i32>,
    ordinals: Option<OrdinalsWire>,
    min_ready_seconds: Option<i32>,
    revision_history_limit: Option<i32>,
    service_name: Option<String>,
    pod_management_policy: Option<String>,
    update_strategy: Option<UpdateWire>,
    #[serde(rename = "persistentVolumeClaimRetentionPolicy")]
    retention: Option<RetentionWire>,
    selector: Option<LabelSelector>,
    template: Option<Box<RawValue>>,
    volume_claim_templates: Option<Box<RawValue>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct OrdinalsWire {
    start: Option<i32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RetentionWire {
    when_deleted: Option<String>,
    when_scaled: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct UpdateWire {
    #[serde(rename = "type")]
    kind: Option<String>,
    rolling_update: Option<RollingWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RollingWire {
    partition: Option<i32>,
    max_unavailable: Option<IntOrString>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn view(spec: &Value) -> StatefulSetView {
        let wire = json!({"metadata": {"name": "db"}, "spec": spec});
        StatefulSetView::from_wire(serde_json::from_str(&wire.to_string()).unwrap())
    }

    #[test]
    fn what_is_not_said_is_as_the_server_defaults_it() {
        let set = view(&json!({"selector": {"matchLabels": {"app": "db"}}}));
        assert_eq!(
            (set.replicas, set.start, set.revision_history_limit),
            (1, 0, 10)
        );
        assert_eq!(set.management, PodManagement::OrderedReady);
        assert_eq!(set.retention, ClaimRetention::default());
        let update = StatefulUpdate::RollingUpdate {
            partition: 0,
            max_unavailable: None,
        };
        assert_eq!(set.update, update);
        assert_eq!(set.match_labels["app"], "db");
        assert_eq!(set.claims(), Vec::<Value>::new());
        assert_eq!(set.pod_name(7), "db-7");
    }

    #[test]
    fn what_is_said_is_read() {
        let set = view(&json!({
            "ordinals": {"start": 5}, "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Retain"},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        }));
        assert_eq!((set.start, set.management), (5, PodManagement::Parallel));
        assert_eq!(set.update, StatefulUpdate::OnDelete);
        assert_eq!(set.retention.when_deleted, Retention::Delete);
        assert_eq!(set.retention.when_scaled, Retention::Retain);
        assert_eq!(set.claims()[0]["metadata"]["name"], "data");
    }
}
