//! Hard rules: why a node cannot take a pod.

use super::decision::{Refusal, Refused};
use super::snapshot::{NodeState, PodFacts};

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// No new pods.
    NoSchedule,
    /// New pods only if nothing better exists.
    PreferNoSchedule,
    /// No new pods, and running ones leave.
    NoExecute,
}

/// A node's taint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
    /// Effect.
    pub effect: Effect,
}

/// How a toleration compares values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TolerationOperator {
    /// The value must be equal.
    Equal,
    /// Any value; with an empty key, any taint.
    Exists,
}

/// A pod's toleration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toleration {
    /// Key; empty with `Exists` tolerates everything.
    pub key: String,
    /// Comparison.
    pub operator: TolerationOperator,
    /// Value, for `Equal`.
    pub value: String,
    /// Effect; `None` = all effects.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Whether this toleration covers the taint.
    pub fn covers(&self, taint: &Taint) -> bool {
        if self.effect.is_some_and(|e| e != taint.effect) {
            return false;
        }
        match self.operator {
            TolerationOperator::Exists => self.key.is_empty() || self.key == taint.key,
            TolerationOperator::Equal => self.key == taint.key && self.value == taint.value,
        }
    }
}

/// The taint that reports a cordoned node, tolerated like any other.
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Applies the hard rules in upstream's order; the first rule that refuses speaks.
pub(super) fn refuse(pod: &PodFacts, node: &NodeState) -> Option<Refused> {
    cordoned(pod, node)
        .or_else(|| named_elsewhere(pod, node))
        .or_else(|| tainted(pod, node))
        .or_else(|| not_selected(pod, node))
        .or_else(|| ports_taken(pod, node))
        .or_else(|| too_full(pod, node))
}

fn never(reason: Refusal) -> Refused {
    Refused {
        reasons: vec![reason],
        preemption_helps: false,
    }
}

fn cordoned(pod: &PodFacts, node: &NodeState) -> Option<Refused> {
    let taint = Taint {
        key: UNSCHEDULABLE.into(),
        value: String::new(),
        effect: Effect::NoSchedule,
    };
    let tolerated = pod.tolerations.iter().any(|t| t.covers(&taint));
    if node.facts.unschedulable && !tolerated {
        Some(never(Refusal::Unschedulable))
    } else {
        None
    }
}

fn named_elsewhere(pod: &PodFacts, node: &NodeState) -> Option<Refused> {
    let other = pod
        .node_name
        .as_ref()
        .is_some_and(|name| *name != node.facts.name);
    if other {
        Some(never(Refusal::OtherNodeNamed))
    } else {
        None
    }
}

fn tainted(pod: &PodFacts, node: &NodeState) -> Option<Refused> {
    let stops = |taint: &&Taint| taint.effect != Effect::PreferNoSchedule;
    let untolerated = node
        .facts
        .taints
        .iter()
        .filter(stops)
        .any(|taint| !pod.tolerations.iter().any(|t| t.covers(taint)));
    if untolerated {
        Some(never(Refusal::UntoleratedTaint))
    } else {
        None
    }
}

fn not_selected(pod: &PodFacts, node: &NodeState) -> Option<Refused> {
    let labels = &node.facts.labels;
    let selected = pod
        .node_selector
        .iter()
        .all(|(k, v)| labels.get(k) == Some(v));
    let wanted = pod
        .affinity
        .required
        .as_ref()
        .is_none_or(|terms| terms.iter().any(|t| t.matches(&node.facts.name, labels)));
    if selected && wanted {
        None
    } else {
        Some(never(Refusal::NotSelected))
    }
}

fn ports_taken(pod: &PodFacts, node: &NodeState) -> Option<Refused> {
    node.port_conflict(&pod.host_ports).then(|| Refused {
        reasons: vec![Refusal::PortTaken],
        preemption_helps: true,
    })
}

fn too_full(pod: &PodFacts, node: &NodeState) -> Option<Refused> {
    let mut reasons = Vec::new();
    let mut preemption_helps = true;
    if node.pods.saturating_add(1) > node.facts.max_pods {
        reasons.push(Refusal::TooManyPods);
    }
    for (name, wanted) in pod.requests.requested() {
        let capacity = node.facts.allocatable.amount(name);
        if wanted > capacity.saturating_sub(node.used.amount(name)) {
            reasons.push(Refusal::Insufficient(name.to_owned()));
            // An empty node would not do either, so evicting others cannot help.
            preemption_helps &= wanted <= capacity;
        }
    }
    if reasons.is_empty() {
        None
    } else {
        Some(Refused {
            reasons,
            preemption_helps,
        })
    }
}
