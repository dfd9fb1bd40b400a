//! What pods ask of each other, before any of them has a node.

use super::pod::{HostPort, PodFacts, PodSpec};
use super::selector::{LabelSelector, Operator};
use super::shape::ShapeId;
use super::snapshot::Snapshot;
use super::spread::{HOSTNAME, WhenUnsatisfiable};
use std::collections::{BTreeMap, BTreeSet};

/// What a pod's spec asks of other pods, by how much has to be known to answer it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Company {
    /// Nothing: only the node itself decides.
    Indifferent,
    /// Not to share a node with certain pods (host ports, anti-affinity by host name).
    ApartByNode,
    /// More than that: places, volumes, or pods it must be near.
    Bound,
}

impl PodSpec {
    /// What the hard rules of the pod ask of other pods.
    pub fn company(&self) -> Company {
        let hard = |when: WhenUnsatisfiable| when == WhenUnsatisfiable::DoNotSchedule;
        let spread = self.spread.iter().any(|c| hard(c.when_unsatisfiable));
        let apart = &self.pod_anti_affinity.required;
        let by_node = apart.iter().all(|term| term.topology_key == HOSTNAME);
        let stored = !self.claims.is_empty() || !self.devices.is_empty();
        if spread || stored || !self.pod_affinity.required.is_empty() || !by_node {
            Company::Bound
        } else if apart.is_empty() && self.host_ports.is_empty() {
            Company::Indifferent
        } else {
            Company::ApartByNode
        }
    }

    /// Whether some hard spreading constraint is by host name.
    pub fn spreads_by_node(&self) -> bool {
        let mut constraints = self.spread.iter();
        constraints.any(|c| {
            c.topology_key == HOSTNAME && c.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule
        })
    }
}

/// What pods of a list ask of each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations {
    /// By pod: those that cannot share its node, itself included where its like cannot. Ascending.
    pub apart: Vec<BTreeSet<usize>>,
    /// By pod: whether a hard rule of some pod of the list counts it.
    pub minded: Vec<bool>,
}

/// The pods of a list by what rules ask for.
#[derive(Default)]
struct Index<'a> {
    labels: BTreeMap<(&'a str, &'a str), Vec<usize>>,
    ports: BTreeMap<(&'a str, u16), Vec<usize>>,
    claims: BTreeMap<(&'a str, &'a str), Vec<usize>>,
}

impl<'a> Index<'a> {
    fn of(pods: &[&'a PodFacts]) -> Self {
        let mut index = Self::default();
        for (at, pod) in pods.iter().enumerate() {
            for (key, value) in &pod.spec.labels {
                index.labels.entry((key, value)).or_default().push(at);
            }
            for port in &pod.spec.host_ports {
                let key = (port.protocol.as_str(), port.port);
                index.ports.entry(key).or_default().push(at);
            }
            for claim in &pod.spec.claims {
                let key = (&*pod.namespace, claim.as_str());
                index.claims.entry(key).or_default().push(at);
            }
        }
        index
    }

    /// Pods that a selector may select: all that it does, and maybe more.
    fn candidates(&self, selector: Option<&LabelSelector>, pods: usize) -> Vec<usize> {
        let Some(selector) = selector else {
            return Vec::new();
        };
        let mut requirements = selector.requirements.iter();
        let Some(asked) = requirements.find(|r| r.operator == Operator::In) else {
            return (0..pods).collect();
        };
        let values = asked.values.iter();
        let lists = values.filter_map(|value| self.labels.get(&(&*asked.key, &**value)));
        lists.flatten().copied().collect()
    }
}

impl Snapshot {
    /// What pods of a list ask of each other. They need not be on nodes.
    pub fn relations(&mut self, pods: &[&PodFacts]) -> Relations {
        let index = Index::of(pods);
        let shapes: Vec<ShapeId> = pods.iter().map(|pod| self.shape_of(pod)).collect();
        let mut relations = Relations {
            apart: vec![BTreeSet::new(); pods.len()],
            minded: vec![false; pods.len()],
        };
        for (carrier, pod) in pods.iter().enumerate() {
            if pod.spec.company() == Company::Indifferent {
                continue;
            }
            let selected = self.selected_by((carrier, pod), &index, &shapes);
            for (other, apart) in selected {
                note(&mut relations.minded, other);
                if apart {
                    keep_apart(&mut relations.apart, carrier, other);
                }
            }
            for other in spread_over(pod, &index, pods).chain(sharing(pod, &index)) {
                note(&mut relations.minded, other);
            }
            for other in ports_clash(pod, &index, pods) {
                note(&mut relations.minded, other);
                keep_apart(&mut relations.apart, carrier, other);
            }
        }
        relations
    }

    /// Pods that the carrier's affinities select, and whether it must be apart from them.
    fn selected_by(
        &self,
        carrier: (usize, &PodFacts),
        index: &Index<'_>,
        shapes: &[ShapeId],
    ) -> Vec<(usize, bool)> {
        let Some(shape) = shapes.get(carrier.0) else {
            return Vec::new();
        };
        let terms = self.neighbours.terms(*shape);
        let apart = terms.apart.iter().map(|term| (term, true));
        let near = terms.near.iter().map(|term| (term, false));
        let mut selected = Vec::new();
        for (term, apart) in apart.chain(near) {
            for other in index.candidates(term.selector.as_ref(), shapes.len()) {
                let shape = shapes.get(other);
                if shape.is_some_and(|shape| self.neighbours.selected(term, *shape)) {
                    selected.push((other, apart));
                }
            }
        }
        selected
    }
}

fn note(list: &mut [bool], at: usize) {
    if let Some(minded) = list.get_mut(at) {
        *minded = true;
    }
}

fn keep_apart(apart: &mut [BTreeSet<usize>], one: usize, other: usize) {
    for (a, b) in [(one, other), (other, one)] {
        if let Some(set) = apart.get_mut(a) {
            set.insert(b);
        }
    }
}

/// Pods that the carrier's spreading counts. (Where it fills in own labels, these are fewer.)
fn spread_over<'a>(
    carrier: &'a PodFacts,
    index: &'a Index<'_>,
    pods: &'a [&PodFacts],
) -> impl Iterator<Item = usize> {
    let hard = carrier
        .spec
        .spread
        .iter()
        .filter(|c| c.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule);
    hard.flat_map(move |constraint| {
        let selector = constraint.selector.as_ref();
        let candidates = index.candidates(selector, pods.len()).into_iter();
        candidates.filter(move |other| {
            pods.get(*other).is_some_and(|pod| {
                pod.namespace == carrier.namespace
                    && selector.is_some_and(|s| s.matches(&pod.spec.labels))
            })
        })
    })
}

fn sharing<'a>(carrier: &'a PodFacts, index: &'a Index<'_>) -> impl Iterator<Item = usize> {
    let claims = carrier.spec.claims.iter();
    let lists = claims.filter_map(|claim| index.claims.get(&(&*carrier.namespace, &**claim)));
    lists.flatten().copied()
}

fn ports_clash<'a>(
    carrier: &'a PodFacts,
    index: &'a Index<'_>,
    pods: &'a [&PodFacts],
) -> impl Iterator<Item = usize> {
    carrier.spec.host_ports.iter().flat_map(move |port| {
        let candidates = index.ports.get(&(port.protocol.as_str(), port.port));
        let clashes = move |other: &usize| {
            let conflicts = |taken: &HostPort| taken.conflicts(port);
            let pod = pods.get(*other);
            pod.is_some_and(|pod| pod.spec.host_ports.iter().any(conflicts))
        };
        candidates.into_iter().flatten().copied().filter(clashes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{PodTerm, Requirement, SpreadConstraint};

    fn labelled(app: &str) -> PodSpec {
        PodSpec {
            labels: [("app".to_owned(), app.to_owned())].into(),
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
        let mut spec = labelled(app);
        spec.pod_anti_affinity.required.push(term(from, key));
        spec
    }

    fn with_port(app: &str, port: u16) -> PodSpec {
        let mut spec = labelled(app);
        spec.host_ports.push(HostPort {
            protocol: "TCP".into(),
            ip: String::new(),
            port,
        });
        spec
    }

    fn spread(app: &str) -> PodSpec {
        let mut spec = labelled(app);
        spec.spread.push(SpreadConstraint {
            topology_key: "zone".into(),
            selector: term(app, "").selector,
            ..SpreadConstraint::default()
        });
        spec
    }

    #[test]
    fn a_spec_says_how_much_company_it_minds() {
        assert_eq!(labelled("a").company(), Company::Indifferent);
        assert_eq!(with_port("a", 80).company(), Company::ApartByNode);
        assert_eq!(apart("a", "b", HOSTNAME).company(), Company::ApartByNode);
        assert_eq!(apart("a", "b", "zone").company(), Company::Bound);
        assert_eq!(spread("a").company(), Company::Bound);
    }

    #[test]
    fn who_minds_whom_is_found() {
        let specs = [
            labelled("loud"),
            apart("shy", "loud", HOSTNAME),
            apart("one", "one", HOSTNAME),
            with_port("web", 80),
            with_port("proxy", 80),
            spread("even"),
            labelled("even"),
            labelled("nobody"),
        ];
        let pods: Vec<PodFacts> = specs
            .into_iter()
            .enumerate()
            .map(|(at, spec)| PodFacts::new("default", &at.to_string(), spec))
            .collect();
        let all: Vec<&PodFacts> = pods.iter().collect();
        let relations = Snapshot::default().relations(&all);
        let want: [&[usize]; 8] = [&[1], &[0], &[2], &[3, 4], &[3, 4], &[], &[], &[]];
        for (got, want) in relations.apart.iter().zip(want) {
            assert_eq!(got.iter().copied().collect::<Vec<_>>(), want);
        }
        let minded = [true, false, true, true, true, true, true, false];
        assert_eq!(relations.minded, minded);
    }
}
