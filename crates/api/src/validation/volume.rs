//! A pod's volumes.

use super::scope::{Errors, Scope};
use crate::names;
use std::collections::BTreeSet;

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
        ("hostPath", "path"),
        ("csi", "driver"),
    ] {
        if volume.at(kind).present() {
            volume.at(kind).at(field).require(errors);
        }
    }
    for kind in ["configMap", "secret"] {
        for item in volume.at(kind).items("items") {
            item.at("key").require(errors);
            if item.at("path").require(errors) {
                relative(&item.at("path"), errors);
            }
        }
    }
}

fn relative(path: &Scope<'_>, errors: &mut Errors) {
    if path.text().starts_with('/') {
        errors.push(path.invalid("must be a relative path"));
    }
    if path.text().split('/').any(|part| part == "..") {
        errors.push(path.invalid("must not contain '..'"));
    }
}
