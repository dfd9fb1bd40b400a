//! Endpoints, slices and ingresses.

use super::object::{Lives, metadata};
use super::scope::{Errors, Scope};
use crate::names;
use crate::status::{CauseReason, FieldError};
use serde_json::Value;
use std::net::IpAddr;

/// Endpoints of one slice.
const MOST_ENDPOINTS: usize = 1_000;
/// Addresses of one endpoint.
const MOST_ADDRESSES: usize = 100;
/// Ports of one slice.
const MOST_PORTS: usize = 20_000;

pub(super) fn endpoints(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    for subset in Scope::root(new).items("subsets") {
        if subset.at("addresses").is_empty() && subset.at("notReadyAddresses").is_empty() {
            errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for address in subset.items(list) {
                ip(&address.at("ip"), &mut errors);
                label(&address.at("hostname"), &mut errors);
            }
        }
        let ports = subset.items("ports");
        for port in &ports {
            if ports.len() > 1 {
                port.at("name").require(&mut errors);
            }
            port.at("port").port(&mut errors);
            port.at("protocol")
                .one_of(&["SCTP", "TCP", "UDP"], &mut errors);
        }
    }
    errors
}

/// A DNS label where there is one.
fn label(field: &Scope<'_>, errors: &mut Errors) {
    if !field.is_empty() {
        field.name(names::is_dns_label, errors);
    }
}

fn ip(address: &Scope<'_>, errors: &mut Errors) {
    if address.text().parse::<IpAddr>().is_err() {
        errors
            .push(address.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
    }
}

fn too_many(field: &Scope<'_>, count: usize, most: usize, errors: &mut Errors) {
    if count > most {
        errors.push(FieldError {
            field: field.path.clone(),
            reason: CauseReason::FieldValueTooMany,
            detail: format!("Too many: {count}: must have at most {most} items"),
        });
    }
}

pub(super) fn slice(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    let kind = root.at("addressType");
    if kind.is_empty() {
        errors.push(kind.required(""));
    } else {
        kind.one_of(&["FQDN", "IPv4", "IPv6"], &mut errors);
    }
    let endpoints = root.items("endpoints");
    too_many(
        &root.at("endpoints"),
        endpoints.len(),
        MOST_ENDPOINTS,
        &mut errors,
    );
    too_many(
        &root.at("ports"),
        root.items("ports").len(),
        MOST_PORTS,
        &mut errors,
    );
    for endpoint in endpoints {
        let addresses = endpoint.items("addresses").len();
        too_many(
            &endpoint.at("addresses"),
            addresses,
            MOST_ADDRESSES,
            &mut errors,
        );
        label(&endpoint.at("hostname"), &mut errors);
        if endpoint.at("addresses").is_empty() {
            let why = "must contain at least 1 address";
            errors.push(endpoint.at("addresses").required(why));
        }
        for address in endpoint.items("addresses") {
            if kind.text() == "FQDN" {
                address.name(names::is_dns_subdomain, &mut errors);
            } else {
                ip(&address, &mut errors);
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    for port in root.items("ports") {
        label(&port.at("name"), &mut errors);
        if !seen.insert(port.at("name").text()) {
            errors.push(port.at("name").duplicate());
        }
        port.at("protocol")
            .one_of(&["SCTP", "TCP", "UDP"], &mut errors);
    }
    if let Some(old) = old {
        kind.unchanged(&Scope::root(old).at("addressType"), &mut errors);
    }
    errors
}

pub(super) fn ingress(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    if spec.at("rules").is_empty() && !spec.at("defaultBackend").present() {
        errors.push(spec.invalid("either `defaultBackend` or `rules` must be specified"));
    }
    if spec.at("defaultBackend").present() {
        backend(&spec.at("defaultBackend"), &mut errors);
    }
    for rule in spec.items("rules") {
        let host = rule.at("host");
        if !host.is_empty() {
            let text = host.text().strip_prefix("*.").unwrap_or(host.text());
            if let Err(why) = names::is_dns_subdomain(text) {
                errors.push(host.invalid(why));
            }
        }
        let http = rule.at("http");
        if http.present() {
            http.at("paths").require(&mut errors);
        }
        for path in http.items("paths") {
            ingress_path(&path, &mut errors);
        }
    }
    errors
}

fn ingress_path(path: &Scope<'_>, errors: &mut Errors) {
    let (kind, text) = (path.at("pathType"), path.at("path"));
    if kind.is_empty() {
        errors.push(kind.required("pathType must be specified"));
    } else {
        kind.one_of(&["Exact", "ImplementationSpecific", "Prefix"], errors);
    }
    let must = matches!(kind.text(), "Exact" | "Prefix") || !text.is_empty();
    if must && !text.text().starts_with('/') {
        errors.push(text.invalid("must be an absolute path"));
    }
    backend(&path.at("backend"), errors);
}

fn backend(backend: &Scope<'_>, errors: &mut Errors) {
    let (service, resource) = (backend.at("service"), backend.at("resource"));
    match (service.present(), resource.present()) {
        (true, true) => {
            errors.push(backend.invalid("cannot set both resource and service backends"));
        }
        (false, false) => errors.push(backend.required("resource or service backend is required")),
        (false, true) => {}
        (true, false) => {
            if service.at("name").require(errors) {
                service.at("name").name(names::is_dns_1035_label, errors);
            }
            let port = service.at("port");
            if port.at("name").is_empty() && port.at("number").integer().unwrap_or_default() == 0 {
                errors.push(service.required("port name or number is required"));
            }
        }
    }
}
