//! A node as the scheduler, the autoscalers and the node lifecycle see it.

use super::pod::{Condition, ConditionWire, null_as_empty};
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A taint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value; often empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: String,
    /// When it was added (`NoExecute` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_added: Option<String>,
}

/// A node.
#[derive(Debug)]
pub struct NodeView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// `spec.taints`.
    pub taints: Box<[Taint]>,
    /// `spec.providerID`; empty where there is none.
    pub provider_id: Arc<str>,
    /// `status.allocatable` (else `capacity`): resource and quantity as written.
    pub allocatable: Box<[(Arc<str>, Box<str>)]>,
    /// `status.capacity`: resource and quantity as written.
    pub capacity: Box<[(Arc<str>, Box<str>)]>,
    /// `status.conditions`.
    pub conditions: Box<[Condition]>,
    /// When the kubelet last posted the `Ready` condition, as written.
    pub heartbeat: Option<jiff::Timestamp>,
    /// `status.images`: names and bytes.
    pub images: Box<[(ImageNames, i64)]>,
}

/// The names of one image.
pub type ImageNames = Box<[Box<str>]>;

impl NodeView {
    /// A condition by type.
    pub fn condition(&self, kind: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| &*condition.kind == kind)
    }

    /// Whether the `Ready` condition holds.
    pub fn is_ready(&self) -> bool {
        self.condition("Ready")
            .is_some_and(|condition| condition.holds)
    }

    /// What pods may use of `resource`, as written.
    pub fn allocatable(&self, resource: &str) -> Option<&str> {
        self.allocatable
            .iter()
            .find(|(name, _)| &**name == resource)
            .map(|(_, q)| &**q)
    }
}

impl Cached for NodeView {
    type Wire = NodeWire;

    fn from_wire(wire: NodeWire) -> Self {
        let NodeWire {
            metadata,
            spec,
            status,
        } = wire;
        let capacity = status.capacity.unwrap_or_default();
        let allocatable = status.allocatable.unwrap_or_else(|| capacity.clone());
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.kind == "Ready");
        let heartbeat = ready.and_then(|condition| condition.last_heartbeat_time);
        let images = status.images.into_iter().map(|image| {
            let names = image
                .names
                .into_iter()
                .map(String::into_boxed_str)
                .collect();
            (names, image.size_bytes)
        });
        Self {
            meta: metadata.into(),
            unschedulable: spec.unschedulable.unwrap_or_default(),
            taints: spec.taints.into(),
            provider_id: spec.provider_id.unwrap_or_default().into(),
            allocatable: quantities(allocatable),
            capacity: quantities(capacity),
            heartbeat,
            conditions: status.conditions.into_iter().map(Condition::from).collect(),
            images: images.collect(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

fn quantities(all: BTreeMap<String, String>) -> Box<[(Arc<str>, Box<str>)]> {
    let all = all.into_iter();
    all.map(|(name, quantity)| (name.into(), quantity.into()))
        .collect()
}

/// What is decoded of a node.
#[derive(Debug, Clone, Deserialize)]
pub struct NodeWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecWire,
    #[serde(default)]
    status: StatusWire,
}

wire!(NodeWire, ClusterResourceScope, "", "v1", "Node", "nodes");

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SpecWire {
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
    unschedulable: Option<bool>,
    #[serde(deserialize_with = "null_as_empty")]
    taints: Vec<Taint>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct StatusWire {
    allocatable: Option<BTreeMap<String, String>>,
    capacity: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "null_as_empty")]
    conditions: Vec<ConditionWire>,
    #[serde(deserialize_with = "null_as_empty")]
    images: Vec<ImageWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ImageWire {
    #[serde(deserialize_with = "null_as_empty")]
    names: Vec<String>,
    size_bytes: i64,
}
