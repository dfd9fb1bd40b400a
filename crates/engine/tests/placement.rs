//! The scheduler's rules, as tables and properties.

use plimsoll_engine::placement::{
    Effect, HostPort, NodeFacts, NodeTerm, Operator, PodFacts, Requirement, Resources, Snapshot,
    Taint, Toleration, TolerationOperator, place, render,
};
use proptest::prelude::*;
use rstest::rstest;
use std::sync::Arc;

const GIB: i64 = 1 << 30;

fn node(name: &str, cpu: i64) -> NodeFacts {
    NodeFacts {
        name: name.into(),
        labels: [("kubernetes.io/hostname".to_owned(), name.to_owned())].into(),
        allocatable: Resources::of(cpu, 4 * GIB),
        max_pods: 110,
        ..NodeFacts::default()
    }
}

fn pod(name: &str, cpu: i64) -> PodFacts {
    PodFacts {
        namespace: "default".into(),
        name: name.into(),
        requests: Resources::of(cpu, 0),
        group: Some(Arc::from("owner")),
        ..PodFacts::default()
    }
}

fn two_nodes() -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.set_node(node("a", 1000));
    snapshot.set_node(node("b", 1000));
    snapshot
}

fn taint(effect: Effect) -> Taint {
    Taint {
        key: "dedicated".into(),
        value: "batch".into(),
        effect,
    }
}

#[test]
fn no_nodes_has_its_own_sentence() {
    let placement = place(&pod("p", 100), &Snapshot::default());
    assert_eq!(render(&placement), "no nodes available to schedule pods");
}

#[test]
fn a_pod_larger_than_any_node_says_that_preemption_cannot_help() {
    let placement = place(&pod("p", 2000), &two_nodes());
    assert_eq!(
        render(&placement),
        "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: \
         0/2 nodes are available: 2 Preemption is not helpful for scheduling."
    );
}

#[test]
fn full_nodes_and_tainted_nodes_are_counted_apart() {
    let mut snapshot = two_nodes();
    snapshot.place("a", pod("running", 900));
    let mut b = node("b", 1000);
    b.taints = vec![taint(Effect::NoSchedule)];
    snapshot.set_node(b);
    assert_eq!(
        render(&place(&pod("p", 200), &snapshot)),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s). no new \
         claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found \
         for incoming pod, 1 Preemption is not helpful for scheduling."
    );
}

#[rstest]
#[case::a_cordoned_node_takes_nothing(|n: &mut NodeFacts, _: &mut PodFacts| n.unschedulable = true, false)]
#[case::a_toleration_admits_to_a_cordoned_node(|n: &mut NodeFacts, p: &mut PodFacts| {
    n.unschedulable = true;
    p.tolerations = vec![Toleration { key: String::new(), operator: TolerationOperator::Exists, value: String::new(), effect: None }];
}, true)]
#[case::an_untolerated_taint_refuses(|n: &mut NodeFacts, _: &mut PodFacts| n.taints = vec![taint(Effect::NoExecute)], false)]
#[case::a_disliked_taint_only_costs_score(|n: &mut NodeFacts, _: &mut PodFacts| n.taints = vec![taint(Effect::PreferNoSchedule)], true)]
#[case::an_equal_toleration_admits(|n: &mut NodeFacts, p: &mut PodFacts| {
    n.taints = vec![taint(Effect::NoSchedule)];
    p.tolerations = vec![Toleration { key: "dedicated".into(), operator: TolerationOperator::Equal, value: "batch".into(), effect: None }];
}, true)]
#[case::a_toleration_of_another_value_does_not(|n: &mut NodeFacts, p: &mut PodFacts| {
    n.taints = vec![taint(Effect::NoSchedule)];
    p.tolerations = vec![Toleration { key: "dedicated".into(), operator: TolerationOperator::Equal, value: "web".into(), effect: None }];
}, false)]
#[case::a_selector_that_matches(|_: &mut NodeFacts, p: &mut PodFacts| { p.node_selector.insert("kubernetes.io/hostname".into(), "a".into()); }, true)]
#[case::a_selector_that_does_not(|_: &mut NodeFacts, p: &mut PodFacts| { p.node_selector.insert("disk".into(), "ssd".into()); }, false)]
#[case::an_empty_list_of_terms_matches_nothing(|_: &mut NodeFacts, p: &mut PodFacts| p.affinity.required = Some(vec![]), false)]
#[case::one_matching_term_is_enough(|_: &mut NodeFacts, p: &mut PodFacts| p.affinity.required = Some(vec![
    NodeTerm::default(),
    NodeTerm { labels: vec![Requirement { key: "gpu".into(), operator: Operator::DoesNotExist, values: vec![] }], fields: vec![] },
]), true)]
#[case::room_for_exactly_the_request_is_enough(|_: &mut NodeFacts, p: &mut PodFacts| p.requests = Resources::of(1000, 4 * GIB), true)]
#[case::a_full_pod_count_refuses(|n: &mut NodeFacts, _: &mut PodFacts| n.max_pods = 0, false)]
fn filters_decide(#[case] arrange: fn(&mut NodeFacts, &mut PodFacts), #[case] fits: bool) {
    let (mut facts, mut wanted) = (node("a", 1000), pod("p", 100));
    arrange(&mut facts, &mut wanted);
    let mut snapshot = Snapshot::default();
    snapshot.set_node(facts);
    let placement = place(&wanted, &snapshot);
    assert_eq!(placement.choice(0).is_some(), fits, "{placement:?}");
}

#[test]
fn a_host_port_is_given_once_per_node() {
    let mut web = pod("web", 0);
    web.host_ports = vec![HostPort {
        protocol: "TCP".into(),
        ip: String::new(),
        port: 80,
    }];
    let mut snapshot = two_nodes();
    snapshot.place("a", web.clone());
    assert_eq!(place(&web, &snapshot).choice(0), Some("b"));
    assert_eq!(snapshot.displace("default", "web").as_deref(), Some("a"));
    assert_eq!(place(&web, &snapshot).candidates.len(), 2);
}

#[test]
fn siblings_are_spread_over_nodes() {
    let mut snapshot = two_nodes();
    for i in 0..4 {
        let next = pod(&format!("p{i}"), 100);
        let target = place(&next, &snapshot).choice(0).expect("room").to_owned();
        snapshot.place(&target, next);
    }
    assert_eq!(snapshot.node("a").map(|n| n.pods), Some(2));
    assert_eq!(snapshot.node("b").map(|n| n.pods), Some(2));
}

#[test]
fn a_pod_seen_before_its_node_counts_once_the_node_appears() {
    let mut snapshot = Snapshot::default();
    snapshot.place("late", pod("p", 700));
    snapshot.set_node(node("late", 1000));
    assert_eq!(snapshot.node("late").map(|n| n.used.cpu_milli), Some(700));
    snapshot.remove_node("late");
    snapshot.set_node(node("late", 1000));
    assert_eq!(snapshot.node("late").map(|n| n.used.cpu_milli), Some(700));
}

proptest! {
    #[test]
    fn no_node_is_ever_filled_beyond_its_capacity(requests in prop::collection::vec(1i64..600, 1..60)) {
        let mut snapshot = two_nodes();
        for (i, cpu) in requests.iter().enumerate() {
            let next = pod(&format!("p{i}"), *cpu);
            let target = place(&next, &snapshot).choice(i).map(str::to_owned);
            if let Some(target) = target {
                snapshot.place(&target, next);
            }
        }
        for state in snapshot.nodes() {
            prop_assert!(state.used.cpu_milli <= 1000);
        }
    }

    #[test]
    fn placing_and_displacing_leaves_no_trace(cpu in 0i64..1000) {
        let mut snapshot = two_nodes();
        snapshot.place("a", pod("p", cpu));
        snapshot.displace("default", "p");
        let node = snapshot.node("a").expect("still there");
        prop_assert_eq!((node.used.cpu_milli, node.pods, node.groups.len()), (0, 0, 0));
    }
}
