//! A pod's volumes.

use super::scope::{Errors, Scope};
use crate::names;
use std::collections::BTreeSet;

const HOST_PATH_TYPES: [&str; 8] = [
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
];
/// What a projected volume is put together from.
const PROJECTED: [&str; 6] = [
    "secret",
    "downwardAPI",
    "configMap",
    "serviceAccountToken",
    "clusterTrustBundle",
    "podCertificate",
];

/// Checks the volumes and returns their names, which mounts refer to.
pub(super) fn volumes(spec: &Scope<'_>, errors: &mut Errors) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for volume in spec.items("volumes") {
        let name = volume.at("name");
        if name.require(errors) {
            name.name(names::is_dns_label, errors);
            if !seen.insert(name.text().to_owned()) {
                errors.push(name.duplicate());
            }
        }
        source(&volume, errors);
    }
    seen
}

fn source(volume: &Scope<'_>, errors: &mut Errors) {
    let fields = volume.value.as_object().into_iter().flatten();
    let sources: Vec<&str> = fields
        .filter(|(key, value)| *key != "name" && !value.is_null())
        .map(|(key, _)| key.as_str())
        .collect();
    if sources.is_empty() {
        errors.push(volume.required("must specify a volume type"));
    }
    for extra in sources.iter().skip(1) {
        errors.push(
            volume
                .at(extra)
                .forbidden("may not specify more than 1 volume type"),
        );
    }
    for (kind, field) in [
        ("configMap", "name"),
        ("secret", "secretName"),
        ("persistentVolumeClaim", "claimName"),
        ("csi", "driver"),
    ] {
        if volume.at(kind).present() {
            volume.at(kind).at(field).require(errors);
        }
    }
    if volume.at("hostPath").present() {
        host_path(&volume.at("hostPath"), errors);
    }
    let limit = volume.path(&["emptyDir", "sizeLimit"]);
    if limit.quantity().is_some_and(|size| size.is_negative()) {
        let why = "SizeLimit field must be a valid resource quantity";
        errors.push(limit.forbidden(why));
    }
    for kind in ["configMap", "secret", "downwardAPI", "projected"] {
        mode(&volume.path(&[kind, "defaultMode"]), errors);
    }
    for kind in ["configMap", "secret"] {
        keys(&volume.at(kind), errors);
    }
    pod_fields(&volume.at("downwardAPI"), errors);
    projected(&volume.at("projected"), errors);
}

/// A path of the host, with what it must be.
pub(super) fn host_path(source: &Scope<'_>, errors: &mut Errors) {
    let path = source.at("path");
    if path.require(errors) {
        no_backsteps(&path, errors);
    }
    let kind = source.at("type");
    if kind.present() {
        kind.one_of(&HOST_PATH_TYPES, errors);
    }
}

/// Refuses `..` among the parts of a path.
pub(super) fn no_backsteps(path: &Scope<'_>, errors: &mut Errors) {
    if path.text().split('/').any(|part| part == "..") {
        errors.push(path.invalid("must not contain '..'"));
    }
}

fn mode(mode: &Scope<'_>, errors: &mut Errors) {
    if mode
        .integer()
        .is_some_and(|bits| !(0..=0o777).contains(&bits))
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.push(mode.invalid(why));
    }
}

/// The keys of a ConfigMap or Secret that are to appear.
fn keys(source: &Scope<'_>, errors: &mut Errors) {
    for item in source.items("items") {
        item.at("key").require(errors);
        if item.at("path").require(errors) {
            relative(&item.at("path"), errors);
        }
        mode(&item.at("mode"), errors);
    }
}

/// The fields of the pod that are to appear.
fn pod_fields(source: &Scope<'_>, errors: &mut Errors) {
    for item in source.items("items") {
        if item.at("path").require(errors) {
            relative(&item.at("path"), errors);
        }
        let [field, resource] = ["fieldRef", "resourceFieldRef"].map(|key| item.at(key));
        if field.present() {
            field.at("fieldPath").require(errors);
            if resource.present() {
                let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(item.at("fieldRef").forbidden(why));
            }
        } else if resource.present() {
            resource.at("containerName").require(errors);
            resource.at("resource").require(errors);
        } else {
            errors.push(item.required("one of fieldRef and resourceFieldRef is required"));
        }
        mode(&item.at("mode"), errors);
    }
}

fn projected(volume: &Scope<'_>, errors: &mut Errors) {
    for part in volume.items("sources") {
        let known = PROJECTED.iter().filter(|kind| part.at(kind).present());
        for extra in known.skip(1) {
            let why = "may not specify more than 1 volume type";
            errors.push(part.at(extra).forbidden(why));
        }
        for kind in ["configMap", "secret"] {
            if part.at(kind).present() {
                part.at(kind).at("name").require(errors);
            }
            keys(&part.at(kind), errors);
        }
        pod_fields(&part.at("downwardAPI"), errors);
        let token = part.at("serviceAccountToken");
        if token.present() {
            let seconds = token.at("expirationSeconds");
            if seconds.integer().is_some_and(|seconds| seconds < 600) {
                let why = "may not specify a duration less than 10 minutes";
                errors.push(seconds.invalid(why));
            }
            if token.at("path").require(errors) {
                relative(&token.at("path"), errors);
            }
        }
    }
}

fn relative(path: &Scope<'_>, errors: &mut Errors) {
    if path.text().starts_with('/') {
        errors.push(path.invalid("must be a relative path"));
    }
    no_backsteps(path, errors);
    if path.text().starts_with("..") && !path.text().starts_with("../") && path.text() != ".." {
        errors.push(path.invalid("must not start with '..'"));
    }
}
