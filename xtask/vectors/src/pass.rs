//! One whole pass.

use crate::differ::Outcome;
use crate::input::{Vector, read};
use anyhow::{Context, Result};
use plimsoll_api::exposition::{Exposition, Page};
use plimsoll_controllers::horizontal::{Metrics, Pass, wire};
use plimsoll_controllers::pods::Selector;
use plimsoll_engine::horizontal::{
    Decision, Event, Observed, Scale, Selection, Spec, Status, Step, decide, render, replay,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Types of metrics that have a label of their own.
const TYPES: [&str; 5] = [
    "Resource",
    "ContainerResource",
    "Pods",
    "Object",
    "External",
];

/// `reconcile`: everything one pass reads and writes.
pub(crate) fn run(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    let hpa = vector.get("hpa").context("no hpa")?;
    let scale = vector.input.pointer("/scale/object").context("no scale")?;
    let observed = observed(&vector, hpa, wire::scale(scale))?;
    let decision = decide(&observed);
    let mut outcome = Outcome {
        trace: render(&decision.trace),
        ..Outcome::default()
    };
    compare(&mut outcome, &vector, &observed, &decision);
    if let Some(again) = replay(&decision.trace) {
        outcome.check("replayed", again, &json!(decision.replicas));
    }
    Ok(outcome)
}

/// What one pass sees.
pub(crate) fn observed(vector: &Vector, hpa: &Value, scale: Scale) -> Result<Observed> {
    let part = |key: &str| hpa.get(key).cloned().unwrap_or_else(|| json!({}));
    let spec: Spec = read(part("spec")).context("hpa.spec")?;
    let metrics = spec.metrics.iter();
    let readings = metrics.map(|metric| vector.reading(metric)).collect();
    let selector = match &scale.selector {
        Selection::Valid(text) => Some(Arc::clone(text)),
        Selection::Missing | Selection::Invalid(_) => None,
    };
    let pods = match &selector {
        Some(selector) => vector.pods(selector)?,
        None => Vec::new(),
    };
    // The group version is refused before anything is asked for.
    let bad_version = spec.scale_target_ref.api_version.matches('/').count() > 1;
    let version = &spec.scale_target_ref.api_version;
    let refusal = format!(
        "invalid API version in scale target reference: unexpected GroupVersion string: {version}"
    );
    Ok(Observed {
        now: vector.now()?,
        settings: vector.settings(),
        namespace: "default".into(),
        status: read(part("status")).context("hpa.status")?,
        scale: if bad_version { Err(refusal) } else { Ok(scale) },
        pods,
        rivals: rivals(vector, selector.as_deref())?,
        readings,
        memory: Some(vector.memory()?).filter(|_| vector.is_known()),
        spec: Arc::new(spec),
    })
}

/// The other autoscalers that select one of the selected pods.
fn rivals(vector: &Vector, selector: Option<&str>) -> Result<Vec<String>> {
    let mut rivals = Vec::new();
    let Some(selector) = selector else {
        return Ok(rivals);
    };
    let selector = Selector::parse(selector)?;
    let pods = vector.get("pods").and_then(Value::as_array);
    let others = vector.get("otherHpas").and_then(Value::as_array);
    for other in others.into_iter().flatten() {
        let text = |key| other.get(key).and_then(Value::as_str).unwrap_or_default();
        let theirs = Selector::parse(text("selector"))?;
        for pod in pods.into_iter().flatten() {
            let labels = wire::pod(pod)?.meta.labels;
            if selector.matches(&labels) && theirs.matches(&labels) {
                rivals.push(format!("{}/{}", text("namespace"), text("name")));
                break;
            }
        }
    }
    Ok(rivals)
}

fn compare(outcome: &mut Outcome, vector: &Vector, observed: &Observed, decision: &Decision) {
    let (expected, status) = (vector.expected, &decision.status);
    outcome.check_given("error", decision.error.is_some(), expected);
    let writes = decision.write.iter().map(|count| json!(count)).collect();
    outcome.check_list("scaleWrites", writes, expected);
    outcome.check_given("statusCurrentReplicas", status.current_replicas, expected);
    outcome.check_given("statusDesiredReplicas", status.desired_replicas, expected);
    outcome.check_given("lastScaleTimeIsNow", decision.write.is_some(), expected);
    outcome.check_given("statusWritten", *status != observed.status, expected);
    let unreadable = |step: &Step| matches!(step, Step::Unreadable { .. });
    if !decision.trace.iter().any(unreadable) {
        let wanted = expected.get("currentMetrics").unwrap_or(&Value::Null);
        outcome.check_tree("currentMetrics", &json!(status.current_metrics), wanted);
    }
    let conditions = conditions(status, &observed.status);
    outcome.check_given("conditions", conditions, expected);
    let events = decision.events.iter().map(event).collect();
    outcome.check_list("events", events, expected);
    let memory = decision.memory.clone().unwrap_or_default();
    outcome.check_given("historyAfter", json!(memory), expected);
    labels(outcome, expected, observed, decision);
}

/// The labels under which the controller's own metrics count the pass.
fn labels(outcome: &mut Outcome, expected: &Value, observed: &Observed, decision: &Decision) {
    let metrics = Metrics::default();
    metrics.passed(&Pass {
        observed,
        decision,
        wrote: decision.write.is_some(),
        took: Duration::ZERO,
        decided_in: Duration::ZERO,
        read_in: &[],
        since_observed: Duration::ZERO,
    });
    let mut page = Page::default();
    metrics.expose(&mut page);
    let text = page.into_text();
    let pass = series(&text, "reconciliations_total");
    outcome.check_given("reconciliationLabels", pass.first().cloned(), expected);
    let wanted = expected.get("metricLabels").and_then(Value::as_array);
    let mut wanted = wanted.cloned().unwrap_or_default();
    for labels in &mut wanted {
        // A type nobody knows has no name of its own here: labels are bounded.
        let kind = labels
            .get_mut("metricType")
            .filter(|kind| !TYPES.contains(&kind.as_str().unwrap_or_default()));
        if let Some(kind) = kind {
            *kind = json!("");
        }
    }
    let mut got = series(&text, "metric_computation_total");
    got.sort_by_key(Value::to_string);
    wanted.sort_by_key(in_order);
    let wanted: Vec<Value> = wanted.iter().map(ordered).collect();
    outcome.check("metricLabels", got, &json!(wanted));
}

/// The labels of a counter's series, each as often as it was counted.
fn series(text: &str, counter: &str) -> Vec<Value> {
    let prefix = format!("horizontal_pod_autoscaler_controller_{counter}{{");
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((labels, count)) = line
            .strip_prefix(&prefix)
            .and_then(|rest| rest.split_once("} "))
        else {
            continue;
        };
        let value = |key: &str| {
            let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.trim_matches('"'))
        };
        let mut shown = json!({ "action": value("action"), "error": value("error") });
        if let (Some(kind), Some(map)) = (value("metric_type"), shown.as_object_mut()) {
            map.insert("metricType".into(), json!(kind));
        }
        let count = count.parse().unwrap_or(1);
        found.extend(std::iter::repeat_n(shown, count));
    }
    found
}

/// Labels in the order in which ours are shown, so that both lists sort alike.
fn ordered(labels: &Value) -> Value {
    let of = |key: &str| labels.get(key).cloned().unwrap_or_default();
    json!({ "action": of("action"), "error": of("error"), "metricType": of("metricType") })
}

fn in_order(labels: &Value) -> String {
    ordered(labels).to_string()
}

/// Conditions as recorded: with whether each flipped, without times and messages.
pub(crate) fn conditions(status: &Status, before: &Status) -> Value {
    let shown = status.conditions.iter().map(|condition| {
        let mut old = before.conditions.iter();
        let old = old.find(|old| old.kind == condition.kind);
        let flipped =
            old.is_none_or(|old| old.last_transition_time != condition.last_transition_time);
        json!({ "type": condition.kind, "status": condition.status, "reason": condition.reason,
                "transitioned": flipped })
    });
    Value::Array(shown.collect())
}

/// An event as recorded: of its message only the size and the phrase of a rescale.
fn event(event: &Event) -> Value {
    let mut shown = json!({ "type": event.kind, "reason": event.reason });
    let sized = event.message.strip_prefix("New size: ");
    let sized = sized.and_then(|rest| rest.split_once("; reason: "));
    if let (Some((size, cause)), Some(map)) = (sized, shown.as_object_mut()) {
        let cause = cause.split("; error").next().unwrap_or_default();
        map.insert("newSize".into(), json!(size.parse::<i32>().ok()));
        map.insert("cause".into(), json!(cause));
    }
    shown
}
