//! A second implementation of the hard rules: slow, direct, and without anything remembered.

use plimsoll_engine::placement::*;
use std::collections::BTreeMap;

/// Nodes, and pods with their nodes.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    pub(crate) nodes: Vec<NodeFacts>,
    pub(crate) placed: Vec<(String, PodFacts)>,
    pub(crate) namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

impl World {
    fn on<'a>(&'a self, node: &'a NodeFacts) -> impl Iterator<Item = &'a PodFacts> {
        let here = self.placed.iter().filter(|(name, _)| *name == node.name);
        here.map(|(_, pod)| pod)
    }

    /// Pods on nodes whose label has the value it has on `node`; `None` if `node` lacks it.
    fn place_of(&self, node: &NodeFacts, key: &str) -> Option<Vec<&PodFacts>> {
        let value = node.labels.get(key)?;
        let same = self
            .nodes
            .iter()
            .filter(|n| n.labels.get(key) == Some(value));
        Some(same.flat_map(|n| self.on(n)).collect())
    }

    /// Names of the nodes that may take the pod.
    pub(crate) fn fitting(&self, pod: &PodFacts) -> Vec<String> {
        let fits = self.nodes.iter().filter(|node| self.fits(pod, node));
        fits.map(|node| node.name.clone()).collect()
    }

    fn fits(&self, pod: &PodFacts, node: &NodeFacts) -> bool {
        admits(pod, node)
            && has_room(pod, node, &self.on(node).collect::<Vec<_>>())
            && pod
                .spec
                .spread
                .iter()
                .all(|c| self.even_enough(pod, c, node))
            && self.near_enough(pod, node)
            && self.apart_enough(pod, node)
    }

    fn selects(&self, term: &PodTerm, owner: &PodFacts, other: &PodFacts) -> bool {
        let by_name = if term.namespaces.is_empty() && term.namespace_selector.is_none() {
            other.namespace == owner.namespace
        } else {
            term.namespaces.iter().any(|n| **n == *other.namespace)
        };
        let labels = self
            .namespaces
            .get(&*other.namespace)
            .cloned()
            .unwrap_or_default();
        let by_label = term
            .namespace_selector
            .as_ref()
            .is_some_and(|s| s.matches(&labels));
        let selected = term
            .selector
            .as_ref()
            .is_some_and(|s| s.matches(&other.spec.labels));
        let value = |pod: &PodFacts, key: &String| pod.spec.labels.get(key).cloned();
        let keys = |keys: &[String]| {
            let own: Vec<String> = keys
                .iter()
                .filter(|k| value(owner, k).is_some())
                .cloned()
                .collect();
            own
        };
        (by_name || by_label)
            && selected
            && keys(&term.match_label_keys)
                .iter()
                .all(|k| value(owner, k) == value(other, k))
            && keys(&term.mismatch_label_keys)
                .iter()
                .all(|k| value(owner, k) != value(other, k))
    }

    fn near_enough(&self, pod: &PodFacts, node: &NodeFacts) -> bool {
        let terms = &pod.spec.pod_affinity.required;
        if terms.is_empty() {
            return true;
        }
        let liked = |other: &PodFacts| terms.iter().all(|t| self.selects(t, pod, other));
        let labelled = terms
            .iter()
            .all(|t| node.labels.contains_key(&t.topology_key));
        let everywhere = terms.iter().all(|term| {
            let place = self.place_of(node, &term.topology_key);
            place.is_some_and(|pods| pods.into_iter().any(liked))
        });
        let anywhere = terms.iter().any(|term| {
            let mut nodes = self
                .nodes
                .iter()
                .filter(|n| n.labels.contains_key(&term.topology_key));
            nodes.any(|n| self.on(n).any(liked))
        });
        labelled && (everywhere || (!anywhere && liked(pod)))
    }

    fn apart_enough(&self, pod: &PodFacts, node: &NodeFacts) -> bool {
        let mut own = pod.spec.pod_anti_affinity.required.iter();
        let avoids = own.any(|term| {
            let place = self.place_of(node, &term.topology_key).unwrap_or_default();
            place
                .into_iter()
                .any(|other| self.selects(term, pod, other))
        });
        let avoided = self.placed.iter().any(|(name, other)| {
            let Some(theirs) = self.nodes.iter().find(|n| n.name == *name) else {
                return false;
            };
            other.spec.pod_anti_affinity.required.iter().any(|term| {
                let value = theirs.labels.get(&term.topology_key);
                value.is_some()
                    && node.labels.get(&term.topology_key) == value
                    && self.selects(term, other, pod)
            })
        });
        !avoids && !avoided
    }

    fn even_enough(&self, pod: &PodFacts, constraint: &SpreadConstraint, node: &NodeFacts) -> bool {
        if constraint.when_unsatisfiable == WhenUnsatisfiable::ScheduleAnyway {
            return true;
        }
        let Some(value) = node.labels.get(&constraint.topology_key) else {
            return false;
        };
        let hard = |c: &&SpreadConstraint| c.when_unsatisfiable == WhenUnsatisfiable::DoNotSchedule;
        let keys: Vec<&String> = pod
            .spec
            .spread
            .iter()
            .filter(hard)
            .map(|c| &c.topology_key)
            .collect();
        let mut counts: BTreeMap<&String, i64> = BTreeMap::new();
        let counted = self.nodes.iter().filter(|n| {
            keys.iter().all(|key| n.labels.contains_key(*key))
                && (constraint.node_affinity_policy == Inclusion::Ignore || selected(pod, n))
                && (constraint.node_taints_policy == Inclusion::Ignore || tolerated(pod, n))
        });
        let selects = |other: &PodFacts| {
            other.namespace == pod.namespace
                && constraint
                    .selector
                    .as_ref()
                    .is_some_and(|s| s.matches(&other.spec.labels))
        };
        for n in counted {
            let pods = self
                .on(n)
                .filter(|other| !other.terminating && selects(other))
                .count();
            let place = n.labels.get(&constraint.topology_key);
            let count = counts.entry(place.expect("it has all keys")).or_insert(0);
            *count += i64::try_from(pods).unwrap_or(i64::MAX);
        }
        let few = constraint
            .min_domains
            .is_some_and(|min| counts.len() < usize::try_from(min).unwrap_or(0));
        let min = if few {
            0
        } else {
            counts
                .values()
                .min()
                .copied()
                .unwrap_or(i64::from(i32::MAX))
        };
        let here = counts.get(value).copied().unwrap_or(0);
        here + i64::from(selects(pod)) - min <= i64::from(constraint.max_skew)
    }
}

fn tolerated(pod: &PodFacts, node: &NodeFacts) -> bool {
    let hard = node
        .taints
        .iter()
        .filter(|t| t.effect != Effect::PreferNoSchedule);
    hard.into_iter()
        .all(|taint| pod.spec.tolerations.iter().any(|t| t.covers(taint)))
}

fn selected(pod: &PodFacts, node: &NodeFacts) -> bool {
    let spec = &pod.spec;
    let terms = spec.affinity.required.as_ref();
    spec.node_selector
        .iter()
        .all(|(k, v)| node.labels.get(k) == Some(v))
        && terms.is_none_or(|terms| terms.iter().any(|t| t.matches(&node.name, &node.labels)))
}

fn admits(pod: &PodFacts, node: &NodeFacts) -> bool {
    let everything = pod.spec.tolerations.iter().any(|t| t.key.is_empty());
    (!node.unschedulable || everything) && tolerated(pod, node) && selected(pod, node)
}

fn has_room(pod: &PodFacts, node: &NodeFacts, pods: &[&PodFacts]) -> bool {
    let asked = |name: &str| pod.spec.requests.amount(name);
    let used = |name: &str| {
        pods.iter()
            .map(|p| p.spec.requests.amount(name))
            .sum::<i64>()
    };
    let room =
        |name: &&str| asked(name) == 0 || used(name) + asked(name) <= node.allocatable.amount(name);
    let ports = pods.iter().flat_map(|p| &p.spec.host_ports);
    let mut clash = ports.filter(|port| pod.spec.host_ports.iter().any(|own| own.conflicts(port)));
    pods.len() < node.max_pods && ["cpu", "memory"].iter().all(room) && clash.next().is_none()
}
