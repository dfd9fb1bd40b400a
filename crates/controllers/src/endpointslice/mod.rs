//! Keeps the EndpointSlices of each service that has a selector.
//!
//! A change of a pod reaches the slice at once. Only a service whose slices change often within one
//! second is held back to the end of that second, so that a roll of a thousand pods does not write
//! a slice a thousand times.

pub(crate) mod members;
mod plan;

use crate::pods::{PodView, ServiceView};
use crate::runtime::{
    Action, Cache, Cached, Deletion, Meta, ObjectKey, Owner, Queue, Reconcile, WriteError, run,
    wire,
};
use crate::supervisor::Context;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use members::{EndpointPort, TRIGGER, TargetRef};
use parking_lot::Mutex;
use plan::{Endpoint, EndpointConditions, Existing, Group, plan};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const SERVICE: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Writes a second that a service may make at once.
const FREE_WRITES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let ours = watcher::Config::default().labels(&format!("{MANAGED_BY}={MANAGER}"));
    let slices: Cache<SliceView> =
        Cache::start_selected(context.client.clone(), context.seed ^ 0x51, ours);
    context.caches.pods.ready().await;
    context.caches.services.ready().await;
    slices.ready().await;
    let by_service = slices.index(service_of);
    members::watch(&context, &queue);
    let add = queue.clone();
    slices.on_change(move |change: &crate::runtime::Change<SliceView>| {
        for slice in [change.old.as_ref(), change.new.as_ref()]
            .into_iter()
            .flatten()
        {
            if let Some(name) = slice.meta.label(SERVICE) {
                add.add(ObjectKey::new(slice.meta.namespace(), name));
            }
        }
    });
    let controller = Slices {
        context,
        cache: slices,
        by_service,
        writes: Mutex::default(),
    };
    match run(Arc::new(controller), queue).await {}
}

fn service_of(slice: &SliceView) -> Vec<Arc<str>> {
    let name = slice.meta.label(SERVICE);
    name.map(|name| format!("{}/{name}", slice.meta.namespace()).into())
        .into_iter()
        .collect()
}

struct Slices {
    context: Context,
    cache: Cache<SliceView>,
    by_service: crate::runtime::Index<SliceView>,
    /// Start of the current second and the writes in it.
    writes: Mutex<BTreeMap<ObjectKey, (Instant, u32)>>,
}

impl Reconcile for Slices {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "endpointslice"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(service) = self.context.caches.services.get(key) else {
            self.writes.lock().remove(key);
            // The slices go with their owner, by garbage collection.
            return Ok(Action::Wait);
        };
        if service.selector.is_none() || service.meta.is_deleting() {
            return Ok(Action::Wait);
        }
        if let Some(left) = self.held_back(key) {
            return Ok(Action::Requeue(left));
        }
        let groups = members::groups(&self.context, &service);
        let mut wanted: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
        let mut pods = Vec::new();
        for (ports, members) in groups {
            for pod in members {
                let family = if pod.ip.as_deref().is_some_and(|ip| ip.contains(':')) {
                    "IPv6"
                } else {
                    "IPv4"
                };
                let endpoints = wanted.entry((family.into(), ports.clone())).or_default();
                endpoints.push(self.endpoint(&service, &pod));
                pods.push(pod);
            }
        }
        if wanted.is_empty() {
            wanted.insert(("IPv4".into(), Vec::new()), Vec::new());
        }
        let existing = self.by_service.get(&key.to_string());
        let existing = existing.iter().filter(|slice| !slice.meta.is_deleting());
        let plan = plan(existing.map(|slice| slice.to_existing()).collect(), wanted);
        self.apply(&service, plan, members::trigger(&service, &pods))
            .await?;
        Ok(Action::Wait)
    }
}

impl Slices {
    /// How long a service that has written much must wait.
    fn held_back(&self, key: &ObjectKey) -> Option<Duration> {
        let mut writes = self.writes.lock();
        let (start, count) = writes.get(key).copied()?;
        let elapsed = start.elapsed();
        if elapsed >= WINDOW {
            writes.remove(key);
            return None;
        }
        (count >= FREE_WRITES).then_some(WINDOW.saturating_sub(elapsed))
    }

    fn endpoint(&self, service: &ServiceView, pod: &PodView) -> Endpoint {
        let (serving, terminating) = (pod.is_ready(), pod.meta.is_deleting());
        let ready = service.publish_not_ready || (serving && !terminating);
        let node = pod.node.as_ref();
        let node = node.and_then(|name| self.context.caches.nodes.find("", name));
        Endpoint {
            addresses: pod.ip.as_deref().map(str::to_owned).into_iter().collect(),
            conditions: EndpointConditions {
                ready: Some(ready),
                serving: Some(serving),
                terminating: Some(terminating),
            },
            hostname: members::hostname(service, pod),
            node_name: pod.node.as_deref().map(str::to_owned),
            target_ref: Some(TargetRef::of(pod)),
            zone: node.and_then(|node| node.meta.label(ZONE).map(str::to_owned)),
        }
    }

    async fn apply(
        &self,
        service: &ServiceView,
        plan: plan::Plan,
        trigger: Option<String>,
    ) -> Result<(), WriteError> {
        let writer = &self.context.writer;
        let count = plan.create.len() + plan.update.len() + plan.delete.len();
        if count > 0 {
            let mut written = self.writes.lock();
            let entry = written
                .entry(service.meta.key.clone())
                .or_insert((Instant::now(), 0));
            entry.1 = entry.1.saturating_add(1);
        }
        for (key, endpoints) in plan.update {
            let annotations = json!({(TRIGGER): trigger});
            let patch = json!({"metadata": {"annotations": annotations}, "endpoints": endpoints});
            match writer.patch(&self.cache, &key, &patch).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        for (group, endpoints) in plan.create {
            let body = body(service, &group, &endpoints, trigger.as_deref());
            match writer
                .create(&self.cache, service.meta.namespace(), &body)
                .await
            {
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        for key in plan.delete {
            writer
                .delete::<SliceWire>(&key, &Deletion::default())
                .await?;
        }
        Ok(())
    }
}

fn body(
    service: &ServiceView,
    (family, ports): &Group,
    endpoints: &[Endpoint],
    trigger: Option<&str>,
) -> Value {
    let mut labels: BTreeMap<&str, &str> = service
        .meta
        .labels
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    labels.insert(SERVICE, service.meta.name());
    labels.insert(MANAGED_BY, MANAGER);
    if service.is_headless() {
        labels.insert(HEADLESS, "");
    }
    let owner = Owner {
        api_version: "v1".into(),
        kind: "Service".into(),
        name: Arc::clone(&service.meta.key.name),
        uid: Arc::clone(&service.meta.uid),
        controller: true,
        block_owner_deletion: true,
    };
    let annotations: BTreeMap<&str, &str> = trigger.map(|at| (TRIGGER, at)).into_iter().collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "generateName": format!("{}-", service.meta.name()),
            "labels": labels, "annotations": annotations,
            "ownerReferences": [owner.to_reference()],
        },
        "addressType": family, "ports": ports, "endpoints": endpoints,
    })
}

#[derive(Debug)]
struct SliceView {
    meta: Meta,
    group: Group,
    endpoints: Vec<Endpoint>,
}

impl SliceView {
    fn to_existing(&self) -> Existing {
        Existing {
            key: self.meta.key.clone(),
            group: self.group.clone(),
            endpoints: self.endpoints.clone(),
        }
    }
}

impl Cached for SliceView {
    type Wire = SliceWire;

    fn from_wire(wire: SliceWire) -> Self {
        let mut ports = wire.ports.unwrap_or_default();
        ports.sort();
        Self {
            meta: wire.metadata.into(),
            group: (wire.address_type, ports),
            endpoints: wire.endpoints.unwrap_or_default(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    address_type: String,
    #[serde(default)]
    ports: Option<Vec<EndpointPort>>,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

wire!(
    SliceWire,
    NamespaceResourceScope,
    "discovery.k8s.io",
    "v1",
    "EndpointSlice",
    "endpointslices"
);
