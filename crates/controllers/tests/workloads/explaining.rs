//! What the horizontal autoscaler says: holds by hand, the decision log, and what is wrong around it.

use crate::autoscaling::{Load, autoscaler, autoscalers, sizes, start};
use crate::rig::{Rig, condition, deployment};
use kube::api::{DeleteParams, Patch, PatchParams};
use plimsoll_api::local::{LocalGroup, LocalRequest};
use serde_json::{Value, json};
use std::time::Duration;

async fn explained(load: &Load, name: &str) -> Value {
    let request = LocalRequest {
        resource: "horizontalpodautoscalers".into(),
        namespace: Some("default".into()),
        name: Some(name.into()),
        ..LocalRequest::default()
    };
    load.explanations.read(request).await.unwrap_or_default()
}

/// The kinds of what is found around an autoscaler now.
async fn found(load: &Load, name: &str) -> Vec<String> {
    let explained = explained(load, name).await;
    let findings = explained["findings"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let kind = |finding: &Value| finding["type"].as_str().unwrap_or_default().to_owned();
    findings.iter().map(kind).collect()
}

/// Waits (in virtual time, at most twenty minutes) until a kind is found, or not any more.
async fn until_is(rig: &Rig, load: &Load, kind: &str, wanted: bool) {
    for _ in 0..2400 {
        rig.tend_pods().await;
        if found(load, "web").await.iter().any(|found| found == kind) == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    panic!(
        "{kind} never becomes {wanted}: {:#}",
        explained(load, "web").await
    );
}

async fn until_found(rig: &Rig, load: &Load, kind: &str) {
    until_is(rig, load, kind, true).await;
}

async fn until_gone(rig: &Rig, load: &Load, kind: &str) {
    until_is(rig, load, kind, false).await;
}

/// One deployment `web` of `replicas` pods with an autoscaler, and a load.
async fn scaled(replicas: i32, milli: u64) -> (Rig, Load) {
    let (rig, load) = start().await;
    load.set(milli);
    rig.deploy(replicas).await;
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    (rig, load)
}

#[tokio::test(start_paused = true)]
async fn a_hold_stops_the_count_until_it_ends() {
    let (rig, load) = scaled(2, 100).await;
    assert_eq!(sizes(&rig, Duration::from_secs(20)).await, [2]);
    assert!(
        found(&load, "web").await.is_empty(),
        "a healthy one is not remarked on"
    );
    let until = rig.clock.now() + Duration::from_secs(60);
    let hold =
        json!({ "plimsoll.dev/hold": until.to_string(), "plimsoll.dev/hold-reason": "sale" });
    let annotations = json!({ "metadata": { "annotations": hold } });
    rig.patch(&autoscalers(&rig), "web", annotations).await;
    load.set(400);
    assert_eq!(sizes(&rig, Duration::from_secs(58)).await, [2]);
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    let (status, reason, message) = condition(&hpa, "Held");
    assert_eq!((&*status, &*reason), ("True", "HeldByHand"));
    let wanted = format!("held by hand until {until} (sale): would go to 4 replicas");
    assert_eq!(message, wanted);
    assert_eq!(condition(&hpa, "AbleToScale").0, "True");
    assert_eq!(explained(&load, "web").await["summary"], wanted);

    // It ends by itself, at once and not a sync period later.
    assert_eq!(sizes(&rig, Duration::from_secs(4)).await.get(1), Some(&4));
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    assert_eq!(condition(&hpa, "Held").0, "");
    assert_eq!(rig.events("Held").await.len(), 1);
    let resumed = rig.events("Resumed").await;
    assert_eq!(resumed, ["no longer held by hand: scaling goes on"]);
}

#[tokio::test(start_paused = true)]
async fn equal_decisions_are_counted_in_the_log() {
    let (rig, load) = scaled(2, 100).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await, [2]);
    load.set(400);
    sizes(&rig, Duration::from_secs(10)).await;
    let request = LocalRequest {
        resource: "decisions".into(),
        field_selector: "involvedObject.name=web".into(),
        ..LocalRequest::default()
    };
    let log = load.explanations.read(request).await.unwrap();
    let decisions = log["items"].as_array().unwrap();
    let held = |d: &&Value| d["summary"] == "held at 2: 50% is within 10% of 50%";
    let held = decisions.iter().find(held).unwrap();
    assert!(held["passes"].as_u64().unwrap() > 30, "{held:#}");
    let moved: Vec<_> = decisions.iter().filter(|d| d["wrote"] == true).collect();
    assert_eq!((&moved[0]["from"], &moved[0]["to"]), (&json!(2), &json!(4)));
    assert!(decisions.len() < 20, "{}", decisions.len());
}

#[tokio::test(start_paused = true)]
async fn another_writer_of_the_count_is_named_for_a_while() {
    let (rig, load) = scaled(2, 100).await;
    assert_eq!(sizes(&rig, Duration::from_secs(20)).await, [2]);
    let params = PatchParams {
        field_manager: Some("deploy-script".into()),
        ..PatchParams::default()
    };
    let patch = json!({ "spec": { "replicas": 3 } });
    let patch = Patch::Merge(&patch);
    drop(
        rig.deployments()
            .patch("web", &params, &patch)
            .await
            .unwrap(),
    );
    until_found(&rig, &load, "OtherReplicasWriter").await;
    let told = rig.events("OtherReplicasWriter").await;
    assert_eq!(told.len(), 1);
    let start =
        "spec.replicas of Deployment web was changed from 2 to 3 by deploy-script (Update) at";
    assert!(told[0].starts_with(start), "{told:?}");
    assert!(
        told[0].contains("remove replicas from the manifest"),
        "{told:?}"
    );
    until_gone(&rig, &load, "OtherReplicasWriter").await;
    assert_eq!(rig.events("OtherReplicasWriter").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_autoscalers_on_one_target_are_told_before_there_are_pods() {
    let (rig, load) = start().await;
    rig.create(&rig.deployments(), deployment("a", 0)).await;
    for name in ["web", "two"] {
        rig.create(&autoscalers(&rig), autoscaler(name)).await;
    }
    until_found(&rig, &load, "SharedTarget").await;
    let told = rig.events("SharedTarget").await;
    let other = "Deployment web is also the target of HorizontalPodAutoscaler two";
    assert!(told.iter().any(|text| text.starts_with(other)), "{told:?}");
    let gone = autoscalers(&rig)
        .delete("two", &DeleteParams::default())
        .await;
    drop(gone.unwrap());
    until_gone(&rig, &load, "SharedTarget").await;
}

#[tokio::test(start_paused = true)]
async fn cpu_at_the_limit_is_told() {
    let (rig, load) = start().await;
    load.set(200);
    let mut web = deployment("a", 2);
    web["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"] =
        json!({ "cpu": "100m" });
    rig.create(&rig.deployments(), web).await;
    rig.settle(2).await;
    let mut capped = autoscaler("web");
    capped["spec"]["maxReplicas"] = json!(2);
    rig.create(&autoscalers(&rig), capped).await;
    until_found(&rig, &load, "CpuSaturated").await;
    let told = rig.events("CpuSaturated").await;
    let text = "cpu is at its limit (100m of 100m per pod on average): the metric cannot rise above \
                100%, a ratio of 2.00, however large the load";
    assert!(told[0].starts_with(text), "{told:?}");
    load.set(120);
    until_gone(&rig, &load, "CpuSaturated").await;
}

#[tokio::test(start_paused = true)]
async fn long_at_the_maximum_is_told() {
    let (rig, load) = start().await;
    load.set(800);
    rig.deploy(2).await;
    let mut capped = autoscaler("web");
    capped["spec"]["maxReplicas"] = json!(2);
    rig.create(&autoscalers(&rig), capped).await;
    sizes(&rig, Duration::from_secs(14 * 60)).await;
    assert!(found(&load, "web").await.is_empty());
    until_found(&rig, &load, "StuckAtMaximum").await;
    load.set(100);
    until_gone(&rig, &load, "StuckAtMaximum").await;
}

#[tokio::test(start_paused = true)]
async fn an_injected_container_without_a_request_is_named() {
    let (rig, load) = scaled(1, 50).await;
    assert_eq!(sizes(&rig, Duration::from_secs(20)).await, [1]);
    let labels = json!({ "app": "web" });
    let stray = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "meshed", "namespace": "default", "labels": labels },
        "spec": { "containers": [
            { "name": "c", "image": "a", "resources": { "requests": { "cpu": "100m" } } },
            { "name": "proxy", "image": "p" },
        ] },
    });
    rig.create(&rig.pods(), stray).await;
    until_found(&rig, &load, "MissingRequest").await;
    let told = rig.events("MissingRequest").await;
    let text = "container proxy (not in the target's pod template: injected) has no cpu request in \
                pod meshed";
    assert!(told[0].starts_with(text), "{told:?}");
    assert!(
        told[0].contains("a ContainerResource metric on \"c\""),
        "{told:?}"
    );
    let kinds = found(&load, "web").await;
    assert!(kinds.contains(&"ForeignPods".to_owned()), "{kinds:?}");
    let told = rig.events("ForeignPods").await;
    assert!(
        told[0].contains("1 pod of no controller: meshed"),
        "{told:?}"
    );
    let gone = rig
        .pods()
        .delete("meshed", &DeleteParams::default().grace_period(0))
        .await;
    drop(gone.unwrap());
    until_gone(&rig, &load, "MissingRequest").await;
    until_gone(&rig, &load, "ForeignPods").await;
}

/// A VerticalPodAutoscaler's definition, as far as this is concerned.
fn vertical_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "verticalpodautoscalers.autoscaling.k8s.io",
            "annotations": { "api-approved.kubernetes.io": "https://example.invalid" } },
        "spec": {
            "group": "autoscaling.k8s.io", "scope": "Namespaced",
            "names": { "plural": "verticalpodautoscalers", "kind": "VerticalPodAutoscaler" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": { "type": "object",
                    "x-kubernetes-preserve-unknown-fields": true } } }],
        },
    })
}

#[tokio::test(start_paused = true)]
async fn a_vertical_autoscaler_of_the_same_resource_is_told() {
    let (rig, load) = scaled(2, 100).await;
    let group = ("apiextensions.k8s.io", "v1");
    let definitions = rig.cluster_of(
        group,
        "customresourcedefinitions",
        "CustomResourceDefinition",
    );
    rig.create(&definitions, vertical_definition()).await;
    let group = ("autoscaling.k8s.io", "v1");
    let verticals = rig.api(
        "default",
        group,
        "verticalpodautoscalers",
        "VerticalPodAutoscaler",
    );
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
    let vertical = json!({
        "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler",
        "metadata": { "name": "tall", "namespace": "default" }, "spec": { "targetRef": target },
    });
    rig.until("served", async || {
        verticals
            .list(&kube::api::ListParams::default())
            .await
            .is_ok()
    })
    .await;
    rig.create(&verticals, vertical).await;
    until_found(&rig, &load, "VerticalConflict").await;
    let told = rig.events("VerticalConflict").await;
    let text = "VerticalPodAutoscaler tall (mode Auto) changes the cpu request of Deployment web";
    assert!(told[0].starts_with(text), "{told:?}");
    drop(
        verticals
            .delete("tall", &DeleteParams::default())
            .await
            .unwrap(),
    );
    until_gone(&rig, &load, "VerticalConflict").await;
}
