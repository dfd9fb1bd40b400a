//! What is said of a pod, node by node.

use super::*;
use crate::runtime::Cached;
use serde_json::{Value, json};

fn view<V: Cached>(value: Value) -> V {
    V::from_wire(serde_json::from_value(value).unwrap())
}

fn node(name: &str, cpu: &str, spec: &Value) -> NodeView {
    view(json!({"metadata": {"name": name}, "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}}}))
}

fn pod(name: &str, cpu: &str, spec: &Value) -> PodView {
    let mut whole = json!({"containers": [{"name": "c", "image": "i",
        "resources": {"requests": {"cpu": cpu}}}]});
    if let (Some(whole), Some(spec)) = (whole.as_object_mut(), spec.as_object()) {
        whole.extend(spec.clone());
    }
    view(json!({"metadata": {"name": name, "namespace": "default"}, "spec": whole}))
}

fn lists(nodes: Vec<NodeView>, pods: Vec<PodView>) -> Lists {
    Lists {
        nodes,
        pods,
        ..Lists::default()
    }
}

#[test]
fn each_reason_names_its_nodes_and_what_would_lift_it() {
    let taints =
        json!({"taints": [{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]});
    let nodes = vec![
        node("a", "1", &json!({})),
        node("b", "2", &json!({})),
        node("c", "4", &taints),
        node("d", "4", &json!({"unschedulable": true})),
    ];
    let pods = vec![
        pod("p", "2500m", &json!({})),
        pod("q", "500m", &json!({"nodeName": "b"})),
    ];
    let told = explain(&lists(nodes, pods), "default", "p").unwrap();
    assert_eq!(told.standing, Standing::Pending);
    let about = |node: &str| {
        let mut obstacles = told.obstacles.iter();
        let found = obstacles.find(|obstacle| obstacle.nodes.iter().any(|name| name == node));
        let found = found.unwrap();
        (found.reason.clone(), found.lift.clone())
    };
    let (reason, lift) = about("b");
    assert_eq!(reason, "Insufficient cpu");
    assert!(lift.starts_with("a larger node: "), "{lift}");
    let (reason, lift) = about("c");
    assert_eq!(reason, "node(s) had untolerated taint(s)");
    assert_eq!(lift, "tolerate dedicated=batch:NoSchedule");
    let (reason, lift) = about("d");
    assert_eq!(reason, "node(s) were unschedulable");
    assert_eq!(lift, "uncordon the node");
    assert_eq!(told.fitting, []);
    assert!(
        told.summary.starts_with("0/4 nodes are available: "),
        "{}",
        told.summary
    );
    assert_eq!(told.preemption, None);
}

#[test]
fn room_that_could_be_made_is_told() {
    let nodes = vec![node("a", "1", &json!({}))];
    let pods = vec![
        pod("low", "800m", &json!({"nodeName": "a"})),
        pod("p", "500m", &json!({"priority": 10})),
    ];
    let told = explain(&lists(nodes, pods), "default", "p").unwrap();
    let room = told.preemption.unwrap();
    assert_eq!((&*room.node, room.violations), ("a", 0));
    assert_eq!(room.victims, ["default/low (priority 0)"]);
    assert_eq!(told.summary, "0/1 nodes are available: 1 Insufficient cpu.");
    let lift = &told.obstacles[0].lift;
    assert!(lift.starts_with("free 300m of cpu: "), "{lift}");
}

#[test]
fn a_pod_with_a_node_hears_what_would_be_decided_now() {
    let nodes = vec![node("a", "1", &json!({})), node("b", "4", &json!({}))];
    let pods = vec![pod("p", "500m", &json!({"nodeName": "a"}))];
    let told = explain(&lists(nodes, pods), "default", "p").unwrap();
    assert_eq!(
        (told.standing, told.node.as_deref()),
        (Standing::Scheduled, Some("a"))
    );
    let start = "it runs on a; decided now, 2 of 2 nodes would take it: b scores best (";
    assert!(told.summary.starts_with(start), "{}", told.summary);
    let best: Vec<&str> = told.fitting.iter().map(|scored| &*scored.node).collect();
    assert_eq!(best, ["b", "a"]);
}

#[test]
fn what_could_not_be_read_is_not_judged() {
    let nodes = vec![node("a", "1", &json!({}))];
    let claim = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]});
    let mut lists = lists(nodes, vec![pod("p", "500m", &claim)]);
    let told = explain(&lists, "default", "p").unwrap();
    assert!(told.summary.contains("not found"), "{}", told.summary);
    lists.unread = vec!["persistentvolumeclaims".into()];
    let told = explain(&lists, "default", "p").unwrap();
    assert!(
        told.summary.starts_with("it fits on 1 of 1"),
        "{}",
        told.summary
    );
    assert_eq!(told.unread, ["persistentvolumeclaims"]);
}

#[test]
fn replicas_are_spread_as_by_the_scheduler() {
    let zoned = |name: &str| -> NodeView {
        view(
            json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "status": {"allocatable": {"cpu": "1000", "memory": "8Ti", "pods": "10"}}}),
        )
    };
    let replica = |name: &str, node: Option<&str>| -> PodView {
        view(
            json!({"metadata": {"name": name, "namespace": "default", "labels": {"app": "db"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db",
                "uid": "u", "controller": true}]},
            "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}}),
        )
    };
    let pods = vec![
        replica("db-0", Some("a")),
        replica("db-1", Some("a")),
        replica("db-2", None),
    ];
    let spread = |lists: &Lists| {
        let told = explain(lists, "default", "db-2").unwrap();
        told.fitting[0].scores.pod_topology_spread - told.fitting[1].scores.pod_topology_spread
    };
    let mut lists = lists(vec![zoned("a"), zoned("b")], pods);
    assert_eq!(spread(&lists), 0);
    lists.stateful_sets = vec![view(
        json!({"metadata": {"name": "db", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "db"}}}}),
    )];
    assert!(spread(&lists) > 0);
}

#[test]
fn pods_for_which_no_node_is_looked_for_say_so() {
    let gated = json!({"schedulingGates": [{"name": "example.com/a"}, {"name": "example.com/b"}]});
    let pods = vec![
        pod("gated", "1", &gated),
        pod("foreign", "1", &json!({"schedulerName": "mine"})),
    ];
    let lists = lists(Vec::new(), pods);
    let told = |name: &str| explain(&lists, "default", name).unwrap().summary;
    assert_eq!(
        told("gated"),
        "it waits behind scheduling gates: example.com/a, example.com/b"
    );
    assert_eq!(told("foreign"), "scheduler \"mine\" is to find it a node");
    assert_eq!(explain(&lists, "default", "absent"), None);
}

#[test]
fn what_a_claim_to_devices_lacks_is_told() {
    let spec = json!({"resourceClaims": [{"name": "gpu", "resourceClaimName": "two"}]});
    let pods = vec![pod("p", "100m", &spec)];
    let request = json!({"name": "r", "exactly": {"deviceClassName": "gpu", "count": 2}});
    let devices = DeviceLists {
        claims: vec![view(
            json!({"metadata": {"name": "two", "namespace": "default"},
            "spec": {"devices": {"requests": [request]}}}),
        )],
        classes: vec![view(json!({"metadata": {"name": "gpu"}, "spec": {}}))],
        slices: vec![view(json!({"metadata": {"name": "s"}, "spec": {
            "driver": "d", "nodeName": "a", "devices": [{"name": "gpu-0"}],
            "pool": {"name": "a", "generation": 1, "resourceSliceCount": 1}}}))],
        ..DeviceLists::default()
    };
    let mut lists = Lists {
        devices,
        ..lists(vec![node("a", "1", &json!({}))], pods)
    };
    let told = explain(&lists, "default", "p").unwrap();
    assert_eq!(told.obstacles[0].reason, "cannot allocate all claims");
    let lift = "claim gpu, request r: 2 of class gpu wanted, 1 fit and 1 of them are free";
    assert_eq!(told.obstacles[0].lift, lift);
    // What cannot be read is left out.
    lists.unread.push("resourceclaims".to_owned());
    let told = explain(&lists, "default", "p").unwrap();
    assert_eq!(told.fitting.len(), 1);
}
