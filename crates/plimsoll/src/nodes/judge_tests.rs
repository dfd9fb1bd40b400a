//! What keeps a node.

use super::*;
use jiff::Timestamp;
use plimsoll_controllers::pods::{BudgetView, NodeView, PodView, ReplicaSetView};
use plimsoll_controllers::runtime::Cached;
use plimsoll_controllers::scheduler::explanation::Lists;
use rstest::rstest;
use serde_json::json;

const SAFE: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
const DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";

fn view<V: Cached>(value: Value) -> V {
    V::from_wire(serde_json::from_value(value).unwrap())
}

pub(crate) fn node(name: &str, annotations: &Value) -> NodeView {
    view(json!({
        "metadata": {"name": name, "annotations": annotations, "labels": {
            "kubernetes.io/hostname": name, "eks.amazonaws.com/nodegroup": "ng1"}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"},
            "conditions": [{"type": "Ready", "status": "True"}]},
    }))
}

/// A pod of ReplicaSet `r`, changed by `patch`.
pub(crate) fn pod(name: &str, on: &str, cpu: &str, patch: &Value) -> PodView {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name},
            "creationTimestamp": "1970-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r",
                "uid": "u", "controller": true}]},
        "spec": {"nodeName": on, "containers": [{"name": "c",
            "resources": {"requests": {"cpu": cpu}}}]},
    });
    merge(&mut pod, patch);
    view(pod)
}

fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, patch) => into.clone_from(patch),
    }
}

pub(crate) fn replica_set() -> ReplicaSetView {
    view(json!({"metadata": {"name": "r", "namespace": "default"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"a": "b"}}}}))
}

pub(crate) fn picture(nodes: Vec<NodeView>, pods: Vec<PodView>) -> Picture {
    let lists = Lists {
        nodes,
        pods,
        replica_sets: vec![replica_set()],
        ..Lists::default()
    };
    Picture::of_lists(lists, Timestamp::from_second(100).unwrap())
}

fn told(picture: &Picture, name: &str) -> NodeReport {
    judge(picture, &mut Given::new(picture, &[]), name).unwrap()
}

fn two(pods: Vec<PodView>) -> Picture {
    picture(vec![node("a", &json!({})), node("b", &json!({}))], pods)
}

#[test]
fn a_node_whose_pods_fit_elsewhere_could_go() {
    let picture = two(vec![
        pod("web", "a", "500m", &json!({})),
        pod("db", "a", "300m", &json!({})),
        pod("other", "b", "1", &json!({})),
    ]);
    let told = told(&picture, "a");
    assert_eq!(told.obstacles, []);
    assert_eq!(told.summary, "it could go: its 2 pods would fit elsewhere");
    let to: Vec<_> = told.pods.iter().map(|pod| pod.to.as_deref()).collect();
    assert_eq!(to, [Some("b"), Some("b")]);
    assert_eq!(told.group.as_deref(), Some("ng1"));
    assert!((told.utilization.unwrap().cpu - 0.4).abs() < 1e-9);
}

#[rstest]
#[case::marked(&json!({"metadata": {"annotations": {SAFE: "false"}}}), "NotSafeToEvictAnnotation")]
#[case::bare(&json!({"metadata": {"ownerReferences": null}}), "NotReplicated")]
#[case::data(&json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}}),
    "LocalStorageRequested")]
#[case::system(&json!({"metadata": {"namespace": "kube-system", "ownerReferences":
    [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "j", "controller": true}]}}),
    "UnmovableKubeSystemPod")]
#[case::orphan(&json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1",
    "kind": "ReplicaSet", "name": "gone", "uid": "u", "controller": true}]}}), "ControllerNotFound")]
#[case::until_done(&json!({"metadata": {"annotations": {SAFE: "on-completion"}}}), "OnCompletion")]
fn a_pod_keeps_its_node(#[case] patch: &Value, #[case] reason: &str) {
    let told = told(&two(vec![pod("web", "a", "100m", patch)]), "a");
    assert_eq!(told.pods[0].fate, "stays", "{:?}", told.pods);
    assert_eq!(told.pods[0].reason, Some(reason));
    assert!(!told.obstacles[0].lift.is_empty(), "{:?}", told.obstacles);
    assert_eq!(told.summary, "one thing keeps it");
}

#[rstest]
#[case::safe(&json!({"metadata": {"ownerReferences": null, "annotations": {SAFE: "true"}}}),
    "moves", "is marked as safe to evict")]
#[case::daemon(&json!({"metadata": {"ownerReferences": [{"apiVersion": "apps/v1",
    "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true}]}}),
    "goes", "is of a DaemonSet: it goes with its node")]
#[case::mirror(&json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
    "goes", "is a static pod: it goes with its node")]
fn a_pod_does_not_keep_its_node(#[case] patch: &Value, #[case] fate: &str, #[case] rule: &str) {
    let told = told(&two(vec![pod("web", "a", "100m", patch)]), "a");
    assert_eq!(
        (told.pods[0].fate, told.pods[0].rule.as_str()),
        (fate, rule)
    );
    assert_eq!(told.obstacles, []);
}

#[test]
fn everything_in_the_way_is_told_at_once() {
    let budget: BudgetView = view(json!({"metadata": {"name": "keep", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 0}}));
    let lists = Lists {
        nodes: vec![node("a", &json!({DISABLED: "true"})), node("b", &json!({}))],
        pods: vec![
            pod("web", "a", "1500m", &json!({})),
            pod("other", "b", "1", &json!({})),
        ],
        replica_sets: vec![replica_set()],
        budgets: vec![budget],
        ..Lists::default()
    };
    let picture = Picture::of_lists(lists, Timestamp::from_second(100).unwrap());
    let told = told(&picture, "a");
    let reasons: Vec<&str> = told.obstacles.iter().map(|o| o.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "its annotation cluster-autoscaler.kubernetes.io/scale-down-disabled is \"true\"",
            "its pods request 75.0 % of its cpu, more than 50.0 %",
            "pod default/web has a disruption budget that allows no eviction now",
            "pod default/web would fit on no other node: 1 Insufficient cpu",
        ]
    );
    assert!(
        told.obstacles[2].lift.contains("default/keep"),
        "{:?}",
        told.obstacles[2]
    );
}

#[test]
fn a_second_removal_sees_what_the_first_moved() {
    let nodes = ["a", "b", "c"].map(|name| node(name, &json!({})));
    let pods = vec![
        pod("one", "a", "900m", &json!({})),
        pod("two", "b", "900m", &json!({})),
        pod("three", "c", "900m", &json!({})),
    ];
    let picture = picture(nodes.into(), pods);
    let mut given = Given::new(&picture, &["a", "b"]);
    let mut kept = |name| {
        let told = judge(&picture, &mut given, name).unwrap();
        told.obstacles.len()
    };
    // 1,800m fit on two of them, 2,700m not on one.
    assert_eq!((kept("a"), kept("b")), (0, 1));
}

#[test]
fn the_groups_minimum_and_its_options_count() {
    let nodes = vec![node("a", &json!({})), node("b", &json!({}))];
    let group = json!({"metadata": {"name": "ng1"}, "group": {
        "min": 2, "max": 4, "target": 2, "exists": true, "template": null,
        "options": {"scaleDownUtilizationThreshold": 0.1, "scaleDownGpuUtilizationThreshold": 0.5,
            "scaleDownUnneededTime": "PT10M", "scaleDownUnreadyTime": "PT20M",
            "maxNodeProvisionTime": "PT15M", "maxNodeStartupTime": "PT15M",
            "zeroOrMaxNodeScaling": false, "ignoreDaemonsetsUtilization": false}}});
    let thinks = json!({"metadata": {"name": "a"}, "group": "ng1", "summary": "it stays"});
    let picture = picture(nodes, vec![pod("web", "a", "500m", &json!({}))]);
    let told = told(&picture.with_told(vec![thinks], vec![group]), "a");
    let reasons: Vec<&str> = told.obstacles.iter().map(|o| o.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "its pods request 25.0 % of its cpu, more than 10.0 %",
            "its group is at its minimum of 2",
        ]
    );
    assert_eq!(told.autoscaler.unwrap()["summary"], "it stays");
}

#[test]
fn nodes_removed_together_share_a_budget_and_their_groups_minimum() {
    let nodes = ["a", "b", "c", "d"].map(|name| node(name, &json!({})));
    let labels = json!({"metadata": {"labels": {"app": "web"}}});
    let pods = vec![
        pod("one", "a", "100m", &labels),
        pod("two", "b", "100m", &labels),
    ];
    let budget: BudgetView = view(json!({"metadata": {"name": "keep", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 1}}));
    let lists = Lists {
        nodes: nodes.into(),
        pods,
        budgets: vec![budget],
        replica_sets: vec![replica_set()],
        ..Lists::default()
    };
    let mut picture = Picture::of_lists(lists, Timestamp::from_second(100).unwrap());
    let group = GroupFacts {
        id: "ng1".into(),
        min: 2,
        target: 4,
        ..any_group()
    };
    picture.groups.insert("ng1".into(), group);
    let mut given = Given::new(&picture, &["a", "b", "c"]);
    let mut told = |name| {
        let obstacles = judge(&picture, &mut given, name).unwrap().obstacles;
        let told: Vec<String> = obstacles.into_iter().map(|o| o.reason).collect();
        told.join("; ")
    };
    assert_eq!(told("a"), "");
    let second = told("b");
    assert!(
        second.contains("budget that allows no eviction"),
        "{second}"
    );
    assert!(!second.contains("minimum"), "{second}");
    assert_eq!(told("c"), "its group is at its minimum of 2");
}
