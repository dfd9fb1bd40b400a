//! Service routing in user space: one listener a Service port, one endpoint a connection.
//!
//! Listeners follow the [`table`]: a port is open while its Service has an endpoint that could take
//! a connection, so that clients are refused at once otherwise.

pub mod balance;
mod forward;
pub mod table;

use crate::runtime::Network;
use balance::Affinity;
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use table::{Directory, Service, ServiceName, ServicePort, Table};
use tokio_util::sync::CancellationToken;

/// How long a `ClientIP` affinity lasts unless the Service says otherwise, in seconds.
const AFFINITY_SECONDS: u64 = 10_800;

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
    /// Address of the host on which NodePorts listen (`127.0.0.1` or `0.0.0.0`); `None` = nowhere.
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
    Service { service: ServiceName, port: String },
    /// To an address of the host.
    Host(SocketAddr),
}

/// One listener's share of the proxy.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) proxy: Arc<Shared>,
    pub(crate) place: Place,
    pub(crate) protocol: Protocol,
    pub(crate) goal: Goal,
    pub(crate) affinity: Mutex<Affinity>,
    pub(crate) connections: Arc<AtomicU64>,
    pub(crate) stop: CancellationToken,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) rng: Mutex<StdRng>,
    counts: Mutex<BTreeMap<String, Arc<AtomicU64>>>,
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
        });
        tokio::spawn(keep_listening(Arc::clone(&shared), stop.clone()));
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

impl Route {
    /// The endpoints to try for a client, in order.
    pub(crate) fn choose(&self, client: IpAddr) -> Vec<SocketAddr> {
        let Goal::Service { service, port } = &self.goal else {
            return Vec::new();
        };
        let (candidates, timeout) = self.proxy.config.services.read(|table| {
            let candidates = balance::candidates(table, service, port, self.protocol.name());
            (
                candidates,
                table
                    .services
                    .get(service)
                    .and_then(|s| affinity_seconds(s)),
            )
        });
        let now = self.proxy.config.clock.now();
        let sticky = timeout.and_then(|t| self.affinity.lock().of(client, now, t));
        balance::order(candidates, sticky, &mut *self.proxy.rng.lock())
    }

    /// Notes that a client was connected to an endpoint.
    pub(crate) fn connected(&self, client: IpAddr, endpoint: SocketAddr) {
        self.connections.fetch_add(1, Ordering::Relaxed);
        let Goal::Service { service, .. } = &self.goal else {
            return;
        };
        let services = &self.proxy.config.services;
        let timeout = services.read(|t| t.services.get(service).and_then(|s| affinity_seconds(s)));
        if let Some(timeout) = timeout {
            let now = self.proxy.config.clock.now();
            self.affinity.lock().note(client, endpoint, now, timeout);
        }
    }
}

fn affinity_seconds(service: &Service) -> Option<u64> {
    let config = service.spec.session_affinity_config.as_ref();
    let timeout = config
        .and_then(|c| c.client_ip.timeout_seconds)
        .unwrap_or(AFFINITY_SECONDS);
    (service.spec.session_affinity == "ClientIP").then_some(timeout)
}

type Wanted = BTreeMap<(Place, Protocol), Goal>;

/// Every listener there should be.
fn wanted(config: &Config, table: &Table) -> Wanted {
    let mut wanted = Wanted::new();
    for (name, service) in &table.services {
        for port in &service.spec.ports {
            let Some(protocol) = Protocol::parse(&port.protocol) else {
                continue;
            };
            if balance::candidates(table, name, &port.name, protocol.name()).is_empty() {
                continue;
            }
            for place in places(config, service, port) {
                let goal = Goal::Service {
                    service: name.clone(),
                    port: port.name.clone(),
                };
                // Two Services cannot have one address; the first by name keeps a NodePort.
                wanted.entry((place, protocol)).or_insert(goal);
            }
        }
    }
    for (from, to) in &config.fixed {
        wanted.insert((Place::Cluster(*from), Protocol::Tcp), Goal::Host(*to));
    }
    wanted
}

fn places(config: &Config, service: &Service, port: &ServicePort) -> Vec<Place> {
    let cluster = service
        .cluster_ip()
        .map(|ip| SocketAddr::new(ip, port.port));
    let cluster = cluster
        .filter(|at| !config.except.contains(at))
        .map(Place::Cluster);
    let host = config.node_ports.filter(|_| port.node_port != 0);
    let host = host.map(|ip| Place::Host(SocketAddr::new(ip, port.node_port)));
    cluster.into_iter().chain(host).collect()
}

async fn keep_listening(shared: Arc<Shared>, stop: CancellationToken) {
    let mut running: BTreeMap<(Place, Protocol), (Goal, CancellationToken)> = BTreeMap::new();
    let mut changed = shared.config.services.changes();
    loop {
        let more = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            more = changed.next() => more,
        };
        if !more {
            return;
        }
        let wanted = shared
            .config
            .services
            .read(|table| wanted(&shared.config, table));
        running.retain(|at, (goal, stop)| {
            let stays = wanted.get(at) == Some(goal);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for ((place, protocol), goal) in wanted {
            if running.contains_key(&(place, protocol)) {
                continue;
            }
            let token = stop.child_token();
            let name = match &goal {
                Goal::Service { service, .. } => format!("{}/{}", service.0, service.1),
                Goal::Host(_) => "default/kubernetes".to_owned(),
            };
            let connections = Arc::clone(shared.counts.lock().entry(name).or_default());
            let route = Route {
                proxy: Arc::clone(&shared),
                place,
                protocol,
                goal: goal.clone(),
                affinity: Mutex::default(),
                connections,
                stop: token.clone(),
            };
            tokio::spawn(forward::serve(Arc::new(route)));
            running.insert((place, protocol), (goal, token));
        }
    }
}
