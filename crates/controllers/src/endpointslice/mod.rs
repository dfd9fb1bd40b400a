//! Keeps the EndpointSlices of each service that has a selector.
//!
//! A change of a pod reaches the slice at once. Only a service whose slices change often within one
//! second is held back to the end of that second, so that a roll of a thousand pods does not write
//! a slice a thousand times.

pub(crate) mod members;
pub(crate) mod mirroring;
mod plan;
mod slices;
pub(crate) mod trigger;

use crate::pods::{NodeView, PodView, ServiceView};
use crate::runtime::{
    Action, Cache, Change, Index, ObjectKey, Owner, Queue, Reconcile, WriteError, run,
};
use crate::supervisor::Context;
use kube::runtime::watcher;
use members::TargetRef;
use parking_lot::Mutex;
use plan::{Endpoint, EndpointConditions, Existing, Group, Hints, Named, plan};
use slices::{Head, MANAGED_BY, SERVICE, SliceView};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use trigger::{TRIGGER, Triggers};

const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Most endpoints in one slice.
const SLICE_LIMIT: usize = 100;
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
    // Endpoints tell the zone of their node.
    context.caches.nodes.ready().await;
    slices.ready().await;
    let by_service = slices.index(slices::service_of);
    members::watch(&context, &queue);
    watch_zones(&context, &queue);
    slices::watch(&slices, &queue);
    let controller = Slices {
        context,
        cache: slices,
        by_service,
        writes: Mutex::default(),
        triggers: Triggers::default(),
    };
    match run(Arc::new(controller), queue).await {}
}

/// Queues the services of a node's pods when its zone changes.
fn watch_zones(context: &Context, queue: &Queue<ObjectKey>) {
    let caches = context.caches.clone();
    let services = members::ByPod::new(context);
    let add = queue.clone();
    context
        .caches
        .nodes
        .on_change(move |change: &Change<NodeView>| {
            let zone = |node: &Option<Arc<NodeView>>| {
                let zone = node.as_ref().and_then(|node| node.meta.label(ZONE));
                zone.map(str::to_owned)
            };
            if zone(&change.old) == zone(&change.new) {
                return;
            }
            for pod in caches.pods_by_node.get(&change.key.name) {
                add.add_all(services.of(&pod).map(|key| (key, Duration::ZERO)));
            }
        });
}

struct Slices {
    context: Context,
    cache: Cache<SliceView>,
    by_service: Index<SliceView>,
    /// Start of the current second and the writes in it.
    writes: Mutex<BTreeMap<ObjectKey, (Instant, u32)>>,
    triggers: Triggers,
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
            self.triggers.forget(key);
            // The slices go with their owner, by garbage collection.
            return Ok(Action::Wait);
        };
        if !members::are_kept(&service) {
            return Ok(Action::Wait);
        }
        if let Some(left) = self.held_back(key) {
            return Ok(Action::Requeue(left));
        }
        let (wanted, pods) = self.wanted(&service);
        let existing = self.by_service.get(&key.to_string());
        let existing = existing.iter().filter(|slice| !slice.meta.is_deleting());
        let mut head = head(&service);
        let existing = existing.map(|slice| Existing {
            key: slice.meta.key.clone(),
            group: slice.group.clone(),
            endpoints: slice.endpoints.clone(),
            outdated: head.differs(slice),
        });
        let plan = plan(existing.collect(), wanted, SLICE_LIMIT);
        if plan.is_empty() {
            return Ok(Action::Wait);
        }
        self.count_write(key);
        let trigger = self.triggers.of(&service, &pods);
        head.annotations.insert(TRIGGER.into(), trigger.time());
        let namespace = service.meta.namespace();
        slices::apply(&self.context.writer, &self.cache, namespace, &head, plan).await?;
        self.triggers.written(key, trigger);
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

    fn count_write(&self, key: &ObjectKey) {
        let mut written = self.writes.lock();
        let entry = written.entry(key.clone()).or_insert((Instant::now(), 0));
        entry.1 = entry.1.saturating_add(1);
    }

    /// The endpoints that the service should have, and the pods behind them.
    fn wanted(&self, service: &ServiceView) -> (BTreeMap<Group, Vec<Endpoint>>, Vec<Arc<PodView>>) {
        let mut wanted: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
        let mut pods = Vec::new();
        for (ports, members) in members::groups(&self.context, service) {
            for pod in members {
                let family = family(pod.ip.as_deref().unwrap_or_default());
                let endpoints = wanted.entry((family.into(), ports.clone())).or_default();
                endpoints.push(self.endpoint(service, &pod));
                pods.push(pod);
            }
        }
        if wanted.is_empty() {
            wanted.insert(("IPv4".into(), Vec::new()), Vec::new());
        }
        (wanted, pods)
    }

    fn endpoint(&self, service: &ServiceView, pod: &PodView) -> Endpoint {
        let (serving, terminating) = (pod.is_ready(), pod.meta.is_deleting());
        let ready = service.publish_not_ready || (serving && !terminating);
        let node = pod.node.as_ref();
        let node = node.and_then(|name| self.context.caches.nodes.find("", name));
        let zone = node.and_then(|node| node.meta.label(ZONE).map(str::to_owned));
        let node_name = pod.node.as_deref().map(str::to_owned);
        Endpoint {
            addresses: pod.ip.as_deref().map(str::to_owned).into_iter().collect(),
            conditions: EndpointConditions {
                ready: Some(ready),
                serving: Some(serving),
                terminating: Some(terminating),
            },
            hostname: members::hostname(service, pod),
            target_ref: Some(TargetRef::of(pod)),
            hints: hints(service, ready, zone.as_ref(), node_name.as_ref()),
            node_name,
            zone,
        }
    }
}

/// The kind of an address.
fn family(address: &str) -> &'static str {
    if address.contains(':') {
        "IPv6"
    } else {
        "IPv4"
    }
}

/// Whom a ready endpoint is meant for, as `spec.trafficDistribution` says.
fn hints(
    service: &ServiceView,
    ready: bool,
    zone: Option<&String>,
    node: Option<&String>,
) -> Option<Hints> {
    let distribution = service.traffic_distribution.as_deref()?;
    let named = |name: &String| vec![Named { name: name.clone() }];
    let for_zones = zone.map(named);
    let for_nodes = match distribution {
        "PreferSameNode" => node.map(named),
        "PreferClose" | "PreferSameZone" => None,
        _ => return None,
    };
    let any = for_zones.is_some() || for_nodes.is_some();
    (ready && any).then_some(Hints {
        for_zones,
        for_nodes,
    })
}

fn head(service: &ServiceView) -> Head {
    let mut labels: BTreeMap<String, String> = service
        .meta
        .labels
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()))
        .collect();
    labels.insert(SERVICE.into(), service.meta.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels.remove(HEADLESS);
    if service.is_headless() {
        labels.insert(HEADLESS.into(), String::new());
    }
    Head {
        owner: Owner {
            api_version: "v1".into(),
            kind: "Service".into(),
            name: Arc::clone(&service.meta.key.name),
            uid: Arc::clone(&service.meta.uid),
            controller: true,
            block_owner_deletion: true,
        },
        labels,
        annotations: BTreeMap::new(),
    }
}
