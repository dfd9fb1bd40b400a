//! Pods, pod templates' specs, containers, volumes and probes.

use super::{Fields, child, ensure, items, set, set_text};
use crate::meta;
use serde_json::{Map, Value};

/// Sources a volume can have; none of them means `emptyDir`.
const NOT_A_SOURCE: &str = "name";

/// A pod: like a template's spec, plus what only the pod itself gets.
pub(super) fn pod(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    set(spec, "enableServiceLinks", true);
    pod_spec(spec);
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for key in ["initContainers", "containers"] {
        for container in items(spec, key) {
            requests_from_limits(container);
            if host_network {
                items(container, "ports").for_each(host_port);
            }
        }
    }
    requests_from_limits(spec);
    meta::default_at(object, &["status"], "phase", "Pending");
}

/// The spec of a pod or of a template.
pub(crate) fn pod_spec(spec: &mut Fields) {
    for key in ["initContainers", "containers", "ephemeralContainers"] {
        items(spec, key).for_each(container);
    }
    set_text(spec, "restartPolicy", "Always");
    set(spec, "terminationGracePeriodSeconds", 30);
    set_text(spec, "dnsPolicy", "ClusterFirst");
    mirror_service_account(spec);
    set(spec, "securityContext", Map::new());
    set_text(spec, "schedulerName", "default-scheduler");
    items(spec, "volumes").for_each(volume);
}

/// The old and the new name of the service account always say the same; the new one wins.
fn mirror_service_account(spec: &mut Fields) {
    let of = |key: &str| {
        spec.get(key)
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
    };
    if let Some(name) = of("serviceAccountName").or_else(|| of("serviceAccount")) {
        spec.insert("serviceAccountName".into(), name.as_str().into());
        spec.insert("serviceAccount".into(), name.into());
    }
}

fn container(container: &mut Fields) {
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let policy = if pulls_always(image) {
        "Always"
    } else {
        "IfNotPresent"
    };
    for port in items(container, "ports") {
        set_text(port, "protocol", "TCP");
    }
    for env in items(container, "env") {
        if let Some(source) = child(env, "valueFrom") {
            downward(source);
        }
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(found) = child(container, key) {
            probe(found);
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for key in ["postStart", "preStop"] {
            if let Some(http) = child(lifecycle, key).and_then(|hook| child(hook, "httpGet")) {
                http_get(http);
            }
        }
    }
    set(container, "resources", Map::new());
    set_text(container, "terminationMessagePath", "/dev/termination-log");
    set_text(container, "terminationMessagePolicy", "File");
    set_text(container, "imagePullPolicy", policy);
}

/// `latest` and untagged images are pulled on every start; a digest pins the image.
fn pulls_always(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Fields) {
    if let Some(http) = child(probe, "httpGet") {
        http_get(http);
    }
    if let Some(grpc) = child(probe, "grpc") {
        set(grpc, "service", "");
    }
    for (key, seconds) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe
            .get(key)
            .is_none_or(|value| value.is_null() || value == 0)
        {
            probe.insert(key.into(), seconds.into());
        }
    }
}

fn http_get(http: &mut Fields) {
    set_text(http, "path", "/");
    set_text(http, "scheme", "HTTP");
}

fn downward(source: &mut Fields) {
    if let Some(field) = child(source, "fieldRef") {
        set_text(field, "apiVersion", "v1");
    }
    if let Some(resource) = child(source, "resourceFieldRef") {
        set_text(resource, "divisor", "0");
    }
}

fn volume(volume: &mut Fields) {
    if !volume
        .iter()
        .any(|(key, source)| key != NOT_A_SOURCE && !source.is_null())
    {
        ensure(volume, "emptyDir");
    }
    for key in ["secret", "configMap", "projected", "downwardAPI"] {
        if let Some(source) = child(volume, key) {
            set(source, "defaultMode", 420);
        }
    }
    if let Some(path) = child(volume, "hostPath") {
        set(path, "type", "");
    }
    if let Some(api) = child(volume, "downwardAPI") {
        items(api, "items").for_each(downward);
    }
    if let Some(projected) = child(volume, "projected") {
        for source in items(projected, "sources") {
            if let Some(token) = child(source, "serviceAccountToken") {
                set(token, "expirationSeconds", 3600);
            }
            if let Some(api) = child(source, "downwardAPI") {
                items(api, "items").for_each(downward);
            }
        }
    }
    let template = child(volume, "ephemeral").and_then(|e| child(e, "volumeClaimTemplate"));
    if let Some(spec) = template.and_then(|template| child(template, "spec")) {
        set_text(spec, "volumeMode", "Filesystem");
    }
}

/// A limit without a request is also the request.
fn requests_from_limits(holder: &mut Fields) {
    let Some(resources) = child(holder, "resources") else {
        return;
    };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else {
        return;
    };
    if limits.is_empty() {
        return;
    }
    let requests = ensure(resources, "requests");
    for (resource, limit) in limits {
        requests.entry(resource).or_insert(limit);
    }
}

fn host_port(port: &mut Fields) {
    let number = port.get("containerPort").cloned().unwrap_or(Value::Null);
    if port
        .get("hostPort")
        .is_none_or(|old| old.is_null() || *old == 0)
    {
        port.insert("hostPort".into(), number);
    }
}
