//! What quotas leave, and how it is told.

use super::{ExceededQuota, Quota, Remaining, in_units};
use crate::cluster::testing::{existing, node, template};
use crate::cluster::{CLUSTER_WIDE, ClusterNode, NodeTemplate, SkipReason};
use crate::placement::{LabelSelector, Operator, Requirement, Snapshot};
use proptest::prelude::*;
use rstest::rstest;
use std::collections::BTreeMap;

const GIB: i64 = 1 << 30;

fn quota(id: &str, team: Option<&str>, limits: &[(&str, i64)]) -> Quota {
    let requirements = team.map(|team| Requirement::equals("team", team));
    Quota {
        id: id.to_owned(),
        selector: LabelSelector {
            requirements: requirements.into_iter().collect(),
        },
        limits: limits
            .iter()
            .map(|(name, most)| ((*name).to_owned(), *most))
            .collect(),
    }
}

/// Nodes of 2 cores and 8 GiB, each with the label `team`.
fn cluster(teams: &[&str]) -> (Vec<ClusterNode>, Snapshot) {
    let mut snapshot = Snapshot::default();
    let mut nodes = Vec::new();
    for (at, team) in teams.iter().enumerate() {
        let name = format!("{team}-{at}");
        let mut facts = node(&name, 2000, 8 * GIB);
        facts.labels.insert("team".into(), (*team).into());
        snapshot.set_node(facts);
        nodes.push(existing(&name, team, 2000, 8 * GIB));
    }
    (nodes, snapshot)
}

fn new_node(team: &str, cpu: i64) -> NodeTemplate {
    let mut of = template("new", cpu, 8 * GIB);
    of.node.labels.insert("team".into(), team.into());
    of
}

#[rstest]
#[case::one_resource(&[("cpu", 9000)], 2)]
#[case::the_tightest_resource(&[("cpu", 100_000), ("memory", 33 * GIB)], 1)]
#[case::nodes_are_a_resource(&[("nodes", 7)], 4)]
#[case::what_a_node_has_none_of_limits_nothing(&[("nvidia.com/gpu", 0)], 10)]
#[case::nothing_left(&[("cpu", 6000)], 0)]
#[case::too_much_already(&[("cpu", 1000)], 0)]
#[case::no_limit(&[], 10)]
fn a_quota_of_the_whole_cluster_allows(#[case] limits: &[(&str, i64)], #[case] want: usize) {
    let (nodes, snapshot) = cluster(&["a", "a", "b"]);
    let quotas = [quota(CLUSTER_WIDE, None, limits)];
    let of = new_node("b", 1500);
    let left = Remaining::of(&quotas, &nodes, &snapshot);
    assert_eq!(left.allowed(&of, 10), want);
    assert_eq!(left.exceeded(&of, 1).is_some(), want == 0);
}

#[rstest]
#[case::of_the_selected(Operator::In, &["a"], 1)]
#[case::of_others(Operator::NotIn, &["a"], 10)]
#[case::of_all_with_the_label(Operator::Exists, &[], 0)]
#[case::of_none(Operator::DoesNotExist, &[], 10)]
fn only_selected_nodes_count(
    #[case] operator: Operator,
    #[case] values: &[&str],
    #[case] want: usize,
) {
    let (nodes, snapshot) = cluster(&["a", "b"]);
    let mut one = quota("q", None, &[("nodes", 2)]);
    one.selector.requirements.push(Requirement {
        key: "team".into(),
        operator,
        values: values.iter().map(|v| (*v).to_owned()).collect(),
    });
    let quotas = [one];
    let left = Remaining::of(&quotas, &nodes, &snapshot);
    assert_eq!(left.allowed(&new_node("a", 2000), 10), want);
}

#[test]
fn every_exceeded_quota_is_named_with_its_figures() {
    let (nodes, snapshot) = cluster(&["a", "a"]);
    let quotas = [
        quota(CLUSTER_WIDE, None, &[("cpu", 5000), ("memory", 16 * GIB)]),
        quota("CapacityQuota/a", Some("a"), &[("nodes", 2)]),
        quota("CapacityQuota/b", Some("b"), &[("nodes", 0)]),
    ];
    let left = Remaining::of(&quotas, &nodes, &snapshot);
    let Some(SkipReason::Quota(exceeded)) = left.exceeded(&new_node("a", 1500), 1) else {
        panic!("two are exceeded");
    };
    let told: Vec<String> = exceeded.iter().map(ExceededQuota::told).collect();
    assert_eq!(
        told,
        [
            "exceeded quota: \"cluster-wide\", resources: cpu, memory \
             (cpu 4 of 5, memory 16Gi of 16Gi used)",
            "exceeded quota: \"CapacityQuota/a\", resources: nodes (nodes 2 of 2 used)",
        ]
    );
    let remedy = SkipReason::Quota(exceeded).lift();
    assert_eq!(
        remedy,
        "a larger --cores-total and --memory-total (cpu 5500m or more, memory 24Gi or more); \
         a higher limit: kubectl edit capacityquota a (nodes 3 or more)"
    );
}

#[test]
fn what_is_used_is_the_capacity_of_nodes_there() {
    let (nodes, snapshot) = cluster(&["a", "b", "a"]);
    let limits = [
        ("cpu", 1),
        ("memory", 1),
        ("nodes", 1),
        ("example.com/x", 1),
    ];
    let used = quota("q", Some("a"), &limits).used(&nodes, &snapshot);
    let shown: Vec<String> = used
        .iter()
        .map(|(name, amount)| format!("{name} {}", in_units(name, *amount)))
        .collect();
    assert_eq!(
        shown,
        ["cpu 4", "example.com/x 0", "memory 16Gi", "nodes 2"]
    );
}

proptest! {
    /// However nodes are asked for, no limit that held before is passed.
    #[test]
    fn what_is_allowed_and_reserved_never_exceeds_a_limit(
        limits in prop::collection::vec((prop::option::of(0..2_usize), 0..20_000_i64, 0..12_i64), 0..4),
        asked in prop::collection::vec((0..2_usize, 1..4000_i64, 0..8_usize), 0..12),
    ) {
        let teams = ["a", "b"];
        let quotas: Vec<Quota> = limits
            .iter()
            .map(|(team, cpu, nodes)| {
                let limits = [("cpu", *cpu), ("nodes", *nodes)];
                quota("q", team.map(|team| teams[team]), &limits)
            })
            .collect();
        let mut left = Remaining::of(&quotas, &[], &Snapshot::default());
        let mut sums: Vec<BTreeMap<&str, i64>> = vec![BTreeMap::new(); quotas.len()];
        for (team, cpu, wanted) in asked {
            let of = new_node(teams[team], cpu);
            let allowed = left.allowed(&of, wanted);
            prop_assert!(allowed <= wanted);
            left.reserve(&of, allowed);
            let count = i64::try_from(allowed).unwrap();
            for (quota, sums) in quotas.iter().zip(&mut sums) {
                if quota.selects(&of.node.labels) {
                    *sums.entry("cpu").or_default() += cpu * count;
                    *sums.entry("nodes").or_default() += count;
                }
            }
            // One more would be too much, if fewer than wanted were allowed.
            prop_assert_eq!(allowed < wanted, left.exceeded(&of, wanted - allowed).is_some());
        }
        for (quota, sums) in quotas.iter().zip(&sums) {
            for (name, sum) in sums {
                prop_assert!(*sum <= quota.limits[*name]);
            }
        }
    }
}
