//! `spec.versions`.

use super::place::Place;
use super::{Errors, columns, schema};
use crate::meta;
use crate::names;
use serde_json::Value;
use std::collections::BTreeSet;

/// Checks every version and that they fit together.
///
/// Departs: upstream speaks of `spec.validation` where all versions have the same schema; here the
/// path is always that of the version.
///
/// A version that did not change is not checked again.
pub(super) fn check(spec: &Place<'_>, old: Option<&Value>, errors: &mut Errors) {
    let versions = spec.items("versions");
    if versions.is_empty() {
        errors.push(
            spec.at("versions")
                .required("must have at least one version"),
        );
        return;
    }
    let storing = versions
        .iter()
        .filter(|v| v.at("storage").is_true())
        .count();
    if storing != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.push(spec.at("versions").invalid(why));
    }
    let mut seen = BTreeSet::new();
    if !versions.iter().all(|v| seen.insert(v.at("name").text())) {
        let why = "must contain unique version names";
        errors.push(spec.at("versions").invalid(why));
    }
    for version in &versions {
        version_name(&version.at("name"), errors);
        let before = old.map_or(&[][..], |old| meta::list(old, &["spec", "versions"]));
        if !before.contains(version.value) {
            check_version(version, errors);
        }
    }
}

fn version_name(name: &Place<'_>, errors: &mut Errors) {
    if name.text().is_empty() {
        errors.push(name.required(""));
    } else if let Err(why) = names::is_dns_1035_label(name.text()) {
        errors.push(name.invalid(why));
    }
}

fn check_version(version: &Place<'_>, errors: &mut Errors) {
    let warning = version.at("deprecationWarning");
    if !warning.is_absent() {
        deprecation(version, &warning, errors);
    }
    let written = version.at("schema").at("openAPIV3Schema");
    if written.is_absent() {
        errors.push(written.required("schemas are required"));
    } else {
        schema::check(&written, errors);
    }
    columns::printed(version, errors);
    columns::selectable(version, &written, errors);
    columns::scale(&version.at("subresources").at("scale"), errors);
}

fn deprecation(version: &Place<'_>, warning: &Place<'_>, errors: &mut Errors) {
    if !version.at("deprecated").is_true() {
        let why = "can only be set for deprecated versions";
        errors.push(warning.invalid(why));
    }
    if warning.text().is_empty() {
        errors.push(warning.invalid("must not be empty"));
    } else if warning.text().len() > 256 {
        errors.push(warning.invalid("must be <= 256 characters"));
    } else if warning.text().chars().any(char::is_control) {
        errors.push(warning.invalid("must only contain printable UTF-8 characters"));
    }
}
