//! Keeps the Endpoints object of each service that has a selector, for clients that still read it.

pub(crate) mod view;

use crate::endpointslice::members::{self, TargetRef};
use crate::endpointslice::trigger::{TRIGGER, Triggers};
use crate::pods::{PodView, ServiceView};
use crate::runtime::{Action, Cache, Deletion, ObjectKey, Queue, Reconcile, WriteError, run};
use crate::supervisor::Context;
use kube::runtime::watcher;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use view::{Address, EndpointsView, EndpointsWire, Port, Subset};

/// Label: who keeps an Endpoints object.
pub(crate) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] for what is kept here.
pub(crate) const MANAGER: &str = "endpoint-controller";
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
    let controller = Endpoints {
        context,
        kept: endpoints,
        triggers: Triggers::default(),
    };
    match run(Arc::new(controller), queue).await {}
}

struct Endpoints {
    context: Context,
    kept: Cache<EndpointsView>,
    triggers: Triggers,
}

impl Reconcile for Endpoints {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "endpoints"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let writer = &self.context.writer;
        let current = self.kept.get(key);
        let Some(service) = self.context.caches.services.get(key) else {
            self.triggers.forget(key);
            if let Some(current) = current {
                let deletion = Deletion::of(&current.meta.uid);
                writer.delete::<EndpointsWire>(key, &deletion).await?;
            }
            return Ok(Action::Wait);
        };
        if !members::are_kept(&service) {
            return Ok(Action::Wait);
        }
        let (subsets, pods) = self.subsets(&service);
        let labels = labels(&service);
        let same = |current: &Arc<EndpointsView>| {
            let now = current
                .meta
                .labels
                .iter()
                .map(|(key, value)| (&**key, &**value));
            current.subsets == subsets && now.eq(labels.iter().map(|(key, value)| (*key, *value)))
        };
        if current.as_ref().is_some_and(same) {
            return Ok(Action::Wait);
        }
        let trigger = self.triggers.of(&service, &pods);
        let annotations = json!({
            (TRIGGER): trigger.time(),
            (OVER_CAPACITY): (pods.len() > LIMIT).then_some("truncated"),
        });
        if current.is_none() {
            let body = body(&service, &labels, &annotations, &subsets);
            let namespace = service.meta.namespace();
            match writer.create(&self.kept, namespace, &body).await {
                // Made by somebody else before the service had a selector: taken over below.
                Err(error) if error.is_already_exists() => {}
                Err(error) if error.is_namespace_terminating() => return Ok(Action::Wait),
                Err(error) => return Err(error),
                Ok(_) => {
                    self.triggers.written(key, trigger);
                    return Ok(Action::Wait);
                }
            }
        }
        let labels = labels_patch(current.as_deref(), &labels);
        let metadata = json!({"annotations": annotations, "labels": labels});
        let patch = json!({"metadata": metadata, "subsets": subsets});
        writer.patch(&self.kept, key, &patch).await?;
        self.triggers.written(key, trigger);
        Ok(Action::Wait)
    }
}

fn body(
    service: &ServiceView,
    labels: &BTreeMap<&str, &str>,
    annotations: &Value,
    subsets: &[Subset],
) -> Value {
    let mut annotations = annotations.clone();
    // A creation has nothing to remove, so no nulls.
    if let Some(map) = annotations.as_object_mut() {
        map.retain(|_, value| !value.is_null());
    }
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": service.meta.name(), "labels": labels, "annotations": annotations,
        },
        "subsets": subsets,
    })
}

/// Sets the labels and removes others that are there.
fn labels_patch(current: Option<&EndpointsView>, labels: &BTreeMap<&str, &str>) -> Value {
    let now = current
        .into_iter()
        .flat_map(|current| current.meta.labels.iter());
    let gone = now.filter(|(key, _)| !labels.contains_key(&**key));
    let mut patch: Map<String, Value> = gone
        .map(|(key, _)| (key.to_string(), Value::Null))
        .collect();
    for (key, value) in labels {
        patch.insert((*key).to_owned(), (*value).into());
    }
    Value::Object(patch)
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
        let groups = members::groups(&self.context, service);
        let is_ready = |pod: &PodView| service.publish_not_ready || pod.is_ready();
        // Pods on their way out have no address here, unless unready ones do, too.
        let shown = |pod: &&Arc<PodView>| service.publish_not_ready || !pod.meta.is_deleting();
        let pods: Vec<Arc<PodView>> = groups.values().flatten().map(Arc::clone).collect();
        let ready = pods
            .iter()
            .filter(shown)
            .filter(|pod| is_ready(pod))
            .count();
        // Where there is no room for all, those that work come first.
        let mut room = [ready.min(LIMIT), LIMIT.saturating_sub(ready)];
        let mut subsets = Vec::new();
        for (ports, members) in groups {
            let (mut works, mut waits) = (Vec::new(), Vec::new());
            let [room_ready, room_unready] = &mut room;
            for pod in members.iter().filter(shown) {
                let (list, room) = if is_ready(pod) {
                    (&mut works, &mut *room_ready)
                } else {
                    (&mut waits, &mut *room_unready)
                };
                if *room > 0 {
                    *room -= 1;
                    list.push(address(service, pod));
                }
            }
            if !works.is_empty() || !waits.is_empty() {
                let some = |list: Vec<Address>| (!list.is_empty()).then_some(list);
                let ports: Vec<Port> = ports.into_iter().map(Port::from).collect();
                subsets.push(Subset {
                    addresses: some(works),
                    not_ready_addresses: some(waits),
                    ports: (!ports.is_empty()).then_some(ports),
                });
            }
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
