//! ReplicationControllers: the ReplicaSets of old, with a plain map of labels as selector.

use super::selector::Selector;
use super::workload::{ReplicaSetStatus, ReplicaSetView};
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// A ReplicationController, seen as the ReplicaSet that it could be.
#[derive(Debug)]
pub struct ReplicationControllerView(pub ReplicaSetView);

impl Cached for ReplicationControllerView {
    type Wire = ReplicationControllerWire;

    fn from_wire(wire: ReplicationControllerWire) -> Self {
        let ReplicationControllerWire {
            metadata,
            spec,
            status,
        } = wire;
        let labels = spec.selector.filter(|labels| !labels.is_empty());
        let selector = labels.as_ref().map(Selector::of_map);
        Self(ReplicaSetView {
            meta: metadata.into(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            scale_selector: selector.as_ref().map(|s| s.to_string().into()),
            selector,
            template: spec.template.unwrap_or_default(),
            status,
        })
    }

    fn meta(&self) -> &Meta {
        &self.0.meta
    }
}

/// What is decoded of a ReplicationController.
#[derive(Debug, Clone, Deserialize)]
pub struct ReplicationControllerWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecWire,
    #[serde(default)]
    status: ReplicaSetStatus,
}

wire!(
    ReplicationControllerWire,
    NamespaceResourceScope,
    "",
    "v1",
    "ReplicationController",
    "replicationcontrollers"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecWire {
    replicas: Option<i32>,
    min_ready_seconds: Option<i32>,
    selector: Option<BTreeMap<String, String>>,
    template: Option<Box<RawValue>>,
}
