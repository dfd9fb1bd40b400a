//! An applied configuration on top of the live object.

use super::shape::{Form, form};
use super::step::{Step, element};
use crate::schema::{Keys, ListType, Node};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// The live object with everything the configuration says: fields and elements are merged,
/// scalars and atomic values replaced, nothing is removed.
pub fn merge(node: Node<'_>, live: &Value, config: &Value) -> Value {
    match (form(node, Some(live), Some(config)), live, config) {
        (Form::Fields, Value::Object(live), Value::Object(config)) => {
            Value::Object(merge_fields(node, live, config))
        }
        (Form::Fields | Form::Elements(..), _, Value::Null) => live.clone(),
        (Form::Elements(kind, keys), Value::Array(live), Value::Array(config)) => {
            Value::Array(merge_elements(node, (kind, keys), live, config))
        }
        (Form::Leaf | Form::Fields | Form::Elements(..), _, _) => config.clone(),
    }
}

fn merge_fields(
    node: Node<'_>,
    live: &Map<String, Value>,
    config: &Map<String, Value>,
) -> Map<String, Value> {
    let mut merged = live.clone();
    for (name, value) in config {
        let child = node.child(name).unwrap_or(Node::Unknown);
        match merged.get_mut(name) {
            Some(before) => *before = merge(child, before, value),
            None => drop(merged.insert(name.clone(), value.clone())),
        }
    }
    merged
}

/// Merges two lists. The configuration's elements come in its order; elements only the live list
/// has stay behind the neighbour they followed.
fn merge_elements(
    node: Node<'_>,
    (kind, keys): (ListType, Keys<'_>),
    live: &[Value],
    config: &[Value],
) -> Vec<Value> {
    let identify = |items: &[Value]| -> Vec<Option<Step<'static>>> {
        let steps = items.iter().map(|item| element(node, kind, keys, item));
        steps.map(Result::ok).collect()
    };
    let (live_steps, config_steps) = (identify(live), identify(config));
    let mut by_step: BTreeMap<&Step<'_>, &Value> = BTreeMap::new();
    for (step, item) in live_steps.iter().zip(live) {
        if let Some(step) = step {
            by_step.entry(step).or_insert(item);
        }
    }
    let wanted: BTreeSet<&Step<'_>> = config_steps.iter().flatten().collect();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let mut rest = live_steps.iter().zip(live).peekable();
    for (step, item) in config_steps.iter().zip(config) {
        let before = step.as_ref().and_then(|step| by_step.get(step));
        while let Some((other, value)) = rest.peek() {
            let shared = other.as_ref().is_some_and(|other| wanted.contains(other));
            if shared && before.is_none() {
                break;
            }
            let reached = shared && other == &step;
            if !shared {
                out.push((*value).clone());
            }
            rest.next();
            if reached {
                break;
            }
        }
        out.push(before.map_or_else(|| item.clone(), |old| merge(node.element(), old, item)));
    }
    let left = rest.filter(|(step, _)| step.as_ref().is_none_or(|step| !wanted.contains(step)));
    out.extend(left.map(|(_, value)| value.clone()));
    out
}
