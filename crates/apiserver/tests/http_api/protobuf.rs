//! Protobuf answers: objects, lists, watches, failures.

use crate::rig::{CONFIG_MAPS, DEPLOYMENTS, PODS, Rig, deployment};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use plimsoll_api::{protobuf, schema};
use rstest::rstest;
use serde_json::{Value, json};
use tower::ServiceExt;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const EITHER: &str = "application/vnd.kubernetes.protobuf,application/json";

struct Raw {
    code: u16,
    media: String,
    body: Bytes,
}

impl Raw {
    /// The object in the body, by the type its envelope names.
    fn object(&self) -> Value {
        assert_eq!(self.media, PROTOBUF);
        open(&self.body)
    }
}

fn open(body: &[u8]) -> Value {
    let envelope = protobuf::decode_envelope(body).unwrap();
    let ty = protobuf::type_of(&envelope.api_version, &envelope.kind).unwrap();
    protobuf::decode_object(ty, &envelope).unwrap()
}

async fn ask(rig: &Rig, method: Method, path: &str, accept: &str) -> Raw {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("accept", accept)
        .body(Full::<Bytes>::default())
        .unwrap();
    let service = rig.server.service(rig.identity.clone());
    let response = service.oneshot(request).await.unwrap();
    let code = response.status().as_u16();
    let media = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Raw { code, media, body }
}

fn sorted(mut value: Value) -> Value {
    value.sort_all_objects();
    value
}

#[tokio::test(start_paused = true)]
async fn an_object_is_the_same_in_both_encodings() {
    let rig = Rig::new().await;
    rig.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let json = rig.get(&path).await.expect(200);
    let mut raw = ask(&rig, Method::GET, &path, EITHER).await.object();
    // Empty messages and what protobuf does not tell from absence are the only differences.
    assert_eq!(raw["kind"], "Deployment");
    assert_eq!(raw["apiVersion"], "apps/v1");
    raw["status"] = json["status"].clone();
    assert_eq!(sorted(raw), sorted(json));
}

#[tokio::test(start_paused = true)]
async fn lists_carry_their_metadata_and_items() {
    let rig = Rig::new().await;
    for name in ["a", "b", "c"] {
        rig.config_map(name, &json!({"z": "1", "a": "2"})).await;
    }
    let path = format!("{CONFIG_MAPS}?limit=2");
    let json = rig.get(&path).await.expect(200);
    let mut list = ask(&rig, Method::GET, &path, PROTOBUF).await.object();
    // Items know their type from the list.
    for (item, full) in list["items"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .zip(json["items"].as_array().unwrap())
    {
        item["kind"] = full["kind"].clone();
        item["apiVersion"] = full["apiVersion"].clone();
    }
    assert_eq!(sorted(list), sorted(json));
}

#[tokio::test(start_paused = true)]
async fn metadata_alone_is_enough_where_it_is_asked_for() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({"z": "1"})).await;
    let form = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let raw = ask(&rig, Method::GET, CONFIG_MAPS, &form).await;
    let envelope = protobuf::decode_envelope(&raw.body).unwrap();
    assert_eq!(
        (envelope.api_version.as_str(), envelope.kind.as_str()),
        ("meta.k8s.io/v1", "PartialObjectMetadataList")
    );
    // A list of ConfigMaps has its fields in the same places; these have no data.
    let ty = schema::by_kind("", "v1", "ConfigMapList").unwrap();
    let list = protobuf::decode(ty, envelope.raw).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert_eq!(list["items"][0].as_object().unwrap().len(), 1);
}

#[rstest]
#[case::missing(Method::GET, "/api/v1/namespaces/default/pods/x", 404)]
#[case::no_such_resource(Method::GET, "/api/v1/namespaces/default/nothings", 404)]
#[case::bad_options(Method::GET, "/api/v1/pods?resourceVersionMatch=Exact", 422)]
#[case::bad_token(Method::GET, "/api/v1/pods?continue=x", 400)]
#[tokio::test(start_paused = true)]
async fn failures_are_protobuf_too(#[case] method: Method, #[case] path: &str, #[case] code: u16) {
    let rig = Rig::new().await;
    let raw = ask(&rig, method, path, EITHER).await;
    assert_eq!(raw.code, code);
    let status = raw.object();
    assert_eq!(
        (&status["kind"], &status["code"]),
        (&json!("Status"), &json!(code))
    );
}

#[tokio::test(start_paused = true)]
async fn watches_are_frames_of_events() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    let path = format!("{CONFIG_MAPS}?watch=true&allowWatchBookmarks=true&timeoutSeconds=3");
    let raw = ask(&rig, Method::GET, &path, EITHER).await;
    assert_eq!(raw.media, format!("{PROTOBUF};stream=watch"));
    let ty = schema::by_kind("", "v1", "WatchEvent").unwrap();
    let mut rest = &raw.body[..];
    let mut seen = Vec::new();
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        let event = protobuf::decode(ty, &tail[..length]).unwrap();
        seen.push((
            event["type"].as_str().unwrap().to_owned(),
            event["object"]["kind"].as_str().unwrap().to_owned(),
            event["object"]["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        ));
        rest = &tail[length..];
    }
    let line = |kind: &str, name: &str| (kind.to_owned(), "ConfigMap".to_owned(), name.to_owned());
    assert_eq!(
        seen,
        [
            line("ADDED", "a"),
            line("BOOKMARK", ""),
            line("BOOKMARK", "")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_expired_watch_ends_with_a_protobuf_error() {
    let rig = Rig::new().await;
    let path = format!("{PODS}?watch=true&resourceVersion=999999");
    let raw = ask(&rig, Method::GET, &path, EITHER).await;
    assert_eq!(raw.code, 504);
    assert_eq!(raw.object()["reason"], "Timeout");
}

#[tokio::test(start_paused = true)]
async fn what_protobuf_cannot_say_is_refused() {
    let rig = Rig::new().await;
    let table = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1");
    let raw = ask(&rig, Method::GET, CONFIG_MAPS, &table).await;
    assert_eq!((raw.code, raw.media.as_str()), (406, "application/json"));
    let status: Value = serde_json::from_slice(&raw.body).unwrap();
    let types = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    assert!(
        status["message"].as_str().unwrap().ends_with(types),
        "{status}"
    );
}

/// Questions have neither metadata nor columns, so they cannot come as either.
#[tokio::test(start_paused = true)]
async fn reviews_are_not_tables() {
    let rig = Rig::new().await;
    let review = json!({"spec": {"nonResourceAttributes": {"verb": "get", "path": "/"}}});
    for (accept, code) in [
        ("application/json;as=Table;v=v1;g=meta.k8s.io", 406),
        (
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            406,
        ),
        ("application/json", 201),
    ] {
        let request = Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
            .header("accept", accept)
            .header("content-type", "application/json");
        let body = Full::new(Bytes::from(review.to_string()));
        let answer = rig.send(request.body(body).unwrap()).await;
        assert_eq!(answer.code.as_u16(), code, "{accept}");
    }
}

/// Custom resources have no messages, only their metadata has: what is asked for in protobuf first
/// comes as JSON, and what is asked for in nothing else does not come.
#[tokio::test(start_paused = true)]
async fn only_the_metadata_of_custom_resources_is_protobuf() {
    let rig = Rig::new().await;
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let definition = json!({
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    rig.post(definitions, &definition).await.expect(201);
    let things = "/apis/example.com/v1/namespaces/default/things";
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}});
    rig.post(things, &thing).await.expect(201);

    // The refusal itself is something that the client can read.
    let refused = ask(&rig, Method::GET, things, PROTOBUF).await;
    assert_eq!(refused.code, 406);
    assert_eq!(refused.object()["reason"], "NotAcceptable");
    let plain = ask(&rig, Method::GET, things, EITHER).await;
    assert_eq!(
        (plain.code, plain.media.as_str()),
        (200, "application/json")
    );

    let form = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let raw = ask(&rig, Method::GET, things, &form).await;
    assert_eq!((raw.code, raw.media.as_str()), (200, PROTOBUF));
    let envelope = protobuf::decode_envelope(&raw.body).unwrap();
    assert_eq!(envelope.kind, "PartialObjectMetadataList");
    let form = format!("{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let path = format!("{things}?watch=true&timeoutSeconds=1");
    let raw = ask(&rig, Method::GET, &path, &form).await;
    assert_eq!(raw.media, format!("{PROTOBUF};stream=watch"));
    let (length, event) = raw.body.split_first_chunk::<4>().unwrap();
    assert_eq!(
        usize::try_from(u32::from_be_bytes(*length)).unwrap(),
        event.len()
    );

    let body = protobuf::encode_envelope("example.com/v1", "Thing", b"");
    let request = Request::post(things).header("content-type", PROTOBUF);
    let answer = rig
        .send(request.body(Full::new(Bytes::from(body))).unwrap())
        .await;
    answer.expect_failure(415, "UnsupportedMediaType", "application/json");
}
