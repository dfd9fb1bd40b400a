//! Services.

use super::object::{self, Lives};
use super::scope::{Errors, Scope};
use crate::names;
use crate::status::FieldError;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(super) fn service(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = object::metadata(new, old, Lives::InNamespace, names::is_dns_1035_label);
    let spec = Scope::root(new).at("spec");
    let kind = spec.at("type").text();
    let headless = spec.at("clusterIP").text() == "None";
    if spec.at("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(spec.at("ports").required(""));
    }
    by_type(&spec, kind, &mut errors);
    ports(&spec, kind, &mut errors);
    object::labels(&spec.at("selector"), &mut errors);
    spec.at("sessionAffinity")
        .one_of(&["ClientIP", "None"], &mut errors);
    spec.at("type").one_of(
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        &mut errors,
    );
    affinity(&spec, &mut errors);
    let traffic = spec.at("externalTrafficPolicy");
    if traffic.present() {
        if matches!(kind, "NodePort" | "LoadBalancer") || !spec.at("externalIPs").is_empty() {
            traffic.one_of(&["Cluster", "Local"], &mut errors);
        } else {
            errors.push(traffic.invalid("may only be set for externally-accessible services"));
        }
    }
    let internal = spec.at("internalTrafficPolicy");
    if internal.present() {
        internal.one_of(&["Cluster", "Local"], &mut errors);
    }
    if let Some(old) = old {
        update(&spec, &Scope::root(old).at("spec"), &mut errors);
    }
    errors
}

fn by_type(spec: &Scope<'_>, kind: &str, errors: &mut Errors) {
    match kind {
        "ExternalName" => {
            if !spec.at("clusterIPs").is_empty() {
                errors.push(
                    spec.at("clusterIPs")
                        .forbidden("may not be set for ExternalName services"),
                );
            }
            let name = spec.at("externalName");
            let text = name.text().strip_suffix('.').unwrap_or(name.text());
            if text.is_empty() {
                errors.push(name.required(""));
            } else if let Err(why) = names::is_dns_subdomain(text) {
                errors.push(name.invalid(why));
            }
        }
        "NodePort" | "LoadBalancer" if spec.at("clusterIP").text() == "None" => {
            let ips = spec.at("clusterIPs");
            if let Some(first) = spec.items("clusterIPs").first() {
                let why = format!("may not be set to 'None' for {kind} services");
                errors.push(FieldError::invalid(first.path.clone(), first.value, why));
            } else {
                let why = format!("may not be set to 'None' for {kind} services");
                errors.push(FieldError::invalid(ips.path, &"None".into(), why));
            }
        }
        _ => {}
    }
    for ip in spec.items("clusterIPs") {
        let text = ip.text();
        if text != "None" && text.parse::<std::net::IpAddr>().is_err() {
            errors
                .push(ip.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
    }
    for ip in spec.items("externalIPs") {
        if ip.text().parse::<std::net::IpAddr>().is_err() {
            errors
                .push(ip.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
    }
}

fn ports(spec: &Scope<'_>, kind: &str, errors: &mut Errors) {
    let ports = spec.items("ports");
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let mut numbers: BTreeSet<(i64, &str)> = BTreeSet::new();
    let mut node_ports: BTreeSet<(i64, &str)> = BTreeSet::new();
    let headless = spec.at("clusterIP").text() == "None";
    for port in &ports {
        let name = port.at("name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(name.required(""));
            }
        } else {
            name.name(names::is_dns_label, errors);
            if !names.insert(name.text()) {
                errors.push(name.duplicate());
            }
        }
        port.at("port").port(errors);
        port.at("protocol").one_of(&["SCTP", "TCP", "UDP"], errors);
        port.at("targetPort").port_or_name(errors);
        if headless && port.at("targetPort").integer().is_none() && port.at("targetPort").is_empty()
        {
            errors.push(port.at("targetPort").required(""));
        }
        let (number, protocol) = (port.at("port").integer(), port.at("protocol").text());
        if !numbers.insert((number.unwrap_or_default(), protocol)) {
            let key = json!({"protocol": protocol, "port": number});
            errors.push(FieldError::duplicate(port.path.clone(), &key));
        }
        let node_port = port.at("nodePort");
        let Some(on_node) = node_port.integer().filter(|number| *number != 0) else {
            continue;
        };
        if !matches!(kind, "NodePort" | "LoadBalancer") {
            errors.push(node_port.forbidden("may not be used when `type` is 'ClusterIP'"));
        } else if !(30_000..=32_767).contains(&on_node) {
            let why =
                "provided port is not in the valid range. The range of valid ports is 30000-32767";
            errors.push(node_port.invalid(why));
        } else if !node_ports.insert((on_node, protocol)) {
            errors.push(node_port.duplicate());
        }
    }
}

fn affinity(spec: &Scope<'_>, errors: &mut Errors) {
    let config = spec.at("sessionAffinityConfig");
    if spec.at("sessionAffinity").text() == "ClientIP" {
        let timeout = config.at("clientIP").at("timeoutSeconds");
        if timeout
            .integer()
            .is_some_and(|seconds| !(1..=86_400).contains(&seconds))
        {
            errors.push(timeout.invalid("must be greater than 0 and less than 86400"));
        }
    } else if config.present() {
        errors.push(config.forbidden("must not be set when session affinity is None"));
    }
}

fn update(new: &Scope<'_>, old: &Scope<'_>, errors: &mut Errors) {
    let external = |spec: &Scope<'_>| spec.at("type").text() == "ExternalName";
    if external(new) || external(old) {
        return;
    }
    let (was, is) = (old.at("clusterIP").text(), new.at("clusterIP").text());
    if !was.is_empty() && was != is {
        let ips = new.at("clusterIPs");
        let field = format!("{}[0]", ips.path);
        errors.push(FieldError::invalid(
            field,
            ips.value,
            "may not change once set",
        ));
    }
}
