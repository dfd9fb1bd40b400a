//! Costs of the request path: decoding a pod of about 3 kB, patching it, protobuf both ways.
#![expect(clippy::unwrap_used, reason = "a benchmark")]

use divan::{Bencher, black_box};
use plimsoll_api::decode::{self, FieldValidation};
use plimsoll_api::schema::{self, TypeId};
use plimsoll_api::{patch, protobuf};
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn pod_type() -> TypeId {
    schema::by_kind("", "v1", "Pod").unwrap()
}

/// A pod with three containers, as a controller would create it; 3 kB as JSON.
fn pod() -> Value {
    let probe = json!({"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"},
        "periodSeconds": 10, "failureThreshold": 3, "successThreshold": 1, "timeoutSeconds": 1});
    let container = |name: &str| {
        json!({"name": name, "image": format!("registry.example.com/team/{name}:1.2.3"),
            "command": ["/bin/server"], "args": ["--port=8080", "--verbose"],
            "env": [{"name": "HOME", "value": "/"}, {"name": "NODE", "valueFrom":
                {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}],
            "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
            "resources": {"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
            "livenessProbe": probe, "readinessProbe": probe,
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app", "readOnly": true}]})
    };
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-5d8f7b9c6d-x2x4z", "namespace": "default",
            "labels": {"app": "web", "pod-template-hash": "5d8f7b9c6d"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d8f7b9c6d",
                "uid": "0b0f0a6e-5b0e-4a52-9e0e-0c6f3a1d2b3c", "controller": true}]},
        "spec": {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
            "containers": [container("web"), container("proxy"), container("log")],
            "volumes": [{"name": "config", "configMap": {"name": "web", "defaultMode": 420}}]}})
}

#[divan::bench]
fn decode_json_strictly(bencher: Bencher<'_, '_>) {
    let body = pod().to_string();
    bencher.bench_local(|| {
        decode::json(
            pod_type(),
            black_box(body.as_bytes()),
            FieldValidation::Strict,
        )
        .unwrap()
    });
}

#[divan::bench]
fn parse_json_without_schema(bencher: Bencher<'_, '_>) {
    let body = pod().to_string();
    bencher.bench_local(|| serde_json::from_slice::<Value>(black_box(body.as_bytes())).unwrap());
}

#[divan::bench]
fn decode_protobuf(bencher: Bencher<'_, '_>) {
    let raw = protobuf::encode(pod_type(), &pod()).unwrap();
    bencher.bench_local(|| protobuf::decode(pod_type(), black_box(&raw)).unwrap());
}

#[divan::bench]
fn encode_protobuf(bencher: Bencher<'_, '_>) {
    let object = pod();
    bencher.bench_local(|| protobuf::encode(pod_type(), black_box(&object)).unwrap());
}

#[divan::bench]
fn strategic_patch(bencher: Bencher<'_, '_>) {
    let object = pod();
    let change = json!({"spec": {"containers": [{"name": "proxy", "image": "proxy:2",
        "env": [{"name": "EXTRA", "value": "1"}]}]}});
    bencher.bench_local(|| patch::strategic(pod_type(), black_box(&object), &change).unwrap());
}
