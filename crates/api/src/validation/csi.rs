//! Storage drivers, attachments and classes of volume attributes.

use super::object::{self, Lives, metadata};
use super::scope::{Errors, Scope, same};
use crate::names;
use crate::status::FieldError;
use serde_json::Value;
use std::collections::BTreeSet;

const MAX_NODE_ID: usize = 192;
const MAX_PARAMETERS: usize = 512;
/// The shortest life of a token handed to a driver, in seconds.
const SHORTEST_TOKEN: i64 = 600;

fn driver_name(name: &str) -> Result<(), String> {
    if name.len() > 63 {
        return Err("must be no more than 63 bytes".into());
    }
    names::is_dns_subdomain(&name.to_lowercase())
}

pub(super) fn driver(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, driver_name);
    let spec = Scope::root(new).at("spec");
    for key in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
        if !spec.at(key).present() {
            errors.push(spec.at(key).required(""));
        }
    }
    for mode in spec.items("volumeLifecycleModes") {
        mode.one_of(&["Ephemeral", "Persistent"], &mut errors);
    }
    let policy = spec.at("fsGroupPolicy");
    if policy.present() {
        let known = ["File", "None", "ReadWriteOnceWithFSType"];
        policy.one_of(&known, &mut errors);
    }
    let mut audiences = BTreeSet::new();
    for request in spec.items("tokenRequests") {
        if !audiences.insert(request.at("audience").text()) {
            errors.push(request.at("audience").duplicate());
        }
        let seconds = request.at("expirationSeconds");
        if seconds.integer().is_some_and(|s| s < SHORTEST_TOKEN) {
            errors.push(seconds.invalid("may not specify a duration less than 10 minutes"));
        }
    }
    if let Some(old) = old {
        let before = Scope::root(old).at("spec");
        for key in ["attachRequired", "volumeLifecycleModes"] {
            spec.at(key).unchanged(&before.at(key), &mut errors);
        }
    }
    errors
}

pub(super) fn node(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    let mut seen = BTreeSet::new();
    for driver in spec.items("drivers") {
        let (name, id) = (driver.at("name"), driver.at("nodeID"));
        if name.require(&mut errors) {
            name.name(driver_name, &mut errors);
        }
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
        if id.require(&mut errors) && id.text().len() > MAX_NODE_ID {
            errors.push(id.invalid(format!("must be {MAX_NODE_ID} characters or less")));
        }
        driver
            .at("allocatable")
            .at("count")
            .not_negative(&mut errors);
        let mut keys = BTreeSet::new();
        for key in driver.items("topologyKeys") {
            if key.require(&mut errors) {
                key.name(names::is_qualified_name, &mut errors);
            }
            if !keys.insert(key.text()) {
                errors.push(key.duplicate());
            }
        }
    }
    errors
}

pub(super) fn capacity(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InNamespace, names::is_dns_subdomain);
    let root = Scope::root(new);
    let class = root.at("storageClassName");
    if class.require(&mut errors) {
        class.name(names::is_dns_subdomain, &mut errors);
    }
    object::selector(&root.at("nodeTopology"), &mut errors);
    for key in ["capacity", "maximumVolumeSize"] {
        if root
            .at(key)
            .quantity()
            .is_some_and(|size| size.is_negative())
        {
            errors.push(root.at(key).invalid("must be greater than or equal to 0"));
        }
    }
    if let Some(old) = old {
        let before = Scope::root(old);
        for key in ["nodeTopology", "storageClassName"] {
            root.at(key).unchanged(&before.at(key), &mut errors);
        }
    }
    errors
}

pub(super) fn attachment(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let spec = Scope::root(new).at("spec");
    if spec.at("attacher").require(&mut errors) {
        spec.at("attacher").name(driver_name, &mut errors);
    }
    if spec.at("nodeName").require(&mut errors) {
        spec.at("nodeName")
            .name(names::is_dns_subdomain, &mut errors);
    }
    let source = spec.at("source");
    let [inline, named] =
        ["inlineVolumeSpec", "persistentVolumeName"].map(|key| source.at(key).present());
    if inline && named {
        let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        errors.push(source.forbidden(why));
    } else if !inline && !named {
        let why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        errors.push(source.required(why));
    } else if named && source.at("persistentVolumeName").is_empty() {
        errors.push(source.at("persistentVolumeName").required(""));
    }
    if let Some(old) = old {
        spec.unchanged(&Scope::root(old).at("spec"), &mut errors);
    }
    errors
}

pub(super) fn attributes_class(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = metadata(new, old, Lives::InCluster, names::is_dns_subdomain);
    let root = Scope::root(new);
    let (name, parameters) = (root.at("driverName"), root.at("parameters"));
    if name.require(&mut errors) {
        name.name(driver_name, &mut errors);
    }
    let entries = parameters.entries();
    if entries.is_empty() {
        errors.push(parameters.required("must contain at least one key/value pair"));
    }
    if entries.len() > MAX_PARAMETERS {
        errors.push(FieldError::invalid(
            "parameters.length",
            &entries.len().into(),
            "must have at most 512 items",
        ));
    }
    if let Some(old) = old {
        for key in ["driverName", "parameters"] {
            if !same(root.at(key).value, Scope::root(old).at(key).value) {
                let why = format!("updates to {key} are forbidden.");
                errors.push(root.at(key).forbidden(&why));
            }
        }
    }
    errors
}
