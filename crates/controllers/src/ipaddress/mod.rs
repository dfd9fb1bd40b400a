//! Shows every address that a Service has as an IPAddress object.

use crate::pods::ServiceView;
use crate::runtime::{
    Action, Cache, Cached, Change, Deletion, Full, Index, ObjectKey, Queue, Reconcile, WriteError,
    run,
};
use crate::supervisor::Context;
use k8s_openapi::api::networking::v1::IPAddress;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::Arc;

/// Marks the objects that are looked after here.
const MANAGER: &str = "ipallocator.k8s.io";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";

type Addresses = Cache<Full<IPAddress>>;

/// Runs the controller for ever.
pub async fn control(context: Context) {
    let queue = Queue::new();
    let addresses: Addresses = Cache::start(context.client.clone(), context.seed ^ 0x72);
    let services = context.caches.services.index(|service| {
        let address = address_of(service);
        address.into_iter().map(Arc::from).collect()
    });
    context.caches.services.ready().await;
    addresses.ready().await;
    let add = queue.clone();
    context
        .caches
        .services
        .on_change(move |change: &Change<ServiceView>| {
            let [old, new] =
                [&change.old, &change.new].map(|service| service.as_deref().and_then(address_of));
            if old == new {
                return;
            }
            for address in [old, new].into_iter().flatten() {
                add.add(ObjectKey::new("", address));
            }
        });
    let add = queue.clone();
    addresses.on_change(move |change| add.add(change.key.clone()));
    let shown = Shown {
        context,
        addresses,
        services,
    };
    match run(Arc::new(shown), queue).await {}
}

/// The address of a Service that has one.
fn address_of(service: &ServiceView) -> Option<&str> {
    let text = &*service.cluster_ip;
    text.parse::<IpAddr>().is_ok().then_some(text)
}

struct Shown {
    context: Context,
    addresses: Addresses,
    services: Index<ServiceView>,
}

impl Reconcile for Shown {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "ipaddress"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let writer = &self.context.writer;
        let service = self.services.get(&key.name).into_iter().next();
        match (service, self.addresses.get(key)) {
            (Some(service), None) => {
                let body = object(&key.name, &service.meta.key);
                match writer.create(&self.addresses, "", &body).await {
                    Err(error) if !error.is_already_exists() => return Err(error),
                    _ => {}
                }
            }
            (None, Some(address)) if address.meta().label(MANAGED_BY) == Some(MANAGER) => {
                let deletion = Deletion::of(&address.meta().uid);
                match writer.delete::<IPAddress>(key, &deletion).await {
                    Err(error) if !error.is_not_found() && !error.is_conflict() => {
                        return Err(error);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(Action::Wait)
    }
}

fn object(address: &str, service: &ObjectKey) -> Value {
    let family = if address.contains(':') {
        "IPv6"
    } else {
        "IPv4"
    };
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
        "metadata": {"name": address, "labels": {(FAMILY): family, (MANAGED_BY): MANAGER}},
        "spec": {"parentRef": {
            "group": "", "resource": "services",
            "namespace": *service.namespace, "name": *service.name,
        }},
    })
}
