//! Why each node does or does not take a pod.

use crate::build::*;
use plimsoll_engine::placement::*;
use rstest::rstest;

type Arrange = fn(&mut Snapshot, &mut PodSpec);

#[rstest]
#[case::cordoned(|s: &mut Snapshot, _: &mut PodSpec| s.set_node(NodeFacts { unschedulable: true, ..node("a", "", 1000) }),
    &["node(s) were unschedulable: uncordon the node"])]
#[case::tainted(|s: &mut Snapshot, _: &mut PodSpec| {
    let taint = |effect| Taint { key: "gpu".into(), value: "yes".into(), effect };
    let taints = vec![taint(Effect::NoSchedule), taint(Effect::PreferNoSchedule)];
    s.set_node(NodeFacts { taints, ..node("a", "", 1000) });
}, &["node(s) had untolerated taint(s): tolerate gpu=yes:NoSchedule"])]
#[case::not_selected(|_: &mut Snapshot, p: &mut PodSpec| {
    p.node_selector = labels(&[("disk", "ssd")]);
    p.affinity.required = Some(vec![NodeTerm { labels: vec![
        requirement("arch", Operator::In, &["arm", "x86"]), requirement("old", Operator::DoesNotExist, &[])], fields: vec![] }]);
}, &["node(s) didn't match Pod's node affinity/selector: the node lacks disk=ssd, (arch in (arm,x86), !old)"])]
#[case::several_resources(|s: &mut Snapshot, p: &mut PodSpec| {
    s.place("a", pod("running", spec(700)));
    p.requests = Resources::of(500, 5 * GIB);
}, &["Insufficient cpu: free 200m of cpu: 500m wanted, 300m of 1 free",
    "Insufficient memory: a larger node: 5Gi of memory wanted, the node has 4Gi"])]
#[case::ports(|s: &mut Snapshot, p: &mut PodSpec| {
    p.host_ports = vec![port(80), port(81)];
    s.place("a", pod("web", PodSpec { host_ports: vec![port(80)], ..spec(1) }));
}, &["node(s) didn't have free ports for the requested pod ports: host ports in use: 80/TCP"])]
#[case::full(|s: &mut Snapshot, _: &mut PodSpec| s.set_node(NodeFacts { max_pods: 0, ..node("a", "", 1000) }),
    &["Too many pods: the node runs its 0 pods already"])]
#[case::apart(|s: &mut Snapshot, p: &mut PodSpec| {
    s.place("a", pod("db-0", app("db")));
    p.pod_anti_affinity = required(vec![term("db", HOSTNAME)]);
}, &["node(s) didn't match pod anti-affinity rules: without default/db-0"])]
#[case::avoided(|s: &mut Snapshot, p: &mut PodSpec| {
    let mut shy = app("shy");
    shy.pod_anti_affinity = required(vec![term("web", HOSTNAME)]);
    s.place("a", pod("shy-0", shy));
    p.labels = labels(&[("app", "web")]);
}, &["node(s) didn't satisfy existing pods anti-affinity rules: without default/shy-0"])]
#[case::lonely(|_: &mut Snapshot, p: &mut PodSpec| p.pod_affinity = required(vec![term("db", ZONE)]),
    &["node(s) didn't match pod affinity rules: no such pod runs in the same topology.kubernetes.io/zone"])]
#[case::room_for_another(|s: &mut Snapshot, p: &mut PodSpec| {
    s.place("a", pod("leaving", spec(400)));
    s.nominate("a", pod("urgent", PodSpec { priority: 10, ..spec(600) }));
    p.requests = Resources::of(500, 0);
}, &["Insufficient cpu: free 500m of cpu: 500m wanted, 0 of 1 free, 600m reserved for pods that preempt here"])]
#[case::everything_at_once(|s: &mut Snapshot, p: &mut PodSpec| {
    s.set_node(NodeFacts { unschedulable: true, ..node("a", "", 1000) });
    p.requests.cpu_milli = 2000;
}, &["node(s) were unschedulable: uncordon the node",
    "Insufficient cpu: a larger node: 2 of cpu wanted, the node has 1"])]
fn obstacles(#[case] arrange: Arrange, #[case] expected: &[&str]) {
    let (mut snapshot, mut wanted) = (cluster(&[("a", "")]), spec(100));
    arrange(&mut snapshot, &mut wanted);
    let report = explain(&mut snapshot, &pod("p", wanted));
    let obstacles = report.nodes[0].obstacles.iter();
    let said: Vec<String> = obstacles
        .map(|o| format!("{}: {}", o.reason, o.remedy))
        .collect();
    assert_eq!(said, expected);
    assert!(report.nodes[0].scores.is_none());
}

#[test]
fn a_placed_pod_is_judged_as_if_it_came_anew() {
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    let placed = pod("p", spec(900));
    snapshot.place("a", placed.clone());
    let report = explain(&mut snapshot, &placed);
    assert!(
        report.nodes.iter().all(|n| n.scores.is_some()),
        "{report:?}"
    );
    assert_eq!(snapshot.node_of("default", "p"), Some("a"));
}

#[test]
fn the_report_is_data() {
    let mut snapshot = cluster(&[("a", "")]);
    let report = explain(&mut snapshot, &pod("p", spec(2000)));
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(
        json["nodes"][0]["obstacles"][0],
        serde_json::json!({
            "reason": {"reason": "insufficient", "of": "cpu"},
            "remedy": {"do": "largerNode", "with": {
                "resource": "cpu", "wanted": "2", "free": "1", "capacity": "1", "missing": "1"}},
        })
    );
}
