//! ReplicationControllers.

use crate::rig::{Rig, condition};
use serde_json::{Value, json};

fn controller(replicas: i32) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ReplicationController",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "c", "image": "a"}]}}},
    })
}

#[tokio::test(start_paused = true)]
async fn keeps_the_number_of_its_pods() {
    let rig = Rig::start().await;
    let controllers = rig.core("default", "replicationcontrollers", "ReplicationController");
    rig.create(&controllers, controller(3)).await;
    let pods = rig.pods();
    rig.until("three ready", async || {
        rig.tend_pods().await;
        let web = controllers.get("web").await.unwrap();
        web.data["status"]["availableReplicas"] == 3
    })
    .await;
    let web = controllers.get("web").await.unwrap();
    let status = &web.data["status"];
    assert_eq!(status["fullyLabeledReplicas"], 3);
    assert_eq!(
        status["observedGeneration"].as_i64(),
        web.metadata.generation
    );
    assert_eq!(status.get("terminatingReplicas"), None);
    let pod = &rig.list(&pods).await[0];
    let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (&*owner.api_version, &*owner.kind),
        ("v1", "ReplicationController")
    );
    assert!(pod.metadata.name.as_ref().unwrap().starts_with("web-"));
    rig.patch(&controllers, "web", json!({"spec": {"replicas": 1}}))
        .await;
    rig.until("one pod", async || {
        rig.tend_pods().await;
        rig.count(&pods).await == 1
    })
    .await;
    let deleted = rig.events("SuccessfulDelete").await;
    assert!(
        deleted
            .iter()
            .all(|text| text.starts_with("Deleted pod: web-"))
    );
    assert_eq!(deleted.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn pods_that_are_refused_show_as_replica_failure() {
    let rig = Rig::start().await;
    let controllers = rig.core("default", "replicationcontrollers", "ReplicationController");
    let mut body = controller(1);
    body["spec"]["template"]["spec"]["serviceAccountName"] = json!("nobody");
    rig.create(&controllers, body).await;
    rig.until("replica failure", async || {
        let web = controllers.get("web").await.unwrap();
        let (status, reason, message) = condition(&web, "ReplicaFailure");
        status == "True" && reason == "FailedCreate" && message.contains("\"nobody\" not found")
    })
    .await;
}
