//! Quotas of nodes with certain labels, in whole looks.

use super::{World, pending, sizes, spec, verdict};
use crate::cluster::{GroupVerdict, GrowthInput, PodVerdict, Quota, SkipReason, allowed};
use crate::placement::{LabelSelector, Requirement};
use jiff::Timestamp;
use std::sync::Arc;

/// Groups `dear` and `cheap`, with no node yet, of 2 cores each; their nodes have the label `tier`.
fn world() -> World {
    let mut world = World::of(&[("cheap", 0, 10, 2000), ("dear", 0, 10, 2000)]);
    for group in &mut world.groups {
        let mut of = (**group.template.as_ref().unwrap()).clone();
        of.node.labels.insert("tier".into(), group.id.to_string());
        group.template = Some(Arc::new(of));
    }
    world
}

fn quota(tier: Option<&str>, resource: &str, most: i64) -> Quota {
    let requirements = tier.map(|tier| Requirement::equals("tier", tier));
    Quota {
        id: format!("CapacityQuota/{}", tier.unwrap_or("all")),
        selector: LabelSelector {
            requirements: requirements.into_iter().collect(),
        },
        limits: [(resource.to_owned(), most)].into(),
    }
}

#[test]
fn what_one_groups_quota_leaves_another_takes() {
    let mut world = world();
    world.options.quotas = vec![quota(Some("cheap"), "nodes", 2)];
    let plan = world.grow(&pending("web", 5, spec(2000, 1)));
    assert_eq!(
        sizes(&plan),
        ["{cheap 0->2 (max: 10)}", "{dear 0->3 (max: 10)}"]
    );
}

#[test]
fn the_tightest_of_overlapping_quotas_wins() {
    let mut world = world();
    world.options.quotas = vec![
        quota(None, "cpu", 7000),
        quota(Some("cheap"), "cpu", 100_000),
        quota(Some("cheap"), "nodes", 2),
        quota(Some("dear"), "nodes", 2),
    ];
    let pods = pending("web", 9, spec(2000, 1));
    let plan = world.grow(&pods);
    assert_eq!(
        sizes(&plan),
        ["{cheap 0->2 (max: 10)}", "{dear 0->1 (max: 10)}"]
    );
    let left = plan
        .pods
        .values()
        .find_map(PodVerdict::event_message)
        .unwrap();
    assert_eq!(
        left,
        "pod didn't trigger scale-up: \
         1 exceeded quota: \"CapacityQuota/all\", resources: cpu (cpu 6 of 7 used), \
         1 exceeded quota: \"CapacityQuota/cheap\", resources: nodes (nodes 2 of 2 used)"
    );
}

#[test]
fn nodes_on_their_way_use_a_quota_up() {
    let mut world = world();
    world.options.quotas = vec![quota(Some("cheap"), "nodes", 3)];
    world.groups.retain(|group| &*group.id == "cheap");
    world.groups[0].target = 2;
    world.upcoming.insert("cheap".into(), 2);
    // Two pods fit what is on its way, one the last node that may be.
    let plan = world.grow(&pending("web", 4, spec(2000, 1)));
    assert_eq!(sizes(&plan), ["{cheap 2->3 (max: 10)}"]);
    world.groups[0].target = 3;
    world.upcoming.insert("cheap".into(), 3);
    let plan = world.grow(&pending("web", 4, spec(2000, 1)));
    let GroupVerdict::Skipped(SkipReason::Quota(exceeded)) = &plan.groups["cheap"] else {
        panic!("{:?}", plan.groups);
    };
    assert_eq!(exceeded[0].resources[0].used, 3);
    let left = plan.pods.values().find(|v| v.event_message().is_some());
    let told = left.unwrap().event_message().unwrap();
    assert_eq!(
        told,
        "pod didn't trigger scale-up: 1 exceeded quota: \"CapacityQuota/cheap\", \
         resources: nodes (nodes 3 of 3 used)"
    );
}

#[test]
fn a_quota_below_what_there_is_takes_no_node_away() {
    let mut world = World::of(&[("a", 2, 10, 2000)]);
    world.options.quotas = vec![quota(None, "nodes", 1)];
    let plan = world.grow(&pending("web", 1, spec(2000, 1)));
    assert_eq!(sizes(&plan), [""; 0]);
    assert!(matches!(
        verdict(&plan, "web-0"),
        PodVerdict::Unschedulable(_)
    ));
    let answer = plan.groups["a"].answer();
    assert_eq!(
        answer.reason,
        "not considered: exceeded quota: \"CapacityQuota/all\", resources: nodes (nodes 2 of 1 used)"
    );
}

#[test]
fn nodes_for_no_pod_are_bounded_alike() {
    let mut world = world();
    world.options.quotas = vec![quota(None, "nodes", 5), quota(Some("cheap"), "nodes", 2)];
    let wanted = [("cheap".into(), 4), ("dear".into(), 4)];
    let bounded = |world: &mut World| {
        let input = GrowthInput {
            snapshot: &mut world.snapshot,
            groups: &world.groups,
            pending: &[],
            existing: &world.existing,
            upcoming: &world.upcoming,
            skipped: &world.skipped,
            options: &world.options,
            now: Timestamp::UNIX_EPOCH,
            tie: 0,
        };
        allowed(&input, &wanted)
    };
    assert_eq!(bounded(&mut world), [2, 3]);
    world.options.max_nodes_total = Some(3);
    assert_eq!(bounded(&mut world), [2, 1]);
    world.upcoming.insert("dear".into(), 1);
    assert_eq!(bounded(&mut world), [2, 0]);
    world.options.max_nodes_total = None;
    world.options.quotas.clear();
    assert_eq!(bounded(&mut world), [4, 4]);
}
