//! Custom resources over HTTP.

use crate::rig::{Answer, Rig};
use serde_json::{Value, json};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CRONTABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"],
                      "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "cronSpec": {"type": "string", "pattern": "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$"},
                        "image": {"type": "string"},
                        "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                    }},
                    "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
                }}},
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
                    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
            }],
        },
    })
}

fn crontab(name: &str) -> Value {
    json!({
        "apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name},
        "spec": {"cronSpec": "* * * * */5", "image": "my-awesome-cron-image"},
    })
}

fn warnings(answer: &Answer) -> Vec<String> {
    let values = answer.headers.get_all("warning").iter();
    values.map(|v| v.to_str().unwrap().to_owned()).collect()
}

async fn with_definition() -> Rig {
    let rig = Rig::new().await;
    rig.post(DEFINITIONS, &definition()).await.expect(201);
    rig
}

#[tokio::test]
async fn a_definition_is_established_and_served_at_once() {
    let rig = with_definition().await;
    let stored = rig
        .get(&format!("{DEFINITIONS}/crontabs.stable.example.com"))
        .await
        .expect(200);
    let conditions = stored["status"]["conditions"].as_array().unwrap();
    let said: Vec<(&str, &str, &str)> = conditions
        .iter()
        .map(|c| {
            let text = |key: &str| c[key].as_str().unwrap();
            (text("type"), text("status"), text("reason"))
        })
        .collect();
    assert_eq!(
        said,
        [
            ("NamesAccepted", "True", "NoConflicts"),
            ("Established", "True", "InitialNamesAccepted"),
        ]
    );
    assert_eq!(stored["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(stored["status"]["acceptedNames"]["listKind"], "CronTabList");
    assert_eq!(stored["metadata"]["generation"], 1);
    let list = rig.get("/apis/stable.example.com/v1").await.expect(200);
    assert_eq!(list["resources"][0]["name"], "crontabs");
    assert_eq!(list["resources"][0]["shortNames"], json!(["ct"]));
    assert_eq!(list["resources"][1]["name"], "crontabs/status");
    let index = rig.get("/openapi/v3").await.expect(200);
    assert!(index["paths"]["apis/stable.example.com/v1"].is_object());
}

#[tokio::test]
async fn objects_are_defaulted_pruned_and_listed() {
    let rig = with_definition().await;
    let mut object = crontab("a");
    object["spec"]["extra"] = json!(1);
    object["status"] = json!({"replicas": 9});
    let answer = rig.post(CRONTABS, &object).await;
    assert_eq!(
        warnings(&answer),
        ["299 - \"unknown field \\\"spec.extra\\\"\""]
    );
    let made = answer.expect(201);
    assert_eq!(
        made["spec"],
        json!({
            "cronSpec": "* * * * */5", "image": "my-awesome-cron-image", "replicas": 1,
        })
    );
    assert_eq!(
        (&made["status"], &made["metadata"]["generation"]),
        (&Value::Null, &json!(1))
    );
    let list = rig.get(CRONTABS).await.expect(200);
    assert_eq!(
        (&list["kind"], &list["items"][0]),
        (&json!("CronTabList"), &made)
    );
    let strict = rig
        .post(&format!("{CRONTABS}?fieldValidation=Strict"), &object)
        .await;
    strict.expect_failure(400, "BadRequest",
        "CronTab in version \"v1\" cannot be handled as a CronTab: strict decoding error: unknown field \"spec.extra\"");
}

#[tokio::test]
async fn deleting_a_definition_removes_its_objects_first() {
    let rig = with_definition().await;
    let mut held = crontab("held");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    rig.post(CRONTABS, &held).await.expect(201);
    rig.post(CRONTABS, &crontab("free")).await.expect(201);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let mut watch = rig
        .watch(&format!(
            "{DEFINITIONS}?watch=1&fieldSelector=metadata.name=crontabs.stable.example.com"
        ))
        .await;
    assert_eq!(watch.step().await.0, "ADDED");
    let going = rig.delete(&path, None).await.expect(200);
    assert_eq!(
        going["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    assert_eq!(watch.step().await.0, "MODIFIED");
    rig.post(CRONTABS, &crontab("late")).await.expect_failure(
        405,
        "MethodNotAllowed",
        "create not allowed while custom resource definition is terminating",
    );
    rig.patch(
        &format!("{CRONTABS}/held"),
        "merge",
        &json!({"metadata": {"finalizers": null}}),
    )
    .await
    .expect(200);
    assert_eq!(watch.step().await.0, "DELETED");
    assert_eq!(rig.get(CRONTABS).await.code, 404);
    rig.get(&path).await.expect(404);
}
