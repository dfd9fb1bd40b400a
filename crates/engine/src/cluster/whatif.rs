//! Doing without one candidate after the other.

use super::disruption::RemainingBudgets;
use super::eligibility::is_being_deleted;
use super::planner::{Candidate, Planner, Scene, Standing, Unneeded};
use super::remedy;
use super::removal::{Blocker, BlockerReason, KeepReason, NodeVerdict, ShrinkPlan};
use super::simulate::{Moved, Simulation, Stuck};
use crate::placement::{PodFacts, PodKey, Snapshot};
use std::sync::Arc;

/// What became of the candidates.
#[derive(Default)]
pub(super) struct Tried<'a> {
    /// Their pods fit elsewhere.
    pub(super) unneeded: Vec<Unneeded<'a>>,
    /// They do not.
    pub(super) needed: Vec<Candidate<'a>>,
}

impl Planner {
    /// Tries to do without each candidate; what is possible counts for the next.
    pub(super) fn try_without<'a>(
        &mut self,
        scene: Scene<'a>,
        (snapshot, budgets): (&mut Snapshot, RemainingBudgets),
        candidates: Vec<Candidate<'a>>,
        plan: &mut ShrinkPlan,
    ) -> Tried<'a> {
        let mut tried = Tried::default();
        if candidates.is_empty() {
            self.hints.clear();
            return tried;
        }
        let hints = std::mem::take(&mut self.hints);
        let mut world = Simulation::begin(snapshot, budgets, &hints, gone(scene));
        for pod in world.expect_back(&scene.deletions.evicted) {
            plan.trace.push(format!(
                "no room for evicted pod {pod}, which will come back"
            ));
        }
        let before = self.memory.timers.len();
        let limit = scene.options.pace.map_or(usize::MAX, |pace| {
            pace.limit(before, scene.options.parallelism.all)
        });
        let mut counted = 0;
        for candidate in candidates {
            let found = if counted < limit {
                without(&mut world, &candidate)
            } else {
                Err(KeepReason::NotUnneededOtherReason(format!(
                    "{counted} nodes are unneeded already, as many as can be removed in time"
                )))
            };
            match found {
                Ok(moved) => {
                    counted += usize::from(!candidate.group.options.zero_or_max_node_scaling);
                    self.marks.remove(&candidate.node.name);
                    tried.unneeded.push(Unneeded { candidate, moved });
                }
                Err(why) => {
                    self.remember(scene, &candidate, why, plan);
                    tried.needed.push(candidate);
                }
            }
        }
        self.hints = world.end();
        tried
    }

    fn remember(
        &mut self,
        scene: Scene<'_>,
        candidate: &Candidate<'_>,
        why: KeepReason,
        plan: &mut ShrinkPlan,
    ) {
        let name = &candidate.node.name;
        if matches!(why, KeepReason::NoPlaceToMovePods { .. }) {
            self.mark(scene, name, &why);
        }
        // Of a node that was looked at although it is well used, that it is remains the reason.
        if candidate.standing != Standing::Dear {
            plan.nodes.insert(Arc::clone(name), NodeVerdict::Kept(why));
        }
    }
}

/// Nodes that take nobody in.
pub(super) fn gone(scene: Scene<'_>) -> impl Iterator<Item = &Arc<str>> {
    let tainted = scene.nodes.iter();
    let tainted = tainted.filter(move |node| is_being_deleted(node, scene.now));
    let gone = scene.deletions.nodes.keys();
    gone.chain(tainted.map(|node| &node.name))
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
