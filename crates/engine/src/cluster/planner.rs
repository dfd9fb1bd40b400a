//! Which nodes are not needed, look by look.
//!
//! ```text
//! nodes ─▶ sift (group, marks, utilization) ─▶ judge pods ─▶ what-if ─▶ timers ─▶ may it go now?
//! ```
//!
//! What was found out about a node is kept until the node, its pods or the budgets change.

use super::consolidate::Stake;
use super::cooldown::{Cooldowns, Happened};
use super::disruption::RemainingBudgets;
use super::group::{GroupFacts, GroupId};
use super::judged::{Judged, NodeCache};
use super::removal::{KeepReason, ShrinkPlan};
use super::replace::{self, Replacements, Search};
use super::residents::PodsOnNodes;
use super::running::ClusterNode;
use super::shrink::{Deletions, ShrinkInput, ShrinkOptions};
use super::simulate::{Hints, Moved, Simulation};
use super::timers::Timers;
use super::utilization::Utilization;
use super::whatif::{self, Trial};
use crate::placement::{BudgetFacts, PodFacts, Snapshot};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long timers hold though nobody looks (a restart).
const UNWATCHED: SignedDuration = SignedDuration::from_mins(5);
/// How often replacements are looked for at most.
const SEARCH_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// What a restart must not forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlannerMemory {
    /// Since when nodes are unneeded.
    pub timers: Timers,
    /// What makes removal wait.
    pub cooldowns: Cooldowns,
    /// Nodes being replaced by cheaper ones.
    pub replacements: Replacements,
}

/// Finds nodes to remove; kept between looks.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    pub(super) memory: PlannerMemory,
    /// Whether the memory is an earlier planner's, and nothing has been looked at since.
    restored: bool,
    pub(super) marks: BTreeMap<Arc<str>, Mark>,
    pub(super) nodes: BTreeMap<Arc<str>, NodeCache>,
    pub(super) hints: Hints,
    /// The last what-if, which need not be tried again while nothing changes.
    pub(super) trial: Option<Trial>,
    budgets: Vec<BudgetFacts>,
    pub(super) budgets_epoch: u64,
    options: ShrinkOptions,
    /// Another number whenever room may have appeared.
    pub(super) room: u64,
    departures: u64,
    /// When a replacement was last looked for.
    searched: Option<Timestamp>,
}

/// A judgement that is not made again for a while.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) why: KeepReason,
    pub(super) made: Timestamp,
    pub(super) until: Timestamp,
    pub(super) pods: u64,
    pub(super) room: u64,
}

/// What one look is about, without the snapshot.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) nodes: &'a [ClusterNode],
    pub(super) pods: &'a PodsOnNodes,
    pub(super) groups: &'a BTreeMap<&'a str, &'a GroupFacts>,
    pub(super) deletions: &'a Deletions,
    pub(super) expected: &'a BTreeMap<Arc<str>, Vec<PodFacts>>,
    pub(super) cannot_grow: &'a BTreeSet<GroupId>,
    pub(super) options: &'a ShrinkOptions,
    pub(super) now: Timestamp,
    /// Whether nothing may go whatever the reason.
    pub(super) held: bool,
}

impl<'a> Scene<'a> {
    /// A node's group.
    pub(super) fn group_of(&self, node: &ClusterNode) -> Option<&'a GroupFacts> {
        let group = node.group.as_ref()?;
        self.groups.get(&**group).copied()
    }

    /// How many nodes a group should have when all removals under way are done.
    pub(super) fn size_of(&self, group: &GroupFacts) -> usize {
        group
            .target
            .saturating_sub(self.deletions.in_group(&group.id))
    }
}

/// A node that may be unneeded.
pub(super) struct Candidate<'a> {
    pub(super) node: &'a ClusterNode,
    pub(super) group: &'a GroupFacts,
    pub(super) used: Utilization,
    pub(super) judged: Arc<Judged>,
    pub(super) standing: Standing,
}

/// Why a node is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Its pods request little.
    Underutilized,
    /// It is worth more than what its removal disturbs (consolidation only).
    Dear,
    /// Something cheaper has taken its place (consolidation only).
    Replaced,
}

/// A node that is unneeded.
pub(super) struct Unneeded<'a> {
    pub(super) candidate: Candidate<'a>,
    pub(super) moved: Moved,
}

impl Planner {
    /// A planner that remembers what an earlier one knew.
    pub fn remembering(memory: PlannerMemory) -> Self {
        Self {
            memory,
            restored: true,
            ..Self::default()
        }
    }

    /// What a restart must not forget.
    pub fn memory(&self) -> &PlannerMemory {
        &self.memory
    }

    /// Takes notice of a change of a group's size, after which removal waits.
    pub fn note(&mut self, what: Happened, group: &GroupId, now: Timestamp) {
        self.memory.cooldowns.note(what, group, now);
    }

    /// Ends all timers: the cluster is not in a state to be judged.
    pub fn forget_unneeded(&mut self) {
        self.memory.timers.clear();
    }

    /// Looks at all nodes: which are not needed, and which of them go now. The snapshot is left as
    /// it was.
    pub fn look(&mut self, input: ShrinkInput<'_>) -> ShrinkPlan {
        let groups = input
            .groups
            .iter()
            .map(|group| (&*group.id, group))
            .collect();
        let scene = Scene {
            nodes: input.nodes,
            pods: input.pods,
            groups: &groups,
            deletions: input.in_progress,
            expected: input.expected,
            cannot_grow: input.cannot_grow,
            options: input.options,
            now: input.now,
            held: input.cooldown.is_some(),
        };
        self.prepare(scene, input.budgets);
        let budgets = RemainingBudgets::new(input.budgets);
        let mut plan = ShrinkPlan::default();
        plan.trace.extend(self.memory.replacements.advance(scene));
        let sifted = self.sift(scene, &budgets, &mut plan);
        let world = (&mut *input.snapshot, budgets.clone());
        let tried = self.try_without(scene, world, sifted.candidates, &mut plan);
        self.time(scene, &tried.unneeded);
        if tried.unneeded.is_empty() {
            let mut nodes = sifted.well_used;
            nodes.extend(tried.needed);
            self.replace(
                scene,
                (input.snapshot, budgets),
                (nodes, sifted.pool),
                &mut plan,
            );
        }
        plan.cooldown = input.cooldown.or_else(|| {
            let delays = &scene.options.delays;
            self.memory.cooldowns.of_all(delays, scene.now)
        });
        self.decide(scene, tried.unneeded, &mut plan);
        plan
    }

    /// Drops what no longer holds.
    fn prepare(&mut self, scene: Scene<'_>, budgets: &[BudgetFacts]) {
        if self.budgets != budgets {
            self.budgets = budgets.to_vec();
            self.budgets_epoch += 1;
        }
        if self.options != *scene.options {
            self.options = scene.options.clone();
            self.nodes.clear();
            self.marks.clear();
            self.trial = None;
        }
        if std::mem::take(&mut self.restored) {
            self.memory.timers.expire(UNWATCHED, scene.now);
        }
        let known = |group: &str| scene.groups.contains_key(group);
        let delays = &scene.options.delays;
        self.memory.cooldowns.forget(known, delays, scene.now);
        let before = self.nodes.len();
        for node in scene.nodes {
            if !self.nodes.contains_key(&node.name) {
                self.nodes
                    .insert(Arc::clone(&node.name), NodeCache::default());
            }
        }
        let departures = scene.pods.departures();
        if self.nodes.len() > before || self.departures != departures {
            self.departures = departures;
            self.room += 1;
        }
        if self.nodes.len() > scene.nodes.len() {
            let names: BTreeSet<&Arc<str>> = scene.nodes.iter().map(|node| &node.name).collect();
            self.nodes.retain(|name, _| names.contains(name));
            self.marks.retain(|name, _| names.contains(name));
        }
    }

    fn time(&mut self, scene: Scene<'_>, unneeded: &[Unneeded<'_>]) {
        let ttl = scene.options.candidate_ttl;
        let marked = |node: &ClusterNode| {
            let since = node.candidate?;
            let end = since.saturating_add(ttl).ok()?;
            (ttl > SignedDuration::ZERO && end > scene.now && since <= scene.now).then_some(since)
        };
        let nodes = unneeded.iter().map(|unneeded| {
            let node = unneeded.candidate.node;
            (Arc::clone(&node.name), marked(node))
        });
        self.memory.timers.update(nodes, scene.now);
    }

    /// The group of a replacement could not be grown: none is tried for a while.
    pub fn replacement_failed(&mut self, group: &GroupId, until: Timestamp) {
        self.memory.replacements.give_up(group, until);
    }

    /// Looks for a cheaper node in place of some of these.
    fn replace(
        &mut self,
        scene: Scene<'_>,
        (snapshot, budgets): (&mut Snapshot, RemainingBudgets),
        (nodes, pool): (Vec<Candidate<'_>>, Stake),
        plan: &mut ShrinkPlan,
    ) {
        let Some(options) = &scene.options.consolidation else {
            return;
        };
        let again = self
            .searched
            .and_then(|last| last.saturating_add(SEARCH_EVERY).ok());
        let busy = scene.held || !scene.deletions.nodes.is_empty();
        if busy
            || again.is_some_and(|again| again > scene.now)
            || !self.memory.replacements.may_search(scene.now)
        {
            return;
        }
        self.searched = Some(scene.now);
        let nodes = nodes.into_iter().filter(|candidate| {
            replace::is_replaceable(candidate.node, candidate.group, scene.now)
                && candidate.judged.on_completion.is_empty()
        });
        let nodes: Vec<Candidate<'_>> = nodes.collect();
        let hints = Hints::new();
        let mut world = Simulation::begin(snapshot, budgets, &hints, whatif::gone(scene));
        world.expect(scene.expected);
        let search = Search {
            scene,
            options,
            pool,
        };
        let best = search.best(&mut world, nodes);
        drop(world.end());
        if let Some(found) = self.memory.replacements.begin(scene, options, best) {
            plan.trace.push(found.note.clone());
            plan.replacements.push(found);
        }
    }

    /// Since when a node is unneeded.
    pub(super) fn since(&self, node: &str, now: Timestamp) -> Timestamp {
        self.memory.timers.since(node).unwrap_or(now)
    }

    /// Why nothing is removed from one group.
    pub(super) fn cooldown_of(
        &self,
        group: &str,
        scene: Scene<'_>,
        standing: Standing,
    ) -> Option<String> {
        let delays = &scene.options.delays;
        let cooldowns = &self.memory.cooldowns;
        if standing != Standing::Replaced {
            return cooldowns.of_group(group, delays, scene.now);
        }
        // Growth for a replacement must not hold the replacement back.
        let delays = delays.without_after_add();
        let of_all = cooldowns.of_all(&delays, scene.now);
        of_all.or_else(|| cooldowns.of_group(group, &delays, scene.now))
    }
}
