//! Which pods stand behind a service, and when that changes.

use crate::pods::{
    Container, ContainerRole, PodView, ServicePort, ServiceView, TargetPort, label_key,
};
use crate::runtime::{Change, ObjectKey, Queue};
use crate::supervisor::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Annotation: when the last change happened that led to this state.
pub(crate) const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// A port of a slice or subset. Orders by all fields, so that it can key a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointPort {
    #[serde(default)]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) port: Option<u16>,
    #[serde(default)]
    pub(crate) protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) app_protocol: Option<String>,
}

/// The pod behind an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetRef {
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) uid: String,
}

impl TargetRef {
    pub(crate) fn of(pod: &PodView) -> Self {
        Self {
            kind: "Pod".into(),
            namespace: pod.meta.namespace().into(),
            name: pod.meta.name().into(),
            uid: pod.meta.uid.to_string(),
        }
    }
}

/// The pods that have an address and can serve, in name order, grouped by the ports that the
/// service's ports lead to (a named port may differ from pod to pod).
pub(crate) fn groups(
    context: &Context,
    service: &ServiceView,
) -> BTreeMap<Vec<EndpointPort>, Vec<Arc<PodView>>> {
    let mut groups: BTreeMap<_, Vec<_>> = BTreeMap::new();
    let Some(selector) = &service.selector else {
        return groups;
    };
    for pod in context
        .caches
        .select_pods(service.meta.namespace(), selector)
    {
        if pod.ip.is_some() && !pod.phase.is_terminal() {
            groups.entry(ports(service, &pod)).or_default().push(pod);
        }
    }
    groups
}

fn ports(service: &ServiceView, pod: &PodView) -> Vec<EndpointPort> {
    let mut ports: Vec<_> = service
        .ports
        .iter()
        .filter_map(|port| {
            Some(EndpointPort {
                name: Some(port.name.to_string()),
                port: Some(number(port, pod)?),
                protocol: Some(port.protocol.to_string()),
                app_protocol: port.app_protocol.as_deref().map(str::to_owned),
            })
        })
        .collect();
    ports.sort();
    ports
}

fn number(port: &ServicePort, pod: &PodView) -> Option<u16> {
    let name = match &port.target {
        TargetPort::Number(number) => return Some(*number),
        TargetPort::Name(name) => name,
    };
    let serves = |container: &&Container| container.role != ContainerRole::Init;
    let mut ports = pod
        .containers
        .iter()
        .filter(serves)
        .flat_map(|c| c.ports.iter());
    let found = ports.find(|p| p.name == *name && p.protocol == port.protocol);
    found.map(|port| port.container_port)
}

/// The host name under which a pod of a headless service is found.
pub(crate) fn hostname(service: &ServiceView, pod: &PodView) -> Option<String> {
    let inside = pod.subdomain.as_deref() == Some(service.meta.name());
    pod.hostname
        .as_deref()
        .filter(|_| inside)
        .map(str::to_owned)
}

/// When the newest change behind this state happened, in whole seconds.
pub(crate) fn trigger(service: &ServiceView, pods: &[Arc<PodView>]) -> Option<String> {
    let changed = |pod: &Arc<PodView>| {
        pod.condition("Ready")
            .and_then(|ready| ready.since)
            .max(pod.meta.created)
    };
    let newest = pods
        .iter()
        .filter_map(changed)
        .max()
        .max(service.meta.created)?;
    Some(seconds(newest))
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What of a pod matters to its services.
fn aspects(pod: &PodView) -> impl PartialEq + '_ {
    let labels = &pod.meta.labels;
    let state = (
        pod.is_ready(),
        pod.meta.is_deleting(),
        pod.phase.is_terminal(),
    );
    (labels, &pod.ip, &pod.node, &pod.meta.uid, state)
}

/// Queues each service that changes or whose pods change.
pub(crate) fn watch(context: &Context, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    context
        .caches
        .services
        .on_change(move |change| add.add(change.key.clone()));
    let by_anchor = context.caches.services.index(anchor);
    let add = queue.clone();
    context
        .caches
        .pods
        .on_change(move |change: &Change<PodView>| {
            if let (Some(old), Some(new)) = (&change.old, &change.new)
                && aspects(old) == aspects(new)
            {
                return;
            }
            for pod in [change.old.as_ref(), change.new.as_ref()]
                .into_iter()
                .flatten()
            {
                for (key, value) in &pod.meta.labels {
                    let mut services = by_anchor.get(&label_key(pod.meta.namespace(), key, value));
                    services.retain(|service| {
                        let selector = service.selector.as_ref();
                        selector.is_some_and(|s| s.matches(&pod.meta.labels))
                    });
                    let keys = services.iter().map(|service| &service.meta.key);
                    add.add_all(keys.map(|key| (key.clone(), std::time::Duration::ZERO)));
                }
            }
        });
}

/// Services are found by the first label they select.
fn anchor(service: &ServiceView) -> Vec<Arc<str>> {
    let anchor = service
        .selector
        .as_ref()
        .and_then(|selector| selector.anchor());
    let key = |(key, value)| label_key(service.meta.namespace(), key, value).into();
    anchor.map(key).into_iter().collect()
}
