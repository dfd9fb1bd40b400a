//! Which form a value is merged in: its type decides, or the value itself where nothing is known.

use crate::schema::{Atom, Keys, ListType, Node, Relation, Scalar};
use serde_json::Value;

/// The form.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form<'s> {
    /// Compared and replaced as a whole.
    Leaf,
    /// An object that merges field by field.
    Fields,
    /// A list whose elements have an identity.
    Elements(ListType, Keys<'s>),
}

/// The form in which the given values of one place are merged.
pub(super) fn form<'s>(node: Node<'s>, one: Option<&Value>, other: Option<&Value>) -> Form<'s> {
    let is_object = |value: Option<&Value>| value.is_none_or(|v| v.is_object() || v.is_null());
    let is_list = |value: Option<&Value>| value.is_none_or(|v| v.is_array() || v.is_null());
    match node.atom() {
        Atom::Scalar(_) | Atom::Map(Relation::Atomic) | Atom::List(ListType::Atomic, _) => {
            Form::Leaf
        }
        Atom::Map(Relation::Separable) if is_object(one) && is_object(other) => Form::Fields,
        Atom::List(kind, keys) if is_list(one) && is_list(other) => Form::Elements(kind, keys),
        Atom::Map(_) | Atom::List(..) => Form::Leaf,
        Atom::Unknown => {
            let objects = is_object(one) && is_object(other);
            let some = [one, other].into_iter().flatten().any(Value::is_object);
            if objects && some {
                Form::Fields
            } else {
                Form::Leaf
            }
        }
    }
}

/// Whether the value is absent, null or without content.
pub(super) fn is_void(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_)) => false,
    }
}

/// Whether a scalar type allows the value; `Err` says what was expected.
pub(super) fn allows(scalar: Scalar, value: &Value) -> Result<(), String> {
    let fits = match scalar {
        Scalar::Number => value.is_number(),
        Scalar::Text => value.is_string(),
        Scalar::Bool => value.is_boolean(),
        Scalar::Any => !value.is_object() && !value.is_array(),
    };
    if fits || value.is_null() {
        return Ok(());
    }
    Err(match scalar {
        Scalar::Number => format!("expected numeric (int or float), got {}", go_type(value)),
        Scalar::Text => format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            go_value(value)
        ),
        Scalar::Bool => format!("expected boolean, got &{{{}}}", go_plain(value)),
        Scalar::Any => format!("expected any scalar, got &{{{}}}", go_plain(value)),
    })
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn go_value(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => format!("{}{value}", go_type(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// The value as upstream's messages print it.
pub(crate) fn go_plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_plain).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let mut fields: Vec<String> = map
                .iter()
                .map(|(name, value)| format!("{name}:{}", go_plain(value)))
                .collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        Value::Null => "<nil>".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}
