//! A `CapacityBuffer` as it is watched.

use crate::facts;
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plimsoll_engine::placement::Resources;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A buffer.
#[derive(Debug)]
pub(in crate::nodes) struct BufferView {
    pub(super) meta: Meta,
    /// What it asks for, or why that cannot be read.
    pub(super) spec: Result<Spec, String>,
    pub(super) status: Value,
}

/// `spec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub(super) provisioning_strategy: Option<String>,
    pub(super) pod_template_ref: Option<TemplateRef>,
    pub(super) scalable_ref: Option<ScalableRef>,
    pub(super) replicas: Option<usize>,
    pub(super) percentage: Option<usize>,
    limits: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct TemplateRef {
    pub(super) name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ScalableRef {
    #[serde(default)]
    pub(super) api_group: String,
    pub(super) kind: String,
    pub(super) name: String,
}

impl Spec {
    /// `spec.limits` as amounts.
    pub(super) fn limits(&self) -> Option<Resources> {
        let limits = self.limits.as_ref()?;
        let mut amounts = Resources::default();
        for (name, quantity) in limits {
            let number = quantity.to_string();
            let text = quantity.as_str().unwrap_or(&number);
            facts::amount(&mut amounts, name, text);
        }
        Some(amounts)
    }
}

impl Cached for BufferView {
    type Wire = BufferWire;

    fn from_wire(wire: BufferWire) -> Self {
        Self {
            meta: wire.metadata.into(),
            spec: serde_json::from_value(wire.spec).map_err(|error| error.to_string()),
            status: wire.status,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of one.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::nodes) struct BufferWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Value,
}

wire!(
    BufferWire,
    NamespaceResourceScope,
    "autoscaling.x-k8s.io",
    "v1beta1",
    "CapacityBuffer",
    "capacitybuffers"
);
