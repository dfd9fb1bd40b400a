//! Which less important pods to remove so that a pod fits.
//!
//! Order of choice: reference/embedded-cluster.md §16.

use super::decision::{Failure, pick};
use super::filters::Wanted;
use super::node::NodeState;
use super::pod::{PodFacts, PodKey, PreemptionPolicy};
use super::ranking::Ranking;
use super::refusal::{Refusal, Refused};
use super::rules::Rules;
use super::selector::LabelSelector;
use super::set::Slot;
use super::shape::ShapeId;
use super::snapshot::Snapshot;
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// Candidates looked for at least.
const MIN_CANDIDATES: usize = 100;
/// One of so many nodes is looked for.
const CANDIDATE_SHARE: usize = 10;

/// A PodDisruptionBudget.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetFacts {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Whom it protects; an empty or absent selector protects nobody here.
    pub selector: Option<LabelSelector>,
    /// `status.disruptionsAllowed`.
    pub allowed: i32,
    /// `status.disruptedPods`: counted already.
    pub disrupted: BTreeSet<String>,
}

/// What preemption can do for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preemption {
    /// Room can be made.
    Helps(Plan),
    /// It cannot.
    Impossible(NoPreemption),
}

/// Why preemption does not help.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPreemption {
    /// The pod's `preemptionPolicy` is `Never`.
    NotAllowed,
    /// Room is being made already.
    UnderWay,
    /// On no node; reasons with how many nodes each holds for.
    NoNode(BTreeMap<Hopeless, usize>),
}

/// Why preemption does not help on one node. `Display` gives the text users grep for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Hopeless {
    /// Whatever is removed, the node does not do.
    #[error("Preemption is not helpful for scheduling")]
    NotHelpful,
    /// Nobody on the node is less important.
    #[error("No preemption victims found for incoming pod")]
    NoVictims,
    /// With all less important pods gone, this is still in the way.
    #[error(transparent)]
    Still(Refusal),
}

/// How room is made on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The node.
    pub node: String,
    /// Who has to go, most important first.
    pub victims: Vec<Victim>,
    /// How many nodes this one was chosen from.
    pub candidates: usize,
}

impl Plan {
    /// How many victims a budget would protect.
    pub fn violations(&self) -> usize {
        self.victims.iter().filter(|v| v.violates_budget).count()
    }
}

/// A pod that has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Who.
    pub pod: PodKey,
    /// Its priority.
    pub priority: i32,
    /// When it started.
    pub started: Option<Timestamp>,
    /// Whether its budget does not allow it.
    pub violates_budget: bool,
}

/// Finds the least harmful way to make room for a pod that [`super::decide`] found no node for.
/// Nothing is changed. `tie` says where the search begins.
pub fn preempt(
    snapshot: &mut Snapshot,
    pod: &PodFacts,
    failure: &Failure,
    budgets: &[BudgetFacts],
    tie: u64,
) -> Preemption {
    if pod.spec.preemption == PreemptionPolicy::Never {
        return Preemption::Impossible(NoPreemption::NotAllowed);
    }
    if snapshot.makes_room_already(pod, failure) {
        return Preemption::Impossible(NoPreemption::UnderWay);
    }
    snapshot.without_nomination(pod, |snapshot| {
        let shape = snapshot.shape_of(pod);
        let Ok(ranking) = snapshot.take_ranking(shape) else {
            let why = BTreeMap::from([(Hopeless::NotHelpful, failure.nodes)]);
            return Preemption::Impossible(NoPreemption::NoNode(why));
        };
        let mut search = Search {
            shape,
            ranking: &ranking,
            priority: pod.spec.priority,
            budgets,
            snapshot,
        };
        let preemption = search.run(failure, tie);
        snapshot.keep_ranking(shape, ranking);
        preemption
    })
}

impl Snapshot {
    /// Whether somebody less important is leaving the node this pod was promised. If the node would
    /// not do any more, another may be cleared.
    fn makes_room_already(&self, pod: &PodFacts, failure: &Failure) -> bool {
        let Some(node) = self.nominated_node_of(&pod.namespace, &pod.name) else {
            return false;
        };
        let Some(slot) = self.slot_of(node) else {
            return false;
        };
        let lost = |group: &super::decision::RefusedNodes| {
            !group.refused.preemption_helps && group.nodes.contains(slot)
        };
        let leaving = |state: &NodeState| {
            let mut pods = state.pods();
            pods.any(|p| p.terminating && p.spec.priority < pod.spec.priority)
        };
        !failure.groups.iter().any(lost) && self.state(slot).is_some_and(leaving)
    }
}

/// One search.
struct Search<'a> {
    snapshot: &'a mut Snapshot,
    shape: ShapeId,
    ranking: &'a Ranking,
    priority: i32,
    budgets: &'a [BudgetFacts],
}

impl Search<'_> {
    fn run(&mut self, failure: &Failure, tie: u64) -> Preemption {
        let nodes: Vec<Slot> = failure.preemptible().iter().collect();
        let enough = MIN_CANDIDATES
            .max(failure.nodes / CANDIDATE_SHARE)
            .min(nodes.len());
        let mut reasons: BTreeMap<Hopeless, usize> = BTreeMap::new();
        let unhelpful = failure.nodes - nodes.len();
        if unhelpful > 0 {
            reasons.insert(Hopeless::NotHelpful, unhelpful);
        }
        let alone = self.rules().is_none_or(|rules| !rules.refuses());
        let mut plans: Vec<Plan> = Vec::new();
        let mut harmless = false;
        let begin = pick(tie, nodes.len());
        for slot in nodes.iter().cycle().skip(begin).take(nodes.len()) {
            // Upstream stops once it has seen enough, provided one of them breaks no budget.
            if plans.len() >= enough && harmless {
                break;
            }
            match self.try_node(*slot, alone) {
                Ok(plan) => {
                    harmless |= plan.violations() == 0;
                    plans.push(plan);
                }
                Err(why) => why
                    .into_iter()
                    .for_each(|why| *reasons.entry(why).or_insert(0) += 1),
            }
        }
        let candidates = plans.len();
        match plans.into_iter().min_by_key(harm) {
            Some(plan) => Preemption::Helps(Plan { candidates, ..plan }),
            None => Preemption::Impossible(NoPreemption::NoNode(reasons)),
        }
    }

    fn rules(&mut self) -> Option<Rules> {
        let hard_weight = self.snapshot.profile.hard_pod_affinity_weight;
        let world = (self.ranking, &self.snapshot.live, hard_weight);
        Rules::of(&mut self.snapshot.neighbours, self.shape, world)
    }

    /// Whom to remove from one node.
    fn try_node(&mut self, slot: Slot, alone: bool) -> Result<Plan, Vec<Hopeless>> {
        let Some(state) = self.snapshot.state(slot) else {
            return Err(vec![Hopeless::NotHelpful]);
        };
        let node = state.facts.name.clone();
        let less = |pod: &&PodFacts| pod.spec.priority < self.priority;
        let mut potential: Vec<PodFacts> = state.pods().filter(less).cloned().collect();
        if potential.is_empty() {
            return Err(vec![Hopeless::NoVictims]);
        }
        potential.sort_by_key(importance);
        let protected = self.protected(&potential);
        let victims = if alone && self.ranking.wanted.stands_alone() {
            let mut bench = Alone {
                wanted: &self.ranking.wanted,
                snapshot: self.snapshot,
                state: state.clone(),
            };
            spare(&mut bench, &potential, &protected)
        } else {
            self.snapshot.fork();
            let victims = spare(
                &mut Among {
                    search: self,
                    slot,
                    node: &node,
                },
                &potential,
                &protected,
            );
            self.snapshot.revert();
            victims
        }?;
        Ok(Plan {
            node,
            victims,
            candidates: 0,
        })
    }

    /// Pods whose removal some budget does not allow, if the potential victims go in this order.
    fn protected(&self, potential: &[PodFacts]) -> BTreeSet<PodKey> {
        let mut allowed: Vec<i32> = self.budgets.iter().map(|budget| budget.allowed).collect();
        let mut protected = BTreeSet::new();
        for pod in potential.iter().filter(|pod| !pod.spec.labels.is_empty()) {
            let budgets = self.budgets.iter().zip(&mut allowed);
            for (_, allowed) in budgets.filter(|(budget, _)| budget.protects(pod)) {
                *allowed = allowed.saturating_sub(1);
                let _ = *allowed < 0 && protected.insert(pod.key());
            }
        }
        protected
    }
}

impl BudgetFacts {
    fn protects(&self, pod: &PodFacts) -> bool {
        let selects = |selector: &LabelSelector| {
            !selector.requirements.is_empty() && selector.matches(&pod.spec.labels)
        };
        *self.namespace == *pod.namespace
            && self.selector.as_ref().is_some_and(selects)
            && !self.disrupted.contains(&*pod.name)
    }
}

/// A node from which pods can be taken on trial.
trait Trial {
    fn remove(&mut self, pod: &PodFacts);
    fn restore(&mut self, pod: &PodFacts);
    fn refusal(&mut self) -> Option<Refused>;
}

/// Nothing but the node itself matters: a copy of it does.
struct Alone<'a> {
    wanted: &'a Wanted,
    snapshot: &'a Snapshot,
    state: NodeState,
}

impl Trial for Alone<'_> {
    fn remove(&mut self, pod: &PodFacts) {
        drop(self.state.remove(&pod.key()));
    }

    fn restore(&mut self, pod: &PodFacts) {
        self.state.add(super::node::Resident {
            pod: pod.clone(),
            shape: ShapeId::NONE,
        });
    }

    fn refusal(&mut self) -> Option<Refused> {
        self.wanted.refuse_load(&self.state, self.snapshot.around())
    }
}

/// Rules about other pods, or about volumes, hold too: a fork of the whole snapshot.
struct Among<'a, 'b> {
    search: &'a mut Search<'b>,
    slot: Slot,
    node: &'a str,
}

impl Trial for Among<'_, '_> {
    fn remove(&mut self, pod: &PodFacts) {
        drop(self.search.snapshot.displace_key(&pod.key()));
    }

    fn restore(&mut self, pod: &PodFacts) {
        self.search.snapshot.place(self.node, pod.clone());
    }

    fn refusal(&mut self) -> Option<Refused> {
        let snapshot = &*self.search.snapshot;
        // Claims may be free now that were in use.
        let wanted = match snapshot.wanted(self.search.shape) {
            Ok(wanted) => wanted,
            Err(reason) => return Some(Refused::for_good(reason)),
        };
        let state = snapshot.state(self.slot)?;
        if let Some(refused) = wanted.refuse_load(state, snapshot.around()) {
            return Some(refused);
        }
        let rules = self.search.rules()?;
        rules.refuse(&self.search.snapshot.neighbours, self.slot)
    }
}

/// Removes all, then lets stay whoever can: first those that budgets protect, the more important
/// first.
fn spare(
    trial: &mut impl Trial,
    potential: &[PodFacts],
    protected: &BTreeSet<PodKey>,
) -> Result<Vec<Victim>, Vec<Hopeless>> {
    for pod in potential {
        trial.remove(pod);
    }
    if let Some(still) = trial.refusal() {
        return Err(still.reasons.into_iter().map(Hopeless::Still).collect());
    }
    let is_protected = |pod: &&PodFacts| protected.contains(&pod.key());
    let (first, then): (Vec<&PodFacts>, Vec<&PodFacts>) = potential.iter().partition(is_protected);
    let mut victims = Vec::new();
    for pod in first.into_iter().chain(then) {
        trial.restore(pod);
        if trial.refusal().is_some() {
            trial.remove(pod);
            victims.push(pod);
        }
    }
    victims.sort_by_key(|pod| importance(pod));
    let victims = victims.into_iter().map(|pod| Victim {
        pod: pod.key(),
        priority: pod.spec.priority,
        started: pod.started,
        violates_budget: protected.contains(&pod.key()),
    });
    Ok(victims.collect())
}

/// Sorts the more important first: by priority, then who runs longer, then by name.
fn importance(pod: &PodFacts) -> (Reverse<i32>, Timestamp, PodKey) {
    let started = pod.started.unwrap_or(Timestamp::MAX);
    (Reverse(pod.spec.priority), started, pod.key())
}

/// Sorts the less harmful plan first.
fn harm(plan: &Plan) -> (usize, i32, i64, usize, Reverse<Timestamp>) {
    let highest = plan.victims.first().map_or(i32::MIN, |v| v.priority);
    // Parity: shifted, so that more victims of negative priority do not look like less harm.
    let shifted = |v: &Victim| i64::from(v.priority) + i64::from(i32::MAX) + 1;
    let sum = plan
        .victims
        .iter()
        .map(shifted)
        .fold(0, i64::saturating_add);
    let top = plan.victims.iter().filter(|v| v.priority == highest);
    let earliest = top
        .filter_map(|v| v.started)
        .min()
        .unwrap_or(Timestamp::MAX);
    (
        plan.violations(),
        highest,
        sum,
        plan.victims.len(),
        Reverse(earliest),
    )
}
