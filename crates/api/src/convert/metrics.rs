//! One metric of an autoscaler in the `v1` annotation's shape and in `v2`'s.

use crate::meta;
use serde_json::{Map, Value, json};

/// Whether a metric is asked for or reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricForm {
    Spec,
    Status,
}

impl MetricForm {
    /// `target` or `current`: the v2 field and the stem of v1's.
    fn stem(self) -> &'static str {
        match self {
            Self::Spec => "target",
            Self::Status => "current",
        }
    }
}

const FIELDS: [(&str, &str); 5] = [
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
    ("Pods", "pods"),
    ("Object", "object"),
    ("External", "external"),
];

fn field_of(metric: &Value) -> Option<(&'static str, &Value)> {
    let kind = meta::text(metric, &["type"]);
    let (_, field) = FIELDS.iter().find(|(name, _)| *name == kind)?;
    metric.get(*field).map(|source| (*field, source))
}

/// (v1 name of the metric's selector, v1 names of value and average).
fn names(field: &str, form: MetricForm) -> (&'static str, [&'static str; 2]) {
    match (field, form) {
        ("object", MetricForm::Spec) => ("selector", ["targetValue", "averageValue"]),
        ("object", MetricForm::Status) => ("selector", ["currentValue", "averageValue"]),
        ("external", MetricForm::Spec) => ("metricSelector", ["targetValue", "targetAverageValue"]),
        ("external", MetricForm::Status) => {
            ("metricSelector", ["currentValue", "currentAverageValue"])
        }
        (_, MetricForm::Spec) => ("selector", ["targetValue", "targetAverageValue"]),
        (_, MetricForm::Status) => ("selector", ["currentValue", "currentAverageValue"]),
    }
}

fn utilization(form: MetricForm) -> &'static str {
    match form {
        MetricForm::Spec => "targetAverageUtilization",
        MetricForm::Status => "currentAverageUtilization",
    }
}

/// A v2 metric in v1's shape; unknown types keep only their type.
pub(super) fn to_v1(metric: &Value, form: MetricForm) -> Value {
    let kind = metric.get("type").cloned().unwrap_or_else(|| "".into());
    let Some((field, source)) = field_of(metric) else {
        return json!({"type": kind});
    };
    let (selector, [value, average]) = names(field, form);
    let mut out = Map::new();
    let amounts = source.get(form.stem()).unwrap_or(&Value::Null);
    for (old, new) in [
        ("name", "name"),
        ("container", "container"),
        ("target", "describedObject"),
    ] {
        copy(source, new, &mut out, old);
    }
    if let Some(identifier) = source.get("metric") {
        copy(identifier, "name", &mut out, "metricName");
        copy(identifier, "selector", &mut out, selector);
    }
    copy(amounts, "value", &mut out, value);
    copy(amounts, "averageValue", &mut out, average);
    copy(amounts, "averageUtilization", &mut out, utilization(form));
    // The raw value has no way to be absent in v1's object metrics.
    if field == "object" {
        out.entry(value).or_insert_with(|| "0".into());
    }
    json!({"type": kind, field: out})
}

/// A v1 metric in v2's shape; unknown types keep only their type.
pub(super) fn to_v2(metric: &Value, form: MetricForm) -> Value {
    let kind = metric.get("type").cloned().unwrap_or_else(|| "".into());
    let Some((field, source)) = field_of(metric) else {
        return json!({"type": kind});
    };
    let (selector, [value, average]) = names(field, form);
    let mut out = Map::new();
    for (old, new) in [("name", "name"), ("container", "container")] {
        copy(source, old, &mut out, new);
    }
    if field == "object" {
        copy(source, "target", &mut out, "describedObject");
    }
    if source.get("metricName").is_some() {
        let mut identifier = Map::new();
        copy(source, "metricName", &mut identifier, "name");
        copy(source, selector, &mut identifier, "selector");
        out.insert("metric".into(), identifier.into());
    }
    let mut amounts = Map::new();
    copy(source, value, &mut amounts, "value");
    copy(source, average, &mut amounts, "averageValue");
    copy(
        source,
        utilization(form),
        &mut amounts,
        "averageUtilization",
    );
    let has_average = amounts.contains_key("averageValue");
    if field == "object" && has_average && amounts.get("value").is_some_and(|zero| zero == "0") {
        amounts.shift_remove("value");
    }
    if form == MetricForm::Spec {
        let target = if amounts.contains_key("averageUtilization") {
            "Utilization"
        } else if has_average {
            "AverageValue"
        } else {
            "Value"
        };
        amounts.insert("type".into(), target.into());
    }
    out.insert(form.stem().into(), amounts.into());
    json!({"type": kind, field: out})
}

fn copy(from: &Value, key: &str, into: &mut Map<String, Value>, name: &str) {
    if let Some(value) = from.get(key).filter(|value| !value.is_null()) {
        into.insert(name.into(), value.clone());
    }
}
