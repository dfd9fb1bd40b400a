//! Answers, query by query.

use super::*;
use crate::proxy::table::{Node, Service, Slice, Table};
use hickory_proto::op::MessageType;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::net::Ipv4Addr;

fn service(name: &str, spec: &Value) -> Service {
    let meta = json!({"name": name, "namespace": "default"});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn slice(name: &str, service: &str, family: &str, endpoints: &Value) -> Slice {
    let labels = json!({"kubernetes.io/service-name": service});
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "addressType": family, "endpoints": endpoints,
        "ports": [{"name": "sql", "protocol": "TCP", "port": 15432}],
    }))
    .unwrap()
}

fn external(target: &str) -> Value {
    json!({"type": "ExternalName", "externalName": target})
}

/// Name and spec of each Service.
fn services() -> [(&'static str, Value); 11] {
    let http = json!({"name": "http", "port": 80, "protocol": "TCP"});
    let dns = json!({"name": "dns", "port": 53, "protocol": "UDP"});
    let web = json!({"clusterIP": "10.96.0.20", "ports": [http, dns]});
    let sql = json!([{"name": "sql", "port": 5432, "protocol": "TCP"}]);
    let headless = json!({"clusterIP": "None", "ports": sql});
    let mut published = headless.clone();
    published["publishNotReadyAddresses"] = true.into();
    [
        ("web", web),
        (
            "plain",
            json!({"clusterIP": "10.96.0.21", "ports": [{"port": 80}]}),
        ),
        ("db", headless.clone()),
        ("early", published),
        ("nobody", headless),
        ("ext", external("Example.org.")),
        ("near", external("web.default.svc.cluster.local")),
        ("far", external("near.default.svc.cluster.local")),
        ("lost", external("nope.default.svc.cluster.local")),
        ("number", external("1.2.3.4")),
        ("ring", external("ring.default.svc.cluster.local")),
    ]
}

fn table() -> Table {
    let mut table = Table::default();
    for (name, spec) in services() {
        table.put_service(service(name, &spec));
    }
    let ready = json!({"ready": true});
    table.put_slice(slice(
        "db-x",
        "db",
        "IPv4",
        &json!([
            {"addresses": ["10.244.1.2"], "hostname": "db-0", "conditions": ready},
            {"addresses": ["10.244.1.3"], "conditions": ready},
            {"addresses": ["10.244.1.4"], "hostname": "db-2", "conditions": {"ready": false}},
        ]),
    ));
    // Ports that differ from pod to pod put one address into two slices.
    table.put_slice(slice(
        "db-y",
        "db",
        "IPv4",
        &json!([
            {"addresses": ["10.244.1.3"], "conditions": ready},
        ]),
    ));
    table.put_slice(slice(
        "db-z",
        "db",
        "IPv6",
        &json!([
            {"addresses": ["fd00::5"], "hostname": "db-0", "conditions": ready},
        ]),
    ));
    table.put_slice(slice(
        "early-x",
        "early",
        "IPv4",
        &json!([
            {"addresses": ["10.244.1.7"], "hostname": "early-0", "conditions": {"ready": false}},
        ]),
    ));
    table.put_slice(slice(
        "web-x",
        "web",
        "IPv4",
        &json!([
            {"addresses": ["10.244.1.6"], "conditions": ready},
        ]),
    ));
    let node: Node = serde_json::from_value(
        json!({"metadata": {"name": "a"}, "spec": {"podCIDR": "10.244.1.0/24"}}),
    )
    .unwrap();
    table.put_node(node);
    table.put_namespace("empty".into());
    table
}

/// What is answered, and to what it leads if that is elsewhere.
fn answered(name: &str, kind: RecordType) -> Option<(Message, Option<String>)> {
    let table = table();
    let zone = Zone {
        domain: "cluster.local",
        table: &table,
        server: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
        services: (Ipv4Addr::new(10, 96, 0, 0), 12),
    };
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let (response, target) = match answer(&zone, &query, 0) {
        Answer::Whole(response) => (response, None),
        Answer::Alias(response, target) => (response, Some(target.to_string())),
        Answer::Elsewhere => return None,
    };
    assert_eq!(response.metadata.message_type, MessageType::Response);
    assert_eq!(
        response.answers.is_empty(),
        !response.authorities.is_empty()
    );
    Some((response, target))
}

fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|r| r.data.to_string()).collect()
}

fn ask(name: &str, kind: RecordType) -> Option<(ResponseCode, Vec<String>)> {
    let (response, _) = answered(name, kind)?;
    Some((response.metadata.response_code, texts(&response.answers)))
}

const OK: ResponseCode = ResponseCode::NoError;
const NONE: ResponseCode = ResponseCode::NXDomain;

#[rstest::rstest]
#[case::a_service("web.default.svc.cluster.local.", RecordType::A, OK, &["10.96.0.20"])]
#[case::in_any_case("WEB.Default.svc.cluster.local.", RecordType::A, OK, &["10.96.0.20"])]
#[case::without_ipv6("web.default.svc.cluster.local.", RecordType::AAAA, OK, &[])]
#[case::an_unknown_service("nope.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::a_search_domain_miss("web.default.svc.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::a_namespace("default.svc.cluster.local.", RecordType::A, OK, &[])]
#[case::an_unknown_namespace("other.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::an_empty_namespace("empty.svc.cluster.local.", RecordType::A, OK, &[])]
#[case::the_zone("cluster.local.", RecordType::A, OK, &[])]
#[case::the_zones_server("cluster.local.", RecordType::NS, OK, &["ns.dns.cluster.local."])]
#[case::the_server("ns.dns.cluster.local.", RecordType::A, OK, &["10.96.0.10"])]
#[case::above_the_server("dns.cluster.local.", RecordType::A, OK, &[])]
#[case::an_unknown_part("other.cluster.local.", RecordType::A, NONE, &[])]
#[case::headless("db.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.2", "10.244.1.3"])]
#[case::headless_ipv6("db.default.svc.cluster.local.", RecordType::AAAA, OK, &["fd00::5"])]
#[case::headless_without_endpoints("nobody.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::headless_published("early.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.7"])]
#[case::a_published_host("early-0.early.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.7"])]
#[case::a_host_in_any_case("DB-0.db.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.2"])]
#[case::a_host_ipv6("db-0.db.default.svc.cluster.local.", RecordType::AAAA, OK, &["fd00::5"])]
#[case::below_a_host("x.db-0.db.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::a_host_with_a_name_has_no_dashes("10-244-1-2.db.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::an_endpoint_behind_an_address("10-244-1-6.web.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.6"])]
#[case::a_host_name("db-0.db.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.2"])]
#[case::a_dashed_address("10-244-1-3.db.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.3"])]
#[case::an_unready_host("db-2.db.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::srv("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV, OK,
    &["0 100 80 web.default.svc.cluster.local."])]
#[case::srv_udp("_dns._udp.web.default.svc.cluster.local.", RecordType::SRV, OK,
    &["0 100 53 web.default.svc.cluster.local."])]
#[case::srv_in_any_case("_HTTP._TCP.web.default.svc.cluster.local.", RecordType::SRV, OK,
    &["0 100 80 web.default.svc.cluster.local."])]
#[case::srv_of_every_port("web.default.svc.cluster.local.", RecordType::SRV, OK,
    &["0 50 80 web.default.svc.cluster.local.", "0 50 53 web.default.svc.cluster.local."])]
#[case::srv_of_another_protocol("_http._udp.web.default.svc.cluster.local.", RecordType::SRV, NONE, &[])]
#[case::srv_of_an_unnamed_port("_._tcp.plain.default.svc.cluster.local.", RecordType::SRV, NONE, &[])]
#[case::above_srv("_tcp.web.default.svc.cluster.local.", RecordType::SRV, OK, &[])]
#[case::no_port_of_the_protocol("_udp.plain.default.svc.cluster.local.", RecordType::SRV, NONE, &[])]
#[case::no_address_of_a_port("_http._tcp.web.default.svc.cluster.local.", RecordType::A, OK, &[])]
#[case::srv_headless("_sql._tcp.early.default.svc.cluster.local.", RecordType::SRV, OK,
    &["0 100 15432 early-0.early.default.svc.cluster.local."])]
#[case::external("ext.default.svc.cluster.local.", RecordType::A, OK, &["example.org."])]
#[case::external_itself("ext.default.svc.cluster.local.", RecordType::CNAME, OK, &["example.org."])]
#[case::external_inside("near.default.svc.cluster.local.", RecordType::A, OK,
    &["web.default.svc.cluster.local.", "10.96.0.20"])]
#[case::a_chain("far.default.svc.cluster.local.", RecordType::A, OK,
    &["near.default.svc.cluster.local.", "web.default.svc.cluster.local.", "10.96.0.20"])]
#[case::a_chain_without_ipv6("near.default.svc.cluster.local.", RecordType::AAAA, OK,
    &["web.default.svc.cluster.local."])]
#[case::a_chain_to_nowhere("lost.default.svc.cluster.local.", RecordType::A, NONE,
    &["nope.default.svc.cluster.local."])]
#[case::an_external_address("number.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::below_external("x.ext.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::reverse("20.0.96.10.in-addr.arpa.", RecordType::PTR, OK, &["web.default.svc.cluster.local."])]
#[case::reverse_host("2.1.244.10.in-addr.arpa.", RecordType::PTR, OK,
    &["db-0.db.default.svc.cluster.local."])]
#[case::reverse_dashed("3.1.244.10.in-addr.arpa.", RecordType::PTR, OK,
    &["10-244-1-3.db.default.svc.cluster.local."])]
#[case::reverse_ipv6("5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.",
    RecordType::PTR, OK, &["db-0.db.default.svc.cluster.local."])]
#[case::reverse_of_an_unready_host("4.1.244.10.in-addr.arpa.", RecordType::PTR, NONE, &[])]
#[case::reverse_of_nobody("99.0.96.10.in-addr.arpa.", RecordType::PTR, NONE, &[])]
#[case::reverse_of_a_pod_behind_nothing("200.1.244.10.in-addr.arpa.", RecordType::PTR, NONE, &[])]
#[case::a_pod_ipv6("fd00--7.default.pod.cluster.local.", RecordType::AAAA, OK, &["fd00::7"])]
#[case::a_pod_of_no_namespace("10-244-1-9.nope.pod.cluster.local.", RecordType::A, NONE, &[])]
#[case::a_pod("10-244-1-9.default.pod.cluster.local.", RecordType::A, OK, &["10.244.1.9"])]
#[case::no_pod("x.default.pod.cluster.local.", RecordType::A, NONE, &[])]
#[case::version("dns-version.cluster.local.", RecordType::TXT, OK, &["1.1.0"])]
fn names_resolve(
    #[case] name: &str,
    #[case] kind: RecordType,
    #[case] code: ResponseCode,
    #[case] want: &[&str],
) {
    let (got_code, got) = ask(name, kind).unwrap();
    assert_eq!(
        (got_code, got.iter().map(String::as_str).collect::<Vec<_>>()),
        (code, want.to_vec())
    );
}

#[rstest::rstest]
#[case("example.org.")]
#[case("mycluster.local.")]
#[case("8.8.8.8.in-addr.arpa.")]
fn names_outside_the_zone_are_left_to_others(#[case] name: &str) {
    assert_eq!(ask(name, RecordType::A), None);
}

#[test]
fn an_alias_that_leads_outside_is_left_to_be_completed() {
    let (response, target) = answered("ext.default.svc.cluster.local.", RecordType::A).unwrap();
    assert_eq!(texts(&response.answers), ["example.org."]);
    assert_eq!(target.as_deref(), Some("example.org."));
    let (_, target) = answered("ext.default.svc.cluster.local.", RecordType::CNAME).unwrap();
    assert_eq!(target, None);
}

#[test]
fn a_ring_of_aliases_ends() {
    let (code, answers) = ask("ring.default.svc.cluster.local.", RecordType::A).unwrap();
    assert_eq!((code, answers.len()), (ResponseCode::ServFail, ALIASES));
}

#[test]
fn hosts_of_a_service_come_with_their_addresses() {
    let (response, _) =
        answered("_sql._tcp.db.default.svc.cluster.local.", RecordType::SRV).unwrap();
    let mut services = texts(&response.answers);
    services.sort();
    services.dedup();
    assert_eq!(
        services,
        [
            "0 25 15432 10-244-1-3.db.default.svc.cluster.local.",
            "0 25 15432 db-0.db.default.svc.cluster.local.",
        ]
    );
    assert_eq!(
        texts(&response.additionals),
        ["10.244.1.2", "10.244.1.3", "fd00::5"]
    );
}

#[test]
fn other_classes_and_operations_are_refused() {
    let table = table();
    let zone = Zone {
        domain: "cluster.local",
        table: &table,
        server: IpAddr::V4(Ipv4Addr::LOCALHOST),
        services: (Ipv4Addr::new(10, 96, 0, 0), 12),
    };
    let code = |query: &Message| match answer(&zone, query, 0) {
        Answer::Whole(response) => response.metadata.response_code,
        other @ (Answer::Alias(..) | Answer::Elsewhere) => panic!("{other:?}"),
    };
    let mut query = Message::query();
    assert_eq!(code(&query), ResponseCode::FormErr, "no question");
    let name = Name::from_ascii("web.default.svc.cluster.local.").unwrap();
    let mut question = Query::query(name, RecordType::A);
    question.set_query_class(DNSClass::CH);
    query.add_query(question);
    assert_eq!(code(&query), ResponseCode::Refused);
    query.metadata.op_code = OpCode::Update;
    assert_eq!(code(&query), ResponseCode::NotImp);
}

proptest! {
    /// A resolver tries search domains until a name exists: it must not be told that one exists
    /// that does not, and no name whatever may break the server.
    #[test]
    fn only_names_that_exist_are_told_to(
        labels in prop::collection::vec(
            prop::sample::select(vec![
                "web", "db", "db-0", "10-244-1-3", "default", "empty", "svc", "pod", "_tcp",
                "_http", "nope", "ext", "xn--a", "1", "ns", "dns", "in-addr", "arpa",
            ]), 0..6),
        kind in prop::sample::select(vec![
            RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::PTR, RecordType::ANY,
            RecordType::NS, RecordType::SOA, RecordType::TXT, RecordType::MX,
        ]),
    ) {
        let mut name = labels.join(".");
        name.push_str(if name.is_empty() { "cluster.local." } else { ".cluster.local." });
        let (code, answers) = ask(&name, kind).unwrap();
        // Whether a name exists is the same for every type of record.
        let (for_address, _) = ask(&name, RecordType::A).unwrap();
        prop_assert_eq!(code, for_address, "{}", name);
        prop_assert!(code == OK || answers.is_empty());
    }
}
