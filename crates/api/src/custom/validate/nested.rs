//! Constraints inside `allOf`, `anyOf`, `oneOf` and `not`: they describe no structure of their own.

use super::Errors;
use super::place::Place;
use serde_json::Value;

const EMPTY: [&str; 9] = [
    "title",
    "description",
    "type",
    "default",
    "additionalProperties",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-validations",
];
const FALSE: [&str; 4] = [
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
];
/// Deeper constraints are refused.
const MAX_DEPTH: usize = 64;

/// Checks the constraints of one structural level.
pub(super) fn check(place: &Place<'_>, errors: &mut Errors) {
    let int_or_string = place.at("x-kubernetes-int-or-string").is_true();
    for (nested, of_int_or_string) in constraints(place) {
        // The one pattern that may name types again.
        let named = int_or_string && of_int_or_string && is_int_or_string(&nested, place);
        if !named {
            walk(&nested, place, MAX_DEPTH, errors);
        }
    }
}

/// The constraints of a level, and whether they may be the int-or-string pattern.
fn constraints<'a>(place: &Place<'a>) -> Vec<(Place<'a>, bool)> {
    let mut all: Vec<(Place<'a>, bool)> = Vec::new();
    for key in ["allOf", "anyOf", "oneOf"] {
        let list = place.items(key).into_iter();
        all.extend(list.enumerate().map(|(index, nested)| {
            let pattern = key == "anyOf" || key == "allOf" && index == 0;
            (nested, pattern)
        }));
    }
    let not = place.at("not");
    if !not.is_absent() {
        all.push((not, false));
    }
    all
}

/// `anyOf: [{type: integer}, {type: string}]`, there or in the first of `allOf`.
fn is_int_or_string(nested: &Place<'_>, parent: &Place<'_>) -> bool {
    let pair = |of: &Place<'_>| {
        let kinds: Vec<&str> = of
            .items("anyOf")
            .iter()
            .map(|p| p.at("type").text())
            .collect();
        kinds == ["integer", "string"]
    };
    let only_type = nested.entries().iter().all(|(key, _)| *key == "type");
    pair(parent) && only_type || pair(nested)
}

fn walk(nested: &Place<'_>, structure: &Place<'_>, depth: usize, errors: &mut Errors) {
    let Some(depth) = depth.checked_sub(1) else {
        errors.push(nested.forbidden("is nested too deeply"));
        return;
    };
    for key in EMPTY {
        let place = nested.at(key);
        let empty = match place.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        };
        if !empty {
            let word = match key {
                "default" | "additionalProperties" => "undefined",
                _ => "empty",
            };
            errors.push(place.forbidden(&format!("must be {word} to be structural")));
        }
    }
    for key in FALSE {
        if nested.at(key).is_true() {
            errors.push(nested.at(key).forbidden("must be false to be structural"));
        }
    }
    for (key, property) in nested.at("properties").entries() {
        let outer = structure.at("properties").entry(key);
        let outer = if outer.is_absent() && structure.at("additionalProperties").value.is_object() {
            structure.at("additionalProperties")
        } else {
            outer
        };
        complete(&property, &outer, depth, errors);
    }
    let items = nested.at("items");
    if !items.is_absent() {
        complete(&items, &structure.at("items"), depth, errors);
    }
    for (deeper, _) in constraints(nested) {
        walk(&deeper, structure, depth, errors);
    }
}

/// What a constraint speaks of must be specified outside it.
fn complete(nested: &Place<'_>, outer: &Place<'_>, depth: usize, errors: &mut Errors) {
    if outer.is_absent() {
        errors.push(outer.required(&format!("because it is defined in {}", nested.path)));
    } else {
        walk(nested, outer, depth, errors);
    }
}
