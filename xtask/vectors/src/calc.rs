//! One metric on its own, as the original's calculator is called.

use crate::differ::Outcome;
use crate::input::{Vector, read};
use anyhow::{Context, Result, bail};
use jiff::SignedDuration;
use plimsoll_engine::horizontal::milli::{self, Suffixes};
use plimsoll_engine::horizontal::spec::{Behavior, Metric};
use plimsoll_engine::horizontal::{
    Answer, Observed, Reading, Sample, Scale, Selection, Spec, Status, Step, propose, render,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `calc`: the proposal of one metric.
pub(crate) fn calculation(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    let metric = vector.get("metric").context("no metric")?;
    let observed = observed(&vector, read(metric.clone()).context("metric")?)?;
    let (answer, trace) = propose(&observed, 0);
    let mut outcome = Outcome {
        trace: render(&trace),
        ..Outcome::default()
    };
    compare(&mut outcome, &vector, answer)?;
    Ok(outcome)
}

fn compare(outcome: &mut Outcome, vector: &Vector, answer: Result<Answer, String>) -> Result<()> {
    let expected = vector.expected;
    outcome.check_given("error", answer.is_err(), expected);
    match answer {
        Ok(answer) => {
            outcome.check_given("desiredReplicas", answer.replicas, expected);
            outcome.check_given("valueMilli", answer.value, expected);
            outcome.check_given("utilizationPercent", json!(answer.utilization), expected);
        }
        Err(error) => {
            if let Some(class) = expected.get("errorClass").and_then(Value::as_str) {
                let said = error.contains(words_of(class)?);
                let got = if said { class } else { error.as_str() };
                outcome.check("errorClass", got, &json!(class));
            }
        }
    }
    Ok(())
}

/// Words in the original's message by which a class of errors is known.
fn words_of(class: &str) -> Result<&'static str> {
    Ok(match class {
        "missing-request" => "missing request",
        "no-pods" => "no pods returned",
        "no-usable-metrics" => "did not receive metrics",
        other => bail!("nobody knows the class of errors {other:?}"),
    })
}

/// `group-pods`: which pods count.
pub(crate) fn groups(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    // Without a request the groups are all there is to compare.
    let target = json!({ "type": "AverageValue", "averageValue": "1" });
    let mut observed = observed(&vector, resource_metric(&vector, &target)?)?;
    // A value of a name that is no pod: groups are formed even where no pod has a value.
    let stranger = Sample {
        pod: "a stranger".into(),
        value: 0,
        timestamp: observed.now,
        window: SignedDuration::ZERO,
    };
    if let Some(reading) = observed.readings.first_mut() {
        match reading {
            Ok(Reading::PerPod(samples)) => samples.push(stranger),
            _ => *reading = Ok(Reading::PerPod(vec![stranger])),
        }
    }
    let (_, trace) = propose(&observed, 0);
    let mut outcome = Outcome {
        trace: render(&trace),
        ..Outcome::default()
    };
    let mut groups: BTreeMap<&str, &[Arc<str>]> = BTreeMap::new();
    for step in &trace {
        if let Step::Uncounted {
            ignored,
            unready,
            missing,
            ..
        } = step
        {
            groups.insert("ignoredPods", ignored);
            groups.insert("unreadyPods", unready);
            groups.insert("missingPods", missing);
        } else if let Step::Measured { ready, .. } = step {
            outcome.check_given("readyPodCount", *ready, vector.expected);
        }
    }
    for key in ["ignoredPods", "unreadyPods", "missingPods"] {
        let names = groups.get(key).copied().unwrap_or_default();
        let mut names: Vec<Value> = names.iter().map(|name| json!(name)).collect();
        names.sort_by_key(Value::to_string);
        outcome.check_list(key, names, &sorted(vector.expected, key));
    }
    Ok(outcome)
}

/// The expected list in order; the original keeps a set.
fn sorted(expected: &Value, key: &str) -> Value {
    let list = expected.get(key).and_then(Value::as_array);
    let mut list = list.cloned().unwrap_or_default();
    list.sort_by_key(Value::to_string);
    json!({ key: list })
}

/// `requests`: what pods ask for.
pub(crate) fn requests(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    let resource = vector.text("resource").context("no resource")?;
    let (settings, container) = (vector.settings(), vector.text("container"));
    let mut sums = BTreeMap::new();
    let mut error = None;
    for pod in vector.pods("")? {
        match pod.request(resource, container, &settings) {
            Ok(request) => drop(sums.insert(pod.name.to_string(), request)),
            Err(why) => error = Some(why),
        }
    }
    let mut outcome = Outcome::default();
    outcome.check_given("error", error.is_some(), vector.expected);
    match error {
        Some(error) => outcome.trace.push(error),
        None => outcome.check_given("requestsMilli", json!(sums), vector.expected),
    }
    Ok(outcome)
}

/// `quantity`: how a status shows a number.
pub(crate) fn quantity(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    let resource = vector.text("resource").context("no resource")?;
    let milli = vector.get("rawMilli").and_then(Value::as_i64);
    let shown = milli::format(
        milli.context("no rawMilli")?,
        Suffixes::of_resource(resource),
    );
    let mut outcome = Outcome::default();
    outcome.check_given("quantity", shown, vector.expected);
    Ok(outcome)
}

fn resource_metric(vector: &Vector, target: &Value) -> Result<Metric> {
    let (name, container) = (vector.get("resource"), vector.get("container"));
    let metric = match container {
        None => json!({ "type": "Resource", "resource": { "name": name, "target": target } }),
        Some(_) => json!({ "type": "ContainerResource", "containerResource": {
            "name": name, "container": container, "target": target,
        } }),
    };
    read(metric)
}

fn observed(vector: &Vector, metric: Metric) -> Result<Observed> {
    let mut settings = vector.settings();
    let mut behavior = Behavior::default();
    if let Some(tolerances) = vector.get("tolerances") {
        // The original's calculator takes them as they are, whatever the gate says.
        settings.configurable_tolerance = true;
        let tolerance = |key| tolerances.get(key).and_then(Value::as_f64);
        behavior.scale_up.tolerance = tolerance("scaleUp");
        behavior.scale_down.tolerance = tolerance("scaleDown");
    }
    let selector = vector.text("podSelector").unwrap_or_default();
    Ok(Observed {
        now: vector.now()?,
        settings,
        namespace: vector.text("namespace").unwrap_or("default").into(),
        status: Status::default(),
        scale: Ok(Scale {
            spec_replicas: vector.number("specReplicas")?,
            status_replicas: vector.number("statusReplicas")?,
            selector: Selection::Valid(selector.into()),
        }),
        pods: vector.pods(selector)?,
        rivals: Vec::new(),
        readings: vec![vector.reading(&metric)],
        memory: None,
        spec: Arc::new(Spec {
            metrics: vec![metric],
            behavior: Some(behavior),
            ..Spec::default()
        }),
    })
}
