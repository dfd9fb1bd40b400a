//! Replacing nodes by cheaper ones.

use crate::cast::{Cluster, at, going, group, is_unneeded, pod, reason, template};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{
    ConsolidationOptions, ConsolidationPolicy, Happened, Planner, Readiness, RemovalCause,
};
use plimsoll_engine::placement::Resources;

/// Two dear nodes well used, and a group of cheaper ones with none yet.
fn dear_nodes(load: i64) -> Cluster {
    let mut cluster = Cluster::of(2);
    for name in ["n1", "n2"] {
        cluster.node(name).price_per_hour = Some(0.4);
    }
    cluster.add([pod("a", "n1", load), pod("b", "n2", load)]);
    let mut cheap = group("cheap", 0, 0);
    cheap.template = Some(template(Some(0.1)));
    cluster.groups.push(cheap);
    cluster.options.consolidation = Some(ConsolidationOptions::default());
    cluster
}

/// The new node has come.
fn arrive(cluster: &mut Cluster) {
    cluster.add_node("c1", "cheap");
    cluster.node("c1").price_per_hour = Some(0.1);
    cluster.groups.get_mut(1).expect("two groups").target = 1;
}

#[test]
fn off_unless_asked_for() {
    let mut cluster = dear_nodes(700);
    cluster.options.consolidation = None;
    cluster.look(0);
    assert!(cluster.look(3600).replacements.is_empty());
}

#[test]
fn a_cheaper_node_takes_the_place_of_a_dear_one() {
    let mut cluster = dear_nodes(700);
    assert!(cluster.look(0).replacements.is_empty());
    assert!(cluster.look(599).replacements.is_empty());
    let plan = cluster.look(610);
    let found = &plan.replacements[0];
    assert_eq!((&*found.group, found.nodes), ("cheap", 1));
    assert_eq!(found.replaces, ["n1".into()]);
    assert!((found.saving_per_hour - 0.3).abs() < 1e-9);
    assert!(
        plan.trace
            .iter()
            .any(|step| step.contains("saves 0.3000 $ an hour")),
        "{:?}",
        plan.trace
    );
    // Nothing goes before the new node is ready.
    arrive(&mut cluster);
    cluster.node("c1").readiness = Readiness::NotStarted;
    let plan = cluster.look(620);
    assert_eq!(going(&plan), (vec![], vec![]));
    assert_eq!(reason(&plan.nodes["c1"]), "NotUnneededOtherReason");
    cluster.node("c1").readiness = Readiness::Ready;
    let plan = cluster.look(630);
    assert_eq!(going(&plan).1, ["n1"]);
    assert_eq!(plan.drain[0].cause, RemovalCause::Replaced);
    // It is gone: the next may follow.
    cluster.nodes.retain(|node| &*node.name != "n1");
    cluster.snapshot.remove_node("n1");
    cluster.remove("a");
    let plan = cluster.look(640);
    assert!(
        plan.trace.iter().any(|step| step.contains("is done")),
        "{:?}",
        plan.trace
    );
}

#[test]
fn one_node_can_take_the_place_of_several() {
    let mut cluster = dear_nodes(700);
    let mut big = (*template(Some(0.35))).clone();
    big.node.allocatable = Resources::of(2000, 4 << 30);
    cluster.groups[1].template = Some(big.into());
    cluster.look(0);
    let plan = cluster.look(610);
    assert_eq!(plan.replacements[0].replaces.len(), 2);
}

#[test]
fn what_is_not_cheaper_or_too_small_replaces_nothing() {
    for (price, cpu) in [(0.4, 1000), (0.1, 600)] {
        let mut cluster = dear_nodes(700);
        let mut other = (*template(Some(price))).clone();
        other.node.allocatable = Resources::of(cpu, 1 << 30);
        cluster.groups[1].template = Some(other.into());
        cluster.look(0);
        assert!(cluster.look(610).replacements.is_empty(), "{price} {cpu}");
    }
}

#[test]
fn a_small_saving_is_not_worth_it_unless_every_saving_is() {
    let mut cluster = dear_nodes(700);
    cluster.groups[1].template = Some(template(Some(0.35)));
    cluster.look(0);
    assert!(cluster.look(610).replacements.is_empty());
    let options = cluster.options.consolidation.as_mut().unwrap();
    options.policy = ConsolidationPolicy::AnySaving;
    cluster.look(620);
    assert_eq!(cluster.look(1230).replacements.len(), 1);
}

#[test]
fn a_new_node_that_never_comes_is_given_up() {
    let mut cluster = dear_nodes(700);
    cluster.look(0);
    assert_eq!(cluster.look(610).replacements.len(), 1);
    let plan = cluster.look(610 + 901);
    assert!(
        plan.trace.iter().any(|step| step.contains("given up")),
        "{:?}",
        plan.trace
    );
    // And not tried again at once.
    cluster.look(1600);
    assert!(cluster.look(2300).replacements.is_empty());
}

#[test]
fn a_replacement_whose_drain_does_not_end_is_given_up_and_brings_one_node_only() {
    let mut cluster = dear_nodes(700);
    cluster.look(0);
    assert_eq!(cluster.look(610).replacements.len(), 1);
    arrive(&mut cluster);
    cluster.add_node("c2", "cheap");
    let key = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
    let kept = cluster.node("n1");
    kept.annotations.insert(key.into(), "true".into());
    let plan = cluster.look(620);
    let takes_place = |node: &str| format!("{:?}", plan.nodes[node]).contains("takes the place");
    assert!(takes_place("c1") && !takes_place("c2"), "{:?}", plan.nodes);
    assert!(cluster.planner.memory().replacements.under_way.is_some());
    cluster.look(610 + 4 * 900);
    assert!(cluster.planner.memory().replacements.under_way.is_some());
    let plan = cluster.look(610 + 4 * 900 + 1);
    assert!(cluster.planner.memory().replacements.under_way.is_none());
    assert!(
        plan.trace
            .iter()
            .any(|step| step.contains("did not go in time")),
        "{:?}",
        plan.trace
    );
}

#[test]
fn without_consolidation_no_replacement_goes_on() {
    let mut cluster = dear_nodes(700);
    cluster.look(0);
    assert_eq!(cluster.look(610).replacements.len(), 1);
    arrive(&mut cluster);
    cluster.options.consolidation = None;
    assert_eq!(going(&cluster.look(620)), (vec![], vec![]));
    assert!(cluster.planner.memory().replacements.under_way.is_none());
}

#[test]
fn a_replaced_node_waits_for_all_but_growth() {
    let mut cluster = dear_nodes(700);
    cluster.look(0);
    cluster.look(610);
    arrive(&mut cluster);
    let planner = &mut cluster.planner;
    planner.note(Happened::Added, &"cheap".into(), at(611));
    planner.note(Happened::Failed, &"ng".into(), at(612));
    let plan = cluster.look(620);
    assert_eq!(going(&plan), (vec![], vec![]));
    assert!(is_unneeded(&plan.nodes["n1"]), "{:?}", plan.nodes);
    cluster.groups[0].min = 2;
    let plan = cluster.look(620 + 200);
    assert_eq!(reason(&plan.nodes["n1"]), "NodeGroupMinSizeReached");
    cluster.groups[0].min = 0;
    assert_eq!(going(&cluster.look(620 + 210)).1, ["n1"]);
}

#[test]
fn a_group_that_must_not_grow_replaces_nothing() {
    let mut cluster = dear_nodes(700);
    cluster.cannot_grow.insert("cheap".into());
    cluster.look(0);
    assert!(cluster.look(610).replacements.is_empty());
}

#[test]
fn a_group_that_cannot_grow_is_told_and_rested() {
    let mut cluster = dear_nodes(700);
    cluster.look(0);
    cluster.look(610);
    cluster
        .planner
        .replacement_failed(&"cheap".into(), at(5000));
    cluster.look(620);
    assert!(cluster.look(1300).replacements.is_empty());
    cluster.look(5000);
    assert_eq!(cluster.look(5610).replacements.len(), 1);
}

#[test]
fn a_restart_remembers_the_replacement() {
    let mut cluster = dear_nodes(700);
    cluster.look(0);
    cluster.look(610);
    let memory = serde_json::to_string(cluster.planner.memory()).unwrap();
    cluster.planner = Planner::remembering(serde_json::from_str(&memory).unwrap());
    arrive(&mut cluster);
    assert_eq!(going(&cluster.look(620)).1, ["n1"]);
}

#[test]
fn a_dear_node_whose_pods_fit_elsewhere_goes_though_well_used() {
    let mut cluster = dear_nodes(700);
    cluster.groups[1].template = None;
    cluster.add_node("n3", "ng");
    cluster.add_node("n4", "ng");
    cluster.node("n3").price_per_hour = Some(0.4);
    cluster.node("n4").price_per_hour = Some(0.4);
    cluster.add([
        pod("c", "n3", 280),
        pod("d", "n3", 280),
        pod("e", "n4", 600),
    ]);
    cluster.options.consolidation.as_mut().unwrap().after = SignedDuration::ZERO;
    let plan = cluster.look(0);
    assert!(is_unneeded(&plan.nodes["n3"]), "{:?}", plan.nodes);
    assert_eq!(reason(&plan.nodes["n1"]), "NotUnderutilized");
    assert_eq!(going(&cluster.look(601)).1, ["n3"]);
}
