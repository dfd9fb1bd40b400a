//! Hard rules that look at one node alone.

use super::devices::{Demand, Devices};
use super::node::NodeState;
use super::pod::PodSpec;
use super::refusal::{Refusal, Refused};
use super::taints::{Effect, Taint, UNSCHEDULABLE, untolerated};
use super::volumes::{Storage, Volumes};
use std::sync::Arc;

/// What a pod wants of a node by itself.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) spec: Arc<PodSpec>,
    /// What its claims want; `None` without claims.
    pub(super) storage: Option<Storage>,
    /// What its claims to devices want; `None` without any.
    pub(super) devices: Option<Demand>,
}

/// What the rules about one node have to know beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around<'a> {
    pub(super) volumes: &'a Volumes,
    pub(super) devices: &'a Devices,
}

impl Wanted {
    /// Applies the hard rules in upstream's order; the first rule that refuses speaks.
    pub(super) fn refuse(&self, node: &NodeState, around: Around<'_>) -> Option<Refused> {
        not_named(&self.spec, node)
            .or_else(|| cordoned(&self.spec, node))
            .or_else(|| named_elsewhere(&self.spec, node))
            .or_else(|| tainted(&self.spec, node))
            .or_else(|| not_selected(&self.spec, node))
            .or_else(|| self.refuse_load(node, around))
    }

    /// What each rule that depends on what runs on the node says.
    pub(super) fn refusals_of_load(
        &self,
        node: &NodeState,
        around: Around<'_>,
    ) -> impl Iterator<Item = Refused> {
        let awaited = node.with_nominated(self.spec.priority);
        let node = awaited.as_ref().unwrap_or(node);
        let storage = self.storage.as_ref();
        [
            ports_taken(&self.spec, node),
            too_full(&self.spec, node),
            storage.and_then(|storage| storage.refuse(node, around.volumes)),
            self.refuse_devices(node, around),
        ]
        .into_iter()
        .flatten()
    }

    /// The rules that depend on what runs on the node, too.
    pub(super) fn refuse_load(&self, node: &NodeState, around: Around<'_>) -> Option<Refused> {
        let awaited = node.with_nominated(self.spec.priority);
        let node = awaited.as_ref().unwrap_or(node);
        ports_taken(&self.spec, node)
            .or_else(|| too_full(&self.spec, node))
            .or_else(|| self.storage.as_ref()?.refuse(node, around.volumes))
            .or_else(|| self.refuse_devices(node, around))
    }

    /// Whether nothing beside the node itself decides.
    pub(super) fn stands_alone(&self) -> bool {
        self.storage.is_none() && self.devices.is_none()
    }

    fn refuse_devices(&self, node: &NodeState, around: Around<'_>) -> Option<Refused> {
        self.devices.as_ref()?.refuse(node, around.devices)
    }
}

/// What each rule says that does not depend on what runs on the node.
pub(super) fn fixed(spec: &PodSpec, node: &NodeState) -> Vec<Refused> {
    let not_named = not_named(spec, node);
    // A node that is not named is not selected either: said once.
    let not_selected = not_selected(spec, node).filter(|_| not_named.is_none());
    let rest = [
        cordoned(spec, node),
        named_elsewhere(spec, node),
        tainted(spec, node),
        not_selected,
    ];
    not_named
        .into_iter()
        .chain(rest.into_iter().flatten())
        .collect()
}

/// Whether selector and required affinity admit the node.
pub(super) fn admitted(spec: &PodSpec, node: &NodeState) -> bool {
    let labels = &node.facts.labels;
    let mut selector = spec.node_selector.iter();
    selector.all(|(k, v)| labels.get(k) == Some(v))
        && spec.affinity.admits(&node.facts.name, labels)
}

fn not_named(spec: &PodSpec, node: &NodeState) -> Option<Refused> {
    let others = spec.affinity.names_only_others(&node.facts.name);
    others.then(|| Refused::for_good(Refusal::NotNamed))
}

fn cordoned(spec: &PodSpec, node: &NodeState) -> Option<Refused> {
    if !node.facts.unschedulable {
        return None;
    }
    let taint = Taint {
        key: UNSCHEDULABLE.into(),
        value: String::new(),
        effect: Effect::NoSchedule,
    };
    let tolerated = spec.tolerations.iter().any(|t| t.covers(&taint));
    (!tolerated).then(|| Refused::for_good(Refusal::Unschedulable))
}

fn named_elsewhere(spec: &PodSpec, node: &NodeState) -> Option<Refused> {
    let mut named = spec.node_name.iter();
    let other = named.any(|name| *name != node.facts.name);
    other.then(|| Refused::for_good(Refusal::OtherNodeNamed))
}

fn tainted(spec: &PodSpec, node: &NodeState) -> Option<Refused> {
    untolerated(&spec.tolerations, &node.facts.taints)
        .map(|_| Refused::for_good(Refusal::UntoleratedTaint))
}

fn not_selected(spec: &PodSpec, node: &NodeState) -> Option<Refused> {
    (!admitted(spec, node)).then(|| Refused::for_good(Refusal::NotSelected))
}

fn ports_taken(spec: &PodSpec, node: &NodeState) -> Option<Refused> {
    node.port_conflict(&spec.host_ports)
        .then(|| Refused::for_now(Refusal::PortTaken))
}

fn too_full(spec: &PodSpec, node: &NodeState) -> Option<Refused> {
    let mut reasons = Vec::new();
    let mut preemption_helps = true;
    if node.pod_count() >= node.facts.max_pods {
        reasons.push(Refusal::TooManyPods);
        preemption_helps &= node.facts.max_pods > 0;
    }
    for (name, wanted) in spec.requests.requested() {
        let capacity = node.facts.allocatable.amount(name);
        if wanted > capacity.saturating_sub(node.used.amount(name)) {
            reasons.push(Refusal::Insufficient(name.to_owned()));
            // An empty node would not do either, so removing others cannot help.
            preemption_helps &= wanted <= capacity;
        }
    }
    (!reasons.is_empty()).then_some(Refused {
        reasons,
        preemption_helps,
    })
}
