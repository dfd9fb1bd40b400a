//! Custom and external metrics, targets of any kind, and what goes wrong with them.

use crate::autoscaling::{Load, autoscale, autoscaler, autoscalers, measured, replicas, sizes};
use crate::faults::{Fault, Faults};
use crate::rig::{Rig, condition};
use plimsoll_controllers::horizontal::{Horizontal, Options};
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;

const PATIENT: Duration = Duration::from_secs(40);

async fn start() -> (Rig, Load, Faults, Horizontal) {
    let (rig, load) = measured().await;
    let faults = Faults::none();
    let client = faults.client(rig.client.clone());
    let running = autoscale(&rig, &load, client, Options::default());
    (rig, load, faults, running)
}

fn with_metric(metric: &Value) -> Value {
    let mut hpa = autoscaler("web");
    hpa["spec"]["metrics"] = json!([metric]);
    hpa
}

fn external() -> Value {
    json!({"type": "External", "external": {
        "metric": {"name": "queue", "selector": {"matchLabels": {"of": "web"}}},
        "target": {"type": "AverageValue", "averageValue": "10"}}})
}

fn answer(body: &Value) -> Fault {
    Fault::Answer(200, body.to_string())
}

fn is_external(uri: &str) -> bool {
    uri.starts_with("/apis/external.metrics.k8s.io/v1beta1/namespaces/default/queue?")
}

/// Lets the external metric have this value.
fn serve_external(faults: &Faults, value: &'static str) {
    faults.set(move |_, uri| {
        let items = json!({"items": [{"metricName": "queue", "value": value}]});
        is_external(uri).then(|| answer(&items))
    });
}

async fn told(rig: &Rig, kind: &str) -> (String, String, String) {
    condition(&autoscalers(rig).get("web").await.unwrap(), kind)
}

fn value_of(pod: &str) -> Value {
    json!({"describedObject": {"name": pod}, "metricName": "qps", "value": "15"})
}

#[tokio::test(start_paused = true)]
async fn pods_are_asked_in_the_preferred_version() {
    let (rig, _load, faults, _running) = start().await;
    faults.set(|_, uri| match uri {
        "/apis/custom.metrics.k8s.io" => Some(answer(&json!({
            "kind": "APIGroup", "name": "custom.metrics.k8s.io",
            "versions": [{"version": "v9"}, {"version": "v1beta1"}],
            "preferredVersion": {"version": "v9"},
        }))),
        uri if uri.starts_with("/apis/custom.metrics.k8s.io/v1beta1/") => Some(answer(&json!({
            "items": [value_of("a"), value_of("b")],
        }))),
        _ => None,
    });
    rig.deploy(2).await;
    let metric = json!({"type": "Pods", "pods": {"metric": {"name": "qps"},
        "target": {"type": "AverageValue", "averageValue": "10"}}});
    rig.create(&autoscalers(&rig), with_metric(&metric)).await;
    // Values of names that are no pods count in the average; both pods lack one.
    sizes(&rig, PATIENT).await;
    let asked = faults.asked();
    let path = "GET /apis/custom.metrics.k8s.io/v1beta1/namespaces/default/pods/*/qps\
                ?labelSelector=app%3Dweb&metricLabelSelector=";
    let times = asked.iter().filter(|asked| *asked == path).count();
    // Once a sync period, however often it is looked at.
    assert!((2..=4).contains(&times), "{times} times: {asked:?}");
    assert_eq!(told(&rig, "ScalingActive").await.1, "ValidMetricFound");
}

#[tokio::test(start_paused = true)]
async fn an_object_is_found_by_its_kind() {
    let (rig, _load, faults, _running) = start().await;
    faults.set(|_, uri| match uri {
        "/apis/custom.metrics.k8s.io" => {
            Some(answer(&json!({"versions": [{"version": "v1beta2"}]})))
        }
        "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/ingresses.networking.k8s.io\
         /front/rps?metricLabelSelector=" => Some(answer(&json!({"items": [{"value": "400"}]}))),
        _ => None,
    });
    rig.deploy(2).await;
    let metric = json!({"type": "Object", "object": {"metric": {"name": "rps"},
        "describedObject": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front"},
        "target": {"type": "AverageValue", "averageValue": "100"}}});
    rig.create(&autoscalers(&rig), with_metric(&metric)).await;
    assert_eq!(sizes(&rig, PATIENT).await.last(), Some(&4));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_to_its_last_page() {
    let (rig, _load, faults, _running) = start().await;
    faults.set(|_, uri| match uri {
        uri if is_external(uri)
            && uri.contains("labelSelector=of%3Dweb&continue=more%20of%20it") =>
        {
            Some(answer(&json!({"items": [{"value": "20"}]})))
        }
        uri if is_external(uri) => Some(answer(
            &json!({"metadata": {"continue": "more of it"}, "items": [{"value": "10"}]}),
        )),
        _ => None,
    });
    rig.deploy(2).await;
    rig.create(&autoscalers(&rig), with_metric(&external()))
        .await;
    assert_eq!(sizes(&rig, PATIENT).await.last(), Some(&3));
}

#[rstest]
#[case::throttled(Fault::Answer(429, r#"{"kind":"Status","status":"Failure","message":"slow down","reason":"TooManyRequests","code":429}"#.into()), "slow down")]
#[case::broken(Fault::Answer(500, "boom".into()), "boom")]
#[case::silent(Fault::Silence, "no answer within 10 s")]
#[case::reset(Fault::Reset, "connection reset by peer")]
#[case::garbage(Fault::Answer(200, "<html>".into()), "expected value")]
#[case::half_a_list(Fault::Answer(200, r#"{"items":[{"value":"1"#.into()), "EOF")]
#[case::empty(Fault::Answer(200, "{}".into()), "no metrics returned from external metrics API")]
#[case::not_a_number(Fault::Answer(200, r#"{"items":[{"value":"NaN"}]}"#.into()), "\"NaN\" is no quantity")]
#[case::negative(Fault::Answer(200, r#"{"items":[{"value":"-1"}]}"#.into()), "the value is negative")]
#[case::stale(Fault::Answer(200, r#"{"items":[{"value":"1","timestamp":"1969-12-31T23:00:00Z"}]}"#.into()), "s old, which is over 300 s")]
#[tokio::test(start_paused = true)]
async fn a_sick_metrics_api_holds_the_target_and_says_why(#[case] fault: Fault, #[case] why: &str) {
    let (rig, _load, faults, _running) = start().await;
    serve_external(&faults, "30");
    rig.deploy(3).await;
    rig.create(&autoscalers(&rig), with_metric(&external()))
        .await;
    assert_eq!(sizes(&rig, PATIENT).await, [3]);
    assert_eq!(told(&rig, "ScalingActive").await.0, "True");
    faults.set(move |_, uri| is_external(uri).then(|| fault.clone()));
    assert_eq!(sizes(&rig, Duration::from_secs(400)).await, [3]);
    let (status, reason, message) = told(&rig, "ScalingActive").await;
    assert_eq!((&*status, &*reason), ("False", "FailedGetExternalMetric"));
    assert!(message.contains(why), "{message}");
    serve_external(&faults, "50");
    assert_eq!(sizes(&rig, PATIENT).await.last(), Some(&5));
}

#[tokio::test(start_paused = true)]
async fn a_slow_metric_fails_alone() {
    let (rig, load, faults, _running) = start().await;
    faults.set(|_, uri| is_external(uri).then_some(Fault::Silence));
    load.set(190);
    rig.deploy(1).await;
    let mut hpa = autoscaler("web");
    hpa["spec"]["metrics"]
        .as_array_mut()
        .unwrap()
        .push(external());
    rig.create(&autoscalers(&rig), hpa).await;
    assert_eq!(sizes(&rig, Duration::from_secs(90)).await.last(), Some(&4));
    // Growing needs one metric, shrinking all of them.
    load.set(20);
    assert_eq!(sizes(&rig, Duration::from_secs(400)).await, [4]);
}

#[tokio::test(start_paused = true)]
async fn old_samples_are_said_to_be_old_and_never_scale_down() {
    let (rig, load, _faults, _running) = start().await;
    load.set(20);
    rig.deploy(3).await;
    let mut hpa = autoscaler("web");
    hpa["spec"]["minReplicas"] = json!(3);
    rig.create(&autoscalers(&rig), hpa).await;
    sizes(&rig, PATIENT).await;
    *load.milli.lock() = None;
    sizes(&rig, Duration::from_secs(80)).await;
    rig.patch(
        &autoscalers(&rig),
        "web",
        json!({"spec": {"minReplicas": 1}}),
    )
    .await;
    assert_eq!(sizes(&rig, Duration::from_secs(400)).await, [3]);
    let (_, reason, message) = told(&rig, "ScalingActive").await;
    assert_eq!(reason, "FailedGetResourceMetric");
    assert!(message.contains("s old, which is over 60 s"), "{message}");
    load.set(20);
    assert_eq!(sizes(&rig, Duration::from_secs(400)).await.last(), Some(&1));
}

#[rstest]
#[case::a_controller(("", "v1"), ("replicationcontrollers", "ReplicationController"), "v1")]
#[case::a_set(("apps", "v1"), ("statefulsets", "StatefulSet"), "apps/v1")]
#[tokio::test(start_paused = true)]
async fn any_kind_with_a_scale_is_a_target(
    #[case] group: (&str, &str),
    #[case] (plural, kind): (&str, &str),
    #[case] api_version: &str,
) {
    let (rig, _load, faults, _running) = start().await;
    let api = rig.api("default", group, plural, kind);
    let labels = json!({"app": "web"});
    let selector = if group.0.is_empty() {
        labels.clone()
    } else {
        json!({ "matchLabels": labels })
    };
    let template = json!({"metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "a"}]}});
    rig.create(
        &api,
        json!({"apiVersion": api_version, "kind": kind,
        "metadata": {"name": "web"}, "spec": {"replicas": 1, "serviceName": "web",
        "selector": selector, "template": template}}),
    )
    .await;
    let mut hpa = autoscaler("web");
    hpa["spec"]["scaleTargetRef"] = json!({"apiVersion": api_version, "kind": kind, "name": "web"});
    hpa["spec"]["minReplicas"] = json!(2);
    let mut conflicts = 2;
    faults.set(move |method, uri| {
        let conflict = method == "PUT" && uri.contains("/scale") && conflicts > 0;
        conflict.then(|| {
            conflicts -= 1;
            let body = json!({"kind": "Status", "status": "Failure", "code": 409,
                "reason": "Conflict", "message": "changed"});
            Fault::Answer(409, body.to_string())
        })
    });
    rig.create(&autoscalers(&rig), hpa).await;
    rig.until("scaled", async || {
        api.get("web").await.unwrap().data["spec"]["replicas"] == 2
    })
    .await;
}

#[rstest]
#[case::unknown(json!({"apiVersion": "example.com/v1", "kind": "Foo", "name": "web"}), "no matches for kind \"Foo\" in group \"example.com\"")]
#[case::without_scale(json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "web"}), "the server could not find the requested resource")]
#[tokio::test(start_paused = true)]
async fn a_target_that_cannot_be_scaled_is_told(#[case] target: Value, #[case] why: &str) {
    let (rig, _load, _faults, _running) = start().await;
    let mut hpa = autoscaler("web");
    hpa["spec"]["scaleTargetRef"] = target;
    rig.create(&autoscalers(&rig), hpa).await;
    rig.until("told", async || {
        told(&rig, "AbleToScale").await.1 == "FailedGetScale"
    })
    .await;
    let want = format!("the HPA controller was unable to get the target's current scale: {why}");
    assert_eq!(told(&rig, "AbleToScale").await.2, want);
}

#[tokio::test(start_paused = true)]
async fn a_scale_that_cannot_be_written_is_told_and_written_later() {
    let (rig, load, faults, _running) = start().await;
    load.set(190);
    rig.deploy(1).await;
    faults.set(|method, uri| (method == "PUT" && uri.contains("/scale")).then_some(Fault::Silence));
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    rig.until("told", async || {
        told(&rig, "AbleToScale").await.1 == "FailedUpdateScale"
    })
    .await;
    assert_eq!(replicas(&rig).await, 1);
    faults.set(|_, _| None);
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&4));
}
