//! Deletion: at once, gracefully, with finalizers.

use crate::rig::{Bound, CONFIG_MAPS, PODS, Rig};
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn plain_objects_go_at_once_and_answer_a_status() {
    let rig = Rig::new().await;
    let made = rig.config_map("a", &json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let wrong = json!({"preconditions": {"uid": "x"}});
    let refused = rig.delete(&path, Some(&wrong)).await;
    refused.expect_failure(409, "Conflict", "the UID in the precondition (x)");
    let dry = rig.delete(&format!("{path}?dryRun=All"), None).await;
    dry.expect(200);
    let status = rig.delete(&path, None).await.expect(200);
    assert_eq!(
        (&status["status"], &status["details"]["uid"]),
        (&json!("Success"), &made["metadata"]["uid"])
    );
    assert_eq!(rig.get(&path).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn a_running_pod_is_marked_and_removed_by_its_agent() {
    let rig = Rig::new().await;
    rig.default_account().await;
    rig.pod("p", Bound::Yes).await;
    let path = format!("{PODS}/p");
    let marked = rig.delete(&path, None).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(
        marked["metadata"]["deletionTimestamp"],
        "2026-01-01T00:00:30Z"
    );
    assert_eq!(marked["metadata"]["generation"], 2);
    let longer = rig
        .delete(&path, Some(&json!({"gracePeriodSeconds": 60})))
        .await
        .expect(200);
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 30);
    rig.delete(&path, Some(&json!({"gracePeriodSeconds": 0})))
        .await
        .expect(200);
    assert_eq!(rig.get(&path).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn an_unscheduled_pod_goes_at_once() {
    let rig = Rig::new().await;
    rig.default_account().await;
    rig.pod("p", Bound::No).await;
    let gone = rig.delete(&format!("{PODS}/p"), None).await.expect(200);
    assert_eq!(gone["kind"], "Pod");
    assert_eq!(rig.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let rig = Rig::new().await;
    let body = json!({"metadata": {"name": "f", "finalizers": ["a.b/c"]}});
    rig.post(CONFIG_MAPS, &body).await.expect(201);
    let path = format!("{CONFIG_MAPS}/f");
    let held = rig.delete(&path, None).await.expect(200);
    assert_eq!(
        (
            &held["kind"],
            &held["metadata"]["deletionGracePeriodSeconds"]
        ),
        (&json!("ConfigMap"), &json!(0))
    );
    let more = json!({"metadata": {"finalizers": ["a.b/c", "d.e/f"]}});
    let more = rig.patch(&path, "merge", &more).await;
    more.expect_failure(422, "Invalid", "no new finalizers can be added");
    let none = json!({"metadata": {"finalizers": null}});
    rig.patch(&path, "merge", &none).await.expect(200);
    assert_eq!(rig.get(&path).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn propagation_leaves_work_for_the_collector() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let options = json!({"propagationPolicy": "Foreground"});
    let marked = rig.delete(&path, Some(&options)).await.expect(200);
    assert_eq!(
        marked["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    let bad = rig
        .delete(&path, Some(&json!({"propagationPolicy": "Sideways"})))
        .await;
    bad.expect_failure(422, "Invalid", "Unsupported value");
}

#[tokio::test(start_paused = true)]
async fn collections_honour_selectors() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({"x": "1"})).await;
    rig.config_map("b", &json!({"x": "2"})).await;
    let deleted = rig
        .delete(&format!("{CONFIG_MAPS}?labelSelector=x%3D1"), None)
        .await
        .expect(200);
    assert_eq!(deleted["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        rig.get(CONFIG_MAPS).await.expect(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn namespaces_terminate_and_some_never_do() {
    let rig = Rig::new().await;
    let fixed = rig.delete("/api/v1/namespaces/default", None).await;
    fixed.expect_failure(403, "Forbidden", "this namespace may not be deleted");
    let body = json!({"metadata": {"name": "team"}});
    rig.post("/api/v1/namespaces", &body).await.expect(201);
    let ending = rig
        .delete("/api/v1/namespaces/team", None)
        .await
        .expect(200);
    assert_eq!(ending["status"]["phase"], "Terminating");
    let late = json!({"metadata": {"name": "late"}});
    let refused = rig.post("/api/v1/namespaces/team/configmaps", &late).await;
    let status = refused.expect_failure(403, "Forbidden", "being terminated");
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    let mut last = ending;
    last["spec"]["finalizers"] = json!([]);
    rig.put("/api/v1/namespaces/team/finalize", &last)
        .await
        .expect(200);
    assert_eq!(rig.get("/api/v1/namespaces/team").await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn evictions_ask_the_budget() {
    let rig = Rig::new().await;
    rig.default_account().await;
    rig.pod("p", Bound::Yes).await;
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    rig.patch(&format!("{PODS}/p/status"), "strategic-merge", &running)
        .await
        .expect(200);
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({"metadata": {"name": "mypdb"}, "spec": {
        "minAvailable": 1, "selector": {"matchLabels": {"app": "web"}},
    }});
    rig.post(budgets, &budget).await.expect(201);
    let eviction = json!({"metadata": {"name": "p"}});
    let path = format!("{PODS}/p/eviction");
    let unseen = rig.post(&path, &eviction).await;
    unseen.expect_failure(429, "TooManyRequests", "disruption budget");
    let status = |allowed: u32| {
        json!({"status": {"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 1,
            "expectedPods": 1, "disruptionsAllowed": allowed}})
    };
    let at = format!("{budgets}/mypdb/status");
    rig.patch(&at, "merge", &status(0)).await.expect(200);
    let refused = rig.post(&path, &eviction).await.expect(429);
    let cause = &refused["details"]["causes"][0];
    assert_eq!(
        cause["message"],
        "The disruption budget mypdb needs 1 healthy pods and has 1 currently"
    );
    rig.patch(&at, "merge", &status(1)).await.expect(200);
    assert_eq!(
        rig.post(&path, &eviction).await.expect(201)["status"],
        "Success"
    );
    let pod = rig.get(&format!("{PODS}/p")).await.expect(200);
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
}
