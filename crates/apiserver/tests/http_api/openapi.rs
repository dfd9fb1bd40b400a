//! OpenAPI documents as clients fetch them.

use crate::rig::Rig;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use rstest::rstest;
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn documents_are_kept_for_good_under_their_hash() {
    let rig = Rig::new().await;
    let index = rig.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
        .as_str()
        .unwrap();
    let answer = rig.get(url).await;
    assert_eq!(answer.headers["cache-control"], "public, immutable");
    assert!(answer.headers.contains_key("expires"));
    let hash = url.rsplit('=').next().unwrap();
    assert_eq!(answer.headers["etag"], format!("\"{hash}\""));
    assert_eq!(answer.expect(200)["openapi"], "3.0.0");
    let plain = rig.get("/openapi/v3/apis/apps/v1").await;
    assert_eq!(plain.headers["cache-control"], "no-cache, private");
    let moved = rig.get("/openapi/v3/apis/apps/v1?hash=OLD").await;
    assert_eq!(
        (moved.code.as_u16(), &moved.headers["location"]),
        (301, &url.parse().unwrap())
    );
    let tag = plain.headers["etag"].clone();
    let request = Request::get("/openapi/v3/apis/apps/v1").header("if-none-match", tag);
    let again = rig
        .send(request.body(Full::<Bytes>::default()).unwrap())
        .await;
    assert_eq!(again.code, 304);
    assert_eq!(rig.get("/openapi/v3/apis/none/v1").await.code, 404);
}

#[rstest]
#[case("/openapi/v3")]
#[case("/openapi/v3/apis/apps/v1")]
#[case("/openapi/v2")]
#[tokio::test(start_paused = true)]
async fn documents_are_the_same_compressed(#[case] path: &str) {
    let rig = Rig::new().await;
    let plain = rig.get(path).await;
    assert!(plain.headers.get("content-encoding").is_none());
    let request = Request::get(path).header("accept-encoding", "gzip");
    let (headers, packed) = rig.bytes(request.body(Full::default()).unwrap()).await;
    assert_eq!(headers["content-encoding"], "gzip");
    assert_eq!(headers["etag"], plain.headers["etag"]);
    let mut text = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&packed[..]);
    std::io::Read::read_to_string(&mut decoder, &mut text).unwrap();
    assert_eq!(text, plain.text);
}

/// What kubectl decides by: which operations check fields, and for which kinds.
#[rstest]
#[case(
    "/openapi/v3/apis/apps/v1",
    "/apis/apps/v1/namespaces/{namespace}/deployments/{name}",
    "Deployment"
)]
#[case("/openapi/v3/api/v1", "/api/v1/nodes/{name}", "Node")]
#[tokio::test(start_paused = true)]
async fn patches_name_their_kind_and_options(
    #[case] document: &str,
    #[case] path: &str,
    #[case] kind: &str,
) {
    let rig = Rig::new().await;
    let document = rig.get(document).await.expect(200);
    let patch = &document["paths"][path]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], kind);
    let names: Vec<&str> = patch["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "dryRun",
            "fieldManager",
            "fieldValidation",
            "force",
            "pretty"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn operation_ids_are_unique_and_as_generated_clients_know_them() {
    let rig = Rig::new().await;
    let document = rig.get("/openapi/v3/api/v1").await.expect(200);
    let mut ids: Vec<String> = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item
            .as_object()
            .unwrap()
            .iter()
            .filter(|(m, _)| *m != "parameters")
        {
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_else(|| panic!("{method} {path}"));
            assert_ne!(operation["description"], "", "{id}");
            let watches = operation["x-kubernetes-action"]
                .as_str()
                .unwrap()
                .starts_with("watch");
            assert_eq!(operation["deprecated"] == json!(true), watches, "{id}");
            ids.push(id.to_owned());
        }
    }
    for id in [
        "listCoreV1PodForAllNamespaces",
        "listCoreV1NamespacedPod",
        "readCoreV1NamespacedPodStatus",
        "createCoreV1NamespacedPodBinding",
        "connectCoreV1GetNamespacedPodExec",
        "readCoreV1Node",
        "watchCoreV1NamespacedPodList",
        "watchCoreV1NamespacedPod",
        "watchCoreV1PodListForAllNamespaces",
        "deleteCoreV1CollectionNamespacedPod",
    ] {
        assert!(ids.iter().any(|i| i == id), "{id} is missing");
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

/// Every reference leads somewhere.
fn check_references(value: &Value, prefix: &str, known: &Value) {
    match value {
        Value::Object(map) => {
            if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                let name = target
                    .strip_prefix(prefix)
                    .unwrap_or_else(|| panic!("{target}"));
                assert!(known.get(name).is_some(), "{target} leads nowhere");
            }
            map.values()
                .for_each(|inner| check_references(inner, prefix, known));
        }
        Value::Array(list) => list
            .iter()
            .for_each(|inner| check_references(inner, prefix, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn references_lead_somewhere_in_both_versions() {
    let rig = Rig::new().await;
    let index = rig.get("/openapi/v3").await.expect(200);
    for entry in index["paths"].as_object().unwrap().values() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        let document = rig.get(url).await.expect(200);
        check_references(
            &document,
            "#/components/schemas/",
            &document["components"]["schemas"],
        );
    }
    let two = rig.get("/openapi/v2").await.expect(200);
    check_references(&two, "#/definitions/", &two["definitions"]);
    assert_eq!(two["swagger"], "2.0");
    let pod = &two["definitions"]["io.k8s.api.core.v1.Pod"];
    assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
    let reference = &pod["properties"]["spec"]["$ref"];
    assert_eq!(reference, "#/definitions/io.k8s.api.core.v1.PodSpec");
}

/// Reads one level of a protobuf message: numbers and contents of its length-delimited fields.
fn fields(mut raw: &[u8]) -> Vec<(u64, &[u8])> {
    fn varint(raw: &mut &[u8]) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = raw.split_first().unwrap();
            *raw = rest;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value;
            }
        }
    }
    let mut all = Vec::new();
    while !raw.is_empty() {
        let tag = varint(&mut raw);
        let value = varint(&mut raw);
        if tag & 7 == 2 {
            let (content, rest) = raw.split_at(usize::try_from(value).unwrap());
            all.push((tag >> 3, content));
            raw = rest;
        }
    }
    all
}

fn one(raw: &[u8], number: u64) -> &[u8] {
    fields(raw)
        .into_iter()
        .find(|(n, _)| *n == number)
        .unwrap()
        .1
}

#[tokio::test(start_paused = true)]
async fn old_clients_get_version_two_as_protobuf() {
    let rig = Rig::new().await;
    let accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let request = Request::get("/openapi/v2").header("accept", accept);
    let answer = rig
        .bytes(request.body(Full::<Bytes>::default()).unwrap())
        .await;
    let raw = answer.1;
    assert_eq!(one(&raw, 1), b"2.0");
    assert_eq!(one(one(&raw, 2), 1), b"Kubernetes");
    let definitions = fields(one(&raw, 9));
    let pod = definitions
        .iter()
        .map(|(_, named)| *named)
        .find(|named| one(named, 1) == b"io.k8s.api.core.v1.Pod")
        .unwrap();
    let schema = one(pod, 2);
    assert_eq!(one(one(schema, 22), 1), b"object");
    let spec = fields(one(schema, 25))
        .into_iter()
        .map(|(_, named)| named)
        .find(|named| one(named, 1) == b"spec")
        .unwrap();
    assert_eq!(
        one(one(spec, 2), 1),
        b"#/definitions/io.k8s.api.core.v1.PodSpec"
    );
    let extension = one(schema, 31);
    assert_eq!(one(extension, 1), b"x-kubernetes-group-version-kind");
    let yaml = one(one(extension, 2), 2);
    let gvk: Value = serde_json::from_slice(yaml).unwrap();
    assert_eq!(gvk, json!([{"group": "", "kind": "Pod", "version": "v1"}]));
}
