//! Choices among endpoints.

use super::*;
use crate::proxy::table::Service;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};

fn name() -> ServiceName {
    ("default".to_owned(), "web".to_owned())
}

fn table(spec: &Value, endpoints: &Value) -> Table {
    let meta = json!({"name": "web", "namespace": "default"});
    let service: Service = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
    let slice: Slice = serde_json::from_value(json!({
        "metadata": {"name": "web-1", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
    }))
    .unwrap();
    let mut table = Table::default();
    table.put_service(service);
    table.put_slice(slice);
    table
}

fn node(name: &str, zone: &str) -> Node {
    let labels = json!({"topology.kubernetes.io/zone": zone});
    serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
}

/// The last numbers of the addresses that clients of node `a` in zone `x` may reach.
fn reached(spec: &Value, endpoints: &Value, via: Via, client: Option<&Node>) -> Vec<u8> {
    let backends = Backends::new(&table(spec, endpoints), &name(), "", "TCP");
    let eligible = backends.eligible(via, client);
    let last = |at: &SocketAddr| match at.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => 0,
    };
    eligible.iter().map(last).collect()
}

fn endpoint(number: u8, node: &str, state: &str) -> Value {
    let (ready, serving, terminating) = match state {
        "ready" => (true, true, false),
        "draining" => (false, true, true),
        "broken" => (false, false, true),
        _ => (false, false, false),
    };
    json!({
        "addresses": [format!("10.0.0.{number}")], "nodeName": node,
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
    })
}

fn hinted(number: u8, zones: &[&str], nodes: &[&str]) -> Value {
    let names = |list: &[&str]| list.iter().map(|n| json!({"name": n})).collect::<Vec<_>>();
    let mut endpoint = endpoint(number, "n", "ready");
    endpoint["hints"] = json!({"forZones": names(zones), "forNodes": names(nodes)});
    endpoint
}

#[rstest::rstest]
#[case::ready_ones_are_preferred(json!([endpoint(1, "a", "ready"), endpoint(2, "a", "draining")]), &[1])]
#[case::draining_ones_when_none_is_ready(
    json!([endpoint(1, "a", "broken"), endpoint(2, "a", "draining"), endpoint(3, "a", "unready")]), &[2])]
#[case::none(json!([endpoint(1, "a", "unready")]), &[])]
#[case::each_once(json!([endpoint(1, "a", "ready"), endpoint(1, "a", "ready")]), &[1])]
#[case::an_unknown_state_is_ready(json!([{"addresses": ["10.0.0.9"], "conditions": {}}]), &[9])]
#[case::a_host_name_is_no_address(json!([{"addresses": ["example.org"]}]), &[])]
fn endpoints_that_can_take_a_connection(#[case] endpoints: Value, #[case] want: &[u8]) {
    let client = node("a", "x");
    assert_eq!(reached(&json!({}), &endpoints, Via::Outside, None), want);
    assert_eq!(
        reached(&json!({}), &endpoints, Via::ClusterAddress, Some(&client)),
        want
    );
}

#[rstest::rstest]
#[case::only_the_own_node(json!([endpoint(1, "a", "ready"), endpoint(2, "b", "ready")]), &[1], &[1, 2])]
#[case::draining_on_the_own_node(
    json!([endpoint(1, "a", "draining"), endpoint(2, "b", "ready")]), &[1], &[2])]
#[case::nothing_on_the_own_node(json!([endpoint(2, "b", "ready")]), &[], &[2])]
fn local_traffic_stays_on_the_node(
    #[case] endpoints: Value,
    #[case] inside: &[u8],
    #[case] outside: &[u8],
) {
    let spec = json!({"internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local"});
    let client = node("a", "x");
    let got = |via, client| reached(&spec, &endpoints, via, client);
    assert_eq!(got(Via::ClusterAddress, Some(&client)), inside);
    assert_eq!(got(Via::Outside, Some(&client)), outside);
    assert_eq!(
        got(Via::ClusterAddress, None),
        outside,
        "a client on no node"
    );
}

#[rstest::rstest]
#[case::the_zone(json!([hinted(1, &["x"], &[]), hinted(2, &["y"], &[])]), &[1])]
#[case::several_zones(json!([hinted(1, &["y", "x"], &[]), hinted(2, &["y"], &[])]), &[1])]
#[case::none_for_the_zone(json!([hinted(1, &["y"], &[]), hinted(2, &["z"], &[])]), &[1, 2])]
#[case::one_without_hint(json!([hinted(1, &["x"], &[]), hinted(2, &[], &[])]), &[1, 2])]
#[case::the_node(json!([hinted(1, &["x"], &["b"]), hinted(2, &["x"], &["a"])]), &[2])]
#[case::none_for_the_node(json!([hinted(1, &["x"], &["b"]), hinted(2, &["y"], &["c"])]), &[1])]
fn hints_prefer_what_is_close(#[case] endpoints: Value, #[case] want: &[u8]) {
    let client = node("a", "x");
    let got = |client| reached(&json!({}), &endpoints, Via::ClusterAddress, client);
    assert_eq!(got(Some(&client)), want);
    assert_eq!(got(None), [1, 2], "a client on no node");
}

#[rstest::rstest]
#[case::off(json!({}), None)]
#[case::none(json!({"sessionAffinity": "None"}), None)]
#[case::default(json!({"sessionAffinity": "ClientIP"}), Some(10_800))]
#[case::set(json!({"sessionAffinity": "ClientIP",
    "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}}}), Some(7))]
fn affinity_lasts_as_long_as_the_service_says(#[case] spec: Value, #[case] want: Option<u64>) {
    let backends = Backends::new(&table(&spec, &json!([])), &name(), "", "TCP");
    assert_eq!(backends.affinity_seconds, want);
}

#[test]
fn only_the_asked_port_counts() {
    let table = table(&json!({}), &json!([endpoint(1, "a", "ready")]));
    assert!(!Backends::new(&table, &name(), "", "TCP").is_empty());
    assert!(Backends::new(&table, &name(), "other", "TCP").is_empty());
    assert!(Backends::new(&table, &name(), "", "UDP").is_empty());
}

#[test]
fn choices_spread_evenly() {
    let endpoints: Vec<SocketAddr> = (1..=4)
        .map(|i| format!("10.0.0.{i}:80").parse().unwrap())
        .collect();
    let mut rng = StdRng::seed_from_u64(7);
    let mut counts: BTreeMap<SocketAddr, usize> = BTreeMap::new();
    for _ in 0..4000 {
        let chosen = first(&endpoints, None, &mut rng).unwrap();
        *counts.entry(chosen).or_default() += 1;
    }
    assert!(
        counts.values().all(|n| (900..1100).contains(n)),
        "{counts:?}"
    );
}

proptest! {
    #[test]
    fn a_failed_endpoint_is_not_tried_again(count in 1_u8..40, seed: u64) {
        let all: Vec<SocketAddr> =
            (0..count).map(|n| format!("10.0.0.{n}:80").parse().unwrap()).collect();
        let mut rng = StdRng::seed_from_u64(seed);
        let failed = first(&all, None, &mut rng).unwrap();
        let mut rest = rest(&all, failed, &mut rng);
        prop_assert!(!rest.contains(&failed));
        prop_assert_eq!(rest.len(), usize::from(count - 1).min(7));
        rest.sort();
        rest.dedup();
        prop_assert_eq!(rest.len(), usize::from(count - 1).min(7));
    }
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

#[test]
fn outdated_clients_are_forgotten() {
    let endpoint: SocketAddr = "10.0.0.1:80".parse().unwrap();
    let at = |s| Timestamp::from_second(s).unwrap();
    let mut affinity = Affinity::default();
    for n in 0..10_000_u32 {
        let client = std::net::Ipv4Addr::from(n);
        affinity.note(client.into(), endpoint, at(n.into()), 100);
    }
    assert!(
        affinity.clients.len() <= 2 * FIRST_SWEEP,
        "{}",
        affinity.clients.len()
    );
}
