//! Which nodes are not needed, look by look.
//!
//! ```text
//! nodes ─▶ sift (group, marks, utilization) ─▶ judge pods ─▶ what-if ─▶ timers ─▶ may it go now?
//! ```
//!
//! What was found out about a node is kept until the node, its pods or the budgets change.

use super::cooldown::{Cooldowns, Happened};
use super::disruption::RemainingBudgets;
use super::eligibility::{self, is_being_deleted};
use super::group::{GroupFacts, GroupId};
use super::judged::{Frame, Judged, NodeCache};
use super::removal::{KeepReason, NodeVerdict, ShrinkPlan};
use super::residents::{PodsOnNodes, Residents};
use super::running::ClusterNode;
use super::shrink::{Deletions, ShrinkInput, ShrinkOptions};
use super::simulate::{Hints, Moved, Simulation, Stuck};
use super::timers::Timers;
use super::utilization::Utilization;
use super::{Blocker, BlockerReason, remedy};
use crate::placement::{BudgetFacts, PodFacts, PodKey, Snapshot};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long timers hold though nobody looks (a restart).
const UNWATCHED: SignedDuration = SignedDuration::from_mins(5);
/// How long a node counts as without a place for its pods although room has been given back.
const NO_PLACE: SignedDuration = SignedDuration::from_secs(30);

/// What a restart must not forget.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlannerMemory {
    /// Since when nodes are unneeded.
    pub timers: Timers,
    /// What makes removal wait.
    pub cooldowns: Cooldowns,
}

/// Finds nodes to remove; kept between looks.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    memory: PlannerMemory,
    marks: BTreeMap<Arc<str>, Mark>,
    nodes: BTreeMap<Arc<str>, NodeCache>,
    hints: Hints,
    budgets: Vec<BudgetFacts>,
    budgets_epoch: u64,
    options: ShrinkOptions,
    /// Another number whenever room may have appeared.
    room: u64,
    departures: u64,
}

/// A judgement that is not made again for a while.
#[derive(Debug, Clone)]
struct Mark {
    why: KeepReason,
    made: Timestamp,
    until: Timestamp,
    pods: u64,
    room: u64,
}

/// What one look is about, without the snapshot.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) nodes: &'a [ClusterNode],
    pub(super) pods: &'a PodsOnNodes,
    pub(super) groups: &'a BTreeMap<&'a str, &'a GroupFacts>,
    pub(super) deletions: &'a Deletions,
    pub(super) options: &'a ShrinkOptions,
    pub(super) now: Timestamp,
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
            options: input.options,
            now: input.now,
        };
        self.prepare(scene, input.budgets);
        let budgets = RemainingBudgets::new(input.budgets);
        let mut plan = ShrinkPlan::default();
        let candidates = self.sift(scene, &budgets, &mut plan);
        let unneeded = self.simulate(scene, (input.snapshot, budgets), candidates, &mut plan);
        self.time(scene, &unneeded);
        plan.cooldown = input.cooldown.or_else(|| {
            let delays = &scene.options.delays;
            self.memory.cooldowns.of_all(delays, scene.now)
        });
        self.decide(scene, unneeded, &mut plan);
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
        }
        self.memory.timers.expire(UNWATCHED, scene.now);
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

    /// The nodes that may be unneeded, in the order in which they are tried.
    fn sift<'a>(
        &mut self,
        scene: Scene<'a>,
        budgets: &RemainingBudgets,
        plan: &mut ShrinkPlan,
    ) -> Vec<Candidate<'a>> {
        let frame = Frame {
            options: scene.options,
            budgets,
            budgets_epoch: self.budgets_epoch,
            now: scene.now,
        };
        let mut candidates = Vec::new();
        for node in scene.nodes {
            match self.admit(scene, node, frame, plan) {
                Ok(candidate) => candidates.push(candidate),
                Err(why) => {
                    let name = Arc::clone(&node.name);
                    plan.nodes.insert(name, NodeVerdict::Kept(why));
                }
            }
        }
        // Empty ones first, then those that were unneeded already.
        candidates.sort_by_key(|candidate| {
            let judged = &candidate.judged;
            let known = self.memory.timers.since(&candidate.node.name).is_some();
            (
                !judged.moves.is_empty(),
                !judged.on_completion.is_empty(),
                !known,
            )
        });
        candidates
    }

    /// Whether a node may be unneeded.
    fn admit<'a>(
        &mut self,
        scene: Scene<'a>,
        node: &'a ClusterNode,
        frame: Frame<'_>,
        plan: &mut ShrinkPlan,
    ) -> Result<Candidate<'a>, KeepReason> {
        if scene.deletions.nodes.contains_key(&node.name) {
            return Err(KeepReason::CurrentlyBeingDeleted);
        }
        let group = scene.group_of(node).ok_or(KeepReason::NotAutoscaled)?;
        let pods = scene.pods.on(&node.name);
        let Some(cache) = self.nodes.get_mut(&node.name) else {
            return Err(KeepReason::NoNodeInfo);
        };
        let mut used = None;
        let admitted = eligibility::judge(node, (group, scene.options, scene.now), || {
            let found = cache.utilization(node, group, pods, frame);
            used = found.as_ref().ok().cloned();
            found
        });
        if let Some(used) = used {
            plan.utilization.insert(Arc::clone(&node.name), used);
        }
        if group.target <= group.min && admitted.is_ok() {
            return Err(KeepReason::NodeGroupMinSizeReached { min: group.min });
        }
        let used = admitted?;
        if let Some(mark) = self.mark_of(&node.name, pods, scene.now) {
            return Err(KeepReason::RecentlyUnremovable {
                why: Box::new(mark.why.clone()),
                until: mark.until,
            });
        }
        let judged = match self.nodes.get_mut(&node.name) {
            Some(cache) => cache.judged(pods, frame),
            None => return Err(KeepReason::NoNodeInfo),
        };
        if let Some(blocker) = &judged.blocker {
            return Err(KeepReason::BlockedByPod(blocker.clone()));
        }
        Ok(Candidate {
            node,
            group,
            used,
            judged,
        })
    }

    fn mark_of(&self, node: &str, pods: Option<&Residents>, now: Timestamp) -> Option<&Mark> {
        let version = pods.map_or(0, Residents::version);
        self.marks.get(node).filter(|mark| {
            let fresh = mark
                .made
                .saturating_add(NO_PLACE)
                .is_ok_and(|end| end > now);
            mark.until > now && mark.pods == version && (mark.room == self.room || fresh)
        })
    }

    fn mark(&mut self, scene: Scene<'_>, node: &Arc<str>, why: &KeepReason) {
        let until = scene.now.saturating_add(scene.options.recheck);
        let mark = Mark {
            why: why.clone(),
            made: scene.now,
            until: until.unwrap_or(Timestamp::MAX),
            pods: scene.pods.on(node).map_or(0, Residents::version),
            room: self.room,
        };
        self.marks.insert(Arc::clone(node), mark);
    }

    /// Tries to do without each candidate; what is possible counts for the next.
    fn simulate<'a>(
        &mut self,
        scene: Scene<'a>,
        (snapshot, budgets): (&mut Snapshot, RemainingBudgets),
        candidates: Vec<Candidate<'a>>,
        plan: &mut ShrinkPlan,
    ) -> Vec<Unneeded<'a>> {
        if candidates.is_empty() {
            self.hints.clear();
            return Vec::new();
        }
        let hints = std::mem::take(&mut self.hints);
        let tainted = scene
            .nodes
            .iter()
            .filter(|node| is_being_deleted(node, scene.now));
        let gone = scene.deletions.nodes.keys();
        let gone = gone.chain(tainted.map(|node| &node.name));
        let mut world = Simulation::begin(snapshot, budgets, &hints, gone);
        for pod in world.expect_back(&scene.deletions.evicted) {
            plan.trace.push(format!(
                "no room for evicted pod {pod}, which will come back"
            ));
        }
        let before = self.memory.timers.len();
        let limit = scene.options.pace.map_or(usize::MAX, |pace| {
            pace.limit(before, scene.options.parallelism.all)
        });
        let (mut unneeded, mut counted) = (Vec::new(), 0);
        for candidate in candidates {
            let name = Arc::clone(&candidate.node.name);
            let tried = if counted >= limit {
                Err(KeepReason::NotUnneededOtherReason(format!(
                    "{counted} nodes are unneeded already, as many as can be removed in time"
                )))
            } else {
                without(&mut world, &candidate)
            };
            match tried {
                Ok(moved) => {
                    counted += usize::from(!candidate.group.options.zero_or_max_node_scaling);
                    self.marks.remove(&name);
                    unneeded.push(Unneeded { candidate, moved });
                }
                Err(why) => {
                    if matches!(why, KeepReason::NoPlaceToMovePods { .. }) {
                        self.mark(scene, &name, &why);
                    }
                    plan.nodes.insert(name, NodeVerdict::Kept(why));
                }
            }
        }
        self.hints = world.end();
        unneeded
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

    /// Since when a node is unneeded.
    pub(super) fn since(&self, node: &str, now: Timestamp) -> Timestamp {
        self.memory.timers.since(node).unwrap_or(now)
    }

    /// Why nothing is removed from one group.
    pub(super) fn cooldown_of(&self, group: &str, scene: Scene<'_>) -> Option<String> {
        let delays = &scene.options.delays;
        self.memory.cooldowns.of_group(group, delays, scene.now)
    }
}

/// Tries to do without one node.
fn without(world: &mut Simulation<'_>, candidate: &Candidate<'_>) -> Result<Moved, KeepReason> {
    let judged = &candidate.judged;
    // Departs: also of pods that are safe to evict, since no eviction passes an exhausted budget.
    if let Err(exhausted) = world.budgets.evictable(&judged.moves) {
        let pod = judged.moves.get(exhausted.pod).map(PodFacts::key);
        let pod = pod.unwrap_or_else(|| PodKey::new("", ""));
        return Err(KeepReason::BlockedByPod(Blocker {
            remedy: remedy::of_budget(&pod, &exhausted.budget),
            reason: BlockerReason::NotEnoughPdb,
            pod,
        }));
    }
    let stuck = match world.remove(&candidate.node.name, &judged.moves) {
        Ok(moved) => return Ok(moved),
        Err(stuck) => stuck,
    };
    Err(match stuck {
        Stuck::Unknown => KeepReason::NoNodeInfo,
        Stuck::NoPlace(pod, failure) => KeepReason::NoPlaceToMovePods {
            pod,
            why: failure.reasons(),
        },
    })
}
