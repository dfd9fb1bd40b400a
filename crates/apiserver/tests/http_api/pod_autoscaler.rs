//! The definition of `PodAutoscaler`: what it fills in and what it refuses.

use crate::rig::Rig;
use plimsoll_api::pod_autoscaler;
use rstest::rstest;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const SCALERS: &str = "/apis/plimsoll.dev/v1alpha1/namespaces/default/podautoscalers";
const HPAS: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";

async fn defined() -> Rig {
    let rig = Rig::new().await;
    let name = "podautoscalers.plimsoll.dev";
    if rig.get(&format!("{DEFINITIONS}/{name}")).await.code == 404 {
        let answer = rig.post(DEFINITIONS, &pod_autoscaler::definition()).await;
        answer.expect(201);
    }
    rig
}

fn spec() -> Value {
    json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 10,
    })
}

fn scaler(spec: &Value) -> Value {
    json!({
        "apiVersion": "plimsoll.dev/v1alpha1", "kind": "PodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"}, "spec": spec,
    })
}

fn hpa(spec: &Value) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "default"}, "spec": spec,
    })
}

fn merged(patch: &Value) -> Value {
    let mut spec = spec();
    json_patch::merge(&mut spec, patch);
    spec
}

#[rstest]
#[case::nothing_said(json!({}))]
#[case::an_empty_behavior(json!({"behavior": {}}))]
#[case::one_direction(json!({"behavior": {"scaleDown": {"selectPolicy": "Min"}}}))]
#[case::a_window_only(json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 30}}}))]
#[case::own_policies(json!({"behavior": {"scaleUp": {"policies":
    [{"type": "Percent", "value": 900, "periodSeconds": 60}]}}}))]
#[case::own_metrics(json!({"minReplicas": 3, "metrics": [{"type": "Pods", "pods":
    {"metric": {"name": "qps"}, "target": {"type": "AverageValue", "averageValue": 100}}}]}))]
#[tokio::test]
async fn defaults_are_those_of_a_horizontal_pod_autoscaler(#[case] patch: Value) {
    let rig = defined().await;
    let wanted = rig.post(HPAS, &hpa(&merged(&patch))).await.expect(201);
    let got = rig
        .post(SCALERS, &scaler(&merged(&patch)))
        .await
        .expect(201);
    let mut wanted = wanted["spec"].clone();
    // An HPA stores quantities as text.
    if let Some(value) = wanted.pointer_mut("/metrics/0/pods/target/averageValue") {
        *value = json!(100);
    }
    assert_eq!(got["spec"], wanted);
}

fn metric(kind: &str, body: &Value) -> Value {
    let mut field = kind.to_owned();
    if let Some(first) = field.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    json!({"metrics": [{"type": kind, field: body}]})
}

fn target(target: &Value) -> Value {
    metric("Resource", &json!({"name": "cpu", "target": target}))
}

fn rules(rules: &Value) -> Value {
    json!({"behavior": {"scaleUp": rules}})
}

fn policy(kind: &str, value: i64, seconds: i64) -> Value {
    rules(&json!({"policies": [{"type": kind, "value": value, "periodSeconds": seconds}]}))
}

fn at(reference: &Value) -> Value {
    json!({"scaleTargetRef": reference})
}

#[rstest]
#[case::no_room(json!({"maxReplicas": 0}))]
#[case::less_than_the_minimum(json!({"minReplicas": 11}))]
#[case::a_negative_minimum(json!({"minReplicas": -1}))]
#[case::zero_without_a_metric_from_outside(json!({"minReplicas": 0}))]
#[case::no_kind(at(&json!({"kind": null})))]
#[case::an_empty_name(at(&json!({"name": ""})))]
#[case::a_path_for_a_name(at(&json!({"name": "a/b"})))]
#[case::a_dot_for_a_name(at(&json!({"name": "."})))]
#[case::a_percent_sign(at(&json!({"kind": "a%b"})))]
#[case::no_group(at(&json!({"apiVersion": "v1"})))]
#[case::two_groups(at(&json!({"apiVersion": "a/b/c"})))]
#[case::a_metric_of_no_type(json!({"metrics": [{}]}))]
#[case::a_metric_of_an_unknown_type(json!({"metrics": [{"type": "Luck"}]}))]
#[case::a_metric_without_its_source(json!({"metrics": [{"type": "Pods"}]}))]
#[case::a_metric_with_two_sources(json!({"metrics": [{"type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}},
    "pods": {"metric": {"name": "a"}, "target": {"type": "AverageValue", "averageValue": "1"}}}]}))]
#[case::no_target_number(target(&json!({"type": "Utilization"})))]
#[case::two_target_numbers(target(&json!({"type": "Utilization", "averageUtilization": 5,
    "averageValue": "1"})))]
#[case::no_target_type(target(&json!({"averageUtilization": 5})))]
#[case::an_unknown_target_type(target(&json!({"type": "Best", "averageUtilization": 5})))]
#[case::a_target_of_zero_percent(target(&json!({"type": "Utilization",
    "averageUtilization": 0})))]
#[case::a_target_of_nothing(target(&json!({"type": "AverageValue", "averageValue": "0"})))]
#[case::a_negative_target(target(&json!({"type": "AverageValue", "averageValue": "-5m"})))]
#[case::a_negative_integer(target(&json!({"type": "AverageValue", "averageValue": -5})))]
#[case::no_resource_name(metric("Resource", &json!({"name": "",
    "target": {"type": "Utilization", "averageUtilization": 5}})))]
#[case::a_container_of_no_name(metric("ContainerResource", &json!({"name": "cpu",
    "container": "", "target": {"type": "Utilization", "averageUtilization": 5}})))]
#[case::a_container_name_in_capitals(metric("ContainerResource", &json!({"name": "cpu",
    "container": "App", "target": {"type": "Utilization", "averageUtilization": 5}})))]
#[case::not_a_resource_of_containers(metric("ContainerResource", &json!({"name": "luck",
    "container": "app", "target": {"type": "Utilization", "averageUtilization": 5}})))]
#[case::pods_without_an_average(metric("Pods", &json!({"metric": {"name": "qps"},
    "target": {"type": "Value", "value": "5"}})))]
#[case::a_metric_name_with_a_slash(metric("Pods", &json!({"metric": {"name": "a/b"},
    "target": {"type": "AverageValue", "averageValue": "5"}})))]
#[case::an_object_without_a_number(metric("Object", &json!({"metric": {"name": "qps"},
    "describedObject": {"kind": "Service", "name": "web"}, "target": {"type": "Value"}})))]
#[case::an_object_without_a_name(metric("Object", &json!({"metric": {"name": "qps"},
    "describedObject": {"kind": "Service", "name": ""},
    "target": {"type": "Value", "value": "5"}})))]
#[case::external_with_two_numbers(metric("External", &json!({"metric": {"name": "queue"},
    "target": {"type": "Value", "value": "5", "averageValue": "5"}})))]
#[case::external_without_a_number(metric("External", &json!({"metric": {"name": "queue"},
    "target": {"type": "Value"}})))]
#[case::a_window_of_over_an_hour(rules(&json!({"stabilizationWindowSeconds": 3601})))]
#[case::a_negative_window(rules(&json!({"stabilizationWindowSeconds": -1})))]
#[case::an_unknown_select_policy(rules(&json!({"selectPolicy": "Best"})))]
#[case::no_policies(rules(&json!({"policies": []})))]
#[case::an_unknown_policy(policy("Nodes", 1, 15))]
#[case::a_policy_of_nothing(policy("Pods", 0, 15))]
#[case::a_policy_without_a_period(policy("Pods", 1, 0))]
#[case::a_period_of_over_half_an_hour(policy("Pods", 1, 1801))]
#[case::a_negative_tolerance(rules(&json!({"tolerance": "-0.1"})))]
#[tokio::test]
async fn what_a_horizontal_pod_autoscaler_refuses_is_refused(#[case] patch: Value) {
    let rig = defined().await;
    let wanted = fields(&rig.post(HPAS, &hpa(&merged(&patch))).await.expect(422));
    let refused = rig.post(SCALERS, &scaler(&merged(&patch))).await;
    let got = fields(&refused.expect_failure(422, "Invalid", ""));
    let common = wanted.intersection(&got).count();
    assert!(
        common > 0,
        "{got:?} has none of {wanted:?}: {}",
        refused.text
    );
    assert_eq!(rig.get(&format!("{SCALERS}/web")).await.code, 404);
}

/// The fields a refusal names.
fn fields(status: &Value) -> BTreeSet<String> {
    let causes = status["details"]["causes"].as_array().unwrap();
    let fields = causes.iter().map(|cause| cause["field"].as_str().unwrap());
    fields.map(ToOwned::to_owned).collect()
}

fn schedule(patch: &Value) -> Value {
    let mut schedule = json!({
        "name": "day", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5",
        "timeZone": "Europe/Berlin", "minReplicas": 5,
    });
    json_patch::merge(&mut schedule, patch);
    json!({"schedules": [schedule]})
}

#[rstest]
#[case::neither_end_nor_duration(schedule(&json!({"end": null})),
    "spec.schedules[0].end: Required value: must set either an end or a duration")]
#[case::both(schedule(&json!({"duration": "2h"})),
    "spec.schedules[0].duration: Forbidden: may not set both an end and a duration")]
#[case::no_bound(schedule(&json!({"minReplicas": null})),
    "spec.schedules[0].minReplicas: Required value: must set minReplicas, maxReplicas or both")]
#[case::crossed_bounds(schedule(&json!({"maxReplicas": 4})),
    "spec.schedules[0].maxReplicas: Invalid value: \"object\": must be greater than or equal to \
     `minReplicas`")]
#[case::over_the_maximum(schedule(&json!({"minReplicas": 11})),
    "spec.schedules: Invalid value: \"object\": minReplicas of a schedule must be less than or \
     equal to `maxReplicas`")]
#[case::ends_as_it_starts(schedule(&json!({"end": "0 8 * * 1-5"})),
    "must differ from `start`")]
#[case::six_fields(schedule(&json!({"start": "0 0 8 * * 1"})), "spec.schedules[0].start")]
#[case::prose(schedule(&json!({"start": "every morning"})), "spec.schedules[0].start")]
#[case::a_zone_that_depends_on_the_machine(schedule(&json!({"timeZone": "Local"})),
    "must name a time zone")]
#[case::a_moment(schedule(&json!({"end": null, "duration": "30s"})), "must be at least one minute")]
#[case::no_length(schedule(&json!({"end": null, "duration": "soon"})),
    "spec.schedules[0].duration")]
#[case::a_hurry(json!({"syncPeriod": "10ms"}), "must be between 1s and 1h")]
#[case::no_period(json!({"syncPeriod": "often"}), "spec.syncPeriod")]
#[tokio::test]
async fn a_schedule_that_makes_no_sense_is_refused(#[case] patch: Value, #[case] why: &str) {
    let rig = defined().await;
    let answer = rig.post(SCALERS, &scaler(&merged(&patch))).await;
    answer.expect_failure(422, "Invalid", why);
}

#[tokio::test]
async fn schedules_and_metrics_from_outside_are_taken() {
    let rig = defined().await;
    let night = json!({"name": "night", "start": "@daily", "duration": "6h", "maxReplicas": 2});
    let mut wanted = merged(&schedule(&json!({})));
    wanted["schedules"].as_array_mut().unwrap().push(night);
    wanted["minReplicas"] = 0.into();
    wanted["metrics"] = metric(
        "External",
        &json!({"metric": {"name": "queue", "selector": {"matchLabels": {"q": "a"}}},
                "target": {"type": "AverageValue", "averageValue": "500m"}}),
    )["metrics"]
        .clone();
    let made = rig.post(SCALERS, &scaler(&wanted)).await.expect(201);
    assert_eq!(made["spec"]["schedules"][1]["timeZone"], "UTC");
    let twice = json!({"spec": {"schedules": [
        {"name": "a", "start": "@daily", "duration": "6h", "maxReplicas": 2},
        {"name": "a", "start": "@daily", "duration": "7h", "maxReplicas": 2},
    ]}});
    let answer = rig.patch(&format!("{SCALERS}/web"), "merge", &twice).await;
    answer.expect_failure(422, "Invalid", "Duplicate value");
}

#[tokio::test]
async fn a_status_has_the_shape_of_a_horizontal_pod_autoscalers() {
    let rig = defined().await;
    rig.post(SCALERS, &scaler(&spec())).await.expect(201);
    let path = format!("{SCALERS}/web/status");
    let current = json!([
        {"type": ""},
        {"type": "Resource", "resource": {"name": "cpu",
            "current": {"averageUtilization": 40, "averageValue": "40m"}}},
    ]);
    let wanted = json!({
        "currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": current,
        "lastScaleTime": "2026-01-01T00:00:00Z", "reference": "Deployment/web",
        "targets": "cpu: 40%/80%",
        "conditions": [{"type": "AbleToScale", "status": "True", "reason": "ReadyForNewScale",
                        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
    });
    let wish = json!({"status": wanted});
    let made = rig.patch(&path, "merge", &wish).await.expect(200);
    assert_eq!(made["status"], wanted);
    let none = json!({"status": {"currentMetrics": null, "currentReplicas": 0}});
    rig.patch(&path, "merge", &none).await.expect(200);
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = rig
        .get_as(&format!("{SCALERS}/web"), table)
        .await
        .expect(200);
    let names = table["columnDefinitions"].as_array().unwrap().iter();
    let names: Vec<_> = names
        .map(|column| column["name"].as_str().unwrap())
        .collect();
    let wanted = [
        "Name",
        "Reference",
        "Targets",
        "MinPods",
        "MaxPods",
        "Replicas",
        "Age",
    ];
    assert_eq!(names, wanted);
    assert_eq!(table["rows"][0]["cells"][1], "Deployment/web");
}
