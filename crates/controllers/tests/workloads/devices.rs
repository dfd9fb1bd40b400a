//! Dynamic resource allocation: claims are made for pods, get devices, and lose them.

use crate::rig::Rig;
use crate::scheduling::{add_node, node, node_of, pod, scheduled, start};
use kube::api::{Api, DeleteParams, DynamicObject};
use rstest::rstest;
use serde_json::{Value, json};
use std::time::Duration;

const GROUP: (&str, &str) = ("resource.k8s.io", "v1");
const DRIVER: &str = "gpu.example.com";
const FINALIZER: &str = "resource.kubernetes.io/delete-protection";

fn claims(rig: &Rig) -> Api<DynamicObject> {
    rig.api("default", GROUP, "resourceclaims", "ResourceClaim")
}

fn asks(count: usize) -> Value {
    let exactly = json!({"deviceClassName": "gpu", "count": count});
    json!({"devices": {"requests": [{"name": "r", "exactly": exactly}],
        "config": [{"opaque": {"driver": DRIVER, "parameters": {"sharing": "none"}}}]}})
}

/// A node with so many devices.
async fn machine(rig: &Rig, name: &str, devices: usize) {
    add_node(rig, node(name, "4")).await;
    let slices = rig.cluster_of(GROUP, "resourceslices", "ResourceSlice");
    rig.create(&slices, slice(name, devices)).await;
}

fn slice(node: &str, devices: usize) -> Value {
    let devices: Vec<Value> = (0..devices)
        .map(|at| {
            json!({"name": format!("gpu-{at}"), "attributes": {"index": {"int": at}},
                "capacity": {"memory": {"value": "40Gi"}}})
        })
        .collect();
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "metadata": {"name": format!("{node}-gpus")},
        "spec": {"driver": DRIVER, "nodeName": node, "devices": devices,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}},
    })
}

/// A cluster with the class `gpu` and the template `one`.
async fn cluster() -> Rig {
    let rig = start().await;
    let classes = rig.cluster_of(GROUP, "deviceclasses", "DeviceClass");
    let class = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu"},
        "spec": {"selectors": [{"cel": {"expression":
            "device.driver == 'gpu.example.com' && \
             device.capacity['gpu.example.com'].memory.compareTo(quantity('32Gi')) >= 0"}}]},
    });
    rig.create(&classes, class).await;
    let templates = rig.api(
        "default",
        GROUP,
        "resourceclaimtemplates",
        "ResourceClaimTemplate",
    );
    let template = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"metadata": {"labels": {"made": "yes"}}, "spec": asks(1)},
    });
    rig.create(&templates, template).await;
    rig
}

fn with(name: &str, claim: Value) -> Value {
    let mut body = pod(name, "100m");
    let mut claim = claim;
    claim["name"] = "gpu".into();
    body["spec"]["resourceClaims"] = json!([claim]);
    body["spec"]["containers"][0]["resources"]["claims"] = json!([{"name": "gpu"}]);
    body
}

fn from_template(name: &str) -> Value {
    with(name, json!({"resourceClaimTemplateName": "one"}))
}

async fn claim_of(rig: &Rig, pod: &str) -> DynamicObject {
    let pod = rig.pods().get(pod).await.unwrap();
    let name = &pod.data["status"]["resourceClaimStatuses"][0]["resourceClaimName"];
    claims(rig).get(name.as_str().unwrap()).await.unwrap()
}

async fn bound(rig: &Rig, pod: &str) {
    let what = format!("{pod} is bound");
    rig.until(&what, async || node_of(rig, pod).await.is_some())
        .await;
}

async fn remove(rig: &Rig, pod: &str) {
    let now = DeleteParams::default().grace_period(0);
    rig.pods().delete(pod, &now).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_its_device_and_the_next_one_waits_for_it() {
    let rig = cluster().await;
    machine(&rig, "n", 1).await;
    rig.create(&rig.pods(), from_template("first")).await;
    bound(&rig, "first").await;
    let claim = claim_of(&rig, "first").await;
    let name = claim.metadata.name.clone().unwrap();
    assert!(name.starts_with("first-gpu-"), "{name}");
    assert_eq!(claim.metadata.labels.as_ref().unwrap()["made"], "yes");
    assert_eq!(
        claim.metadata.finalizers.as_deref(),
        Some(&[FINALIZER.to_owned()][..])
    );
    let annotations = claim.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations["resource.kubernetes.io/pod-claim-name"], "gpu");
    let status = &claim.data["status"];
    let allocation = json!({
        "devices": {
            "results": [{"request": "r", "driver": DRIVER, "pool": "n", "device": "gpu-0"}],
            "config": [{"source": "FromClaim",
                "opaque": {"driver": DRIVER, "parameters": {"sharing": "none"}}}]},
        "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["n"]}]}]},
    });
    let mut seen = status["allocation"].clone();
    let config = seen["devices"]["config"][0].as_object_mut().unwrap();
    config.remove("requests");
    assert_eq!(seen, allocation);
    assert_eq!(status["reservedFor"][0]["name"], "first");

    rig.create(&rig.pods(), from_template("second")).await;
    let why = "0/1 nodes are available: 1 cannot allocate all claims. no new claims to \
               deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for \
               incoming pod.";
    rig.until("it waits", async || {
        scheduled(&rig, "second").await.2 == why
    })
    .await;
    remove(&rig, "first").await;
    bound(&rig, "second").await;
    rig.until("the claim is gone", async || {
        claims(&rig).get_opt(&name).await.unwrap().is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_ended_gives_its_device_back() {
    let rig = cluster().await;
    machine(&rig, "n", 1).await;
    rig.create(&rig.pods(), from_template("job")).await;
    bound(&rig, "job").await;
    let ended = json!({"status": {"phase": "Succeeded"}});
    let patch = kube::api::Patch::Merge(&ended);
    rig.pods()
        .patch_status("job", &kube::api::PatchParams::default(), &patch)
        .await
        .unwrap();
    rig.until("the claim is gone", async || {
        rig.count(&claims(&rig)).await == 0
    })
    .await;
    rig.create(&rig.pods(), from_template("next")).await;
    bound(&rig, "next").await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_share_a_claim_come_to_one_node_and_the_claim_outlives_them() {
    let rig = cluster().await;
    machine(&rig, "n", 1).await;
    machine(&rig, "m", 1).await;
    let shared = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "shared", "namespace": "default"}, "spec": asks(1),
    });
    rig.create(&claims(&rig), shared).await;
    let names = ["a", "b", "c"];
    for name in names {
        rig.create(
            &rig.pods(),
            with(name, json!({"resourceClaimName": "shared"})),
        )
        .await;
    }
    for name in names {
        bound(&rig, name).await;
    }
    let node = node_of(&rig, "a").await;
    assert_eq!(node_of(&rig, "b").await, node);
    assert_eq!(node_of(&rig, "c").await, node);
    let reserved = |claim: &DynamicObject| {
        let users = claim.data["status"]["reservedFor"].as_array();
        users.map_or(0, Vec::len)
    };
    assert_eq!(reserved(&claims(&rig).get("shared").await.unwrap()), 3);
    for name in names {
        remove(&rig, name).await;
    }
    rig.until("nobody has it", async || {
        let claim = claims(&rig).get("shared").await.unwrap();
        reserved(&claim) == 0
            && claim.data["status"]["allocation"].is_null()
            && claim.metadata.finalizers.is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_what_its_claim_needs() {
    let rig = cluster().await;
    machine(&rig, "n", 1).await;
    let early = with("early", json!({"resourceClaimName": "later"}));
    rig.create(&rig.pods(), early).await;
    let why = "resourceclaim.resource.k8s.io \"later\" not found";
    rig.until("it waits", async || {
        scheduled(&rig, "early").await.2.contains(why)
    })
    .await;
    let later = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "later", "namespace": "default"}, "spec": asks(1),
    });
    rig.create(&claims(&rig), later).await;
    bound(&rig, "early").await;
    // A template that is not there yet: nobody is told of the pod before there is a claim.
    let orphan = with("orphan", json!({"resourceClaimTemplateName": "none"}));
    rig.create(&rig.pods(), orphan).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(scheduled(&rig, "orphan").await.0, "");
    let told = rig.events("FailedResourceClaimCreation").await;
    let want = "PodResourceClaim gpu: resource claim template \"none\" not found";
    assert_eq!(told.first().map(String::as_str), Some(want));
}

/// A claim that has a device of a node that is not there, by a binding that did not come about.
#[rstest]
#[case::nobodys(false)]
#[case::its_own(true)]
#[tokio::test(start_paused = true)]
async fn a_pod_is_not_held_up_by_devices_that_nobody_else_has(#[case] reserved: bool) {
    let rig = cluster().await;
    let left = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "left", "namespace": "default", "finalizers": [FINALIZER]},
        "spec": asks(1),
    });
    rig.create(&claims(&rig), left).await;
    let pod = with("p", json!({"resourceClaimName": "left"}));
    rig.create(&rig.pods(), pod).await;
    let pod = rig.pods().get("p").await.unwrap();
    let user = json!({"resource": "pods", "name": "p", "uid": pod.metadata.uid});
    let users = if reserved { json!([user]) } else { json!([]) };
    let gone = json!({"key": "metadata.name", "operator": "In", "values": ["gone"]});
    let status = json!({"status": {"reservedFor": users, "allocation": {
        "devices": {"results": [
            {"request": "r", "driver": DRIVER, "pool": "gone", "device": "gpu-0"}]},
        "nodeSelector": {"nodeSelectorTerms": [{"matchFields": [gone]}]}}}});
    let patch = kube::api::Patch::Merge(&status);
    claims(&rig)
        .patch_status("left", &kube::api::PatchParams::default(), &patch)
        .await
        .unwrap();
    machine(&rig, "n", 1).await;
    bound(&rig, "p").await;
    let claim = claims(&rig).get("left").await.unwrap();
    let results = &claim.data["status"]["allocation"]["devices"]["results"];
    assert_eq!(results[0]["pool"], "n");
}
