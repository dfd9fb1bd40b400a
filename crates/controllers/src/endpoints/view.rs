//! Endpoints objects as they are read and written.

use crate::endpointslice::members::{EndpointPort, TargetRef};
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Subset {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) addresses: Option<Vec<Address>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) not_ready_addresses: Option<Vec<Address>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ports: Option<Vec<Port>>,
}

/// Like a slice's port, but an unnamed one has no `name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Port {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(rename = "port")]
    pub(crate) number: u16,
    #[serde(default)]
    pub(crate) protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app_protocol: Option<String>,
}

impl From<Port> for EndpointPort {
    fn from(port: Port) -> Self {
        Self {
            name: Some(port.name.unwrap_or_default()),
            port: Some(port.number),
            protocol: port.protocol.or_else(|| Some("TCP".into())),
            app_protocol: port.app_protocol,
        }
    }
}

impl From<EndpointPort> for Port {
    fn from(port: EndpointPort) -> Self {
        Self {
            name: port.name.filter(|name| !name.is_empty()),
            number: port.port.unwrap_or_default(),
            protocol: port.protocol,
            app_protocol: port.app_protocol,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    pub(crate) ip: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target_ref: Option<TargetRef>,
}

#[derive(Debug)]
pub(crate) struct EndpointsView {
    pub(crate) meta: Meta,
    pub(crate) subsets: Vec<Subset>,
}

impl Cached for EndpointsView {
    type Wire = EndpointsWire;

    fn from_wire(wire: EndpointsWire) -> Self {
        Self {
            meta: wire.metadata.into(),
            subsets: wire.subsets.unwrap_or_default(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct EndpointsWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    subsets: Option<Vec<Subset>>,
}

wire!(
    EndpointsWire,
    NamespaceResourceScope,
    "",
    "v1",
    "Endpoints",
    "endpoints"
);
