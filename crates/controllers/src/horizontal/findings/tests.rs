//! Tables of the detections that read pods and samples.

use super::requests::missing_request;
use super::saturation::saturated;
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::pod::Facts;
use plimsoll_engine::horizontal::{Observed, Reading, Sample, Scale, Selection, Settings, Status};
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;

/// A container as `name request limit`, `-` for none.
fn container(text: &str) -> Value {
    let parts: Vec<&str> = text.split(' ').collect();
    let amount = |text: &str| match text {
        "-" => json!({}),
        amount => json!({ "cpu": amount }),
    };
    json!({ "name": parts[0], "resources": { "requests": amount(parts[1]), "limits": amount(parts[2]) } })
}

fn seen(metric: &Value, pods: &[(&[&str], i64)]) -> Observed {
    let spec = json!({
        "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" },
        "maxReplicas": 10, "metrics": [metric],
    });
    let facts = |(index, (containers, _)): (usize, &(&[&str], i64))| {
        let containers: Vec<Value> = containers.iter().map(|text| container(text)).collect();
        let spec = serde_json::from_value(json!({ "containers": containers })).unwrap();
        let status = serde_json::from_value(json!({})).unwrap();
        Arc::new(Facts::new(format!("p{index}").into(), false, spec, status))
    };
    let sample = |(index, (_, value)): (usize, &(&[&str], i64))| Sample {
        pod: format!("p{index}").into(),
        value: *value,
        timestamp: Timestamp::UNIX_EPOCH,
        window: SignedDuration::from_secs(15),
    };
    Observed {
        now: Timestamp::UNIX_EPOCH,
        settings: Settings::default(),
        namespace: "default".into(),
        spec: Arc::new(serde_json::from_value(spec).unwrap()),
        status: Status::default(),
        scale: Ok(Scale {
            spec_replicas: 2,
            status_replicas: 2,
            selector: Selection::Valid("app=web".into()),
        }),
        pods: pods.iter().enumerate().map(facts).collect(),
        rivals: Vec::new(),
        readings: vec![Ok(Reading::PerPod(
            pods.iter().enumerate().map(sample).collect(),
        ))],
        memory: None,
    }
}

fn cpu(target: &Value) -> Value {
    json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } })
}

fn percent(target: i32) -> Value {
    cpu(&json!({ "type": "Utilization", "averageUtilization": target }))
}

#[rstest]
#[case::at_the_limit(percent(100), &[(&["c 250m 500m"] as &[&str], 490)], Some("490m of 500m per pod on average): the metric cannot rise above 200%, a ratio of 2.00"))]
#[case::exactly_95_percent(percent(50), &[(&["c 100m 100m"] as &[&str], 95)], Some("100%, a ratio of 2.00"))]
#[case::just_below(percent(50), &[(&["c 1 1"] as &[&str], 949)], None)]
#[case::no_limit(percent(50), &[(&["c 100m -"] as &[&str], 900)], None)]
#[case::one_container_unlimited(percent(50), &[(&["c 100m 100m", "d 100m -"] as &[&str], 900)], None)]
#[case::few_of_many_limited(
    percent(50),
    &[(&["c 100m 100m"] as &[&str], 100), (&["c 100m -"], 900), (&["c 100m -"], 900)],
    None
)]
#[case::an_average_value(
    cpu(&json!({ "type": "AverageValue", "averageValue": "200m" })),
    &[(&["c - 500m"] as &[&str], 500)],
    Some("cannot rise above 500m, a ratio of 2.50")
)]
#[case::memory_is_not_throttled(
    json!({ "type": "Resource", "resource": { "name": "memory",
        "target": { "type": "Utilization", "averageUtilization": 50 } } }),
    &[(&["c 100m 100m"] as &[&str], 100)],
    None
)]
fn saturation_names_the_ceiling(
    #[case] metric: Value,
    #[case] pods: &[(&[&str], i64)],
    #[case] want: Option<&str>,
) {
    let found = saturated(&seen(&metric, pods), 0);
    match (&found, want) {
        (Some(found), Some(want)) => assert!(found.message.contains(want), "{}", found.message),
        (found, want) => assert_eq!(found.is_some(), want.is_some(), "{found:?}"),
    }
}

#[rstest]
#[case::injected(
    percent(50),
    &[(&["c 100m -", "proxy - -"] as &[&str], 1)],
    Some("container proxy (not in the target's pod template: injected) has no cpu request in pod p0")
)]
#[case::its_own(percent(50), &[(&["c - -"] as &[&str], 1)], Some("container c has no cpu request in pod p0"))]
#[case::many_pods_are_cut(
    percent(50),
    &[(&["c - -"] as &[&str], 1), (&["c - -"], 1), (&["c - -"], 1), (&["c - -"], 1)],
    Some("in pod p0, p1, p2 and 1 more")
)]
#[case::all_have_one(percent(50), &[(&["c 100m -"] as &[&str], 1)], None)]
#[case::not_needed_for_an_average(
    cpu(&json!({ "type": "AverageValue", "averageValue": "200m" })),
    &[(&["c - -"] as &[&str], 1)],
    None
)]
#[case::one_container_is_measured(
    json!({ "type": "ContainerResource", "containerResource": { "name": "cpu", "container": "c",
        "target": { "type": "Utilization", "averageUtilization": 50 } } }),
    &[(&["c 100m -", "proxy - -"] as &[&str], 1)],
    None
)]
fn missing_requests_are_named(
    #[case] metric: Value,
    #[case] pods: &[(&[&str], i64)],
    #[case] want: Option<&str>,
) {
    let template = || ["c".to_owned()].into();
    let found = missing_request(&seen(&metric, pods), 0, template);
    match (&found, want) {
        (Some(found), Some(want)) => assert!(found.message.contains(want), "{}", found.message),
        (found, want) => assert_eq!(found.is_some(), want.is_some(), "{found:?}"),
    }
}
