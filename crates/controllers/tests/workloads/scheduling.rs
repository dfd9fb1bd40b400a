//! The scheduler.

use crate::rig::{Rig, condition};
use kube::api::{DeleteParams, Patch, PatchParams};
use plimsoll_controllers::scheduler;
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) fn node(name: &str, cpu: &str) -> Value {
    let amounts = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": name},
        "status": {"capacity": amounts, "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

pub(crate) fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}]},
    })
}

pub(crate) async fn start() -> Rig {
    let mut rig = Rig::start().await;
    let context = rig.context.clone();
    drop(rig.tasks.spawn(scheduler::control(context)));
    // Bare pods are refused before their service account is there.
    let accounts = rig.core("default", "serviceaccounts", "ServiceAccount");
    rig.until("service account", async || rig.count(&accounts).await == 1)
        .await;
    rig
}

pub(crate) async fn add_node(rig: &Rig, node: Value) {
    rig.create(&rig.cluster("nodes", "Node"), node).await;
}

pub(crate) async fn node_of(rig: &Rig, name: &str) -> Option<String> {
    let pod = rig.pods().get(name).await.unwrap();
    pod.data["spec"]["nodeName"].as_str().map(str::to_owned)
}

pub(crate) async fn scheduled(rig: &Rig, name: &str) -> (String, String, String) {
    condition(&rig.pods().get(name).await.unwrap(), "PodScheduled")
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_says_why_and_is_bound_when_a_node_appears() {
    let rig = start().await;
    rig.create(&rig.pods(), pod("p", "2")).await;
    let none = "no nodes available to schedule pods";
    rig.until("no nodes", async || scheduled(&rig, "p").await.2 == none)
        .await;
    add_node(&rig, node("small", "1")).await;
    let small = "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, \
                 preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    rig.until("too small", async || scheduled(&rig, "p").await.2 == small)
        .await;
    let (status, reason, _) = scheduled(&rig, "p").await;
    assert_eq!((&*status, &*reason), ("False", "Unschedulable"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.events("FailedScheduling").await, [small, none]);
    assert_eq!(node_of(&rig, "p").await, None);

    add_node(&rig, node("large", "4")).await;
    let took = rig
        .until("bound", async || node_of(&rig, "p").await.is_some())
        .await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(node_of(&rig, "p").await.as_deref(), Some("large"));
    assert_eq!(scheduled(&rig, "p").await.0, "True");
    rig.until("told", async || {
        rig.events("Scheduled").await == ["Successfully assigned default/p to large"]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn each_refusal_is_told_once() {
    let rig = start().await;
    add_node(&rig, node("n", "1")).await;
    rig.create(&rig.pods(), pod("p", "2")).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let events = rig.list(&rig.core("default", "events", "Event")).await;
    let told: Vec<_> = events
        .iter()
        .filter(|event| event.data["reason"] == "FailedScheduling")
        .collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].data["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn higher_priority_goes_first_when_room_appears() {
    let rig = start().await;
    let classes = rig.cluster_of(
        ("scheduling.k8s.io", "v1"),
        "priorityclasses",
        "PriorityClass",
    );
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "urgent"}, "value": 1000});
    rig.create(&classes, class).await;
    rig.create(&rig.pods(), pod("first", "1")).await;
    let mut urgent = pod("urgent", "1");
    urgent["spec"]["priorityClassName"] = json!("urgent");
    rig.create(&rig.pods(), urgent).await;
    rig.until("both wait", async || {
        scheduled(&rig, "first").await.0 == "False" && scheduled(&rig, "urgent").await.0 == "False"
    })
    .await;
    add_node(&rig, node("n", "1500m")).await;
    rig.until("the urgent one is bound", async || {
        node_of(&rig, "urgent").await.is_some()
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(node_of(&rig, "first").await, None);
}

#[tokio::test(start_paused = true)]
async fn replicas_spread_over_nodes_and_use_room_that_is_freed() {
    let rig = start().await;
    for name in ["a", "b"] {
        add_node(&rig, node(name, "1")).await;
    }
    // 11 pods of 100m do not all fit on one node.
    rig.deploy(11).await;
    let mut on_a = 0_usize;
    let pods = rig.list(&rig.pods()).await;
    for pod in &pods {
        on_a += usize::from(pod.data["spec"]["nodeName"] == "a");
    }
    assert!((5..=6).contains(&on_a), "{on_a}");
    rig.create(&rig.pods(), pod("wide", "800m")).await;
    rig.until("no room", async || {
        scheduled(&rig, "wide").await.0 == "False"
    })
    .await;
    rig.patch(&rig.deployments(), "web", json!({"spec": {"replicas": 2}}))
        .await;
    rig.until("room", async || {
        rig.tend_pods().await;
        node_of(&rig, "wide").await.is_some()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_condition_leaves_other_conditions_alone() {
    let rig = start().await;
    rig.create(&rig.pods(), pod("p", "2")).await;
    rig.until("refused", async || scheduled(&rig, "p").await.0 == "False")
        .await;
    let other =
        json!({"status": {"conditions": [{"type": "example.com/Checked", "status": "True"}]}});
    rig.pods()
        .patch_status("p", &PatchParams::default(), &Patch::Strategic(&other))
        .await
        .unwrap();
    add_node(&rig, node("small", "1")).await;
    rig.until("refused anew", async || {
        scheduled(&rig, "p").await.2.starts_with("0/1 nodes")
    })
    .await;
    let checked = condition(&rig.pods().get("p").await.unwrap(), "example.com/Checked");
    assert_eq!(checked.0, "True");
}

#[tokio::test(start_paused = true)]
async fn a_gated_pod_waits_until_its_last_gate_is_gone() {
    let rig = start().await;
    add_node(&rig, node("n", "4")).await;
    let mut gated = pod("p", "1");
    gated["spec"]["schedulingGates"] =
        json!([{"name": "example.com/a"}, {"name": "example.com/b"}]);
    rig.create(&rig.pods(), gated).await;
    let why = "Scheduling is blocked due to non-empty scheduling gates";
    let (status, reason, message) = scheduled(&rig, "p").await;
    assert_eq!(
        (&*status, &*reason, &*message),
        ("False", "SchedulingGated", why)
    );
    let remaining = |names: Value| json!({"spec": {"schedulingGates": names}});
    rig.patch(
        &rig.pods(),
        "p",
        remaining(json!([{"name": "example.com/b"}])),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(node_of(&rig, "p").await, None);
    rig.patch(&rig.pods(), "p", remaining(json!([]))).await;
    rig.until("bound", async || node_of(&rig, "p").await.is_some())
        .await;
    assert_eq!(scheduled(&rig, "p").await.0, "True");
    assert_eq!(rig.events("FailedScheduling").await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn pods_of_another_scheduler_are_left_alone() {
    let rig = start().await;
    add_node(&rig, node("n", "4")).await;
    let mut foreign = pod("p", "1");
    foreign["spec"]["schedulerName"] = json!("mine");
    rig.create(&rig.pods(), foreign).await;
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(node_of(&rig, "p").await, None);
    assert_eq!(scheduled(&rig, "p").await.0, "");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_help_wakes_nobody() {
    let rig = start().await;
    add_node(&rig, node("n", "1")).await;
    rig.create(&rig.pods(), pod("p", "2")).await;
    rig.until("refused", async || scheduled(&rig, "p").await.0 == "False")
        .await;
    for index in 0..5 {
        add_node(&rig, node(&format!("small-{index}"), "1")).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
    }
    let events = rig.list(&rig.core("default", "events", "Event")).await;
    let told = events
        .iter()
        .find(|event| event.data["reason"] == "FailedScheduling");
    assert_eq!(told.unwrap().data["count"], 1);
    // After five minutes it is tried anyway, and the count is brought up to date.
    tokio::time::sleep(Duration::from_secs(310)).await;
    let (.., message) = scheduled(&rig, "p").await;
    let all = "0/6 nodes are available: 6 Insufficient cpu. ";
    assert!(message.starts_with(all), "{message}");
}

#[tokio::test(start_paused = true)]
async fn pods_that_must_be_apart_wait_for_a_node_of_their_own() {
    let rig = start().await;
    for name in ["a", "b"] {
        let mut node = node(name, "4");
        node["metadata"]["labels"] = json!({"kubernetes.io/hostname": name});
        add_node(&rig, node).await;
    }
    for name in ["p", "q", "r"] {
        let mut pod = pod(name, "1");
        pod["metadata"]["labels"] = json!({"app": "web"});
        pod["spec"]["affinity"] = json!({"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "labelSelector": {"matchLabels": {"app": "web"}},
                "topologyKey": "kubernetes.io/hostname"}]}});
        rig.create(&rig.pods(), pod).await;
    }
    rig.until("the third is refused", async || {
        scheduled(&rig, "r").await.0 == "False"
    })
    .await;
    assert_ne!(node_of(&rig, "p").await, node_of(&rig, "q").await);
    let (.., message) = scheduled(&rig, "r").await;
    let why = "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. ";
    assert!(message.starts_with(why), "{message}");
    let freed = node_of(&rig, "p").await;
    let now = DeleteParams::default().grace_period(0);
    drop(rig.pods().delete("p", &now).await.unwrap());
    rig.until("room", async || node_of(&rig, "r").await.is_some())
        .await;
    assert_eq!(node_of(&rig, "r").await, freed);
}

fn with_claim(mut pod: Value) -> Value {
    pod["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod
}

fn claim() -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local",
            "resources": {"requests": {"storage": "1Gi"}}}})
}

fn volume(name: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local", "local": {"path": "/data"},
            "persistentVolumeReclaimPolicy": "Retain",
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions":
                [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}}})
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_waits_for_its_pod_is_bound_before_the_pod() {
    let rig = start().await;
    for name in ["a", "b"] {
        let mut node = node(name, "4");
        node["metadata"]["labels"] = json!({"kubernetes.io/hostname": name});
        add_node(&rig, node).await;
    }
    rig.create(&rig.pods(), with_claim(pod("p", "1"))).await;
    let missing = "0/2 nodes are available: persistentvolumeclaim \"data\" not found. ";
    rig.until("no claim", async || {
        scheduled(&rig, "p").await.2.starts_with(missing)
    })
    .await;
    let classes = rig.cluster_of(("storage.k8s.io", "v1"), "storageclasses", "StorageClass");
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer"});
    rig.create(&classes, class).await;
    let claims = rig.core("default", "persistentvolumeclaims", "PersistentVolumeClaim");
    rig.create(&claims, claim()).await;
    let unmet =
        "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind. ";
    rig.until("no volume", async || {
        scheduled(&rig, "p").await.2.starts_with(unmet)
    })
    .await;
    let volumes = rig.cluster("persistentvolumes", "PersistentVolume");
    rig.create(&volumes, volume("v", "b")).await;
    rig.until("bound", async || node_of(&rig, "p").await.is_some())
        .await;
    assert_eq!(node_of(&rig, "p").await.as_deref(), Some("b"));
    let claim = claims.get("data").await.unwrap();
    assert_eq!(claim.data["spec"]["volumeName"], "v");
    assert_eq!(claim.data["status"]["phase"], "Bound");
}

async fn add_storage_class(rig: &Rig, provisioner: &str) {
    let classes = rig.cluster_of(("storage.k8s.io", "v1"), "storageclasses", "StorageClass");
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": "local"}, "provisioner": provisioner,
        "parameters": {"topologyKeys": "kubernetes.io/hostname"},
        "volumeBindingMode": "WaitForFirstConsumer"});
    rig.create(&classes, class).await;
    let claims = rig.core("default", "persistentvolumeclaims", "PersistentVolumeClaim");
    rig.create(&claims, claim()).await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_share_a_claim_go_to_one_node() {
    let rig = start().await;
    add_storage_class(&rig, "plimsoll.dev/local").await;
    for name in ["p", "q", "r"] {
        rig.create(&rig.pods(), with_claim(pod(name, "200m"))).await;
    }
    rig.until("all wait", async || scheduled(&rig, "r").await.0 == "False")
        .await;
    for name in ["a", "b", "c"] {
        let mut node = node(name, "1");
        node["metadata"]["labels"] = json!({"kubernetes.io/hostname": name});
        add_node(&rig, node).await;
    }
    for name in ["p", "q", "r"] {
        rig.until("bound", async || node_of(&rig, name).await.is_some())
            .await;
    }
    let first = node_of(&rig, "p").await;
    assert_eq!(node_of(&rig, "q").await, first);
    assert_eq!(node_of(&rig, "r").await, first);
}

#[tokio::test(start_paused = true)]
async fn a_namesake_keeps_its_room_when_the_wait_for_volumes_ends() {
    let rig = start().await;
    add_storage_class(&rig, "example.com/disk").await;
    add_node(&rig, node("n", "1")).await;
    let now = DeleteParams::default().grace_period(0);
    rig.create(&rig.pods(), with_claim(pod("p", "600m"))).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    drop(rig.pods().delete("p", &now).await.unwrap());
    rig.create(&rig.pods(), with_claim(pod("p", "600m"))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.create(&rig.pods(), pod("q", "600m")).await;
    // The first one would have given up by now, the second has not yet.
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(node_of(&rig, "p").await, None);
    assert_eq!(node_of(&rig, "q").await, None);
    drop(rig.pods().delete("p", &now).await.unwrap());
    rig.until("bound", async || node_of(&rig, "q").await.is_some())
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_shrinks_makes_room() {
    let rig = start().await;
    add_node(&rig, node("n", "1")).await;
    rig.create(&rig.pods(), pod("large", "800m")).await;
    rig.until("bound", async || node_of(&rig, "large").await.is_some())
        .await;
    rig.create(&rig.pods(), pod("waits", "500m")).await;
    rig.until("refused", async || {
        scheduled(&rig, "waits").await.0 == "False"
    })
    .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let smaller = json!({"spec": {"containers": [
        {"name": "c", "resources": {"requests": {"cpu": "300m"}}}]}});
    let (params, smaller) = (PatchParams::default(), Patch::Strategic(&smaller));
    let pods = rig.pods();
    drop(
        pods.patch_subresource("resize", "large", &params, &smaller)
            .await
            .unwrap(),
    );
    let took = rig
        .until("bound", async || node_of(&rig, "waits").await.is_some())
        .await;
    assert!(took < Duration::from_secs(15), "{took:?}");
}
