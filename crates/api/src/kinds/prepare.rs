//! What happens to an object between defaulting and validation, by kind and by endpoint.

use crate::kind::Kind;
use crate::{meta, print};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Metadata that people write, and that a write of the status may change in most kinds.
const OPEN: [&str; 4] = ["labels", "annotations", "finalizers", "ownerReferences"];

/// The stored object with only what a `/status` write may change taken from `new`.
///
/// Parity: that is the status and, but for a few newer kinds, the metadata people write. A
/// Deployment keeps its labels, a pod its owners.
pub fn prepare_status(kind: &Kind, new: &mut Value, old: &Value) {
    let sent = std::mem::replace(new, old.clone());
    put(new, &[], "status", sent.get("status").cloned());
    // The caller's precondition and ownership bookkeeping travel with the write.
    for key in ["resourceVersion", "managedFields"] {
        let value = meta::at(&sent, &["metadata", key]).cloned();
        if value.is_some() {
            put(new, &["metadata"], key, value);
        }
    }
    if status_stands_alone(kind) {
        return;
    }
    for key in OPEN {
        let keeps = (key == "labels" && kind.is("apps", "Deployment"))
            || (key == "ownerReferences" && kind.is("", "Pod"));
        if !keeps {
            let value = meta::at(&sent, &["metadata", key]).cloned();
            put(new, &["metadata"], key, value);
        }
    }
}

/// Kinds whose metadata a write of the status leaves alone.
fn status_stands_alone(kind: &Kind) -> bool {
    kind.custom.is_some()
        || matches!(
            kind.group.as_ref(),
            "admissionregistration.k8s.io"
                | "apiextensions.k8s.io"
                | "flowcontrol.apiserver.k8s.io"
                | "resource.k8s.io"
                | "storage.k8s.io"
        )
        || kind.is("networking.k8s.io", "ServiceCIDR")
}

fn put(object: &mut Value, path: &[&str], key: &str, value: Option<Value>) {
    let map = meta::object_mut(object, path);
    match value {
        Some(value) => drop(map.insert(key.into(), value)),
        None => drop(map.shift_remove(key)),
    }
}

pub(super) fn nothing(_: &mut Value) {}

pub(super) fn no_update(_: &mut Value, _: &Value) {}

pub(super) fn no_warnings(_: &Value) -> Vec<String> {
    Vec::new()
}

/// Drops a status the client sent.
pub(super) fn drop_status(new: &mut Value) {
    meta::as_object(new).shift_remove("status");
}

/// Starts with the empty status the type always serialises.
pub(super) fn empty_status(new: &mut Value) {
    meta::as_object(new).insert("status".into(), json!({}));
}

/// The two fields an autoscaler's status always prints.
pub(super) fn autoscaler(new: &mut Value) {
    let status = json!({"currentMetrics": null, "desiredReplicas": 0});
    meta::as_object(new).insert("status".into(), status);
}

/// Keeps the stored status on the main endpoint.
pub(super) fn keep_status(new: &mut Value, old: &Value) {
    put(new, &[], "status", old.get("status").cloned());
}

pub(super) fn pod(new: &mut Value) {
    let qos = print::pod_qos(new);
    let mut status = json!({"phase": "Pending", "qosClass": qos});
    if !meta::list(new, &["spec", "schedulingGates"]).is_empty() {
        let since = meta::at(new, &["metadata", "creationTimestamp"]).cloned();
        let gated = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null, "lastTransitionTime": since,
        }]);
        meta::as_object(&mut status).insert("conditions".into(), gated);
    }
    meta::as_object(new).insert("status".into(), status);
}

pub(super) fn namespace(new: &mut Value) {
    meta::as_object(new).insert("status".into(), json!({"phase": "Active"}));
    let spec = meta::object_mut(new, &["spec"]);
    let has = spec
        .get("finalizers")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|finalizer| finalizer == "kubernetes"));
    if !has {
        spec.insert("finalizers".into(), json!(["kubernetes"]));
    }
}

pub(super) fn namespace_update(new: &mut Value, old: &Value) {
    keep_status(new, old);
    put(
        new,
        &["spec"],
        "finalizers",
        meta::at(old, &["spec", "finalizers"]).cloned(),
    );
}

/// A request for a certificate stays what was asked for.
pub(super) fn certificate_update(new: &mut Value, old: &Value) {
    keep_status(new, old);
    put(new, &[], "spec", old.get("spec").cloned());
}

pub(super) fn pending(new: &mut Value) {
    meta::as_object(new).insert("status".into(), json!({"phase": "Pending"}));
}

pub(super) fn service(new: &mut Value) {
    meta::as_object(new).insert("status".into(), json!({"loadBalancer": {}}));
}

/// Carries allocated values over when the client's manifest leaves them out.
pub(super) fn service_update(new: &mut Value, old: &Value) {
    keep_status(new, old);
    let kind = meta::text(new, &["spec", "type"]).to_owned();
    let spec = meta::object_mut(new, &["spec"]);
    if kind == "ExternalName" {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            spec.shift_remove(key);
        }
        return;
    }
    let old_kind = meta::text(old, &["spec", "type"]);
    if old_kind != "ExternalName" {
        for key in ["clusterIP", "clusterIPs"] {
            keep_if_unset(spec, old, key);
        }
    }
    if old_kind != "ExternalName" {
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            keep_if_unset(spec, old, key);
        }
    }
    if kind == "ClusterIP" {
        drop_outside_fields(spec, old);
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        keep_node_ports(spec, old);
    }
    if asks_for_health(spec) {
        keep_if_unset(spec, old, "healthCheckNodePort");
    } else {
        drop_if_kept(spec, old, "healthCheckNodePort");
    }
    if kind != "LoadBalancer" && old_kind == "LoadBalancer" {
        drop_if_kept(spec, old, "allocateLoadBalancerNodePorts");
        drop_if_kept(spec, old, "loadBalancerClass");
    }
}

/// Whether load balancers need a port at which nodes tell how many endpoints they have.
fn asks_for_health(spec: &Map<String, Value>) -> bool {
    let is = |key: &str, value: &str| spec.get(key).is_some_and(|v| v == value);
    is("type", "LoadBalancer") && is("externalTrafficPolicy", "Local")
}

/// Removes what a Service no longer can have, unless the client set it anew.
fn drop_if_kept(spec: &mut Map<String, Value>, old: &Value, key: &str) {
    if spec.get(key) == meta::at(old, &["spec", key]) {
        spec.shift_remove(key);
    }
}

/// A Service that stops being reachable from outside loses what only such Services have, unless
/// the client set it anew.
fn drop_outside_fields(spec: &mut Map<String, Value>, old: &Value) {
    if !matches!(
        meta::text(old, &["spec", "type"]),
        "NodePort" | "LoadBalancer"
    ) {
        return;
    }
    let no_external_ips = spec
        .get("externalIPs")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty);
    let fields = [
        "externalTrafficPolicy",
        "healthCheckNodePort",
        "allocateLoadBalancerNodePorts",
    ];
    for key in fields {
        let unchanged = spec.get(key) == meta::at(old, &["spec", key]);
        if unchanged && (no_external_ips || key != "externalTrafficPolicy") {
            spec.shift_remove(key);
        }
    }
    let old_ports: Vec<i64> = meta::list(old, &["spec", "ports"])
        .iter()
        .filter_map(|port| meta::integer(port, &["nodePort"]))
        .collect();
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if meta::integer(port, &["nodePort"]).is_some_and(|number| old_ports.contains(&number)) {
            meta::as_object(port).shift_remove("nodePort");
        }
    }
}

fn keep_if_unset(spec: &mut Map<String, Value>, old: &Value, key: &str) {
    let unset = spec
        .get(key)
        .is_none_or(|value| value.is_null() || value == "" || value == 0);
    if unset && let Some(value) = meta::at(old, &["spec", key]) {
        spec.insert(key.into(), value.clone());
    }
}

fn keep_node_ports(spec: &mut Map<String, Value>, old: &Value) {
    let old_ports = meta::list(old, &["spec", "ports"]);
    let Some(ports) = spec.get_mut("ports").and_then(Value::as_array_mut) else {
        return;
    };
    for port in ports {
        if meta::integer(port, &["nodePort"]).unwrap_or_default() != 0 {
            continue;
        }
        let same = old_ports.iter().find(|other| {
            other.get("port") == port.get("port")
                && meta::text(other, &["protocol"]) == meta::text(port, &["protocol"])
        });
        if let Some(number) = same.and_then(|other| other.get("nodePort")) {
            meta::as_object(port).insert("nodePort".into(), number.clone());
        }
    }
}

const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn daemon_set(new: &mut Value) {
    empty_status(new);
    template_generation(new, 1);
}

/// The old counter of template changes; still shown as an annotation.
pub(super) fn daemon_set_update(new: &mut Value, old: &Value) {
    keep_status(new, old);
    let text = meta::text(old, &["metadata", "annotations", TEMPLATE_GENERATION]);
    let before: i64 = text.parse().unwrap_or(1);
    let template = |object: &Value| meta::at(object, &["spec", "template"]).cloned();
    let changed = i64::from(template(new) != template(old));
    template_generation(new, before.saturating_add(changed));
}

fn template_generation(object: &mut Value, number: i64) {
    meta::object_mut(object, &["metadata", "annotations"])
        .insert(TEMPLATE_GENERATION.into(), number.to_string().into());
}

/// A Job without `manualSelector` selects its pods by its own uid; `metadata.uid` must be set.
pub(super) fn job(new: &mut Value) {
    empty_status(new);
    let manual = meta::at(new, &["spec", "manualSelector"]).and_then(Value::as_bool);
    let (name, uid) = (meta::name(new).to_owned(), meta::uid(new).to_owned());
    if manual == Some(true) || uid.is_empty() {
        return;
    }
    let selector = meta::object_mut(new, &["spec", "selector", "matchLabels"]);
    selector.insert(
        "batch.kubernetes.io/controller-uid".into(),
        uid.as_str().into(),
    );
    let labels = meta::object_mut(new, &["spec", "template", "metadata", "labels"]);
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels.insert(key.into(), value.as_str().into());
    }
}

/// Folds `stringData` into `data`. Upstream does it while decoding, so it also runs on updates.
pub(crate) fn fold_string_data(secret: &mut Value) {
    let root = meta::as_object(secret);
    let Some(Value::Object(plain)) = root.shift_remove("stringData") else {
        return;
    };
    if plain.is_empty() {
        return;
    }
    let data = meta::object_mut(secret, &["data"]);
    for (key, value) in plain {
        let text = value.as_str().unwrap_or_default();
        data.insert(key, STANDARD.encode(text).into());
    }
}
