//! Other API servers behind ours.

use crate::extension::{Extension, endpoint, service};
use crate::rig::Rig;
use http::{Method, Request};
use http_body_util::Full;
use plimsoll_apiserver::auth::Identity;
use serde_json::{Value, json};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const TOYS: &str = "/apis/toys.example.com/v1/namespaces/default/toys";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

fn condition(service: &Value) -> (String, String, String) {
    let text = |key: &str| {
        let condition = &service["status"]["conditions"][0];
        condition[key].as_str().unwrap_or_default().to_owned()
    };
    (text("status"), text("reason"), text("message"))
}

/// Waits until the APIService says this.
pub(crate) async fn becomes(rig: &Rig, name: &str, reason: &str) -> Value {
    let path =
        format!("{SERVICES}?watch=true&fieldSelector=metadata.name={name}&resourceVersion=0");
    let mut lines = rig.watch(&path).await;
    loop {
        let event = lines.next().await.unwrap();
        if condition(&event["object"]).1 == reason {
            return event["object"].clone();
        }
    }
}

/// A rig whose aggregation runs.
async fn running() -> Rig {
    let rig = Rig::new().await;
    let server = rig.server.clone();
    tokio::spawn(async move { server.aggregate().await });
    rig
}

/// A rig with an extension server that answers.
async fn extended() -> (Rig, Extension) {
    let rig = running().await;
    let extension = Extension::start(&rig).await;
    service(&rig).await;
    endpoint(&rig).await;
    let registration = extension.registration("toys.example.com");
    rig.post(SERVICES, &registration).await.expect(201);
    becomes(&rig, "v1.toys.example.com", "Passed").await;
    (rig, extension)
}

fn versions(document: &Value, group: &str) -> Value {
    let items = document["items"].as_array().unwrap();
    let mut items = items.iter().filter(|i| i["metadata"]["name"] == group);
    items
        .next()
        .map_or(Value::Null, |item| item["versions"].clone())
}

#[tokio::test]
async fn every_group_of_ours_has_an_api_service() {
    let rig = Rig::new().await;
    let list = rig.get(SERVICES).await.expect(200);
    let items = list["items"].as_array().unwrap();
    let names: Vec<&str> = items
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap())
        .collect();
    for name in [
        "v1.",
        "v1.apps",
        "v1.autoscaling",
        "v2.autoscaling",
        "v1.policy",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(!names.contains(&"v1.apiregistration.k8s.io"));
    let apps = rig.get(&format!("{SERVICES}/v1.apps")).await.expect(200);
    let label = &apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"];
    assert_eq!(label, "onstart");
    let local = ("True", "Local", "Local APIServices are always available");
    let said = condition(&apps);
    assert_eq!((said.0.as_str(), said.1.as_str(), said.2.as_str()), local);
}

#[tokio::test]
async fn ours_come_back_and_follow_custom_resources() {
    let rig = running().await;
    let path = format!("{SERVICES}/v1.batch");
    let uid = rig.get(&path).await.expect(200)["metadata"]["uid"].clone();
    rig.delete(&path, None).await.expect(200);
    let mut lines = rig
        .watch(&format!("{SERVICES}?watch=true&resourceVersion=0"))
        .await;
    let mut next = async |wanted: &str, name: &str| {
        loop {
            let (kind, object) = lines.step().await;
            if kind == wanted && object == name {
                return;
            }
        }
    };
    next("ADDED", "v1.batch").await;
    assert_eq!(rig.get(&path).await.expect(200)["metadata"]["uid"], uid);
    let definition = json!({
        "metadata": {"name": "cats.pets.example.com"},
        "spec": {
            "group": "pets.example.com", "scope": "Namespaced",
            "names": {"plural": "cats", "singular": "cat", "kind": "Cat"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                          "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    rig.post(definitions, &definition).await.expect(201);
    next("ADDED", "v1.pets.example.com").await;
    rig.delete(&format!("{definitions}/cats.pets.example.com"), None)
        .await;
    next("DELETED", "v1.pets.example.com").await;
}

#[tokio::test]
async fn availability_tells_what_is_missing() {
    let rig = running().await;
    let extension = Extension::start(&rig).await;
    let registration = extension.registration("toys.example.com");
    rig.post(SERVICES, &registration).await.expect(201);
    let name = "v1.toys.example.com";
    let (status, _, message) = condition(&becomes(&rig, name, "ServiceNotFound").await);
    assert_eq!(status, "False");
    assert_eq!(message, "service/toys in \"default\" is not present");
    let refused = rig.get(TOYS).await;
    assert_eq!(refused.code, 503);
    assert_eq!(refused.text, "service unavailable\n");
    service(&rig).await;
    let (_, _, message) = condition(&becomes(&rig, name, "MissingEndpoints").await);
    let words =
        "endpoints for service/toys in \"default\" have no addresses with port name \"https\"";
    assert_eq!(message, words);
    extension.set_healthy(false);
    endpoint(&rig).await;
    let (_, _, message) = condition(&becomes(&rig, name, "FailedDiscoveryCheck").await);
    let start = "failing or missing response from https://toys.default.svc:443/apis/toys.example.com/v1: bad status";
    assert!(message.starts_with(start), "{message}");
    extension.set_healthy(true);
    let (status, _, message) = condition(&becomes(&rig, name, "Passed").await);
    assert_eq!(
        (status.as_str(), message.as_str()),
        ("True", "all checks passed")
    );
    rig.get(TOYS).await.expect(200);
}

#[tokio::test]
async fn requests_are_handed_on_with_the_callers_name() {
    let (mut rig, extension) = extended().await;
    let mut jane = Identity::new("jane", &["system:masters", "dev"]);
    jane.extra.insert("a/b".to_owned(), vec!["c".to_owned()]);
    rig.identity = jane;
    let path = format!("{TOYS}/x?dryRun=All&fieldManager=a%20b");
    let request = Request::put(&path)
        .header("content-type", "application/weird")
        .header("authorization", "Bearer ours")
        .header("x-remote-user", "admin")
        .header("x-remote-group", "system:masters")
        .body(Full::from("hello"))
        .unwrap();
    let answer = rig.send(request).await.expect(200);
    assert_eq!(answer["sent"], "hello");
    let seen = extension.seen().pop().unwrap();
    assert_eq!(seen.path, path);
    assert_eq!(seen.body, "hello");
    assert_eq!(seen.headers["content-type"], "application/weird");
    let all = |name: &str| {
        let values = seen.headers.get_all(name).iter();
        values
            .map(|v| v.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(all("x-remote-user"), ["jane"]);
    assert_eq!(all("x-remote-group"), ["system:masters", "dev"]);
    assert_eq!(all("x-remote-extra-a%2fb"), ["c"]);
    assert!(all("authorization").is_empty());
    let missing = rig
        .call(Method::GET, "/apis/toys.example.com/v2/toys", None)
        .await;
    assert_eq!(missing.code, 404);
}

#[tokio::test]
async fn callers_need_our_permission() {
    let (mut rig, extension) = extended().await;
    rig.identity = Identity::new("eve", &["system:authenticated"]);
    let answer = rig.get(TOYS).await;
    let words = "User \"eve\" cannot list resource \"toys\" in API group \"toys.example.com\"";
    answer.expect_failure(403, "Forbidden", words);
    assert!(extension.seen().is_empty());
}

#[tokio::test]
async fn watches_stream_through() {
    let (rig, extension) = extended().await;
    extension
        .events
        .send("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n".into())
        .unwrap();
    let mut lines = rig.watch(&format!("{TOYS}?watch=true")).await;
    assert_eq!(lines.step().await, ("ADDED".to_owned(), "a".to_owned()));
    extension
        .events
        .send("{\"type\":\"DELETED\",\"object\":{\"metadata\":{\"name\":\"a\"}}}\n".into())
        .unwrap();
    assert_eq!(lines.step().await, ("DELETED".to_owned(), "a".to_owned()));
}

#[tokio::test]
async fn discovery_and_documents_are_merged() {
    let (rig, extension) = extended().await;
    let document = rig.get_as("/apis", AGGREGATED).await.expect(200);
    let found = versions(&document, "toys.example.com");
    assert_eq!(found[0]["freshness"], "Current");
    let resource = &found[0]["resources"][0];
    assert_eq!(resource["resource"], "toys");
    assert_eq!(resource["responseKind"]["kind"], "Toy");
    assert_eq!(resource["shortNames"], json!(["ty"]));
    let group = rig.get("/apis/toys.example.com").await.expect(200);
    assert_eq!(
        group["preferredVersion"]["groupVersion"],
        "toys.example.com/v1"
    );
    let groups = rig.get("/apis").await.expect(200);
    let groups = groups["groups"].as_array().unwrap();
    assert!(groups.iter().any(|g| g["name"] == "toys.example.com"));
    let list = rig.get("/apis/toys.example.com/v1").await.expect(200);
    assert_eq!(list["resources"][0]["name"], "toys");
    let index = rig.get("/openapi/v3").await.expect(200);
    let url = index["paths"]["apis/toys.example.com/v1"]["serverRelativeURL"].clone();
    let schema = rig.get(url.as_str().unwrap()).await.expect(200);
    assert_eq!(schema["openapi"], "3.0.0");
    assert!(
        extension
            .all()
            .iter()
            .any(|s| s.headers["x-remote-user"] == "system:aggregator")
    );

    // When it stops answering, what it served stays known, as stale.
    extension.set_healthy(false);
    let change = json!({"spec": {"versionPriority": 11}});
    let path = format!("{SERVICES}/v1.toys.example.com");
    rig.patch(&path, "merge", &change).await.expect(200);
    becomes(&rig, "v1.toys.example.com", "FailedDiscoveryCheck").await;
    let document = rig.get_as("/apis", AGGREGATED).await.expect(200);
    let found = versions(&document, "toys.example.com");
    assert_eq!(found[0]["freshness"], "Stale");
    assert_eq!(found[0]["resources"][0]["resource"], "toys");
    rig.delete(&path, None).await.expect(200);
    let document = rig.get_as("/apis", AGGREGATED).await.expect(200);
    assert_eq!(versions(&document, "toys.example.com"), Value::Null);
}

#[tokio::test]
async fn built_in_groups_cannot_be_taken_over() {
    let (rig, extension) = extended().await;
    let path = format!("{SERVICES}/v1.apps");
    let spec = extension.registration("apps")["spec"].clone();
    rig.patch(&path, "merge", &json!({"spec": spec})).await;
    rig.get("/apis/apps/v1/namespaces/default/deployments")
        .await
        .expect(200);
    assert!(extension.seen().is_empty());
}
