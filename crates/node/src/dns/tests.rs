//! Answers, query by query.

use super::*;
use crate::proxy::table::{Service, Slice, Table};
use hickory_proto::op::MessageType;
use serde_json::json;
use std::sync::Arc;

fn table() -> Table {
    let mut table = Table::default();
    for service in [
        json!({"metadata": {"name": "web", "namespace": "default"},
            "spec": {"clusterIP": "10.96.0.20", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}}),
        json!({"metadata": {"name": "db", "namespace": "default"},
            "spec": {"clusterIP": "None", "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}]}}),
        json!({"metadata": {"name": "ext", "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": "Example.org."}}),
    ] {
        let service: Service = serde_json::from_value(service).unwrap();
        let key = (
            service.metadata.namespace.clone(),
            service.metadata.name.clone(),
        );
        table.services.insert(key, Arc::new(service));
    }
    let slice: Slice = serde_json::from_value(json!({
        "metadata": {"name": "db-x", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.244.1.2"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.244.1.3"], "conditions": {"ready": true}},
            {"addresses": ["10.244.1.4"], "hostname": "db-2", "conditions": {"ready": false}},
        ],
        "ports": [{"name": "sql", "protocol": "TCP", "port": 15432}],
    }))
    .unwrap();
    let key = ("default".to_owned(), "db".to_owned());
    table
        .slices
        .entry(key)
        .or_default()
        .insert("db-x".into(), Arc::new(slice));
    table
}

fn ask(name: &str, kind: RecordType) -> Option<(ResponseCode, Vec<String>)> {
    let table = table();
    let zone = Zone {
        domain: "cluster.local",
        table: &table,
    };
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let response = answer(&zone, &query, 0)?;
    assert_eq!(response.metadata.message_type, MessageType::Response);
    assert_eq!(
        response.answers.is_empty(),
        !response.authorities.is_empty()
    );
    let answers = response
        .answers
        .iter()
        .map(|r| r.data.to_string())
        .collect();
    Some((response.metadata.response_code, answers))
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
#[case::headless("db.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.2", "10.244.1.3"])]
#[case::a_host_name("db-0.db.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.2"])]
#[case::a_dashed_address("10-244-1-3.db.default.svc.cluster.local.", RecordType::A, OK, &["10.244.1.3"])]
#[case::an_unready_host("db-2.db.default.svc.cluster.local.", RecordType::A, NONE, &[])]
#[case::srv("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV, OK,
    &["0 100 80 web.default.svc.cluster.local."])]
#[case::srv_headless("_sql._tcp.db.default.svc.cluster.local.", RecordType::SRV, OK,
    &["0 100 15432 db-0.db.default.svc.cluster.local.",
      "0 100 15432 10-244-1-3.db.default.svc.cluster.local."])]
#[case::external("ext.default.svc.cluster.local.", RecordType::A, OK, &["example.org."])]
#[case::reverse("20.0.96.10.in-addr.arpa.", RecordType::PTR, OK, &["web.default.svc.cluster.local."])]
#[case::reverse_host("2.1.244.10.in-addr.arpa.", RecordType::PTR, OK,
    &["db-0.db.default.svc.cluster.local."])]
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
