//! Claims, volumes, classes and drivers.

use super::{child, ensure, set, set_text};
use crate::meta;
use serde_json::Value;

pub(super) fn claim(object: &mut Value) {
    set_text(
        meta::object_mut(object, &["spec"]),
        "volumeMode",
        "Filesystem",
    );
    set_text(meta::object_mut(object, &["status"]), "phase", "Pending");
}

pub(super) fn volume(object: &mut Value) {
    let spec = meta::object_mut(object, &["spec"]);
    set_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    set_text(spec, "volumeMode", "Filesystem");
    if let Some(path) = child(spec, "hostPath") {
        set(path, "type", "");
    }
    set_text(meta::object_mut(object, &["status"]), "phase", "Pending");
}

pub(super) fn class(object: &mut Value) {
    let root = meta::as_object(object);
    set_text(root, "reclaimPolicy", "Delete");
    set_text(root, "volumeBindingMode", "Immediate");
}

pub(super) fn driver(object: &mut Value) {
    let spec = ensure(meta::as_object(object), "spec");
    for (key, value) in [
        ("attachRequired", true),
        ("podInfoOnMount", false),
        ("storageCapacity", false),
        ("requiresRepublish", false),
        ("seLinuxMount", false),
    ] {
        set(spec, key, value);
    }
    set_text(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    set(
        spec,
        "volumeLifecycleModes",
        serde_json::json!(["Persistent"]),
    );
}
