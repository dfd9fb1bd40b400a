//! One listener's share of the proxy.

use super::balance::{self, Affinity, Backends, Via};
use super::{Goal, Place, Protocol, Shared};
use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tells states of a Service and its endpoints apart.
pub(super) type Revision = (u64, u64);

/// What is read from the table, for as long as it stays true.
#[derive(Debug)]
struct Known {
    revision: Revision,
    backends: Arc<Backends>,
}

#[derive(Debug)]
pub(crate) struct Route {
    pub(super) proxy: Arc<Shared>,
    pub(super) place: Place,
    pub(super) protocol: Protocol,
    pub(super) goal: Goal,
    affinity: Arc<Mutex<Affinity>>,
    connections: Arc<AtomicU64>,
    known: Mutex<Option<Known>>,
}

/// What a client may reach, and where it should go.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) revision: Revision,
    candidates: Vec<SocketAddr>,
    first: SocketAddr,
}

impl Route {
    pub(super) fn new(shared: &Arc<Shared>, place: Place, protocol: Protocol, goal: Goal) -> Self {
        Self {
            affinity: shared.affinity(&goal, protocol),
            connections: shared.count(&goal),
            proxy: Arc::clone(shared),
            place,
            protocol,
            goal,
            known: Mutex::default(),
        }
    }

    /// The present state; it costs little while nothing changes.
    fn backends(&self) -> (Revision, Arc<Backends>) {
        let Goal::Service { service, port, .. } = &self.goal else {
            return Default::default();
        };
        self.proxy.config.services.read(|table| {
            let revision = table.revision_of(service);
            let mut known = self.known.lock();
            if let Some(known) = known.as_ref().filter(|k| k.revision == revision) {
                return (revision, Arc::clone(&known.backends));
            }
            let backends = Backends::new(table, service, port, self.protocol.name());
            let backends = Arc::new(backends);
            *known = Some(Known {
                revision,
                backends: Arc::clone(&backends),
            });
            (revision, backends)
        })
    }

    /// Whether a client may come in here at all (`loadBalancerSourceRanges`).
    pub(super) fn admits(&self, client: IpAddr) -> bool {
        let Goal::Service {
            service,
            via: Via::Balancer,
            ..
        } = &self.goal
        else {
            return true;
        };
        let services = &self.proxy.config.services;
        services.read(|table| table.service(service).is_some_and(|s| s.admits(client)))
    }

    /// The revision of what [`Self::choose`] would decide on now.
    pub(super) fn revision(&self) -> Revision {
        match &self.goal {
            Goal::Service { service, .. } => {
                let services = &self.proxy.config.services;
                services.read(|table| table.revision_of(service))
            }
            Goal::Host(_) | Goal::Health(_) => Revision::default(),
        }
    }

    /// Whether a client may still be at an endpoint.
    pub(super) fn allows(&self, client: IpAddr, endpoint: SocketAddr) -> bool {
        self.candidates(client).1.contains(&endpoint)
    }

    /// Where a client goes; `None` when it can go nowhere.
    pub(super) fn choose(&self, client: IpAddr) -> Option<Choice> {
        let (revision, candidates, affinity) = self.candidates(client);
        let sticky = affinity.and_then(|timeout| {
            let now = self.proxy.config.clock.now();
            self.affinity.lock().of(client, now, timeout)
        });
        let first = balance::first(&candidates, sticky, &mut *self.proxy.rng.lock())?;
        Some(Choice {
            revision,
            candidates,
            first,
        })
    }

    fn candidates(&self, client: IpAddr) -> (Revision, Vec<SocketAddr>, Option<u64>) {
        let Goal::Service { via, .. } = self.goal else {
            return Default::default();
        };
        let (revision, backends) = self.backends();
        let node = backends.ask_where(via).then(|| {
            let services = &self.proxy.config.services;
            services.read(|table| table.node_of(client).map(Arc::clone))
        });
        let node = node.flatten();
        let candidates = backends.eligible(via, node.as_deref()).into_owned();
        (revision, candidates, backends.affinity_seconds)
    }

    /// What to try after the first choice has failed.
    pub(super) fn rest(&self, choice: &Choice) -> Vec<SocketAddr> {
        let rng = &mut *self.proxy.rng.lock();
        balance::rest(&choice.candidates, choice.first, rng)
    }

    /// Notes that a client was connected to an endpoint.
    pub(super) fn connected(&self, client: IpAddr, endpoint: SocketAddr) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (_, backends) = self.backends();
        if let Some(timeout) = backends.affinity_seconds {
            let now = self.proxy.config.clock.now();
            let mut affinity = self.affinity.lock();
            affinity.note(client, endpoint, now, timeout);
        }
    }

    /// Whether an address that a connection came to is one this listener means.
    ///
    /// A node port listens on every address of the pods' network, but Services' addresses have
    /// only the ports of their Service.
    pub(super) fn is_meant(&self, came_to: SocketAddr) -> bool {
        let Place::Cluster(at) = self.place else {
            return true;
        };
        if !at.ip().is_unspecified() {
            return true;
        }
        let services = &self.proxy.config.services;
        services.read(|table| table.has_node_address(came_to.ip()))
    }
}

impl Choice {
    pub(super) fn first(&self) -> SocketAddr {
        self.first
    }
}
