//! Reading the recordings' JSON, and showing ours in the same form.

use jiff::SignedDuration;
use plimsoll_engine::horizontal::pod::Facts;
use plimsoll_engine::horizontal::{Observed, Sample, Scale, Selection, Status, milli};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) fn read<T: DeserializeOwned>(raw: &Value) -> T {
    let raw = if raw.is_null() {
        json!({})
    } else {
        raw.clone()
    };
    serde_json::from_value(raw.clone()).unwrap_or_else(|error| panic!("{error}: {raw}"))
}

pub(super) fn or(value: &Value, absent: Value) -> Value {
    if value.is_null() {
        absent
    } else {
        value.clone()
    }
}

pub(super) fn differ(what: &str, got: &Value, want: &Value) -> Vec<String> {
    if got == want {
        Vec::new()
    } else {
        vec![format!("{what}: got {got}, want {want}")]
    }
}

pub(super) fn failure(source: &Value) -> Result<(), String> {
    source["error"]
        .as_str()
        .map_or(Ok(()), |error| Err(error.to_owned()))
}

pub(super) fn items(source: &Value) -> impl Iterator<Item = &Value> {
    source["items"].as_array().into_iter().flatten()
}

pub(super) fn facts(pod: &Value) -> Facts {
    let name = pod["metadata"]["name"].as_str().unwrap().into();
    let deleting = !pod["metadata"]["deletionTimestamp"].is_null();
    Facts::new(name, deleting, read(&pod["spec"]), read(&pod["status"]))
}

pub(super) fn scale(object: &Value) -> Scale {
    let number = |value: &Value| i32::try_from(value.as_i64().unwrap_or_default()).unwrap();
    let selector = object["status"]["selector"].as_str().unwrap_or_default();
    Scale {
        spec_replicas: number(&object["spec"]["replicas"]),
        status_replicas: number(&object["status"]["replicas"]),
        selector: match selector {
            "" => Selection::Missing,
            text if text.contains("cheddar cheese") => Selection::Invalid("unparsable".into()),
            text => Selection::Valid(text.into()),
        },
    }
}

pub(super) fn resource_sample(
    item: &Value,
    resource: &str,
    container: Option<&str>,
) -> Option<Sample> {
    let containers = item["containers"].as_array()?;
    let wanted = containers
        .iter()
        .filter(|c| container.is_none_or(|name| c["name"] == json!(name)));
    let values: Option<Vec<i64>> = wanted.map(|c| milli::read(&c["usage"][resource])).collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(Sample {
        pod: item["metadata"]["name"].as_str()?.into(),
        value: values.iter().sum(),
        timestamp: item["timestamp"].as_str()?.parse().unwrap(),
        window: item["window"].as_str()?.parse().unwrap(),
    })
}

pub(super) fn custom_sample(item: &Value) -> Sample {
    Sample {
        pod: item["describedObject"]["name"].as_str().unwrap().into(),
        value: milli::read(&item["value"]).unwrap(),
        timestamp: item["timestamp"].as_str().unwrap().parse().unwrap(),
        window: SignedDuration::from_secs(60),
    }
}

pub(super) fn class_text(class: &str) -> &'static str {
    match class {
        "missing-request" => "missing",
        "no-pods" => "no pods returned",
        "no-usable-metrics" => "metrics",
        _ => "",
    }
}

pub(super) fn conditions(status: &Status, before: &Observed) -> Value {
    let shown = status.conditions.iter().map(|condition| {
        let old = before
            .status
            .conditions
            .iter()
            .find(|c| c.kind == condition.kind);
        let transitioned =
            old.is_none_or(|old| old.last_transition_time != condition.last_transition_time);
        json!({ "type": condition.kind, "status": condition.status, "reason": condition.reason,
                "transitioned": transitioned })
    });
    Value::Array(shown.collect())
}

pub(super) fn event(event: &plimsoll_engine::horizontal::Event) -> Value {
    let mut shown = json!({ "type": event.kind, "reason": event.reason });
    if let Some(rest) = event.message.strip_prefix("New size: ") {
        let (size, rest) = rest.split_once(';').unwrap();
        let cause = rest.strip_prefix(" reason: ").unwrap();
        let cause = cause.split("; error").next().unwrap();
        shown["newSize"] = json!(size.parse::<i32>().unwrap());
        shown["cause"] = json!(cause);
    }
    shown
}

/// A pod that has been ready for long and asks for so many thousandths of a core.
pub(super) fn ready_pod(index: i32, request: i64) -> Facts {
    let long_ago = "1970-01-01T00:00:00Z";
    facts(&json!({
        "metadata": { "name": format!("p{index}") },
        "spec": { "containers": [
            { "name": "c", "resources": { "requests": { "cpu": format!("{request}m") } } },
        ] },
        "status": { "phase": "Running", "startTime": long_ago, "conditions": [
            { "type": "Ready", "status": "True", "lastTransitionTime": long_ago },
        ] },
    }))
}
