//! Whether a value fits its type closely enough to be merged.

use super::shape::{allows, go_plain};
use super::step::{Step, element};
use crate::schema::{Atom, Node};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Everything in the value that does not fit its type, as upstream words it:
/// `.spec.foo: field not declared in schema`.
pub fn problems(node: Node<'_>, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(node, value, &mut String::new(), &mut found);
    found
}

/// The problems as one message; `None` without any.
pub fn message(problems: &[String]) -> Option<String> {
    match problems {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("errors:\n  {}", many.join("\n  "))),
    }
}

fn check(node: Node<'_>, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let mut say = |what: String| {
        found.push(if path.is_empty() {
            what
        } else {
            format!("{path}: {what}")
        });
    };
    match (node.atom(), value) {
        (_, Value::Null) | (Atom::Unknown, _) => {}
        (Atom::Scalar(scalar), value) => {
            if let Err(what) = allows(scalar, value) {
                say(what);
            }
        }
        (Atom::Map(_), Value::Object(map)) => check_fields(node, map, path, found),
        (Atom::Map(_), other) => say(format!("expected map, got &{{{}}}", go_plain(other))),
        (Atom::List(..), Value::Array(items)) => check_elements(node, items, path, found),
        (Atom::List(..), other) => say(format!("expected list, got &{{{}}}", go_plain(other))),
    }
}

fn check_fields(
    node: Node<'_>,
    map: &Map<String, Value>,
    path: &mut String,
    found: &mut Vec<String>,
) {
    let length = path.len();
    for (name, value) in map {
        path.push('.');
        path.push_str(name);
        match node.child(name) {
            Some(child) => check(child, value, path, found),
            None => found.push(format!("{path}: field not declared in schema")),
        }
        path.truncate(length);
    }
}

fn check_elements(node: Node<'_>, items: &[Value], path: &mut String, found: &mut Vec<String>) {
    let Atom::List(kind, keys) = node.atom() else {
        return;
    };
    let atomic = kind == crate::schema::ListType::Atomic;
    let length = path.len();
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let step = if atomic {
            Step::Element(format!("i:{index}").into())
        } else {
            match element(node, kind, keys, item) {
                Ok(step) => step,
                Err(why) => {
                    found.push(format!("{path}: element {index}: {why}"));
                    continue;
                }
            }
        };
        if !atomic && !seen.insert(step.clone()) {
            found.push(format!("{path}: duplicate entries for key {step}"));
            continue;
        }
        path.push_str(&step.to_string());
        check(node.element(), item, path, found);
        path.truncate(length);
    }
}
