//! Limits on nodes with certain labels.

use crate::node_autoscaling::{bound, deploy, hasty, provider, start, target, told};
use crate::rig::{Rig, condition};
use crate::scheduling;
use kube::Api;
use kube::api::DeleteParams;
use kube::core::DynamicObject;
use plimsoll_api::capacity_quota::{
    API_VERSION, GROUP, KIND, PLURAL, RECONCILED, VALID, VERSION, definition,
};
use plimsoll_controllers::nodes::Options;
use serde_json::{Value, json};
use std::time::Duration;

async fn define(rig: &Rig, definition: Value) {
    let definitions = rig.cluster_of(
        ("apiextensions.k8s.io", "v1"),
        "customresourcedefinitions",
        "CustomResourceDefinition",
    );
    rig.create(&definitions, definition).await;
}

fn quotas(rig: &Rig) -> Api<DynamicObject> {
    rig.cluster_of((GROUP, VERSION), PLURAL, KIND)
}

/// A cluster that knows the kind.
async fn rig() -> Rig {
    let rig = scheduling::start().await;
    define(&rig, definition()).await;
    rig
}

fn heedful() -> Options {
    Options {
        capacity_quotas: true,
        ..hasty()
    }
}

/// A quota of the nodes of a group.
fn quota(group: &str, limits: &Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": group},
        "spec": {
            "selector": {"matchLabels": {"plimsoll.dev/node-group": group}},
            "limits": {"resources": limits},
        },
    })
}

async fn read(rig: &Rig, name: &str) -> DynamicObject {
    quotas(rig).get(name).await.unwrap()
}

async fn used(rig: &Rig, name: &str) -> Value {
    read(rig, name).await.data["status"]["used"]["resources"].clone()
}

#[tokio::test(start_paused = true)]
async fn growth_stops_at_a_quota_and_goes_on_as_soon_as_it_is_raised() {
    let rig = rig().await;
    let provider = provider(&rig, &[("workers", (1, 9), 1000)]).await;
    let limits = json!({"cpu": 3, "nodes": "5", "example.com/fpga": 0});
    rig.create(&quotas(&rig), quota("workers", &limits)).await;
    let (_autoscaler, _) = start(&rig, &provider, heedful());
    deploy(&rig, 12).await;
    rig.until("as many pods as fit have nodes", async || {
        bound(&rig).await == 6
    })
    .await;
    let want = "pod didn't trigger scale-up: 1 exceeded quota: \"CapacityQuota/workers\", \
                resources: cpu (cpu 3 of 3 used)";
    rig.until("the others are told", async || {
        told(&rig, "NotTriggerScaleUp").await == [want]
    })
    .await;
    assert_eq!(target(&provider, "workers").await, 3);
    let there = json!({"cpu": "3", "nodes": "3", "example.com/fpga": "0"});
    rig.until("what is used is told", async || {
        used(&rig, "workers").await == there
    })
    .await;
    let object = read(&rig, "workers").await;
    let (holds, reason, _) = condition(&object, VALID);
    assert_eq!((&*holds, &*reason), ("True", "ValidationSucceeded"));
    assert_eq!(condition(&object, RECONCILED).0, "True");
    // Raised, but the number of nodes is limited, too.
    let raised = json!({"spec": {"limits": {"resources": {"cpu": 50, "example.com/fpga": null}}}});
    rig.patch(&quotas(&rig), "workers", raised).await;
    let took = rig
        .until("it grows at once", async || {
            target(&provider, "workers").await == 5
        })
        .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    let there = json!({"cpu": "5", "nodes": "5"});
    rig.until("what is used follows", async || {
        used(&rig, "workers").await == there
    })
    .await;
    // Gone, nothing is limited.
    drop(
        quotas(&rig)
            .delete("workers", &DeleteParams::default())
            .await
            .unwrap(),
    );
    let took = rig
        .until("it grows at once", async || {
            target(&provider, "workers").await == 6
        })
        .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn what_one_group_may_not_another_does() {
    let rig = rig().await;
    let groups = [("cheap", (0, 9), 1000), ("dear", (0, 9), 1000)];
    let provider = provider(&rig, &groups).await;
    rig.create(&quotas(&rig), quota("cheap", &json!({"nodes": 2})))
        .await;
    let (_autoscaler, _) = start(&rig, &provider, heedful());
    deploy(&rig, 10).await;
    rig.until("all pods have nodes", async || bound(&rig).await == 10)
        .await;
    let sizes = (
        target(&provider, "cheap").await,
        target(&provider, "dear").await,
    );
    assert_eq!(sizes, (2, 3));
}

#[tokio::test(start_paused = true)]
async fn the_status_is_written_only_when_it_differs() {
    let rig = rig().await;
    let provider = provider(&rig, &[("workers", (2, 9), 1000)]).await;
    rig.create(&quotas(&rig), quota("workers", &json!({"nodes": 2})))
        .await;
    let (_autoscaler, _) = start(&rig, &provider, heedful());
    rig.until("it is told", async || {
        used(&rig, "workers").await == json!({"nodes": "2"})
    })
    .await;
    let before = read(&rig, "workers").await.metadata.resource_version;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let after = read(&rig, "workers").await.metadata.resource_version;
    assert_eq!(before, after);
    // What others say there stays.
    let other = json!({
        "type": "Approved", "status": "False", "reason": "Budget", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let mut status = read(&rig, "workers").await.data["status"].clone();
    status["conditions"]
        .as_array_mut()
        .unwrap()
        .insert(0, other);
    let patch = json!({"status": status, "spec": {"limits": {"resources": {"nodes": 3}}}});
    let params = kube::api::PatchParams::default();
    let merge = kube::api::Patch::Merge(&patch);
    quotas(&rig)
        .patch_status("workers", &params, &merge)
        .await
        .unwrap();
    rig.patch(
        &quotas(&rig),
        "workers",
        json!({"spec": {"limits": {"resources": {"nodes": 4}}}}),
    )
    .await;
    rig.until("the new generation is told", async || {
        let object = read(&rig, "workers").await;
        object.data["status"]["observedGeneration"].as_i64() == object.metadata.generation
    })
    .await;
    assert_eq!(
        condition(&read(&rig, "workers").await, "Approved").1,
        "Budget"
    );
}

/// Where an older definition lets anything through.
#[tokio::test(start_paused = true)]
async fn a_quota_that_is_not_understood_is_not_in_force_and_says_so() {
    let rig = scheduling::start().await;
    let mut lax = definition();
    for version in lax["spec"]["versions"].as_array_mut().unwrap() {
        let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        version["schema"]["openAPIV3Schema"]["properties"]["spec"] = spec;
    }
    define(&rig, lax).await;
    let provider = provider(&rig, &[("workers", (0, 9), 1000)]).await;
    rig.create(&quotas(&rig), quota("workers", &json!({"nodes": "-1"})))
        .await;
    let (_autoscaler, _) = start(&rig, &provider, heedful());
    deploy(&rig, 2).await;
    rig.until("all pods have nodes", async || bound(&rig).await == 2)
        .await;
    let object = read(&rig, "workers").await;
    let (holds, reason, message) = condition(&object, VALID);
    assert_eq!((&*holds, &*reason), ("False", "ValidationFailed"));
    assert_eq!(message, "spec.limits.resources[nodes]: \"-1\" is negative");
    assert_eq!(condition(&object, RECONCILED).0, "False");
    assert!(object.data["status"]["used"].is_null());
}

#[tokio::test(start_paused = true)]
async fn the_kind_may_come_later() {
    let rig = scheduling::start().await;
    let provider = provider(&rig, &[("workers", (0, 9), 1000)]).await;
    let (_autoscaler, _) = start(&rig, &provider, heedful());
    deploy(&rig, 2).await;
    rig.until("all pods have nodes", async || bound(&rig).await == 2)
        .await;
    define(&rig, definition()).await;
    rig.until("the kind is served", async || {
        quotas(&rig)
            .list(&kube::api::ListParams::default())
            .await
            .is_ok()
    })
    .await;
    rig.create(&quotas(&rig), quota("workers", &json!({"nodes": 1})))
        .await;
    rig.until("it is told", async || {
        used(&rig, "workers").await == json!({"nodes": "1"})
    })
    .await;
    crate::node_autoscaling::scale(&rig, 4).await;
    rig.until("the others are told", async || {
        !told(&rig, "NotTriggerScaleUp").await.is_empty()
    })
    .await;
    assert_eq!(target(&provider, "workers").await, 1);
}
