//! Defaults per kind, as idempotent functions of the object alone.
//!
//! Only what upstream's versioned defaulting does; values that need the cluster (cluster IPs,
//! service accounts, priorities, default classes) are admission's.

mod autoscaling;
mod network;
mod pod;
mod registration;
mod storage;
mod workload;

pub(crate) use autoscaling::autoscaler;
pub(crate) use pod::pod_spec;

use crate::meta;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

pub(crate) fn nothing(_: &mut Value) {}

/// The defaulting of one kind.
pub(crate) fn of(group: &str, version: &str, kind: &str) -> fn(&mut Value) {
    match (group, kind) {
        ("", "Pod") => pod::pod,
        ("", "PodTemplate") => workload::pod_template,
        ("", "Namespace") => namespace,
        ("", "Secret") => secret,
        ("", "ConfigMap") => config_map,
        ("", "Service") => network::service,
        ("", "Endpoints") => network::endpoints,
        ("", "PersistentVolumeClaim") => storage::claim,
        ("", "PersistentVolume") => storage::volume,
        ("", "ReplicationController") => workload::replication_controller,
        ("", "LimitRange") => limit_range,
        ("", "Event") => event,
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice,
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy,
        ("storage.k8s.io", "StorageClass") => storage::class,
        ("storage.k8s.io", "CSIDriver") => storage::driver,
        ("apps", "Deployment") => workload::deployment,
        ("apps", "ReplicaSet") => workload::replica_set,
        ("apps", "StatefulSet") => workload::stateful_set,
        ("apps", "DaemonSet") => workload::daemon_set,
        ("batch", "Job") => workload::job,
        ("batch", "CronJob") => workload::cron_job,
        ("autoscaling", _) if version == "v2" => autoscaling::horizontal,
        // Writes through v1 are defaulted in the stored form.
        ("autoscaling", _) => autoscaling::stored_autoscaler,
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding,
        ("scheduling.k8s.io", "PriorityClass") => priority_class,
        ("apiregistration.k8s.io", "APIService") => api_service,
        ("networking.k8s.io", "IngressClass") => registration::ingress_class,
        _ => machinery(group, kind),
    }
}

fn machinery(group: &str, kind: &str) -> fn(&mut Value) {
    match (group, kind) {
        ("admissionregistration.k8s.io", kind) => match kind {
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
                registration::webhooks
            }
            "MutatingAdmissionPolicy" | "ValidatingAdmissionPolicy" => registration::policy,
            _ => registration::policy_binding,
        },
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => registration::flow_schema,
        ("flowcontrol.apiserver.k8s.io", _) => registration::priority_level,
        ("resource.k8s.io", "ResourceClaim") => registration::resource_claim,
        ("resource.k8s.io", "ResourceClaimTemplate") => registration::resource_claim_template,
        _ => nothing,
    }
}

fn namespace(object: &mut Value) {
    let name = meta::name(object).to_owned();
    if !name.is_empty() {
        meta::object_mut(object, &["metadata", "labels"])
            .insert("kubernetes.io/metadata.name".into(), name.into());
    }
    meta::default_at(object, &["status"], "phase", "Active");
}

fn secret(object: &mut Value) {
    crate::kinds::fold_string_data(object);
    meta::default_at(object, &[], "type", "Opaque");
}

fn config_map(object: &mut Value) {
    let root = meta::as_object(object);
    for key in ["data", "binaryData"] {
        if root.get(key).is_some_and(Value::is_null) {
            root.shift_remove(key);
        }
    }
}

fn event(object: &mut Value) {
    let root = meta::as_object(object);
    for key in ["reportingComponent", "reportingInstance"] {
        set(root, key, "");
    }
}

fn limit_range(object: &mut Value) {
    for limit in items(meta::object_mut(object, &["spec"]), "limits") {
        if limit.get("type").is_none_or(|kind| kind != "Container") {
            continue;
        }
        copy_missing(limit, "max", "default");
        copy_missing(limit, "default", "defaultRequest");
        copy_missing(limit, "min", "defaultRequest");
    }
}

/// Adds the entries of map `from` that map `to` lacks.
fn copy_missing(fields: &mut Fields, from: &str, to: &str) {
    let Some(Value::Object(source)) = fields.get(from).cloned() else {
        return;
    };
    if source.is_empty() {
        return;
    }
    let target = ensure(fields, to);
    for (key, value) in source {
        target.entry(key).or_insert(value);
    }
}

fn binding(object: &mut Value) {
    let root = meta::as_object(object);
    if let Some(role) = child(root, "roleRef") {
        set(role, "apiGroup", "rbac.authorization.k8s.io");
    }
    for subject in items(root, "subjects") {
        if let Some("User" | "Group") = subject.get("kind").and_then(Value::as_str) {
            set(subject, "apiGroup", "rbac.authorization.k8s.io");
        }
    }
}

fn priority_class(object: &mut Value) {
    meta::default_at(object, &[], "preemptionPolicy", "PreemptLowerPriority");
}

fn api_service(object: &mut Value) {
    if let Some(service) = child(meta::object_mut(object, &["spec"]), "service") {
        set(service, "port", 443);
    }
}

/// Sets a field that is absent or null.
fn set(fields: &mut Fields, key: &str, value: impl Into<Value>) {
    if fields.get(key).is_none_or(Value::is_null) {
        fields.insert(key.into(), value.into());
    }
}

/// Sets a text field that is absent, null or empty.
fn set_text(fields: &mut Fields, key: &str, value: &str) {
    if fields.get(key).is_none_or(|old| old.is_null() || old == "") {
        fields.insert(key.into(), value.into());
    }
}

/// A nested object that is there.
fn child<'a>(fields: &'a mut Fields, key: &str) -> Option<&'a mut Fields> {
    fields.get_mut(key).and_then(Value::as_object_mut)
}

/// A nested object, created if absent or null.
fn ensure<'a>(fields: &'a mut Fields, key: &str) -> &'a mut Fields {
    meta::as_object(fields.entry(key).or_insert(Value::Null))
}

/// The objects of a nested list.
fn items<'a>(fields: &'a mut Fields, key: &str) -> impl Iterator<Item = &'a mut Fields> {
    fields
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .map(|list| list.iter_mut())
        .unwrap_or_default()
        .filter_map(Value::as_object_mut)
}

/// Whether a field holds neither nothing nor an empty text, list or map.
fn is_set(fields: &Fields, key: &str) -> bool {
    match fields.get(key) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => true,
    }
}
