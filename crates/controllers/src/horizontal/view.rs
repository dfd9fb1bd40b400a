//! What is kept of autoscalers.

use super::key::ScalerKind;
use super::pod_autoscaler::sync_period;
use crate::runtime::{Cached, Meta, Reference, wire};
use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plimsoll_api::pod_autoscaler::SYNC_PERIOD_ANNOTATION;
use plimsoll_engine::horizontal::{ByHand, Spec, Status, hold};
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// An autoscaler of any kind.
#[derive(Debug)]
pub(super) struct Scaler {
    pub(super) kind: ScalerKind,
    pub(super) meta: Meta,
    /// The spec, or why it cannot be read.
    pub(super) spec: Result<Arc<Spec>, String>,
    pub(super) status: Status,
    /// How long it goes unevaluated at most, if it says so itself, or why that cannot be read.
    pub(super) sync_period: Result<Option<Duration>, String>,
    /// The spec as written, of kinds whose status shows it.
    pub(super) written: Option<Value>,
}

impl Scaler {
    /// The hold that its annotations ask for, if one is in force.
    pub(super) fn hold(&self, now: Timestamp) -> Option<ByHand> {
        let hold = self.meta.annotation(hold::ANNOTATION)?;
        ByHand::read(
            Some(hold),
            self.meta.annotation(hold::REASON_ANNOTATION),
            now,
        )
    }

    pub(super) fn reference(&self) -> Reference {
        Reference::to(self.kind.api_version(), self.kind.kind(), &self.meta)
    }
}

/// A `HorizontalPodAutoscaler`.
#[derive(Debug)]
pub(super) struct HpaView(pub(super) Arc<Scaler>);

impl Cached for HpaView {
    type Wire = HpaWire;

    fn from_wire(wire: HpaWire) -> Self {
        let spec = serde_json::from_value(wire.spec).map(Arc::new);
        let meta = Meta::from(wire.metadata);
        let period = sync_period(meta.annotation(SYNC_PERIOD_ANNOTATION));
        Self(Arc::new(Scaler {
            kind: ScalerKind::Horizontal,
            meta,
            sync_period: period,
            written: None,
            spec: spec.map_err(|error| error.to_string()),
            status: serde_json::from_value(wire.status).unwrap_or_default(),
        }))
    }

    fn meta(&self) -> &Meta {
        &self.0.meta
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

pub(super) fn empty() -> Value {
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
