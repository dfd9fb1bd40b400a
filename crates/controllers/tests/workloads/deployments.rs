//! Deployments: scaling, conditions, failures.

use crate::rig::{Rig, condition, deployment};
use kube::api::DeleteParams;
use serde_json::json;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn scaling_out_and_in_keeps_one_replica_set() {
    let rig = Rig::start().await;
    rig.deploy(1).await;
    let (deployments, pods) = (rig.deployments(), rig.pods());
    rig.patch(&deployments, "web", json!({"spec": {"replicas": 10}}))
        .await;
    let took = rig
        .until("ten pods", async || rig.count(&pods).await == 10)
        .await;
    assert!(took < Duration::from_millis(10), "{took:?}");
    rig.settle(10).await;
    rig.patch(&deployments, "web", json!({"spec": {"replicas": 1}}))
        .await;
    rig.settle(1).await;
    rig.until("one pod", async || rig.count(&pods).await == 1)
        .await;
    let sets = rig.list(&rig.replica_sets()).await;
    let [set] = &sets[..] else {
        panic!("{} sets", sets.len())
    };
    let annotations = set.metadata.annotations.as_ref().unwrap();
    assert_eq!(
        annotations["deployment.kubernetes.io/desired-replicas"],
        "1"
    );
    assert_eq!(annotations["deployment.kubernetes.io/max-replicas"], "2");
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "1");
    let name = set.metadata.name.as_ref().unwrap();
    rig.until("events", async || {
        rig.events("ScalingReplicaSet").await.len() == 3
    })
    .await;
    let events = rig.events("ScalingReplicaSet").await;
    let scaled = |how: &str| format!("Scaled {how}").replace("SET", name);
    assert_eq!(
        events,
        [
            scaled("down replica set SET from 10 to 1"),
            scaled("up replica set SET from 0 to 1"),
            scaled("up replica set SET from 1 to 10"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_finished_rollout_says_so_in_its_conditions() {
    let rig = Rig::start().await;
    rig.deploy(2).await;
    let sets = rig.list(&rig.replica_sets()).await;
    let name = sets[0].metadata.name.clone().unwrap();
    let web = rig.deployments().get("web").await.unwrap();
    let want = |status: &str, reason: &str, message: String| {
        (status.to_owned(), reason.to_owned(), message)
    };
    assert_eq!(
        condition(&web, "Available"),
        want(
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.".into()
        )
    );
    let message = format!("ReplicaSet {name:?} has successfully progressed.");
    assert_eq!(
        condition(&web, "Progressing"),
        want("True", "NewReplicaSetAvailable", message)
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_without_progress_exceeds_its_deadline() {
    let rig = Rig::start().await;
    let mut body = deployment("a", 1);
    body["spec"]["progressDeadlineSeconds"] = json!(60);
    let deployments = rig.deployments();
    rig.create(&deployments, body).await;
    let took = rig
        .until("deadline exceeded", async || {
            let web = deployments.get("web").await.unwrap();
            condition(&web, "Progressing").1 == "ProgressDeadlineExceeded"
        })
        .await;
    assert!((60..63).contains(&took.as_secs()), "{took:?}");
    let web = deployments.get("web").await.unwrap();
    assert_eq!(condition(&web, "Progressing").0, "False");
    rig.settle(1).await;
    rig.until("progress after all", async || {
        let web = deployments.get("web").await.unwrap();
        condition(&web, "Progressing").1 == "NewReplicaSetAvailable"
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_refused_show_as_replica_failure() {
    let rig = Rig::start().await;
    let mut body = deployment("a", 1);
    body["spec"]["template"]["spec"]["serviceAccountName"] = json!("nobody");
    let deployments = rig.deployments();
    rig.create(&deployments, body).await;
    rig.until("replica failure", async || {
        let web = deployments.get("web").await.unwrap();
        let (status, reason, message) = condition(&web, "ReplicaFailure");
        status == "True" && reason == "FailedCreate" && message.contains("\"nobody\" not found")
    })
    .await;
    rig.until("told", async || {
        let told = rig.events("FailedCreate").await;
        told.iter().any(|text| text.starts_with("Error creating: "))
    })
    .await;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "nobody"}});
    let accounts = rig.core("default", "serviceaccounts", "ServiceAccount");
    rig.create(&accounts, account).await;
    rig.settle(1).await;
    rig.until("no failure", async || {
        let web = deployments.get("web").await.unwrap();
        condition(&web, "ReplicaFailure").0.is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_orphan_is_adopted_and_a_relabelled_pod_is_replaced() {
    let rig = Rig::start().await;
    rig.deploy(2).await;
    let pods = rig.pods();
    let first = rig.list(&pods).await[0].metadata.name.clone().unwrap();
    rig.patch(
        &pods,
        &first,
        json!({"metadata": {"labels": {"app": "other"}}}),
    )
    .await;
    rig.until("a third pod", async || rig.count(&pods).await == 3)
        .await;
    let released = pods.get(&first).await.unwrap();
    assert_eq!(released.metadata.owner_references, None);
    rig.settle(2).await;
    rig.patch(
        &pods,
        &first,
        json!({"metadata": {"labels": {"app": "web"}}}),
    )
    .await;
    rig.until("two pods again", async || rig.count(&pods).await == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn orphaning_keeps_replica_set_and_pods() {
    let rig = Rig::start().await;
    rig.deploy(2).await;
    let params = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    rig.deployments().delete("web", &params).await.unwrap();
    rig.until("deployment gone", async || {
        rig.count(&rig.deployments()).await == 0
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let sets = rig.list(&rig.replica_sets()).await;
    assert_eq!(sets.len(), 1);
    assert_eq!(sets[0].metadata.owner_references, None);
    assert_eq!(rig.count(&rig.pods()).await, 2);
    // A new Deployment of the same template takes them over.
    rig.deploy(2).await;
    assert_eq!(rig.count(&rig.replica_sets()).await, 1);
}
