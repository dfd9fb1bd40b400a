//! What of Services, slices, nodes and namespaces matters for routing and names.

use crate::agent::view::Meta;
use serde::{Deserialize, Deserializer};
use std::net::IpAddr;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const ZONE: &str = "topology.kubernetes.io/zone";

/// A Service, as far as routing and names go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: ServiceSpec,
    /// Status.
    pub status: ServiceStatus,
}

/// The routed parts of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP` (default), `NodePort`, `LoadBalancer` or `ExternalName`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its address; `None` text for a headless one.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// Target of an `ExternalName`.
    pub external_name: String,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// `ClientIP` or `None`.
    pub session_affinity: String,
    /// How long an affinity lasts.
    pub session_affinity_config: Option<AffinityConfig>,
    /// Whether unready endpoints have names too.
    pub publish_not_ready_addresses: bool,
    /// Further addresses at which nodes take connections for it.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    /// `Local`: clients inside the cluster only reach endpoints on their own node.
    pub internal_traffic_policy: String,
    /// `Local`: connections from outside stay on the node they arrive at.
    pub external_traffic_policy: String,
    /// The only clients that its load balancer lets in; empty for all.
    pub load_balancer_source_ranges: Vec<String>,
    /// Where load balancers ask whether a node has endpoints; 0 = nowhere.
    pub health_check_node_port: u16,
}

/// What was given to a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Its load balancer.
    pub load_balancer: LoadBalancer,
}

/// `status.loadBalancer`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// Where it listens.
    pub ingress: Vec<IngressPoint>,
}

/// One address of a load balancer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct IngressPoint {
    /// The address; empty for one with only a host name.
    pub ip: String,
}

/// `sessionAffinityConfig`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AffinityConfig {
    /// Affinity by client address.
    #[serde(rename = "clientIP")]
    pub client_ip: ClientIp,
}

/// `sessionAffinityConfig.clientIP`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientIp {
    /// Seconds since the last connection (10800 by default).
    pub timeout_seconds: Option<u64>,
}

/// One port of a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name; empty for a single port.
    pub name: String,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// Port on the Service's address.
    pub port: u16,
    /// Port on every node, if any.
    pub node_port: u16,
}

/// An EndpointSlice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Slice {
    /// Metadata; the label `kubernetes.io/service-name` names the Service.
    pub metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: String,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Ports all of them have.
    pub ports: Vec<SlicePort>,
}

/// One endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Addresses; all the same to a client. Host names (`addressType: FQDN`) are left out.
    #[serde(deserialize_with = "addresses")]
    pub addresses: Vec<IpAddr>,
    /// Readiness.
    pub conditions: Conditions,
    /// Host name within the Service.
    pub hostname: Option<String>,
    /// The node it is on.
    pub node_name: Option<String>,
    /// Which clients should prefer it.
    pub hints: Option<Hints>,
}

/// `hints` of an endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Hints {
    /// Zones whose clients should use it.
    pub for_zones: Option<Vec<Named>>,
    /// Nodes whose clients should use it.
    pub for_nodes: Option<Vec<Named>>,
}

/// A reference by name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    /// The name.
    pub name: String,
}

/// Readiness of an endpoint.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct Conditions {
    /// Takes connections; unknown counts as ready.
    pub ready: Option<bool>,
    /// Works, perhaps on its way out.
    pub serving: Option<bool>,
    /// On its way out.
    pub terminating: Option<bool>,
}

/// One port of a slice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SlicePort {
    /// Name of the Service port.
    pub name: Option<String>,
    /// `TCP` or `UDP`.
    pub protocol: Option<String>,
    /// Port on the pods.
    pub port: Option<u16>,
}

/// A node, as far as clients on it are told apart.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Metadata.
    pub metadata: Meta,
    /// Spec.
    pub spec: NodeSpec,
}

/// The routed parts of a node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeSpec {
    /// The range of its pods' addresses.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: String,
}

/// A namespace.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Metadata.
    pub metadata: Meta,
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let texts = Option::<Vec<String>>::deserialize(deserializer)?;
    let parsed = texts.iter().flatten().filter_map(|text| text.parse().ok());
    Ok(parsed.collect())
}

impl Node {
    /// Its zone, if it has one.
    pub fn zone(&self) -> Option<&str> {
        self.metadata.labels.get(ZONE).map(String::as_str)
    }
}

impl Slice {
    /// The Service it belongs to.
    pub fn service(&self) -> Option<ServiceName> {
        let service = self.metadata.labels.get(SERVICE_NAME)?;
        Some((self.metadata.namespace.clone(), service.clone()))
    }
}

impl Conditions {
    /// Whether it takes new connections.
    pub fn is_ready(&self) -> bool {
        self.ready.unwrap_or(true)
    }

    /// Whether it still works although it is on its way out.
    pub fn is_draining(&self) -> bool {
        self.serving.unwrap_or(self.is_ready()) && self.terminating == Some(true)
    }
}

impl Service {
    /// Its address, unless it is headless, external or has none yet.
    pub fn cluster_ip(&self) -> Option<IpAddr> {
        self.spec.cluster_ip.parse().ok()
    }

    /// Whether its load balancer lets a client in.
    pub fn admits(&self, client: IpAddr) -> bool {
        let ranges = &self.spec.load_balancer_source_ranges;
        let IpAddr::V4(client) = client else {
            return ranges.is_empty();
        };
        let has = |text: &String| super::range(text.trim());
        let mut ranges_read = ranges.iter().filter_map(has);
        ranges.is_empty() || ranges_read.any(|(first, last)| (first..=last).contains(&client))
    }

    /// Whether it has no address on purpose.
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip == "None"
    }

    /// Its namespace and name.
    pub fn key(&self) -> ServiceName {
        (self.metadata.namespace.clone(), self.metadata.name.clone())
    }
}

/// (namespace, Service name).
pub type ServiceName = (String, String);
