//! Which listeners there should be, and who gets a place that several Services want. Pure.

use super::balance::{Backends, Via};
use super::table::{Service, ServiceName, ServicePort, Table};
use super::{Config, Goal, Place, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// One place of one protocol.
pub(super) type Spot = (Place, Protocol);

/// Who wants which place, and who has it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_spot: BTreeMap<Spot, BTreeMap<ServiceName, Goal>>,
    by_service: BTreeMap<ServiceName, BTreeSet<Spot>>,
    holders: BTreeMap<Spot, ServiceName>,
}

impl Claims {
    /// A Service now wants exactly these places. Returns the goals of the places that were touched,
    /// `None` for those that nobody wants any more.
    ///
    /// Whoever has a place keeps it for as long as they want it; then it falls to the first by
    /// name.
    pub(super) fn set(
        &mut self,
        service: &ServiceName,
        wanted: BTreeMap<Spot, Goal>,
    ) -> Vec<(Spot, Option<Goal>)> {
        let mut touched: BTreeSet<Spot> = wanted.keys().copied().collect();
        if let Some(old) = self.by_service.remove(service) {
            for spot in &old {
                if let Some(claims) = self.by_spot.get_mut(spot) {
                    claims.remove(service);
                }
            }
            touched.extend(old);
        }
        if !wanted.is_empty() {
            let spots = wanted.keys().copied().collect();
            self.by_service.insert(service.clone(), spots);
        }
        for (spot, goal) in wanted {
            let claims = self.by_spot.entry(spot).or_default();
            claims.insert(service.clone(), goal);
        }
        touched
            .into_iter()
            .map(|spot| (spot, self.settle(spot)))
            .collect()
    }

    fn settle(&mut self, spot: Spot) -> Option<Goal> {
        let claims = self.by_spot.get(&spot)?;
        let holder = self.holders.get(&spot);
        let kept = holder.filter(|holder| claims.contains_key(*holder));
        let Some(holder) = kept.or_else(|| claims.keys().next()).cloned() else {
            self.by_spot.remove(&spot);
            self.holders.remove(&spot);
            return None;
        };
        let goal = claims.get(&holder).cloned();
        self.holders.insert(spot, holder);
        goal
    }
}

/// Every listener that a Service should have.
pub(super) fn of_service(
    config: &Config,
    table: &Table,
    name: &ServiceName,
) -> BTreeMap<Spot, Goal> {
    let mut wanted = BTreeMap::new();
    let Some(service) = table.service(name) else {
        return wanted;
    };
    for port in &service.spec.ports {
        let Some(protocol) = Protocol::parse(&port.protocol) else {
            continue;
        };
        if Backends::new(table, name, &port.name, protocol.name()).is_empty() {
            continue;
        }
        for (place, via) in places(config, service, port) {
            let goal = Goal::Service {
                service: name.clone(),
                port: port.name.clone(),
                via,
            };
            wanted.insert((place, protocol), goal);
        }
    }
    let health = service.spec.health_check_node_port;
    if let Some(host) = config.node_ports.filter(|_| health != 0) {
        let place = Place::Host(SocketAddr::new(host, health));
        wanted.insert((place, Protocol::Tcp), Goal::Health(name.clone()));
    }
    wanted
}

fn places(config: &Config, service: &Service, port: &ServicePort) -> Vec<(Place, Via)> {
    let mut places = Vec::new();
    if let Some(ip) = service.cluster_ip() {
        let at = SocketAddr::new(ip, port.port);
        if !config.except.contains(&at) && !config.fixed.contains_key(&at) {
            places.push((Place::Cluster(at), Via::ClusterAddress));
        }
    }
    let Some(host) = config.node_ports else {
        return places;
    };
    if port.node_port != 0 {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        for place in [
            Place::Host(SocketAddr::new(host, port.node_port)),
            Place::Cluster(SocketAddr::new(any, port.node_port)),
        ] {
            places.push((place, Via::Outside));
        }
    }
    let ingress = service.status.load_balancer.ingress.iter();
    let balanced = ingress.filter_map(|point| point.ip.parse::<IpAddr>().ok());
    // Other addresses belong to somebody else's load balancer.
    let balanced = balanced.filter(|ip| ip.is_loopback() || *ip == host);
    let balanced = balanced.filter(|_| service.spec.kind == "LoadBalancer");
    places.extend(balanced.map(|ip| {
        let at = SocketAddr::new(ip, port.port);
        (Place::Host(at), Via::Balancer)
    }));
    let external = service.spec.external_ips.iter();
    for ip in external.filter_map(|ip| ip.parse().ok()) {
        let at = SocketAddr::new(ip, port.port);
        for place in [Place::Cluster(at), Place::Host(at)] {
            places.push((place, Via::Outside));
        }
    }
    places
}

#[cfg(test)]
mod tests;
