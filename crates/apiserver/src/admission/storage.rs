//! DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize.

use super::{Operation, Request, classes};
use crate::resource::patch::Part;
use plimsoll_api::meta;
use plimsoll_api::resources::quantity;
use plimsoll_api::status::ApiError;
use plimsoll_quantity::Quantity;
use serde_json::{Value, json};

const DEFAULT_CLASS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
/// Older than `spec.storageClassName`, and still honoured.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

fn is_new(request: &Request<'_>) -> bool {
    request.operation == Operation::Create && request.part == Part::Main
}

/// Gives a claim that names no class the default one.
#[expect(clippy::unnecessary_wraps, reason = "one signature for every step")]
pub(super) fn default_class(
    request: &Request<'_>,
    claim: &mut Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    if !request.is_core("PersistentVolumeClaim") || !is_new(request) {
        return Ok(());
    }
    let annotated = meta::at(claim, &["metadata", "annotations", CLASS_ANNOTATION]).is_some();
    let named = meta::at(claim, &["spec", "storageClassName"]).is_some_and(|name| !name.is_null());
    if annotated || named {
        return Ok(());
    }
    let classes = &request.writer.server.0.admission.storage_classes;
    if let Some(name) = classes::default(classes, &DEFAULT_CLASS) {
        meta::object_mut(claim, &["spec"]).insert("storageClassName".into(), name.into());
    }
    Ok(())
}

/// Keeps claims, volumes and classes from going while they are in use.
#[expect(clippy::unnecessary_wraps, reason = "one signature for every step")]
pub(super) fn protect(
    request: &Request<'_>,
    object: &mut Value,
    _: Option<&Value>,
) -> Result<(), ApiError> {
    if !is_new(request) {
        return Ok(());
    }
    let finalizer = if request.is_core("PersistentVolumeClaim") {
        "kubernetes.io/pvc-protection"
    } else if request.is_core("PersistentVolume") {
        "kubernetes.io/pv-protection"
    } else {
        return Ok(());
    };
    let mut finalizers = meta::list(object, &["metadata", "finalizers"]).to_vec();
    if !finalizers.iter().any(|known| known == finalizer) {
        finalizers.push(json!(finalizer));
        meta::object_mut(object, &["metadata"]).insert("finalizers".into(), finalizers.into());
    }
    Ok(())
}

/// Refuses to let a claim grow that nothing can make grow.
pub(super) fn check_growth(
    request: &Request<'_>,
    claim: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let Some(old) = old else { return Ok(()) };
    if !request.is_core("PersistentVolumeClaim") || request.part != Part::Main {
        return Ok(());
    }
    let size = |claim: &Value| -> Quantity {
        let path = ["spec", "resources", "requests", "storage"];
        meta::at(claim, &path)
            .and_then(quantity)
            .unwrap_or_default()
    };
    if size(claim) <= size(old) {
        return Ok(());
    }
    if meta::text(old, &["status", "phase"]) != "Bound" {
        return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
    }
    let name = meta::text(old, &["spec", "storageClassName"]);
    let classes = &request.writer.server.0.admission.storage_classes;
    let expands = |class: &Value| class.get("allowVolumeExpansion") == Some(&json!(true));
    if classes.get("", name).is_some_and(|class| expands(&class)) {
        return Ok(());
    }
    Err(request.forbidden(
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
    ))
}
