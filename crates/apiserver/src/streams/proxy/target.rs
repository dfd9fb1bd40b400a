//! What a proxy's path names: `[SCHEME:]NAME[:PORT]` of a pod, a service or a node.

use crate::call::Call;
use crate::resource::present::parse;
use crate::store::ListQuery;
use crate::streams::backend;
use plimsoll_api::meta;
use plimsoll_api::node::{Destination, NodeBackend};
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// The port of a node's own server.
const AGENT_PORT: &str = "10250";

/// How to talk to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS; the certificate is not checked, because nothing says what it should be.
    Https,
}

/// Where a request goes.
#[derive(Debug)]
pub(super) struct Target {
    /// How to talk to it.
    pub(super) scheme: Scheme,
    /// What to connect to.
    pub(super) destination: Destination,
    /// For the `Host` header and for messages.
    pub(super) host: String,
    /// Who connects.
    pub(super) nodes: Arc<dyn NodeBackend>,
}

/// A name as it is in the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Named<'a> {
    scheme: Scheme,
    name: &'a str,
    port: &'a str,
}

fn split(text: &str) -> Option<Named<'_>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    let scheme = match scheme {
        "" | "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return None,
    };
    (!name.is_empty()).then_some(Named { scheme, name, port })
}

/// Finds the target that the path names.
pub(super) fn find(call: &Call) -> Result<Target, ApiError> {
    let text = call.name();
    let what = match &*call.kind.plural {
        "pods" => "pod",
        "services" => "service",
        _ => "node",
    };
    let named = split(text)
        .ok_or_else(|| ApiError::bad_request(format!("invalid {what} request {text:?}")))?;
    let nodes = backend(call)?;
    let (destination, host) = match what {
        "pod" => address(pod(call, named)?),
        "service" => address(service(call, named)?),
        _ => node(call, named)?,
    };
    let scheme = match destination {
        // In process there is nothing to encrypt.
        Destination::Agent { .. } => Scheme::Http,
        Destination::Pod { .. } | Destination::Address(_) => named.scheme,
    };
    Ok(Target {
        scheme,
        destination,
        host,
        nodes,
    })
}

fn address(at: SocketAddr) -> (Destination, String) {
    (Destination::Address(at), at.to_string())
}

fn object(call: &Call, name: &str) -> Result<Value, ApiError> {
    let (group, plural) = (&call.kind.group, &call.kind.plural);
    let found = call.server.find(group, plural, (call.namespace(), name));
    let entry = found.ok_or_else(|| ApiError::not_found(group, plural, name))?;
    parse(&entry.json)
}

fn pod(call: &Call, named: Named<'_>) -> Result<SocketAddr, ApiError> {
    let pod = object(call, named.name)?;
    let ip = proxyable(meta::text(&pod, &["status", "podIP"]))?;
    let containers = meta::list(&pod, &["spec", "containers"]);
    let mut ports = containers.iter().flat_map(|c| meta::list(c, &["ports"]));
    let of = |port: &Value| meta::integer(port, &["containerPort"]);
    let port = match (named.port, named.port.parse::<i64>()) {
        // Without a port, the first one that the pod says it has.
        ("", _) => ports
            .next()
            .and_then(of)
            .unwrap_or(default_port(named.scheme)),
        (_, Ok(number)) => number,
        (name, Err(_)) => ports
            .find(|port| meta::text(port, &["name"]) == name)
            .and_then(of)
            .ok_or_else(|| no_port(name, "pod", named.name))?,
    };
    let port = u16::try_from(port).ok().filter(|port| *port > 0);
    let port = port
        .ok_or_else(|| ApiError::bad_request(format!("invalid pod request {:?}", call.name())))?;
    Ok(SocketAddr::new(ip, port))
}

fn default_port(scheme: Scheme) -> i64 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

fn no_port(port: &str, what: &str, name: &str) -> ApiError {
    unavailable(format!("no {what} port {port:?} found for {what} {name:?}"))
}

fn unavailable(message: String) -> ApiError {
    ApiError::new(503, "ServiceUnavailable", message)
}

/// Refuses addresses that are of this machine only, or of nobody in particular.
fn proxyable(text: &str) -> Result<IpAddr, ApiError> {
    let refused = || ApiError::bad_request("address not allowed");
    let ip: IpAddr = text.parse().map_err(|_| refused())?;
    let special = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if special || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        return Err(refused());
    }
    Ok(ip)
}

fn service(call: &Call, named: Named<'_>) -> Result<SocketAddr, ApiError> {
    let name = named.name;
    let service = object(call, name)?;
    let port = port_name(&service, named)?;
    let none = || unavailable(format!("no endpoints available for service {name:?}"));
    let slices = slices(call, name)?;
    let ready = |slice: &Value| {
        let endpoints = meta::list(slice, &["endpoints"]).iter();
        let ready = endpoints.filter(|endpoint| {
            let condition = meta::at(endpoint, &["conditions", "ready"]);
            condition.is_none_or(|ready| ready != &Value::Bool(false))
        });
        let addresses = ready.filter_map(|endpoint| {
            let first = meta::list(endpoint, &["addresses"]).first()?;
            first.as_str().map(str::to_owned)
        });
        addresses.collect::<Vec<_>>()
    };
    let mut found = Vec::new();
    let mut any = false;
    for slice in &slices {
        let addresses = ready(slice);
        any |= !addresses.is_empty();
        let ports = meta::list(slice, &["ports"]).iter();
        let number = ports
            .filter(|one| meta::text(one, &["name"]) == port)
            .find_map(|one| u16::try_from(meta::integer(one, &["port"])?).ok());
        if let Some(number) = number {
            found.extend(addresses.into_iter().map(|address| (address, number)));
        }
    }
    if !any {
        return Err(none());
    }
    let many = u32::try_from(found.len()).unwrap_or(u32::MAX);
    let chosen = usize::try_from(call.server.0.random.below(many)).unwrap_or_default();
    let (ip, number) = found
        .get(chosen)
        .ok_or_else(|| no_port(&port, "service", name))?;
    Ok(SocketAddr::new(proxyable(ip)?, *number))
}

/// The name of the service's port that is asked for: by name, by number, or the only one.
fn port_name(service: &Value, named: Named<'_>) -> Result<String, ApiError> {
    let ports = meta::list(service, &["spec", "ports"]);
    let name = |port: &Value| meta::text(port, &["name"]).to_owned();
    if let ("", [only]) = (named.port, ports) {
        return Ok(name(only));
    }
    let Ok(number) = named.port.parse::<i64>() else {
        return Ok(named.port.to_owned());
    };
    let found = ports
        .iter()
        .find(|port| meta::integer(port, &["port"]) == Some(number));
    found.map(name).ok_or_else(|| {
        let name = named.name;
        unavailable(format!(
            "no service port {number} found for service {name:?}"
        ))
    })
}

fn slices(call: &Call, service: &str) -> Result<Vec<Value>, ApiError> {
    let Some(kind) = call
        .server
        .stored_kind("discovery.k8s.io", "endpointslices")
    else {
        return Ok(Vec::new());
    };
    let query = ListQuery {
        resource: Arc::clone(&kind.storage),
        namespace: Some(call.namespace().into()),
        ..ListQuery::default()
    };
    let page = call.server.store().list(&query);
    let page = page.map_err(|error| crate::call::refused(&kind, service, &error))?;
    let slices = page.entries.iter().map(|entry| parse(&entry.json));
    let label = ["metadata", "labels", "kubernetes.io/service-name"];
    slices
        .filter(|slice| {
            let slice = slice.as_ref();
            slice.is_ok_and(|slice| meta::text(slice, &label) == service)
        })
        .collect()
}

fn node(call: &Call, named: Named<'_>) -> Result<(Destination, String), ApiError> {
    let node = object(call, named.name)?;
    if matches!(named.port, "" | AGENT_PORT) {
        let destination = Destination::Agent {
            node: named.name.to_owned(),
        };
        return Ok((destination, format!("{}:{AGENT_PORT}", named.name)));
    }
    let addresses = meta::list(&node, &["status", "addresses"]).iter();
    let internal = addresses
        .filter(|one| meta::text(one, &["type"]) == "InternalIP")
        .map(|one| meta::text(one, &["address"]))
        .next();
    let ip = proxyable(internal.unwrap_or_default())?;
    let port = named.port.parse::<u16>();
    let port =
        port.map_err(|_| ApiError::bad_request(format!("invalid node request {:?}", call.name())))?;
    Ok(address(SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("web", Some((Scheme::Http, "web", "")))]
    #[case("web:80", Some((Scheme::Http, "web", "80")))]
    #[case("https:web:443", Some((Scheme::Https, "web", "443")))]
    #[case("http:web:", Some((Scheme::Http, "web", "")))]
    #[case(":web:http", Some((Scheme::Http, "web", "http")))]
    #[case("ftp:web:21", None)]
    #[case("a:b:c:d", None)]
    #[case(":80", None)]
    fn names_may_have_a_scheme_and_a_port(
        #[case] text: &str,
        #[case] want: Option<(Scheme, &str, &str)>,
    ) {
        let got = split(text).map(|named| (named.scheme, named.name, named.port));
        assert_eq!(got, want);
    }

    #[rstest]
    #[case("10.244.0.5", true)]
    #[case("127.0.0.1", false)]
    #[case("169.254.169.254", false)]
    #[case("0.0.0.0", false)]
    #[case("224.0.0.1", false)]
    #[case("::1", false)]
    #[case("", false)]
    fn only_addresses_of_the_cluster_are_proxied_to(#[case] text: &str, #[case] allowed: bool) {
        assert_eq!(proxyable(text).is_ok(), allowed);
    }
}
