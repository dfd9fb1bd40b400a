//! Removal that keeps similar groups of similar size (opt-in).
//!
//! Departs: upstream balances only when it grows, so that zones drift apart.

use super::group::GroupId;
use super::planner::{Scene, Unneeded};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Orders nodes so that the next always comes from the group with the most nodes left; those
/// without pods still before the others.
pub(super) fn from_largest<'a>(scene: Scene<'_>, nodes: Vec<Unneeded<'a>>) -> Vec<Unneeded<'a>> {
    let mut sizes: BTreeMap<GroupId, usize> = BTreeMap::new();
    let (empty, drain): (Vec<_>, Vec<_>) = nodes
        .into_iter()
        .partition(|node| node.candidate.judged.moves.is_empty());
    let mut ordered = Vec::new();
    for class in [empty, drain] {
        let mut queues: BTreeMap<GroupId, VecDeque<Unneeded<'a>>> = BTreeMap::new();
        for node in class {
            let group = node.candidate.group;
            sizes
                .entry(Arc::clone(&group.id))
                .or_insert_with(|| scene.size_of(group));
            queues
                .entry(Arc::clone(&group.id))
                .or_default()
                .push_back(node);
        }
        while let Some(node) = next(&mut queues, &mut sizes) {
            ordered.push(node);
        }
    }
    ordered
}

fn next<'a>(
    queues: &mut BTreeMap<GroupId, VecDeque<Unneeded<'a>>>,
    sizes: &mut BTreeMap<GroupId, usize>,
) -> Option<Unneeded<'a>> {
    let waiting = queues.iter().filter(|(_, queue)| !queue.is_empty());
    // Of equals the first by name, whatever the order of a maximum.
    let largest = waiting
        .rev()
        .max_by_key(|(group, _)| sizes.get(*group).copied());
    let group = GroupId::clone(largest?.0);
    if let Some(size) = sizes.get_mut(&group) {
        *size = size.saturating_sub(1);
    }
    queues.get_mut(&group)?.pop_front()
}
