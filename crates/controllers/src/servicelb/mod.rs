//! Gives each Service of type LoadBalancer an address of the host, where the proxy listens for it.
//!
//! Departs: upstream leaves load balancers to a cloud; without one they stay `<pending>`. Here every
//! address of the loopback network is the host's own, so Services that want the same port get
//! different ones: the first is 127.0.0.1.

use crate::pods::ServiceView;
use crate::runtime::{
    Action, Change, Index, ObjectKey, Queue, Reconcile, Recorder, Reference, WriteError, run,
};
use crate::supervisor::Context;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// How many addresses are tried for a Service.
const ADDRESSES: u32 = 254;

/// Runs the controller for ever; without addresses to give it only waits.
pub async fn control(context: Context) {
    let Some(first) = context.options.load_balancers else {
        return std::future::pending().await;
    };
    let queue = Queue::new();
    let by_address = context.caches.services.index(|service| {
        let addresses = service.balanced_at.iter();
        addresses.map(|address| Arc::from(&**address)).collect()
    });
    context.caches.services.ready().await;
    let (add, waiting) = (queue.clone(), context.caches.services.clone());
    context
        .caches
        .services
        .on_change(move |change: &Change<ServiceView>| {
            add.add(change.key.clone());
            let taken = |service: &Option<Arc<ServiceView>>| {
                let service = service.as_ref().filter(|s| !s.balanced_at.is_empty());
                service.map(|s| (s.balanced_at.clone(), s.ports.clone()))
            };
            let had = taken(&change.old);
            if had.is_some() && had != taken(&change.new) {
                // What was given up may be what another one waits for.
                add.add_all(unserved(&waiting.list(None)));
            }
        });
    let balancers = Balancers {
        recorder: context.recorder.component("service-controller"),
        context,
        by_address,
        first,
    };
    match run(Arc::new(balancers), queue).await {}
}

fn unserved(services: &[Arc<ServiceView>]) -> Vec<(ObjectKey, Duration)> {
    let unserved = services
        .iter()
        .filter(|service| is_served(service) && service.balanced_at.is_empty());
    unserved
        .map(|service| (service.meta.key.clone(), Duration::ZERO))
        .collect()
}

/// Whether the Service gets an address here.
fn is_served(service: &ServiceView) -> bool {
    let ours = &*service.kind == "LoadBalancer" && service.balancer_class.is_none();
    ours && !service.meta.is_deleting()
}

struct Balancers {
    context: Context,
    recorder: Recorder,
    by_address: Index<ServiceView>,
    first: Ipv4Addr,
}

impl Reconcile for Balancers {
    type Key = ObjectKey;
    type Error = WriteError;

    fn name(&self) -> &'static str {
        "servicelb"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, WriteError> {
        let Some(service) = self.context.caches.services.get(key) else {
            return Ok(Action::Wait);
        };
        let about = Reference::to("v1", "Service", &service.meta);
        if !is_served(&service) {
            let was_served = &*service.kind != "LoadBalancer" && !service.balanced_at.is_empty();
            if was_served && !service.meta.is_deleting() {
                self.write(key, &json!(null)).await?;
                let message = "Deleted load balancer".to_owned();
                self.recorder.normal(&about, "DeletedLoadBalancer", message);
            }
            return Ok(Action::Wait);
        }
        let Some(address) = self.address(&service) else {
            let reason = "SyncLoadBalancerFailed";
            let message = match &*service.balancer_address {
                "" => {
                    "Error syncing load balancer: its ports are taken on every address".to_owned()
                }
                wanted => format!(
                    "Error syncing load balancer: {wanted} is not an address of this host's \
                     loopback network with these ports free"
                ),
            };
            self.recorder.warning(&about, reason, message);
            return Ok(Action::Wait);
        };
        if matches!(&*service.balanced_at, [only] if **only == *address) {
            return Ok(Action::Wait);
        }
        let ingress = json!([{"ip": address, "ipMode": "VIP"}]);
        self.write(key, &ingress).await?;
        let message = "Ensured load balancer".to_owned();
        self.recorder.normal(&about, "EnsuredLoadBalancer", message);
        Ok(Action::Wait)
    }
}

impl Balancers {
    async fn write(&self, key: &ObjectKey, ingress: &Value) -> Result<(), WriteError> {
        let services = &self.context.caches.services;
        let patch = json!({"status": {"loadBalancer": {"ingress": ingress}}});
        let writer = &self.context.writer;
        match writer
            .patch_subresource(services, key, "status", &patch)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// The wanted address, the present one, or the first on which all ports are free.
    fn address(&self, service: &ServiceView) -> Option<String> {
        let wanted = &*service.balancer_address;
        if !wanted.is_empty() {
            let own = wanted.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
            return (own && self.is_free(wanted, service)).then(|| wanted.to_owned());
        }
        let present = service.balanced_at.first();
        if let Some(present) = present.filter(|at| self.is_free(at, service)) {
            return Some(present.to_string());
        }
        let first = u32::from(self.first);
        let mut all = (first..first.saturating_add(ADDRESSES)).map(Ipv4Addr::from);
        all.find_map(|at| {
            let at = at.to_string();
            self.is_free(&at, service).then_some(at)
        })
    }

    fn is_free(&self, address: &str, service: &ServiceView) -> bool {
        let others = self.by_address.get(address);
        let mut others = others
            .iter()
            .filter(|other| other.meta.key != service.meta.key);
        others.all(|other| !share_a_port(other, service))
    }
}

fn share_a_port(one: &ServiceView, other: &ServiceView) -> bool {
    one.ports.iter().any(|port| {
        let mut ports = other.ports.iter();
        ports.any(|p| (p.port, &p.protocol) == (port.port, &port.protocol))
    })
}
