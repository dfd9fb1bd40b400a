//! Whether another server answers.

use super::registration::{Available, Registration};
use super::remote;
use crate::outbound::OutboundError;
use crate::server::{ApiServer, key_of};
use plimsoll_api::meta;
use serde_json::Value;

/// Looks at the Service and its endpoints, then asks the server for its group version.
pub(super) async fn check(server: &ApiServer, registration: &Registration) -> Available {
    let no = |reason: &'static str, message: String| Available {
        yes: false,
        reason,
        message,
    };
    let service = &registration.service;
    let (namespace, name, port) = (&service.namespace, &service.name, service.port);
    match server.0.outbound.resolves(service) {
        Ok(()) => {}
        Err(OutboundError::NoService(_)) => {
            let message = format!("service/{name} in {namespace:?} is not present");
            return no("ServiceNotFound", message);
        }
        Err(OutboundError::NoPort { .. }) => {
            let message =
                format!("service/{name} in {namespace:?} is not listening on port {port}");
            return no("ServicePortError", message);
        }
        Err(_) => {
            let port_name = port_name(server, registration);
            let message = format!(
                "endpoints for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
            );
            return no("MissingEndpoints", message);
        }
    }
    let path = format!("/apis/{}/{}", registration.group, registration.version);
    let url = format!("{}{path}", service.origin());
    let why = match remote::get(server, registration, &path, "application/json").await {
        Ok(answer) if answer.code.is_success() => {
            return Available {
                yes: true,
                reason: "Passed",
                message: "all checks passed".to_owned(),
            };
        }
        Ok(answer) => format!("bad status from {url}: {}", answer.code.as_u16()),
        Err(error) => format!("Get {url:?}: {error}"),
    };
    no(
        "FailedDiscoveryCheck",
        format!("failing or missing response from {url}: {why}"),
    )
}

fn port_name(server: &ApiServer, registration: &Registration) -> String {
    let wanted = &registration.service;
    let key = key_of("services", &wanted.namespace, &wanted.name);
    let entry = server.store().get(&key);
    let service: Value = entry
        .and_then(|entry| serde_json::from_slice(&entry.json).ok())
        .unwrap_or_default();
    let ports = meta::list(&service, &["spec", "ports"]).iter();
    let mut ports = ports.filter(|p| meta::integer(p, &["port"]) == Some(i64::from(wanted.port)));
    ports
        .next()
        .map_or_else(String::new, |port| meta::text(port, &["name"]).to_owned())
}
