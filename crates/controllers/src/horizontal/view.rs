//! What is kept of autoscalers and of the pods they measure.

use super::registry::PodLabels;
use crate::pods::{Selector, label_key};
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plimsoll_engine::horizontal::pod::{self, Facts};
use plimsoll_engine::horizontal::{Spec, Status};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// An autoscaler.
#[derive(Debug)]
pub(super) struct HpaView {
    pub(super) meta: Meta,
    /// The spec, or why it cannot be read.
    pub(super) spec: Result<Arc<Spec>, String>,
    pub(super) status: Status,
}

impl Cached for HpaView {
    type Wire = HpaWire;

    fn from_wire(wire: HpaWire) -> Self {
        let spec = serde_json::from_value(wire.spec).map(Arc::new);
        Self {
            meta: wire.metadata.into(),
            spec: spec.map_err(|error| error.to_string()),
            status: serde_json::from_value(wire.status).unwrap_or_default(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of an autoscaler.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct HpaWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default = "empty")]
    status: Value,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

wire!(
    HpaWire,
    NamespaceResourceScope,
    "autoscaling",
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers"
);

/// A pod as the decision sees it.
#[derive(Debug)]
pub(super) struct MeasuredPod {
    pub(super) meta: Meta,
    pub(super) facts: Arc<Facts>,
    /// [`label_key`] of every label: where selectors and autoscalers find the pod.
    pub(super) label_keys: Box<[Arc<str>]>,
}

impl MeasuredPod {
    pub(super) fn labels(&self) -> PodLabels<'_> {
        let (keys, labels) = (&*self.label_keys, &*self.meta.labels);
        PodLabels {
            namespace: self.meta.namespace(),
            keys,
            labels,
        }
    }

    pub(super) fn is_selected_by(&self, selector: &Selector) -> bool {
        selector.matches(&self.meta.labels)
    }
}

impl Cached for MeasuredPod {
    type Wire = PodWire;

    fn from_wire(wire: PodWire) -> Self {
        let mut metadata = wire.metadata;
        metadata.annotations = None;
        metadata.owner_references = None;
        let meta = Meta::from(metadata);
        let name = Arc::clone(&meta.key.name);
        let key = |(label, value): &(Arc<str>, Arc<str>)| {
            Arc::from(label_key(&meta.key.namespace, label, value))
        };
        let label_keys = meta.labels.iter().map(key).collect();
        let facts = Facts::new(name, meta.is_deleting(), wire.spec, wire.status);
        Self {
            facts: Arc::new(facts),
            label_keys,
            meta,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a pod.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct PodWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: pod::Spec,
    #[serde(default)]
    status: pod::Status,
}

wire!(PodWire, NamespaceResourceScope, "", "v1", "Pod", "pods");
