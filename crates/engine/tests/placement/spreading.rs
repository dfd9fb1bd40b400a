//! Topology spread constraints.

use crate::build::*;
use plimsoll_engine::placement::*;
use rstest::rstest;
use std::collections::BTreeSet;

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn spreading(key: &str, when: WhenUnsatisfiable) -> PodSpec {
    PodSpec {
        spread: vec![spread("web", key, when)],
        ..app("web")
    }
}

/// Zone a: a1, a2; zone b: b1; x has no zone. `pods` run where they say.
fn world(pods: &[&str]) -> Snapshot {
    let mut snapshot = cluster(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("x", "")]);
    for (number, node) in pods.iter().enumerate() {
        snapshot.place(node, pod(&format!("web-{number}"), app("web")));
    }
    snapshot
}

#[rstest]
#[case::even_zones(&["a1", "b1"], 1, &["a1", "a2", "b1"])]
#[case::one_more_in_a(&["a1"], 1, &["b1"])]
#[case::a_larger_skew(&["a1"], 2, &["a1", "a2", "b1"])]
#[case::nobody_yet(&[], 1, &["a1", "a2", "b1"])]
#[case::those_outside_do_not_count(&["x", "x"], 1, &["a1", "a2", "b1"])]
fn hard_by_zone(#[case] pods: &[&str], #[case] max_skew: i32, #[case] expected: &[&str]) {
    let mut web = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    web.spread[0].max_skew = max_skew;
    assert_eq!(fitting(&mut world(pods), &web), set(expected));
}

#[test]
fn the_two_reasons() {
    let mut snapshot = world(&["a1"]);
    let web = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    snapshot.set_node(NodeFacts {
        max_pods: 0,
        ..node("b1", "b", 1000)
    });
    let got = refusals(&mut snapshot, &web);
    assert_eq!(got["a1"], [Refusal::TooUneven]);
    assert_eq!(got["x"], [Refusal::SpreadLabelMissing]);
    assert_eq!(got["b1"], [Refusal::TooManyPods]);
    assert_eq!(
        message(&mut snapshot, &web),
        "0/4 nodes are available: 1 Too many pods, 1 node(s) didn't match pod topology spread \
         constraints (missing required label), 2 node(s) didn't match pod topology spread \
         constraints. no new claims to deallocate, preemption: 0/4 nodes are available: 2 No \
         preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn a_pod_its_own_selector_does_not_select_does_not_add() {
    let mut other = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    other.labels = labels(&[("app", "other")]);
    assert_eq!(fitting(&mut world(&["a1"]), &other).len(), 3);
}

#[rstest]
#[case::two_places_are_enough(2, &["b1"])]
#[case::with_too_few_the_emptiest_counts_as_empty(3, &["b1"])]
fn min_domains(#[case] min: i32, #[case] expected: &[&str]) {
    let mut web = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    web.spread[0].min_domains = Some(min);
    assert_eq!(fitting(&mut world(&["a1"]), &web), set(expected));
    // Both zones have one: only the wanted third place stands in the way.
    let even: &[&str] = if min == 2 { &["a1", "a2", "b1"] } else { &[] };
    assert_eq!(fitting(&mut world(&["a1", "b1"]), &web), set(even));
}

#[rstest]
#[case::nodes_it_cannot_use_do_not_count(Inclusion::Honor, &["a2"])]
#[case::or_do(Inclusion::Ignore, &[])]
fn node_affinity_policy(#[case] policy: Inclusion, #[case] expected: &[&str]) {
    let mut snapshot = world(&["a1"]);
    snapshot.set_node(NodeFacts {
        unschedulable: true,
        ..node("a1", "a", 1000)
    });
    let mut web = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    web.affinity.required = Some(vec![NodeTerm {
        labels: vec![requirement(ZONE, Operator::In, &["a"])],
        fields: vec![],
    }]);
    web.spread[0].node_affinity_policy = policy;
    assert_eq!(fitting(&mut snapshot, &web), set(expected));
}

#[rstest]
#[case::tainted_nodes_count(Inclusion::Ignore, &[])]
#[case::or_do_not(Inclusion::Honor, &["a2"])]
fn node_taints_policy(#[case] policy: Inclusion, #[case] expected: &[&str]) {
    let mut snapshot = world(&["a1", "a2"]);
    snapshot.remove_node("a1");
    snapshot.remove_node("x");
    let taint = Taint {
        key: "t".into(),
        value: String::new(),
        effect: Effect::NoSchedule,
    };
    snapshot.set_node(NodeFacts {
        taints: vec![taint],
        ..node("b1", "b", 1000)
    });
    let mut web = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    web.spread[0].node_taints_policy = policy;
    assert_eq!(fitting(&mut snapshot, &web), set(expected));
}

#[test]
fn pods_that_are_leaving_do_not_count() {
    let mut snapshot = world(&["a1"]);
    let web = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    let leaving = PodFacts {
        terminating: true,
        ..pod("web-0", app("web"))
    };
    snapshot.place("a1", leaving);
    assert_eq!(fitting(&mut snapshot, &web).len(), 3);
    snapshot.place("a1", pod("web-0", app("web")));
    assert_eq!(fitting(&mut snapshot, &web), set(&["b1"]));
}

#[test]
fn other_namespaces_do_not_count() {
    let mut snapshot = world(&[]);
    snapshot.place("a1", PodFacts::new("other", "web-0", app("web")));
    let web = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    assert_eq!(fitting(&mut snapshot, &web).len(), 3);
}

#[test]
fn label_keys_count_each_version_alone() {
    let version = |version: &str| {
        let mut spec = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
        spec.labels.insert("version".into(), version.into());
        spec.spread[0].match_label_keys = vec!["version".into()];
        spec
    };
    let mut snapshot = world(&[]);
    snapshot.place("a1", pod("old", version("1")));
    assert_eq!(fitting(&mut snapshot, &version("1")), set(&["b1"]));
    assert_eq!(fitting(&mut snapshot, &version("2")).len(), 3);
}

#[test]
fn all_constraints_hold_at_once() {
    let mut web = spreading(ZONE, WhenUnsatisfiable::DoNotSchedule);
    web.spread
        .push(spread("web", HOSTNAME, WhenUnsatisfiable::DoNotSchedule));
    // Zones are even, so both are open; by node, a1 and b1 hold one more than a2. (x has no zone
    // and counts in neither.)
    assert_eq!(fitting(&mut world(&["a1", "b1"]), &web), set(&["a2"]));
}

#[rstest]
#[case::the_emptier_zone(&["a1"], &["b1"])]
#[case::even(&["a1", "b1"], &["a1", "a2", "b1"])]
fn soft_by_zone(#[case] pods: &[&str], #[case] winners: &[&str]) {
    let mut snapshot = world(pods);
    let web = spreading(ZONE, WhenUnsatisfiable::ScheduleAnyway);
    assert_eq!(fitting(&mut snapshot, &web).len(), 4);
    let report = explain(&mut snapshot, &pod("web", web));
    let even = |n: &NodeReport| n.scores.map(|s| s.pod_topology_spread);
    let most = report.nodes.iter().filter_map(even).max();
    let best = report.nodes.iter().filter(|n| even(n) == most);
    assert_eq!(
        best.map(|n| n.node.clone()).collect::<BTreeSet<_>>(),
        set(winners)
    );
    let outside = report.nodes.iter().find(|n| n.node == "x");
    assert_eq!(
        outside.and_then(even),
        Some(0),
        "a node without the label takes no part"
    );
}

#[test]
fn pods_of_a_workload_spread_by_default() {
    let mut snapshot = cluster(&[("a1", "a"), ("a2", "a"), ("b1", "b")]);
    let web = PodSpec {
        default_spread: Some(select("app", "web")),
        requests: Resources::default(),
        ..app("web")
    };
    let mut at = Vec::new();
    for number in 0..6 {
        let next = pod(&format!("web-{number}"), web.clone());
        let node = decide(&mut snapshot, &next, 7)
            .node()
            .map(str::to_owned)
            .expect("room");
        snapshot.place(&node, next);
        at.push(node);
    }
    for name in ["a1", "a2", "b1"] {
        assert_eq!(at.iter().filter(|node| *node == name).count(), 2, "{at:?}");
    }
}
