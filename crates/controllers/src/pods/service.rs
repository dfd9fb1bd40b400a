//! A service.

use super::pod::null_as_empty;
use super::selector::Selector;
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where a service port leads inside the pod.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum TargetPort {
    /// This port.
    Number(u16),
    /// The container port of this name.
    Name(Arc<str>),
}

/// A port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Name, or empty.
    pub name: Arc<str>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Arc<str>,
    /// Port of the service.
    pub port: u16,
    /// Port of the pod.
    pub target: TargetPort,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
}

/// A service.
#[derive(Debug)]
pub struct ServiceView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.selector`; absent for services whose endpoints someone else keeps.
    pub selector: Option<Selector>,
    /// `spec.type`.
    pub kind: Box<str>,
    /// `spec.clusterIP`: an address, `None` or empty.
    pub cluster_ip: Box<str>,
    /// `spec.ports`.
    pub ports: Box<[ServicePort]>,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.trafficDistribution`.
    pub traffic_distribution: Option<Box<str>>,
    /// `spec.loadBalancerClass`: somebody else's load balancer.
    pub balancer_class: Option<Box<str>>,
    /// `spec.loadBalancerIP`, or empty.
    pub balancer_address: Box<str>,
    /// Addresses in `status.loadBalancer.ingress`.
    pub balanced_at: Box<[Box<str>]>,
}

impl ServiceView {
    /// Whether the service has no address of its own.
    pub fn is_headless(&self) -> bool {
        &*self.cluster_ip == "None"
    }
}

impl Cached for ServiceView {
    type Wire = ServiceWire;

    fn from_wire(wire: ServiceWire) -> Self {
        let ServiceWire {
            metadata,
            spec,
            status,
        } = wire;
        let ingress = status.load_balancer.ingress.unwrap_or_default();
        Self {
            meta: metadata.into(),
            selector: spec
                .selector
                .filter(|labels| !labels.is_empty())
                .map(|labels| Selector::of_map(&labels)),
            kind: spec.kind.unwrap_or_default().into(),
            cluster_ip: spec.cluster_ip.unwrap_or_default().into(),
            ports: spec.ports.into_iter().map(ServicePort::from).collect(),
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or_default(),
            traffic_distribution: spec.traffic_distribution.map(String::into_boxed_str),
            balancer_class: spec.load_balancer_class.map(String::into_boxed_str),
            balancer_address: spec.load_balancer_ip.unwrap_or_default().into(),
            balanced_at: ingress
                .into_iter()
                .filter_map(|at| at.ip)
                .map(String::into)
                .collect(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a service.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SpecWire,
    #[serde(default)]
    status: StatusWire,
}

wire!(
    ServiceWire,
    NamespaceResourceScope,
    "",
    "v1",
    "Service",
    "services"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecWire {
    selector: Option<BTreeMap<String, String>>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(deserialize_with = "null_as_empty")]
    ports: Vec<PortWire>,
    publish_not_ready_addresses: Option<bool>,
    traffic_distribution: Option<String>,
    load_balancer_class: Option<String>,
    #[serde(rename = "loadBalancerIP")]
    load_balancer_ip: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusWire {
    load_balancer: BalancerWire,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct BalancerWire {
    ingress: Option<Vec<IngressWire>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct IngressWire {
    ip: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortWire {
    name: Option<String>,
    protocol: Option<String>,
    port: u16,
    target_port: Option<TargetPort>,
    app_protocol: Option<String>,
}

impl From<PortWire> for ServicePort {
    fn from(wire: PortWire) -> Self {
        let target = wire
            .target_port
            .filter(|target| *target != TargetPort::Number(0));
        Self {
            name: wire.name.unwrap_or_default().into(),
            protocol: wire.protocol.as_deref().unwrap_or("TCP").into(),
            port: wire.port,
            target: target.unwrap_or(TargetPort::Number(wire.port)),
            app_protocol: wire.app_protocol.map(Arc::from),
        }
    }
}
