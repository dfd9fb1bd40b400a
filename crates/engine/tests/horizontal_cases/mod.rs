//! Builders of observations.

use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::memory::Recommendation;
use plimsoll_engine::horizontal::pod::Facts;
use plimsoll_engine::horizontal::{
    Memory, Observed, Reading, Sample, Scale, Selection, Settings, Status,
};
use serde_json::{Value, json};
use std::sync::Arc;

/// The time of every observation.
pub(crate) const NOW: &str = "2026-01-01T12:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A ready pod that asks for `request` and has run for long.
pub(crate) fn pod(name: &str, request: &str) -> Value {
    json!({
        "spec": { "containers": [{ "name": "c", "resources": { "requests": {
            "cpu": request, "memory": "1Gi" } } }] },
        "status": {
            "phase": "Running", "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{ "type": "Ready", "status": "True",
                             "lastTransitionTime": "2026-01-01T00:00:10Z" }],
        },
        "metadata": { "name": name },
    })
}

pub(crate) fn facts(pod: &Value) -> Arc<Facts> {
    let part = |key: &str| pod[key].clone();
    let name = pod["metadata"]["name"].as_str().unwrap().into();
    let deleting = !pod["metadata"]["deletionTimestamp"].is_null();
    let spec = serde_json::from_value(part("spec")).unwrap();
    let status = serde_json::from_value(part("status")).unwrap();
    Arc::new(Facts::new(name, deleting, spec, status))
}

/// An autoscaler with pods `p0`, `p1` … of 1 core, each using `usages` (thousandths).
pub(crate) fn observed(spec: &Value, usages: &[Option<i64>]) -> Observed {
    let mut whole = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "minReplicas": 1, "maxReplicas": 100,
    });
    for (key, value) in spec.as_object().unwrap() {
        whole[key] = value.clone();
    }
    let name = |index: usize| format!("p{index}");
    let pods = (0..usages.len())
        .map(|index| facts(&pod(&name(index), "1")))
        .collect();
    let samples = usages.iter().enumerate().filter_map(|(index, usage)| {
        let window = SignedDuration::from_secs(30);
        Some(Sample {
            pod: name(index).into(),
            value: (*usage)?,
            timestamp: now(),
            window,
        })
    });
    let samples: Vec<Sample> = samples.collect();
    // As the metrics API is read: an answer without any item is an error.
    let reading = if samples.is_empty() {
        Err("no metrics returned from resource metrics API".to_owned())
    } else {
        Ok(Reading::PerPod(samples))
    };
    let replicas = i32::try_from(usages.len()).unwrap();
    Observed {
        now: now(),
        settings: Settings::default(),
        namespace: "default".into(),
        spec: Arc::new(serde_json::from_value(whole).unwrap()),
        status: Status::default(),
        scale: Ok(Scale {
            spec_replicas: replicas,
            status_replicas: replicas,
            selector: Selection::Valid("app=web".into()),
        }),
        pods,
        rivals: Vec::new(),
        readings: vec![reading],
        memory: Some(Memory::default()),
    }
}

/// One cpu metric with a utilization target.
pub(crate) fn cpu(percent: i32) -> Value {
    json!({ "metrics": [{ "type": "Resource", "resource": { "name": "cpu",
        "target": { "type": "Utilization", "averageUtilization": percent } } }] })
}

/// A recommendation made some seconds ago.
pub(crate) fn recommended(replicas: i32, seconds_ago: i64) -> Recommendation {
    Recommendation {
        replicas,
        time: now() - SignedDuration::from_secs(seconds_ago),
    }
}
