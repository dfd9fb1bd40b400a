//! Defaults of webhooks, policies, flow control, dynamic resources and certificates.

use super::{Fields, child, ensure, items, set, set_text};
use crate::meta;
use serde_json::{Value, json};

/// Webhook configurations, both kinds.
pub(super) fn webhooks(object: &mut Value) {
    let mutating = meta::text(object, &["kind"]).starts_with("Mutating");
    for hook in items(meta::as_object(object), "webhooks") {
        set_text(hook, "failurePolicy", "Fail");
        set_text(hook, "matchPolicy", "Equivalent");
        set(hook, "namespaceSelector", json!({}));
        set(hook, "objectSelector", json!({}));
        set(hook, "timeoutSeconds", 10);
        if mutating {
            set_text(hook, "reinvocationPolicy", "Never");
        }
        for rule in items(hook, "rules") {
            set_text(rule, "scope", "*");
        }
        let service = child(hook, "clientConfig").and_then(|config| child(config, "service"));
        if let Some(service) = service {
            set(service, "port", 443);
        }
    }
}

/// Admission policies, both kinds.
pub(super) fn policy(object: &mut Value) {
    let spec = ensure(meta::as_object(object), "spec");
    set_text(spec, "failurePolicy", "Fail");
    if let Some(constraints) = child(spec, "matchConstraints") {
        matches(constraints);
    }
}

/// Bindings of admission policies.
pub(super) fn policy_binding(object: &mut Value) {
    let spec = ensure(meta::as_object(object), "spec");
    if let Some(resources) = child(spec, "matchResources") {
        matches(resources);
    }
}

fn matches(constraints: &mut Fields) {
    set_text(constraints, "matchPolicy", "Equivalent");
    set(constraints, "namespaceSelector", json!({}));
    set(constraints, "objectSelector", json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in items(constraints, list) {
            set_text(rule, "scope", "*");
        }
    }
}

pub(super) fn flow_schema(object: &mut Value) {
    let spec = ensure(meta::as_object(object), "spec");
    set(spec, "matchingPrecedence", 1000);
    if spec.get("matchingPrecedence") == Some(&json!(0)) {
        spec.insert("matchingPrecedence".into(), 1000.into());
    }
}

pub(super) fn priority_level(object: &mut Value) {
    let spec = ensure(meta::as_object(object), "spec");
    if spec.get("type") == Some(&json!("Exempt")) {
        let exempt = ensure(spec, "exempt");
        set(exempt, "nominalConcurrencyShares", 0);
        set(exempt, "lendablePercent", 0);
    }
    let Some(limited) = child(spec, "limited") else {
        return;
    };
    set(limited, "nominalConcurrencyShares", 30);
    set(limited, "lendablePercent", 0);
    let response = child(limited, "limitResponse");
    if let Some(queuing) = response.and_then(|response| child(response, "queuing")) {
        set(queuing, "queues", 64);
        set(queuing, "handSize", 8);
        set(queuing, "queueLengthLimit", 50);
    }
}

pub(super) fn resource_claim(object: &mut Value) {
    let spec = ensure(meta::as_object(object), "spec");
    if let Some(devices) = child(spec, "devices") {
        requests(devices);
    }
}

pub(super) fn resource_claim_template(object: &mut Value) {
    let spec = ensure(meta::as_object(object), "spec");
    if let Some(devices) = child(spec, "spec").and_then(|spec| child(spec, "devices")) {
        requests(devices);
    }
}

fn requests(devices: &mut Fields) {
    for request in items(devices, "requests") {
        if let Some(exactly) = child(request, "exactly") {
            counted(exactly);
        }
        for option in items(request, "firstAvailable") {
            counted(option);
        }
    }
}

fn counted(request: &mut Fields) {
    set_text(request, "allocationMode", "ExactCount");
    if request.get("allocationMode") == Some(&json!("ExactCount")) {
        set(request, "count", 1);
    }
    for toleration in items(request, "tolerations") {
        set_text(toleration, "operator", "Equal");
    }
}

pub(super) fn ingress_class(object: &mut Value) {
    let spec = ensure(meta::as_object(object), "spec");
    if let Some(parameters) = child(spec, "parameters") {
        set_text(parameters, "scope", "Cluster");
    }
}
