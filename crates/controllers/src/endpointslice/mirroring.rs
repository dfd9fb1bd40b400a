//! Copies Endpoints that somebody else keeps into slices, for those who only read slices.

use super::family;
use super::plan::{Endpoint, EndpointConditions, Existing, Group, plan};
use super::slices::{self, Head, MANAGED_BY, SERVICE, SliceView};
use crate::endpoints::view::{Address, EndpointsView};
use crate::endpointslice::members::EndpointPort;
use crate::runtime::{Action, Cache, Index, ObjectKey, Owner, Queue, Reconcile, WriteError, run};
use crate::supervisor::Context;
use kube::runtime::watcher;
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Label: whoever sets it keeps the slices, too.
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotation: the object is no list of endpoints but a lease of old.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Most endpoints of one subset that are copied.
const MOST: usize = 1000;

/// Runs the controller for ever.
pub(crate) async fn control(context: Context) {
    let queue = Queue::new();
    let others = format!(
        "{}!={}",
        crate::endpoints::MANAGED_BY,
        crate::endpoints::MANAGER
    );
    let select = |labels: &str| watcher::Config::default().labels(labels);
    let endpoints: Cache<EndpointsView> =
        Cache::start_selected(context.client.clone(), context.seed ^ 0x53, select(&others));
    let ours = select(&format!("{MANAGED_BY}={MANAGER}"));
    let slices: Cache<SliceView> =
        Cache::start_selected(context.client.clone(), context.seed ^ 0x54, ours);
    context.caches.services.ready().await;
    endpoints.ready().await;
    slices.ready().await;
    let by_service = slices.index(slices::service_of);
    let add = queue.clone();
    endpoints.on_change(move |change| add.add(change.key.clone()));
    slices::watch(&slices, &queue);
    let (add, custom) = (queue.clone(), endpoints.clone());
    context.caches.services.on_change(move |change| {
        if custom.get(&change.key).is_some() {
            add.add(change.key.clone());
        }
    });
    let mirror = Mirror {
        context,
        endpoints,
        slices,
        by_service,
    };
    match run(Arc::new(mirror), queue).await {}
}

struct Mirror {
    context: Context,
    endpoints: Cache<EndpointsView>,
    slices: Cache<SliceView>,
    by_service: Index<SliceView>,
}

impl Reconcile for Mirror {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "endpointslicemirroring"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let service = self.context.caches.services.get(key);
        let ours = service.is_some_and(|service| service.selector.is_none());
        let endpoints = self.endpoints.get(key).filter(|_| ours);
        let endpoints = endpoints.filter(|endpoints| is_mirrored(endpoints));
        let existing = self.by_service.get(&key.to_string());
        let existing = existing.iter().filter(|slice| !slice.meta.is_deleting());
        let Some(endpoints) = endpoints else {
            for slice in existing {
                let deletion = crate::runtime::Deletion::of(&slice.meta.uid);
                self.context
                    .writer
                    .delete::<slices::SliceWire>(&slice.meta.key, &deletion)
                    .await?;
            }
            return Ok(Action::Wait);
        };
        let head = head(&endpoints);
        let existing = existing.map(|slice| Existing {
            key: slice.meta.key.clone(),
            group: slice.group.clone(),
            endpoints: slice.endpoints.clone(),
            outdated: head.differs(slice) || !has_annotations(slice, &endpoints),
        });
        let plan = plan(existing.collect(), wanted(&endpoints), MOST);
        if !plan.is_empty() {
            let writer = &self.context.writer;
            slices::apply(writer, &self.slices, &key.namespace, &head, plan).await?;
        }
        Ok(Action::Wait)
    }
}

fn is_mirrored(endpoints: &EndpointsView) -> bool {
    let meta = &endpoints.meta;
    let skipped = meta.label(SKIP) == Some("true");
    !skipped && !meta.is_deleting() && meta.annotation(LEADER).is_none()
}

fn has_annotations(slice: &SliceView, endpoints: &EndpointsView) -> bool {
    let mut wanted = endpoints.meta.annotations.iter();
    wanted.all(|(key, value)| slice.meta.annotation(key) == Some(&**value))
}

/// The endpoints of each group of ports; each address once.
fn wanted(endpoints: &EndpointsView) -> BTreeMap<Group, Vec<Endpoint>> {
    let mut wanted: BTreeMap<Group, Vec<Endpoint>> = BTreeMap::new();
    for subset in &endpoints.subsets {
        let ports = subset.ports.clone().unwrap_or_default();
        let mut ports: Vec<EndpointPort> = ports.into_iter().map(EndpointPort::from).collect();
        ports.sort();
        let of = |list: &Option<Vec<Address>>, ready| {
            let list = list.clone().unwrap_or_default();
            list.into_iter().map(move |address| (address, ready))
        };
        let ready = of(&subset.addresses, true);
        for (address, ready) in ready
            .chain(of(&subset.not_ready_addresses, false))
            .take(MOST)
        {
            let group = (family(&address.ip).to_owned(), ports.clone());
            let list = wanted.entry(group).or_default();
            list.push(endpoint(address, ready));
        }
    }
    wanted
}

fn endpoint(address: Address, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip],
        conditions: EndpointConditions {
            ready: Some(ready),
            serving: None,
            terminating: None,
        },
        hostname: address.hostname.filter(|name| !name.is_empty()),
        node_name: address.node_name,
        target_ref: address.target_ref,
        zone: None,
        hints: None,
    }
}

fn head(endpoints: &EndpointsView) -> Head {
    let meta = &endpoints.meta;
    let own = |pairs: &[(Arc<str>, Arc<str>)]| -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect()
    };
    let mut labels: BTreeMap<String, String> = own(&meta.labels).into_iter().collect();
    labels.insert(SERVICE.into(), meta.name().into());
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    let annotations = own(&meta.annotations).into_iter();
    Head {
        owner: Owner {
            api_version: "v1".into(),
            kind: "Endpoints".into(),
            name: Arc::clone(&meta.key.name),
            uid: Arc::clone(&meta.uid),
            controller: true,
            block_owner_deletion: true,
        },
        labels,
        annotations: annotations.map(|(key, value)| (key, Some(value))).collect(),
    }
}
