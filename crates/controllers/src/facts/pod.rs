//! Facts of pods.

use super::amount;
use super::wire::{Affinities, AffinityWire, SpreadWire, TolerationWire, parsed};
use crate::pods::{Container, ContainerRole, PodDeviceClaim, PodView};
use plimsoll_engine::placement::{
    DeviceWish, HostPort, LabelSelector, PodFacts, PodSpec, PreemptionPolicy, Resources,
    SpreadConstraint, Toleration,
};
use std::sync::Arc;

/// What placement needs of a pod that asks for `spec`.
pub fn of_pod(pod: &PodView, spec: Arc<PodSpec>) -> PodFacts {
    PodFacts {
        namespace: Arc::clone(&pod.meta.key.namespace),
        name: Arc::clone(&pod.meta.key.name),
        spec,
        started: pod.started,
        terminating: pod.meta.is_deleting(),
    }
}

/// The pod that comes in place of one that goes: claims to devices that were made for that one are
/// made anew from their templates.
pub fn to_come(pod: &PodFacts) -> PodFacts {
    let mut new = pod.clone();
    let made = |wish: &DeviceWish| wish.claim.is_some() && wish.template.is_some();
    if pod.spec.devices.iter().any(made) {
        let spec = Arc::make_mut(&mut new.spec);
        for wish in spec.devices.iter_mut().filter(|wish| made(wish)) {
            wish.claim = None;
        }
    }
    new
}

/// What a pod asks for; `default_spread` selects its like (see [`PodSpec`]).
pub fn spec_of(pod: &PodView, default_spread: Option<LabelSelector>) -> PodSpec {
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
        images: pod.containers.iter().map(|c| tagged(&c.image)).collect(),
        claims: placement
            .claims
            .iter()
            .map(|c| c.name.to_string())
            .collect(),
        devices: placement.device_claims.iter().map(wish).collect(),
        priority: pod.priority,
        preemption: match placement.preemption_policy.as_deref() {
            Some("Never") => PreemptionPolicy::Never,
            _ => PreemptionPolicy::LowerPriority,
        },
    }
}

fn wish(claim: &PodDeviceClaim) -> DeviceWish {
    DeviceWish {
        name: Arc::clone(&claim.name),
        claim: claim.claim.clone(),
        template: claim.template.clone(),
    }
}

/// An image by the name nodes know it by: without tag and digest it is the latest.
fn tagged(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or_default();
    let tag = if name.contains([':', '@']) {
        ""
    } else {
        ":latest"
    };
    format!("{image}{tag}")
}

/// Whether its node will never grant what the pod was resized to.
pub fn resize_is_infeasible(pod: &PodView) -> bool {
    let pending = pod.condition("PodResizePending");
    pending.is_some_and(|pending| pending.holds && &*pending.reason == "Infeasible")
}

/// Containers and sidecars add up; a plain init container runs alone, beside the sidecars started
/// before it; what the pod asks for as a whole replaces that; overhead comes on top.
fn requests(pod: &PodView) -> Resources {
    let mut total = Resources::default();
    let (main, init): (Vec<&Container>, Vec<&Container>) = pod
        .containers
        .iter()
        .partition(|c| c.role == ContainerRole::Main);
    let infeasible = resize_is_infeasible(pod);
    let request_of = |container: &Container| request_of(container, pod, infeasible);
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

/// What a container asks for, at least what its node granted it; only that if it will not grant
/// more.
fn request_of(container: &Container, pod: &PodView, infeasible: bool) -> Resources {
    let sum = |requests: &[(Arc<str>, Box<str>)]| {
        let mut resources = Resources::default();
        for (name, quantity) in requests {
            amount(&mut resources, name, quantity);
        }
        resources
    };
    let mut granted = pod.placement.allocated.iter();
    let Some(granted) = granted.find(|granted| granted.container == container.name) else {
        return sum(&container.requests);
    };
    let mut resources = sum(&granted.requests);
    if !infeasible {
        resources.at_least(&sum(&container.requests));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Cached;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case("nginx", "nginx:latest")]
    #[case("registry:5000/web/app", "registry:5000/web/app:latest")]
    #[case("registry:5000/app:v1", "registry:5000/app:v1")]
    #[case("app@sha256:0a1b", "app@sha256:0a1b")]
    fn images_have_a_tag(#[case] written: &str, #[case] known: &str) {
        assert_eq!(tagged(written), known);
    }

    #[test]
    fn a_pod_to_come_has_its_own_claims_only_made_anew() {
        let pod = json!({"metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [], "resourceClaims": [
                {"name": "own", "resourceClaimTemplateName": "t"},
                {"name": "shared", "resourceClaimName": "s"}]},
            "status": {"resourceClaimStatuses": [
                {"name": "own", "resourceClaimName": "p-own-x"}]}});
        let pod = PodView::from_wire(serde_json::from_value(pod).unwrap());
        let facts = of_pod(&pod, Arc::new(spec_of(&pod, None)));
        let claims = |facts: &PodFacts| -> Vec<Option<Arc<str>>> {
            let wishes = facts.spec.devices.iter();
            wishes.map(|wish| wish.claim.clone()).collect()
        };
        assert_eq!(claims(&facts), [Some("p-own-x".into()), Some("s".into())]);
        assert_eq!(claims(&to_come(&facts)), [None, Some("s".into())]);
    }

    /// A pod that was granted 500m and is resized.
    fn resized(to: &str, reason: &str) -> PodView {
        let pod = json!({"metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": to}}}]},
            "status": {
                "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "500m"}}],
                "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}]}});
        PodView::from_wire(serde_json::from_value(pod).unwrap())
    }

    #[rstest]
    #[case::may_still_grow("800m", "Deferred", 800)]
    #[case::will_not_grow("800m", "Infeasible", 500)]
    #[case::has_not_shrunk_yet("200m", "Deferred", 500)]
    #[case::as_it_was("500m", "Deferred", 500)]
    fn a_resize_counts_what_may_be_used(#[case] to: &str, #[case] reason: &str, #[case] cpu: i64) {
        assert_eq!(requests(&resized(to, reason)).cpu_milli, cpu);
    }
}
