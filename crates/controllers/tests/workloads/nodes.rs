//! Nodes that fall silent, break, leave; and what becomes of their pods.

use crate::rig::{Rig, condition};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use plimsoll_controllers::supervisor::Options;
use serde_json::{Value, json};
use std::time::Duration;

const LEASES: (&str, &str) = ("coordination.k8s.io", "v1");

async fn start() -> Rig {
    let rig = Rig::start_with(Options {
        node_grace: Some(Duration::from_secs(50)),
        ..Options::default()
    })
    .await;
    let accounts = rig.core("default", "serviceaccounts", "ServiceAccount");
    rig.until("service account", async || rig.count(&accounts).await == 1)
        .await;
    rig
}

fn nodes(rig: &Rig) -> Api<DynamicObject> {
    rig.cluster("nodes", "Node")
}

fn leases(rig: &Rig) -> Api<DynamicObject> {
    rig.api("kube-node-lease", LEASES, "leases", "Lease")
}

fn now(rig: &Rig, format: &str) -> String {
    rig.clock.now().strftime(format).to_string()
}

async fn set_status(rig: &Rig, name: &str, ready: &str) {
    let kinds = [
        ("Ready", ready),
        ("MemoryPressure", "False"),
        ("DiskPressure", "False"),
        ("PIDPressure", "False"),
    ];
    let at = now(rig, "%Y-%m-%dT%H:%M:%SZ");
    let conditions: Vec<_> = kinds
        .map(|(kind, status)| {
            json!({"type": kind, "status": status, "reason": "Kubelet", "lastHeartbeatTime": at,
                "lastTransitionTime": at})
        })
        .into();
    let patch = json!({"status": {"conditions": conditions}});
    nodes(rig)
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

async fn join(rig: &Rig, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
    rig.create(&nodes(rig), body).await;
    set_status(rig, name, "True").await;
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": "kube-node-lease"},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40}});
    rig.create(&leases(rig), lease).await;
}

async fn renew(rig: &Rig, names: &[&str]) {
    for name in names {
        let at = now(rig, "%Y-%m-%dT%H:%M:%S%.6fZ");
        let patch = json!({"spec": {"renewTime": at}});
        rig.patch(&leases(rig), name, patch).await;
    }
}

/// Lets time pass while these nodes renew their leases.
async fn pass(rig: &Rig, seconds: u64, alive: &[&str]) {
    for _ in 0..seconds / 5 {
        renew(rig, alive).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
}

async fn taints(rig: &Rig, name: &str) -> Vec<String> {
    let node = nodes(rig).get(name).await.unwrap();
    let taints = node.data["spec"]["taints"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let text = |taint: &Value| {
        let key = taint["key"]
            .as_str()
            .unwrap()
            .replace("node.kubernetes.io/", "");
        format!("{key}:{}", taint["effect"].as_str().unwrap())
    };
    let mut taints: Vec<_> = taints.iter().map(text).collect();
    taints.sort();
    taints
}

async fn run_pod(rig: &Rig, name: &str, node: &str, seconds: Option<i64>) {
    let mut spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
    if let Some(seconds) = seconds {
        spec["tolerations"] = json!([{"key": "node.kubernetes.io/unreachable",
            "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
    }
    let body = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"}, "spec": spec});
    rig.create(&rig.pods(), body).await;
    rig.set_ready(name, true).await;
}

async fn ends(rig: &Rig, name: &str) -> bool {
    let pod = rig.pods().get_opt(name).await.unwrap();
    pod.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_unreachable_and_its_pods_leave_in_time() {
    let rig = start().await;
    for name in ["a", "b"] {
        join(&rig, name).await;
    }
    run_pod(&rig, "default-time", "b", None).await;
    run_pod(&rig, "short-time", "b", Some(30)).await;
    run_pod(&rig, "elsewhere", "a", None).await;
    pass(&rig, 100, &["a", "b"]).await;
    assert!(taints(&rig, "b").await.is_empty());
    pass(&rig, 40, &["a"]).await;
    assert!(taints(&rig, "b").await.is_empty());
    pass(&rig, 15, &["a"]).await;
    let node = nodes(&rig).get("b").await.unwrap();
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        let want = (
            "Unknown",
            "NodeStatusUnknown",
            "Kubelet stopped posting node status.",
        );
        let (status, reason, message) = condition(&node, kind);
        assert_eq!((&*status, &*reason, &*message), want);
    }
    let unreachable = ["unreachable:NoExecute", "unreachable:NoSchedule"];
    assert_eq!(taints(&rig, "b").await, unreachable);
    let pod = rig.pods().get("default-time").await.unwrap();
    assert_eq!(condition(&pod, "Ready").0, "False");
    assert!(!ends(&rig, "short-time").await);
    pass(&rig, 35, &["a"]).await;
    assert!(ends(&rig, "short-time").await);
    assert!(!ends(&rig, "default-time").await);
    pass(&rig, 280, &["a"]).await;
    assert!(ends(&rig, "default-time").await);
    assert!(!ends(&rig, "elsewhere").await);
    let pod = rig.pods().get("default-time").await.unwrap();
    let (status, reason, message) = condition(&pod, "DisruptionTarget");
    assert_eq!((&*status, &*reason), ("True", "DeletionByTaintManager"));
    assert_eq!(message, "Taint manager: deleting due to NoExecute taint");
    let told = rig.events("TaintManagerEviction").await;
    assert_eq!(
        told,
        [
            "Marking for deletion Pod default/default-time",
            "Marking for deletion Pod default/short-time"
        ]
    );
    assert_eq!(
        rig.events("NodeNotReady").await,
        [
            "Node b status is now: NodeNotReady",
            "Node is not ready",
            "Node is not ready"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_keeps_its_pods() {
    let rig = start().await;
    for name in ["a", "b"] {
        join(&rig, name).await;
    }
    run_pod(&rig, "stays", "b", None).await;
    pass(&rig, 120, &["a"]).await;
    assert_eq!(taints(&rig, "b").await.len(), 2);
    set_status(&rig, "b", "True").await;
    pass(&rig, 400, &["a", "b"]).await;
    assert!(taints(&rig, "b").await.is_empty());
    assert!(!ends(&rig, "stays").await);
    let told = rig.events("TaintManagerEviction").await;
    assert_eq!(told, ["Cancelling deletion of Pod default/stays"]);
}

#[tokio::test(start_paused = true)]
async fn without_any_healthy_node_no_pod_is_driven_anywhere() {
    let rig = start().await;
    for name in ["a", "b"] {
        join(&rig, name).await;
    }
    run_pod(&rig, "stays", "b", None).await;
    pass(&rig, 60, &["a"]).await;
    assert_eq!(taints(&rig, "b").await.len(), 2);
    pass(&rig, 600, &[]).await;
    for name in ["a", "b"] {
        assert_eq!(taints(&rig, name).await, ["unreachable:NoSchedule"]);
    }
    assert!(!ends(&rig, "stays").await);
    // One is back: the other one is lost after all.
    set_status(&rig, "a", "True").await;
    pass(&rig, 330, &["a"]).await;
    assert!(ends(&rig, "stays").await);
}

#[tokio::test(start_paused = true)]
async fn nodes_lose_their_pods_one_after_another() {
    let rig = start().await;
    for name in ["a", "b", "c", "d", "e"] {
        join(&rig, name).await;
    }
    for name in ["a", "b"] {
        set_status(&rig, name, "False").await;
    }
    let driven = async || {
        let mut driven = 0;
        for name in ["a", "b"] {
            let taints = taints(&rig, name).await;
            assert!(taints.contains(&"not-ready:NoSchedule".to_owned()));
            driven += usize::from(taints.contains(&"not-ready:NoExecute".to_owned()));
        }
        driven
    };
    pass(&rig, 5, &["a", "b", "c", "d", "e"]).await;
    assert_eq!(driven().await, 1);
    pass(&rig, 10, &["a", "b", "c", "d", "e"]).await;
    assert_eq!(driven().await, 2);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_never_said_anything_has_a_minute() {
    let rig = start().await;
    let body = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "mute"}});
    rig.create(&nodes(&rig), body).await;
    pass(&rig, 55, &[]).await;
    let node = nodes(&rig).get("mute").await.unwrap();
    assert_eq!(condition(&node, "Ready").0, "");
    pass(&rig, 10, &[]).await;
    let node = nodes(&rig).get("mute").await.unwrap();
    let (status, reason, message) = condition(&node, "Ready");
    assert_eq!((&*status, &*reason), ("Unknown", "NodeStatusNeverUpdated"));
    assert_eq!(message, "Kubelet never posted node status.");
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_node_that_is_gone_go_after_a_while() {
    let rig = start().await;
    join(&rig, "a").await;
    run_pod(&rig, "orphan", "a", None).await;
    let keep = json!({"metadata": {"finalizers": ["a.b/c"]}});
    rig.patch(&rig.pods(), "orphan", keep).await;
    nodes(&rig)
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert!(!ends(&rig, "orphan").await);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(ends(&rig, "orphan").await);
    let pod = rig.pods().get("orphan").await.unwrap();
    assert_eq!(pod.data["status"]["phase"], "Failed");
    let (status, reason, message) = condition(&pod, "DisruptionTarget");
    assert_eq!((&*status, &*reason), ("True", "DeletionByPodGC"));
    assert_eq!(message, "PodGC: node no longer exists");
    let told = rig.events("RemovingNode").await;
    assert_eq!(told, ["Node a event: Removing Node a from Controller"]);
}

#[tokio::test(start_paused = true)]
async fn a_node_vouched_to_be_down_gives_its_pods_up() {
    let rig = start().await;
    for name in ["a", "b"] {
        join(&rig, name).await;
    }
    run_pod(&rig, "lost", "a", None).await;
    rig.pods()
        .delete("lost", &DeleteParams::default())
        .await
        .unwrap();
    pass(&rig, 60, &["b"]).await;
    assert!(rig.pods().get_opt("lost").await.unwrap().is_some());
    let mut taints = nodes(&rig).get("a").await.unwrap().data["spec"]["taints"].clone();
    let vouched = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown",
        "effect": "NoExecute"});
    taints.as_array_mut().unwrap().push(vouched);
    rig.patch(&nodes(&rig), "a", json!({"spec": {"taints": taints}}))
        .await;
    pass(&rig, 5, &["b"]).await;
    assert!(rig.pods().get_opt("lost").await.unwrap().is_none());
}
