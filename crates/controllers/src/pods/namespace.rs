//! Namespaces and service accounts.

use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use serde::Deserialize;
use std::sync::Arc;

/// A namespace.
#[derive(Debug)]
pub struct NamespaceView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.finalizers`; deletion ends when it is empty.
    pub finalizers: Box<[Arc<str>]>,
    /// `status.phase`.
    pub phase: Box<str>,
}

impl Cached for NamespaceView {
    type Wire = NamespaceWire;

    fn from_wire(wire: NamespaceWire) -> Self {
        let finalizers = wire.spec.finalizers.unwrap_or_default();
        Self {
            meta: wire.metadata.into(),
            finalizers: finalizers.into_iter().map(Arc::from).collect(),
            phase: wire.status.phase.unwrap_or_default().into(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a namespace.
#[derive(Debug, Clone, Deserialize)]
pub struct NamespaceWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecWire,
    #[serde(default)]
    status: StatusWire,
}

wire!(
    NamespaceWire,
    ClusterResourceScope,
    "",
    "v1",
    "Namespace",
    "namespaces"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SpecWire {
    finalizers: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct StatusWire {
    phase: Option<String>,
}

/// A service account: only that it exists matters.
#[derive(Debug)]
pub struct ServiceAccountView {
    /// Metadata.
    pub meta: Meta,
}

impl Cached for ServiceAccountView {
    type Wire = ServiceAccountWire;

    fn from_wire(wire: ServiceAccountWire) -> Self {
        Self {
            meta: wire.metadata.into(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a service account.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceAccountWire {
    #[serde(default)]
    metadata: ObjectMeta,
}

wire!(
    ServiceAccountWire,
    NamespaceResourceScope,
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts"
);
