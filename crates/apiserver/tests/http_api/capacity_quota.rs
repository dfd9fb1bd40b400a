//! The definition of `CapacityQuota`: what it takes and what it refuses.

use crate::rig::Rig;
use plimsoll_api::capacity_quota;
use rstest::rstest;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const QUOTAS: &str = "/apis/autoscaling.x-k8s.io/v1beta1/capacityquotas";

async fn defined() -> Rig {
    let rig = Rig::new().await;
    let definition = capacity_quota::definition();
    rig.post(DEFINITIONS, &definition).await.expect(201);
    rig
}

fn quota(version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("autoscaling.x-k8s.io/{version}"), "kind": "CapacityQuota",
        "metadata": {"name": "team"}, "spec": spec,
    })
}

#[rstest]
#[case::whole_cluster(json!({"limits": {"resources": {"cpu": 128, "memory": "256Gi"}}}))]
#[case::nothing_limited(json!({"limits": {"resources": {}}}))]
#[case::decimal_units(json!({"limits": {"resources": {"nodes": "2k", "nvidia.com/gpu": "0"}}}))]
#[case::every_operator(json!({
    "selector": {
        "matchLabels": {"example.cloud.com/machine-family": "e2", "empty": ""},
        "matchExpressions": [
            {"key": "node-role.kubernetes.io/control-plane", "operator": "DoesNotExist"},
            {"key": "a", "operator": "Exists"},
            {"key": "a", "operator": "In", "values": ["b", "c"]},
            {"key": "a", "operator": "NotIn", "values": ["d"]},
        ],
    },
    "limits": {"resources": {"nodes": 8}},
}))]
#[tokio::test]
async fn is_taken_as_it_is(#[case] spec: Value) {
    let rig = defined().await;
    let got = rig.post(QUOTAS, &quota("v1beta1", &spec)).await.expect(201);
    assert_eq!(got["spec"], spec);
}

#[tokio::test]
async fn the_alpha_is_the_same() {
    let rig = defined().await;
    let spec = json!({"limits": {"resources": {"nodes": 8}}});
    let alpha = QUOTAS.replace("v1beta1", "v1alpha1");
    rig.post(&alpha, &quota("v1alpha1", &spec))
        .await
        .expect(201);
    let got = rig.get(&format!("{QUOTAS}/team")).await.expect(200);
    assert_eq!(got["spec"], spec);
    assert_eq!(got["apiVersion"], "autoscaling.x-k8s.io/v1beta1");
}

#[rstest]
#[case::milli(json!({"resources": {"cpu": "500m"}}), "must be non-negative integers")]
#[case::a_fraction(json!({"resources": {"cpu": "0.3"}}), "must be non-negative integers")]
#[case::negative(json!({"resources": {"cpu": -1}}), "must be non-negative integers")]
#[case::negative_text(json!({"resources": {"cpu": "-1"}}), "must be non-negative integers")]
#[case::no_quantity(json!({"resources": {"cpu": "many"}}), "should match")]
#[case::a_long_name(
    json!({"resources": {("x".repeat(64)): 1}}), "Resource names must be 63 characters or less."
)]
#[case::no_resources(json!({}), "spec.limits.resources: Required value")]
#[tokio::test]
async fn wrong_limits_are_refused(#[case] limits: Value, #[case] want: &str) {
    let rig = defined().await;
    let spec = json!({ "limits": limits });
    let answer = rig.post(QUOTAS, &quota("v1beta1", &spec)).await;
    let refused = answer.expect(422)["message"].to_string();
    assert!(refused.contains(want), "{refused}");
}

#[rstest]
#[case::a_key(
    json!({"matchExpressions": [{"key": "a b", "operator": "Exists"}]}),
    "matchExpressions[0].key in body should match"
)]
#[case::a_key_with_two_domains(
    json!({"matchExpressions": [{"key": "a/b/c", "operator": "Exists"}]}),
    "matchExpressions[0].key in body should match"
)]
#[case::a_value(json!({"matchLabels": {"a": "b c"}}), "matchLabels.a in body should match")]
#[case::an_operator(
    json!({"matchExpressions": [{"key": "a", "operator": "Gt"}]}), "Unsupported value"
)]
#[case::no_values(
    json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
    "values set must be non-empty when operator is In or NotIn"
)]
#[case::values(
    json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
    "values set must be empty when operator is Exists or DoesNotExist"
)]
#[tokio::test]
async fn wrong_selectors_are_refused(#[case] selector: Value, #[case] want: &str) {
    let rig = defined().await;
    let spec = json!({"selector": selector, "limits": {"resources": {}}});
    let answer = rig.post(QUOTAS, &quota("v1beta1", &spec)).await;
    let refused = answer.expect(422)["message"].to_string();
    assert!(refused.contains(want), "{refused}");
}
