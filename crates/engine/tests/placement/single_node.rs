//! Rules and scores that look at one node alone, and the texts.

use crate::build::*;
use plimsoll_engine::placement::*;
use rstest::rstest;

#[test]
fn no_nodes_has_its_own_sentence() {
    let text = message(&mut Snapshot::default(), &spec(100));
    assert_eq!(text, "no nodes available to schedule pods");
}

#[test]
fn a_pod_larger_than_any_node_says_that_preemption_cannot_help() {
    let mut large = spec(2000);
    large.requests.memory_bytes = 5 * GIB;
    assert_eq!(
        message(&mut cluster(&[("a", ""), ("b", "")]), &large),
        "0/2 nodes are available: 2 Insufficient cpu, 2 Insufficient memory. no new claims to \
         deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for \
         scheduling."
    );
}

#[test]
fn full_nodes_and_tainted_nodes_are_counted_apart() {
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    snapshot.place("a", pod("running", spec(900)));
    let mut b = node("b", "", 1000);
    b.taints = vec![taint(Effect::NoSchedule)];
    snapshot.set_node(b);
    assert_eq!(
        message(&mut snapshot, &spec(200)),
        "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s). no new \
         claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found \
         for incoming pod, 1 Preemption is not helpful for scheduling."
    );
}

#[test]
fn nodes_that_a_daemon_pod_does_not_name_are_not_looked_at() {
    let mut snapshot = cluster(&[("a", ""), ("b", ""), ("c", "")]);
    snapshot.place("a", pod("running", spec(900)));
    let mut daemon = spec(200);
    daemon.affinity.required = Some(vec![NodeTerm {
        labels: vec![],
        fields: vec![requirement("metadata.name", Operator::In, &["a"])],
    }]);
    assert_eq!(
        message(&mut snapshot, &daemon),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) \
         [NodeAffinity]. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No \
         preemption victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    );
}

fn taint(effect: Effect) -> Taint {
    Taint {
        key: "dedicated".into(),
        value: "5".into(),
        effect,
    }
}

fn tolerate(operator: TolerationOperator, value: &str) -> Toleration {
    Toleration {
        key: "dedicated".into(),
        operator,
        value: value.into(),
        effect: None,
    }
}

type Arrange = fn(&mut NodeFacts, &mut PodSpec);

fn tainted(effect: Effect, operator: TolerationOperator, value: &str) -> (NodeFacts, PodSpec) {
    let mut facts = node("a", "", 1000);
    facts.taints = vec![taint(effect)];
    let mut wanted = spec(100);
    wanted.tolerations = vec![tolerate(operator, value)];
    (facts, wanted)
}

#[rstest]
#[case::equal(TolerationOperator::Equal, "5", true)]
#[case::not_equal(TolerationOperator::Equal, "6", false)]
#[case::exists(TolerationOperator::Exists, "", true)]
#[case::more(TolerationOperator::Gt, "4", true)]
#[case::not_more(TolerationOperator::Gt, "5", false)]
#[case::less(TolerationOperator::Lt, "6", true)]
#[case::not_a_number(TolerationOperator::Lt, "many", false)]
fn tolerations(
    #[case] operator: TolerationOperator,
    #[case] value: &str,
    #[case] tolerated: bool,
    #[values(Effect::NoSchedule, Effect::NoExecute)] effect: Effect,
) {
    let (facts, wanted) = tainted(effect, operator, value);
    let mut snapshot = Snapshot::default();
    snapshot.set_node(facts);
    assert_eq!(chosen(&mut snapshot, &wanted).is_some(), tolerated);
}

#[rstest]
#[case::a_cordoned_node_takes_nothing(|n: &mut NodeFacts, _: &mut PodSpec| n.unschedulable = true, Some(Refusal::Unschedulable))]
#[case::a_toleration_admits_to_a_cordoned_node(|n: &mut NodeFacts, p: &mut PodSpec| {
    n.unschedulable = true;
    p.tolerations = vec![tolerate_all()];
}, None)]
#[case::an_untolerated_taint_refuses(|n: &mut NodeFacts, _: &mut PodSpec| n.taints = vec![taint(Effect::NoExecute)], Some(Refusal::UntoleratedTaint))]
#[case::a_disliked_taint_only_costs_score(|n: &mut NodeFacts, _: &mut PodSpec| n.taints = vec![taint(Effect::PreferNoSchedule)], None)]
#[case::a_toleration_of_another_effect_does_not_help(|n: &mut NodeFacts, p: &mut PodSpec| {
    n.taints = vec![taint(Effect::NoSchedule)];
    p.tolerations = vec![Toleration { effect: Some(Effect::NoExecute), ..tolerate(TolerationOperator::Exists, "") }];
}, Some(Refusal::UntoleratedTaint))]
#[case::a_named_node(|_: &mut NodeFacts, p: &mut PodSpec| p.node_name = Some("a".into()), None)]
#[case::another_node_is_named(|_: &mut NodeFacts, p: &mut PodSpec| p.node_name = Some("b".into()), Some(Refusal::OtherNodeNamed))]
#[case::a_selector_that_matches(|_: &mut NodeFacts, p: &mut PodSpec| { p.node_selector.insert(HOSTNAME.into(), "a".into()); }, None)]
#[case::a_selector_that_does_not(|_: &mut NodeFacts, p: &mut PodSpec| { p.node_selector.insert("disk".into(), "ssd".into()); }, Some(Refusal::NotSelected))]
#[case::an_empty_list_of_terms_matches_nothing(|_: &mut NodeFacts, p: &mut PodSpec| p.affinity.required = Some(vec![]), Some(Refusal::NotSelected))]
#[case::an_empty_term_matches_nothing(|_: &mut NodeFacts, p: &mut PodSpec| p.affinity.required = Some(vec![NodeTerm::default()]), Some(Refusal::NotSelected))]
#[case::one_matching_term_is_enough(|_: &mut NodeFacts, p: &mut PodSpec| p.affinity.required = Some(vec![
    NodeTerm::default(),
    NodeTerm { labels: vec![requirement("gpu", Operator::DoesNotExist, &[])], fields: vec![] },
]), None)]
#[case::selector_and_affinity_must_both_hold(|_: &mut NodeFacts, p: &mut PodSpec| {
    p.node_selector.insert(HOSTNAME.into(), "a".into());
    p.affinity.required = Some(vec![NodeTerm { labels: vec![requirement("gpu", Operator::Exists, &[])], fields: vec![] }]);
}, Some(Refusal::NotSelected))]
#[case::a_field_that_excludes(|_: &mut NodeFacts, p: &mut PodSpec| p.affinity.required = Some(vec![
    NodeTerm { labels: vec![], fields: vec![requirement("metadata.name", Operator::NotIn, &["a"])] },
]), Some(Refusal::NotSelected))]
#[case::a_field_that_names_another(|_: &mut NodeFacts, p: &mut PodSpec| p.affinity.required = Some(vec![
    NodeTerm { labels: vec![], fields: vec![requirement("metadata.name", Operator::In, &["b"])] },
]), Some(Refusal::NotNamed))]
#[case::room_for_exactly_the_request(|_: &mut NodeFacts, p: &mut PodSpec| p.requests = Resources::of(1000, 4 * GIB), None)]
#[case::a_milli_too_much(|_: &mut NodeFacts, p: &mut PodSpec| p.requests = Resources::of(1001, 0), Some(Refusal::Insufficient("cpu".into())))]
#[case::a_full_pod_count(|n: &mut NodeFacts, _: &mut PodSpec| n.max_pods = 0, Some(Refusal::TooManyPods))]
#[case::an_extended_resource_the_node_lacks(|_: &mut NodeFacts, p: &mut PodSpec| {
    p.requests.extended.insert("example.com/gpu".into(), 1);
}, Some(Refusal::Insufficient("example.com/gpu".into())))]
#[case::an_extended_resource_it_has(|n: &mut NodeFacts, p: &mut PodSpec| {
    n.allocatable.extended.insert("example.com/gpu".into(), 1);
    p.requests.extended.insert("example.com/gpu".into(), 1);
}, None)]
#[case::a_request_of_nothing_needs_nothing(|n: &mut NodeFacts, p: &mut PodSpec| {
    n.allocatable = Resources::default();
    p.requests = Resources::default();
}, None)]
fn filters(#[case] arrange: Arrange, #[case] refusal: Option<Refusal>) {
    let (mut facts, mut wanted) = (node("a", "", 1000), spec(100));
    arrange(&mut facts, &mut wanted);
    let mut snapshot = Snapshot::default();
    snapshot.set_node(facts);
    let got = refusals(&mut snapshot, &wanted).remove("a");
    assert_eq!(got, refusal.map(|one| vec![one]));
}

#[rstest]
#[case::greater("5", Operator::Gt, "4", true)]
#[case::equal_is_not_greater("4", Operator::Gt, "4", false)]
#[case::less("3", Operator::Lt, "4", true)]
#[case::a_word_is_never_greater("x", Operator::Gt, "4", false)]
#[case::a_bound_that_is_a_word("5", Operator::Gt, "x", false)]
#[case::in_a_list("b", Operator::In, "b", true)]
#[case::not_in_a_list("b", Operator::NotIn, "b", false)]
fn node_affinity_operators(
    #[case] value: &str,
    #[case] operator: Operator,
    #[case] bound: &str,
    #[case] fits: bool,
) {
    let mut facts = node("a", "", 1000);
    facts.labels.insert("size".into(), value.into());
    let mut snapshot = Snapshot::default();
    snapshot.set_node(facts);
    let mut wanted = spec(100);
    wanted.affinity.required = Some(vec![NodeTerm {
        labels: vec![requirement("size", operator, &[bound])],
        fields: vec![],
    }]);
    assert_eq!(chosen(&mut snapshot, &wanted).is_some(), fits);
}

#[rstest]
#[case::same_port("", "", "TCP", true)]
#[case::another_protocol("", "", "UDP", false)]
#[case::one_of_them_everywhere("10.0.0.1", "0.0.0.0", "TCP", true)]
#[case::other_addresses("10.0.0.1", "10.0.0.2", "TCP", false)]
fn host_ports(
    #[case] theirs: &str,
    #[case] ours: &str,
    #[case] protocol: &str,
    #[case] taken: bool,
) {
    let with = |ip: &str, protocol: &str| PodSpec {
        host_ports: vec![HostPort {
            protocol: protocol.into(),
            ip: ip.into(),
            port: 80,
        }],
        ..spec(0)
    };
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.place("a", pod("web", with(theirs, "TCP")));
    let wanted = with(ours, protocol);
    assert_eq!(chosen(&mut snapshot, &wanted).is_none(), taken);
    snapshot.displace("default", "web");
    assert!(chosen(&mut snapshot, &wanted).is_some());
}

/// Two nodes, one arranged: who scores better.
#[rstest]
#[case::the_emptier_node(|_: &mut NodeFacts, _: &mut PodSpec| {}, &["a", "b"])]
#[case::fewer_soft_taints(|n: &mut NodeFacts, _: &mut PodSpec| n.taints = vec![taint(Effect::PreferNoSchedule)], &["b"])]
#[case::a_tolerated_soft_taint_costs_nothing(|n: &mut NodeFacts, p: &mut PodSpec| {
    n.taints = vec![taint(Effect::PreferNoSchedule)];
    p.tolerations = vec![tolerate(TolerationOperator::Exists, "")];
}, &["a", "b"])]
#[case::a_preferred_label(|n: &mut NodeFacts, p: &mut PodSpec| {
    n.labels.insert("disk".into(), "ssd".into());
    p.affinity.preferred = vec![PreferredTerm { weight: 1, term: NodeTerm {
        labels: vec![requirement("disk", Operator::In, &["ssd"])], fields: vec![] } }];
}, &["a"])]
#[case::a_large_image_that_is_there(|n: &mut NodeFacts, p: &mut PodSpec| {
    n.images.insert("big:1".into(), 900 << 20);
    p.images = vec!["big:1".into()];
}, &["a"])]
#[case::a_small_image_does_not_matter(|n: &mut NodeFacts, p: &mut PodSpec| {
    n.images.insert("small:1".into(), 20 << 20);
    p.images = vec!["small:1".into()];
}, &["a", "b"])]
fn scores(#[case] arrange: Arrange, #[case] winners: &[&str]) {
    let (mut facts, mut wanted) = (node("a", "", 1000), spec(100));
    arrange(&mut facts, &mut wanted);
    let mut snapshot = cluster(&[("a", ""), ("b", "")]);
    snapshot.set_node(facts);
    let winners = winners.iter().map(|w| (*w).to_owned()).collect();
    assert_eq!(best(&mut snapshot, &wanted), winners);
}

#[test]
fn the_parts_of_a_score_are_those_of_the_formulas() {
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.place(
        "a",
        pod(
            "running",
            PodSpec {
                requests: Resources::of(400, GIB),
                ..PodSpec::default()
            },
        ),
    );
    let wanted = PodSpec {
        requests: Resources::of(100, GIB),
        ..PodSpec::default()
    };
    let report = explain(&mut snapshot, &pod("p", wanted));
    let scores = report.nodes[0].scores.expect("it fits");
    // cpu 500 of 1000 free, memory 2 of 4 GiB free.
    assert_eq!(scores.node_resources_fit, 50);
    // Used before: 0.4 and 0.25, so 92; after: 0.5 and 0.5, so 100: 50 + (50 + 8) / 2.
    assert_eq!(scores.node_resources_balanced_allocation, 79);
    assert_eq!((scores.taint_toleration, scores.node_affinity), (300, 0));
    assert_eq!(
        (scores.pod_topology_spread, scores.inter_pod_affinity),
        (0, 0)
    );
    assert_eq!(scores.total, 429);
}

#[rstest]
#[case::apart(ScoringStrategy::LeastAllocated, "b")]
#[case::together(ScoringStrategy::MostAllocated, "a")]
#[case::by_shape(ScoringStrategy::RequestedToCapacityRatio(vec![(0, 0), (100, 10)]), "a")]
fn the_strategy_decides_between_packing_and_spreading(
    #[case] strategy: ScoringStrategy,
    #[case] winner: &str,
) {
    let mut snapshot = Snapshot::with_profile(Profile {
        strategy,
        balanced: Vec::new(),
        ..Profile::default()
    });
    snapshot.set_node(node("a", "", 1000));
    snapshot.set_node(node("b", "", 1000));
    snapshot.place("a", pod("running", spec(500)));
    assert_eq!(chosen(&mut snapshot, &spec(100)).as_deref(), Some(winner));
}

#[test]
fn a_pod_seen_before_its_node_counts_once_the_node_appears() {
    let used = |snapshot: &Snapshot| snapshot.node("late").map(|n| n.used.cpu_milli);
    let mut snapshot = Snapshot::default();
    snapshot.place("late", pod("p", spec(700)));
    snapshot.set_node(node("late", "", 1000));
    assert_eq!(used(&snapshot), Some(700));
    snapshot.remove_node("late");
    assert_eq!(snapshot.node_count(), 0);
    snapshot.set_node(node("late", "", 1000));
    assert_eq!(used(&snapshot), Some(700));
    snapshot.remove_node("late");
    assert_eq!(snapshot.displace("default", "p").as_deref(), Some("late"));
    snapshot.set_node(node("late", "", 1000));
    assert_eq!(used(&snapshot), Some(0));
}

#[test]
fn nominated_room_is_kept_from_equals_and_lower_ones_only() {
    let with = |cpu, priority| PodSpec {
        priority,
        ..spec(cpu)
    };
    let mut snapshot = cluster(&[("a", "")]);
    snapshot.nominate("a", pod("vip", with(800, 5)));
    assert_eq!(chosen(&mut snapshot, &with(300, 4)), None);
    assert_eq!(chosen(&mut snapshot, &with(300, 5)), None);
    assert!(chosen(&mut snapshot, &with(300, 6)).is_some());
    // Its own nomination does not stand in its way.
    assert!(
        decide(&mut snapshot, &pod("vip", with(800, 5)), 0)
            .node()
            .is_some()
    );
    assert_eq!(snapshot.nominated_node_of("default", "vip"), Some("a"));
    snapshot.place("a", pod("vip", with(800, 5)));
    assert_eq!(snapshot.nominated_node_of("default", "vip"), None);
    assert_eq!(
        snapshot
            .node("a")
            .map(|n| (n.pod_count(), n.nominated().len())),
        Some((1, 0))
    );
}

#[test]
fn ties_are_broken_by_the_number_alone() {
    let names = ["a", "b", "c", "d"];
    let mut snapshot = cluster(&names.map(|name| (name, "")));
    for (tie, name) in (0u64..).zip(names.iter().cycle().take(9)) {
        let decision = decide(&mut snapshot, &pod("p", spec(100)), tie);
        let Decision::Fits(choice) = decision else {
            panic!("there is room")
        };
        assert_eq!(
            (choice.node.as_str(), choice.equals, choice.fitting),
            (*name, 4, 4)
        );
    }
}
