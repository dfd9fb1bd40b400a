//! The set of paths an object has something at.

use super::set::Set;
use super::shape::{Form, form, is_void};
use super::step::{Step, element};
use crate::schema::Node;
use serde_json::Value;

/// What an applied configuration owns: its leaves, the elements of its lists and the keys of its
/// maps. Objects with declared fields are not owned themselves unless they are empty.
pub fn set_of<'a>(node: Node<'_>, value: &'a Value) -> Set<'a> {
    let mut set = Set::default();
    match (form(node, Some(value), None), value) {
        (Form::Leaf, _) => return Set::here(),
        (Form::Fields, Value::Object(map)) => {
            for (name, value) in map {
                let declared = node.field(name);
                let child = declared.or_else(|| node.values()).unwrap_or(Node::Unknown);
                let mut below = set_of(child, value);
                let bare = matches!(value, Value::Object(_) | Value::Null) && is_void(Some(value));
                if bare || declared.is_none() {
                    below.member = true;
                }
                set.push(Step::field(name), below);
            }
        }
        (Form::Elements(kind, keys), Value::Array(items)) => {
            for item in items {
                let Ok(step) = element(node, kind, keys, item) else {
                    continue;
                };
                let mut below = set_of(node.element(), item);
                below.member = true;
                set.push(step, below);
            }
        }
        (Form::Fields | Form::Elements(..), _) => {}
    }
    set.tidy();
    set
}
