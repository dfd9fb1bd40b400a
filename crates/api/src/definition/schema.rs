//! Rules in CEL, and the small schemas that come up again and again.

use serde_json::{Map, Value, json};

/// Bytes of the longest name of an object, a metric or a resource.
pub(crate) const LONGEST_NAME: u32 = 253;
/// Bytes of the longest quantity.
const LONGEST_QUANTITY: u32 = 64;
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// What a broken rule is reported as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Invalid,
    Required,
    Forbidden,
}

/// A rule about `self`.
pub(crate) fn rule(expression: &str, message: &str) -> Value {
    json!({"rule": expression, "message": message})
}

/// A rule whose violation is reported at a field below.
pub(crate) fn rule_at(field: &str, reason: Reason, expression: &str, message: &str) -> Value {
    let mut rule = json!({"rule": expression, "message": message, "fieldPath": field});
    let reason = match reason {
        Reason::Invalid => return rule,
        Reason::Required => "FieldValueRequired",
        Reason::Forbidden => "FieldValueForbidden",
    };
    if let Some(map) = rule.as_object_mut() {
        map.insert("reason".into(), reason.into());
    }
    rule
}

/// An object: its description, properties, required ones and rules.
pub(crate) fn object(
    description: &str,
    properties: Value,
    required: &[&str],
    rules: Vec<Value>,
) -> Value {
    let mut schema = Map::new();
    schema.insert("description".into(), description.into());
    schema.insert("type".into(), "object".into());
    schema.insert("properties".into(), properties);
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    if !rules.is_empty() {
        schema.insert("x-kubernetes-validations".into(), Value::Array(rules));
    }
    Value::Object(schema)
}

/// The schema with further keywords.
pub(crate) fn with(mut schema: Value, keywords: Value) -> Value {
    if let (Some(schema), Value::Object(keywords)) = (schema.as_object_mut(), keywords) {
        schema.extend(keywords);
    }
    schema
}

/// Text of any length.
pub(crate) fn plain(description: &str) -> Value {
    json!({"description": description, "type": "string"})
}

/// Text of at most so many characters.
pub(crate) fn text(description: &str, longest: u32) -> Value {
    json!({"description": description, "type": "string", "maxLength": longest})
}

/// One of a few words.
pub(crate) fn word(description: &str, allowed: &[&str]) -> Value {
    json!({"description": description, "type": "string", "enum": allowed})
}

/// A 32-bit integer that is at least so large.
pub(crate) fn count(description: &str, least: i64) -> Value {
    json!({"description": description, "type": "integer", "format": "int32", "minimum": least})
}

/// A name that can be one part of a path.
pub(crate) fn path_segment(description: &str) -> Value {
    let rules = [
        rule("self != '.'", "may not be '.'"),
        rule("self != '..'", "may not be '..'"),
        rule("!self.contains('/')", "may not contain '/'"),
        rule("!self.contains('%')", "may not contain '%'"),
    ];
    let keywords = json!({"minLength": 1, "x-kubernetes-validations": rules});
    with(text(description, LONGEST_NAME), keywords)
}

/// A quantity, as text or as an integer, that obeys a rule: how texts and integers are judged.
pub(crate) fn quantity(description: &str, (text, integer, why): (&str, &str, &str)) -> Value {
    let expression = format!("type(self) == int ? {integer} : {text}");
    with(
        any_quantity(description),
        json!({"x-kubernetes-validations": [rule(&expression, why)]}),
    )
}

/// A quantity of any sign.
pub(crate) fn any_quantity(description: &str) -> Value {
    json!({
        "description": description,
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": true,
        "pattern": QUANTITY,
        "maxLength": LONGEST_QUANTITY,
    })
}

/// A quantity above zero.
pub(crate) fn positive_quantity(description: &str) -> Value {
    let judged = (
        "quantity(self).isGreaterThan(quantity('0'))",
        "self > 0",
        "must be positive",
    );
    quantity(description, judged)
}

/// Quantities by resource.
pub(crate) fn quantities(description: &str) -> Value {
    let quantity = any_quantity("How much of it.");
    json!({"description": description, "type": "object", "additionalProperties": quantity})
}

/// The conditions of a status, one of a type.
pub(crate) fn conditions(description: &str) -> Value {
    let condition = object(
        "One fact.",
        json!({
            "type": plain("Which fact."),
            "status": word("Whether it is so.", &["True", "False", "Unknown"]),
            "reason": plain("Why, in one word."),
            "message": plain("Why, in one sentence."),
            "observedGeneration": {
                "description": "The generation of the spec that this is about.",
                "type": "integer", "format": "int64",
            },
            "lastTransitionTime": {
                "description": "When the status changed last.",
                "type": "string", "format": "date-time",
            },
        }),
        &["type", "status", "reason", "message", "lastTransitionTime"],
        Vec::new(),
    );
    json!({
        "description": description,
        "type": "array", "items": condition,
        "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
    })
}

/// A label selector. Parity: its operators are not checked here, but when it is used.
pub(crate) fn label_selector(description: &str) -> Value {
    let expression = object(
        "A requirement on one label.",
        json!({
            "key": {"description": "The label.", "type": "string"},
            "operator": {"description": "In, NotIn, Exists or DoesNotExist.", "type": "string"},
            "values": {
                "description": "What the label is compared with; none for Exists and DoesNotExist.",
                "type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "atomic",
            },
        }),
        &["key", "operator"],
        Vec::new(),
    );
    let selector = object(
        description,
        json!({
            "matchExpressions": {
                "description": "Requirements that must all be met.",
                "type": "array", "items": expression, "x-kubernetes-list-type": "atomic",
            },
            "matchLabels": {
                "description": "Labels with the value each must have.",
                "type": "object", "additionalProperties": {"type": "string"},
            },
        }),
        &[],
        Vec::new(),
    );
    with(selector, json!({"x-kubernetes-map-type": "atomic"}))
}
