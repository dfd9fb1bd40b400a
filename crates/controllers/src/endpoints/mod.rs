//! Keeps the Endpoints object of each service that has a selector, for clients that still read it.

use crate::endpointslice::members::{self, EndpointPort, TRIGGER, TargetRef};
use crate::pods::{PodView, ServiceView};
use crate::runtime::{
    Action, Cache, Cached, Deletion, Meta, ObjectKey, Queue, Reconcile, WriteError, run, wire,
};
use crate::supervisor::Context;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Most addresses in one object.
const LIMIT: usize = 1000;

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let endpoints: Cache<EndpointsView> =
        Cache::start_selected(context.client.clone(), context.seed ^ 0x52, ours);
    context.caches.pods.ready().await;
    context.caches.services.ready().await;
    endpoints.ready().await;
    members::watch(&context, &queue);
    let add = queue.clone();
    endpoints.on_change(move |change| add.add(change.key.clone()));
    match run(Arc::new(Endpoints { context, endpoints }), queue).await {}
}

struct Endpoints {
    context: Context,
    endpoints: Cache<EndpointsView>,
}

impl Reconcile for Endpoints {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "endpoints"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let writer = &self.context.writer;
        let current = self.endpoints.get(key);
        let Some(service) = self.context.caches.services.get(key) else {
            if let Some(current) = current {
                let deletion = Deletion::of(&current.meta.uid);
                writer.delete::<EndpointsWire>(key, &deletion).await?;
            }
            return Ok(Action::Wait);
        };
        if service.selector.is_none() || service.meta.is_deleting() {
            return Ok(Action::Wait);
        }
        let (subsets, pods) = self.subsets(&service);
        if current
            .as_ref()
            .is_some_and(|current| current.subsets == subsets)
        {
            return Ok(Action::Wait);
        }
        let annotations = json!({
            (TRIGGER): members::trigger(&service, &pods),
            (OVER_CAPACITY): (pods.len() > LIMIT).then_some("truncated"),
        });
        let metadata = json!({"annotations": annotations, "labels": labels(&service)});
        let outcome = if current.is_some() {
            let patch = json!({"metadata": metadata, "subsets": subsets});
            writer.patch(&self.endpoints, key, &patch).await
        } else {
            let body = body(&service, metadata, &subsets);
            writer
                .create(&self.endpoints, service.meta.namespace(), &body)
                .await
        };
        match outcome {
            // Someone else's object of this name; taking it over is not ours to do.
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() => {
                Ok(Action::Wait)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(Action::Wait),
        }
    }
}

fn body(
    service: &ServiceView,
    mut metadata: serde_json::Value,
    subsets: &[Subset],
) -> serde_json::Value {
    if let Some(map) = metadata.as_object_mut() {
        map.insert("name".into(), service.meta.name().into());
    }
    // A creation has nothing to remove, so no nulls.
    if let Some(map) = metadata
        .pointer_mut("/annotations")
        .and_then(|a| a.as_object_mut())
    {
        map.retain(|_, value| !value.is_null());
    }
    json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets})
}

fn labels(service: &ServiceView) -> BTreeMap<&str, &str> {
    let mut labels: BTreeMap<&str, &str> = service
        .meta
        .labels
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    labels.insert(MANAGED_BY, MANAGER);
    if service.is_headless() {
        labels.insert(HEADLESS, "");
    }
    labels
}

impl Endpoints {
    fn subsets(&self, service: &ServiceView) -> (Vec<Subset>, Vec<Arc<PodView>>) {
        let mut subsets = Vec::new();
        let mut pods = Vec::new();
        let mut room = LIMIT;
        for (ports, members) in members::groups(&self.context, service) {
            let mut subset = Subset {
                addresses: None,
                not_ready_addresses: None,
                ports: None,
            };
            for pod in &members {
                let excluded = pod.meta.is_deleting() && !service.publish_not_ready;
                if excluded || room == 0 {
                    continue;
                }
                room -= 1;
                let ready = service.publish_not_ready || pod.is_ready();
                let list = if ready {
                    &mut subset.addresses
                } else {
                    &mut subset.not_ready_addresses
                };
                list.get_or_insert_default().push(address(service, pod));
            }
            subset.ports = (!ports.is_empty()).then(|| ports.into_iter().map(Port::from).collect());
            if subset.addresses.is_some() || subset.not_ready_addresses.is_some() {
                subsets.push(subset);
            }
            pods.extend(members);
        }
        (subsets, pods)
    }
}

fn address(service: &ServiceView, pod: &PodView) -> Address {
    Address {
        ip: pod.ip.as_deref().unwrap_or_default().to_owned(),
        hostname: members::hostname(service, pod),
        node_name: pod.node.as_deref().map(str::to_owned),
        target_ref: Some(TargetRef::of(pod)),
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subset {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    addresses: Option<Vec<Address>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_ready_addresses: Option<Vec<Address>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ports: Option<Vec<Port>>,
}

/// Like a slice's port, but an unnamed one has no `name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "port")]
    number: u16,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    app_protocol: Option<String>,
}

impl From<EndpointPort> for Port {
    fn from(port: EndpointPort) -> Self {
        Self {
            name: port.name.filter(|name| !name.is_empty()),
            number: port.port.unwrap_or_default(),
            protocol: port.protocol,
            app_protocol: port.app_protocol,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Address {
    ip: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_ref: Option<TargetRef>,
}

#[derive(Debug)]
struct EndpointsView {
    meta: Meta,
    subsets: Vec<Subset>,
}

impl Cached for EndpointsView {
    type Wire = EndpointsWire;

    fn from_wire(wire: EndpointsWire) -> Self {
        Self {
            meta: wire.metadata.into(),
            subsets: wire.subsets.unwrap_or_default(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Debug, Clone, Deserialize)]
struct EndpointsWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    subsets: Option<Vec<Subset>>,
}

wire!(
    EndpointsWire,
    NamespaceResourceScope,
    "",
    "v1",
    "Endpoints",
    "endpoints"
);
