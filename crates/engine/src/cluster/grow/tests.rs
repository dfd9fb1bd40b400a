//! Whole looks at pending pods: what is chosen, what each pod and group is told.

mod quotas;

use crate::cluster::testing::{existing, group, node, pending, spec, template};
use crate::cluster::{
    CLUSTER_WIDE, ClusterNode, Expander, GroupFacts, GroupId, GroupVerdict, GrowthInput,
    GrowthOptions, GrowthOutcome, GrowthPlan, NoHelp, PendingPod, PodVerdict, Quota, Readiness,
    Similarity, SkipReason, cannot_grow, grow,
};
use crate::placement::{
    HOSTNAME_LABEL, LabelSelector, PodKey, PodSpec, PodTerm, Requirement, Snapshot,
};
use jiff::Timestamp;
use std::collections::BTreeMap;

const GIB: i64 = 1 << 30;

/// A cluster to be grown.
#[derive(Default)]
struct World {
    snapshot: Snapshot,
    existing: Vec<ClusterNode>,
    groups: Vec<GroupFacts>,
    upcoming: BTreeMap<GroupId, usize>,
    skipped: BTreeMap<GroupId, SkipReason>,
    options: GrowthOptions,
}

impl World {
    /// Groups by name, target, maximum, and millicores of a node.
    fn of(groups: &[(&str, usize, usize, i64)]) -> Self {
        let mut world = Self::default();
        for (id, target, max, cpu) in groups {
            for at in 0..*target {
                let name = format!("{id}-{at}");
                world.snapshot.set_node(node(&name, *cpu, 16 * GIB));
                world.existing.push(existing(&name, id, *cpu, 16 * GIB));
                // What is there is taken.
                let mut taken = pending(&name, 1, spec(*cpu, GIB));
                world.snapshot.place(&name, taken.remove(0).pod);
            }
            let of = template(&format!("template-{id}"), *cpu, 16 * GIB);
            world.groups.push(group(id, (*target, *max), of));
        }
        world
    }

    fn grow(&mut self, pods: &[PendingPod]) -> GrowthPlan {
        let before: Vec<String> = self
            .snapshot
            .nodes()
            .map(|state| state.facts.name.clone())
            .collect();
        let plan = grow(GrowthInput {
            snapshot: &mut self.snapshot,
            groups: &self.groups,
            pending: pods,
            existing: &self.existing,
            upcoming: &self.upcoming,
            skipped: &self.skipped,
            options: &self.options,
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            tie: 0,
        });
        let after: Vec<String> = self
            .snapshot
            .nodes()
            .map(|state| state.facts.name.clone())
            .collect();
        assert_eq!(before, after, "the snapshot is as before");
        plan
    }
}

fn sizes(plan: &GrowthPlan) -> Vec<String> {
    plan.resizes.iter().map(ToString::to_string).collect()
}

fn verdict<'a>(plan: &'a GrowthPlan, pod: &str) -> &'a PodVerdict {
    &plan.pods[&PodKey::new("default", pod)]
}

fn labelled(cpu: i64, app: &str) -> PodSpec {
    let mut spec = spec(cpu, 1);
    spec.labels.insert("app".into(), app.into());
    spec
}

fn term(app: &str, key: &str) -> PodTerm {
    PodTerm {
        selector: Some(LabelSelector {
            requirements: vec![Requirement::equals("app", app)],
        }),
        topology_key: key.into(),
        ..PodTerm::default()
    }
}

#[test]
fn pods_get_the_nodes_they_need() {
    let mut world = World::of(&[("ng1", 1, 10, 2000)]);
    let plan = world.grow(&pending("web", 15, spec(500, GIB)));
    assert_eq!(plan.outcome, GrowthOutcome::Successful);
    assert_eq!(sizes(&plan), ["{ng1 1->5 (max: 10)}"]);
    assert_eq!(
        verdict(&plan, "web-14"),
        &PodVerdict::Triggered(["ng1".into()].into())
    );
    let told = plan.trace.join("\n");
    assert!(told.contains("Best option to resize: ng1"), "{told}");
    assert!(told.contains("Estimated 4 nodes needed in ng1"), "{told}");
    assert!(
        told.ends_with("Final scale-up plan: [{ng1 1->5 (max: 10)}]"),
        "{told}"
    );
}

#[test]
fn what_one_group_cannot_take_another_gets_in_the_same_look() {
    let mut world = World::of(&[("big", 0, 10, 8000), ("small", 0, 2, 2000)]);
    let mut pods = pending("little", 6, spec(1000, 1));
    pods.extend(pending("large", 1, spec(6000, 1)));
    world.options.expanders = vec![Expander::Chosen(vec!["small".into()])];
    let plan = world.grow(&pods);
    // Two small nodes are all there may be; the rest goes to the other group.
    assert_eq!(
        sizes(&plan),
        ["{big 0->1 (max: 10)}", "{small 0->2 (max: 2)}"]
    );
    assert!(
        plan.pods
            .values()
            .all(|verdict| matches!(verdict, PodVerdict::Triggered(_)))
    );
    world.options.rounds = Some(1);
    let plan = world.grow(&pods);
    assert_eq!(sizes(&plan), ["{small 0->2 (max: 2)}"]);
    assert_eq!(verdict(&plan, "large-0"), &PodVerdict::AwaitsEvaluation);
    assert!(matches!(plan.groups["big"], GroupVerdict::Outvoted(_)));
}

#[test]
fn nodes_on_their_way_are_not_asked_for_again() {
    let mut world = World::of(&[("ng1", 1, 10, 2000)]);
    let pods = pending("web", 15, spec(500, 1));
    world.upcoming.insert("ng1".into(), 3);
    world.groups[0].target = 4;
    let plan = world.grow(&pods);
    assert_eq!(sizes(&plan), ["{ng1 4->5 (max: 10)}"]);
    let fits = plan
        .pods
        .values()
        .filter(|v| matches!(v, PodVerdict::Fits(_)))
        .count();
    assert_eq!(fits, 12);
    world.upcoming.insert("ng1".into(), 4);
    let plan = world.grow(&pods);
    assert_eq!(
        (plan.outcome, plan.resizes.len()),
        (GrowthOutcome::NotNeeded, 0)
    );
    assert_eq!(plan.groups["ng1"], GroupVerdict::NotNeeded);
}

#[test]
fn a_pod_that_no_group_helps_hears_why_from_each() {
    let mut world = World::of(&[
        ("full", 1, 1, 8000),
        ("ng1", 0, 3, 1000),
        ("ng2", 0, 3, 500),
    ]);
    let plan = world.grow(&pending("web", 1, spec(2000, 1)));
    assert_eq!(plan.outcome, GrowthOutcome::NoOptionsAvailable);
    let PodVerdict::Unschedulable(groups) = verdict(&plan, "web-0") else {
        panic!("{plan:#?}");
    };
    assert_eq!(groups["full"], NoHelp::Skipped(SkipReason::MaxSize));
    let NoHelp::Refused { shortage, .. } = &groups["ng1"] else {
        panic!("{groups:#?}");
    };
    assert_eq!(shortage, "needs cpu 2, a new node of ng1 has 1 free");
    assert_eq!(
        verdict(&plan, "web-0").event_message().unwrap(),
        "pod didn't trigger scale-up: 2 Insufficient cpu, 1 max node group size reached"
    );
    assert_eq!(plan.groups["ng2"], GroupVerdict::HelpsNobody);
}

#[test]
fn limits_of_the_cluster_hold() {
    let mut world = World::of(&[("ng1", 2, 100, 2000)]);
    let pods = pending("web", 20, spec(2000, 1));
    world.options.max_nodes_total = Some(5);
    assert_eq!(sizes(&world.grow(&pods)), ["{ng1 2->5 (max: 100)}"]);
    world.options.max_nodes_total = Some(2);
    let plan = world.grow(&pods);
    assert_eq!(plan.outcome, GrowthOutcome::LimitedByMaxNodesTotal);
    assert!(matches!(
        verdict(&plan, "web-3"),
        PodVerdict::Unschedulable(_)
    ));
    world.options.max_nodes_total = None;
    world.options.quotas = vec![Quota {
        id: CLUSTER_WIDE.into(),
        selector: LabelSelector::default(),
        limits: [("cpu".to_owned(), 9000)].into(),
    }];
    let plan = world.grow(&pods);
    assert_eq!(sizes(&plan), ["{ng1 2->4 (max: 100)}"]);
    let got = plan
        .pods
        .values()
        .filter(|v| matches!(v, PodVerdict::Triggered(_)))
        .count();
    assert_eq!(got, 2, "only pods that get nodes are told so");
    assert!(matches!(&plan.groups["ng1"], GroupVerdict::Grown(_)));
    world.options.max_nodes_per_scaleup = Some(1);
    let plan = world.grow(&pods);
    assert_eq!(plan.options[0].nodes, 1);
    assert_eq!(sizes(&plan), ["{ng1 2->3 (max: 100)}"]);
    let waits = |v: &&PodVerdict| **v == PodVerdict::AwaitsEvaluation;
    assert_eq!(plan.pods.values().filter(waits).count(), 19);
}

#[test]
fn no_group_gets_more_in_a_look_than_it_may_however_often_it_is_chosen() {
    let mut world = World::of(&[("a", 0, 100, 2000), ("b", 0, 100, 2000)]);
    world.options.max_nodes_per_scaleup = Some(3);
    let plan = world.grow(&pending("web", 20, spec(2000, 1)));
    assert_eq!(sizes(&plan), ["{a 0->3 (max: 100)}", "{b 0->3 (max: 100)}"]);
    world.options.balance = Some(Similarity::default());
    let plan = world.grow(&pending("web", 20, spec(2000, 1)));
    let most = plan.resizes.iter().map(|resize| resize.to).max();
    assert_eq!(most, Some(3), "{:?}", plan.resizes);
}

#[test]
fn the_cluster_is_full_of_what_is_there_and_on_its_way() {
    let mut world = World::of(&[("a", 2, 100, 2000), ("b", 1, 100, 2000)]);
    // One of `a` is on its way and one more there already; `b` was not asked for any.
    world.existing[0].readiness = Readiness::NotStarted;
    world.existing[1].readiness = Readiness::NotStarted;
    world.existing[2].readiness = Readiness::NotStarted;
    world.upcoming.insert("a".into(), 1);
    world.upcoming.insert("b".into(), 2);
    world.options.max_nodes_total = Some(5);
    let plan = world.grow(&pending("web", 9, spec(2000, 1)));
    // Three there, one of `b` to come, so one more.
    assert_eq!(plan.resizes.iter().map(|r| r.to - r.from).sum::<usize>(), 1);
    let left = plan.pods.values().find_map(PodVerdict::event_message);
    let told = "pod didn't trigger scale-up: 2 max-nodes-total 5 is reached";
    assert_eq!(left.as_deref(), Some(told));
    let told = |v: &PodVerdict| format!("{v:?}").contains("max-nodes-total 5 is reached");
    assert!(plan.pods.values().any(told), "{:?}", plan.pods);
}

#[test]
fn what_cannot_grow_is_known_without_a_pod() {
    let mut world = World::of(&[("a", 2, 2, 2000), ("b", 1, 9, 2000), ("c", 1, 9, 2000)]);
    world.skipped.insert("c".into(), SkipReason::NotReady);
    let (snapshot, upcoming) = (&mut world.snapshot, BTreeMap::new());
    let mut options = GrowthOptions::default();
    for (most, want) in [(None, vec!["a", "c"]), (Some(4), vec!["a", "b", "c"])] {
        options.max_nodes_total = most;
        let got = cannot_grow(&GrowthInput {
            snapshot: &mut *snapshot,
            groups: &world.groups,
            pending: &[],
            existing: &world.existing,
            upcoming: &upcoming,
            skipped: &world.skipped,
            options: &options,
            now: Timestamp::UNIX_EPOCH,
            tie: 0,
        });
        let got: Vec<&str> = got.iter().map(|group| &**group).collect();
        assert_eq!(got, want);
    }
}

#[test]
fn a_group_gets_only_so_many_nodes_in_one_look() {
    let mut world = World::of(&[("a", 1, 10, 2000), ("b", 0, 1, 2000)]);
    world.options.max_nodes_per_scaleup = Some(2);
    world.options.expanders = vec![Expander::Chosen(vec!["a".into()])];
    let plan = world.grow(&pending("web", 5, spec(2000, 1)));
    assert_eq!(sizes(&plan), ["{a 1->3 (max: 10)}", "{b 0->1 (max: 1)}"]);
    assert_eq!(verdict(&plan, "web-4"), &PodVerdict::AwaitsEvaluation);
}

#[test]
fn every_group_gets_its_turn_in_one_look() {
    let names: Vec<String> = (0..20).map(|at| format!("g{at:02}")).collect();
    let groups: Vec<_> = names.iter().map(|name| (&**name, 0, 1, 2000)).collect();
    let mut world = World::of(&groups);
    let plan = world.grow(&pending("web", 20, spec(2000, 1)));
    assert_eq!(plan.resizes.len(), 20);
}

#[test]
fn a_group_in_backoff_leaves_its_pods_to_the_next() {
    let mut world = World::of(&[("a", 0, 10, 2000), ("b", 0, 10, 2000)]);
    world.skipped.insert("a".into(), SkipReason::NotReady);
    let plan = world.grow(&pending("web", 4, spec(1000, 1)));
    assert_eq!(sizes(&plan), ["{b 0->2 (max: 10)}"]);
    assert_eq!(
        plan.groups["a"],
        GroupVerdict::Skipped(SkipReason::NotReady)
    );
}

#[test]
fn groups_alike_share_the_new_nodes() {
    let mut world = World::of(&[("a", 1, 10, 2000), ("b", 3, 10, 2000), ("c", 0, 10, 4000)]);
    world.options.balance = Some(Similarity::default());
    world.options.expanders = vec![Expander::Chosen(vec!["a".into()])];
    let plan = world.grow(&pending("web", 6, spec(2000, 1)));
    assert_eq!(sizes(&plan), ["{a 1->5 (max: 10)}", "{b 3->5 (max: 10)}"]);
    assert_eq!(plan.options[0].similar, ["b".into()]);
}

#[test]
fn an_atomic_group_grows_whole_or_not() {
    let mut world = World::of(&[("tpu", 0, 4, 2000)]);
    world.groups[0].options.zero_or_max_node_scaling = true;
    let pods = pending("web", 1, spec(1000, 1));
    let plan = world.grow(&pods);
    assert_eq!(sizes(&plan), ["{tpu 0->4 (max: 4)}"]);
    assert!(plan.atomic.contains("tpu"));
    world.options.max_nodes_total = Some(3);
    let plan = world.grow(&pods);
    assert_eq!(plan.outcome, GrowthOutcome::NoOptionsAvailable);
    assert_eq!(
        plan.groups["tpu"],
        GroupVerdict::Skipped(SkipReason::AtomicAboveTotal)
    );
}

#[test]
fn all_or_nothing_is_not_half_done() {
    let mut world = World::of(&[("ng1", 0, 2, 1000)]);
    world.options.all_or_nothing = true;
    let plan = world.grow(&pending("web", 3, spec(1000, 1)));
    assert_eq!(
        (plan.outcome, plan.resizes.len()),
        (GrowthOutcome::NoOptionsAvailable, 0)
    );
    let plan = world.grow(&pending("web", 2, spec(1000, 1)));
    assert_eq!(sizes(&plan), ["{ng1 0->2 (max: 2)}"]);
    world.options.max_nodes_total = Some(1);
    let plan = world.grow(&pending("web", 2, spec(1000, 1)));
    assert_eq!(
        (plan.outcome, plan.resizes.len()),
        (GrowthOutcome::NoOptionsAvailable, 0)
    );
}

#[test]
fn a_provider_that_lies_about_sizes_breaks_nothing() {
    let mut world = World::of(&[("a", 0, usize::MAX, 2000), ("b", 0, usize::MAX, 2000)]);
    world.groups[1].target = usize::MAX - 1;
    world.upcoming.insert("b".into(), usize::MAX);
    world.options.balance = Some(Similarity::default());
    let plan = world.grow(&pending("web", 300, spec(2000, 1)));
    assert_eq!(
        (plan.outcome, plan.resizes.len()),
        (GrowthOutcome::NotNeeded, 0)
    );
    world.upcoming.clear();
    let plan = world.grow(&pending("web", 300, spec(2000, 1)));
    assert_eq!(
        sizes(&plan),
        [format!("{{a 0->300 (max: {})}}", usize::MAX)]
    );
}

#[test]
fn an_empty_cluster_grows_only_if_it_may() {
    let mut world = World::of(&[("ng1", 0, 2, 1000)]);
    world.options.from_zero = false;
    let plan = world.grow(&pending("web", 1, spec(1000, 1)));
    assert_eq!(plan.outcome, GrowthOutcome::NotTried);
}

#[test]
fn pods_that_must_be_near_each_other_get_one_place() {
    let mut world = World::of(&[("a", 0, 10, 2000), ("b", 0, 10, 2000)]);
    for (group, zone) in world.groups.iter_mut().zip(["z1", "z2"]) {
        let mut of = (**group.template.as_ref().unwrap()).clone();
        of.node.labels.insert("zone".into(), zone.into());
        group.template = Some(of.into());
    }
    let mut near = labelled(1000, "pair");
    near.pod_affinity.required.push(term("pair", "zone"));
    let mut pods = pending("pair", 4, near);
    pods.extend(pending("free", 40, labelled(1000, "free")));
    world.options.max_nodes_per_scaleup = None;
    let plan = world.grow(&pods);
    assert_eq!(plan.outcome, GrowthOutcome::Successful);
    let of_pair: Vec<&PodVerdict> = (0..4)
        .map(|at| verdict(&plan, &format!("pair-{at}")))
        .collect();
    assert!(of_pair.iter().all(|v| *v == of_pair[0]), "{of_pair:?}");
    assert!(matches!(of_pair[0], PodVerdict::Triggered(groups) if groups.len() == 1));
    // Twenty-two nodes would be needed, and twenty there may be.
    assert_eq!(sizes(&plan).len(), 2);
}

#[test]
fn pods_that_must_be_apart_get_a_node_each_and_share_it_with_others() {
    let mut world = World::of(&[("a", 0, 10, 2000)]);
    let mut apart = labelled(500, "db");
    apart
        .pod_anti_affinity
        .required
        .push(term("db", HOSTNAME_LABEL));
    let mut pods = pending("db", 3, apart);
    pods.extend(pending("free", 9, labelled(500, "free")));
    assert_eq!(sizes(&world.grow(&pods)), ["{a 0->3 (max: 10)}"]);
}
