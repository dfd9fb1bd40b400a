//! Selectors and labels in their string form.

use crate::meta;
use serde_json::Value;
use std::collections::BTreeMap;

/// A label selector (`matchLabels`, `matchExpressions`) in its string form, sorted by key, e.g.
/// `app=web,tier in (a,b),!legacy`. Empty for a selector that is absent or selects everything.
pub fn selector_text(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return String::new();
    };
    let mut parts: Vec<(String, String)> = Vec::new();
    if let Some(labels) = selector.get("matchLabels").and_then(Value::as_object) {
        for (key, value) in labels {
            parts.push((
                key.clone(),
                format!("{key}={}", value.as_str().unwrap_or_default()),
            ));
        }
    }
    for expression in meta::list(selector, &["matchExpressions"]) {
        let key = meta::text(expression, &["key"]);
        let mut values: Vec<&str> = meta::list(expression, &["values"])
            .iter()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let text = match meta::text(expression, &["operator"]) {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), text));
    }
    parts.sort_by(|left, right| left.0.cmp(&right.0));
    parts
        .into_iter()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join(",")
}

/// A label map as `a=b,c=d`, sorted by key; empty if absent.
pub fn labels_text(labels: Option<&Value>) -> String {
    let Some(labels) = labels.and_then(Value::as_object) else {
        return String::new();
    };
    let sorted: BTreeMap<&str, &str> = labels
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
        .collect();
    sorted
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(",")
}

/// The selector as a cell: `<none>` if it is absent or empty.
pub(super) fn cell(selector: Option<&Value>) -> Value {
    // ReplicationControllers have a plain map.
    let is_structured = selector
        .and_then(Value::as_object)
        .is_some_and(|map| map.contains_key("matchLabels") || map.contains_key("matchExpressions"));
    let text = if is_structured {
        selector_text(selector)
    } else {
        labels_text(selector)
    };
    super::or_none(&text)
}
