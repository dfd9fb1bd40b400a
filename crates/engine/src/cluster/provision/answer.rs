//! Whether there is room for requests, and which nodes would make it.

use super::request::{Partial, ProvisioningAsk, ProvisioningClass};
use crate::cluster::growth::{GrowthInput, GrowthOptions};
use crate::cluster::plan::{GrowthPlan, PodVerdict};
use crate::cluster::upcoming::put_upcoming;
use crate::cluster::{GroupId, grow};
use crate::placement::{PodFacts, PodKey, RoomSearch, Snapshot};
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most node groups whose reasons are told.
const GROUPS: usize = 5;

/// What is decided about requests from.
pub struct ProvisioningInput<'a> {
    /// The cluster; of the pods that wait only the number matters.
    pub growth: GrowthInput<'a>,
    /// Pods that have found room already, beside those that run: real ones and booked ones.
    pub placed: &'a [(Arc<str>, PodFacts)],
    /// The requests, in the order in which they are looked at.
    pub asks: &'a [ProvisioningAsk],
    /// Whether groups may be asked for nodes now.
    pub may_grow: bool,
    /// Whether there is time for one more after the first.
    pub go_on: &'a mut dyn FnMut() -> bool,
}

impl std::fmt::Debug for ProvisioningInput<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvisioningInput")
            .field("asks", &self.asks)
            .field("may_grow", &self.may_grow)
            .finish_non_exhaustive()
    }
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq)]
pub enum ProvisioningAnswer {
    /// All pods have room, on these nodes.
    Found(BTreeMap<PodKey, Arc<str>>),
    /// Some sets have room.
    Partly {
        /// Which, by their places.
        sets: Vec<usize>,
        /// On which nodes, where room is kept.
        nodes: BTreeMap<PodKey, Arc<str>>,
    },
    /// All pods will have room when these nodes have come.
    Growing(Box<GrowthPlan>),
    /// There is no room.
    Missing {
        /// Why, one sentence without a full stop.
        why: String,
    },
    /// Groups cannot be asked for nodes now.
    Later,
}

/// Answers requests in turn: what one is given, the next one does not get. One that needs nodes is
/// the last that is answered, since groups have other sizes then. The snapshot is as before
/// afterwards.
pub fn provision(input: ProvisioningInput<'_>) -> Vec<ProvisioningAnswer> {
    let ProvisioningInput {
        mut growth,
        placed,
        asks,
        may_grow,
        go_on,
    } = input;
    growth.snapshot.fork();
    let counts = asks.iter().map(ProvisioningAsk::count);
    let pods = counts.fold(growth.pending.len(), usize::saturating_add);
    let (groups, existing, upcoming) = (growth.groups, growth.existing, growth.upcoming);
    let pods = pods.saturating_add(placed.len());
    put_upcoming(growth.snapshot, groups, existing, upcoming, pods);
    for (node, pod) in placed {
        growth.snapshot.place(node, pod.clone());
    }
    let mut answers = Vec::new();
    for ask in asks {
        if !answers.is_empty() && !go_on() {
            break;
        }
        let answer = match ask.class {
            ProvisioningClass::CheckCapacity => check(growth.snapshot, ask),
            ProvisioningClass::BestEffortAtomicScaleUp => add(&mut growth, ask, may_grow),
        };
        let is_last = matches!(answer, ProvisioningAnswer::Growing(_));
        answers.push(answer);
        if is_last {
            break;
        }
    }
    growth.snapshot.revert();
    answers
}

/// Looks for room, for all pods or, where that is wanted, set by set.
fn check(snapshot: &mut Snapshot, ask: &ProvisioningAsk) -> ProvisioningAnswer {
    let Some(partial) = ask.partial else {
        return match place_all(snapshot, ask, &all_sets(ask)) {
            Ok(nodes) => ProvisioningAnswer::Found(nodes),
            Err(why) => ProvisioningAnswer::Missing { why },
        };
    };
    snapshot.fork();
    let (mut sets, mut nodes, mut first_why) = (Vec::new(), BTreeMap::new(), None);
    for set in all_sets(ask) {
        match place_all(snapshot, ask, &[set]) {
            Ok(found) => {
                sets.push(set);
                nodes.extend(found);
            }
            Err(why) => first_why = first_why.or(Some(why)),
        }
    }
    let Some(why) = first_why else {
        snapshot.commit();
        return ProvisioningAnswer::Found(nodes);
    };
    if !sets.is_empty() && partial == Partial::Book {
        snapshot.commit();
        return ProvisioningAnswer::Partly { sets, nodes };
    }
    snapshot.revert();
    if sets.is_empty() {
        return ProvisioningAnswer::Missing { why };
    }
    let nodes = BTreeMap::new();
    ProvisioningAnswer::Partly { sets, nodes }
}

fn all_sets(ask: &ProvisioningAsk) -> Vec<usize> {
    (0..ask.sets.len()).collect()
}

/// Puts all pods of these sets on nodes, or none.
fn place_all(
    snapshot: &mut Snapshot,
    ask: &ProvisioningAsk,
    sets: &[usize],
) -> Result<BTreeMap<PodKey, Arc<str>>, String> {
    snapshot.fork();
    let mut search = RoomSearch::default();
    let mut nodes = BTreeMap::new();
    for set in sets {
        for pod in ask.pods(*set, usize::MAX) {
            match snapshot.room_for(&pod, &mut search, None) {
                Ok(node) => {
                    nodes.insert(pod.key(), Arc::clone(&node));
                    snapshot.place(&node, pod);
                }
                Err(failure) => {
                    snapshot.revert();
                    let counts = sets.iter().filter_map(|set| ask.sets.get(*set));
                    let all: usize = counts.map(|set| set.count).sum();
                    let template = ask.sets.get(*set).map_or("", |set| &set.template);
                    let why = if failure.nodes == 0 {
                        "there are no nodes".to_owned()
                    } else {
                        failure.reasons()
                    };
                    return Err(format!(
                        "{} of {all} pods fit; the next one, of template {template}: {why}",
                        nodes.len(),
                    ));
                }
            }
        }
    }
    snapshot.commit();
    Ok(nodes)
}

/// Looks for room, and where there is none for nodes that make it: for all pods or for none.
fn add(growth: &mut GrowthInput<'_>, ask: &ProvisioningAsk, may_grow: bool) -> ProvisioningAnswer {
    if let Ok(nodes) = place_all(growth.snapshot, ask, &all_sets(ask)) {
        return ProvisioningAnswer::Found(nodes);
    }
    if !may_grow {
        return ProvisioningAnswer::Later;
    }
    let options = GrowthOptions {
        all_or_nothing: true,
        new_pod_delay: SignedDuration::ZERO,
        ..growth.options.clone()
    };
    let pending = ask.pending();
    let mut plan = grow(GrowthInput {
        snapshot: &mut *growth.snapshot,
        groups: growth.groups,
        pending: &pending,
        existing: growth.existing,
        upcoming: growth.upcoming,
        skipped: growth.skipped,
        options: &options,
        now: growth.now,
        tie: growth.tie,
    });
    let helped = |verdict: Option<&PodVerdict>| {
        matches!(
            verdict,
            Some(PodVerdict::Triggered(_) | PodVerdict::Fits(_))
        )
    };
    let all = pending
        .iter()
        .all(|pod| helped(plan.pods.get(&pod.pod.key())));
    if !all || plan.resizes.is_empty() {
        let why = why(ask, &plan);
        return ProvisioningAnswer::Missing { why };
    }
    plan.atomic = plan
        .resizes
        .iter()
        .map(|resize| GroupId::clone(&resize.group))
        .collect();
    ProvisioningAnswer::Growing(Box::new(plan))
}

/// Why no nodes make room for all pods, by group.
fn why(ask: &ProvisioningAsk, plan: &GrowthPlan) -> String {
    let unhelped = plan.pods.values().find_map(|verdict| {
        if let PodVerdict::Unschedulable(groups) = verdict {
            Some(groups)
        } else {
            None
        }
    });
    let count = ask.count();
    let Some(groups) = unhelped.filter(|groups| !groups.is_empty()) else {
        let reason = if plan.groups.is_empty() {
            "there is no node group that could grow"
        } else {
            "limits of the cluster leave no room for all the nodes"
        };
        return format!("{count} pods do not all fit, and {reason}");
    };
    let mut reasons: Vec<String> = groups
        .iter()
        .take(GROUPS)
        .map(|(group, help)| {
            let answer = help.answer();
            let separator = if answer.lift.is_empty() { "" } else { ": " };
            format!("{group}: {}{separator}{}", answer.reason, answer.lift)
        })
        .collect();
    if groups.len() > GROUPS {
        reasons.push(format!("and {} more groups", groups.len() - GROUPS));
    }
    let reasons = reasons.join("; ");
    format!("{count} pods do not all fit, and no group makes room for all of them ({reasons})")
}
