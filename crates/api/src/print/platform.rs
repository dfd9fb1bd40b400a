//! Kinds that describe the platform: drivers, devices, address ranges, flow control, policies.

use super::{AGE, Cells, GENERIC, NAME, age, bool_text, column, count, generic, labels_text};
use super::{number, or_none, text};
use crate::kind::Column;
use crate::meta;
use jiff::Timestamp;
use serde_json::Value;

type Layout = (&'static [Column], Cells);

/// The layout of a kind that has no module of its own; Name and Age if nothing is known of it.
pub(super) fn layout(group: &str, kind: &str) -> Layout {
    match (group, kind) {
        ("", "PodTemplate") => (POD_TEMPLATE, pod_template),
        ("", "ComponentStatus") => (COMPONENT, component),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => (MUTATION, mutation),
        (
            "admissionregistration.k8s.io",
            "MutatingAdmissionPolicyBinding" | "ValidatingAdmissionPolicyBinding",
        ) => (POLICY_BINDING, policy_binding),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => (FLOW, flow),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => (LEVEL, level),
        ("networking.k8s.io", "IPAddress") => (IP, ip),
        ("networking.k8s.io", "ServiceCIDR") => (RANGE, range),
        ("node.k8s.io", "RuntimeClass") => (RUNTIME, runtime),
        ("resource.k8s.io", "ResourceClaim") => (CLAIM, claim),
        ("resource.k8s.io", "ResourceSlice") => (SLICE, slice),
        ("storage.k8s.io", "CSIDriver") => (DRIVER, driver),
        ("storage.k8s.io", "CSINode") => (CSI_NODE, csi_node),
        ("storage.k8s.io", "CSIStorageCapacity") => (CAPACITY, capacity),
        ("storage.k8s.io", "VolumeAttachment") => (ATTACHMENT, attachment),
        ("storage.k8s.io", "VolumeAttributesClass") => (ATTRIBUTES, attributes),
        _ => (GENERIC, generic),
    }
}

fn spec<'a>(object: &'a Value, key: &str) -> &'a str {
    meta::text(object, &["spec", key])
}

fn or_unset(text: &str) -> Value {
    if text.is_empty() {
        "<unset>".into()
    } else {
        text.into()
    }
}

fn number_or(object: &Value, path: &[&str], other: &str) -> Value {
    meta::integer(object, path).map_or_else(|| other.into(), |n| n.to_string().into())
}

const POD_TEMPLATE: &[Column] = &[NAME, text("Containers"), text("Images"), text("Pod Labels")];

fn pod_template(object: &Value, _: Timestamp) -> Vec<Value> {
    let [names, images] = super::containers(meta::at(object, &["template", "spec"]));
    let labels = labels_text(meta::at(object, &["template", "metadata", "labels"]));
    vec![meta::name(object).into(), names, images, or_none(&labels)]
}

const COMPONENT: &[Column] = &[NAME, text("Status"), text("Message"), text("Error")];

fn component(object: &Value, _: Timestamp) -> Vec<Value> {
    let mut conditions = meta::list(object, &["conditions"]).iter();
    let healthy = conditions.rfind(|condition| meta::text(condition, &["type"]) == "Healthy");
    let field = |key: &str| healthy.map_or("", |condition| meta::text(condition, &[key]));
    let status = match field("status") {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![
        meta::name(object).into(),
        status.into(),
        field("message").into(),
        field("error").into(),
    ]
}

const MUTATION: &[Column] = &[NAME, number("Mutations"), text("ParamKind"), AGE];

fn mutation(object: &Value, now: Timestamp) -> Vec<Value> {
    let kind = meta::at(object, &["spec", "paramKind"]).map(|kind| {
        format!(
            "{}/{}",
            meta::text(kind, &["apiVersion"]),
            meta::text(kind, &["kind"])
        )
    });
    vec![
        meta::name(object).into(),
        meta::list(object, &["spec", "mutations"]).len().into(),
        or_unset(&kind.unwrap_or_default()),
        age(object, now),
    ]
}

const POLICY_BINDING: &[Column] = &[NAME, text("PolicyName"), text("ParamRef"), AGE];

fn policy_binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let reference = meta::at(object, &["spec", "paramRef"]);
    let reference = reference.map_or(String::new(), |reference| {
        let name = match meta::text(reference, &["name"]) {
            "" => "*",
            name => name,
        };
        match meta::text(reference, &["namespace"]) {
            "" => format!("*/{name}"),
            namespace => format!("{namespace}/{name}"),
        }
    });
    vec![
        meta::name(object).into(),
        spec(object, "policyName").into(),
        or_unset(&reference),
        age(object, now),
    ]
}

const FLOW: &[Column] = &[
    NAME,
    text("PriorityLevel"),
    number("MatchingPrecedence"),
    text("DistinguisherMethod"),
    AGE,
    text("MissingPL"),
];

fn flow(object: &Value, now: Timestamp) -> Vec<Value> {
    let dangling = meta::list(object, &["status", "conditions"])
        .iter()
        .find(|condition| meta::text(condition, &["type"]) == "Dangling");
    let missing = dangling.map_or("?", |condition| meta::text(condition, &["status"]));
    let method = meta::text(object, &["spec", "distinguisherMethod", "type"]);
    vec![
        meta::name(object).into(),
        meta::text(object, &["spec", "priorityLevelConfiguration", "name"]).into(),
        count(object, &["spec", "matchingPrecedence"]).into(),
        or_none(method),
        age(object, now),
        missing.into(),
    ]
}

const LEVEL: &[Column] = &[
    NAME,
    text("Type"),
    text("NominalConcurrencyShares"),
    text("Queues"),
    text("HandSize"),
    text("QueueLengthLimit"),
    AGE,
];

fn level(object: &Value, now: Timestamp) -> Vec<Value> {
    let limited = ["spec", "limited"];
    let shares = [limited[0], limited[1], "nominalConcurrencyShares"];
    let queue = |key: &'static str| {
        let path = [limited[0], limited[1], "limitResponse", "queuing", key];
        number_or(object, &path, "<none>")
    };
    vec![
        meta::name(object).into(),
        spec(object, "type").into(),
        number_or(object, &shares, "<none>"),
        queue("queues"),
        queue("handSize"),
        queue("queueLengthLimit"),
        age(object, now),
    ]
}

const IP: &[Column] = &[NAME, text("ParentRef"), AGE];

fn ip(object: &Value, now: Timestamp) -> Vec<Value> {
    let parent = |key: &str| meta::text(object, &["spec", "parentRef", key]);
    let resource = match parent("group") {
        "" => parent("resource").to_owned(),
        group => format!("{}.{group}", parent("resource")),
    };
    let parts = [resource.as_str(), parent("namespace"), parent("name")];
    let text: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    vec![
        meta::name(object).into(),
        or_none(&text.join("/")),
        age(object, now),
    ]
}

const RANGE: &[Column] = &[NAME, text("CIDRs"), AGE];

fn range(object: &Value, now: Timestamp) -> Vec<Value> {
    let ranges = meta::list(object, &["spec", "cidrs"]).iter();
    let ranges: Vec<&str> = ranges.filter_map(Value::as_str).collect();
    vec![
        meta::name(object).into(),
        or_none(&ranges.join(",")),
        age(object, now),
    ]
}

const RUNTIME: &[Column] = &[NAME, text("Handler"), AGE];

fn runtime(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        meta::text(object, &["handler"]).into(),
        age(object, now),
    ]
}

const CLAIM: &[Column] = &[NAME, text("State"), AGE];

fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut states = Vec::new();
    if meta::is_deleting(object) {
        states.push("deleted");
    }
    if meta::at(object, &["status", "allocation"]).is_some() {
        states.push("allocated");
    } else if !meta::is_deleting(object) {
        states.push("pending");
    }
    if !meta::list(object, &["status", "reservedFor"]).is_empty() {
        states.push("reserved");
    }
    vec![
        meta::name(object).into(),
        states.join(",").into(),
        age(object, now),
    ]
}

const SLICE: &[Column] = &[NAME, text("Node"), text("Driver"), text("Pool"), AGE];

fn slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let node = match spec(object, "nodeName") {
        "" if meta::at(object, &["spec", "allNodes"]) == Some(&Value::Bool(true)) => "<all>",
        "" => "<unset>",
        node => node,
    };
    vec![
        meta::name(object).into(),
        node.into(),
        spec(object, "driver").into(),
        meta::text(object, &["spec", "pool", "name"]).into(),
        age(object, now),
    ]
}

const DRIVER: &[Column] = &[
    NAME,
    column("AttachRequired", "boolean", 0),
    column("PodInfoOnMount", "boolean", 0),
    column("StorageCapacity", "boolean", 0),
    text("TokenRequests"),
    column("RequiresRepublish", "boolean", 0),
    text("Modes"),
    AGE,
];

fn driver(object: &Value, now: Timestamp) -> Vec<Value> {
    let flag = |key: &str, unset: bool| {
        let value = meta::at(object, &["spec", key]).and_then(Value::as_bool);
        Value::from(value.unwrap_or(unset))
    };
    let tokens = meta::list(object, &["spec", "tokenRequests"]).iter();
    let tokens: Vec<&str> = tokens.map(|t| meta::text(t, &["audience"])).collect();
    let modes = meta::list(object, &["spec", "volumeLifecycleModes"]).iter();
    let modes: Vec<&str> = modes.filter_map(Value::as_str).collect();
    vec![
        meta::name(object).into(),
        flag("attachRequired", true),
        flag("podInfoOnMount", false),
        flag("storageCapacity", false),
        or_unset(&tokens.join(",")),
        flag("requiresRepublish", false),
        or_none(&modes.join(",")),
        age(object, now),
    ]
}

const CSI_NODE: &[Column] = &[NAME, number("Drivers"), AGE];

fn csi_node(object: &Value, now: Timestamp) -> Vec<Value> {
    let drivers = meta::list(object, &["spec", "drivers"]).len();
    vec![meta::name(object).into(), drivers.into(), age(object, now)]
}

const CAPACITY: &[Column] = &[NAME, text("StorageClassName"), text("Capacity"), AGE];

fn capacity(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        meta::text(object, &["storageClassName"]).into(),
        or_unset(meta::text(object, &["capacity"])),
        age(object, now),
    ]
}

const ATTACHMENT: &[Column] = &[
    NAME,
    text("Attacher"),
    text("PV"),
    text("Node"),
    column("Attached", "boolean", 0),
    AGE,
];

fn attachment(object: &Value, now: Timestamp) -> Vec<Value> {
    let volume = meta::text(object, &["spec", "source", "persistentVolumeName"]);
    vec![
        meta::name(object).into(),
        spec(object, "attacher").into(),
        volume.into(),
        spec(object, "nodeName").into(),
        (bool_text(object, &["status", "attached"]) == "true").into(),
        age(object, now),
    ]
}

const ATTRIBUTES: &[Column] = &[NAME, text("DriverName"), AGE];

fn attributes(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        meta::name(object).into(),
        meta::text(object, &["driverName"]).into(),
        age(object, now),
    ]
}
