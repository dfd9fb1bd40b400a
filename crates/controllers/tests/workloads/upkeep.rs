//! What controllers keep in order beside workloads: claims in use, addresses, quotas at work.

use crate::rig::{Rig, deployment};
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use serde_json::json;

async fn gone(api: &Api<DynamicObject>, name: &str) -> bool {
    api.get_opt(name).await.unwrap().is_none()
}

#[tokio::test(start_paused = true)]
async fn a_claim_outlives_the_pods_that_use_it() {
    let rig = Rig::start().await;
    let claims = rig.core("default", "persistentvolumeclaims", "PersistentVolumeClaim");
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    rig.create(&claims, claim).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user", "namespace": "default"},
        "spec": {
            "nodeName": "a",
            "containers": [{"name": "c", "image": "i"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        },
    });
    rig.create(&rig.pods(), pod).await;
    claims
        .delete("data", &DeleteParams::default())
        .await
        .unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(30)).await;
    let kept = claims.get("data").await.unwrap();
    assert!(kept.metadata.deletion_timestamp.is_some());
    rig.pods()
        .delete("user", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    rig.until("the claim goes", async || gone(&claims, "data").await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_unbound_volume_goes_when_it_is_deleted() {
    let rig = Rig::start().await;
    let volumes = rig.cluster("persistentvolumes", "PersistentVolume");
    let volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/tmp/x"},
        },
    });
    rig.create(&volumes, volume).await;
    volumes
        .delete("disk", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("the volume goes", async || gone(&volumes, "disk").await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn every_service_address_is_shown() {
    let rig = Rig::start().await;
    let services = rig.core("default", "services", "Service");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"ports": [{"port": 80}]},
    });
    rig.create(&services, service).await;
    let address = services.get("web").await.unwrap().data["spec"]["clusterIP"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = rig.cluster_of(("networking.k8s.io", "v1"), "ipaddresses", "IPAddress");
    rig.until("the address is shown", async || {
        !gone(&shown, &address).await
    })
    .await;
    let parent = shown.get(&address).await.unwrap().data["spec"]["parentRef"].clone();
    let want = json!({"group": "", "resource": "services", "namespace": "default", "name": "web"});
    assert_eq!(parent, want);
    services
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("the address goes", async || gone(&shown, &address).await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_says_that_a_quota_stops_it() {
    let rig = Rig::start().await;
    let quotas = rig.core("default", "resourcequotas", "ResourceQuota");
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "two"},
        "spec": {"hard": {"pods": "2"}},
    });
    let quota = serde_json::from_value(quota).unwrap();
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    let deployments = rig.deployments();
    rig.create(&deployments, deployment("a", 3)).await;
    rig.until("two pods", async || rig.count(&rig.pods()).await == 2)
        .await;
    rig.until("the failure is told", async || {
        let sets = rig.list(&rig.replica_sets()).await;
        sets.first()
            .is_some_and(|set| crate::rig::condition(set, "ReplicaFailure").1 == "FailedCreate")
    })
    .await;
    let events = rig.events("FailedCreate").await;
    assert!(
        events[0].contains("exceeded quota: two, requested: pods=1, used: pods=2, limited: pods=2"),
        "{events:?}"
    );
}
