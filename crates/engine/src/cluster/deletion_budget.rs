//! How many of the nodes that may go do go now (reference §12.6).

use super::group::GroupId;
use super::shrink::Parallelism;
use std::collections::BTreeMap;

/// Nodes of one group that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket<T> {
    /// Group.
    pub group: GroupId,
    /// What is all of it, where it goes as a whole or not at all.
    pub atomic: Option<Whole>,
    /// The nodes, those that go first in front.
    pub nodes: Vec<T>,
}

/// When nothing of a group would remain: either number is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// As many as it should have.
    pub target: usize,
    /// As many as it has.
    pub registered: usize,
}

impl Whole {
    /// Whether so many nodes are all of it.
    pub fn is(&self, nodes: usize) -> bool {
        nodes == self.target || nodes == self.registered
    }
}

/// Nodes by how they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Going<T> {
    /// With nothing to move.
    pub empty: Vec<Bucket<T>>,
    /// With pods to move.
    pub drain: Vec<Bucket<T>>,
}

impl<T> Default for Going<T> {
    fn default() -> Self {
        Self {
            empty: Vec::new(),
            drain: Vec::new(),
        }
    }
}

/// What may still begin.
struct Budget {
    all: usize,
    drains: usize,
    /// Whether an atomic group may still go beyond the budget: one may, or large ones never would.
    overflow: bool,
}

impl Budget {
    fn fits(&self, all: usize, drains: usize) -> bool {
        all <= self.all && drains <= self.drains
    }

    fn spend(&mut self, all: usize, drains: usize) {
        self.all = self.all.saturating_sub(all);
        self.drains = self.drains.saturating_sub(drains).min(self.all);
    }

    /// Admits nodes of one group as a whole.
    fn admit(&mut self, all: usize, drains: usize) -> bool {
        if !self.fits(all, drains) {
            let used_up = self.all == 0 || (drains > 0 && self.drains == 0);
            if used_up || !self.overflow {
                return false;
            }
        }
        self.spend(all, drains);
        self.overflow = false;
        true
    }
}

/// Takes as many as may go beside the removals that run (`empty`, `drains`). Atomic groups come
/// first, as a whole or not at all; then nodes with nothing to move, then the others.
pub fn crop<T>(wanted: Going<T>, running: (usize, usize), limits: Parallelism) -> Going<T> {
    let (empty_running, drains_running) = running;
    let all = limits
        .all
        .saturating_sub(empty_running.saturating_add(drains_running));
    let mut budget = Budget {
        all,
        drains: limits.drains.saturating_sub(drains_running).min(all),
        overflow: true,
    };
    let (whole_empty, single_empty) = split(wanted.empty);
    let (whole_drain, single_drain) = split(wanted.drain);
    let mut going = atomic(&mut budget, whole_empty, whole_drain);
    take(&mut going.empty, single_empty, &mut budget.all);
    budget.drains = budget.drains.min(budget.all);
    take(&mut going.drain, single_drain, &mut budget.drains);
    going
}

fn split<T>(buckets: Vec<Bucket<T>>) -> (Vec<Bucket<T>>, Vec<Bucket<T>>) {
    buckets
        .into_iter()
        .partition(|bucket| bucket.atomic.is_some())
}

fn atomic<T>(budget: &mut Budget, empty: Vec<Bucket<T>>, drain: Vec<Bucket<T>>) -> Going<T> {
    let mut going = Going::default();
    let mut drain: Vec<Option<Bucket<T>>> = drain.into_iter().map(Some).collect();
    let mut closed = false;
    for bucket in empty {
        let same = |d: &&mut Option<Bucket<T>>| d.as_ref().is_some_and(|d| d.group == bucket.group);
        // What is left out with its empty nodes is left out with the others, too.
        let rest = drain.iter_mut().find(same).and_then(Option::take);
        let drains = rest.as_ref().map_or(0, |rest| rest.nodes.len());
        let nodes = bucket.nodes.len().saturating_add(drains);
        if closed || !bucket.atomic.is_some_and(|whole| whole.is(nodes)) {
            continue;
        }
        if budget.admit(nodes, drains) {
            going.empty.push(bucket);
            going.drain.extend(rest);
        } else {
            closed = true;
        }
    }
    for bucket in drain.into_iter().flatten() {
        let nodes = bucket.nodes.len();
        if !bucket.atomic.is_some_and(|whole| whole.is(nodes)) {
            continue;
        }
        if !budget.admit(nodes, nodes) {
            break;
        }
        going.drain.push(bucket);
    }
    going
}

fn take<T>(going: &mut Vec<Bucket<T>>, buckets: Vec<Bucket<T>>, left: &mut usize) {
    for mut bucket in buckets {
        if *left == 0 {
            return;
        }
        bucket.nodes.truncate(*left);
        *left -= bucket.nodes.len();
        going.push(bucket);
    }
}

/// Sorts nodes into buckets, groups in the order of their first node.
pub fn buckets<T>(
    nodes: impl IntoIterator<Item = (GroupId, T)>,
    whole: impl Fn(&GroupId) -> Option<Whole>,
) -> Vec<Bucket<T>> {
    let mut places: BTreeMap<GroupId, usize> = BTreeMap::new();
    let mut buckets: Vec<Bucket<T>> = Vec::new();
    for (group, node) in nodes {
        let at = *places.entry(GroupId::clone(&group)).or_insert_with(|| {
            buckets.push(Bucket {
                atomic: whole(&group),
                group,
                nodes: Vec::new(),
            });
            buckets.len() - 1
        });
        if let Some(bucket) = buckets.get_mut(at) {
            bucket.nodes.push(node);
        }
    }
    buckets
}
