//! Autoscalers between `autoscaling/v1` and `v2`; what v1 cannot say rides in annotations.

use super::metrics::{self, MetricForm};
use crate::meta;
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
/// Only stripped, never written: the tolerance rides in the behavior.
const STRIPPED: [&str; 2] = [
    "autoscaling.alpha.kubernetes.io/scale-down-tolerance",
    "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
];

/// Field names of the behavior, in the order they are written.
const BEHAVIOR_FIELDS: [&str; 9] = [
    "scaleUp",
    "scaleDown",
    "stabilizationWindowSeconds",
    "selectPolicy",
    "policies",
    "tolerance",
    "type",
    "value",
    "periodSeconds",
];

/// Upstream's fields of one direction.
const RULES: [&str; 4] = [
    "StabilizationWindowSeconds",
    "SelectPolicy",
    "Policies",
    "Tolerance",
];

/// `v1` to `v2`. An annotation that cannot be read is ignored.
pub(super) fn to_v2(mut hpa: Value) -> Value {
    meta::as_object(&mut hpa).insert("apiVersion".into(), "autoscaling/v2".into());
    let annotation = |key: &str| -> Option<Value> {
        serde_json::from_str(meta::text(&hpa, &["metadata", "annotations", key])).ok()
    };
    let annotated = annotation(METRICS);
    let current = annotation(CURRENT_METRICS);
    let conditions = annotation(CONDITIONS);
    let behavior = annotation(BEHAVIOR).filter(Value::is_object);
    strip_annotations(&mut hpa);
    let cpu = take(&mut hpa, "spec", "targetCPUUtilizationPercentage");
    let current_cpu = take(&mut hpa, "status", "currentCPUUtilizationPercentage");
    let mut list = converted(annotated.as_ref(), MetricForm::Spec);
    list.extend(cpu.map(|percent| {
        cpu_metric(
            "target",
            &json!({
                "type": "Utilization", "averageUtilization": percent,
            }),
        )
    }));
    if !list.is_empty() {
        meta::object_mut(&mut hpa, &["spec"]).insert("metrics".into(), list.into());
    }
    if let Some(behavior) = behavior {
        let lowered = recased(&behavior, Casing::Wire);
        meta::object_mut(&mut hpa, &["spec"]).insert("behavior".into(), lowered);
    }
    if hpa.get("status").is_none_or(Value::is_null) {
        return hpa;
    }
    let mut list = converted(current.as_ref(), MetricForm::Status);
    if list.is_empty() {
        list.extend(current_cpu.map(|percent| {
            cpu_metric(
                "current",
                &json!({
                    "averageUtilization": percent,
                }),
            )
        }));
    }
    let status = meta::object_mut(&mut hpa, &["status"]);
    status.insert(
        "currentMetrics".into(),
        if list.is_empty() {
            Value::Null
        } else {
            list.into()
        },
    );
    if let Some(conditions) = conditions.filter(Value::is_array) {
        status.insert("conditions".into(), conditions);
    }
    hpa
}

/// `v2` to `v1`.
pub(super) fn from_v2(mut hpa: Value) -> Value {
    meta::as_object(&mut hpa).insert("apiVersion".into(), "autoscaling/v1".into());
    strip_annotations(&mut hpa);
    let metrics = take(&mut hpa, "spec", "metrics");
    let behavior = take(&mut hpa, "spec", "behavior");
    let current = take(&mut hpa, "status", "currentMetrics");
    let conditions = take(&mut hpa, "status", "conditions");
    let mut others = Vec::new();
    let mut cpu = None;
    for metric in metrics.iter().filter_map(Value::as_array).flatten() {
        let percent = cpu_percent(metric, "target");
        if cpu.is_none() && percent.is_some() {
            cpu = percent;
        } else {
            others.push(metrics::to_v1(metric, MetricForm::Spec));
        }
    }
    if let Some(percent) = cpu {
        let spec = meta::object_mut(&mut hpa, &["spec"]);
        spec.insert("targetCPUUtilizationPercentage".into(), percent.into());
    }
    annotate(&mut hpa, METRICS, &others);
    let current: Vec<Value> = current
        .as_ref()
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if let Some(percent) = current
        .iter()
        .find_map(|metric| cpu_percent(metric, "current"))
    {
        let status = meta::object_mut(&mut hpa, &["status"]);
        status.insert("currentCPUUtilizationPercentage".into(), percent.into());
    }
    let old: Vec<Value> = current
        .iter()
        .map(|metric| metrics::to_v1(metric, MetricForm::Status))
        .collect();
    annotate(&mut hpa, CURRENT_METRICS, &old);
    let conditions = conditions
        .as_ref()
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    annotate(&mut hpa, CONDITIONS, &conditions);
    if let Some(behavior) = behavior.filter(Value::is_object) {
        let text = complete(recased(&behavior, Casing::Internal)).to_string();
        meta::object_mut(&mut hpa, &["metadata", "annotations"])
            .insert(BEHAVIOR.into(), text.into());
    }
    if let Some(status) = hpa.get_mut("status").and_then(Value::as_object_mut) {
        // v1 prints both counts even when they are zero.
        for key in ["currentReplicas", "desiredReplicas"] {
            status.entry(key).or_insert_with(|| 0.into());
        }
    }
    hpa
}

fn converted(list: Option<&Value>, form: MetricForm) -> Vec<Value> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.map(|metric| metrics::to_v2(metric, form)).collect()
}

fn cpu_metric(key: &str, amount: &Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", key: amount}})
}

/// The utilization of a cpu Resource metric's target or current value.
fn cpu_percent(metric: &Value, key: &str) -> Option<i64> {
    let is_cpu = meta::text(metric, &["type"]) == "Resource"
        && meta::text(metric, &["resource", "name"]) == "cpu";
    let percent = meta::integer(metric, &["resource", key, "averageUtilization"]);
    percent.filter(|_| is_cpu)
}

fn take(hpa: &mut Value, section: &str, key: &str) -> Option<Value> {
    let map = hpa.get_mut(section).and_then(Value::as_object_mut)?;
    map.shift_remove(key).filter(|value| !value.is_null())
}

fn annotate(hpa: &mut Value, key: &str, list: &[Value]) {
    if !list.is_empty() {
        let text = Value::from(list).to_string();
        meta::object_mut(hpa, &["metadata", "annotations"]).insert(key.into(), text.into());
    }
}

fn strip_annotations(hpa: &mut Value) {
    let Some(metadata) = hpa.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    let Some(map) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for key in [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR]
        .iter()
        .chain(&STRIPPED)
    {
        map.shift_remove(*key);
    }
    if map.is_empty() {
        metadata.shift_remove("annotations");
    }
}

/// How the behavior's keys are written.
#[derive(Debug, Clone, Copy)]
enum Casing {
    /// `scaleUp`, in objects.
    Wire,
    /// `ScaleUp`, in the annotation, which holds upstream's internal form.
    Internal,
}

fn recased(value: &Value, casing: Casing) -> Value {
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                let known = BEHAVIOR_FIELDS
                    .iter()
                    .find(|field| field.eq_ignore_ascii_case(key));
                let name = known.map_or(key.as_str(), |field| *field);
                if let Casing::Wire = casing
                    && value.is_null()
                {
                    continue;
                }
                let name = match casing {
                    Casing::Wire => name.to_owned(),
                    Casing::Internal => capitalised(name),
                };
                out.insert(name, recased(value, casing));
            }
            Value::Object(out)
        }
        Value::Array(list) => list.iter().map(|item| recased(item, casing)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn capitalised(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map_or_else(String::new, |first| {
        first.to_ascii_uppercase().to_string() + chars.as_str()
    })
}

/// The internal form prints every field in the order of upstream's struct, absent ones as null.
fn complete(mut behavior: Value) -> Value {
    let mut directions = Map::new();
    for direction in ["ScaleUp", "ScaleDown"] {
        let mut rules = behavior.get_mut(direction).map(Value::take);
        let policies = rules.as_mut().and_then(|rules| rules.get_mut("Policies"));
        for policy in policies.and_then(Value::as_array_mut).into_iter().flatten() {
            *policy = in_order(policy, &["Type", "Value", "PeriodSeconds"]);
        }
        let rules = rules.filter(Value::is_object);
        let rules = rules.map(|mut rules| in_order(&mut rules, &RULES));
        directions.insert(direction.into(), rules.unwrap_or_default());
    }
    directions.into()
}

fn in_order(object: &mut Value, keys: &[&str]) -> Value {
    let taken = |key: &&str| {
        let value = object.get_mut(*key).map(Value::take);
        ((*key).to_owned(), value.unwrap_or_default())
    };
    keys.iter()
        .map(taken)
        .collect::<Map<String, Value>>()
        .into()
}
