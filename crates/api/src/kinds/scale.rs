//! The `scale` subresource: an `autoscaling/v1` Scale as a view of a workload.

use crate::{meta, print};
use serde_json::{Map, Value, json};

/// The Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController; `None` for others.
pub fn scale(kind: &str, object: &Value) -> Option<Value> {
    let selector = match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" => {
            print::selector_text(meta::at(object, &["spec", "selector"]))
        }
        "ReplicationController" => print::labels_text(meta::at(object, &["spec", "selector"])),
        _ => return None,
    };
    let mut metadata = Map::new();
    for key in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = meta::at(object, &["metadata", key]) {
            metadata.insert(key.into(), value.clone());
        }
    }
    let mut spec = Map::new();
    // Zero is omitted, as in upstream's own encoding.
    if let Some(replicas) = meta::integer(object, &["spec", "replicas"]).filter(|n| *n != 0) {
        spec.insert("replicas".into(), replicas.into());
    }
    let mut status = Map::new();
    let replicas = meta::integer(object, &["status", "replicas"]).unwrap_or_default();
    status.insert("replicas".into(), replicas.into());
    if !selector.is_empty() {
        status.insert("selector".into(), selector.into());
    }
    Some(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": metadata, "spec": spec, "status": status,
    }))
}

/// Writes a Scale's `spec.replicas` (absent = 0) into the workload. Returns whether the kind scales.
/// A negative number is left for validation to refuse.
pub fn apply_scale(kind: &str, object: &mut Value, scale: &Value) -> bool {
    let scales = matches!(
        kind,
        "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController"
    );
    if scales {
        let replicas = meta::integer(scale, &["spec", "replicas"]).unwrap_or_default();
        meta::object_mut(object, &["spec"]).insert("replicas".into(), replicas.into());
        if let Some(version) = meta::at(scale, &["metadata", "resourceVersion"])
            && version.as_str().is_some_and(|text| !text.is_empty())
        {
            meta::object_mut(object, &["metadata"])
                .insert("resourceVersion".into(), version.clone());
        }
    }
    scales
}
