//! From the cached views to what placement knows.

use crate::pods::{Container, ContainerRole, NodeView, PodView};
use plimsoll_engine::placement::{
    Effect, HostPort, LabelSelector, NodeAffinity, NodeFacts, NodeTerm, Operator, PodFacts,
    PodSpec, PreemptionPolicy, PreferredTerm, Requirement, Resources, Taint, Toleration,
    TolerationOperator,
};
use plimsoll_quantity::Quantity;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// How many pods a node runs that does not say.
const DEFAULT_MAX_PODS: usize = 110;

/// What placement needs of a node.
pub(super) fn of_node(node: &NodeView) -> NodeFacts {
    let amount = |name: &str| node.allocatable(name).unwrap_or_default();
    let mut allocatable = Resources::default();
    for (name, quantity) in &node.allocatable {
        add(&mut allocatable, name, quantity);
    }
    NodeFacts {
        name: node.meta.name().to_owned(),
        labels: node
            .meta
            .labels
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        taints: node
            .taints
            .iter()
            .filter_map(|taint| {
                Some(Taint {
                    key: taint.key.clone(),
                    value: taint.value.clone().unwrap_or_default(),
                    effect: effect(&taint.effect)?,
                })
            })
            .collect(),
        unschedulable: node.unschedulable,
        max_pods: amount("pods").parse().unwrap_or(DEFAULT_MAX_PODS),
        allocatable,
        ..NodeFacts::default()
    }
}

/// What placement needs of a pod.
pub(super) fn of_pod(pod: &PodView) -> PodFacts {
    let placement = &pod.placement;
    let labels: BTreeMap<String, String> = pod
        .meta
        .labels
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_string()))
        .collect();
    let spec = PodSpec {
        requests: requests(pod),
        node_selector: placement.node_selector.clone().unwrap_or_default(),
        affinity: affinity(placement.affinity.as_deref()),
        tolerations: tolerations(placement.tolerations.as_deref()),
        host_ports: host_ports(pod),
        default_spread: pod.meta.controller().map(|_| siblings(&labels)),
        labels,
        priority: pod.priority,
        preemption: match placement.preemption_policy.as_deref() {
            Some("Never") => PreemptionPolicy::Never,
            _ => PreemptionPolicy::LowerPriority,
        },
        ..PodSpec::default()
    };
    PodFacts {
        started: pod.started,
        terminating: pod.meta.is_deleting(),
        ..PodFacts::new(pod.meta.namespace(), pod.meta.name(), spec)
    }
}

/// Selects pods of the same owner, near enough: by all labels but those of one pod alone.
fn siblings(labels: &BTreeMap<String, String>) -> LabelSelector {
    let own = [
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
    ];
    let shared = labels
        .iter()
        .filter(|(key, _)| !own.contains(&key.as_str()));
    LabelSelector::of_labels(shared)
}

/// Containers and sidecars add up; a plain init container runs alone, beside the sidecars started
/// before it; overhead comes on top.
fn requests(pod: &PodView) -> Resources {
    let mut total = Resources::default();
    let (main, init): (Vec<&Container>, Vec<&Container>) = pod
        .containers
        .iter()
        .partition(|c| c.role == ContainerRole::Main);
    for container in main {
        total.add(&request_of(container));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in init {
        let mut at_this_step = sidecars.clone();
        at_this_step.add(&request_of(container));
        peak.at_least(&at_this_step);
        if container.role == ContainerRole::Sidecar {
            sidecars.add(&request_of(container));
        }
    }
    total.add(&sidecars);
    total.at_least(&peak);
    for (name, quantity) in pod.placement.overhead.iter().flatten() {
        add(&mut total, name, quantity);
    }
    total
}

fn request_of(container: &Container) -> Resources {
    let mut resources = Resources::default();
    for (name, quantity) in &container.requests {
        add(&mut resources, name, quantity);
    }
    resources
}

/// Adds one quantity; text that is none counts nothing (the API server refuses it).
fn add(resources: &mut Resources, name: &str, quantity: &str) {
    let Ok(quantity) = quantity.parse::<Quantity>() else {
        return;
    };
    let mut one = Resources::default();
    match name {
        "cpu" => one.cpu_milli = quantity.milli(),
        "memory" => one.memory_bytes = quantity.value(),
        "ephemeral-storage" => one.ephemeral_bytes = quantity.value(),
        "pods" => {}
        other => drop(one.extended.insert(other.to_owned(), quantity.value())),
    }
    resources.add(&one);
}

fn host_ports(pod: &PodView) -> Vec<HostPort> {
    let ports = pod.containers.iter().flat_map(|c| c.ports.iter());
    ports
        .filter_map(|port| {
            let on_node = if pod.host_network {
                Some(port.container_port)
            } else {
                port.host_port
            };
            Some(HostPort {
                protocol: port.protocol.to_string(),
                ip: String::new(),
                port: on_node.filter(|p| *p > 0)?,
            })
        })
        .collect()
}

fn effect(text: &str) -> Option<Effect> {
    match text {
        "NoSchedule" => Some(Effect::NoSchedule),
        "PreferNoSchedule" => Some(Effect::PreferNoSchedule),
        "NoExecute" => Some(Effect::NoExecute),
        _ => None,
    }
}

#[derive(Deserialize)]
struct TolerationWire {
    #[serde(default)]
    key: String,
    #[serde(default)]
    operator: String,
    #[serde(default)]
    value: String,
    effect: Option<String>,
}

fn tolerations(raw: Option<&RawValue>) -> Vec<Toleration> {
    let wire: Vec<TolerationWire> = parsed(raw);
    wire.into_iter()
        .map(|t| Toleration {
            key: t.key,
            operator: match t.operator.as_str() {
                "Exists" => TolerationOperator::Exists,
                _ => TolerationOperator::Equal,
            },
            value: t.value,
            effect: t.effect.as_deref().and_then(effect),
        })
        .collect()
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AffinityWire {
    node_affinity: NodeAffinityWire,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NodeAffinityWire {
    required_during_scheduling_ignored_during_execution: Option<SelectorWire>,
    preferred_during_scheduling_ignored_during_execution: Vec<PreferredWire>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct SelectorWire {
    node_selector_terms: Vec<TermWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PreferredWire {
    weight: i64,
    preference: TermWire,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct TermWire {
    match_expressions: Vec<RequirementWire>,
    match_fields: Vec<RequirementWire>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RequirementWire {
    key: String,
    operator: String,
    values: Vec<String>,
}

impl TermWire {
    fn into_term(self) -> NodeTerm {
        let all = |wire: Vec<RequirementWire>| wire.into_iter().filter_map(requirement).collect();
        NodeTerm {
            labels: all(self.match_expressions),
            fields: all(self.match_fields),
        }
    }
}

fn requirement(wire: RequirementWire) -> Option<Requirement> {
    let operator = match wire.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::Gt,
        "Lt" => Operator::Lt,
        _ => return None,
    };
    Some(Requirement {
        key: wire.key,
        operator,
        values: wire.values,
    })
}

fn affinity(raw: Option<&RawValue>) -> NodeAffinity {
    let wire = parsed::<AffinityWire>(raw).node_affinity;
    NodeAffinity {
        required: wire
            .required_during_scheduling_ignored_during_execution
            .map(|s| {
                s.node_selector_terms
                    .into_iter()
                    .map(TermWire::into_term)
                    .collect()
            }),
        preferred: wire
            .preferred_during_scheduling_ignored_during_execution
            .into_iter()
            .map(|p| PreferredTerm {
                weight: p.weight,
                term: p.preference.into_term(),
            })
            .collect(),
    }
}

fn parsed<T: Default + for<'a> Deserialize<'a>>(raw: Option<&RawValue>) -> T {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}
