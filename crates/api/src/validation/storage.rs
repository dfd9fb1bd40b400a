//! Claims, volumes and classes.

use super::object::{self, Lives, metadata};
use super::scope::{Errors, Scope, same};
use super::volume;
use crate::names;
use crate::status::FieldError;
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
    access_modes(&spec, &mut errors);
    class_name(&spec, &mut errors);
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
        update(&Scope::root(new), &Scope::root(old), &mut errors);
    }
    errors
}

fn access_modes(spec: &Scope<'_>, errors: &mut Errors) {
    let modes = spec.items("accessModes");
    for mode in &modes {
        mode.one_of(&MODES, errors);
    }
    if modes.len() > 1 && modes.iter().any(|mode| mode.text() == "ReadWriteOncePod") {
        let why = "may not use ReadWriteOncePod with other access modes";
        errors.push(spec.at("accessModes").forbidden(why));
    }
}

fn class_name(spec: &Scope<'_>, errors: &mut Errors) {
    let name = spec.at("storageClassName");
    if !name.is_empty() {
        name.name(names::is_dns_subdomain, errors);
    }
}

fn update(new: &Scope<'_>, old: &Scope<'_>, errors: &mut Errors) {
    let bound = new.path(&["status", "phase"]).text() == "Bound";
    let has = old.path(&["status", "capacity", "storage"]).quantity();
    let (new, old) = (&new.at("spec"), &old.at("spec"));
    let rest = |spec: &Scope<'_>| {
        let mut value = spec.value.clone();
        if let Some(map) = value.as_object_mut() {
            if bound {
                map.shift_remove("resources");
            }
            map.shift_remove("volumeAttributesClassName");
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
    // What was asked for in vain may be asked for no more; what is there cannot shrink.
    if let (Some(now), Some(before)) = (size(new), size(old))
        && now < before
        && has.is_none_or(|has| now <= has)
    {
        let field = new.path(&["resources", "requests", "storage"]);
        errors.push(field.forbidden("field can not be less than status.capacity"));
    }
}

pub(super) fn volume(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    spec.at("accessModes").require(&mut errors);
    access_modes(&spec, &mut errors);
    class_name(&spec, &mut errors);
    capacity(&spec.at("capacity"), &mut errors);
    sources(&spec, &mut errors);
    affinity(&spec, &mut errors);
    let mode = spec.at("volumeMode");
    if mode.present() {
        mode.one_of(&["Block", "Filesystem"], &mut errors);
    }
    if let Some(old) = old {
        volume_update(&spec, &Scope::root(old).at("spec"), &mut errors);
    }
    let policy = spec.at("persistentVolumeReclaimPolicy");
    policy.one_of(&["Delete", "Recycle", "Retain"], &mut errors);
    if policy.text() == "Recycle" && spec.path(&["hostPath", "path"]).text() == "/" {
        errors.push(policy.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
    }
    errors
}

fn capacity(capacity: &Scope<'_>, errors: &mut Errors) {
    if capacity.is_empty() {
        errors.push(capacity.required(""));
        return;
    }
    let entries = capacity.entries();
    if entries.len() != 1 || capacity.at("storage").quantity().is_none() {
        errors.push(FieldError::not_supported(
            capacity.path.clone(),
            capacity.value,
            &["storage"],
        ));
    }
    for (_, amount) in entries {
        if amount
            .quantity()
            .is_some_and(|size| size.is_zero() || size.is_negative())
        {
            errors.push(amount.invalid("must be greater than zero"));
        }
    }
}

/// What a volume is made of: one thing.
fn sources(spec: &Scope<'_>, errors: &mut Errors) {
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
    if spec.at("hostPath").present() {
        volume::host_path(&spec.at("hostPath"), errors);
    }
    let local = spec.at("local");
    if local.present() {
        if local.at("path").require(errors) {
            volume::no_backsteps(&local.at("path"), errors);
        }
        if spec.at("nodeAffinity").is_empty() {
            let why = "Local volume requires node affinity";
            errors.push(spec.at("nodeAffinity").required(why));
        }
    }
    if spec.at("csi").present() {
        for field in ["driver", "volumeHandle"] {
            spec.at("csi").at(field).require(errors);
        }
    }
}

fn affinity(spec: &Scope<'_>, errors: &mut Errors) {
    let affinity = spec.at("nodeAffinity");
    if !affinity.present() {
        return;
    }
    let required = affinity.at("required");
    if !required.present() {
        errors.push(required.required("must specify required node constraints"));
    } else if required.at("nodeSelectorTerms").is_empty() {
        let why = "must have at least one node selector term";
        errors.push(required.at("nodeSelectorTerms").required(why));
    }
}

fn volume_update(spec: &Scope<'_>, before: &Scope<'_>, errors: &mut Errors) {
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
        .unchanged(&before.at("volumeMode"), errors);
    if before.at("nodeAffinity").present() {
        spec.at("nodeAffinity")
            .unchanged(&before.at("nodeAffinity"), errors);
    }
}

pub(super) fn class(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let root = Scope::root(new);
    let provisioner = root.at("provisioner");
    if provisioner.require(&mut errors) {
        provisioner.name(names::is_qualified_name, &mut errors);
    }
    let parameters = root.at("parameters");
    if parameters.value.get("").is_some() {
        errors.push(FieldError::invalid(
            parameters.path.clone(),
            &"".into(),
            "field can not be empty.",
        ));
    }
    for topology in root.items("allowedTopologies") {
        for expression in topology.items("matchLabelExpressions") {
            expression.at("key").require(&mut errors);
            expression.at("values").require(&mut errors);
        }
    }
    root.at("reclaimPolicy")
        .one_of(&["Delete", "Retain"], &mut errors);
    root.at("volumeBindingMode")
        .one_of(&["Immediate", "WaitForFirstConsumer"], &mut errors);
    if let Some(old) = old {
        let before = Scope::root(old);
        for key in ["parameters", "provisioner", "reclaimPolicy"] {
            if !same(root.at(key).value, before.at(key).value) {
                let why = format!("updates to {key} are forbidden.");
                errors.push(root.at(key).forbidden(&why));
            }
        }
        for key in ["volumeBindingMode", "allowedTopologies"] {
            root.at(key).unchanged(&before.at(key), &mut errors);
        }
    }
    errors
}
