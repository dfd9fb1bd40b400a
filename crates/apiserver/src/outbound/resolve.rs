//! From a Service to the addresses behind it.

use super::{OutboundError, ServiceRef};
use crate::server::key_of;
use crate::store::{ListQuery, Store};
use plimsoll_api::meta;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};

/// Where connections to a Service may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Backend {
    /// To any of these ready endpoints.
    Endpoints(Vec<SocketAddr>),
    /// To a host outside the cluster (type ExternalName).
    External(String, u16),
}

/// The ready endpoints of a Service, ordered as its EndpointSlices list them.
///
/// # Errors
/// [`OutboundError::NoService`], [`OutboundError::NoPort`] and [`OutboundError::NoEndpoints`].
pub(super) fn service(store: &Store, wanted: &ServiceRef) -> Result<Backend, OutboundError> {
    let ServiceRef {
        namespace,
        name,
        port,
        ..
    } = wanted;
    let entry = store.get(&key_of("services", namespace, name));
    let entry = entry.ok_or_else(|| OutboundError::NoService(name.clone()))?;
    let service: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
    if meta::text(&service, &["spec", "type"]) == "ExternalName" {
        let host = meta::text(&service, &["spec", "externalName"]).to_owned();
        return Ok(Backend::External(host, *port));
    }
    let ports = meta::list(&service, &["spec", "ports"]);
    let found = ports
        .iter()
        .find(|p| meta::integer(p, &["port"]) == Some(i64::from(*port)))
        .ok_or_else(|| OutboundError::NoPort {
            service: name.clone(),
            port: *port,
        })?;
    let addresses = ready(store, wanted, meta::text(found, &["name"]));
    if addresses.is_empty() {
        return Err(OutboundError::NoEndpoints(name.clone()));
    }
    Ok(Backend::Endpoints(addresses))
}

fn ready(store: &Store, wanted: &ServiceRef, port_name: &str) -> Vec<SocketAddr> {
    let query = ListQuery {
        resource: "discovery.k8s.io/endpointslices".into(),
        namespace: Some(wanted.namespace.as_str().into()),
        ..ListQuery::default()
    };
    let slices = store.list(&query).map(|p| p.entries).unwrap_or_default();
    let of_service = |labels: &[(std::sync::Arc<str>, std::sync::Arc<str>)]| {
        labels
            .iter()
            .any(|(k, v)| &**k == "kubernetes.io/service-name" && **v == *wanted.name)
    };
    let mut addresses = Vec::new();
    for entry in slices.iter().filter(|e| of_service(&e.index.labels)) {
        let slice: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
        let port = meta::list(&slice, &["ports"])
            .iter()
            .find(|p| meta::text(p, &["name"]) == port_name)
            .and_then(|p| meta::integer(p, &["port"]))
            .and_then(|p| u16::try_from(p).ok());
        let Some(port) = port else { continue };
        let ready = meta::list(&slice, &["endpoints"]).iter().filter(|e| {
            meta::at(e, &["conditions", "ready"]).and_then(Value::as_bool) != Some(false)
        });
        addresses.extend(
            ready
                .flat_map(|e| meta::list(e, &["addresses"]))
                .filter_map(|a| a.as_str()?.parse::<IpAddr>().ok())
                .map(|ip| SocketAddr::new(ip, port)),
        );
    }
    addresses
}
