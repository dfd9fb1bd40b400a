//! Which of the unneeded nodes go now.

use super::deletion_budget::{Bucket, Going, Whole, buckets, crop};
use super::disruption::Evictable;
use super::drain;
use super::eligibility::{is_being_deleted, is_ready};
use super::floors::FloorsLeft;
use super::group::{GroupFacts, GroupId};
use super::planner::{Planner, Scene, Standing, Unneeded};
use super::removable::removable_at;
use super::removal::{KeepReason, NodeVerdict, Removal, RemovalCause, ShrinkPlan};
use super::running::ClusterNode;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Planner {
    /// Sorts what may go now from what has to wait.
    pub(super) fn decide(
        &mut self,
        scene: Scene<'_>,
        unneeded: Vec<Unneeded<'_>>,
        plan: &mut ShrinkPlan,
    ) {
        let unneeded = self.in_order(scene, unneeded);
        let standing: Vec<&ClusterNode> = scene
            .nodes
            .iter()
            .filter(|node| {
                let going = scene.deletions.nodes.contains_key(&node.name);
                !going && !is_being_deleted(node, scene.now)
            })
            .collect();
        let mut floors = FloorsLeft::new(&scene.options.floors, &standing);
        let mut sizes: BTreeMap<GroupId, usize> = BTreeMap::new();
        let mut going = Vec::new();
        for node in unneeded {
            let group = node.candidate.group;
            let size = sizes.entry(Arc::clone(&group.id));
            let size = size.or_insert_with(|| scene.size_of(group));
            match self.may_go(scene, &node, (*size, &mut floors)) {
                Ok(()) => {
                    *size = size.saturating_sub(1);
                    going.push(node);
                }
                Err(why) => self.keep(scene, &node, why, plan),
            }
        }
        let going = self.whole_groups(scene, going, plan);
        if let Some(cooldown) = plan.cooldown.clone() {
            // What else holds a replaced node back has been asked of each.
            let (replaced, waiting): (Vec<_>, Vec<_>) = going
                .into_iter()
                .partition(|node| node.candidate.standing == Standing::Replaced && !scene.held);
            for node in waiting {
                let why = KeepReason::NotUnneededOtherReason(cooldown.clone());
                self.keep(scene, &node, why, plan);
            }
            return self.within_budget(scene, replaced, plan);
        }
        self.within_budget(scene, going, plan);
    }

    /// Those without pods first, then those whose evictions budgets allow at once; of these, those
    /// unneeded for longest.
    fn in_order<'a>(&self, scene: Scene<'_>, mut unneeded: Vec<Unneeded<'a>>) -> Vec<Unneeded<'a>> {
        unneeded.sort_by_cached_key(|node| {
            let name = &node.candidate.node.name;
            let drains = !node.candidate.judged.moves.is_empty();
            let risky = node.moved.evictable == Evictable::InWaves;
            (drains, risky, self.since(name, scene.now), Arc::clone(name))
        });
        match &scene.options.balance {
            Some(alike) => super::even::from_largest(scene, alike, unneeded),
            None => unneeded,
        }
    }

    fn may_go(
        &self,
        scene: Scene<'_>,
        node: &Unneeded<'_>,
        (size, floors): (usize, &mut FloorsLeft),
    ) -> Result<(), KeepReason> {
        let candidate = &node.candidate;
        let since = self.since(&candidate.node.name, scene.now);
        let group = candidate.group;
        let standing = candidate.standing;
        let since = match standing {
            // The time it had to be worth it has passed already.
            Standing::Replaced => Timestamp::MIN,
            Standing::Underutilized | Standing::Dear => since,
        };
        if let Some(cooldown) = self.cooldown_of(&group.id, scene, standing) {
            return Err(KeepReason::NotUnneededOtherReason(cooldown));
        }
        if let Some(pod) = candidate.judged.on_completion.first() {
            return Err(KeepReason::BlockedByOnCompletionPod(drain::awaited(pod)));
        }
        removable_at(
            candidate.node,
            Some(group),
            (since, scene.now),
            size,
            floors,
        )
    }

    /// Leaves out nodes of groups that would go only in part although they go as a whole.
    fn whole_groups<'a>(
        &self,
        scene: Scene<'_>,
        going: Vec<Unneeded<'a>>,
        plan: &mut ShrinkPlan,
    ) -> Vec<Unneeded<'a>> {
        let mut counts: BTreeMap<&str, (&GroupFacts, usize)> = BTreeMap::new();
        for node in &going {
            let group = node.candidate.group;
            counts.entry(&group.id).or_insert((group, 0)).1 += 1;
        }
        let in_part = counts.into_values().filter(|(group, count)| {
            let whole = whole_of(scene, group);
            whole.is_some_and(|whole| !whole.is(*count))
        });
        let in_part: BTreeSet<&str> = in_part.map(|(group, _)| &*group.id).collect();
        let (part, whole): (Vec<_>, Vec<_>) = going
            .into_iter()
            .partition(|node| in_part.contains(&*node.candidate.group.id));
        for node in part {
            self.keep(scene, &node, KeepReason::AtomicScaleDownFailed, plan);
        }
        whole
    }

    fn within_budget(&self, scene: Scene<'_>, going: Vec<Unneeded<'_>>, plan: &mut ShrinkPlan) {
        let names = going
            .iter()
            .map(|node| Arc::clone(&node.candidate.node.name));
        let mut left: BTreeSet<Arc<str>> = names.collect();
        let whole = |id: &GroupId| {
            let group = scene.groups.get(&**id)?;
            whole_of(scene, group)
        };
        let (empty, drain): (Vec<_>, Vec<_>) = going
            .into_iter()
            .map(|node| (Arc::clone(&node.candidate.group.id), node))
            .partition(|(_, node)| node.candidate.judged.moves.is_empty());
        let wanted = Going {
            empty: buckets(empty, whole),
            drain: buckets(drain, whole),
        };
        let draining = scene.deletions.draining();
        let running = (
            scene.deletions.nodes.len().saturating_sub(draining),
            draining,
        );
        let limits = scene.options.parallelism;
        let now = crop(wanted, running, limits);
        plan.empty = self.removals(scene, now.empty, plan);
        plan.drain = self.removals(scene, now.drain, plan);
        for removal in plan.empty.iter().chain(&plan.drain) {
            left.remove(&removal.node);
        }
        for name in left {
            let why = KeepReason::NotUnneededOtherReason(format!(
                "{} removals run already or begin now (--max-scale-down-parallelism={}, \
                 --max-drain-parallelism={})",
                scene.deletions.nodes.len() + plan.empty.len() + plan.drain.len(),
                limits.all,
                limits.drains
            ));
            let since = self.since(&name, scene.now);
            let waiting = Some(why);
            plan.nodes
                .insert(name, NodeVerdict::Unneeded { since, waiting });
        }
    }

    fn removals(
        &self,
        scene: Scene<'_>,
        buckets: Vec<Bucket<Unneeded<'_>>>,
        plan: &mut ShrinkPlan,
    ) -> Vec<Removal> {
        let mut removals = Vec::new();
        for bucket in buckets {
            for node in bucket.nodes {
                let removal = self.removal(scene, node, bucket.atomic.is_some());
                let lasted = scene.now.duration_since(removal.since);
                let lasted = format!("{lasted:#}").replace(' ', "");
                plan.trace
                    .push(format!("{} was unneeded for {lasted}", removal.node));
                let (since, waiting) = (removal.since, None);
                let name = Arc::clone(&removal.node);
                plan.nodes
                    .insert(name, NodeVerdict::Unneeded { since, waiting });
                removals.push(removal);
            }
        }
        removals
    }

    fn removal(&self, scene: Scene<'_>, node: Unneeded<'_>, atomic: bool) -> Removal {
        let candidate = node.candidate;
        let name = &candidate.node.name;
        let cause = if candidate.standing == Standing::Replaced {
            RemovalCause::Replaced
        } else if !is_ready(candidate.node) {
            RemovalCause::Unready
        } else if candidate.judged.moves.is_empty() {
            RemovalCause::Empty
        } else {
            RemovalCause::Underutilized
        };
        Removal {
            node: Arc::clone(name),
            group: Arc::clone(&candidate.group.id),
            moves: node.moved.moves,
            daemon_pods: candidate.judged.daemons.clone(),
            utilization: candidate.used.share,
            since: self.since(name, scene.now),
            cause,
            atomic,
        }
    }

    /// Records why an unneeded node is still there.
    fn keep(&self, scene: Scene<'_>, node: &Unneeded<'_>, why: KeepReason, plan: &mut ShrinkPlan) {
        let name = Arc::clone(&node.candidate.node.name);
        let since = self.since(&name, scene.now);
        let waiting = Some(why);
        plan.nodes
            .insert(name, NodeVerdict::Unneeded { since, waiting });
    }
}

/// What is all of a group that goes as a whole.
fn whole_of(scene: Scene<'_>, group: &GroupFacts) -> Option<Whole> {
    if !group.options.zero_or_max_node_scaling {
        return None;
    }
    let mine = scene
        .nodes
        .iter()
        .filter(|node| node.group.as_ref() == Some(&group.id));
    let standing = mine.filter(|node| !scene.deletions.nodes.contains_key(&node.name));
    Some(Whole {
        target: scene.size_of(group),
        registered: standing.count(),
    })
}
