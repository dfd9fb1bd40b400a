//! Services, endpoints and network policies.

use super::{Fields, ensure, is_set, items, set, set_text};
use crate::meta;
use serde_json::{Value, json};

pub(super) fn service(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    set_text(spec, "sessionAffinity", "None");
    if spec
        .get("sessionAffinity")
        .is_some_and(|affinity| affinity == "ClientIP")
    {
        let client = ensure(ensure(spec, "sessionAffinityConfig"), "clientIP");
        set(client, "timeoutSeconds", 10_800);
    }
    set_text(spec, "type", "ClusterIP");
    for port in items(spec, "ports") {
        set_text(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(Value::Null);
        if port
            .get("targetPort")
            .is_none_or(|old| old.is_null() || *old == 0 || *old == "")
        {
            port.insert("targetPort".into(), number);
        }
    }
    let kind = spec
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let outside = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || (kind == "ClusterIP" && is_set(spec, "externalIPs"));
    if outside {
        set_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        set_text(spec, "internalTrafficPolicy", "Cluster");
        addresses(spec);
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// Families and the two spellings of the cluster IP. The address itself is the allocator's.
fn addresses(spec: &mut Fields) {
    let single = spec
        .get("clusterIP")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if !single.is_empty() && !is_set(spec, "clusterIPs") {
        spec.insert("clusterIPs".into(), json!([single]));
    }
    let headless = single == "None";
    let external = headless && !is_set(spec, "selector");
    if !is_set(spec, "ipFamilyPolicy") && !is_set(spec, "ipFamilies") && external {
        spec.insert("ipFamilies".into(), json!(["IPv4", "IPv6"]));
        spec.insert("ipFamilyPolicy".into(), "RequireDualStack".into());
    }
    if !is_set(spec, "ipFamilies") {
        spec.insert("ipFamilies".into(), json!(["IPv4"]));
    }
    set_text(spec, "ipFamilyPolicy", "SingleStack");
}

pub(super) fn endpoints(object: &mut Value) {
    for subset in items(meta::as_object(object), "subsets") {
        for port in items(subset, "ports") {
            set_text(port, "protocol", "TCP");
        }
    }
}

pub(super) fn endpoint_slice(object: &mut Value) {
    let root = meta::as_object(object);
    for port in items(root, "ports") {
        set(port, "name", "");
        set_text(port, "protocol", "TCP");
    }
    // Upstream serialises the list even when there are no endpoints.
    set(root, "endpoints", json!([]));
    set(root, "ports", json!([]));
    for endpoint in items(root, "endpoints") {
        ensure(endpoint, "conditions");
    }
}

pub(super) fn network_policy(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    for key in ["ingress", "egress"] {
        for rule in items(spec, key) {
            for port in items(rule, "ports") {
                set_text(port, "protocol", "TCP");
            }
        }
    }
    if !is_set(spec, "policyTypes") {
        let types = if is_set(spec, "egress") {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        spec.insert("policyTypes".into(), types);
    }
}
