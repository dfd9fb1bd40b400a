//! Which nodes are worth a what-if.

use super::consolidate::Stake;
use super::disruption::RemainingBudgets;
use super::eligibility;
use super::group::GroupFacts;
use super::judged::Frame;
use super::planner::{Candidate, Mark, Planner, Scene, Standing};
use super::removal::{KeepReason, NodeVerdict, ShrinkPlan};
use super::replace;
use super::residents::Residents;
use super::running::ClusterNode;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// How long a node counts as without a place for its pods although room has been given back.
const NO_PLACE: SignedDuration = SignedDuration::from_secs(30);

/// Nodes by whether they are candidates.
#[derive(Default)]
pub(super) struct Sifted<'a> {
    /// Candidates, in the order in which they are tried.
    pub(super) candidates: Vec<Candidate<'a>>,
    /// Nodes that are needed and could be replaced (consolidation only).
    pub(super) well_used: Vec<Candidate<'a>>,
    /// What all of them are worth (consolidation only).
    pub(super) pool: Stake,
}

/// Whether a node that stays for this reason could still be replaced: it is well used, or its pods
/// were found to fit nowhere else a while ago.
fn may_be_replaced(why: &KeepReason) -> bool {
    let why = if let KeepReason::RecentlyUnremovable { why, .. } = why {
        &**why
    } else {
        why
    };
    matches!(
        why,
        KeepReason::NotUnderutilized { .. } | KeepReason::NoPlaceToMovePods { .. }
    )
}

impl Planner {
    /// The nodes that may be unneeded, in the order in which they are tried, and with consolidation
    /// those that are well used.
    pub(super) fn sift<'a>(
        &mut self,
        scene: Scene<'a>,
        budgets: &RemainingBudgets,
        plan: &mut ShrinkPlan,
    ) -> Sifted<'a> {
        let frame = Frame {
            options: scene.options,
            budgets,
            budgets_epoch: self.budgets_epoch,
            now: scene.now,
        };
        let mut sifted = Sifted::default();
        for node in scene.nodes {
            match self.admit(scene, node, frame, plan) {
                Ok(candidate) => sifted.candidates.push(candidate),
                Err(why) => {
                    if may_be_replaced(&why) {
                        sifted.well_used.extend(self.well_used(scene, node, frame));
                    }
                    let name = Arc::clone(&node.name);
                    plan.nodes.insert(name, NodeVerdict::Kept(why));
                }
            }
        }
        self.add_dear(scene, &mut sifted);
        // Empty ones first, then those that were unneeded already.
        sifted.candidates.sort_by_key(|candidate| {
            let judged = &candidate.judged;
            let known = self.memory.timers.since(&candidate.node.name).is_some();
            (
                candidate.standing == Standing::Dear,
                !judged.moves.is_empty(),
                !judged.on_completion.is_empty(),
                !known,
            )
        });
        sifted
    }

    /// A node that consolidation looks at although it is needed.
    fn well_used<'a>(
        &mut self,
        scene: Scene<'a>,
        node: &'a ClusterNode,
        frame: Frame<'_>,
    ) -> Option<Candidate<'a>> {
        scene.options.consolidation.as_ref()?;
        let group = scene.group_of(node)?;
        if !replace::is_replaceable(node, group, scene.now) {
            return None;
        }
        let pods = scene.pods.on(&node.name);
        let cache = self.nodes.get_mut(&node.name)?;
        let judged = cache.judged(pods, frame);
        let used = cache.utilization(node, group, pods, frame).ok()?;
        (judged.blocker.is_none() && judged.on_completion.is_empty()).then_some(Candidate {
            node,
            group,
            used,
            judged,
            standing: Standing::Dear,
        })
    }

    /// Makes candidates of well used nodes that cost more than their removal disturbs.
    fn add_dear<'a>(&self, scene: Scene<'a>, sifted: &mut Sifted<'a>) {
        let Some(options) = &scene.options.consolidation else {
            return;
        };
        let all = sifted.candidates.iter().chain(&sifted.well_used);
        let mut pool = Stake::default();
        all.for_each(|candidate| pool.add(replace::stake(candidate)));
        sifted.pool = pool;
        let well_used = std::mem::take(&mut sifted.well_used);
        for candidate in well_used {
            let pods = scene.pods.on(&candidate.node.name);
            let marked = self
                .mark_of(&candidate.node.name, pods, scene.now)
                .is_some();
            let spare = candidate.group.target > candidate.group.min;
            let worth = options.policy.accepts(replace::stake(&candidate), pool);
            if spare && worth && !marked {
                sifted.candidates.push(candidate);
            } else {
                sifted.well_used.push(candidate);
            }
        }
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
        if let Some(pod) = scene.expected.get(&node.name).and_then(|pods| pods.first()) {
            let pod = pod.key();
            return Err(KeepReason::NotUnneededOtherReason(format!(
                "has room for pod {pod}, which has no node yet"
            )));
        }
        let pods = scene.pods.on(&node.name);
        let replaced = self.memory.replacements.role_of(node, scene)?;
        let Some(cache) = self.nodes.get_mut(&node.name) else {
            return Err(KeepReason::NoNodeInfo);
        };
        let mut used = None;
        let admitted = eligibility::judge(node, (group, scene.options, scene.now), || {
            let found = cache.utilization(node, group, pods, frame);
            used = found.as_ref().ok().cloned();
            found
        });
        if let Some(used) = used.clone() {
            plan.utilization.insert(Arc::clone(&node.name), used);
        }
        let used = match admitted {
            Err(KeepReason::NotUnderutilized { .. }) if replaced => used.unwrap_or_default(),
            Ok(used) if replaced => used,
            found => {
                let used = found?;
                self.is_settled(node, group, (pods, scene.now))?;
                used
            }
        };
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
            standing: if replaced {
                Standing::Replaced
            } else {
                Standing::Underutilized
            },
        })
    }

    /// Whether what is known already keeps a node.
    fn is_settled(
        &self,
        node: &ClusterNode,
        group: &GroupFacts,
        (pods, now): (Option<&Residents>, Timestamp),
    ) -> Result<(), KeepReason> {
        if group.target <= group.min {
            return Err(KeepReason::NodeGroupMinSizeReached { min: group.min });
        }
        match self.mark_of(&node.name, pods, now) {
            None => Ok(()),
            Some(mark) => Err(KeepReason::RecentlyUnremovable {
                why: Box::new(mark.why.clone()),
                until: mark.until,
            }),
        }
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

    pub(super) fn mark(&mut self, scene: Scene<'_>, node: &Arc<str>, why: &KeepReason) {
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
}
