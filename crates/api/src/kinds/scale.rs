//! The `scale` subresource: an `autoscaling/v1` Scale as a view of a workload.

use crate::kind::Kind;
use crate::status::ApiError;
use crate::{meta, print};
use serde_json::{Map, Value, json};

/// The Scale of a workload or of a custom resource that scales.
///
/// # Errors
/// 501 for other kinds; 500 for a custom resource without replicas.
pub fn scale(kind: &Kind, object: &Value) -> Result<Value, ApiError> {
    let paths = kind
        .custom
        .as_ref()
        .and_then(|custom| custom.scale.as_ref());
    let (replicas, present, selector) = if let Some(paths) = paths {
        let found = paths.read(object)?;
        (found.wanted, found.present, found.selector)
    } else {
        let selector = meta::at(object, &["spec", "selector"]);
        let selector = match kind.kind.as_ref() {
            "Deployment" | "ReplicaSet" | "StatefulSet" => print::selector_text(selector),
            "ReplicationController" => print::labels_text(selector),
            _ => return Err(ApiError::not_yet(&format!("scale of {}", kind.plural))),
        };
        let count = |path: &[&str]| meta::integer(object, path).unwrap_or_default();
        (
            count(&["spec", "replicas"]),
            count(&["status", "replicas"]),
            selector,
        )
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
    if replicas != 0 {
        spec.insert("replicas".into(), replicas.into());
    }
    let mut status = Map::new();
    status.insert("replicas".into(), present.into());
    if !selector.is_empty() {
        status.insert("selector".into(), selector.into());
    }
    Ok(json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": metadata, "spec": spec, "status": status,
    }))
}

/// Writes a Scale's `spec.replicas` (absent = 0) into the workload. Returns whether the kind scales.
/// A negative number is left for validation to refuse.
pub fn apply_scale(kind: &Kind, object: &mut Value, scale: &Value) -> bool {
    let scales = kind.subresource("scale").is_some();
    if scales {
        let replicas = meta::integer(scale, &["spec", "replicas"]).unwrap_or_default();
        match kind
            .custom
            .as_ref()
            .and_then(|custom| custom.scale.as_ref())
        {
            Some(paths) => paths.write(object, replicas),
            None => {
                meta::object_mut(object, &["spec"]).insert("replicas".into(), replicas.into());
            }
        }
        if let Some(version) = meta::at(scale, &["metadata", "resourceVersion"])
            && version.as_str().is_some_and(|text| !text.is_empty())
        {
            meta::object_mut(object, &["metadata"])
                .insert("resourceVersion".into(), version.clone());
        }
    }
    scales
}
