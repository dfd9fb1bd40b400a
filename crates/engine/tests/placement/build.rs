//! Builders of nodes and pods.

use plimsoll_engine::placement::{
    Decision, HostPort, LabelSelector, NoPreemption, NodeFacts, Operator, PodAffinity, PodFacts,
    PodSpec, PodTerm, Preemption, Refusal, Requirement, Resources, Snapshot, SpreadConstraint,
    Toleration, TolerationOperator, WeightedPodTerm, WhenUnsatisfiable, decide, preempt,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const GIB: i64 = 1 << 30;
pub(crate) const HOSTNAME: &str = "kubernetes.io/hostname";
pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";

pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

/// A node of 4 GiB in a zone (no zone if empty).
pub(crate) fn node(name: &str, zone: &str, cpu: i64) -> NodeFacts {
    let mut facts = NodeFacts {
        name: name.into(),
        labels: labels(&[(HOSTNAME, name)]),
        allocatable: Resources::of(cpu, 4 * GIB),
        max_pods: 110,
        ..NodeFacts::default()
    };
    if !zone.is_empty() {
        facts.labels.insert(ZONE.into(), zone.into());
    }
    facts
}

pub(crate) fn cluster(nodes: &[(&str, &str)]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for (name, zone) in nodes {
        snapshot.set_node(node(name, zone, 1000));
    }
    snapshot
}

pub(crate) fn spec(cpu: i64) -> PodSpec {
    PodSpec {
        requests: Resources::of(cpu, 0),
        ..PodSpec::default()
    }
}

pub(crate) fn app(name: &str) -> PodSpec {
    PodSpec {
        labels: labels(&[("app", name)]),
        ..spec(10)
    }
}

pub(crate) fn pod(name: &str, spec: PodSpec) -> PodFacts {
    PodFacts::new("default", name, spec)
}

pub(crate) fn select(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        requirements: vec![Requirement::equals(key, value)],
    }
}

pub(crate) fn requirement(key: &str, operator: Operator, values: &[&str]) -> Requirement {
    Requirement {
        key: key.into(),
        operator,
        values: values.iter().map(|v| (*v).into()).collect(),
    }
}

pub(crate) fn term(app: &str, topology_key: &str) -> PodTerm {
    PodTerm {
        selector: Some(select("app", app)),
        topology_key: topology_key.into(),
        ..PodTerm::default()
    }
}

pub(crate) fn required(terms: Vec<PodTerm>) -> PodAffinity {
    PodAffinity {
        required: terms,
        preferred: Vec::new(),
    }
}

pub(crate) fn preferred(weight: i64, term: PodTerm) -> PodAffinity {
    PodAffinity {
        required: Vec::new(),
        preferred: vec![WeightedPodTerm { weight, term }],
    }
}

pub(crate) fn spread(app: &str, key: &str, when: WhenUnsatisfiable) -> SpreadConstraint {
    SpreadConstraint {
        topology_key: key.into(),
        selector: Some(select("app", app)),
        when_unsatisfiable: when,
        ..SpreadConstraint::default()
    }
}

pub(crate) fn tolerate_all() -> Toleration {
    Toleration {
        key: String::new(),
        operator: TolerationOperator::Exists,
        value: String::new(),
        effect: None,
    }
}

pub(crate) fn port(number: u16) -> HostPort {
    HostPort {
        protocol: "TCP".into(),
        ip: String::new(),
        port: number,
    }
}

/// The node chosen with tie 0, if any.
pub(crate) fn chosen(snapshot: &mut Snapshot, spec: &PodSpec) -> Option<String> {
    let decision = decide(snapshot, &pod("incoming", spec.clone()), 0);
    decision.node().map(str::to_owned)
}

/// All nodes that fit.
pub(crate) fn fitting(snapshot: &mut Snapshot, spec: &PodSpec) -> BTreeSet<String> {
    let reports = plimsoll_engine::placement::explain(snapshot, &pod("incoming", spec.clone()));
    let fit = reports.nodes.into_iter().filter(|n| n.scores.is_some());
    fit.map(|n| n.node).collect()
}

/// The nodes that have the highest score.
pub(crate) fn best(snapshot: &mut Snapshot, spec: &PodSpec) -> BTreeSet<String> {
    let reports = plimsoll_engine::placement::explain(snapshot, &pod("incoming", spec.clone()));
    let scored = || {
        let nodes = reports.nodes.iter();
        nodes.filter_map(|n| Some((&n.node, n.scores?.total)))
    };
    let top = scored().map(|(_, total)| total).max();
    let best = scored().filter(|(_, total)| Some(*total) == top);
    best.map(|(node, _)| node.clone()).collect()
}

/// What each node refuses with.
pub(crate) fn refusals(snapshot: &mut Snapshot, spec: &PodSpec) -> BTreeMap<String, Vec<Refusal>> {
    let Decision::Nowhere(failure) = decide(snapshot, &pod("incoming", spec.clone()), 0) else {
        return BTreeMap::new();
    };
    let mut all = BTreeMap::new();
    for group in &failure.groups {
        for name in snapshot.names(&group.nodes) {
            all.insert(name.to_owned(), group.refused.reasons.clone());
        }
    }
    all
}

/// The FailedScheduling text, preemption included; empty if a node fits.
pub(crate) fn message(snapshot: &mut Snapshot, spec: &PodSpec) -> String {
    let incoming = pod("incoming", spec.clone());
    match decide(snapshot, &incoming, 0) {
        Decision::Fits(_) => String::new(),
        Decision::Nowhere(failure) => {
            let preemption = preempt(snapshot, &incoming, &failure, &[], 0);
            failure.message(&preemption)
        }
    }
}

/// The message's part about preemption alone.
pub(crate) fn unhelpful(why: NoPreemption) -> Preemption {
    Preemption::Impossible(why)
}
