//! Claims, volumes and classes.

use super::object::{self, Lives, metadata};
use super::scope::{Errors, Scope, same};
use crate::names;
use serde_json::Value;

const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
/// Objects in a volume's spec that do not say what it is made of.
const NOT_SOURCES: [&str; 3] = ["capacity", "claimRef", "nodeAffinity"];
const UPDATE: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

pub(super) fn claim(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    if spec.at("accessModes").is_empty() {
        errors.push(
            spec.at("accessModes")
                .required("at least 1 access mode is required"),
        );
    }
    for mode in spec.items("accessModes") {
        mode.one_of(&MODES, &mut errors);
    }
    object::selector(&spec.at("selector"), &mut errors);
    let storage = spec.path(&["resources", "requests", "storage"]);
    let named = Scope {
        path: "spec.resources[storage]".into(),
        value: storage.value,
    };
    match storage.quantity() {
        None => errors.push(named.required("")),
        Some(size) if size.is_zero() || size.is_negative() => {
            errors.push(named.invalid("must be greater than zero"));
        }
        Some(_) => {}
    }
    spec.at("volumeMode")
        .one_of(&["Block", "Filesystem"], &mut errors);
    if let Some(old) = old {
        update(&spec, &Scope::root(old).at("spec"), &mut errors);
    }
    errors
}

fn update(new: &Scope<'_>, old: &Scope<'_>, errors: &mut Errors) {
    let rest = |spec: &Scope<'_>| {
        let mut value = spec.value.clone();
        if let Some(map) = value.as_object_mut() {
            for key in ["resources", "volumeAttributesClassName"] {
                map.shift_remove(key);
            }
            // The binder fills these in once.
            for key in ["volumeName", "storageClassName"] {
                if old.at(key).is_empty() {
                    map.shift_remove(key);
                }
            }
        }
        value
    };
    if !same(&rest(new), &rest(old)) {
        errors.push(new.forbidden(UPDATE));
    }
    let size = |spec: &Scope<'_>| spec.path(&["resources", "requests", "storage"]).quantity();
    if let (Some(now), Some(before)) = (size(new), size(old))
        && now < before
    {
        let field = new.path(&["resources", "requests", "storage"]);
        errors.push(field.forbidden("field can not be less than status.capacity"));
    }
}

pub(super) fn volume(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    spec.at("accessModes").require(&mut errors);
    for mode in spec.items("accessModes") {
        mode.one_of(&MODES, &mut errors);
    }
    if spec.path(&["capacity", "storage"]).quantity().is_none() {
        errors.push(spec.at("capacity").required(""));
    }
    let sources: Vec<&str> = spec
        .value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, value)| value.is_object() && !NOT_SOURCES.contains(&key.as_str()))
        .map(|(key, _)| key.as_str())
        .collect();
    match sources.as_slice() {
        [] => errors.push(spec.required("must specify a volume type")),
        [_] => {}
        [_, more @ ..] => {
            for source in more {
                let why = "may not specify more than 1 volume type";
                errors.push(spec.at(source).forbidden(why));
            }
        }
    }
    let mode = spec.at("volumeMode");
    if mode.present() {
        mode.one_of(&["Block", "Filesystem"], &mut errors);
    }
    if let Some(old) = old {
        let before = Scope::root(old).at("spec");
        let changed = |key: &&str| {
            let spare = NOT_SOURCES.contains(key);
            !spare
                && before.at(key).value.is_object()
                && !same(spec.at(key).value, before.at(key).value)
        };
        let known = before.value.as_object().into_iter().flatten();
        if known.map(|(key, _)| key.as_str()).any(|key| changed(&key)) {
            let why = "spec.persistentvolumesource is immutable after creation";
            errors.push(spec.at("persistentvolumesource").forbidden(why));
        }
        spec.at("volumeMode")
            .unchanged(&before.at("volumeMode"), &mut errors);
    }
    let policy = spec.at("persistentVolumeReclaimPolicy");
    policy.one_of(&["Delete", "Recycle", "Retain"], &mut errors);
    errors
}

pub(super) fn class(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let root = Scope::root(new);
    root.at("provisioner").require(&mut errors);
    root.at("reclaimPolicy")
        .one_of(&["Delete", "Retain"], &mut errors);
    root.at("volumeBindingMode")
        .one_of(&["Immediate", "WaitForFirstConsumer"], &mut errors);
    if let Some(old) = old {
        let before = Scope::root(old);
        for key in [
            "parameters",
            "provisioner",
            "reclaimPolicy",
            "volumeBindingMode",
        ] {
            if !same(root.at(key).value, before.at(key).value) {
                let why = format!("updates to {key} are forbidden.");
                errors.push(root.at(key).forbidden(&why));
            }
        }
    }
    errors
}
