//! Facts of pods.

use super::amount;
use super::wire::{Affinities, AffinityWire, SpreadWire, TolerationWire, parsed};
use crate::pods::{Container, ContainerRole, PodView};
use plimsoll_engine::placement::{
    HostPort, LabelSelector, PodFacts, PodSpec, PreemptionPolicy, Resources, SpreadConstraint,
    Toleration,
};
use std::sync::Arc;

/// What placement needs of a pod that asks for `spec`.
pub(in super::super) fn of_pod(pod: &PodView, spec: Arc<PodSpec>) -> PodFacts {
    PodFacts {
        namespace: Arc::clone(&pod.meta.key.namespace),
        name: Arc::clone(&pod.meta.key.name),
        spec,
        started: pod.started,
        terminating: pod.meta.is_deleting(),
    }
}

/// What a pod asks for; `default_spread` selects its like (see [`PodSpec`]).
pub(in super::super) fn spec_of(pod: &PodView, default_spread: Option<LabelSelector>) -> PodSpec {
    let placement = &pod.placement;
    let affinities: Affinities = parsed::<AffinityWire>(placement.affinity.as_deref()).into();
    let spread: Vec<SpreadWire> = parsed(placement.topology_spread_constraints.as_deref());
    let tolerations: Vec<TolerationWire> = parsed(placement.tolerations.as_deref());
    let text = |(key, value): &(Arc<str>, Arc<str>)| (key.to_string(), value.to_string());
    PodSpec {
        labels: pod.meta.labels.iter().map(text).collect(),
        requests: requests(pod),
        // Of a pod without a node; one that is bound is where it is.
        node_name: None,
        node_selector: placement.node_selector.clone().unwrap_or_default(),
        affinity: affinities.node,
        pod_affinity: affinities.pod,
        pod_anti_affinity: affinities.pod_anti,
        default_spread: default_spread.filter(|_| spread.is_empty()),
        spread: spread.into_iter().map(SpreadConstraint::from).collect(),
        tolerations: tolerations.into_iter().map(Toleration::from).collect(),
        host_ports: host_ports(pod),
        images: pod.containers.iter().map(|c| c.image.to_string()).collect(),
        claims: placement
            .claims
            .iter()
            .map(|c| c.name.to_string())
            .collect(),
        priority: pod.priority,
        preemption: match placement.preemption_policy.as_deref() {
            Some("Never") => PreemptionPolicy::Never,
            _ => PreemptionPolicy::LowerPriority,
        },
    }
}

/// Containers and sidecars add up; a plain init container runs alone, beside the sidecars started
/// before it; what the pod asks for as a whole replaces that; overhead comes on top.
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
    for (name, quantity) in &pod.placement.requests {
        set(&mut total, name, quantity);
    }
    for (name, quantity) in pod.placement.overhead.iter().flatten() {
        amount(&mut total, name, quantity);
    }
    total
}

fn request_of(container: &Container) -> Resources {
    let mut resources = Resources::default();
    for (name, quantity) in &container.requests {
        amount(&mut resources, name, quantity);
    }
    resources
}

fn set(resources: &mut Resources, name: &str, quantity: &str) {
    let mut one = Resources::default();
    amount(&mut one, name, quantity);
    match name {
        "cpu" => resources.cpu_milli = one.cpu_milli,
        "memory" => resources.memory_bytes = one.memory_bytes,
        _ => resources.extended.append(&mut one.extended),
    }
}

/// Plain init containers are over before others start: their ports do not count.
fn host_ports(pod: &PodView) -> Vec<HostPort> {
    let lasting = |container: &&Container| container.role != ContainerRole::Init;
    let ports = pod.containers.iter().filter(lasting);
    let ports = ports.flat_map(|container| container.ports.iter());
    ports
        .filter_map(|port| {
            let on_node = if pod.host_network {
                Some(port.container_port)
            } else {
                port.host_port
            };
            Some(HostPort {
                protocol: port.protocol.to_string(),
                ip: port.host_ip.as_deref().unwrap_or_default().to_owned(),
                port: on_node.filter(|p| *p > 0)?,
            })
        })
        .collect()
}
