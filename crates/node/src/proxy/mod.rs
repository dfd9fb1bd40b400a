//! Service routing in user space: one listener a Service port, one endpoint a connection.
//!
//! Listeners follow the [`table`]: a port is open while its Service has an endpoint that could take
//! a connection, so that clients are refused at once otherwise.

pub mod balance;
mod claims;
mod forward;
mod health;
mod listeners;
mod route;
pub mod table;
mod udp;

use crate::runtime::Network;
use balance::{Affinity, Via};
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use table::{Directory, ServiceName};
use tokio_util::sync::CancellationToken;

/// What the proxy needs.
#[derive(Debug, Clone)]
pub struct Config {
    /// Services and endpoints.
    pub services: Directory,
    /// The pods' network.
    pub network: Arc<dyn Network>,
    /// The clock.
    pub clock: Clock,
    /// Seed of the endpoint choice.
    pub seed: u64,
    /// Address of the host on which NodePorts listen (`127.0.0.1` or `0.0.0.0`); `None` = nowhere,
    /// and no load balancers or external addresses either.
    pub node_ports: Option<IpAddr>,
    /// Cluster addresses that lead to an address of the host, whatever the endpoints say: the API
    /// server's own.
    pub fixed: BTreeMap<SocketAddr, SocketAddr>,
    /// Cluster addresses that others listen on (DNS).
    pub except: Vec<SocketAddr>,
}

/// Where a listener is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// In the pods' network.
    Cluster(SocketAddr),
    /// On the host.
    Host(SocketAddr),
}

/// The protocols that are routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}

/// Where connections of a listener go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Goal {
    /// To the endpoints of a Service port.
    Service {
        service: ServiceName,
        port: String,
        via: Via,
    },
    /// To an address of the host.
    Host(SocketAddr),
    /// Nowhere: load balancers are told how many endpoints a Service has.
    Health(ServiceName),
}

impl Goal {
    /// The Service it is about, `NAMESPACE/NAME`.
    fn service(&self) -> String {
        match self {
            Self::Service { service, .. } | Self::Health(service) => {
                format!("{}/{}", service.0, service.1)
            }
            Self::Host(_) => "default/kubernetes".to_owned(),
        }
    }
}

/// Who a client sticks to is the same on every way to a Service port.
type StickyPort = (ServiceName, String, Protocol);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) rng: Mutex<StdRng>,
    counts: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
    affinities: Mutex<BTreeMap<StickyPort, Weak<Mutex<Affinity>>>>,
}

impl Shared {
    fn count(&self, goal: &Goal) -> Arc<AtomicU64> {
        Arc::clone(self.counts.lock().entry(goal.service()).or_default())
    }

    /// What is remembered of a Service port's clients, for as long as it has listeners.
    fn affinity(&self, goal: &Goal, protocol: Protocol) -> Arc<Mutex<Affinity>> {
        let Goal::Service { service, port, .. } = goal else {
            return Arc::default();
        };
        let mut known = self.affinities.lock();
        let key = (service.clone(), port.clone(), protocol);
        if let Some(affinity) = known.get(&key).and_then(Weak::upgrade) {
            return affinity;
        }
        known.retain(|_, affinity| affinity.strong_count() > 0);
        let affinity = Arc::default();
        known.insert(key, Arc::downgrade(&affinity));
        affinity
    }
}

/// The running proxy; it stops when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Proxy {
    /// Starts routing.
    pub fn start(config: Config) -> Self {
        let stop = CancellationToken::new();
        let rng = Mutex::new(StdRng::seed_from_u64(config.seed));
        let shared = Arc::new(Shared {
            config,
            rng,
            counts: Mutex::default(),
            affinities: Mutex::default(),
        });
        let (follow, end) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            let listeners = listeners::follow(follow, end.clone());
            end.run_until_cancelled(listeners).await
        });
        Self { shared, stop }
    }

    /// Connections so far by Service (`NAMESPACE/NAME`).
    pub fn connections(&self) -> BTreeMap<String, u64> {
        let counts = self.shared.counts.lock();
        counts
            .iter()
            .map(|(name, n)| (name.clone(), n.load(Ordering::Relaxed)))
            .collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
