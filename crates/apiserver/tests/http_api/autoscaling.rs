//! Autoscalers through the API: what is refused and where, what is filled in, what each endpoint
//! writes, both versions of one object, feature gates.

use crate::rig::Rig;
use plimsoll_api::gates::FeatureGates;
use rstest::rstest;
use serde_json::{Value, json};

const V2: &str = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
const V1: &str = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
const ANNOTATIONS: &str = "autoscaling.alpha.kubernetes.io";

fn hpa(more: &Value) -> Value {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 5,
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    json!({"metadata": {"name": "web"}, "spec": spec})
}

fn metric(kind: &str, body: &Value) -> Value {
    let mut field = kind.to_owned();
    if let Some(first) = field.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    json!({"metrics": [{"type": kind, field: body}]})
}

fn cpu(target: &Value) -> Value {
    metric("Resource", &json!({"name": "cpu", "target": target}))
}

fn queue(target: &Value) -> Value {
    metric(
        "External",
        &json!({"metric": {"name": "queue"}, "target": target}),
    )
}

fn policy(policy: &Value) -> Value {
    json!({"behavior": {"scaleUp": {"policies": [policy]}}})
}

fn reference(version: &str, kind: &str, name: &str) -> Value {
    json!({"scaleTargetRef": {"apiVersion": version, "kind": kind, "name": name}})
}

/// Field and reason of every cause, in order.
fn causes(status: &Value) -> Vec<String> {
    let causes = status["details"]["causes"].as_array().unwrap();
    let shown = causes.iter().map(|cause| {
        let reason = cause["reason"].as_str().unwrap();
        format!(
            "{} {}",
            cause["field"].as_str().unwrap(),
            reason.trim_start_matches("FieldValue")
        )
    });
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    shown
}

#[rstest]
#[case::max_of_zero(json!({"maxReplicas": 0}), &["spec.maxReplicas Invalid", "spec.maxReplicas Required"])]
#[case::max_below_min(json!({"minReplicas": 6}), &["spec.maxReplicas Invalid"])]
#[case::min_of_zero(
    json!({"minReplicas": 0}), &["spec.metrics Forbidden", "spec.minReplicas Invalid"]
)]
#[case::no_group(reference("v1", "Deployment", "web"), &["spec.scaleTargetRef.apiVersion Invalid"])]
#[case::no_version(reference("a/b/c", "Deployment", "web"), &["spec.scaleTargetRef.apiVersion Invalid"])]
#[case::no_kind(reference("apps/v1", "", "web"), &["spec.scaleTargetRef.kind Required"])]
#[case::a_path(reference("apps/v1", "Deployment", "a/b"), &["spec.scaleTargetRef.name Invalid"])]
#[case::a_parent(reference("apps/v1", "..", "web"), &["spec.scaleTargetRef.kind Invalid"])]
#[case::two_sources(
    json!({"metrics": [{"type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
        "pods": {"metric": {"name": "qps"}, "target": {"type": "AverageValue", "averageValue": "1"}}}]}),
    &["spec.metrics[0].pods Forbidden"]
)]
#[case::no_target(cpu(&json!({"type": "Utilization"})),
    &["spec.metrics[0].resource.target.averageUtilization Required"])]
#[case::both_targets(
    cpu(&json!({"type": "Utilization", "averageUtilization": 5, "averageValue": "1"})),
    &["spec.metrics[0].resource.target.averageValue Forbidden"]
)]
#[case::a_percentage_of_zero(cpu(&json!({"type": "Utilization", "averageUtilization": 0})),
    &["spec.metrics[0].resource.target.averageUtilization Invalid"])]
#[case::a_negative_average(cpu(&json!({"type": "AverageValue", "averageValue": "-1"})),
    &["spec.metrics[0].resource.target.averageValue Invalid"])]
#[case::a_container_without_a_name(
    metric("ContainerResource", &json!({"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 50}})),
    &["spec.metrics[0].containerResource.container Required"]
)]
#[case::a_metric_that_is_a_path(
    metric("Pods", &json!({"metric": {"name": "a%b"},
        "target": {"type": "AverageValue", "averageValue": "1"}})),
    &["spec.metrics[0].pods.metric.name Invalid"]
)]
#[case::both_external(queue(&json!({"type": "Value", "value": "1", "averageValue": "1"})),
    &["spec.metrics[0].external.target.value Forbidden"])]
#[case::no_policies(json!({"behavior": {"scaleDown": {"policies": []}}}),
    &["spec.behavior.scaleDown.policies Required"])]
#[case::a_long_window(json!({"behavior": {"scaleUp": {"stabilizationWindowSeconds": 3601}}}),
    &["spec.behavior.scaleUp.stabilizationWindowSeconds Invalid"])]
#[case::an_unknown_choice(json!({"behavior": {"scaleUp": {"selectPolicy": "Best"}}}),
    &["spec.behavior.scaleUp.selectPolicy NotSupported"])]
#[case::a_policy_of_nothing(policy(&json!({"type": "Pods", "value": 0, "periodSeconds": 15})),
    &["spec.behavior.scaleUp.policies[0].value Invalid"])]
#[case::a_long_period(policy(&json!({"type": "Percent", "value": 900, "periodSeconds": 1801})),
    &["spec.behavior.scaleUp.policies[0].periodSeconds Invalid"])]
#[case::a_negative_tolerance(json!({"behavior": {"scaleUp": {"tolerance": "-1m"}}}),
    &["spec.behavior.scaleUp.tolerance Invalid"])]
#[tokio::test]
async fn what_is_wrong_is_said_field_by_field(#[case] more: Value, #[case] want: &[&str]) {
    let rig = Rig::new().await;
    let status = rig.post(V2, &hpa(&more)).await;
    let status = status.expect_failure(422, "Invalid", "\"web\" is invalid");
    assert_eq!(causes(&status), want, "{status:#}");
    rig.get(&format!("{V2}/web")).await.expect(404);
}

#[rstest]
#[case::a_thousand_percent(cpu(&json!({"type": "Utilization", "averageUtilization": 1000})))]
#[case::a_type_beside_another_number(cpu(&json!({"type": "AverageValue", "averageUtilization": 50})))]
#[case::an_extended_resource(metric("Resource", &json!({"name": "example.com/gpu",
    "target": {"type": "AverageValue", "averageValue": "1"}})))]
#[case::an_object_with_both_targets(metric("Object", &json!({
    "describedObject": {"kind": "Service", "name": "front"}, "metric": {"name": "rps"},
    "target": {"type": "Value", "value": "1", "averageValue": "1"}})))]
#[case::a_selector_nobody_understands(metric("External", &json!({
    "metric": {"name": "queue", "selector": {"matchExpressions": [{"key": "a", "operator": "Bogus"}]}},
    "target": {"type": "Value", "value": "1"}})))]
#[case::a_replication_controller(reference("v1", "ReplicationController", "web"))]
#[case::nine_hundred_percent_more(policy(&json!({"type": "Percent", "value": 900, "periodSeconds": 1800})))]
#[tokio::test]
async fn what_looks_odd_is_accepted(#[case] more: Value) {
    let rig = Rig::new().await;
    rig.post(V2, &hpa(&more)).await.expect(201);
}

#[tokio::test]
async fn a_quantity_that_is_none_is_a_bad_request() {
    let rig = Rig::new().await;
    let bad = hpa(&cpu(
        &json!({"type": "AverageValue", "averageValue": "much"}),
    ));
    rig.post(V2, &bad)
        .await
        .expect_failure(400, "BadRequest", "quantities must match");
}

#[tokio::test]
async fn each_endpoint_writes_its_own_half() {
    let rig = Rig::new().await;
    let status = json!({"currentReplicas": 3, "desiredReplicas": 4, "currentMetrics": null,
        "observedGeneration": 1});
    let mut sent = hpa(&json!({}));
    sent["status"] = status.clone();
    let made = rig.post(V2, &sent).await.expect(201);
    assert_eq!(
        made["status"],
        json!({"desiredReplicas": 0, "currentMetrics": null})
    );
    assert_eq!(made["metadata"].get("generation"), None);

    sent["spec"]["maxReplicas"] = json!(9);
    let one = format!("{V2}/web");
    let edited = rig.put(&one, &sent).await.expect(200);
    assert_eq!(edited["spec"]["maxReplicas"], 9);
    assert_eq!(edited["status"]["desiredReplicas"], 0);

    sent["spec"]["maxReplicas"] = json!(2);
    let written = rig.put(&format!("{one}/status"), &sent).await.expect(200);
    assert_eq!(written["status"], status);
    assert_eq!(written["spec"]["maxReplicas"], 9);
    assert_eq!(written["metadata"].get("generation"), None);

    sent["status"] = json!({"currentReplicas": -1, "desiredReplicas": -2});
    let refused = rig.put(&format!("{one}/status"), &sent).await;
    let refused = refused.expect_failure(422, "Invalid", "is invalid");
    let want = [
        "status.currentReplicas Invalid",
        "status.desiredReplicas Invalid",
    ];
    assert_eq!(causes(&refused), want);
}

#[tokio::test]
async fn a_stored_target_without_a_group_stays_editable() {
    let rig = Rig::new().await;
    // As an older server may have stored it: the rule is for new references only.
    rig.post(V2, &hpa(&reference("v1", "ReplicationController", "web")))
        .await
        .expect(201);
    let edited = hpa(&reference("v1", "ReplicationController", "other"));
    rig.put(&format!("{V2}/web"), &edited).await.expect(200);
    let moved = hpa(&reference("v1", "Deployment", "other"));
    let refused = rig.put(&format!("{V2}/web"), &moved).await.expect(422);
    assert_eq!(causes(&refused), ["spec.scaleTargetRef.apiVersion Invalid"]);
}

#[tokio::test]
async fn what_v1_cannot_say_rides_in_annotations_and_comes_back() {
    let rig = Rig::new().await;
    let more = json!({
        "metrics": [
            {"type": "Resource", "resource": {"name": "memory",
                "target": {"type": "AverageValue", "averageValue": "500Mi"}}},
            {"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 50}}},
            {"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 60}}},
        ],
        "behavior": {"scaleUp": {"tolerance": "50m"}},
    });
    let mut sent = hpa(&more);
    sent["metadata"]["annotations"] = json!({"mine": "stays"});
    rig.post(V2, &sent).await.expect(201);
    let old = rig.get(&format!("{V1}/web")).await.expect(200);
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 50);
    let annotation = |key: &str| -> Value {
        let text = &old["metadata"]["annotations"][format!("{ANNOTATIONS}/{key}")];
        serde_json::from_str(text.as_str().unwrap()).unwrap()
    };
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "500Mi"}},
        {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 60}},
    ]);
    assert_eq!(annotation("metrics"), metrics);
    assert_eq!(annotation("behavior")["ScaleUp"]["Tolerance"], "50m");

    // Written back through v1, it says the same, the CPU target last.
    rig.put(&format!("{V1}/web"), &old).await.expect(200);
    let new = rig.get(&format!("{V2}/web")).await.expect(200);
    assert_eq!(new["metadata"]["annotations"], json!({"mine": "stays"}));
    let kept = new["spec"]["metrics"].as_array().unwrap();
    let percent = |index: usize| &kept[index]["resource"]["target"]["averageUtilization"];
    assert_eq!((percent(1), percent(2)), (&json!(60), &json!(50)));
    assert_eq!(new["spec"]["behavior"]["scaleUp"]["tolerance"], "50m");
}

#[rstest]
#[case::garbage("metrics", "not json", Ok(()))]
#[case::without_policies(
    "behavior",
    r#"{"scaleDown":{"selectPolicy":"Max"}}"#,
    Err("spec.behavior.scaleDown.policies Required")
)]
#[case::in_any_case("behavior",
    r#"{"SCALEDOWN":{"policies":[{"type":"Pods","VALUE":1,"periodseconds":15}]}}"#, Ok(()))]
#[tokio::test]
async fn annotations_of_v1_are_read_with_care(
    #[case] key: &str,
    #[case] text: &str,
    #[case] want: Result<(), &str>,
) {
    let rig = Rig::new().await;
    let mut sent = hpa(&json!({}));
    sent["metadata"]["annotations"] = json!({format!("{ANNOTATIONS}/{key}"): text});
    let answer = rig.post(V1, &sent).await;
    match want {
        Ok(()) => drop(answer.expect(201)),
        Err(cause) => assert_eq!(causes(&answer.expect(422)), [cause]),
    }
}

#[rstest]
#[case::zero_needs_its_gate("", queue(&json!({"type": "Value", "value": "1"})), 422)]
#[case::zero_with_its_gate("HPAScaleToZero=true", queue(&json!({"type": "Value", "value": "1"})), 201)]
#[case::zero_needs_a_metric_from_outside("HPAScaleToZero=true", json!({}), 422)]
#[tokio::test]
async fn zero_replicas_are_a_matter_of_gate_and_metric(
    #[case] gates: &str,
    #[case] more: Value,
    #[case] code: u16,
) {
    let rig = Rig::gated(gates.parse().unwrap()).await;
    let mut sent = hpa(&more);
    sent["spec"]["minReplicas"] = json!(0);
    for path in [V2, V1] {
        if path == V1 && code == 201 {
            // Through v1 the metric comes as an annotation.
            let old = rig.get(&format!("{V1}/web")).await.expect(200);
            rig.put(&format!("{V1}/web"), &old).await.expect(200);
        } else {
            rig.post(path, &sent).await.expect(code);
        }
    }
}

#[tokio::test]
async fn a_tolerance_is_dropped_where_its_gate_is_off() {
    let off: FeatureGates = "HPAConfigurableTolerance=false".parse().unwrap();
    let rig = Rig::gated(off).await;
    // Even a wrong one: nobody looks at it.
    let sent = hpa(&json!({"behavior": {"scaleUp": {"tolerance": "-1"}}}));
    let made = rig.post(V2, &sent).await.expect(201);
    assert_eq!(made["spec"]["behavior"]["scaleUp"].get("tolerance"), None);
}

#[tokio::test]
async fn resources_of_whole_pods_are_dropped_where_their_gate_is_off() {
    let off: FeatureGates = "PodLevelResources=false".parse().unwrap();
    let template = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx"}],
                 "resources": {"requests": {"cpu": "1"}}},
    });
    let sent = json!({"metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}}, "template": template}});
    for (gates, kept) in [(FeatureGates::default(), true), (off, false)] {
        let rig = Rig::gated(gates).await;
        let made = rig.post(crate::rig::DEPLOYMENTS, &sent).await.expect(201);
        let resources = made["spec"]["template"]["spec"].get("resources");
        assert_eq!(resources.is_some(), kept, "{made:#}");
    }
}

#[tokio::test]
async fn metrics_say_which_features_are_on() {
    let rig = Rig::gated("HPAScaleToZero=true".parse().unwrap()).await;
    let text = rig.get("/metrics").await.text;
    let want = r#"kubernetes_feature_enabled{name="HPAScaleToZero",stage="ALPHA"} 1"#;
    assert!(text.lines().any(|line| line == want), "{text}");
}
