//! Rules about other pods: spreading, affinity and anti-affinity, with the counts of one moment.

use super::counter::{Counted, Counter, CounterId, Role};
use super::neighbours::Neighbours;
use super::pod_affinity::PodTerm;
use super::ranking::Ranking;
use super::refusal::{Refusal, Refused};
use super::set::{NodeSet, Slot};
use super::shape::{ShapeId, Terms};
use super::spread::{HOSTNAME, Inclusion, SpreadConstraint};
use super::topology::{KeyId, Topology};
use std::sync::Arc;

/// The counters behind a shape's own terms.
#[derive(Debug, Clone, Default)]
pub(super) struct Own {
    near: Vec<CounterId>,
    apart: Vec<CounterId>,
    liked: Vec<(i64, CounterId)>,
    hard: Vec<CounterId>,
    soft: Vec<CounterId>,
}

/// What a shape's pods ask of other pods, now.
#[derive(Debug)]
pub(super) struct Rules {
    near: Vec<CounterId>,
    /// Nobody anywhere is what the pod must be near, but the pod itself is: it may be the first.
    may_be_first: bool,
    apart: Vec<CounterId>,
    /// Running pods that must not be near this one.
    avoided_by: Vec<CounterId>,
    hard: Vec<HardSpread>,
    liked: Vec<(i64, CounterId)>,
}

/// One constraint that refuses.
#[derive(Debug)]
struct HardSpread {
    key: KeyId,
    /// Pods by place.
    counts: Vec<i64>,
    /// Pods in the emptiest place.
    min: i64,
    /// 1 if the pod itself will count.
    own: i64,
    max_skew: i64,
}

/// The constraints that only prefer.
#[derive(Debug)]
pub(super) struct SoftSpread {
    constraints: Vec<SoftConstraint>,
    /// Fitting nodes that lack a label.
    ignored: NodeSet,
}

#[derive(Debug)]
struct SoftConstraint {
    counter: CounterId,
    key: KeyId,
    by_node: bool,
    counts: Vec<i64>,
    weight: f64,
    max_skew: f64,
}

fn staying(neighbours: &mut Neighbours, namespace: &str, of: &SpreadConstraint) -> CounterId {
    let term = PodTerm {
        selector: of.selector.clone(),
        namespaces: vec![namespace.to_owned()],
        topology_key: of.topology_key.clone(),
        ..PodTerm::default()
    };
    neighbours.counter(Counted::SelectedAndStaying(vec![term]), &of.topology_key)
}

/// The counters of a shape's own terms, looked up once.
fn own_counters(neighbours: &mut Neighbours, shape: ShapeId, terms: &Terms) -> Arc<Own> {
    let Some((known, namespace)) = neighbours
        .shapes
        .get(shape)
        .map(|shape| (shape.own.clone(), Arc::clone(&shape.namespace)))
    else {
        return Arc::default();
    };
    if let Some(known) = known {
        return known;
    }
    let mut own = Own::default();
    for term in &terms.near {
        // A pod counts only if it is what every term asks for.
        let counted = Counted::Selected(terms.near.clone());
        own.near
            .push(neighbours.counter(counted, &term.topology_key));
    }
    let alone = |term: &PodTerm| Counted::Selected(vec![term.clone()]);
    for term in &terms.apart {
        own.apart
            .push(neighbours.counter(alone(term), &term.topology_key));
    }
    for (weight, term) in &terms.preferred {
        let counter = neighbours.counter(alone(term), &term.topology_key);
        own.liked.push((*weight, counter));
    }
    for constraint in &terms.hard_spread {
        own.hard.push(staying(neighbours, &namespace, constraint));
    }
    for constraint in &terms.soft_spread {
        own.soft.push(staying(neighbours, &namespace, constraint));
    }
    let own = Arc::new(own);
    if let Some(shape) = neighbours.shapes.get_mut(shape) {
        shape.own = Some(Arc::clone(&own));
    }
    own
}

impl Rules {
    /// The rules for pods of a shape; `None` if no rule about other pods concerns them.
    pub(super) fn of(
        neighbours: &mut Neighbours,
        shape: ShapeId,
        world: (&Ranking, &NodeSet, i64),
    ) -> Option<Self> {
        let (ranking, live, hard_weight) = world;
        let terms = neighbours.terms(shape);
        let own = own_counters(neighbours, shape, &terms);
        let facing = neighbours.acquainted(shape)?.facing.clone();
        let (mut liked, mut avoided_by) = (own.liked.clone(), Vec::new());
        for id in facing {
            let Some(counter) = neighbours.read(id).filter(|counter| counter.total > 0) else {
                continue;
            };
            match counter.role() {
                Some(Role::Apart) => avoided_by.push(id),
                Some(Role::Near) if hard_weight > 0 => liked.push((hard_weight, id)),
                Some(Role::Preferred(weight)) => liked.push((weight, id)),
                Some(Role::Near) | None => {}
            }
        }
        let hard = hard_spread(neighbours, shape, (&terms, &own), (ranking, live));
        let mut rules = Self {
            near: own.near.clone(),
            may_be_first: false,
            apart: own.apart.clone(),
            avoided_by,
            hard,
            liked,
        };
        let nobody = |id: &CounterId| {
            neighbours
                .read(*id)
                .is_none_or(|counter| counter.total == 0)
        };
        rules.may_be_first = !rules.near.is_empty()
            && rules.near.iter().all(nobody)
            && terms
                .near
                .iter()
                .all(|term| neighbours.selected(term, shape));
        (rules.refuses() || !rules.liked.is_empty()).then_some(rules)
    }

    /// Whether some rule can refuse.
    pub(super) fn refuses(&self) -> bool {
        !(self.near.is_empty()
            && self.apart.is_empty()
            && self.avoided_by.is_empty()
            && self.hard.is_empty())
    }

    /// Whether some rule scores.
    pub(super) fn scores(&self) -> bool {
        !self.liked.is_empty()
    }

    /// Why the node's place does not do; the first rule that refuses speaks.
    pub(super) fn refuse(&self, neighbours: &Neighbours, slot: Slot) -> Option<Refused> {
        self.too_uneven(&neighbours.topology, slot).or_else(|| {
            if !self.near_enough(neighbours, slot) {
                return Some(Refused::for_good(Refusal::NotNearRequiredPods));
            }
            if occupied(&self.apart, neighbours, slot) {
                return Some(Refused::for_now(Refusal::NearAvoidedPods));
            }
            let avoided = occupied(&self.avoided_by, neighbours, slot);
            avoided.then(|| Refused::for_now(Refusal::AvoidedByPods))
        })
    }

    fn too_uneven(&self, topology: &Topology, slot: Slot) -> Option<Refused> {
        for spread in &self.hard {
            let Some(domain) = topology.domain(spread.key, slot) else {
                return Some(Refused::for_good(Refusal::SpreadLabelMissing));
            };
            let count = usize::try_from(domain).ok();
            let count = count.and_then(|at| spread.counts.get(at)).copied();
            // A place without any node that counts holds no pod that counts.
            let count = count.unwrap_or(ABSENT).max(0);
            if count + spread.own - spread.min > spread.max_skew {
                return Some(Refused::for_now(Refusal::TooUneven));
            }
        }
        None
    }

    fn near_enough(&self, neighbours: &Neighbours, slot: Slot) -> bool {
        let mut all_there = true;
        for counter in self.near.iter().filter_map(|id| neighbours.read(*id)) {
            match counter.in_place_of(slot, &neighbours.topology) {
                None => return false,
                Some(count) => all_there &= count > 0,
            }
        }
        all_there || self.may_be_first
    }

    /// InterPodAffinity's score before it is compared with other nodes'.
    pub(super) fn liking(&self, neighbours: &Neighbours, slot: Slot) -> i64 {
        let mut sum = 0i64;
        for (weight, id) in &self.liked {
            let count = neighbours
                .read(*id)
                .and_then(|counter| counter.in_place_of(slot, &neighbours.topology));
            sum = sum.saturating_add(weight.saturating_mul(i64::from(count.unwrap_or(0))));
        }
        sum
    }
}

/// Whether pods of one of the counters are in the node's place.
fn occupied(counters: &[CounterId], neighbours: &Neighbours, slot: Slot) -> bool {
    counters.iter().any(|id| {
        neighbours
            .read(*id)
            .and_then(|counter| counter.in_place_of(slot, &neighbours.topology))
            .is_some_and(|count| count > 0)
    })
}

/// The count of a place in which no node counts.
const ABSENT: i64 = -1;

/// Nodes that count for a constraint.
fn included(constraint: &SpreadConstraint, ranking: &Ranking, nodes: &NodeSet) -> NodeSet {
    let mut set = nodes.clone();
    if constraint.node_affinity_policy == Inclusion::Honor {
        set.intersect(&ranking.admitted);
    }
    if constraint.node_taints_policy == Inclusion::Honor {
        set.intersect(&ranking.untainted);
    }
    set
}

fn with_all_keys(topology: &Topology, keys: &[KeyId], live: &NodeSet) -> NodeSet {
    live.iter()
        .filter(|slot| {
            keys.iter()
                .all(|key| topology.domain(*key, *slot).is_some())
        })
        .collect()
}

fn add_at(counts: &mut [i64], domain: u32, pods: i64) {
    let at = usize::try_from(domain).unwrap_or(usize::MAX);
    if let Some(count) = counts.get_mut(at) {
        *count = (*count).max(0).saturating_add(pods);
    }
}

fn hard_spread(
    neighbours: &mut Neighbours,
    shape: ShapeId,
    own: (&Terms, &Own),
    world: (&Ranking, &NodeSet),
) -> Vec<HardSpread> {
    let (terms, own) = own;
    if terms.hard_spread.is_empty() {
        return Vec::new();
    }
    let keys: Vec<KeyId> = terms
        .hard_spread
        .iter()
        .map(|c| neighbours.key(&c.topology_key))
        .collect();
    let topology = &neighbours.topology;
    let labelled = with_all_keys(topology, &keys, world.1);
    let each = terms.hard_spread.iter().zip(&own.hard).zip(keys);
    each.map(|((constraint, counter), key)| {
        let mut counts = vec![ABSENT; topology.domains(key)];
        let counter = neighbours.read(*counter);
        for slot in included(constraint, world.0, &labelled).iter() {
            if let Some(domain) = topology.domain(key, slot) {
                let pods = counter.map_or(0, |counter| counter.on_node(slot));
                add_at(&mut counts, domain, i64::from(pods));
            }
        }
        let places = || counts.iter().filter(|count| **count != ABSENT);
        let enough = constraint.min_domains.is_none_or(|min| {
            i64::from(min) <= i64::try_from(places().count()).unwrap_or(i64::MAX)
        });
        let emptiest = places().min().copied().unwrap_or(i64::from(i32::MAX));
        let selects = |shape: &super::shape::Shape| {
            let selector = constraint.selector.as_ref();
            selector.is_some_and(|s| s.matches(&shape.spec.labels))
        };
        HardSpread {
            key,
            min: if enough { emptiest } else { 0 },
            own: i64::from(neighbours.shapes.get(shape).is_some_and(selects)),
            max_skew: i64::from(constraint.max_skew),
            counts,
        }
    })
    .collect()
}

impl SoftSpread {
    /// The constraints that score nodes for pods of a shape, of which `fitting` are compared;
    /// `None` if there are none.
    pub(super) fn of(
        neighbours: &mut Neighbours,
        shape: ShapeId,
        world: (&Ranking, &NodeSet),
        fitting: &[Slot],
    ) -> Option<Self> {
        let terms = neighbours.terms(shape);
        if terms.soft_spread.is_empty() {
            return None;
        }
        let own = own_counters(neighbours, shape, &terms);
        let keys: Vec<KeyId> = terms
            .soft_spread
            .iter()
            .map(|c| neighbours.key(&c.topology_key))
            .collect();
        let topology = &neighbours.topology;
        let mut ignored = NodeSet::default();
        let labelled = |slot: Slot| keys.iter().all(|key| topology.domain(*key, slot).is_some());
        let mut considered = world.1.clone();
        if terms.all_keys_needed {
            ignored.extend(fitting.iter().copied().filter(|slot| !labelled(*slot)));
            considered = with_all_keys(topology, &keys, world.1);
        }
        let candidates = Candidates {
            fitting,
            ignored: &ignored,
        };
        let each = terms
            .soft_spread
            .iter()
            .zip(&own.soft)
            .zip(keys.iter().copied());
        let constraints = each
            .map(|((constraint, counter), key)| {
                let nodes = included(constraint, world.0, &considered);
                candidates.constraint(neighbours, (constraint, *counter, key), &nodes)
            })
            .collect();
        Some(Self {
            constraints,
            ignored,
        })
    }

    /// The nodes' scores before they are compared (lower is better); `None` for a node that does
    /// not take part.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded, and as large as a count"
    )]
    pub(super) fn unevenness(&self, neighbours: &Neighbours, nodes: &[Slot]) -> Vec<Option<i64>> {
        let mut sums = vec![0.0; nodes.len()];
        for constraint in &self.constraints {
            constraint.add_to(&mut sums, neighbours, nodes);
        }
        let none_ignored = self.ignored.is_empty();
        let takes_part = |slot: Slot| none_ignored || !self.ignored.contains(slot);
        let each = sums.into_iter().zip(nodes);
        each.map(|(sum, slot)| takes_part(*slot).then_some(sum.round() as i64))
            .collect()
    }
}

impl SoftConstraint {
    fn score(&self, pods: i64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of pods")]
        let pods = pods.max(0) as f64;
        pods * self.weight + (self.max_skew - 1.0)
    }

    /// Adds what the constraint says of each node that has its label.
    fn add_to(&self, sums: &mut [f64], neighbours: &Neighbours, nodes: &[Slot]) {
        let topology = &neighbours.topology;
        let counter = neighbours.read(self.counter);
        // Looked up for every node, so worked out once per place.
        let by_place: Vec<f64> = self.counts.iter().map(|pods| self.score(*pods)).collect();
        for (sum, slot) in sums.iter_mut().zip(nodes) {
            let Some(domain) = topology.domain(self.key, *slot) else {
                continue;
            };
            *sum += if self.by_node {
                let pods = counter.map_or(0, |counter| counter.on_node(*slot));
                self.score(i64::from(pods))
            } else {
                let at = usize::try_from(domain).ok();
                let known = at.and_then(|at| by_place.get(at));
                known.copied().unwrap_or_else(|| self.score(0))
            };
        }
    }
}

/// The nodes that are compared.
struct Candidates<'a> {
    fitting: &'a [Slot],
    ignored: &'a NodeSet,
}

impl Candidates<'_> {
    #[expect(clippy::cast_precision_loss, reason = "a number of places")]
    fn constraint(
        &self,
        neighbours: &Neighbours,
        of: (&SpreadConstraint, CounterId, KeyId),
        nodes: &NodeSet,
    ) -> SoftConstraint {
        let (constraint, id, key) = of;
        let topology = &neighbours.topology;
        let by_node = constraint.topology_key == HOSTNAME;
        let mut counts = Vec::new();
        let mut places = self.fitting.len() - self.ignored.len();
        if !by_node {
            counts = vec![ABSENT; topology.domains(key)];
            for slot in self
                .fitting
                .iter()
                .filter(|slot| !self.ignored.contains(**slot))
            {
                if let Some(domain) = topology.domain(key, *slot) {
                    add_at(&mut counts, domain, 0);
                }
            }
            places = counts.iter().filter(|count| **count != ABSENT).count();
            count_pods(&mut counts, (neighbours.read(id), key), topology, nodes);
        }
        SoftConstraint {
            counter: id,
            key,
            by_node,
            counts,
            weight: ((places + 2) as f64).ln(),
            max_skew: f64::from(constraint.max_skew),
        }
    }
}

/// Adds the pods on `nodes` to the places that have a candidate.
fn count_pods(
    counts: &mut [i64],
    counter: (Option<&Counter>, KeyId),
    topology: &Topology,
    nodes: &NodeSet,
) {
    let (Some(counter), key) = counter else {
        return;
    };
    for slot in nodes.iter() {
        let pods = counter.on_node(slot);
        let Some(domain) = topology.domain(key, slot).filter(|_| pods > 0) else {
            continue;
        };
        let at = usize::try_from(domain).unwrap_or(usize::MAX);
        if counts.get(at).is_some_and(|count| *count != ABSENT) {
            add_at(counts, domain, i64::from(pods));
        }
    }
}
