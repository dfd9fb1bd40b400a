//! Versions that a webhook converts.

use crate::rig::Rig;
use crate::webhook_server::WebhookServer;
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn version(name: &str, storage: bool, fields: &Value) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": {"type": "object", "properties": fields},
        }}},
    })
}

/// `v1` says `hostPort`, `v2` says `host` and `port`; `v1` is stored.
async fn define(rig: &Rig, webhook: &WebhookServer) {
    let text = json!({"type": "string"});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "links.example.com"},
        "spec": {
            "group": "example.com", "scope": "Cluster",
            "names": {"plural": "links", "kind": "Link"},
            "versions": [
                version("v1", true, &json!({"hostPort": text})),
                version("v2", false, &json!({"host": text, "port": text})),
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1"], "clientConfig": webhook.client_config("/convert"),
            }},
        },
    });
    rig.post(DEFINITIONS, &definition).await.expect(201);
}

fn convert(object: &Value, version: &Value) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = version.clone();
    let text = |field: &str| {
        object["spec"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    object["spec"] = if version == "example.com/v2" {
        let whole = text("hostPort");
        let (host, port) = whole.split_once(':').unwrap_or_default();
        json!({"host": host, "port": port})
    } else {
        json!({"hostPort": format!("{}:{}", text("host"), text("port"))})
    };
    object
}

async fn converter() -> WebhookServer {
    WebhookServer::raw(|request| {
        let objects = request["objects"].as_array().unwrap().iter();
        let converted: Vec<Value> = objects
            .map(|object| convert(object, &request["desiredAPIVersion"]))
            .collect();
        let review = json!({
            "kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "response": {"uid": request["uid"], "result": {"status": "Success"},
                         "convertedObjects": converted},
        });
        Some(review.to_string())
    })
    .await
}

#[tokio::test]
async fn objects_are_read_and_written_in_either_version() {
    let (rig, webhook) = (Rig::new().await, converter().await);
    define(&rig, &webhook).await;
    let (first, second) = ("/apis/example.com/v1/links", "/apis/example.com/v2/links");
    let link = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    rig.post(first, &link("a", json!({"hostPort": "web:80"})))
        .await
        .expect(201);
    assert_eq!(webhook.asked().len(), 0, "stored as it was sent");
    let made = rig
        .post(second, &link("b", json!({"host": "db", "port": "5432"})))
        .await
        .expect(201);
    assert_eq!(
        (&made["apiVersion"], &made["spec"]["host"]),
        (&json!("example.com/v2"), &json!("db"))
    );
    assert_eq!(
        rig.get(&format!("{first}/b")).await.expect(200)["spec"],
        json!({"hostPort": "db:5432"})
    );
    assert_eq!(webhook.asked().len(), 1);
    let list = rig.get(second).await.expect(200);
    assert_eq!(
        list["items"][0]["spec"],
        json!({"host": "web", "port": "80"})
    );
    let asked = webhook.asked();
    assert_eq!(asked.len(), 2, "a list is one question");
    assert_eq!(asked[1]["objects"].as_array().unwrap().len(), 2);
    let mut watch = rig.watch(&format!("{second}?watch=1")).await;
    assert_eq!(watch.step().await, ("ADDED".to_owned(), "a".to_owned()));
    assert_eq!(watch.step().await, ("ADDED".to_owned(), "b".to_owned()));
    let changed = rig
        .patch(
            &format!("{second}/a"),
            "merge",
            &json!({"spec": {"port": "8080"}}),
        )
        .await
        .expect(200);
    assert_eq!(changed["spec"], json!({"host": "web", "port": "8080"}));
    let event = watch.next().await.unwrap();
    assert_eq!(
        event["object"]["spec"],
        json!({"host": "web", "port": "8080"})
    );
    assert_eq!(
        rig.get(&format!("{first}/a")).await.expect(200)["spec"],
        json!({"hostPort": "web:8080"})
    );
}

#[tokio::test]
async fn a_failed_conversion_fails_the_request() {
    let rig = Rig::new().await;
    let webhook = WebhookServer::raw(|request| {
        let review = json!({
            "kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "response": {"uid": request["uid"],
                         "result": {"status": "Failed", "message": "no such port"}},
        });
        Some(review.to_string())
    })
    .await;
    define(&rig, &webhook).await;
    let link = json!({"metadata": {"name": "a"}, "spec": {"hostPort": "web:80"}});
    rig.post("/apis/example.com/v1/links", &link)
        .await
        .expect(201);
    rig.get("/apis/example.com/v2/links/a")
        .await
        .expect_failure(
            500,
            "InternalError",
            "conversion webhook for example.com/v1, Kind=Link failed: no such port",
        );
    rig.get("/apis/example.com/v1/links/a").await.expect(200);
}
