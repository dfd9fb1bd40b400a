//! Services, endpoints, ingresses, policies.

use super::selector::{cell as selector_cell, labels_text};
use super::{AGE, NAME, age, or_none, text, wide};
use crate::kind::Column;
use crate::meta;
use jiff::Timestamp;
use serde_json::Value;

pub(super) const SERVICE: &[Column] = &[
    NAME,
    text("Type"),
    text("Cluster-IP"),
    text("External-IP"),
    text("Port(s)"),
    AGE,
    wide("Selector"),
];

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let kind = meta::text(object, &["spec", "type"]);
    let cluster_ip = meta::list(object, &["spec", "clusterIPs"])
        .first()
        .and_then(Value::as_str)
        .unwrap_or_else(|| meta::text(object, &["spec", "clusterIP"]));
    vec![
        meta::name(object).into(),
        kind.into(),
        or_none(cluster_ip),
        external_ip(object, kind).into(),
        or_none(&service_ports(object)),
        age(object, now),
        or_none(&labels_text(meta::at(object, &["spec", "selector"]))),
    ]
}

fn external_ip(object: &Value, kind: &str) -> String {
    let external = join(
        meta::list(object, &["spec", "externalIPs"])
            .iter()
            .filter_map(Value::as_str),
    );
    match kind {
        "LoadBalancer" => {
            let balancer = join(
                meta::list(object, &["status", "loadBalancer", "ingress"])
                    .iter()
                    .map(address),
            );
            match (balancer.is_empty(), external.is_empty()) {
                (true, true) => "<pending>".into(),
                (true, false) => external,
                (false, true) => balancer,
                (false, false) => format!("{balancer},{external}"),
            }
        }
        "ExternalName" => meta::text(object, &["spec", "externalName"]).to_owned(),
        _ if external.is_empty() => "<none>".into(),
        _ => external,
    }
}

fn address(ingress: &Value) -> &str {
    let ip = meta::text(ingress, &["ip"]);
    if ip.is_empty() {
        meta::text(ingress, &["hostname"])
    } else {
        ip
    }
}

fn join<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<Vec<_>>().join(",")
}

fn service_ports(object: &Value) -> String {
    let ports: Vec<String> = meta::list(object, &["spec", "ports"])
        .iter()
        .map(|port| {
            let number = meta::integer(port, &["port"]).unwrap_or_default();
            let protocol = meta::text(port, &["protocol"]);
            match meta::integer(port, &["nodePort"]) {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                Some(_) | None => format!("{number}/{protocol}"),
            }
        })
        .collect();
    ports.join(",")
}

pub(super) const ENDPOINTS: &[Column] = &[NAME, text("Endpoints"), AGE];

const SHOWN: usize = 3;

pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all: Vec<String> = Vec::new();
    for subset in meta::list(object, &["subsets"]) {
        let addresses = || {
            meta::list(subset, &["addresses"])
                .iter()
                .map(|a| meta::text(a, &["ip"]))
        };
        let ports = meta::list(subset, &["ports"]);
        if ports.is_empty() {
            all.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            let number = meta::integer(port, &["port"]).unwrap_or_default();
            all.extend(addresses().map(|ip| {
                if ip.contains(':') {
                    format!("[{ip}]:{number}")
                } else {
                    format!("{ip}:{number}")
                }
            }));
        }
    }
    vec![
        meta::name(object).into(),
        or_none(&limited(&all)),
        age(object, now),
    ]
}

/// The first three, then how many more there are.
fn limited(all: &[String]) -> String {
    let shown = all
        .iter()
        .take(SHOWN)
        .cloned()
        .collect::<Vec<_>>()
        .join(",");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

pub(super) const SLICE: &[Column] = &[
    NAME,
    text("AddressType"),
    text("Ports"),
    text("Endpoints"),
    AGE,
];

pub(super) fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = meta::list(object, &["ports"])
        .iter()
        .map(|port| match meta::integer(port, &["port"]) {
            Some(number) => number.to_string(),
            None => match meta::text(port, &["name"]) {
                "" => "*".to_owned(),
                name => name.to_owned(),
            },
        })
        .collect();
    let addresses: Vec<String> = meta::list(object, &["endpoints"])
        .iter()
        .flat_map(|endpoint| meta::list(endpoint, &["addresses"]))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let unset = |text: String| {
        if text.is_empty() {
            "<unset>".to_owned()
        } else {
            text
        }
    };
    vec![
        meta::name(object).into(),
        meta::text(object, &["addressType"]).into(),
        unset(limited(&ports)).into(),
        unset(limited(&addresses)).into(),
        age(object, now),
    ]
}

pub(super) const INGRESS: &[Column] = &[
    NAME,
    text("Class"),
    text("Hosts"),
    text("Address"),
    text("Ports"),
    AGE,
];

pub(super) fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let hosts: Vec<String> = meta::list(object, &["spec", "rules"])
        .iter()
        .map(|rule| meta::text(rule, &["host"]))
        .filter(|host| !host.is_empty())
        .map(str::to_owned)
        .collect();
    let hosts = if hosts.is_empty() {
        "*".to_owned()
    } else {
        limited(&hosts)
    };
    let class = match meta::text(object, &["spec", "ingressClassName"]) {
        "" => meta::text(
            object,
            &["metadata", "annotations", "kubernetes.io/ingress.class"],
        ),
        class => class,
    };
    let tls = !meta::list(object, &["spec", "tls"]).is_empty();
    let balancer = meta::list(object, &["status", "loadBalancer", "ingress"]);
    vec![
        meta::name(object).into(),
        or_none(class),
        hosts.into(),
        join(balancer.iter().map(address)).into(),
        if tls { "80, 443".into() } else { "80".into() },
        age(object, now),
    ]
}

pub(super) const POLICY: &[Column] = &[NAME, text("Pod-Selector"), AGE];

pub(super) fn policy(object: &Value, now: Timestamp) -> Vec<Value> {
    let selector = selector_cell(meta::at(object, &["spec", "podSelector"]));
    vec![meta::name(object).into(), selector, age(object, now)]
}

pub(super) const CLASS: &[Column] = &[NAME, text("Controller"), text("Parameters"), AGE];

pub(super) fn class(object: &Value, now: Timestamp) -> Vec<Value> {
    let parameters = meta::at(object, &["spec", "parameters"]).map_or_else(
        || "<none>".to_owned(),
        |reference| {
            let group = meta::text(reference, &["apiGroup"]);
            let dot = if group.is_empty() { "" } else { "." };
            let kind = meta::text(reference, &["kind"]);
            format!("{kind}{dot}{group}/{}", meta::text(reference, &["name"]))
        },
    );
    vec![
        meta::name(object).into(),
        meta::text(object, &["spec", "controller"]).into(),
        parameters.into(),
        age(object, now),
    ]
}
