//! Which nodes work, which are on their way, and whether the cluster may be changed at all.

use super::group::{GroupFacts, GroupId};
use super::running::{ClusterNode, Readiness};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// When too many nodes are not ready (upstream's flags).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HealthOptions {
    /// `--ok-total-unready-count`: so many never matter.
    pub ok_total_unready_count: usize,
    /// `--max-total-unready-percentage`, 0–100.
    pub max_total_unready_percentage: f64,
}

impl Default for HealthOptions {
    fn default() -> Self {
        Self {
            ok_total_unready_count: 3,
            max_total_unready_percentage: 45.0,
        }
    }
}

impl HealthOptions {
    #[expect(
        clippy::cast_precision_loss,
        reason = "Parity: compared in floating point"
    )]
    fn too_many(&self, unready: usize, of: usize) -> bool {
        let share = self.max_total_unready_percentage / 100.0;
        unready > self.ok_total_unready_count && unready as f64 > share * of as f64
    }
}

/// A machine without a Node object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unregistered {
    /// Its name at the provider.
    pub id: Arc<str>,
    /// Since when it is known.
    pub since: Timestamp,
}

/// Nodes that were asked for and are awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrowthRequest {
    /// How many.
    pub increase: usize,
    /// When they were asked for.
    pub since: Timestamp,
    /// When they should all be ready.
    pub deadline: Timestamp,
}

/// What health is judged from.
#[derive(Debug)]
pub struct HealthInput<'a> {
    /// All nodes, of groups and of none.
    pub nodes: &'a [ClusterNode],
    /// All groups.
    pub groups: &'a [GroupFacts],
    /// Machines without a Node by group.
    pub unregistered: &'a BTreeMap<GroupId, Vec<Unregistered>>,
    /// Open requests by group.
    pub requests: &'a BTreeMap<GroupId, GrowthRequest>,
    /// Nodes that the provider counts no more: it has agreed to remove them, or has lost them.
    pub leaving: &'a BTreeSet<Arc<str>>,
    /// How many nodes of a group are being deleted.
    pub deleting: &'a BTreeMap<GroupId, usize>,
    /// Groups that failed to grow lately.
    pub backed_off: &'a BTreeSet<GroupId>,
    /// Settings.
    pub options: HealthOptions,
    /// Now.
    pub now: Timestamp,
}

/// Numbers of nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Node objects.
    pub registered: usize,
    /// They work.
    pub ready: usize,
    /// Not ready yet, and young enough.
    pub not_started: usize,
    /// Not ready.
    pub unready: usize,
    /// Of those, for want of a device.
    pub resource_unready: usize,
    /// Suspended by the provider.
    pub suspended: usize,
    /// Marked for deletion.
    pub being_deleted: usize,
    /// Machines without a Node, young enough.
    pub unregistered: usize,
    /// Machines without a Node for too long.
    pub long_unregistered: usize,
}

impl NodeCounts {
    /// Parity: a node that leaves is of no other class, however it feels meanwhile.
    fn count(&mut self, node: &ClusterNode, leaves: bool) {
        self.registered += 1;
        self.being_deleted += usize::from(leaves || node.being_deleted.is_some());
        if leaves {
            return;
        }
        match node.readiness {
            Readiness::Suspended => self.suspended += 1,
            Readiness::Ready => self.ready += 1,
            Readiness::NotStarted => self.not_started += 1,
            Readiness::Unready => self.unready += 1,
            Readiness::ResourceUnready => {
                self.unready += 1;
                self.resource_unready += 1;
            }
        }
    }
}

/// One group's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupHealth {
    /// Whether it may be changed.
    pub healthy: bool,
    /// Its nodes.
    pub counts: NodeCounts,
    /// Nodes on their way that count as room already: promised machines, and nodes not started.
    pub upcoming: usize,
    /// How small its size may be now without anything being wrong.
    pub acceptable_min: usize,
    /// How large.
    pub acceptable_max: usize,
    /// Machines without a Node for too long.
    pub long_unregistered: Vec<Arc<str>>,
    /// The target is above what there is, and nothing awaits the difference any more.
    pub overstated_by: usize,
}

/// The cluster's health.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterHealth {
    /// Whether nodes may be added and removed at all.
    pub healthy: bool,
    /// All nodes.
    pub counts: NodeCounts,
    /// By group.
    pub groups: BTreeMap<GroupId, GroupHealth>,
}

impl ClusterHealth {
    /// Nodes on their way by group, where there are any.
    pub fn upcoming(&self) -> BTreeMap<GroupId, usize> {
        let groups = self.groups.iter().filter(|(_, group)| group.upcoming > 0);
        groups
            .map(|(id, group)| (GroupId::clone(id), group.upcoming))
            .collect()
    }
}

/// Judges the cluster and its groups.
pub fn health(input: &HealthInput<'_>) -> ClusterHealth {
    let mut total = NodeCounts::default();
    let mut by_group: BTreeMap<&GroupId, (NodeCounts, usize)> = BTreeMap::new();
    for node in input.nodes {
        let leaves = input.leaving.contains(&node.name);
        total.count(node, leaves);
        if let Some(group) = &node.group {
            let (counts, leaving) = by_group.entry(group).or_default();
            counts.count(node, leaves);
            *leaving += usize::from(leaves);
        }
    }
    let mut groups = BTreeMap::new();
    for group in input.groups {
        let counts = by_group.get(&group.id).copied().unwrap_or_default();
        let health = group_health(group, counts, input);
        total.unregistered += health.counts.unregistered;
        total.long_unregistered += health.counts.long_unregistered;
        groups.insert(GroupId::clone(&group.id), health);
    }
    ClusterHealth {
        // Nodes outside every group count, too.
        healthy: !input.options.too_many(total.unready, input.nodes.len()),
        counts: total,
        groups,
    }
}

fn group_health(
    group: &GroupFacts,
    (mut counts, leaving): (NodeCounts, usize),
    input: &HealthInput<'_>,
) -> GroupHealth {
    let machines = input
        .unregistered
        .get(&group.id)
        .map_or(&[][..], Vec::as_slice);
    let provision = group.options.max_node_provision_time;
    let late = |machine: &&Unregistered| {
        let by = machine.since.checked_add(provision);
        by.is_ok_and(|by| by < input.now)
    };
    let long_unregistered: Vec<Arc<str>> = machines
        .iter()
        .filter(late)
        .map(|machine| Arc::clone(&machine.id))
        .collect();
    counts.long_unregistered = long_unregistered.len();
    counts.unregistered = machines.len() - long_unregistered.len();
    let request = input.requests.get(&group.id);
    let pending = request.map_or(0, |request| request.increase);
    let deleting = input.deleting.get(&group.id).copied().unwrap_or(0);
    let acceptable_min = group
        .target
        .saturating_sub(pending + counts.long_unregistered);
    let there = counts.ready + counts.suspended;
    let missing = acceptable_min.saturating_sub(there);
    let known = counts.ready + counts.unready + counts.not_started;
    let taken = there + counts.unready + counts.long_unregistered;
    // Promised room that never comes would hide pods from other groups. Departs: nodes that have
    // joined and are young count in any case, so that a restart does not ask for them again.
    let awaited = request.is_some() && !input.backed_off.contains(&group.id);
    let on_their_way = group.target.saturating_sub(taken);
    GroupHealth {
        healthy: !input.options.too_many(missing, known),
        counts,
        upcoming: if awaited {
            on_their_way
        } else {
            counts.not_started.min(on_their_way)
        },
        acceptable_min,
        acceptable_max: group.target.saturating_add(deleting),
        long_unregistered,
        overstated_by: if request.is_some() {
            0
        } else {
            let exist = counts.registered + machines.len() - leaving;
            group.target.saturating_sub(exist)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{existing, group, template};
    use rstest::rstest;

    const NOW: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(NOW + second).unwrap()
    }

    /// A group of `target` with so many nodes of each kind.
    fn judged(
        target: usize,
        nodes: &[(Readiness, usize)],
        change: impl FnOnce(&mut HealthInput<'_>),
    ) -> ClusterHealth {
        let mut list = Vec::new();
        for (readiness, count) in nodes {
            for _ in 0..*count {
                let mut node = existing(&format!("n{}", list.len()), "ng", 1000, 1);
                node.readiness = *readiness;
                list.push(node);
            }
        }
        let groups = [group("ng", (target, 1000), template("n", 1000, 1))];
        let mut input = HealthInput {
            nodes: &list,
            groups: &groups,
            unregistered: &BTreeMap::new(),
            requests: &BTreeMap::new(),
            leaving: &BTreeSet::new(),
            deleting: &BTreeMap::new(),
            backed_off: &BTreeSet::new(),
            options: HealthOptions::default(),
            now: at(0),
        };
        change(&mut input);
        health(&input)
    }

    #[rstest]
    #[case(6, 3, true)]
    #[case(6, 4, false)]
    #[case::exactly_45_percent(40, 18, true)]
    #[case(40, 19, false)]
    #[case(10, 4, true)]
    fn a_cluster_is_unhealthy_with_too_many_unready_nodes(
        #[case] nodes: usize,
        #[case] unready: usize,
        #[case] healthy: bool,
    ) {
        let kinds = [
            (Readiness::Ready, nodes - unready),
            (Readiness::Unready, unready),
        ];
        let got = judged(nodes, &kinds, |_| ());
        assert_eq!(got.healthy, healthy);
        assert_eq!(got.groups["ng"].healthy, healthy);
    }

    #[test]
    fn promised_nodes_count_while_they_are_asked_for() {
        let requests = |increase| {
            let request = GrowthRequest {
                increase,
                since: at(-60),
                deadline: at(840),
            };
            BTreeMap::from([(GroupId::from("ng"), request)])
        };
        let kinds = [(Readiness::Ready, 2), (Readiness::NotStarted, 1)];
        let open = requests(8);
        let got = judged(10, &kinds, |input| {
            input.requests = Box::leak(Box::new(open));
        });
        let group = &got.groups["ng"];
        assert_eq!((group.upcoming, group.healthy), (8, true));
        assert_eq!((group.acceptable_min, group.overstated_by), (2, 0));
        let backed_off = BTreeSet::from([GroupId::from("ng")]);
        let open = requests(8);
        let got = judged(10, &kinds, |input| {
            input.requests = Box::leak(Box::new(open));
            input.backed_off = Box::leak(Box::new(backed_off));
        });
        assert_eq!(got.groups["ng"].upcoming, 1);
        let got = judged(10, &kinds, |_| ());
        assert_eq!(got.groups["ng"].overstated_by, 7);
    }

    #[test]
    fn nodes_that_leave_stand_for_none_that_were_asked_for() {
        let request = GrowthRequest {
            increase: 1,
            since: at(-60),
            deadline: at(840),
        };
        let requests = BTreeMap::from([(GroupId::from("ng"), request)]);
        let leaving: BTreeSet<Arc<str>> = ["n0".into(), "n3".into()].into();
        let kinds = [(Readiness::Ready, 3), (Readiness::Unready, 1)];
        let got = judged(3, &kinds, |input| {
            input.requests = Box::leak(Box::new(requests));
            input.leaving = Box::leak(Box::new(leaving.clone()));
        });
        let group = &got.groups["ng"];
        let counts = &group.counts;
        assert_eq!(
            (counts.ready, counts.unready, counts.being_deleted),
            (2, 0, 2)
        );
        assert_eq!(group.upcoming, 1);
        let got = judged(4, &kinds, |input| {
            input.leaving = Box::leak(Box::new(leaving));
        });
        assert_eq!(got.groups["ng"].overstated_by, 2);
    }

    #[test]
    fn nodes_that_were_taken_away_do_not_make_the_cluster_unhealthy() {
        let kinds = [(Readiness::Ready, 4), (Readiness::Unready, 6)];
        assert!(!judged(4, &kinds, |_| ()).healthy);
        let gone: BTreeSet<Arc<str>> = (4..10).map(|n| format!("n{n}").into()).collect();
        let got = judged(4, &kinds, |input| input.leaving = Box::leak(Box::new(gone)));
        assert!(got.healthy);
    }

    #[test]
    fn machines_that_never_register_are_told_apart_by_age() {
        let machine = |id: &str, since| Unregistered {
            id: id.into(),
            since: at(since),
        };
        let machines = vec![machine("old", -901), machine("young", -900)];
        let machines = BTreeMap::from([(GroupId::from("ng"), machines)]);
        let got = judged(3, &[(Readiness::Ready, 1)], |input| {
            input.unregistered = Box::leak(Box::new(machines));
        });
        let group = &got.groups["ng"];
        assert_eq!(&*group.long_unregistered[0], "old");
        assert_eq!(
            (group.counts.unregistered, group.counts.long_unregistered),
            (1, 1)
        );
        assert_eq!(group.acceptable_min, 2);
    }
}
