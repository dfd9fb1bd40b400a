//! Nodes.

use super::{AGE, NAME, age, or_none, text, wide};
use crate::kind::Column;
use crate::meta;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    text("Status"),
    text("Roles"),
    AGE,
    text("Version"),
    wide("Internal-IP"),
    wide("External-IP"),
    wide("OS-Image"),
    wide("Kernel-Version"),
    wide("Container-Runtime"),
];

pub(super) fn cells(node: &Value, now: Timestamp) -> Vec<Value> {
    let info = |key: &str| meta::text(node, &["status", "nodeInfo", key]);
    let or_unknown = |text: &str| {
        if text.is_empty() {
            "<unknown>".into()
        } else {
            text.into()
        }
    };
    vec![
        meta::name(node).into(),
        status(node).into(),
        or_none(&roles(node)),
        age(node, now),
        info("kubeletVersion").into(),
        or_none(address(node, "InternalIP")),
        or_none(address(node, "ExternalIP")),
        or_unknown(info("osImage")),
        or_unknown(info("kernelVersion")),
        or_unknown(info("containerRuntimeVersion")),
    ]
}

fn status(node: &Value) -> String {
    let ready = meta::list(node, &["status", "conditions"])
        .iter()
        .find(|condition| condition.get("type").is_some_and(|kind| kind == "Ready"));
    let mut text = match ready.map(|condition| meta::text(condition, &["status"])) {
        Some("True") => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if meta::at(node, &["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        text.push_str(",SchedulingDisabled");
    }
    text
}

fn roles(node: &Value) -> String {
    let labels = meta::at(node, &["metadata", "labels"]).and_then(Value::as_object);
    let mut roles: BTreeSet<&str> = BTreeSet::new();
    for (key, value) in labels.into_iter().flatten() {
        if let Some(role) = key.strip_prefix("node-role.kubernetes.io/") {
            roles.insert(role);
        } else if key == "kubernetes.io/role" {
            roles.insert(value.as_str().unwrap_or_default());
        }
    }
    roles
        .into_iter()
        .filter(|role| !role.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

fn address<'a>(node: &'a Value, kind: &str) -> &'a str {
    meta::list(node, &["status", "addresses"])
        .iter()
        .find(|address| address.get("type").is_some_and(|found| found == kind))
        .map_or("", |address| meta::text(address, &["address"]))
}
