//! What is said of every option, pod and group.

use super::Look;
use crate::cluster::equivalence::Class;
use crate::cluster::estimate::Load;
use crate::cluster::expander::Choice;
use crate::cluster::fits::{self, Fits};
use crate::cluster::group::{GroupFacts, GroupId};
use crate::cluster::pending::PendingPod;
use crate::cluster::plan::{
    ExpansionOption, GroupVerdict, GrowthOutcome, GrowthPlan, NoHelp, PodVerdict, Resize,
};
use crate::cluster::weigh::Weighed;
use crate::placement::{PodFacts, PodKey, Refused, Snapshot};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Upstream's words for options that lost.
const OUTVOTED: &str = "expansion options filtered out and no longer considered";
/// Upstream's words for groups that do not help all pods of an all-or-nothing request.
const NOT_ALL: &str = "not all pods would fit and scale-up is using all-or-nothing strategy";

impl Look<'_> {
    pub(super) fn note_options(
        &mut self,
        round: usize,
        of: (&[Weighed], &Choice),
        load: (&[PendingPod], &[Class]),
    ) {
        let (weighed, choice) = of;
        let id = |at: &usize| {
            let group = self.standing.groups.get(*at);
            group
                .map(|group| GroupId::clone(&group.id))
                .unwrap_or_default()
        };
        let load = Load {
            pods: load.0,
            classes: load.1,
            fitting: &[],
        };
        for (at, option) in weighed.iter().enumerate() {
            let note = choice.notes.get(at).cloned().unwrap_or_default();
            let pods = option.estimate.pods(&load).into_iter();
            let pods = pods.filter_map(|at| Some(load.pods.get(at)?.pod.key()));
            self.plan.options.push(ExpansionOption {
                group: id(&option.group),
                similar: option.similar.iter().map(id).collect(),
                round,
                nodes: option.nodes,
                pods: pods.collect(),
                kept: choice.kept.contains(&at),
                note,
            });
        }
        if let Some(best) = choice.best.and_then(|at| weighed.get(at)) {
            let group = id(&best.group);
            let (nodes, pods) = (best.nodes, best.pods);
            self.say(format!("Best option to resize: {group}"));
            self.say(format!(
                "Estimated {nodes} nodes needed in {group} for {pods} pods"
            ));
        }
    }

    /// Says of every pod that is left why.
    pub(super) fn judge_rest(
        &mut self,
        snapshot: &Snapshot,
        of: (&Fits, &[PodFacts], &BTreeSet<usize>),
        load: (&[PendingPod], &[Class]),
    ) {
        let (fits, exemplars, awaiting) = of;
        let (pending, classes) = load;
        for (at, class) in classes.iter().enumerate() {
            if class.pods.is_empty() {
                continue;
            }
            let verdict = if awaiting.contains(&at) {
                PodVerdict::AwaitsEvaluation
            } else {
                let groups = self.standing.groups.iter().enumerate();
                let pod = exemplars.get(at).cloned().unwrap_or_default();
                let help = groups.map(|(group, facts)| {
                    let why = self.why_not(snapshot, (group, facts), fits.refusal(group, at), &pod);
                    (GroupId::clone(&facts.id), why)
                });
                PodVerdict::Unschedulable(Arc::new(help.collect()))
            };
            let keys = class
                .pods
                .iter()
                .filter_map(|at| Some(pending.get(*at)?.pod.key()));
            let verdicts = keys.map(|key: PodKey| (key, verdict.clone()));
            self.plan.pods.extend(verdicts);
        }
    }

    fn why_not(
        &self,
        snapshot: &Snapshot,
        group: (usize, &GroupFacts),
        refused: Option<&Refused>,
        pod: &PodFacts,
    ) -> NoHelp {
        let (at, facts) = group;
        let skipped = self.standing.skipped.get(at).and_then(Option::as_ref);
        match (skipped, refused) {
            (Some(reason), _) => NoHelp::Skipped(reason.clone()),
            (None, Some(refused)) => fits::no_help(snapshot, facts, pod, refused),
            (None, None) => NoHelp::NoMoreNodes {
                bound: if let Some(full) = self.standing.cluster_full() {
                    full
                } else if self.standing.options.all_or_nothing {
                    NOT_ALL.to_owned()
                } else {
                    "no more new nodes may be added in one look".to_owned()
                },
            },
        }
    }

    pub(super) fn finish(mut self) -> GrowthPlan {
        let groups = self.standing.groups;
        let decided = matches!(
            self.plan.outcome,
            GrowthOutcome::Successful | GrowthOutcome::NoOptionsAvailable
        );
        let mut lost: BTreeMap<GroupId, String> = BTreeMap::new();
        for option in &self.plan.options {
            lost.insert(GroupId::clone(&option.group), option.note.clone());
        }
        for (at, group) in groups.iter().enumerate() {
            let skipped = self.standing.skipped.get(at).and_then(Option::as_ref);
            let verdict = if let Some(nodes) = self.grown.get(&at) {
                let resize = Resize {
                    group: GroupId::clone(&group.id),
                    from: group.target,
                    to: group.target.saturating_add(*nodes),
                    max: group.max,
                };
                self.plan.resizes.push(resize.clone());
                if group.options.zero_or_max_node_scaling {
                    self.plan.atomic.insert(GroupId::clone(&group.id));
                }
                GroupVerdict::Grown(resize)
            } else if let Some(reason) = skipped {
                GroupVerdict::Skipped(reason.clone())
            } else if let Some(note) = lost.get(&group.id) {
                let separator = if note.is_empty() { "" } else { ": " };
                GroupVerdict::Outvoted(format!("{OUTVOTED}{separator}{note}"))
            } else if self.helpful.contains(&at) {
                GroupVerdict::Outvoted(NOT_ALL.to_owned())
            } else if decided {
                GroupVerdict::HelpsNobody
            } else {
                GroupVerdict::NotNeeded
            };
            self.plan.groups.insert(GroupId::clone(&group.id), verdict);
        }
        if !self.plan.resizes.is_empty() {
            let resizes: Vec<String> = self.plan.resizes.iter().map(ToString::to_string).collect();
            self.say(format!("Final scale-up plan: [{}]", resizes.join(" ")));
        }
        self.plan
    }
}
