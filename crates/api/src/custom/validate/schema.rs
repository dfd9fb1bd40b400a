//! What makes a schema structural.

use super::place::Place;
use super::{Errors, defaults, lists, nested};
use crate::custom::schema::{Type, pattern};

/// Deeper schemas are refused.
const MAX_DEPTH: usize = 100;

/// Where in a schema a level is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Root,
    Field,
    Item,
}

/// Everything that keeps a schema from being structural.
pub(super) fn check(written: &Place<'_>, errors: &mut Errors) {
    let before = errors.len();
    walk(written, Level::Root, MAX_DEPTH, errors);
    // Defaults can only be judged by a schema that holds.
    if errors.len() == before {
        defaults::check(written, errors);
    }
}

fn walk(place: &Place<'_>, level: Level, depth: usize, errors: &mut Errors) {
    let Some(depth) = depth.checked_sub(1) else {
        errors.push(place.forbidden("is nested too deeply"));
        return;
    };
    if !place.value.is_object() {
        errors.push(place.invalid("must be a schema object"));
        return;
    }
    kind(place, level, errors);
    unsupported(place, errors);
    metadata(place, level, errors);
    lists::check(place, errors);
    nested::check(place, errors);
    let written = place.at("pattern");
    if !written.text().is_empty()
        && let Err(why) = pattern(written.text())
    {
        errors.push(written.invalid(format!(
            "must be a valid regular expression, but isn't: {why}"
        )));
    }
    for (_, property) in place.at("properties").entries() {
        walk(&property, Level::Field, depth, errors);
    }
    let additional = place.at("additionalProperties");
    if additional.value.is_object() {
        walk(&additional, Level::Field, depth, errors);
    }
    let items = place.at("items");
    if items.value.is_object() {
        walk(&items, Level::Item, depth, errors);
    }
}

fn kind(place: &Place<'_>, level: Level, errors: &mut Errors) {
    let (kind, int_or_string) = (place.at("type"), place.at("x-kubernetes-int-or-string"));
    let preserve = place.at("x-kubernetes-preserve-unknown-fields");
    if !preserve.is_absent() && !preserve.is_true() {
        errors.push(preserve.invalid("must be true or undefined"));
    }
    let embedded = place.at("x-kubernetes-embedded-resource").is_true();
    match kind.text() {
        "" if embedded => {
            errors.push(kind.required("must be object if x-kubernetes-embedded-resource is true"));
        }
        "" if int_or_string.is_true() || preserve.is_true() && level != Level::Root => {}
        "" => errors.push(kind.required(match level {
            Level::Root => "must not be empty at the root",
            Level::Field => "must not be empty for specified object fields",
            Level::Item => "must not be empty for specified array items",
        })),
        "null" => {
            errors
                .push(kind.forbidden("type cannot be set to null, use nullable as an alternative"));
        }
        name if Type::parse(name).is_none() => {
            let all = ["array", "boolean", "integer", "number", "object", "string"];
            kind.one_of(&all, errors);
        }
        name if level == Level::Root && name != "object" => {
            errors.push(kind.invalid("must be object at the root"));
        }
        name if embedded && name != "object" => {
            errors.push(kind.invalid("must be object if x-kubernetes-embedded-resource is true"));
        }
        _ if int_or_string.is_true() => {
            let why = "must be empty if x-kubernetes-int-or-string is true";
            errors.push(kind.invalid(why));
        }
        _ => {}
    }
    if embedded && !preserve.is_true() && place.at("properties").entries().is_empty() {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(place.at("properties").required(why));
    }
}

fn unsupported(place: &Place<'_>, errors: &mut Errors) {
    for key in [
        "$ref",
        "$schema",
        "id",
        "definitions",
        "dependencies",
        "patternProperties",
        "additionalItems",
    ] {
        if !place.at(key).is_absent() {
            let name = key.trim_start_matches('$');
            errors.push(place.at(key).forbidden(&format!("{name} is not supported")));
        }
    }
    if place.at("uniqueItems").is_true() {
        let why =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(place.at("uniqueItems").forbidden(why));
    }
    let (items, additional) = (place.at("items"), place.at("additionalProperties"));
    if items.value.is_array() {
        let why = "items must be a schema object and not an array";
        errors.push(items.forbidden(why));
    }
    if additional.value == &serde_json::Value::Bool(false) {
        let why = "additionalProperties cannot be set to false";
        errors.push(additional.forbidden(why));
    }
    if !additional.is_absent() && !place.at("properties").entries().is_empty() {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.push(additional.forbidden(why));
    }
    if place.at("type").text() == "array" && items.is_absent() {
        errors.push(items.required("must be specified"));
    }
}

/// Objects with metadata of their own leave it to the server.
fn metadata(place: &Place<'_>, level: Level, errors: &mut Errors) {
    if level != Level::Root && !place.at("x-kubernetes-embedded-resource").is_true() {
        return;
    }
    let properties = place.at("properties");
    for key in ["apiVersion", "kind"] {
        let property = properties.entry(key);
        if !property.is_absent() && property.at("type").text() != "string" {
            errors.push(property.at("type").invalid("must be string"));
        }
    }
    let metadata = properties.entry("metadata");
    if metadata.is_absent() {
        return;
    }
    if metadata.at("type").text() != "object" {
        errors.push(metadata.at("type").invalid("must be object"));
    }
    let allowed = |key: &str| matches!(key, "name" | "generateName");
    let only_names = metadata
        .at("properties")
        .entries()
        .iter()
        .all(|(key, _)| allowed(key));
    let plain = ["type", "description", "properties", "title"];
    let nothing_else = metadata
        .entries()
        .iter()
        .all(|(key, _)| plain.contains(key));
    if !only_names || !nothing_else {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(metadata.forbidden(why));
    }
}
