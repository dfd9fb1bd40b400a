//! The choice of a node, or why there is none.

use super::pod::PodFacts;
use super::ranking::{Ranking, UNFIT};
use super::refusal::{Refusal, Refused};
use super::rules::{Rules, SoftSpread};
use super::scores::{down, up};
use super::set::{NodeSet, Slot};
use super::shape::ShapeId;
use super::snapshot::Snapshot;

/// The outcome for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A node takes it.
    Fits(Choice),
    /// No node does.
    Nowhere(Failure),
}

impl Decision {
    /// The chosen node.
    pub fn node(&self) -> Option<&str> {
        match self {
            Self::Fits(choice) => Some(&choice.node),
            Self::Nowhere(_) => None,
        }
    }
}

/// The node chosen for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub node: String,
    /// Its score; higher is better.
    pub score: i64,
    /// How many nodes fit.
    pub fitting: usize,
    /// How many of them scored as well as the chosen one.
    pub equals: usize,
}

/// Why no node takes a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// How many nodes there are.
    pub nodes: usize,
    /// A reason that holds whatever the node.
    pub whole: Option<Refusal>,
    /// Nodes by what they refuse with.
    pub groups: Vec<RefusedNodes>,
}

/// Nodes that refuse with the same reasons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedNodes {
    /// The reasons.
    pub refused: Refused,
    /// The nodes; see [`Snapshot::names`].
    pub nodes: NodeSet,
}

impl Failure {
    pub(super) fn whole(reason: Refusal, nodes: usize) -> Self {
        Self {
            nodes,
            whole: Some(reason),
            groups: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, refused: &Refused, slot: Slot) {
        let known = self
            .groups
            .iter_mut()
            .find(|group| group.refused == *refused);
        match known {
            Some(group) => group.nodes.insert(slot),
            None => self.groups.push(RefusedNodes {
                refused: refused.clone(),
                nodes: [slot].into_iter().collect(),
            }),
        }
    }

    /// Nodes on which the removal of less important pods could help.
    pub(super) fn preemptible(&self) -> NodeSet {
        let mut nodes = NodeSet::default();
        for group in self.groups.iter().filter(|g| g.refused.preemption_helps) {
            nodes.unite(&group.nodes);
        }
        nodes
    }
}

/// Chooses a node for a pod that is not placed yet. `tie` picks among equally good ones: any
/// number, e.g. from a seeded source.
///
/// All nodes are looked at. A nomination of the pod itself takes nothing from it.
///
/// Departs: upstream looks only at as many nodes as `percentageOfNodesToScore` says (from 100 nodes
/// on, about half of them and ever fewer). Looking at all costs little here and finds the best.
pub fn decide(snapshot: &mut Snapshot, pod: &PodFacts, tie: u64) -> Decision {
    snapshot.without_nomination(pod, |snapshot| {
        let shape = snapshot.shape_of(pod);
        let ranking = match snapshot.take_ranking(shape) {
            Ok(ranking) => ranking,
            Err(reason) => {
                return Decision::Nowhere(Failure::whole(reason, snapshot.node_count()));
            }
        };
        let decision = snapshot.choose(shape, &ranking, tie);
        snapshot.keep_ranking(shape, ranking);
        decision
    })
}

/// The fitting nodes with what they score, before the best is taken.
pub(super) struct Field {
    pub(super) fitting: Vec<Slot>,
    pub(super) totals: Vec<Scored>,
    pub(super) failure: Failure,
}

/// The weighted scores of one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scored {
    pub(super) own: i64,
    pub(super) taints: i64,
    pub(super) node_affinity: i64,
    pub(super) spread: i64,
    pub(super) pod_affinity: i64,
}

impl Scored {
    pub(super) fn total(&self) -> i64 {
        self.own + self.taints + self.node_affinity + self.spread + self.pod_affinity
    }
}

impl Snapshot {
    /// The shape of a pod. Now and then, what nobody needs any more is forgotten first.
    pub(super) fn shape_of(&mut self, pod: &PodFacts) -> ShapeId {
        let gone = self.neighbours.sweep();
        self.rankings.forget(&gone);
        self.neighbours.shape(&pod.namespace, &pod.spec)
    }

    /// Does `what` as if the pod were not nominated anywhere.
    pub(super) fn without_nomination<T>(
        &mut self,
        pod: &PodFacts,
        what: impl FnOnce(&mut Self) -> T,
    ) -> T {
        if !self.has_nominations() {
            return what(self);
        }
        let own = self.withdraw_key(&pod.key());
        let result = what(self);
        if let Some((node, pod)) = own {
            self.nominate(&node, pod);
        }
        result
    }

    fn choose(&mut self, shape: ShapeId, ranking: &Ranking, tie: u64) -> Decision {
        let alone = !ranking.compares() && !self.neighbours.concerned(shape);
        if let Some(choice) = alone.then(|| self.best_alone(ranking, tie)).flatten() {
            return Decision::Fits(choice);
        }
        let field = self.field(shape, ranking);
        let Some(best) = field.totals.iter().map(Scored::total).max() else {
            return Decision::Nowhere(field.failure);
        };
        let scored = || field.fitting.iter().zip(&field.totals);
        let equals = || scored().filter(|(_, scored)| scored.total() == best);
        let (fitting, count) = (field.fitting.len(), equals().count());
        let node = equals().nth(pick(tie, count)).map(|(slot, _)| *slot);
        Decision::Fits(Choice {
            node: self.name_of(node),
            score: best,
            fitting,
            equals: count,
        })
    }

    /// The best node where each scores by itself.
    fn best_alone(&self, ranking: &Ranking, tie: u64) -> Option<Choice> {
        let best = ranking
            .own
            .iter()
            .copied()
            .max()
            .filter(|best| *best != UNFIT)?;
        let equals = ranking.own.iter().filter(|own| **own == best).count();
        let fitting = ranking.own.iter().filter(|own| **own != UNFIT).count();
        let places = ranking.own.iter().enumerate();
        let mut equal = places
            .filter(|(_, own)| **own == best)
            .map(|(slot, _)| slot);
        Some(Choice {
            node: self.name_of(equal.nth(pick(tie, equals))),
            score: i64::from(best) + 100 * self.profile.weights.taints,
            fitting,
            equals,
        })
    }

    pub(super) fn name_of(&self, slot: Option<Slot>) -> String {
        let state = slot.and_then(|slot| self.state(slot));
        state
            .map(|state| state.facts.name.clone())
            .unwrap_or_default()
    }

    /// Applies the rules about other pods and scores what fits.
    pub(super) fn field(&mut self, shape: ShapeId, ranking: &Ranking) -> Field {
        let hard_weight = self.profile.hard_pod_affinity_weight;
        let world = (ranking, &self.live, hard_weight);
        let rules = Rules::of(&mut self.neighbours, shape, world);
        let mut failure = Failure {
            nodes: self.node_count(),
            ..Failure::default()
        };
        let mut fitting = Vec::new();
        let refusing = rules.as_ref().filter(|rules| rules.refuses());
        for slot in self.live.iter().filter(|slot| ranking.fits(*slot)) {
            match refusing.and_then(|rules| rules.refuse(&self.neighbours, slot)) {
                Some(why) => failure.add(&why, slot),
                None => fitting.push(slot),
            }
        }
        // Who refuses by itself is told apart only if it matters.
        for slot in self.live.iter().filter(|_| fitting.is_empty()) {
            if let Some(why) = ranking.refusal(slot) {
                failure.add(why, slot);
            }
        }
        let totals = self.score(shape, ranking, (rules.as_ref(), &fitting));
        Field {
            fitting,
            totals,
            failure,
        }
    }

    fn score(
        &mut self,
        shape: ShapeId,
        ranking: &Ranking,
        of: (Option<&Rules>, &[Slot]),
    ) -> Vec<Scored> {
        let (rules, fitting) = of;
        let soft = SoftSpread::of(&mut self.neighbours, shape, (ranking, &self.live), fitting);
        let at = |list: &[i64], slot: Slot| list.get(slot).copied().unwrap_or(0);
        let weights = self.profile.weights;
        let most = |list: &[i64]| {
            fitting
                .iter()
                .map(|slot| at(list, *slot))
                .max()
                .unwrap_or(0)
        };
        let (most_taints, most_liked) = (most(&ranking.taints), most(&ranking.liked));
        let mut totals: Vec<Scored> = fitting
            .iter()
            .map(|slot| Scored {
                own: ranking.own.get(*slot).map_or(0, |own| i64::from(*own)),
                taints: weights.taints * down(at(&ranking.taints, *slot), most_taints),
                node_affinity: weights.node_affinity * up(at(&ranking.liked, *slot), most_liked),
                ..Scored::default()
            })
            .collect();
        if let Some(rules) = rules.filter(|rules| rules.scores()) {
            let likings = fitting
                .iter()
                .map(|slot| rules.liking(&self.neighbours, *slot));
            let likings = between(&likings.collect::<Vec<_>>());
            for (total, liking) in totals.iter_mut().zip(likings) {
                total.pod_affinity = weights.pod_affinity * liking;
            }
        }
        if let Some(soft) = soft {
            let even = evener(&soft.unevenness(&self.neighbours, fitting));
            for (total, even) in totals.iter_mut().zip(even) {
                total.spread = weights.spread * even;
            }
        }
        totals
    }
}

/// Which of `count` equals a number picks.
pub(super) fn pick(tie: u64, count: usize) -> usize {
    let count = u64::try_from(count.max(1)).unwrap_or(1);
    usize::try_from(tie % count).unwrap_or(0)
}

/// InterPodAffinity: the least liked becomes 0, the most liked 100; 0 if all are alike.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "Parity: computed in floating point and cut off"
)]
fn between(raw: &[i64]) -> Vec<i64> {
    let min = raw.iter().min().copied().unwrap_or(0);
    let max = raw.iter().max().copied().unwrap_or(0);
    let span = max.saturating_sub(min);
    raw.iter()
        .map(|liking| {
            if span == 0 {
                return 0;
            }
            let share = liking.saturating_sub(min) as f64 / span as f64;
            (100.0 * share) as i64
        })
        .collect()
}

/// PodTopologySpread: the evener the higher; nodes that take no part get 0.
fn evener(raw: &[Option<i64>]) -> Vec<i64> {
    let taking_part = || raw.iter().flatten().copied();
    let min = taking_part().min().unwrap_or(0);
    let max = taking_part().max().unwrap_or(0);
    raw.iter()
        .map(|score| match score {
            None => 0,
            Some(_) if max == 0 => 100,
            Some(score) => 100 * (max + min - score) / max,
        })
        .collect()
}
