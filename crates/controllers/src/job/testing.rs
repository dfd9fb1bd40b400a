//! Jobs and pods for tests.

use super::view::{JobView, JobWire};
use crate::pods::{PodView, PodWire};
use crate::runtime::Cached;
use serde_json::{Value, json};
use std::sync::Arc;

/// A Job named `work` with these fields in its spec and this status.
pub(super) fn job(spec: &Value, status: &Value) -> JobView {
    let mut whole = json!({
        "parallelism": 1, "completions": 1,
        "template": {"spec": {"restartPolicy": "Never"}},
    });
    json_patch::merge(&mut whole, spec);
    let wire: JobWire = serde_json::from_value(json!({
        "metadata": {"name": "work", "namespace": "n", "uid": "job"},
        "spec": whole, "status": status,
    }))
    .unwrap();
    JobView::from_wire(wire)
}

/// A pod of that Job: its name is its uid. `change` is merged over a running, tracked pod.
pub(super) fn pod(name: &str, change: &Value) -> Arc<PodView> {
    let mut whole = json!({
        "metadata": {
            "name": name, "namespace": "n", "uid": name, "annotations": {}, "labels": {},
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "finalizers": [super::FINALIZER],
            "ownerReferences": [{
                "apiVersion": "batch/v1", "kind": "Job", "name": "work", "uid": "job",
                "controller": true,
            }],
        },
        "spec": {"containers": [{"name": "c"}], "nodeName": "a"},
        "status": {"phase": "Running"},
    });
    json_patch::merge(&mut whole, change);
    let wire: PodWire = serde_json::from_value(whole).unwrap();
    Arc::new(PodView::from_wire(wire))
}

/// A change: the pod has this index.
pub(super) fn index(number: u32) -> Value {
    json!({"metadata": {"annotations": {(super::seen::INDEX): number.to_string()}}})
}

/// A change: the pod ended in this second, its container with this code.
pub(super) fn exit(code: i32, second: i64) -> Value {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let at = jiff::Timestamp::from_second(second).unwrap();
    json!({"status": {"phase": phase, "containerStatuses": [{
        "name": "c", "state": {"terminated": {"exitCode": code, "finishedAt": at}},
    }]}})
}

/// Two changes in one; what the second sets to null stays null, so that it removes.
pub(super) fn both(first: Value, second: &Value) -> Value {
    let (Value::Object(mut map), Value::Object(changes)) = (first, second) else {
        return second.clone();
    };
    for (key, change) in changes {
        let before = map.remove(key).unwrap_or(Value::Null);
        map.insert(key.clone(), both(before, change));
    }
    Value::Object(map)
}
