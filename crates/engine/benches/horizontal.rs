//! Cost of one decision.

use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::pod::Facts;
use plimsoll_engine::horizontal::{
    Memory, Observed, Reading, Sample, Scale, Selection, Settings, Status, decide,
};
use serde_json::json;
use std::sync::Arc;

fn main() {
    divan::main();
}

#[divan::bench(args = [10, 100, 1000])]
fn decision(bencher: divan::Bencher<'_, '_>, pods: i32) {
    let seen = observed(pods);
    bencher.bench_local(|| decide(divan::black_box(&seen)));
}

fn observed(count: i32) -> Observed {
    let now: Timestamp = "2026-01-01T12:00:00Z"
        .parse()
        .expect("invariant: a valid time");
    let spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "maxReplicas": 1000,
        "metrics": [{ "type": "Resource", "resource": { "name": "cpu",
            "target": { "type": "Utilization", "averageUtilization": 50 } } }],
    });
    let pod = |index: i32| {
        let spec = json!({ "containers": [
            { "name": "c", "resources": { "requests": { "cpu": "500m" } } } ] });
        let status = json!({ "phase": "Running", "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{ "type": "Ready", "status": "True",
                             "lastTransitionTime": "2026-01-01T00:00:10Z" }] });
        let read = "invariant: the pod's shape";
        Arc::new(Facts::new(
            format!("web-{index}").into(),
            false,
            serde_json::from_value(spec).expect(read),
            serde_json::from_value(status).expect(read),
        ))
    };
    let pods: Vec<Arc<Facts>> = (0..count).map(pod).collect();
    let sample = |pod: &Arc<Facts>| Sample {
        pod: Arc::clone(&pod.name),
        value: 300,
        timestamp: now,
        window: SignedDuration::from_secs(1),
    };
    Observed {
        now,
        settings: Settings::default(),
        namespace: "default".into(),
        spec: Arc::new(serde_json::from_value(spec).expect("invariant: the spec's shape")),
        status: Status::default(),
        scale: Ok(Scale {
            spec_replicas: count,
            status_replicas: count,
            selector: Selection::Valid("app=web".into()),
        }),
        readings: vec![Ok(Reading::PerPod(pods.iter().map(sample).collect()))],
        pods,
        rivals: Vec::new(),
        memory: Some(Memory::default()),
    }
}
