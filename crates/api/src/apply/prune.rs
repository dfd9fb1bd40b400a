//! What an applier once set and no longer mentions goes, unless somebody else owns it.

use super::extract::set_of;
use super::set::Set;
use super::shape::{Form, form};
use super::step::{Step, element};
use crate::schema::Node;
use serde_json::{Map, Value};

/// The object without the paths of `gone` and what lies below them. Objects and lists that lose
/// everything become null.
pub fn remove(node: Node<'_>, value: &Value, gone: &Set<'_>) -> Value {
    match (form(node, Some(value), None), value) {
        (Form::Fields, Value::Object(map)) if !map.is_empty() => {
            let mut left = Map::with_capacity(map.len());
            for (name, value) in map {
                let child = node.child(name).unwrap_or(Node::Unknown);
                if let Some(kept) = survivor(child, value, gone.get(&Step::field(name))) {
                    left.insert(name.clone(), kept);
                }
            }
            if left.is_empty() {
                Value::Null
            } else {
                Value::Object(left)
            }
        }
        (Form::Elements(kind, keys), Value::Array(items)) if !items.is_empty() => {
            let mut left = Vec::with_capacity(items.len());
            for item in items {
                let step = element(node, kind, keys, item).ok();
                let below = step.and_then(|step| gone.get(&step));
                left.extend(survivor(node.element(), item, below));
            }
            if left.is_empty() {
                Value::Null
            } else {
                Value::Array(left)
            }
        }
        (Form::Leaf | Form::Fields | Form::Elements(..), _) => value.clone(),
    }
}

fn survivor(node: Node<'_>, value: &Value, gone: Option<&Set<'_>>) -> Option<Value> {
    match gone {
        None => Some(value.clone()),
        Some(set) if set.member => None,
        Some(set) => Some(remove(node, value, set)),
    }
}

/// `merged` without what only `last`, the applier's previous set, owned. `owned` is everything
/// that anyone owns now, the applier's new set included.
pub fn prune(node: Node<'_>, merged: &Value, last: &Set<'_>, owned: &Set<'_>) -> Value {
    if last.is_empty() {
        return merged.clone();
    }
    let last = with_declared(node, last);
    let all = with_declared(node, &set_of(node, merged));
    let pruned = remove(node, merged, &last);
    let kept = with_declared(node, &set_of(node, &pruned)).union(&with_declared(node, owned));
    // Second thoughts: what others own comes back, and what the applier never owned does too.
    let gone = all.difference(&kept).intersection(&last);
    remove(node, merged, &gone)
}

/// The set with every declared field on the way to a member as a member: a set names leaves, but
/// an object without owned leaves is to go as a whole.
fn with_declared<'a>(node: Node<'_>, set: &Set<'a>) -> Set<'a> {
    let mut result = set.clone();
    for (step, child) in &mut result.children {
        let (below, declared) = match step {
            Step::Field(name) => {
                let field = node.field(name);
                (field.or_else(|| node.values()), field.is_some())
            }
            Step::Element(_) => (Some(node.element()), false),
        };
        let whole = child.children.is_empty();
        if !whole {
            *child = with_declared(below.unwrap_or(Node::Unknown), child);
        }
        child.member |= declared;
    }
    result
}
