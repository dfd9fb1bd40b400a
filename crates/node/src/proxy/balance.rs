//! Which endpoint a connection goes to: pure choices.

use super::table::{Endpoint, ServiceName, Slice, SlicePort, Table};
use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// Everything that could take a connection to a port of a Service: the ready endpoints, or, when
/// there are none, those that still work on their way out.
pub fn candidates(
    table: &Table,
    service: &ServiceName,
    port: &str,
    protocol: &str,
) -> Vec<SocketAddr> {
    let ready = addresses(table, service, (port, protocol), |e| {
        e.conditions.is_ready()
    });
    if !ready.is_empty() {
        return ready;
    }
    addresses(table, service, (port, protocol), |e| {
        e.conditions.is_draining()
    })
}

fn addresses(
    table: &Table,
    service: &ServiceName,
    port: (&str, &str),
    wanted: impl Fn(&Endpoint) -> bool,
) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for slice in table.slices_of(service) {
        for number in ports(slice, port) {
            let endpoints = slice.endpoints.iter().filter(|e| wanted(e));
            let ips = endpoints.filter_map(|e| e.addresses.first()?.parse::<IpAddr>().ok());
            found.extend(ips.map(|ip| SocketAddr::new(ip, number)));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
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

/// The order in which candidates are tried: random, the one a client sticks to first.
pub fn order(
    mut candidates: Vec<SocketAddr>,
    sticky: Option<SocketAddr>,
    rng: &mut impl Rng,
) -> Vec<SocketAddr> {
    candidates.shuffle(rng);
    if let Some(at) = sticky.and_then(|s| candidates.iter().position(|c| *c == s)) {
        candidates.swap(0, at);
    }
    candidates
}

/// Which endpoint each client last went to, for `sessionAffinity: ClientIP`.
#[derive(Debug, Default)]
pub struct Affinity(BTreeMap<IpAddr, (SocketAddr, Timestamp)>);

impl Affinity {
    /// Where the client went within the timeout (seconds).
    pub fn of(&self, client: IpAddr, now: Timestamp, timeout: u64) -> Option<SocketAddr> {
        let (endpoint, last) = self.0.get(&client)?;
        let limit = SignedDuration::from_secs(i64::try_from(timeout).unwrap_or(i64::MAX));
        (now.duration_since(*last) <= limit).then_some(*endpoint)
    }

    /// Notes where the client went. Old entries are dropped when there are many.
    pub fn note(&mut self, client: IpAddr, endpoint: SocketAddr, now: Timestamp, timeout: u64) {
        if self.0.len() >= 10_000 {
            let limit = SignedDuration::from_secs(i64::try_from(timeout).unwrap_or(i64::MAX));
            self.0
                .retain(|_, (_, last)| now.duration_since(*last) <= limit);
        }
        self.0.insert(client, (endpoint, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::json;
    use std::sync::Arc;

    fn table(endpoints: &serde_json::Value) -> (Table, ServiceName) {
        let slice: Slice = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4",
            "endpoints": endpoints,
            "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
        }))
        .unwrap();
        let name = ("default".to_owned(), "web".to_owned());
        let mut table = Table::default();
        table
            .slices
            .entry(name.clone())
            .or_default()
            .insert("web-1".into(), Arc::new(slice));
        (table, name)
    }

    fn found(endpoints: &serde_json::Value) -> Vec<String> {
        let (table, name) = table(endpoints);
        candidates(&table, &name, "", "TCP")
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn ready_endpoints_are_preferred() {
        let got = found(&json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ]));
        assert_eq!(got, ["10.0.0.1:8080"]);
    }

    #[test]
    fn draining_endpoints_are_used_when_none_is_ready() {
        let got = found(&json!([
            {"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": false, "terminating": true}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": false}},
        ]));
        assert_eq!(got, ["10.0.0.2:8080"]);
    }

    #[test]
    fn choices_spread_evenly() {
        let endpoints: Vec<SocketAddr> = (1..=4)
            .map(|i| format!("10.0.0.{i}:80").parse().unwrap())
            .collect();
        let mut rng = StdRng::seed_from_u64(7);
        let mut counts: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for _ in 0..4000 {
            *counts
                .entry(order(endpoints.clone(), None, &mut rng)[0])
                .or_default() += 1;
        }
        assert!(
            counts.values().all(|n| (900..1100).contains(n)),
            "{counts:?}"
        );
    }

    #[test]
    fn a_sticky_client_keeps_its_endpoint_until_the_timeout() {
        let endpoint: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let client: IpAddr = "10.244.0.9".parse().unwrap();
        let at = |s| Timestamp::from_second(s).unwrap();
        let mut affinity = Affinity::default();
        affinity.note(client, endpoint, at(0), 100);
        assert_eq!(affinity.of(client, at(100), 100), Some(endpoint));
        assert_eq!(affinity.of(client, at(101), 100), None);
    }
}
