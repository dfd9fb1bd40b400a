//! Whether one node takes one pod: what node autoscaling asks of nodes that do not exist yet.

use super::company::Company;
use super::counter::Role;
use super::explain::Obstacle;
use super::filters::{self, Wanted};
use super::node::NodeState;
use super::pod::{PodFacts, PodSpec};
use super::ranking::Ranking;
use super::refusal::{Refusal, Refused};
use super::rules::Rules;
use super::set::Slot;
use super::snapshot::Snapshot;
use super::spread::HOSTNAME;
use std::sync::Arc;

/// A node's place in a snapshot; looked up once where a node is asked many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePlace(Slot);

/// The pods of one shape, asked for node by node.
struct Asked {
    wanted: Wanted,
    rules: Option<Rules>,
}

impl Snapshot {
    /// Why a node by itself, part of no snapshot, refuses a pod; `None` if it does not. Rules about
    /// other pods and claims are left out.
    pub fn refusal_alone(&self, spec: &Arc<PodSpec>, node: &NodeState) -> Option<Refused> {
        let wanted = Wanted {
            spec: Arc::clone(spec),
            storage: None,
            devices: None,
        };
        wanted.refuse(node, self.around())
    }

    /// Everything a node by itself has against a pod, with what would lift it.
    pub fn obstacles_alone(&self, spec: &Arc<PodSpec>, node: &NodeState) -> Vec<Obstacle> {
        let mut refused = filters::fixed(spec, node);
        let wanted = Wanted {
            spec: Arc::clone(spec),
            storage: None,
            devices: None,
        };
        refused.extend(wanted.refusals_of_load(node, self.around()));
        self.obstacles(refused, &wanted, node)
    }

    /// Why a node of the snapshot refuses a pod that is not placed yet; `None` if it does not, or if
    /// there is no such node.
    pub fn refusal_on(&mut self, pod: &PodFacts, node: &str) -> Option<Refused> {
        let slot = self.slot_of(node)?;
        match self.ask(pod) {
            Ok(asked) => self.answer(&asked, slot),
            Err(reason) => Some(Refused::for_good(reason)),
        }
    }

    /// Where a node is in this snapshot, as long as it is there.
    pub fn place_of(&self, node: &str) -> Option<NodePlace> {
        self.slot_of(node).map(NodePlace)
    }

    /// The first of these nodes that takes a pod that is not placed yet, by its position in the
    /// list; the search begins at `from`. Nodes that are gone are passed over.
    pub fn first_fit(&mut self, pod: &PodFacts, nodes: &[NodePlace], from: usize) -> Option<usize> {
        if from >= nodes.len() {
            return None;
        }
        let asked = self.ask(pod).ok()?;
        let mut rest = nodes.iter().enumerate().skip(from);
        rest.find(|(_, node)| self.state(node.0).is_some() && self.answer(&asked, node.0).is_none())
            .map(|(at, _)| at)
    }

    /// Whether a node refuses pods of a spec by itself: nothing that comes will change that.
    /// Claims are left out.
    pub fn refuses_alone(&self, spec: &Arc<PodSpec>, node: NodePlace) -> bool {
        let state = self.state(node.0);
        state.is_none_or(|state| self.refusal_alone(spec, state).is_some())
    }

    /// How many pods of a spec a node has room for, `most` at most, by resources and places alone.
    pub fn room_alone(&self, spec: &PodSpec, node: &str, most: usize) -> usize {
        let Some(state) = self.node(node) else {
            return 0;
        };
        let places = state.facts.max_pods.saturating_sub(state.pod_count());
        let rooms = spec.requests.requested().map(|(name, wanted)| {
            let there = state.facts.allocatable.amount(name);
            let free = there.saturating_sub(state.used.amount(name));
            usize::try_from(free.max(0) / wanted).unwrap_or(usize::MAX)
        });
        rooms.chain([places, most]).min().unwrap_or(0)
    }

    /// Counts so many pods like this one on a node, as one that takes all their room. For what-ifs
    /// about nodes that do not exist, and pods that nobody minds.
    pub fn place_many(&mut self, node: &str, pod: &PodFacts, count: usize) {
        let Some(mut facts) = self.node(node).map(|state| state.facts.clone()) else {
            return;
        };
        // One pod stands for all of them, so the others' places go.
        facts.max_pods = facts.max_pods.saturating_sub(count.saturating_sub(1));
        self.set_node(facts);
        let all = PodFacts {
            name: format!("{}-{count}-on-{node}", pod.name).into(),
            spec: Arc::new(PodSpec {
                requests: pod.spec.requests.times(count),
                ..PodSpec::default()
            }),
            ..pod.clone()
        };
        self.place(node, all);
    }

    /// What pods on nodes ask of this pod: nothing, not to share a node with them, or not to be in
    /// one place with them that is larger than a node.
    pub fn avoidance(&mut self, pod: &PodFacts) -> Company {
        let shape = self.shape_of(pod);
        let by_node = self.neighbours.key(HOSTNAME);
        let facing = self.neighbours.acquainted(shape);
        let facing = facing.map(|shape| shape.facing.clone()).unwrap_or_default();
        let asked = facing.into_iter().filter_map(|id| {
            let counter = self.neighbours.read(id)?;
            let avoids = counter.role() == Some(Role::Apart) && counter.total > 0;
            avoids.then_some(if counter.key == by_node {
                Company::ApartByNode
            } else {
                Company::Bound
            })
        });
        asked.max().unwrap_or(Company::Indifferent)
    }

    fn ask(&mut self, pod: &PodFacts) -> Result<Asked, Refusal> {
        let shape = self.shape_of(pod);
        let wanted = self.wanted(shape)?;
        if !self.neighbours.concerned(shape) {
            return Ok(Asked {
                wanted,
                rules: None,
            });
        }
        let spreads = !self.neighbours.terms(shape).hard_spread.is_empty();
        let hard_weight = self.profile.hard_pod_affinity_weight;
        // Only spreading asks which nodes would do otherwise.
        let rules = if spreads {
            let ranking = self.take_ranking(shape)?;
            let world = (&*ranking, &self.live, hard_weight);
            let rules = Rules::of(&mut self.neighbours, shape, world);
            self.keep_ranking(shape, ranking);
            rules
        } else {
            let nothing = Ranking::new(wanted.clone());
            let world = (&nothing, &self.live, hard_weight);
            Rules::of(&mut self.neighbours, shape, world)
        };
        Ok(Asked { wanted, rules })
    }

    fn answer(&self, asked: &Asked, slot: Slot) -> Option<Refused> {
        let node = self.state(slot)?;
        let by_itself = asked.wanted.refuse(node, self.around());
        by_itself.or_else(|| asked.rules.as_ref()?.refuse(&self.neighbours, slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{LabelSelector, NodeFacts, PodTerm, Requirement, Resources};

    fn node(name: &str, cpu: i64) -> NodeFacts {
        NodeFacts {
            name: name.into(),
            labels: [(HOSTNAME.to_owned(), name.to_owned())].into(),
            allocatable: Resources::of(cpu, 1 << 30),
            max_pods: 10,
            ..NodeFacts::default()
        }
    }

    fn spec(cpu: i64, app: &str) -> PodSpec {
        PodSpec {
            labels: [("app".to_owned(), app.to_owned())].into(),
            requests: Resources::of(cpu, 1),
            ..PodSpec::default()
        }
    }

    fn term(app: &str, key: &str) -> PodTerm {
        PodTerm {
            selector: Some(LabelSelector {
                requirements: vec![Requirement::equals("app", app)],
            }),
            topology_key: key.into(),
            ..PodTerm::default()
        }
    }

    fn apart(app: &str, from: &str, key: &str) -> PodSpec {
        let mut spec = spec(100, app);
        spec.pod_anti_affinity.required.push(term(from, key));
        spec
    }

    #[test]
    fn the_first_node_that_takes_a_pod_is_found_from_any_start() {
        let mut snapshot = Snapshot::default();
        for (name, cpu) in [("small", 100), ("going", 1000), ("n1", 1000), ("n2", 1000)] {
            snapshot.set_node(node(name, cpu));
        }
        let names = ["small", "going", "n1", "n2"];
        let places = names.map(|name| snapshot.place_of(name).unwrap());
        snapshot.remove_node("going");
        let pod = PodFacts::new("default", "p", spec(500, "a"));
        assert_eq!(snapshot.first_fit(&pod, &places, 0), Some(2));
        assert_eq!(snapshot.first_fit(&pod, &places, 3), Some(3));
        assert_eq!(snapshot.first_fit(&pod, &places, 4), None);
        let alone = places.map(|place| snapshot.refuses_alone(&pod.spec, place));
        assert_eq!(alone, [true, true, false, false]);
        let refused = snapshot.refusal_on(&pod, "small").unwrap();
        assert_eq!(refused.reasons, [Refusal::Insufficient("cpu".into())]);
        assert_eq!(snapshot.refusal_on(&pod, "n1"), None);
        assert_eq!(snapshot.place_of("going"), None);
    }

    #[test]
    fn pods_in_the_way_refuse_on_their_node_only() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("n1", 1000));
        snapshot.set_node(node("n2", 1000));
        let shy = PodFacts::new("default", "shy", apart("shy", "loud", HOSTNAME));
        let loud = PodFacts::new("default", "loud", spec(100, "loud"));
        snapshot.place("n1", shy);
        let refused = snapshot.refusal_on(&loud, "n1").unwrap();
        assert_eq!(refused.reasons, [Refusal::AvoidedByPods]);
        assert_eq!(snapshot.refusal_on(&loud, "n2"), None);
        assert_eq!(snapshot.avoidance(&loud), Company::ApartByNode);
        snapshot.place(
            "n2",
            PodFacts::new("default", "far", apart("far", "loud", "zone")),
        );
        // No node has the label, so nobody is in such a place.
        assert_eq!(snapshot.avoidance(&loud), Company::ApartByNode);
        let mut zoned = node("n3", 1000);
        zoned.labels.insert("zone".into(), "a".into());
        snapshot.set_node(zoned);
        snapshot.place(
            "n3",
            PodFacts::new("default", "far2", apart("far", "loud", "zone")),
        );
        assert_eq!(snapshot.avoidance(&loud), Company::Bound);
    }

    #[test]
    fn many_pods_take_the_room_of_each() {
        let mut snapshot = Snapshot::default();
        snapshot.set_node(node("n1", 1000));
        let pod = PodFacts::new("default", "p", spec(90, "a"));
        assert_eq!(snapshot.room_alone(&pod.spec, "n1", 99), 10);
        snapshot.place_many("n1", &pod, 8);
        assert_eq!(snapshot.room_alone(&pod.spec, "n1", 99), 2);
        let tiny = PodFacts::new("default", "t", spec(1, "a"));
        assert_eq!(snapshot.room_alone(&tiny.spec, "n1", 1), 1);
        snapshot.place("n1", PodFacts::new("default", "x", spec(1, "a")));
        snapshot.place("n1", PodFacts::new("default", "y", spec(1, "a")));
        let refused = snapshot.refusal_on(&tiny, "n1").unwrap();
        assert_eq!(refused.reasons, [Refusal::TooManyPods]);
    }

    #[test]
    fn a_node_alone_is_judged_with_what_runs_on_it() {
        let snapshot = Snapshot::default();
        let daemon = PodFacts::new("kube-system", "proxy", spec(300, "proxy"));
        let state = NodeState::alone(node("n", 1000), &[daemon]);
        let wanted = Arc::new(spec(800, "a"));
        let refused = snapshot.refusal_alone(&wanted, &state).unwrap();
        assert_eq!(refused.reasons, [Refusal::Insufficient("cpu".into())]);
        let obstacles = snapshot.obstacles_alone(&wanted, &state);
        assert!(obstacles[0].remedy.to_string().contains("700m of 1 free"));
        assert_eq!(
            snapshot.refusal_alone(&Arc::new(spec(700, "a")), &state),
            None
        );
    }
}
