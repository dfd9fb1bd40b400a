//! How many nodes of which groups the pods that wait need.

mod execute;
#[cfg(test)]
mod tests;
mod verdicts;

use super::equivalence::{Class, classes};
use super::estimate::Load;
use super::expander;
use super::filter;
use super::fits::Fits;
use super::group::{GroupFacts, GroupId};
use super::growth::{GrowthInput, GrowthOptions};
use super::pending::PendingPod;
use super::plan::{GrowthOutcome, GrowthPlan, NoHelp, PodVerdict, SkipReason};
use super::provision::{BookedPod, book};
use super::quota::Remaining;
use super::running::ClusterNode;
use super::upcoming;
use super::weigh::{Standing, Weighed};
use crate::placement::{PodFacts, Snapshot};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Decides how many nodes of which groups are asked for. The snapshot is as before afterwards.
///
/// ```text
/// pending ─▶ filter ─▶ fits existing? ─▶ classes ─▶ per group: fits? how many nodes? ─▶ expander
///                                          ▲                                              │
///                                          └── pods left ◀── limits ◀── balance ◀─────────┘
/// ```
pub fn grow(input: GrowthInput<'_>) -> GrowthPlan {
    grow_beside(input, &[])
}

/// The same where room is booked for pods that have not come: they get theirs before any pod that
/// waits, on nodes that are there or coming. Those that find it are among the plan's pods.
pub fn grow_beside(input: GrowthInput<'_>, booked: &[BookedPod]) -> GrowthPlan {
    let GrowthInput {
        snapshot,
        groups,
        pending,
        existing,
        upcoming,
        skipped,
        options,
        now,
        tie,
    } = input;
    let given = Given {
        groups,
        pending,
        booked,
        existing,
        upcoming,
        skipped,
        options,
        now,
        tie,
    };
    snapshot.fork();
    let mut look = Look::new(snapshot, &given);
    let waiting = look.filter(snapshot, &given);
    if look.begins(&waiting, &given) {
        look.decide(snapshot, &waiting, &given);
    }
    snapshot.revert();
    look.finish()
}

/// How many of the wanted nodes of each group the limits on the whole cluster and the quotas allow,
/// one group after the other. Pods are not looked at, nor what else holds a group back; of a group
/// without a template it is not known which quotas it counts for.
pub fn allowed(input: &GrowthInput<'_>, wanted: &[(GroupId, usize)]) -> Vec<usize> {
    let given = Given::without_pods(input);
    let mut look = Look::new(input.snapshot, &given);
    look.reserve_upcoming(&given);
    let each = wanted.iter().map(|(id, nodes)| {
        let standing = &mut look.standing;
        let room = standing.room_in_cluster().unwrap_or(*nodes);
        let group = standing.groups.iter().find(|group| group.id == *id);
        let template = group.and_then(|group| group.template.as_ref());
        let mut nodes = room.min(*nodes);
        if let Some(template) = template {
            nodes = standing.remaining.allowed(template, nodes);
            standing.remaining.reserve(template, nodes);
        }
        standing.nodes = standing.nodes.saturating_add(nodes);
        nodes
    });
    each.collect()
}

/// The groups that could not be given a single node now, whatever it is for: at their maximum,
/// skipped, or held by a limit on the whole cluster. Pods are not looked at.
pub fn cannot_grow(input: &GrowthInput<'_>) -> BTreeSet<GroupId> {
    let given = Given::without_pods(input);
    let mut look = Look::new(input.snapshot, &given);
    look.reserve_upcoming(&given);
    look.standing.skip();
    let full = look.standing.cluster_full().is_some();
    let groups = input.groups.iter().zip(&look.standing.skipped);
    groups
        .filter(|(_, skipped)| full || skipped.is_some())
        .map(|(group, _)| GroupId::clone(&group.id))
        .collect()
}

/// The input without the snapshot.
#[derive(Debug, Clone, Copy)]
struct Given<'a> {
    groups: &'a [GroupFacts],
    pending: &'a [PendingPod],
    booked: &'a [BookedPod],
    existing: &'a [ClusterNode],
    upcoming: &'a BTreeMap<GroupId, usize>,
    skipped: &'a BTreeMap<GroupId, SkipReason>,
    options: &'a GrowthOptions,
    now: Timestamp,
    tie: u64,
}

impl<'a> Given<'a> {
    fn without_pods(input: &GrowthInput<'a>) -> Self {
        Self {
            groups: input.groups,
            pending: &[],
            booked: &[],
            existing: input.existing,
            upcoming: input.upcoming,
            skipped: input.skipped,
            options: input.options,
            now: input.now,
            tie: input.tie,
        }
    }
}

/// A look while it is taken.
struct Look<'a> {
    standing: Standing<'a>,
    plan: GrowthPlan,
    /// Nodes asked for by group.
    grown: BTreeMap<usize, usize>,
    helpful: BTreeSet<usize>,
}

impl<'a> Look<'a> {
    fn new(snapshot: &Snapshot, input: &Given<'a>) -> Self {
        let groups = input.groups;
        let absent = upcoming::absent(input.existing, input.upcoming);
        let each = absent.values().copied();
        let nodes = each.fold(input.existing.len(), usize::saturating_add);
        let skipped = groups
            .iter()
            .map(|group| input.skipped.get(&group.id).cloned());
        Self {
            standing: Standing {
                groups,
                options: input.options,
                targets: groups.iter().map(|group| group.target).collect(),
                skipped: skipped.collect(),
                remaining: Remaining::of(&input.options.quotas, input.existing, snapshot),
                nodes,
            },
            plan: GrowthPlan {
                outcome: GrowthOutcome::NotNeeded,
                resizes: Vec::new(),
                atomic: BTreeSet::new(),
                options: Vec::new(),
                groups: BTreeMap::new(),
                pods: BTreeMap::new(),
                trace: Vec::new(),
            },
            grown: BTreeMap::new(),
            helpful: BTreeSet::new(),
        }
    }

    /// Puts aside pods that ask for nothing or find room. Returns the others' places.
    fn filter(&mut self, snapshot: &mut Snapshot, input: &Given<'a>) -> Vec<usize> {
        let options = input.options;
        let mut asking = Vec::new();
        for (at, pod) in input.pending.iter().enumerate() {
            let below = options.expendable_below;
            match filter::asks_for_nothing(pod, below, options.new_pod_delay, input.now) {
                Some(verdict) => drop(self.plan.pods.insert(pod.pod.key(), verdict)),
                None => asking.push(at),
            }
        }
        let put = upcoming::put_upcoming(
            snapshot,
            input.groups,
            input.existing,
            input.upcoming,
            asking.len().saturating_add(input.booked.len()),
        );
        if put > 0 {
            self.say(format!("{put} nodes on their way count as room"));
        }
        self.reserve_upcoming(input);
        self.keep_booked(snapshot, input.booked);
        let pods: Vec<&PendingPod> = asking
            .iter()
            .filter_map(|at| input.pending.get(*at))
            .collect();
        let (rest, placed) = filter::place_on_existing(snapshot, &pods, input.tie);
        if !placed.is_empty() {
            self.say(format!(
                "{} pods fit nodes that are there or on their way",
                placed.len()
            ));
        }
        let placed = placed.into_iter();
        self.plan
            .pods
            .extend(placed.map(|(key, node)| (key, PodVerdict::Fits(node))));
        rest.into_iter()
            .filter_map(|at| asking.get(at).copied())
            .collect()
    }

    /// Room that is booked is nobody else's.
    fn keep_booked(&mut self, snapshot: &mut Snapshot, booked: &[BookedPod]) {
        if booked.is_empty() {
            return;
        }
        let nodes = book(snapshot, booked);
        let (kept, all) = (nodes.len(), booked.len());
        self.say(format!("room is kept for {kept} of {all} booked pods"));
        let kept = nodes.into_iter();
        self.plan
            .pods
            .extend(kept.map(|(key, node)| (key, PodVerdict::Fits(node))));
    }

    /// Nodes on their way use up quotas like others.
    fn reserve_upcoming(&mut self, input: &Given<'a>) {
        let absent = upcoming::absent(input.existing, input.upcoming);
        for group in input.groups {
            let absent = absent.get(&group.id).copied().unwrap_or(0);
            if let Some(template) = group.template.as_ref().filter(|_| absent > 0) {
                self.standing.remaining.reserve(template, absent);
            }
        }
    }

    /// Whether groups are looked at at all.
    fn begins(&mut self, waiting: &[usize], input: &Given<'a>) -> bool {
        if waiting.is_empty() {
            let mut verdicts = self.plan.pods.values();
            let young = verdicts.any(|verdict| matches!(verdict, PodVerdict::TooYoung { .. }));
            if young {
                self.plan.outcome = GrowthOutcome::InCooldown;
            }
            self.say("No unschedulable pods".to_owned());
            return false;
        }
        if input.existing.is_empty() && !input.options.from_zero {
            self.plan.outcome = GrowthOutcome::NotTried;
            self.say("the cluster has no nodes, and --scale-up-from-zero is off".to_owned());
            return false;
        }
        if let Some(bound) = self.standing.cluster_full() {
            self.plan.outcome = GrowthOutcome::LimitedByMaxNodesTotal;
            self.say(bound.clone());
            let help = |group: &GroupFacts| {
                let bound = bound.clone();
                (GroupId::clone(&group.id), NoHelp::NoMoreNodes { bound })
            };
            let groups: Arc<BTreeMap<_, _>> = Arc::new(input.groups.iter().map(help).collect());
            for pod in waiting.iter().filter_map(|at| input.pending.get(*at)) {
                let verdict = PodVerdict::Unschedulable(Arc::clone(&groups));
                self.plan.pods.insert(pod.pod.key(), verdict);
            }
            return false;
        }
        true
    }

    fn decide(&mut self, snapshot: &mut Snapshot, waiting: &[usize], input: &Given<'a>) {
        let pending = input.pending;
        let mut classes = classes(snapshot, pending, waiting);
        let load = Load {
            pods: pending,
            classes: &classes,
            fitting: &[],
        };
        let exemplars: Vec<PodFacts> = (0..classes.len())
            .map(|class| load.exemplar(class).cloned().unwrap_or_default())
            .collect();
        let fits = Fits::of(snapshot, input.groups, &load);
        let context = expander::Context {
            tie: input.tie,
            cluster_size: input.existing.len(),
        };
        let mut awaiting: BTreeSet<usize> = BTreeSet::new();
        for round in 0..input.options.choices(input.groups.len()) {
            if self.standing.room_in_cluster() == Some(0) {
                awaiting.clear();
                break;
            }
            self.standing.skip();
            let mut weighed = self.standing.weigh(snapshot, &fits, (pending, &classes));
            self.helpful
                .extend(weighed.iter().map(|option| option.group));
            if input.options.all_or_nothing {
                let all: usize = classes.iter().map(|class| class.pods.len()).sum();
                let room = self.standing.room_in_cluster();
                let whole = |nodes: usize| room.is_none_or(|room| nodes <= room);
                // What a quota takes from an option is looked at again only in a further round.
                let one_round = !input.options.chooses_again();
                weighed.retain(|option| {
                    let is_whole = option.pods == all && whole(option.nodes);
                    is_whole && (!one_round || self.quotas_allow(option))
                });
            }
            let choice = {
                let candidates = self.standing.candidates(&weighed);
                expander::choose(&input.options.expanders, &candidates, context)
            };
            self.note_options(round, (&weighed, &choice), (pending, &classes));
            let Some(best) = choice.best.and_then(|at| weighed.get(at)) else {
                awaiting = self.waiting_for_next_look(&fits, &classes);
                break;
            };
            let help = self.execute(snapshot, best, (pending, &mut classes));
            awaiting = remaining_of(&weighed, &classes);
            if !help || classes.iter().all(|class| class.pods.is_empty()) {
                break;
            }
        }
        if self.plan.resizes.is_empty() && self.grown.is_empty() {
            self.plan.outcome = GrowthOutcome::NoOptionsAvailable;
        } else {
            self.plan.outcome = GrowthOutcome::Successful;
        }
        self.judge_rest(
            snapshot,
            (&fits, &exemplars, &awaiting),
            (pending, &classes),
        );
    }

    /// Classes that fit groups which got as many nodes as one look may give.
    fn waiting_for_next_look(&self, fits: &Fits, classes: &[Class]) -> BTreeSet<usize> {
        let groups = (0..self.standing.groups.len())
            .filter(|group| self.standing.waits_for_next_look(*group));
        let groups: Vec<usize> = groups.collect();
        let left = classes.iter().enumerate();
        left.filter(|(_, class)| !class.pods.is_empty())
            .map(|(class, _)| class)
            .filter(|class| groups.iter().any(|group| fits.takes(*group, *class)))
            .collect()
    }

    fn say(&mut self, sentence: String) {
        self.plan.trace.push(sentence);
    }
}

/// Classes with pods left that some option would have helped.
fn remaining_of(weighed: &[Weighed], classes: &[Class]) -> BTreeSet<usize> {
    let placed = weighed.iter().flat_map(|option| &option.estimate.placed);
    let left = |class: &usize| classes.get(*class).is_some_and(|c| !c.pods.is_empty());
    placed.map(|(class, _)| *class).filter(left).collect()
}
