//! Doing without one candidate after the other.

use super::disruption::RemainingBudgets;
use super::eligibility::is_being_deleted;
use super::judged::Judged;
use super::planner::{Candidate, Planner, Scene, Standing, Unneeded};
use super::remedy;
use super::removal::{Blocker, BlockerReason, KeepReason, NodeVerdict, ShrinkPlan};
use super::shrink::EvictedPod;
use super::simulate::{Moved, Simulation, Stuck};
use crate::placement::{PodFacts, PodKey, Snapshot, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of the candidates.
#[derive(Default)]
pub(super) struct Tried<'a> {
    /// Their pods fit elsewhere.
    pub(super) unneeded: Vec<Unneeded<'a>>,
    /// They do not.
    pub(super) needed: Vec<Candidate<'a>>,
}

/// What the answers for all candidates follow from, beside the snapshot.
#[derive(Debug, Clone)]
struct Question {
    candidates: Vec<(Arc<str>, Arc<Judged>, bool)>,
    gone: Vec<Arc<str>>,
    evicted: Vec<EvictedPod>,
    expected: BTreeMap<Arc<str>, Vec<PodFacts>>,
    limit: usize,
}

impl Question {
    fn of(scene: Scene<'_>, candidates: &[Candidate<'_>], limit: usize) -> Self {
        let key = |candidate: &Candidate<'_>| {
            let atomic = candidate.group.options.zero_or_max_node_scaling;
            let judged = Arc::clone(&candidate.judged);
            (Arc::clone(&candidate.node.name), judged, atomic)
        };
        Self {
            candidates: candidates.iter().map(key).collect(),
            gone: gone(scene).cloned().collect(),
            evicted: scene.deletions.evicted.clone(),
            expected: scene.expected.clone(),
            limit,
        }
    }

    /// Judgements are the same only if nobody judged again: budgets may have changed otherwise.
    fn is(&self, other: &Self) -> bool {
        let mut pairs = self.candidates.iter().zip(&other.candidates);
        self.limit == other.limit
            && self.gone == other.gone
            && self.evicted == other.evicted
            && self.expected == other.expected
            && self.candidates.len() == other.candidates.len()
            && pairs
                .all(|(one, two)| one.0 == two.0 && Arc::ptr_eq(&one.1, &two.1) && one.2 == two.2)
    }
}

/// What came of a what-if; it holds as long as nothing that was asked about changes.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    question: Question,
    /// The snapshot's when it was over.
    version: Version,
    homeless: Vec<PodKey>,
    found: Vec<Result<Moved, KeepReason>>,
}

impl Trial {
    fn answers(&self, question: &Question, version: Version) -> bool {
        self.version == version && self.question.is(question)
    }
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
            self.trial = None;
            return tried;
        }
        let before = self.memory.timers.len();
        let limit = scene.options.pace.map_or(usize::MAX, |pace| {
            pace.limit(before, scene.options.parallelism.all)
        });
        let question = Question::of(scene, &candidates, limit);
        let version = snapshot.version();
        let known = self.trial.take();
        let trial = match known.filter(|trial| trial.answers(&question, version)) {
            Some(trial) => trial,
            None => self.try_anew(scene, (snapshot, budgets), (&candidates, question)),
        };
        let homeless = trial.homeless.iter();
        plan.trace.extend(
            homeless.map(|pod| format!("no room for evicted pod {pod}, which will come back")),
        );
        for (candidate, found) in candidates.into_iter().zip(&trial.found) {
            match found {
                Ok(moved) => {
                    self.marks.remove(&candidate.node.name);
                    let moved = moved.clone();
                    tried.unneeded.push(Unneeded { candidate, moved });
                }
                Err(why) => {
                    self.remember(scene, &candidate, why.clone(), plan);
                    tried.needed.push(candidate);
                }
            }
        }
        self.trial = Some(trial);
        tried
    }

    fn try_anew(
        &mut self,
        scene: Scene<'_>,
        (snapshot, budgets): (&mut Snapshot, RemainingBudgets),
        (candidates, question): (&[Candidate<'_>], Question),
    ) -> Trial {
        let hints = std::mem::take(&mut self.hints);
        let mut world = Simulation::begin(snapshot, budgets, &hints, gone(scene));
        world.expect(scene.expected);
        let homeless = world.expect_back(&scene.deletions.evicted);
        let mut counted = 0;
        let mut answers = Vec::new();
        for candidate in candidates {
            let found = if counted < question.limit {
                without(&mut world, candidate)
            } else {
                Err(KeepReason::NotUnneededOtherReason(format!(
                    "{counted} nodes are unneeded already, as many as can be removed in time"
                )))
            };
            let atomic = candidate.group.options.zero_or_max_node_scaling;
            counted += usize::from(found.is_ok() && !atomic);
            answers.push(found);
        }
        self.hints = world.end();
        Trial {
            question,
            version: snapshot.version(),
            homeless,
            found: answers,
        }
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
