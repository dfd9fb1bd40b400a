//! Claims, volumes and classes.

use super::{AGE, NAME, age, bool_text, or_none, text, wide};
use crate::kind::Column;
use crate::meta;
use jiff::Timestamp;
use serde_json::Value;

pub(super) const CLAIM: &[Column] = &[
    NAME,
    text("Status"),
    text("Volume"),
    text("Capacity"),
    text("Access Modes"),
    text("StorageClass"),
    text("VolumeAttributesClass"),
    AGE,
    wide("VolumeMode"),
];

pub(super) fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let volume = meta::text(object, &["spec", "volumeName"]);
    let bound = !volume.is_empty();
    let capacity = meta::text(object, &["status", "capacity", "storage"]);
    let modes = access_modes(meta::list(object, &["status", "accessModes"]));
    vec![
        meta::name(object).into(),
        phase(object).into(),
        volume.into(),
        if bound { capacity.into() } else { "".into() },
        if bound { modes.into() } else { "".into() },
        class_of(object).into(),
        attributes(object),
        age(object, now),
        mode(object),
    ]
}

pub(super) const VOLUME: &[Column] = &[
    NAME,
    text("Capacity"),
    text("Access Modes"),
    text("Reclaim Policy"),
    text("Status"),
    text("Claim"),
    text("StorageClass"),
    text("VolumeAttributesClass"),
    text("Reason"),
    AGE,
    wide("VolumeMode"),
];

pub(super) fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let claim = meta::at(object, &["spec", "claimRef"]).map_or_else(String::new, |claim| {
        format!(
            "{}/{}",
            meta::text(claim, &["namespace"]),
            meta::text(claim, &["name"])
        )
    });
    vec![
        meta::name(object).into(),
        meta::text(object, &["spec", "capacity", "storage"]).into(),
        access_modes(meta::list(object, &["spec", "accessModes"])).into(),
        meta::text(object, &["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase(object).into(),
        claim.into(),
        class_of(object).into(),
        attributes(object),
        meta::text(object, &["status", "reason"]).into(),
        age(object, now),
        mode(object),
    ]
}

fn phase(object: &Value) -> &str {
    if meta::is_deleting(object) {
        "Terminating"
    } else {
        meta::text(object, &["status", "phase"])
    }
}

fn class_of(object: &Value) -> &str {
    meta::text(object, &["spec", "storageClassName"])
}

fn attributes(object: &Value) -> Value {
    match meta::text(object, &["spec", "volumeAttributesClassName"]) {
        "" => "<unset>".into(),
        name => name.into(),
    }
}

fn mode(object: &Value) -> Value {
    match meta::text(object, &["spec", "volumeMode"]) {
        "" => "<unset>".into(),
        mode => mode.into(),
    }
}

fn access_modes(modes: &[Value]) -> String {
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let present = short
        .iter()
        .filter(|(long, _)| modes.iter().any(|mode| mode == long));
    present
        .map(|(_, short)| *short)
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) const CLASS: &[Column] = &[
    NAME,
    text("Provisioner"),
    text("ReclaimPolicy"),
    text("VolumeBindingMode"),
    text("AllowVolumeExpansion"),
    AGE,
];

pub(super) fn class(object: &Value, now: Timestamp) -> Vec<Value> {
    let annotation = "storageclass.kubernetes.io/is-default-class";
    let is_default = meta::text(object, &["metadata", "annotations", annotation]) == "true";
    let name = meta::name(object);
    vec![
        if is_default {
            format!("{name} (default)").into()
        } else {
            name.into()
        },
        meta::text(object, &["provisioner"]).into(),
        or_none(meta::text(object, &["reclaimPolicy"])),
        or_none(meta::text(object, &["volumeBindingMode"])),
        bool_text(object, &["allowVolumeExpansion"]).into(),
        age(object, now),
    ]
}
