//! Services.

use super::object::{self, Lives};
use super::prefix::Prefix;
use super::scope::{Errors, Scope};
use crate::names;
use crate::status::FieldError;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// What is said of a text that is no address.
const ADDRESS: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
/// The port of node agents.
const KUBELET: i64 = 10_250;

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
    health_port(&spec, kind, &mut errors);
    balancer(&spec, kind, &mut errors);
    families(&spec, &mut errors);
    let distribution = spec.at("trafficDistribution");
    if distribution.present() {
        let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        distribution.one_of(&known, &mut errors);
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
        if text != "None" && text.parse::<IpAddr>().is_err() {
            errors
                .push(ip.invalid("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"));
        }
    }
    for ip in spec.items("externalIPs") {
        match ip.text().parse::<IpAddr>() {
            Ok(address) => errors.extend(special(address).map(|why| ip.invalid(why))),
            Err(_) => errors.push(ip.invalid(ADDRESS)),
        }
    }
}

/// Why an address cannot be one that others reach a Service at.
fn special(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("may not be unspecified (0.0.0.0 or ::)");
    }
    if address.is_loopback() {
        return Some("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, multicast) = match address {
        IpAddr::V4(ip) => (ip.is_link_local(), matches!(ip.octets(), [224, 0, 0, _])),
        IpAddr::V6(ip) => {
            let [first, ..] = ip.segments();
            (first & 0xffc0 == 0xfe80, first & 0xff0f == 0xff02)
        }
    };
    if link_local {
        return Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    multicast.then_some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/16)")
}

/// Where load balancers ask for a Service's health.
fn health_port(spec: &Scope<'_>, kind: &str, errors: &mut Errors) {
    let port = spec.at("healthCheckNodePort");
    if port.integer().is_none_or(|number| number == 0) {
        return;
    }
    port.port(errors);
    if kind != "LoadBalancer" || spec.at("externalTrafficPolicy").text() != "Local" {
        errors.push(port.invalid(
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ));
    }
}

/// What only load balancers have.
fn balancer(spec: &Scope<'_>, kind: &str, errors: &mut Errors) {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let ranges = spec.at("loadBalancerSourceRanges");
    if kind != "LoadBalancer" {
        let fields = [
            ranges,
            spec.at("allocateLoadBalancerNodePorts"),
            spec.at("loadBalancerClass"),
        ];
        let set = fields
            .iter()
            .filter(|field| field.present() && !field.is_empty());
        errors.extend(set.map(|field| field.forbidden(ONLY)));
        return;
    }
    for port in spec.items("ports") {
        if port.at("port").integer() == Some(KUBELET) {
            let why = "may not expose port 10250 externally since it is used by kubelet";
            errors.push(port.at("port").invalid(why));
        }
    }
    for range in spec.items("loadBalancerSourceRanges") {
        if Prefix::parse(range.text().trim()).is_none() {
            errors.push(range.invalid(Prefix::WANTED));
        }
    }
}

fn families(spec: &Scope<'_>, errors: &mut Errors) {
    let policy = spec.at("ipFamilyPolicy");
    if policy.present() {
        let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        policy.one_of(&known, errors);
    }
    let mut seen = BTreeSet::new();
    for family in spec.items("ipFamilies") {
        family.one_of(&["IPv4", "IPv6"], errors);
        if !seen.insert(family.text()) {
            errors.push(family.duplicate());
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
    let (old_health, health) = (old.at("healthCheckNodePort"), new.at("healthCheckNodePort"));
    let asked = |port: &Scope<'_>| port.integer().filter(|number| *number != 0);
    if let (Some(before), Some(now)) = (asked(&old_health), asked(&health))
        && before != now
    {
        errors.push(health.invalid("field is immutable"));
    }
    let (old_class, class) = (old.at("loadBalancerClass"), new.at("loadBalancerClass"));
    let balanced = |spec: &Scope<'_>| spec.at("type").text() == "LoadBalancer";
    if balanced(new) && balanced(old) && old_class.text() != class.text() {
        errors.push(class.invalid("may not change once set"));
    }
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
