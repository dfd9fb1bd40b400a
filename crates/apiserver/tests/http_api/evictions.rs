//! Evictions: who may go, what a budget loses, what a refusal says.

use crate::rig::{Bound, PODS, Rig};
use rstest::rstest;
use serde_json::{Value, json};

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

async fn start() -> Rig {
    let rig = Rig::new().await;
    rig.default_account().await;
    rig
}

/// A pod labelled `app=web` in this phase.
async fn pod(rig: &Rig, name: &str, phase: &str, ready: bool) {
    rig.pod(name, Bound::Yes).await;
    let status = if ready { "True" } else { "False" };
    let status =
        json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": status}]}});
    let path = format!("{PODS}/{name}/status");
    rig.patch(&path, "strategic-merge", &status)
        .await
        .expect(200);
}

/// A budget over `app=web` whose status says so many allowed, healthy and desired.
async fn budget(rig: &Rig, name: &str, figures: (u32, u32, u32)) {
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}});
    let body = json!({"metadata": {"name": name}, "spec": spec});
    rig.post(BUDGETS, &body).await.expect(201);
    let (allowed, healthy, desired) = figures;
    let status = json!({"status": {"observedGeneration": 1, "currentHealthy": healthy,
        "desiredHealthy": desired, "expectedPods": healthy, "disruptionsAllowed": allowed}});
    set_status(rig, name, &status).await;
}

async fn set_status(rig: &Rig, name: &str, status: &Value) {
    let path = format!("{BUDGETS}/{name}/status");
    rig.patch(&path, "merge", status).await.expect(200);
}

async fn status(rig: &Rig, name: &str) -> Value {
    rig.get(&format!("{BUDGETS}/{name}")).await.expect(200)["status"].clone()
}

fn eviction(name: &str) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}})
}

async fn is_there(rig: &Rig, name: &str) -> bool {
    let pod = rig.get(&format!("{PODS}/{name}")).await;
    pod.code == 200 && pod.json()["metadata"].get("deletionTimestamp").is_none()
}

#[tokio::test(start_paused = true)]
async fn the_last_disruption_turns_the_condition() {
    let rig = start().await;
    pod(&rig, "p", "Running", true).await;
    budget(&rig, "web", (1, 2, 1)).await;
    let answer = rig
        .post(&format!("{PODS}/p/eviction"), &eviction("p"))
        .await;
    assert_eq!(answer.expect(201)["status"], "Success");
    let status = status(&rig, "web").await;
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["p"].is_string());
    let condition = &status["conditions"][0];
    assert_eq!(
        (
            &condition["type"],
            &condition["status"],
            &condition["reason"]
        ),
        (
            &json!("DisruptionAllowed"),
            &json!("False"),
            &json!("InsufficientPods")
        )
    );
    assert!(!is_there(&rig, "p").await);
}

#[tokio::test(start_paused = true)]
async fn two_budgets_cannot_be_asked() {
    let rig = start().await;
    pod(&rig, "p", "Running", true).await;
    budget(&rig, "one", (1, 2, 1)).await;
    budget(&rig, "two", (1, 2, 1)).await;
    let refused = rig
        .post(&format!("{PODS}/p/eviction"), &eviction("p"))
        .await;
    let refused = refused.expect(500);
    assert_eq!(
        refused["message"],
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
    assert_eq!(status(&rig, "one").await["disruptionsAllowed"], 1);
    assert!(is_there(&rig, "p").await);
}

#[rstest]
#[case::healthy_budget(json!(null), (0, 2, 2), 201)]
#[case::said_so(json!("IfHealthyBudget"), (0, 2, 2), 201)]
#[case::sick_budget(json!(null), (0, 1, 2), 429)]
#[case::nothing_desired(json!("IfHealthyBudget"), (0, 0, 0), 429)]
#[case::always(json!("AlwaysAllow"), (0, 0, 2), 201)]
#[tokio::test(start_paused = true)]
async fn a_pod_that_is_not_ready_goes_by_policy(
    #[case] policy: Value,
    #[case] figures: (u32, u32, u32),
    #[case] want: u16,
) {
    let rig = start().await;
    pod(&rig, "p", "Running", false).await;
    budget(&rig, "web", figures).await;
    if policy.is_string() {
        let patch = json!({"spec": {"unhealthyPodEvictionPolicy": policy}});
        let path = format!("{BUDGETS}/web");
        rig.patch(&path, "merge", &patch).await.expect(200);
        set_status(&rig, "web", &json!({"status": {"observedGeneration": 2}})).await;
    }
    let answer = rig
        .post(&format!("{PODS}/p/eviction"), &eviction("p"))
        .await;
    answer.expect(want);
    assert_eq!(is_there(&rig, "p").await, want == 429);
    // It takes nothing from the budget.
    assert!(status(&rig, "web").await.get("disruptedPods").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_asks_and_changes_nothing() {
    let rig = start().await;
    pod(&rig, "p", "Running", true).await;
    budget(&rig, "web", (1, 2, 1)).await;
    let mut dry = eviction("p");
    dry["deleteOptions"] = json!({"dryRun": ["All"]});
    let before = rig.get(&format!("{PODS}/p")).await.expect(200);
    rig.post(&format!("{PODS}/p/eviction"), &dry)
        .await
        .expect(201);
    let by_query = format!("{PODS}/p/eviction?dryRun=All");
    rig.post(&by_query, &eviction("p")).await.expect(201);
    assert_eq!(status(&rig, "web").await["disruptionsAllowed"], 1);
    assert_eq!(rig.get(&format!("{PODS}/p")).await.expect(200), before);
    set_status(&rig, "web", &json!({"status": {"disruptionsAllowed": 0}})).await;
    rig.post(&by_query, &eviction("p")).await.expect(429);
}

#[rstest]
#[case::uid(json!({"uid": "x"}), "the UID in the precondition (x) does not match")]
#[case::version(json!({"resourceVersion": "1"}), "the ResourceVersion in the precondition (1) does not match")]
#[tokio::test(start_paused = true)]
async fn preconditions_hold_for_evictions(#[case] preconditions: Value, #[case] why: &str) {
    let rig = start().await;
    pod(&rig, "p", "Running", true).await;
    let mut asked = eviction("p");
    asked["deleteOptions"] = json!({"preconditions": preconditions});
    let refused = rig.post(&format!("{PODS}/p/eviction"), &asked).await;
    refused.expect_failure(409, "Conflict", why);
    assert!(is_there(&rig, "p").await);
}

#[tokio::test(start_paused = true)]
async fn a_matching_version_is_honoured() {
    let rig = start().await;
    pod(&rig, "p", "Running", true).await;
    let seen = rig.get(&format!("{PODS}/p")).await.expect(200);
    let mut asked = eviction("p");
    let version = &seen["metadata"]["resourceVersion"];
    asked["deleteOptions"] = json!({"preconditions": {"resourceVersion": version}});
    rig.post(&format!("{PODS}/p/eviction"), &asked)
        .await
        .expect(201);
    assert!(!is_there(&rig, "p").await);
}

#[rstest]
#[case("Pending")]
#[case("Succeeded")]
#[case("Failed")]
#[tokio::test(start_paused = true)]
async fn pods_that_serve_nobody_need_no_budget(#[case] phase: &str) {
    let rig = start().await;
    pod(&rig, "p", phase, false).await;
    budget(&rig, "web", (0, 1, 1)).await;
    rig.post(&format!("{PODS}/p/eviction"), &eviction("p"))
        .await
        .expect(201);
    assert!(!is_there(&rig, "p").await);
}

#[rstest]
#[case::nothing(json!({"minAvailable": 1}), 201)]
#[case::everything(json!({"minAvailable": 1, "selector": {}}), 429)]
#[case::others(json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "db"}}}), 201)]
#[tokio::test(start_paused = true)]
async fn a_selector_says_whom_a_budget_protects(#[case] spec: Value, #[case] want: u16) {
    let rig = start().await;
    pod(&rig, "p", "Running", true).await;
    let body = json!({"metadata": {"name": "web"}, "spec": spec});
    rig.post(BUDGETS, &body).await.expect(201);
    let answer = rig
        .post(&format!("{PODS}/p/eviction"), &eviction("p"))
        .await;
    answer.expect(want);
}

#[tokio::test(start_paused = true)]
async fn refusals_say_why() {
    let rig = start().await;
    pod(&rig, "p", "Running", true).await;
    budget(&rig, "web", (0, 1, 1)).await;
    let path = format!("{PODS}/p/eviction");
    let cause = async || {
        let refused = rig.post(&path, &eviction("p")).await;
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let refused = refused.expect_failure(429, "TooManyRequests", message);
        let cause = refused["details"]["causes"][0].clone();
        assert_eq!(cause["reason"], "DisruptionBudget");
        cause["message"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        cause().await,
        "The disruption budget web needs 1 healthy pods and has 1 currently"
    );
    let failed = json!({"status": {"conditions": [{"type": "DisruptionAllowed", "status": "False",
        "reason": "SyncFailed", "message": "no scale", "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    set_status(&rig, "web", &failed).await;
    assert_eq!(
        cause().await,
        "The disruption budget web does not allow evicting pods currently because it failed sync: no scale"
    );
    let two = json!({"spec": {"minAvailable": 2}});
    rig.patch(&format!("{BUDGETS}/web"), "merge", &two)
        .await
        .expect(200);
    assert_eq!(
        cause().await,
        "The disruption budget web is still being processed by the server."
    );
    let wrong = rig.post(&path, &eviction("q")).await;
    wrong.expect_failure(
        400,
        "BadRequest",
        "name in URL does not match name in Eviction object",
    );
}

#[tokio::test(start_paused = true)]
async fn evictions_at_the_same_time_share_what_is_allowed() {
    let rig = start().await;
    let names: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
    for name in &names {
        pod(&rig, name, "Running", true).await;
    }
    budget(&rig, "web", (7, 20, 13)).await;
    let asked = names.iter().map(|name| {
        let (rig, path) = (&rig, format!("{PODS}/{name}/eviction"));
        async move { rig.post(&path, &eviction(name)).await.code }
    });
    let mut codes = futures::future::join_all(asked).await;
    codes.sort_unstable();
    assert_eq!(codes[..7], [201; 7]);
    assert_eq!(codes[7..], [429; 13]);
    let status = status(&rig, "web").await;
    assert_eq!(status["disruptionsAllowed"], 0);
    assert_eq!(status["disruptedPods"].as_object().unwrap().len(), 7);
}
