//! Horizontal pod autoscalers; the cells read the stored (`v2`) form and the served `v1` form.

use super::{AGE, NAME, age, count, text};
use crate::kind::Column;
use crate::{convert, meta};
use jiff::Timestamp;
use plimsoll_quantity::Quantity;
use serde_json::Value;
use std::borrow::Cow;

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    text("Reference"),
    text("Targets"),
    text("MinPods"),
    text("MaxPods"),
    text("Replicas"),
    AGE,
];

const SHOWN: usize = 2;

pub(super) fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let hpa = if meta::text(object, &["apiVersion"]) == "autoscaling/v1" {
        Cow::Owned((convert::AUTOSCALER.to_stored)(object.clone()))
    } else {
        Cow::Borrowed(object)
    };
    let min = meta::integer(&hpa, &["spec", "minReplicas"]);
    vec![
        meta::name(&hpa).into(),
        reference(&hpa).into(),
        targets(&hpa).into(),
        min.map_or_else(|| "<unset>".into(), |min| min.to_string().into()),
        // Parity: numbers in columns of text.
        count(&hpa, &["spec", "maxReplicas"]).into(),
        count(&hpa, &["status", "currentReplicas"]).into(),
        age(&hpa, now),
    ]
}

/// What is scaled, as `Deployment/web`.
pub(crate) fn reference(hpa: &Value) -> String {
    let of_target = |key: &str| meta::text(hpa, &["spec", "scaleTargetRef", key]);
    format!("{}/{}", of_target("kind"), of_target("name"))
}

/// Each metric: current / target.
pub(crate) fn targets(hpa: &Value) -> String {
    let specs = meta::list(hpa, &["spec", "metrics"]);
    let statuses = meta::list(hpa, &["status", "currentMetrics"]);
    if specs.is_empty() {
        return "<none>".into();
    }
    let shown: Vec<String> = specs
        .iter()
        .enumerate()
        .take(SHOWN)
        .map(|(index, spec)| metric(spec, statuses.get(index)))
        .collect();
    let text = shown.join(", ");
    match specs.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} + {more} more..."),
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (field, averaged) = match meta::text(spec, &["type"]) {
        "Resource" => ("resource", false),
        "ContainerResource" => ("containerResource", false),
        "Pods" => ("pods", false),
        "Object" => ("object", true),
        "External" => ("external", true),
        _ => return "<unknown type>".into(),
    };
    let Some(source) = spec.get(field) else {
        return "<unknown type>".into();
    };
    let current = status.and_then(|status| meta::at(status, &[field, "current"]));
    if field == "pods" {
        let target = quantity(source, &["target", "averageValue"]);
        return format!(
            "{}/{}",
            amount(current, "averageValue"),
            target.unwrap_or("0".into())
        );
    }
    if averaged {
        return total(source, current, field);
    }
    let name = meta::text(source, &["name"]);
    if let Some(target) = quantity(source, &["target", "averageValue"]) {
        return format!("{name}: {}/{target}", amount(current, "averageValue"));
    }
    let percent = |value: Option<i64>, missing: &str| {
        value.map_or_else(|| missing.to_owned(), |value| format!("{value}%"))
    };
    let target = percent(
        meta::integer(source, &["target", "averageUtilization"]),
        "<auto>",
    );
    let now = current.and_then(|current| meta::integer(current, &["averageUtilization"]));
    format!("{name}: {}/{target}", percent(now, "<unknown>"))
}

/// Object and External metrics. Parity: which number is shown follows the target's fields for
/// External and the target's type for Object.
fn total(source: &Value, current: Option<&Value>, field: &str) -> String {
    let average = quantity(source, &["target", "averageValue"]);
    let by_average = match field {
        "object" => meta::text(source, &["target", "type"]) == "AverageValue",
        _ => average.is_some(),
    };
    if by_average {
        let target = average.unwrap_or_else(|| "<auto>".into());
        return format!("{}/{target} (avg)", amount(current, "averageValue"));
    }
    let target = quantity(source, &["target", "value"]).unwrap_or_else(|| "<auto>".into());
    format!("{}/{target}", amount(current, "value"))
}

fn amount(current: Option<&Value>, key: &str) -> String {
    current
        .and_then(|current| quantity(current, &[key]))
        .unwrap_or_else(|| "<unknown>".into())
}

/// The quantity at a path in canonical form; the text itself if it is none.
fn quantity(object: &Value, path: &[&str]) -> Option<String> {
    match meta::at(object, path)? {
        Value::String(text) => {
            let parsed = text.parse::<Quantity>();
            Some(parsed.map_or_else(|_| text.clone(), |quantity| quantity.to_string()))
        }
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
