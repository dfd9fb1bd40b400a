//! What-ifs over all nodes, look by look.

use crate::cast::{Cluster, annotated, at, budget, going, group, is_unneeded, pod, reason};
use plimsoll_engine::cluster::{
    Deletion, EvictedPod, Happened, KeepReason, NodeVerdict, Planner, RemovalCause, RunningPod,
    SAFE_TO_EVICT, SCALE_DOWN_DISABLED,
};
use plimsoll_engine::placement::PodKey;

#[test]
fn a_node_goes_when_its_time_is_strictly_past() {
    let mut cluster = Cluster::of(2);
    cluster.add([pod("a", "n1", 600), pod("b", "n2", 300)]);
    let first = cluster.look(0);
    assert_eq!(reason(&first.nodes["n1"]), "NotUnderutilized");
    assert_eq!(reason(&first.nodes["n2"]), "NotUnneededLongEnough");
    assert!(going(&cluster.look(600)).1.is_empty());
    let plan = cluster.look(601);
    let removal = &plan.drain[0];
    assert_eq!(removal.moves, [(PodKey::new("default", "b"), "n1".into())]);
    assert_eq!(
        (removal.since, removal.cause),
        (at(0), RemovalCause::Underutilized)
    );
    assert_eq!(plan.trace, ["n2 was unneeded for 10m1s"]);
}

#[test]
fn the_snapshot_is_left_as_it_was() {
    let mut cluster = Cluster::of(3);
    cluster.add([
        pod("a", "n1", 400),
        pod("b", "n2", 300),
        pod("c", "n3", 200),
    ]);
    let before = format!("{:?}", cluster.snapshot.nodes().collect::<Vec<_>>());
    cluster.look(0);
    let after = format!("{:?}", cluster.snapshot.nodes().collect::<Vec<_>>());
    assert_eq!(before, after);
}

#[test]
fn while_nothing_changes_nothing_is_tried_again() {
    let mut cluster = Cluster::of(3);
    cluster.add([
        pod("a", "n1", 700),
        pod("b", "n2", 700),
        pod("c", "n3", 200),
    ]);
    cluster.look(0);
    let before = cluster.snapshot.version();
    let second = cluster.look(10);
    assert_eq!(before, cluster.snapshot.version());
    assert!(is_unneeded(&second.nodes["n3"]));
    assert_eq!(going(&cluster.look(601)).1, ["n3"]);
    cluster.add([pod("d", "n1", 200), pod("e", "n2", 200)]);
    let full = cluster.look(610);
    assert_eq!(reason(&full.nodes["n3"]), "NoPlaceToMovePods");
    cluster.remove("e");
    // The mark of a node without a place holds for half a minute.
    assert!(is_unneeded(&cluster.look(650).nodes["n3"]));
    cluster.budgets = vec![budget(0)];
    assert_eq!(reason(&cluster.look(660).nodes["n3"]), "BlockedByPod");
}

#[test]
fn removals_of_one_look_see_each_other() {
    let mut cluster = Cluster::of(3);
    cluster.add([
        pod("a", "n1", 500),
        pod("b", "n2", 500),
        pod("c", "n3", 500),
    ]);
    let plan = cluster.look(0);
    let unneeded = plan.nodes.values().filter(|verdict| is_unneeded(verdict));
    // Half a node each: of three, one can go.
    assert_eq!(unneeded.count(), 1);
}

#[test]
fn pods_that_came_in_the_what_if_have_to_leave_again() {
    let mut cluster = Cluster::of(3);
    cluster.add([
        pod("a", "n1", 100),
        pod("b", "n2", 100),
        pod("c", "n3", 950),
    ]);
    let plan = cluster.look(0);
    // n1's pod goes to n2, so n2 is needed for both.
    assert!(is_unneeded(&plan.nodes["n1"]));
    assert_eq!(reason(&plan.nodes["n2"]), "NoPlaceToMovePods");
}

#[test]
fn one_look_in_which_it_is_needed_begins_anew() {
    let mut cluster = Cluster::of(2);
    cluster.add([pod("a", "n1", 600)]);
    cluster.look(0);
    cluster.add([pod("b", "n2", 600)]);
    assert_eq!(reason(&cluster.verdict("n2", 300)), "NotUnderutilized");
    cluster.remove("b");
    cluster.look(310);
    assert_eq!(going(&cluster.look(700)), (vec![], vec![]));
    assert_eq!(going(&cluster.look(911)).0, ["n2"]);
}

/// Upstream looks again after 5 minutes only, even if the node has become empty (reference §12.2).
#[test]
fn a_node_that_became_empty_is_judged_at_once() {
    let mut cluster = Cluster::of(2);
    cluster.add([pod("a", "n1", 800), pod("b", "n2", 400)]);
    assert_eq!(reason(&cluster.verdict("n2", 0)), "NoPlaceToMovePods");
    let verdict = cluster.verdict("n2", 8);
    let NodeVerdict::Kept(KeepReason::RecentlyUnremovable { why, until }) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!((why.name(), until), ("NoPlaceToMovePods", at(300)));
    cluster.remove("b");
    assert!(is_unneeded(&cluster.verdict("n2", 9)));
}

#[test]
fn room_elsewhere_is_noticed_within_half_a_minute() {
    let mut cluster = Cluster::of(2);
    cluster.add([pod("a", "n1", 800), pod("b", "n2", 400)]);
    cluster.look(0);
    cluster.remove("a");
    cluster.add([pod("a", "n1", 550)]);
    assert_eq!(reason(&cluster.verdict("n2", 29)), "RecentlyUnremovable");
    assert!(is_unneeded(&cluster.verdict("n2", 30)));
}

#[test]
fn without_a_change_the_mark_lasts_five_minutes() {
    let mut cluster = Cluster::of(2);
    cluster.add([pod("a", "n1", 800), pod("b", "n2", 400)]);
    cluster.look(0);
    assert_eq!(reason(&cluster.verdict("n2", 299)), "RecentlyUnremovable");
    assert_eq!(reason(&cluster.verdict("n2", 300)), "NoPlaceToMovePods");
}

#[test]
fn a_budget_is_shared_by_all_nodes_of_a_look() {
    let mut cluster = Cluster::of(4);
    cluster.add([pod("a", "n1", 100), pod("b", "n2", 100)]);
    cluster.budgets = vec![budget(1)];
    let plan = cluster.look(0);
    let blocked = plan.nodes.values().filter(|v| reason(v) == "BlockedByPod");
    assert_eq!(blocked.count(), 1);
    cluster.budgets = vec![budget(2)];
    let plan = cluster.look(10);
    assert!(
        plan.nodes.values().all(is_unneeded_or_target),
        "{:?}",
        plan.nodes
    );
}

fn is_unneeded_or_target(verdict: &NodeVerdict) -> bool {
    is_unneeded(verdict) || reason(verdict) == "NoPlaceToMovePods"
}

#[test]
fn an_exhausted_budget_names_itself() {
    let mut cluster = Cluster::of(2);
    cluster.add([pod("a", "n1", 100)]);
    cluster.budgets = vec![budget(0)];
    let verdict = cluster.verdict("n1", 0);
    let NodeVerdict::Kept(KeepReason::BlockedByPod(blocker)) = verdict else {
        panic!("{verdict:?}");
    };
    assert!(
        blocker.remedy.contains("poddisruptionbudget default/web"),
        "{}",
        blocker.remedy
    );
    // Also for one that is safe to evict: no eviction would pass.
    cluster.add([annotated(pod("a", "n1", 100), SAFE_TO_EVICT, "true")]);
    assert_eq!(reason(&cluster.verdict("n1", 1)), "BlockedByPod");
}

#[test]
fn who_is_set_aside_stays() {
    let mut cluster = Cluster::of(5);
    cluster.groups.push(group("full", 1, 1));
    let set = (SCALE_DOWN_DISABLED.into(), "true".into());
    cluster.node("n1").annotations.extend([set]);
    cluster.node("n2").group = None;
    cluster.node("n3").group = Some("full".into());
    cluster.node("n4").being_deleted = Some(at(0));
    let deletion = Deletion {
        group: "ng".into(),
        drains: false,
        since: at(0),
    };
    cluster.deletions.nodes.insert("n5".into(), deletion);
    let plan = cluster.look(0);
    let want = [
        "ScaleDownDisabledAnnotation",
        "NotAutoscaled",
        "NodeGroupMinSizeReached",
        "CurrentlyBeingDeleted",
        "CurrentlyBeingDeleted",
    ];
    let got: Vec<_> = plan.nodes.values().map(reason).collect();
    assert_eq!(got, want);
    // The taint of a removal that never ended counts no more.
    assert!(is_unneeded(&cluster.verdict("n4", 300)));
}

#[test]
fn nodes_being_removed_take_nobody_in() {
    let mut cluster = Cluster::of(3);
    cluster.add([
        pod("a", "n1", 800),
        pod("b", "n2", 400),
        pod("c", "n3", 550),
    ]);
    assert!(is_unneeded(&cluster.verdict("n2", 0)));
    let deletion = Deletion {
        group: "ng".into(),
        drains: true,
        since: at(1),
    };
    cluster.deletions.nodes.insert("n3".into(), deletion);
    assert_eq!(reason(&cluster.verdict("n2", 2)), "NoPlaceToMovePods");
}

#[test]
fn room_is_kept_for_evicted_pods_that_come_back() {
    let evicted = |name: &str, missing| EvictedPod {
        pod: pod(name, "gone", 300),
        missing,
    };
    let mut cluster = Cluster::of(2);
    cluster.add([pod("a", "n1", 400), pod("k", "n2", 550)]);
    assert!(is_unneeded(&cluster.verdict("n1", 0)));
    cluster.deletions.evicted = vec![evicted("x", Some(1)), evicted("y", Some(1))];
    // One replica is missing: it comes to n1, and both have no room elsewhere.
    assert_eq!(reason(&cluster.verdict("n1", 1)), "NoPlaceToMovePods");
    cluster.deletions.evicted = vec![evicted("x", Some(0))];
    assert!(is_unneeded(&cluster.verdict("n1", 302)));
}

#[test]
fn expendable_pods_are_not_seen() {
    let mut cluster = Cluster::of(1);
    cluster.add([RunningPod {
        priority: Some(-11),
        owner: None,
        ..pod("a", "n1", 900)
    }]);
    assert!(is_unneeded(&cluster.verdict("n1", 0)));
}

#[test]
fn a_restart_keeps_the_timers_but_not_those_nobody_watched() {
    let mut cluster = Cluster::of(1);
    cluster.look(0);
    cluster.look(290);
    let memory = serde_json::to_string(cluster.planner.memory()).unwrap();
    let restarted = || Planner::remembering(serde_json::from_str(&memory).unwrap());
    cluster.planner = restarted();
    cluster.look(500);
    assert_eq!(going(&cluster.look(601)).0, ["n1"]);
    cluster.planner = restarted();
    assert_eq!(reason(&cluster.verdict("n1", 700)), "NotUnneededLongEnough");
}

#[test]
fn growth_makes_removal_wait_while_timers_run() {
    let mut cluster = Cluster::of(1);
    cluster.look(0);
    cluster.planner.note(Happened::Added, &"ng".into(), at(300));
    let plan = cluster.look(899);
    assert!(
        plan.cooldown
            .unwrap()
            .contains("--scale-down-delay-after-add")
    );
    assert_eq!(reason(&plan.nodes["n1"]), "NotUnneededOtherReason");
    assert_eq!(going(&cluster.look(900)).0, ["n1"]);
}

#[test]
fn a_node_to_which_a_pod_will_go_is_needed_and_the_room_is_the_pods() {
    let mut cluster = Cluster::of(3);
    cluster.add([pod("a", "n1", 300)]);
    cluster.look(0);
    // Nobody is bound to the empty node yet, but the scheduler is about to do so.
    let waiting = |cpu| vec![pod("waits", "", cpu).pod];
    cluster.expected = [("n2".into(), waiting(900))].into();
    let plan = cluster.look(601);
    assert_eq!(reason(&plan.nodes["n2"]), "NotUnneededOtherReason");
    assert!(!is_unneeded(&plan.nodes["n2"]), "{:?}", plan.nodes);
    assert_eq!(going(&plan).0, ["n3"]);
    // What goes to n2 leaves no room for the pod of n1 there.
    assert_eq!(reason(&plan.nodes["n1"]), "NoPlaceToMovePods");
    // A pod that is bound since is counted once.
    cluster.expected = [("n1".into(), vec![pod("a", "", 300).pod])].into();
    assert_eq!(
        reason(&cluster.look(602).nodes["n1"]),
        "NotUnneededOtherReason"
    );
    assert_eq!(cluster.snapshot.node_of("default", "a"), Some("n1"));
    assert_eq!(cluster.snapshot.node_of("default", "waits"), None);
}
