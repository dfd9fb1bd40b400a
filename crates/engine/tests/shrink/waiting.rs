//! Unneeded nodes that may not go yet.

use crate::cast::{Cluster, annotated, at, budget, going, group, pod, reason, template};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{
    Deletion, Floor, Happened, Pace, Parallelism, Readiness, RemovalCause, SAFE_TO_EVICT,
    Similarity,
};

fn hour(cluster: &mut Cluster) -> plimsoll_engine::cluster::ShrinkPlan {
    cluster.look(0);
    cluster.look(3600)
}

#[test]
fn the_minimum_of_the_group_stays_and_running_removals_count() {
    let mut cluster = Cluster::of(5);
    cluster.groups = vec![group("ng", 2, 5)];
    let deletion = Deletion {
        group: "ng".into(),
        drains: false,
        since: at(0),
    };
    cluster.deletions.nodes.insert("n5".into(), deletion);
    let plan = hour(&mut cluster);
    assert_eq!(going(&plan).0, ["n1", "n2"]);
    assert_eq!(reason(&plan.nodes["n3"]), "NodeGroupMinSizeReached");
}

#[test]
fn floors_hold_for_the_whole_cluster() {
    let mut cluster = Cluster::of(3);
    let least = [("cpu".into(), 2)].into();
    cluster.options.floors = vec![Floor {
        name: "cluster-wide".into(),
        least,
    }];
    let plan = hour(&mut cluster);
    assert_eq!(going(&plan).0, ["n1"]);
    assert_eq!(reason(&plan.nodes["n2"]), "MinimalResourceLimitExceeded");
}

#[test]
fn unready_nodes_have_their_own_time() {
    let mut cluster = Cluster::of(1);
    cluster.node("n1").readiness = Readiness::Unready;
    cluster.look(0);
    assert_eq!(reason(&cluster.verdict("n1", 1200)), "NotUnreadyLongEnough");
    let plan = cluster.look(1201);
    assert_eq!(plan.empty[0].cause, RemovalCause::Unready);
    cluster.options.unready_enabled = false;
    assert_eq!(
        reason(&cluster.verdict("n1", 1300)),
        "ScaleDownUnreadyDisabled"
    );
}

#[test]
fn all_empty_nodes_go_in_one_look_and_one_drain_at_a_time() {
    let mut cluster = Cluster::of(14);
    cluster.add([pod("big", "n14", 600)]);
    cluster.add([pod("a", "n1", 10), pod("b", "n2", 10)]);
    let plan = hour(&mut cluster);
    assert_eq!(plan.empty.len(), 10);
    assert!(plan.drain.is_empty());
    cluster.options.parallelism = Parallelism { all: 12, drains: 1 };
    let plan = cluster.look(3610);
    assert_eq!((plan.empty.len(), plan.drain.len()), (11, 1));
    let waiting = plan
        .nodes
        .values()
        .filter(|v| reason(v) == "NotUnneededOtherReason");
    assert_eq!(waiting.count(), 1);
}

#[test]
fn who_is_waited_for_keeps_the_node_without_ending_its_timer() {
    let mut cluster = Cluster::of(1);
    let waits = annotated(pod("job", "n1", 10), SAFE_TO_EVICT, "on-completion");
    cluster.add([waits]);
    let plan = hour(&mut cluster);
    assert_eq!(reason(&plan.nodes["n1"]), "BlockedByOnCompletionPod");
    cluster.remove("job");
    assert_eq!(going(&cluster.look(3601)).0, ["n1"]);
}

#[test]
fn an_atomic_group_goes_as_a_whole() {
    let mut cluster = Cluster::of(3);
    cluster.groups[0].options.zero_or_max_node_scaling = true;
    cluster.add_node("other", "rest");
    cluster.groups.push(group("rest", 1, 1));
    cluster.add([pod("a", "n3", 600), pod("b", "other", 700)]);
    let plan = hour(&mut cluster);
    assert_eq!(going(&plan).0, Vec::<String>::new());
    assert_eq!(reason(&plan.nodes["n1"]), "AtomicScaleDownFailed");
    cluster.remove("a");
    cluster.look(3601);
    let plan = cluster.look(7200);
    assert_eq!(going(&plan).0, ["n1", "n2", "n3"]);
    assert!(plan.empty.iter().all(|removal| removal.atomic));
}

#[test]
fn evictions_that_need_waves_come_last() {
    let mut cluster = Cluster::of(4);
    cluster.options.parallelism = Parallelism { all: 1, drains: 1 };
    let mut calm = pod("z", "n2", 450);
    calm.pod.namespace = "calm".into();
    let mut big = pod("big", "n3", 600);
    big.pod.namespace = "calm".into();
    cluster.add([pod("a", "n1", 100), pod("b", "n1", 100), calm, big]);
    cluster.node("n4").annotations.extend([(
        "cluster-autoscaler.kubernetes.io/scale-down-disabled".into(),
        "true".into(),
    )]);
    cluster.budgets = vec![budget(1)];
    let plan = hour(&mut cluster);
    assert_eq!(going(&plan).1, ["n2"], "{:?}", plan.nodes);
}

#[test]
fn local_delays_hold_one_group() {
    let mut cluster = Cluster::of(1);
    cluster.add_node("other", "rest");
    cluster.groups.push(group("rest", 0, 1));
    cluster.options.delays.per_group = true;
    cluster
        .planner
        .note(Happened::Failed, &"rest".into(), at(3590));
    let plan = hour(&mut cluster);
    assert_eq!(going(&plan).0, ["n1"]);
    assert_eq!(reason(&plan.nodes["other"]), "NotUnneededOtherReason");
}

#[test]
fn a_soft_taint_can_carry_the_timer() {
    let mut cluster = Cluster::of(1);
    cluster.node("n1").candidate = Some(at(100));
    assert_eq!(reason(&cluster.verdict("n1", 701)), "NotUnneededLongEnough");
    cluster.planner = plimsoll_engine::cluster::Planner::default();
    cluster.options.candidate_ttl = SignedDuration::from_mins(30);
    assert_eq!(going(&cluster.look(701)).0, ["n1"]);
}

#[test]
fn the_pace_limits_how_many_are_marked() {
    let mut cluster = Cluster::of(30);
    cluster.options.pace = Some(Pace {
        scan_interval: SignedDuration::from_secs(10),
        unneeded_time: SignedDuration::from_mins(10),
    });
    let unneeded = |cluster: &mut Cluster, second| {
        let plan = cluster.look(second);
        plan.nodes
            .values()
            .filter(|v| crate::cast::is_unneeded(v))
            .count()
    };
    assert_eq!(unneeded(&mut cluster, 0), 20);
    assert_eq!(unneeded(&mut cluster, 10), 30);
}

#[test]
fn with_balance_the_largest_group_shrinks_first() {
    let mut cluster = Cluster::of(1);
    cluster.options.balance = Some(Similarity::default());
    cluster.options.parallelism.all = 2;
    let (mut one, mut other) = (group("ng", 0, 2), group("zone-b", 0, 4));
    one.template = Some(template(None));
    other.template = one.template.clone();
    cluster.groups = vec![one, other];
    for name in ["z1", "z2", "z3", "z4"] {
        cluster.add_node(name, "zone-b");
    }
    let plan = hour(&mut cluster);
    assert_eq!(going(&plan).0, ["z1", "z2"]);
}
