//! Which pods stand behind a service, and when that changes.

use crate::pods::{
    Container, ContainerRole, PodView, ServicePort, ServiceView, TargetPort, label_key,
};
use crate::runtime::{Change, Index, ObjectKey, Queue};
use crate::supervisor::Context;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

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
    #[serde(default)]
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

/// Whether the service's endpoints follow from its selector. Those of an external name, of a service
/// without selector and of one on its way out are left as they are.
pub(crate) fn are_kept(service: &ServiceView) -> bool {
    service.selector.is_some() && &*service.kind != "ExternalName" && !service.meta.is_deleting()
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

/// Finds the services that select a pod.
#[derive(Debug, Clone)]
pub(crate) struct ByPod(Index<ServiceView>);

impl ByPod {
    pub(crate) fn new(context: &Context) -> Self {
        Self(context.caches.services.index(anchor))
    }

    /// The services that select the pod.
    pub(crate) fn of<'a>(&'a self, pod: &'a PodView) -> impl Iterator<Item = ObjectKey> + 'a {
        let labels = pod.meta.labels.iter();
        let anchored = labels
            .flat_map(|(key, value)| self.0.get(&label_key(pod.meta.namespace(), key, value)));
        let selecting = anchored.filter(|service| {
            let selector = service.selector.as_ref();
            selector.is_some_and(|selector| selector.matches(&pod.meta.labels))
        });
        selecting.map(|service| service.meta.key.clone())
    }
}

/// Queues each service that changes or whose pods change.
pub(crate) fn watch(context: &Context, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    context
        .caches
        .services
        .on_change(move |change| add.add(change.key.clone()));
    let services = ByPod::new(context);
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
            let both = [change.old.as_ref(), change.new.as_ref()];
            for pod in both.into_iter().flatten() {
                add.add_all(services.of(pod).map(|key| (key, Duration::ZERO)));
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
