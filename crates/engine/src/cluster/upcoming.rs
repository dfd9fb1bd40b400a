//! Nodes that were asked for count as room before they are there.

use super::group::{GroupFacts, GroupId};
use super::running::{ClusterNode, Readiness};
use super::template;
use crate::placement::Snapshot;
use std::collections::BTreeMap;

/// So many empty nodes of a group are enough for any rule about places.
const ENOUGH: usize = 100;

/// The name of the node that stands for one on its way.
fn name(group: &str, at: usize) -> String {
    format!("upcoming-{group}-{at}")
}

/// Whether a node's name is that of one on its way.
pub fn is_upcoming(node: &str) -> bool {
    node.starts_with("upcoming-")
}

/// Puts nodes on their way into the snapshot as they will be, in place of nodes that have not
/// started; no more of a group than `pods` pods can use. Returns how many were put. Fork the snapshot
/// before.
pub fn put_upcoming(
    snapshot: &mut Snapshot,
    groups: &[GroupFacts],
    nodes: &[ClusterNode],
    upcoming: &BTreeMap<GroupId, usize>,
    pods: usize,
) -> usize {
    if upcoming.is_empty() {
        return 0;
    }
    for node in nodes {
        let awaited = node
            .group
            .as_ref()
            .is_some_and(|group| upcoming.contains_key(group));
        if awaited && node.readiness == Readiness::NotStarted {
            snapshot.remove_node(&node.name);
        }
    }
    let mut put = 0;
    for group in groups {
        let count = upcoming.get(&group.id).copied().unwrap_or(0);
        let Some(template) = &group.template else {
            continue;
        };
        // A provider may promise more than anybody can use.
        for at in 0..count.min(pods.max(ENOUGH)) {
            template::put(snapshot, template, &name(&group.id, at));
            put += 1;
        }
    }
    put
}

/// Nodes on their way that are not registered yet, by group: those that are there, and have not
/// started, are counted among the existing ones.
pub(super) fn absent(
    nodes: &[ClusterNode],
    upcoming: &BTreeMap<GroupId, usize>,
) -> BTreeMap<GroupId, usize> {
    let mut absent = upcoming.clone();
    for node in nodes {
        let of_group = node.group.as_ref().and_then(|group| absent.get_mut(group));
        if let Some(count) = of_group.filter(|_| node.readiness == Readiness::NotStarted) {
            *count = count.saturating_sub(1);
        }
    }
    absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{existing, group, node, template as of};

    #[test]
    fn promised_nodes_stand_in_for_those_that_have_not_started() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("young", 1000, 1 << 30));
        let mut young = existing("young", "ng", 1000, 1 << 30);
        young.readiness = Readiness::NotStarted;
        let groups = [group("ng", (2, 5), of("t", 1000, 1 << 30))];
        let upcoming = BTreeMap::from([(GroupId::from("ng"), 2)]);
        snapshot.fork();
        let nodes = [young];
        assert_eq!(
            put_upcoming(&mut snapshot, &groups, &nodes, &upcoming, 9),
            2
        );
        let names: Vec<&str> = snapshot.nodes().map(|n| n.facts.name.as_str()).collect();
        assert_eq!(names, ["upcoming-ng-0", "upcoming-ng-1"]);
        assert!(names.iter().all(|name| is_upcoming(name)));
        snapshot.revert();
        assert!(snapshot.node("young").is_some() && snapshot.node_count() == 1);
        let promised = BTreeMap::from([(GroupId::from("ng"), usize::MAX)]);
        snapshot.fork();
        assert_eq!(
            put_upcoming(&mut snapshot, &groups, &[], &promised, 9),
            ENOUGH
        );
        snapshot.revert();
    }
}
