//! Which endpoint a connection goes to: pure choices.

use super::table::{Endpoint, Node, ServiceName, Slice, SlicePort, Table};
use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use rand::seq::SliceRandom;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// How long a `ClientIP` affinity lasts unless the Service says otherwise, in seconds.
const AFFINITY_SECONDS: u64 = 10_800;
/// Clients that are remembered before the first look for outdated ones.
const FIRST_SWEEP: usize = 1024;
/// Most endpoints that one connection tries.
const MOST_TRIES: usize = 8;

/// The way by which a connection came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// The Service's own address.
    ClusterAddress,
    /// A node port, a load balancer or an external address.
    ///
    /// Departs: all nodes stand behind one door here, so with `externalTrafficPolicy: Local` each
    /// endpoint is on the node that the connection arrived at.
    Outside,
    /// The same through a load balancer's address, which may be meant for some clients only.
    Balancer,
}

/// Where an endpoint is and for whom it is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Site {
    node: Option<String>,
    zones: Vec<String>,
    nodes: Vec<String>,
}

impl Site {
    fn is_hinted(&self) -> bool {
        !self.zones.is_empty() || !self.nodes.is_empty()
    }
}

/// Endpoints of one state, each once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Pool {
    addresses: Vec<SocketAddr>,
    sites: Vec<Site>,
}

impl Pool {
    fn new(found: BTreeMap<SocketAddr, Site>) -> Self {
        let (addresses, sites) = found.into_iter().unzip();
        Self { addresses, sites }
    }

    fn of(&self, wanted: impl Fn(&Site) -> bool) -> Vec<SocketAddr> {
        let all = self.addresses.iter().zip(&self.sites);
        let wanted = all.filter(|(_, site)| wanted(site));
        wanted.map(|(address, _)| *address).collect()
    }

    /// The endpoints meant for clients of a node. Hints count only when every endpoint has some and
    /// one is for this client; else everything is for everybody.
    fn hinted(&self, client: &Node) -> Cow<'_, [SocketAddr]> {
        let node = &client.metadata.name;
        if self.sites.iter().all(|site| !site.nodes.is_empty()) {
            let same = self.of(|site| site.nodes.contains(node));
            if !same.is_empty() {
                return Cow::Owned(same);
            }
        }
        let zoned = self.sites.iter().all(|site| !site.zones.is_empty());
        if let Some(zone) = client.zone().filter(|_| zoned) {
            let same = self.of(|site| site.zones.iter().any(|z| z == zone));
            if !same.is_empty() {
                return Cow::Owned(same);
            }
        }
        Cow::Borrowed(&self.addresses)
    }
}

/// Everything that could take a connection to a port of a Service.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Backends {
    ready: Pool,
    draining: Pool,
    local: bool,
    hinted: bool,
    /// How long a client sticks to an endpoint (seconds).
    pub affinity_seconds: Option<u64>,
}

impl Backends {
    /// Reads what the table says.
    pub fn new(table: &Table, name: &ServiceName, port: &str, protocol: &str) -> Self {
        let Some(service) = table.service(name) else {
            return Self::default();
        };
        let find = |state: fn(&Endpoint) -> bool| {
            let mut found = BTreeMap::new();
            for slice in table.slices_of(name) {
                for number in ports(slice, (port, protocol)) {
                    let endpoints = slice.endpoints.iter().filter(|e| state(e));
                    let at = |ip: &IpAddr| SocketAddr::new(*ip, number);
                    found.extend(
                        endpoints.filter_map(|e| Some((at(e.addresses.first()?), site(e)))),
                    );
                }
            }
            Pool::new(found)
        };
        let ready = find(|e| e.conditions.is_ready());
        let spec = &service.spec;
        let config = spec.session_affinity_config.as_ref();
        let timeout = config.and_then(|c| c.client_ip.timeout_seconds);
        let sticky = spec.session_affinity == "ClientIP";
        Self {
            hinted: ready.sites.iter().any(Site::is_hinted),
            ready,
            draining: find(|e| e.conditions.is_draining()),
            local: spec.internal_traffic_policy == "Local",
            affinity_seconds: sticky.then(|| timeout.unwrap_or(AFFINITY_SECONDS)),
        }
    }

    /// Whether nothing could take a connection.
    pub fn is_empty(&self) -> bool {
        self.ready.addresses.is_empty() && self.draining.addresses.is_empty()
    }

    /// Whether it matters where a client is.
    pub fn ask_where(&self, via: Via) -> bool {
        self.hinted || (self.local && via == Via::ClusterAddress)
    }

    /// The endpoints for a client, which is on a node or elsewhere: the ready ones, or, when there
    /// are none, those that still work on their way out.
    ///
    /// Departs: without an endpoint where a client must stay, its connection is reset, not dropped.
    pub fn eligible(&self, via: Via, client: Option<&Node>) -> Cow<'_, [SocketAddr]> {
        if let (true, Via::ClusterAddress, Some(client)) = (self.local, via, client) {
            let here = |site: &Site| site.node.as_ref() == Some(&client.metadata.name);
            let ready = self.ready.of(here);
            return Cow::Owned(if ready.is_empty() {
                self.draining.of(here)
            } else {
                ready
            });
        }
        if self.ready.addresses.is_empty() {
            return Cow::Borrowed(&self.draining.addresses);
        }
        match client {
            Some(client) if self.hinted => self.ready.hinted(client),
            _ => Cow::Borrowed(&self.ready.addresses),
        }
    }

    /// How many ready endpoints there are on all nodes together.
    pub fn ready_count(&self) -> usize {
        self.ready.addresses.len()
    }
}

fn site(endpoint: &Endpoint) -> Site {
    let hints = endpoint.hints.clone().unwrap_or_default();
    let names = |list: Option<Vec<super::table::Named>>| {
        let list = list.unwrap_or_default().into_iter();
        list.map(|named| named.name).collect()
    };
    Site {
        node: endpoint.node_name.clone(),
        zones: names(hints.for_zones),
        nodes: names(hints.for_nodes),
    }
}

fn ports<'a>(
    slice: &'a Slice,
    (name, protocol): (&'a str, &'a str),
) -> impl Iterator<Item = u16> + 'a {
    let same = move |p: &&SlicePort| {
        p.name.as_deref().unwrap_or_default() == name
            && p.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    slice.ports.iter().filter(same).filter_map(|p| p.port)
}

/// The endpoint to try first: the one a client sticks to, or any.
pub fn first(
    candidates: &[SocketAddr],
    sticky: Option<SocketAddr>,
    rng: &mut impl Rng,
) -> Option<SocketAddr> {
    if let Some(sticky) = sticky.filter(|s| candidates.contains(s)) {
        return Some(sticky);
    }
    let last = candidates.len().checked_sub(1)?;
    candidates.get(rng.random_range(0..=last)).copied()
}

/// What to try after the first has failed, in order.
///
/// Departs: upstream's rules choose once, and a connection to an endpoint that is gone fails.
pub fn rest(candidates: &[SocketAddr], failed: SocketAddr, rng: &mut impl Rng) -> Vec<SocketAddr> {
    let mut rest: Vec<SocketAddr> = candidates.to_vec();
    rest.retain(|at| *at != failed);
    rest.shuffle(rng);
    rest.truncate(MOST_TRIES - 1);
    rest
}

/// Which endpoint each client last went to, for `sessionAffinity: ClientIP`.
#[derive(Debug)]
pub struct Affinity {
    clients: BTreeMap<IpAddr, (SocketAddr, Timestamp)>,
    sweep_at: usize,
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            clients: BTreeMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Affinity {
    /// Where the client went within the timeout (seconds).
    pub fn of(&self, client: IpAddr, now: Timestamp, timeout: u64) -> Option<SocketAddr> {
        let (endpoint, last) = self.clients.get(&client)?;
        is_fresh(*last, now, timeout).then_some(*endpoint)
    }

    /// Notes where the client went. Outdated clients are dropped whenever their number has doubled.
    pub fn note(&mut self, client: IpAddr, endpoint: SocketAddr, now: Timestamp, timeout: u64) {
        self.clients.insert(client, (endpoint, now));
        if self.clients.len() >= self.sweep_at {
            self.clients
                .retain(|_, (_, last)| is_fresh(*last, now, timeout));
            self.sweep_at = FIRST_SWEEP.max(self.clients.len() * 2);
        }
    }
}

fn is_fresh(last: Timestamp, now: Timestamp, timeout: u64) -> bool {
    let limit = SignedDuration::from_secs(i64::try_from(timeout).unwrap_or(i64::MAX));
    now.duration_since(last) <= limit
}

#[cfg(test)]
mod tests;
