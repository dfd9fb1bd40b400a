//! Explanations and decisions as JSON. Sentences are made here, when somebody reads them.

use super::api::explanation_kind;
use super::journal::Entry;
use super::{Record, Scaler};
use crate::explain::journal::{Span, created};
use crate::explain::query::API_VERSION;
use crate::horizontal::key::ScalerKey;
use plimsoll_engine::horizontal::{Decision, Observed, Reading, Selection, Step, render, summary};
use serde_json::{Value, json};
use std::sync::Arc;

/// Changes listed in an explanation.
const CHANGES: usize = 32;

/// The last decision with its inputs, what was found around it, and what was changed lately.
pub(super) fn explanation(key: &ScalerKey, told: &Scaler) -> Value {
    let Record {
        observed,
        decision,
        findings,
    } = &*told.last;
    let mut shown = describe(
        (&key.object.namespace, &key.object.name),
        observed,
        decision,
    );
    if let Some(map) = shown.as_object_mut() {
        map.insert("kind".into(), json!(explanation_kind(key.kind)));
        map.insert("involvedObject".into(), involved(key));
        map.insert("since".into(), json!(told.span.first));
        map.insert("passes".into(), json!(told.span.passes));
        map.insert("findings".into(), json!(findings));
        map.insert("changes".into(), changes(told).into());
    }
    shown
}

/// One decision of the autoscaler (namespace, name) in the form of the API.
pub fn describe(
    (namespace, name): (&str, &str),
    observed: &Observed,
    decision: &Decision,
) -> Value {
    json!({
        "kind": "Explanation",
        "apiVersion": API_VERSION,
        "metadata": {
            "name": name, "namespace": namespace,
            "creationTimestamp": created(observed.now),
        },
        "time": observed.now,
        "decision": {
            "replicas": decision.replicas,
            "write": decision.write,
            "reason": decision.reason,
            "error": decision.error,
            "conditions": decision.status.conditions,
        },
        "summary": summary(&decision.trace),
        "sentences": render(&decision.trace),
        "steps": decision.trace,
        "inputs": inputs(observed),
    })
}

fn involved(key: &ScalerKey) -> Value {
    json!({
        "apiVersion": key.kind.api_version(), "kind": key.kind.kind(),
        "namespace": key.object.namespace, "name": key.object.name,
    })
}

fn changes(told: &Scaler) -> Vec<Value> {
    let past = told
        .journal
        .entries()
        .map(|entry| (entry.span, entry.from, entry.wrote, &entry.reason));
    let decision = &told.last.decision;
    let from = decision.status.current_replicas;
    let all = past.chain([(told.span, from, decision.write, &decision.reason)]);
    let mut changes: Vec<Value> = all
        .filter_map(|(span, from, wrote, reason)| {
            Some(json!({ "time": span.last, "from": from, "to": wrote?, "reason": reason }))
        })
        .collect();
    let surplus = changes.len().saturating_sub(CHANGES);
    drop(changes.drain(..surplus));
    changes
}

/// A decision of the past.
pub(super) fn past(key: &ScalerKey, entry: &Entry) -> Value {
    let made = Made {
        span: &entry.span,
        from: entry.from,
        wrote: entry.wrote,
        reason: &entry.reason,
        error: entry.error.as_deref(),
        trace: &entry.trace,
    };
    made.decision(key)
}

/// The decision in force.
pub(super) fn current(key: &ScalerKey, told: &Scaler) -> Value {
    let decision = &told.last.decision;
    let made = Made {
        span: &told.span,
        from: decision.status.current_replicas,
        wrote: decision.write,
        reason: &decision.reason,
        error: decision.error.as_deref(),
        trace: &decision.trace,
    };
    made.decision(key)
}

struct Made<'a> {
    span: &'a Span,
    from: i32,
    wrote: Option<i32>,
    reason: &'a str,
    error: Option<&'a str>,
    trace: &'a [Step],
}

impl Made<'_> {
    fn decision(&self, key: &ScalerKey) -> Value {
        let object = (&*key.object.namespace, &*key.object.name);
        let mut shown = self.span.head(object, involved(key));
        shown.insert("from".into(), json!(self.from));
        shown.insert("to".into(), json!(self.wrote.unwrap_or(self.from)));
        shown.insert("wrote".into(), json!(self.wrote.is_some()));
        shown.insert("reason".into(), json!(self.reason));
        shown.insert("error".into(), json!(self.error));
        shown.insert("summary".into(), json!(summary(self.trace)));
        shown.insert("sentences".into(), json!(render(self.trace)));
        shown.insert("steps".into(), json!(self.trace));
        Value::Object(shown)
    }
}

fn inputs(observed: &Observed) -> Value {
    let scale = match &observed.scale {
        Ok(scale) => json!({
            "specReplicas": scale.spec_replicas,
            "statusReplicas": scale.status_replicas,
            "selector": match &scale.selector {
                Selection::Valid(text) => json!(text),
                Selection::Missing => Value::Null,
                Selection::Invalid(why) => json!({ "error": why }),
            },
        }),
        Err(error) => json!({ "error": error }),
    };
    let readings: Vec<Value> = observed.readings.iter().map(reading).collect();
    let pods: Vec<&Arc<str>> = observed.pods.iter().map(|pod| &pod.name).collect();
    json!({ "scale": scale, "pods": pods, "readings": readings, "memory": observed.memory })
}

fn reading(reading: &Result<Reading, String>) -> Value {
    match reading {
        Ok(Reading::PerPod(samples)) => {
            let samples = samples.iter().map(|sample| {
                json!({ "pod": sample.pod, "milli": sample.value, "timestamp": sample.timestamp })
            });
            json!({ "pods": samples.collect::<Vec<_>>() })
        }
        Ok(Reading::Single(milli)) => json!({ "milli": milli }),
        Ok(Reading::Series(series)) => json!({ "series": series }),
        Err(error) => json!({ "error": error }),
    }
}
