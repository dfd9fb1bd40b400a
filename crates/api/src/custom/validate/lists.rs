//! `x-kubernetes-list-type` and `x-kubernetes-map-type`.

use super::Errors;
use super::place::Place;
use crate::status::FieldError;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn check(place: &Place<'_>, errors: &mut Errors) {
    let (list, keys) = (
        place.at("x-kubernetes-list-type"),
        place.at("x-kubernetes-list-map-keys"),
    );
    let kind = place.at("type");
    if !list.is_absent() {
        list.one_of(&["atomic", "map", "set"], errors);
        match kind.text() {
            "array" => {}
            "" => {
                errors.push(kind.required("must be array if x-kubernetes-list-type is specified"));
            }
            _ => errors.push(kind.invalid("must be array if x-kubernetes-list-type is specified")),
        }
    }
    let has_keys = !place.items("x-kubernetes-list-map-keys").is_empty();
    match (list.text(), has_keys) {
        ("map", true) => keyed(place, errors),
        ("map", false) => {
            errors.push(keys.required("must not be empty if x-kubernetes-list-type is map"));
        }
        ("", true) => {
            errors.push(list.required("must be map if x-kubernetes-list-map-keys is non-empty"));
        }
        (_, true) => {
            errors.push(list.invalid("must be map if x-kubernetes-list-map-keys is non-empty"));
        }
        ("set", false) => set(&place.at("items"), errors),
        (_, false) => {}
    }
    let map = place.at("x-kubernetes-map-type");
    if !map.is_absent() {
        map.one_of(&["atomic", "granular"], errors);
        match kind.text() {
            "object" => {}
            "" => {
                errors.push(kind.required("must be object if x-kubernetes-map-type is specified"));
            }
            _ => errors.push(kind.invalid("must be object if x-kubernetes-map-type is specified")),
        }
    }
}

fn keyed(place: &Place<'_>, errors: &mut Errors) {
    let items = place.at("items");
    if items.is_absent() {
        errors.push(items.required("must have a schema if x-kubernetes-list-type is map"));
        return;
    }
    if items.at("type").text() != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(items.at("type").invalid(why));
    }
    if items.at("nullable").is_true() {
        let why = "cannot be nullable when x-kubernetes-list-type is map";
        errors.push(items.at("nullable").forbidden(why));
    }
    let required = items.items("required");
    let mut seen = BTreeSet::new();
    for key in place.items("x-kubernetes-list-map-keys") {
        let property = items.at("properties").entry(key.text());
        if !seen.insert(key.text()) {
            errors.push(FieldError::duplicate(key.path.clone(), key.value));
        } else if property.is_absent() {
            errors.push(key.invalid("entries must all be names of item properties"));
        } else {
            let is_required = required.iter().any(|r| r.text() == key.text());
            key_property(&property, is_required, errors);
        }
    }
}

fn key_property(property: &Place<'_>, is_required: bool, errors: &mut Errors) {
    let kind = property.at("type");
    if matches!(kind.text(), "object" | "array") {
        let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
        errors.push(kind.invalid(why));
    }
    if property.at("nullable").is_true() {
        let why = "cannot be nullable when it is a key of a list with x-kubernetes-list-type=map";
        errors.push(property.at("nullable").forbidden(why));
    }
    if property.at("default").is_absent() && !is_required {
        let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
        errors.push(property.at("default").required(why));
    }
}

/// Elements of a set are scalars, or replaced as a whole.
fn set(items: &Place<'_>, errors: &mut Errors) {
    if items.is_absent() {
        errors.push(items.required("must have a schema if x-kubernetes-list-type is set"));
        return;
    }
    if items.at("nullable").is_true() {
        let why = "cannot be nullable when x-kubernetes-list-type is set";
        errors.push(items.at("nullable").forbidden(why));
    }
    let (field, wanted) = match items.at("type").text() {
        "array" => ("x-kubernetes-list-type", ["atomic", ""]),
        "object" => ("x-kubernetes-map-type", ["atomic", "atomic"]),
        _ => return,
    };
    let found = items.at(field);
    if !wanted.contains(&found.text()) {
        let value = Value::from(found.text());
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        errors.push(FieldError::invalid(found.path, &value, why));
    }
}
