//! The table after changes.

use super::*;
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn name(service: &str) -> ServiceName {
    ("default".to_owned(), service.to_owned())
}

fn service(service: &str, ip: &str) -> Service {
    let meta = json!({"name": service, "namespace": "default"});
    serde_json::from_value(json!({"metadata": meta, "spec": {"clusterIP": ip}})).unwrap()
}

fn slice(slice: &str, service: &str, addresses: &[String]) -> Slice {
    let labels = json!({"kubernetes.io/service-name": service});
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|ip| json!({"addresses": [ip], "conditions": {}}))
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": slice, "namespace": "default", "labels": labels},
        "addressType": "IPv4", "endpoints": endpoints,
    }))
    .unwrap()
}

fn node(name: &str, cidr: &str, zone: &str) -> Node {
    let labels = json!({"topology.kubernetes.io/zone": zone});
    let meta = json!({"name": name, "labels": labels});
    serde_json::from_value(json!({"metadata": meta, "spec": {"podCIDR": cidr}})).unwrap()
}

#[rstest::rstest]
#[case::inside("10.244.1.0/24", "10.244.1.0", "10.244.1.255")]
#[case::unaligned("10.244.1.7/24", "10.244.1.0", "10.244.1.255")]
#[case::one("10.0.0.1/32", "10.0.0.1", "10.0.0.1")]
#[case::all("10.0.0.1/0", "0.0.0.0", "255.255.255.255")]
fn ranges_are_read(#[case] cidr: &str, #[case] first: &str, #[case] last: &str) {
    let got = range(cidr).unwrap();
    assert_eq!(
        (got.0.to_string(), got.1.to_string()),
        (first.into(), last.into())
    );
}

#[rstest::rstest]
#[case::empty("")]
#[case::no_bits("10.0.0.1")]
#[case::too_many_bits("10.0.0.1/33")]
#[case::ipv6("fd00::/64")]
fn what_is_no_range_is_none(#[case] cidr: &str) {
    assert_eq!(range(cidr), None);
}

#[test]
fn clients_are_found_on_their_nodes() {
    let mut table = Table::default();
    table.put_node(node("a", "10.244.1.0/24", "x"));
    table.put_node(node("b", "10.244.2.0/24", "y"));
    let of = |table: &Table, ip: &str| {
        let node = table.node_of(ip.parse().unwrap());
        node.map(|node| node.metadata.name.clone())
    };
    assert_eq!(of(&table, "10.244.2.255").as_deref(), Some("b"));
    assert_eq!(of(&table, "10.244.1.0").as_deref(), Some("a"));
    assert_eq!(of(&table, "10.244.3.1"), None);
    assert_eq!(of(&table, "127.0.0.1"), None);
    assert!(!table.put_node(node("b", "10.244.2.0/24", "y")));
    assert!(table.put_node(node("b", "10.244.9.0/24", "y")));
    assert_eq!(of(&table, "10.244.2.7"), None);
    table.remove_node("b");
    assert_eq!(of(&table, "10.244.9.7"), None);
}

#[test]
fn services_of_a_namespace_are_its_own() {
    let mut table = Table::default();
    table.put_service(service("web", "10.96.0.1"));
    let mut other = service("web", "10.96.0.2");
    other.metadata.namespace = "default2".into();
    table.put_service(other);
    assert_eq!(table.services_in("default").count(), 1);
    assert!(table.has_namespace("default2") && !table.has_namespace("defaul"));
}

proptest! {
    /// Whatever came and went, slices that moved to another Service included, the index of addresses is what the objects say.
    #[test]
    fn addresses_lead_to_their_users(
        steps in prop::collection::vec((0_u8..4, 0_u8..3, 0_u8..3, 0_u8..6), 0..60),
    ) {
        let mut table = Table::default();
        for (action, of, which, ip) in steps {
            let of = format!("s{of}");
            let ip = format!("10.0.0.{ip}");
            match action {
                0 => drop(table.put_service(service(&of, &ip))),
                1 => table.remove_service(&name(&of)),
                2 => drop(table.put_slice(slice(&which.to_string(), &of, &[ip]))),
                _ => drop(table.remove_slice(&slice(&which.to_string(), &of, &[]))),
            }
        }
        for n in 0..6 {
            let address: IpAddr = format!("10.0.0.{n}").parse().unwrap();
            let got: Vec<_> = table.users_of(address).cloned().collect();
            let want: Vec<_> = (0..3).map(|n| name(&format!("s{n}"))).filter(|name| {
                table.service(name).is_some_and(|s| s.cluster_ip() == Some(address))
                    || table.slices_of(name).any(|s| addresses(s).any(|ip| ip == address))
            }).collect();
            prop_assert_eq!(got, want);
        }
    }
}

#[rstest]
#[case::everybody(json!([]), "192.0.2.7", true)]
#[case::a_range(json!(["10.0.0.0/8", "192.0.2.0/24"]), "192.0.2.7", true)]
#[case::outside(json!(["10.0.0.0/8"]), "192.0.2.7", false)]
#[case::another_family(json!(["10.0.0.0/8"]), "::1", false)]
fn a_load_balancer_lets_in(#[case] ranges: Value, #[case] client: &str, #[case] want: bool) {
    let spec = json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ranges});
    let service: Service = serde_json::from_value(json!({ "spec": spec })).unwrap();
    assert_eq!(service.admits(client.parse().unwrap()), want);
}
