//! Removal that keeps similar groups of similar size (opt-in).
//!
//! Departs: upstream balances only when it grows, so that zones drift apart.

use super::group::{GroupFacts, GroupId};
use super::planner::{Scene, Unneeded};
use super::similar::Similarity;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Nodes of one group that wait, with how many nodes it would have left.
struct Queue<'a> {
    left: usize,
    nodes: VecDeque<Unneeded<'a>>,
}

/// Keeps the order, but wherever a node of one group comes, one of the largest group alike goes
/// instead; nodes without pods still come before the others.
pub(super) fn from_largest<'a>(
    scene: Scene<'_>,
    alike: &Similarity,
    nodes: Vec<Unneeded<'a>>,
) -> Vec<Unneeded<'a>> {
    let classes = classes(scene, alike);
    let class_of = |group: &GroupFacts| {
        let class = classes.get(&*group.id);
        class.map_or_else(|| Arc::clone(&group.id), Arc::clone)
    };
    let (empty, drain): (Vec<_>, Vec<_>) = nodes
        .into_iter()
        .partition(|node| node.candidate.judged.moves.is_empty());
    let mut left: BTreeMap<GroupId, usize> = BTreeMap::new();
    let mut ordered = Vec::new();
    for part in [empty, drain] {
        let mut turns = Vec::new();
        let mut queues: BTreeMap<(GroupId, GroupId), Queue<'a>> = BTreeMap::new();
        for node in part {
            let group = node.candidate.group;
            let class = class_of(group);
            let now = left.get(&group.id).copied();
            let key = (Arc::clone(&class), Arc::clone(&group.id));
            let queue = queues.entry(key).or_insert_with(|| Queue {
                left: now.unwrap_or_else(|| scene.size_of(group)),
                nodes: VecDeque::new(),
            });
            queue.nodes.push_back(node);
            turns.push(class);
        }
        for class in turns {
            let mine = queues
                .iter_mut()
                .filter(|((of, _), queue)| *of == class && !queue.nodes.is_empty());
            // Of groups of one size the first by name.
            let Some((_, queue)) = mine.rev().max_by_key(|(_, queue)| queue.left) else {
                continue;
            };
            queue.left = queue.left.saturating_sub(1);
            ordered.extend(queue.nodes.pop_front());
        }
        left.extend(
            queues
                .into_iter()
                .map(|((_, group), queue)| (group, queue.left)),
        );
    }
    ordered
}

/// Each group with the first one it is like.
fn classes<'a>(scene: Scene<'a>, alike: &Similarity) -> BTreeMap<&'a str, GroupId> {
    let mut classes = BTreeMap::new();
    let mut firsts: Vec<&'a GroupFacts> = Vec::new();
    for (name, group) in scene.groups {
        let like = |first: &&&'a GroupFacts| {
            let templates = first.template.as_deref().zip(group.template.as_deref());
            templates.is_some_and(|(one, other)| alike.difference(one, other).is_none())
        };
        let class = firsts.iter().find(like).copied();
        let first = class.unwrap_or(group);
        if class.is_none() {
            firsts.push(group);
        }
        classes.insert(*name, Arc::clone(&first.id));
    }
    classes
}
