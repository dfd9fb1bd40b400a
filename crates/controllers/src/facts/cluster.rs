//! Facts of nodes and pods for node autoscaling, beside what placement knows of them.

use super::amount;
use crate::pods::{NodeView, PodView};
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::cluster::{
    ClusterNode, OwnerKind, PendingPod, PodOwner, Readiness, RunningPod, TaintRules,
};
use plimsoll_engine::placement::{PodFacts, Resources};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Key of the taint of a node whose removal has begun; its value is seconds since 1970.
pub const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
/// Key of the taint of a node that is not needed; its value is seconds since 1970.
pub const DELETION_CANDIDATE: &str = "DeletionCandidateOfClusterAutoscaler";
/// Annotation of a pod: how old it must be before nodes are added for it.
const SCALE_UP_DELAY: &str = "cluster-autoscaler.kubernetes.io/pod-scale-up-delay";
/// Annotation of the mirror of a static pod.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Taint of a node that is not ready, whatever its condition says.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Seconds a pod may take to end where it does not say.
const GRACE_SECONDS: i64 = 30;
/// Extended resources that stand for GPUs; the first is meant where a node names none.
const GPUS: [&str; 5] = [
    "nvidia.com/gpu",
    "amd.com/gpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "aws.amazon.com/neuron",
];

/// A node as removal sees it. Its group and price are not known from the node, and its
/// readiness changes with time: see [`readiness`].
pub fn of_cluster_node(node: &NodeView, gpu_label: &str) -> ClusterNode {
    let resources = |all: &[(Arc<str>, Box<str>)]| {
        let mut resources = Resources::default();
        for (name, quantity) in all {
            amount(&mut resources, name, quantity);
        }
        resources
    };
    let annotations = node.meta.annotations.iter().cloned();
    let known = |name: &str| node.allocatable(name).is_some();
    ClusterNode {
        name: Arc::clone(&node.meta.key.name),
        provider_id: Arc::clone(&node.provider_id),
        group: None,
        readiness: Readiness::Unready,
        created: node.meta.created,
        ready_changed: node.condition("Ready").and_then(|ready| ready.since),
        allocatable: resources(&node.allocatable),
        allocatable_known: known("cpu") && known("memory"),
        capacity: resources(&node.capacity),
        annotations: annotations.collect(),
        being_deleted: taint_time(node, TO_BE_DELETED),
        candidate: taint_time(node, DELETION_CANDIDATE),
        gpu: gpu(node, gpu_label),
        device_pools: Vec::new(),
        price_per_hour: None,
    }
}

/// Whether a node works now, the first that applies: it is ready, it may still become so (until it
/// is as old as `startup`), it is not ready.
pub fn readiness(
    node: &NodeView,
    gpu_label: &str,
    rules: &TaintRules,
    (startup, now): (SignedDuration, Timestamp),
) -> Readiness {
    let delays = |key: &str| key == NOT_READY || rules.is_startup(key);
    let delayed = node.taints.iter().any(|taint| delays(&taint.key));
    let cut_off = node.condition("NetworkUnavailable");
    let works = node.is_ready() && !delayed && !cut_off.is_some_and(|cut_off| cut_off.holds);
    let lacks_device = gpu(node, gpu_label).is_some_and(|gpu| {
        let count = node.allocatable(&gpu).unwrap_or("0");
        count == "0"
    });
    if works && !lacks_device {
        return Readiness::Ready;
    }
    if may_become_ready(node, startup, now) {
        Readiness::NotStarted
    } else if works {
        Readiness::ResourceUnready
    } else {
        Readiness::Unready
    }
}

/// Whether a node is younger than `startup`, so that what it lacks may still come.
pub fn may_become_ready(node: &NodeView, startup: SignedDuration, now: Timestamp) -> bool {
    let created = node.meta.created;
    let due = created.and_then(|created| created.checked_add(startup).ok());
    due.is_some_and(|due| due > now)
}

/// The extended resource that stands for a node's GPU, if it has the provider's label.
fn gpu(node: &NodeView, gpu_label: &str) -> Option<Arc<str>> {
    if gpu_label.is_empty() {
        return None;
    }
    node.meta.label(gpu_label)?;
    let has = |name: &&&str| node.allocatable(name).is_some();
    let [usual, ..] = &GPUS;
    Some((*GPUS.iter().find(has).unwrap_or(usual)).into())
}

/// Since when a node has a taint whose value is a time; one that is none lies in the far past.
fn taint_time(node: &NodeView, key: &str) -> Option<Timestamp> {
    let taint = node.taints.iter().find(|taint| taint.key == key)?;
    let seconds = taint.value.as_deref().and_then(|value| value.parse().ok());
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    Some(time.unwrap_or(Timestamp::UNIX_EPOCH))
}

/// A pod that waits for a node. Those with equal labels, requirements and requests are alike.
pub fn of_pending(pod: &PodView, facts: PodFacts) -> PendingPod {
    let mut hasher = DefaultHasher::new();
    (&facts.namespace, &facts.spec).hash(&mut hasher);
    let owner = pod.meta.controller();
    let delay = pod.meta.annotation(SCALE_UP_DELAY);
    PendingPod {
        created: pod.meta.created,
        controller: owner.map(|owner| Arc::clone(&owner.uid)),
        of_daemon_set: owner.is_some_and(|owner| &*owner.kind == "DaemonSet"),
        priority: Some(pod.priority),
        scale_up_delay: delay.and_then(|delay| delay.parse().ok()),
        fingerprint: hasher.finish(),
        pod: facts,
    }
}

/// A pod on a node. `owner` is what is known of its managing controller beside its name: wanted
/// replicas, and whether it exists.
pub fn of_running(
    pod: &PodView,
    facts: PodFacts,
    owner: (Option<usize>, Option<bool>),
) -> RunningPod {
    let annotations: BTreeMap<_, _> = pod.meta.annotations.iter().cloned().collect();
    let controller = pod.meta.controller().map(|controller| PodOwner {
        kind: owner_kind(&controller.kind),
        name: Arc::clone(&controller.name),
        uid: Arc::clone(&controller.uid),
        replicas: owner.0,
        exists: owner.1,
    });
    RunningPod {
        pod: facts,
        node: pod.node.clone().unwrap_or_else(|| "".into()),
        owner: controller,
        mirror: annotations.contains_key(MIRROR),
        created: pod.meta.created,
        deletion: pod.meta.deleting,
        grace_seconds: pod.grace_seconds.unwrap_or(GRACE_SECONDS),
        terminal: pod.phase.is_terminal(),
        annotations,
        local_volumes: pod.placement.local_volumes.to_vec(),
        priority: Some(pod.priority),
    }
}

/// A kind by its name.
pub fn owner_kind(kind: &str) -> OwnerKind {
    match kind {
        "ReplicaSet" => OwnerKind::ReplicaSet,
        "ReplicationController" => OwnerKind::ReplicationController,
        "StatefulSet" => OwnerKind::StatefulSet,
        "Job" => OwnerKind::Job,
        "DaemonSet" => OwnerKind::DaemonSet,
        _ => OwnerKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{of_pod, spec_of};
    use crate::runtime::Cached;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn node(spec: &Value, status: &Value) -> NodeView {
        let node = json!({
            "metadata": {"name": "n", "labels": {"gpu": "yes"},
                "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": spec, "status": status,
        });
        NodeView::from_wire(serde_json::from_value(node).unwrap())
    }

    fn ready(holds: &str) -> Value {
        json!({"conditions": [{"type": "Ready", "status": holds}],
            "allocatable": {"cpu": "1", "memory": "1Gi"}})
    }

    #[rstest]
    #[case::works(&json!({}), "True", 0, Readiness::Ready)]
    #[case::starts(&json!({}), "False", 899, Readiness::NotStarted)]
    #[case::has_not_started_in_time(&json!({}), "False", 900, Readiness::Unready)]
    #[case::is_unknown(&json!({}), "Unknown", 2000, Readiness::Unready)]
    #[case::is_being_set_up(&json!({"taints": [
        {"key": "startup-taint.cluster-autoscaler.kubernetes.io/a", "effect": "NoSchedule"}]}),
        "True", 899, Readiness::NotStarted)]
    #[case::is_said_to_work(&json!({"taints": [{"key": NOT_READY, "effect": "NoSchedule"}]}),
        "True", 900, Readiness::Unready)]
    fn a_node_is_ready(
        #[case] spec: &Value,
        #[case] holds: &str,
        #[case] now: i64,
        #[case] want: Readiness,
    ) {
        let node = node(spec, &ready(holds));
        let young = (SignedDuration::from_mins(15), at(now));
        assert_eq!(readiness(&node, "", &TaintRules::default(), young), want);
    }

    #[test]
    fn a_node_without_the_device_it_should_have_is_not_ready() {
        let node = node(&json!({}), &ready("True"));
        let rules = TaintRules::default();
        let old = (SignedDuration::ZERO, at(0));
        let state = readiness(&node, "gpu", &rules, old);
        assert_eq!(state, Readiness::ResourceUnready);
        assert_eq!(readiness(&node, "", &rules, old), Readiness::Ready);
        let facts = of_cluster_node(&node, "gpu");
        assert_eq!(facts.gpu.as_deref(), Some("nvidia.com/gpu"));
    }

    #[rstest]
    #[case::begun(json!("90"), Some(at(90)))]
    #[case::no_time(json!("soon"), Some(Timestamp::UNIX_EPOCH))]
    #[case::no_value(json!(null), Some(Timestamp::UNIX_EPOCH))]
    fn a_taint_says_since_when(#[case] value: Value, #[case] want: Option<Timestamp>) {
        let taints = json!({"taints": [
            {"key": TO_BE_DELETED, "value": value, "effect": "NoSchedule"}]});
        let facts = of_cluster_node(&node(&taints, &json!({})), "");
        assert_eq!((facts.being_deleted, facts.candidate), (want, None));
        assert!(!facts.allocatable_known);
    }

    fn pod(name: &str, spec: &Value, annotations: &Value) -> PodView {
        let pod = json!({
            "metadata": {"name": name, "namespace": "default", "annotations": annotations,
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r",
                    "uid": "u", "controller": true}]},
            "spec": spec,
        });
        PodView::from_wire(serde_json::from_value(pod).unwrap())
    }

    fn facts(pod: &PodView) -> PodFacts {
        of_pod(pod, Arc::new(spec_of(pod, None)))
    }

    #[test]
    fn pods_that_ask_for_the_same_are_alike() {
        let one = pod("a", &json!({"containers": [{"name": "c"}]}), &json!({}));
        let same = pod("b", &json!({"containers": [{"name": "d"}]}), &json!({}));
        let other = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
        let other = pod("c", &other, &json!({}));
        let print = |pod: &PodView| of_pending(pod, facts(pod)).fingerprint;
        assert_eq!(print(&one), print(&same));
        assert_ne!(print(&one), print(&other));
    }

    #[rstest]
    #[case("5m", Some(SignedDuration::from_mins(5)))]
    #[case("a while", None)]
    fn a_pod_may_ask_for_patience(#[case] text: &str, #[case] want: Option<SignedDuration>) {
        let pod = pod("a", &json!({}), &json!({ SCALE_UP_DELAY: text }));
        assert_eq!(of_pending(&pod, facts(&pod)).scale_up_delay, want);
    }

    #[test]
    fn only_volumes_on_the_node_are_local() {
        let spec = json!({"volumes": [
            {"name": "path", "hostPath": {"path": "/"}}, {"name": "scratch", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory"}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}}]});
        let pod = pod("a", &spec, &json!({}));
        let running = of_running(&pod, facts(&pod), (Some(2), Some(true)));
        assert_eq!(running.local_volumes, ["path".into(), "scratch".into()]);
        assert_eq!(running.owner.unwrap().kind, OwnerKind::ReplicaSet);
        assert_eq!(running.grace_seconds, 30);
    }
}
