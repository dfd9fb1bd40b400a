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

#[tokio::test]
async fn invalid_objects_are_refused_with_paths() {
    let rig = with_definition().await;
    let mut object = crontab("a");
    object["spec"]["cronSpec"] = json!("* * * *");
    object["spec"]["replicas"] = json!(15);
    let status = rig.post(CRONTABS, &object).await.expect_failure(
        422,
        "Invalid",
        "CronTab.stable.example.com \"a\" is invalid: [spec.cronSpec: Invalid value: \"* * * *\": spec.cronSpec in body should match",
    );
    let causes = status["details"]["causes"].as_array().unwrap();
    assert_eq!(causes[1]["field"], "spec.replicas");
    assert_eq!(
        causes[1]["message"],
        "Invalid value: 15: spec.replicas in body should be less than or equal to 10"
    );
    assert_eq!(rig.get(CRONTABS).await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn the_status_is_written_apart() {
    let rig = with_definition().await;
    rig.post(CRONTABS, &crontab("a")).await.expect(201);
    let path = format!("{CRONTABS}/a");
    let both = json!({"spec": {"replicas": 5}, "status": {"replicas": 4}});
    let changed = rig
        .patch(&format!("{path}/status"), "merge", &both)
        .await
        .expect(200);
    assert_eq!(
        (&changed["spec"]["replicas"], &changed["status"]["replicas"]),
        (&json!(1), &json!(4))
    );
    assert_eq!(changed["metadata"]["generation"], 1);
    let changed = rig.patch(&path, "merge", &both).await.expect(200);
    assert_eq!(
        (
            &changed["spec"]["replicas"],
            &changed["metadata"]["generation"]
        ),
        (&json!(5), &json!(2))
    );
    let strategic = rig.patch(&path, "strategic-merge", &both).await;
    assert_eq!(strategic.code, 415);
    let mut bare = crontab("a");
    bare["spec"]["replicas"] = json!(2);
    rig.put(&path, &bare).await.expect_failure(
        422,
        "Invalid",
        "metadata.resourceVersion: Invalid value: 0: must be specified for an update",
    );
}

#[tokio::test]
async fn tables_show_the_columns_of_the_definition() {
    let rig = with_definition().await;
    rig.post(CRONTABS, &crontab("a")).await.expect(201);
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let table = rig.get_as(CRONTABS, accept).await.expect(200);
    let columns = table["columnDefinitions"].as_array().unwrap();
    let names: Vec<&str> = columns
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Name", "Spec", "Replicas", "Age"]);
    assert_eq!(
        table["rows"][0]["cells"],
        json!(["a", "* * * * */5", 1, "0s"])
    );
}

/// Two versions, `v1` stored, with a scale subresource and a selectable field.
fn two_versions() -> Value {
    let mut definition = definition();
    let mut second = definition["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    second["storage"] = json!(false);
    let spec = &mut second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    spec["colour"] = json!({"type": "string", "default": "red"});
    spec.as_object_mut().unwrap().remove("image");
    let scale =
        json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    for version in [&mut definition["spec"]["versions"][0], &mut second] {
        version["subresources"]["scale"] = scale.clone();
        version["selectableFields"] = json!([{"jsonPath": ".spec.cronSpec"}]);
    }
    definition["spec"]["versions"][0]["deprecated"] = json!(true);
    definition["spec"]["versions"]
        .as_array_mut()
        .unwrap()
        .push(second);
    definition
}

#[tokio::test]
async fn versions_show_the_same_objects_by_their_own_schemas() {
    let rig = Rig::new().await;
    rig.post(DEFINITIONS, &two_versions()).await.expect(201);
    let answer = rig.post(CRONTABS, &crontab("a")).await;
    assert_eq!(
        warnings(&answer),
        ["299 - \"stable.example.com/v1 CronTab is deprecated\""]
    );
    answer.expect(201);
    let second = CRONTABS.replace("/v1/", "/v2/");
    let seen = rig.get(&format!("{second}/a")).await.expect(200);
    assert_eq!(seen["apiVersion"], "stable.example.com/v2");
    assert_eq!(
        seen["spec"],
        json!({"cronSpec": "* * * * */5", "replicas": 1, "colour": "red"})
    );
    let watched = rig
        .watch(&format!("{second}?watch=1"))
        .await
        .next()
        .await
        .unwrap();
    assert_eq!(watched["object"], seen);
    let changed = rig
        .patch(
            &format!("{second}/a"),
            "merge",
            &json!({"spec": {"replicas": 3}}),
        )
        .await
        .expect(200);
    assert_eq!(changed["apiVersion"], "stable.example.com/v2");
    // Stored in v1, whose schema knows no colour.
    let first = rig.get(&format!("{CRONTABS}/a")).await.expect(200);
    assert_eq!(
        first["spec"],
        json!({"cronSpec": "* * * * */5", "replicas": 3})
    );
}

#[tokio::test]
async fn scale_and_selectable_fields_follow_the_definition() {
    let rig = Rig::new().await;
    rig.post(DEFINITIONS, &two_versions()).await.expect(201);
    rig.post(CRONTABS, &crontab("a")).await.expect(201);
    let scale = format!("{CRONTABS}/a/scale");
    let seen = rig.get(&scale).await.expect(200);
    assert_eq!(
        (&seen["kind"], &seen["spec"]["replicas"]),
        (&json!("Scale"), &json!(1))
    );
    let set = |replicas: i64| json!({"spec": {"replicas": replicas}});
    rig.patch(&scale, "merge", &set(7)).await.expect(200);
    let object = rig.get(&format!("{CRONTABS}/a")).await.expect(200);
    assert_eq!(
        (
            &object["spec"]["replicas"],
            &object["metadata"]["generation"]
        ),
        (&json!(7), &json!(2))
    );
    rig.patch(&scale, "merge", &set(11)).await.expect_failure(
        422,
        "Invalid",
        "less than or equal to 10",
    );
    let mut other = crontab("b");
    other["spec"]["cronSpec"] = json!("1 2 3 4 5");
    rig.post(CRONTABS, &other).await.expect(201);
    let select = |field: &str| format!("{CRONTABS}?fieldSelector={field}");
    let found = rig
        .get(&select("spec.cronSpec%3D1%202%203%204%205"))
        .await
        .expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(found["items"][0]["metadata"]["name"], "b");
    rig.get(&select("spec.image%3Dx")).await.expect_failure(
        400,
        "BadRequest",
        "field label not supported: spec.image",
    );
}

#[tokio::test]
async fn a_changed_definition_changes_what_is_read() {
    let rig = with_definition().await;
    rig.post(CRONTABS, &crontab("a")).await.expect(201);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let schema = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let change = json!([
        {"op": "remove", "path": format!("{schema}/image")},
        {"op": "add", "path": format!("{schema}/zone"), "value": {"type": "string", "default": "z"}},
        {"op": "add", "path": "/spec/versions/0/selectableFields", "value": [{"jsonPath": ".spec.cronSpec"}]},
    ]);
    let before = rig.get("/openapi/v3").await.expect(200);
    rig.patch(&path, "json", &change).await.expect(200);
    let after = rig.get("/openapi/v3").await.expect(200);
    let hash = |index: &Value| index["paths"]["apis/stable.example.com/v1"].clone();
    assert_ne!(hash(&before), hash(&after));
    assert_eq!(
        before["paths"]["apis/apps/v1"],
        after["paths"]["apis/apps/v1"]
    );
    let seen = rig.get(&format!("{CRONTABS}/a")).await.expect(200);
    assert_eq!(
        seen["spec"],
        json!({"cronSpec": "* * * * */5", "replicas": 1, "zone": "z"})
    );
    let found = rig
        .get(&format!("{CRONTABS}?fieldSelector=spec.cronSpec!%3Dx"))
        .await
        .expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_name_that_is_taken_comes_free_with_its_owner() {
    let rig = with_definition().await;
    let mut second = definition();
    second["metadata"]["name"] = json!("jobs.stable.example.com");
    second["spec"]["names"] = json!({"plural": "jobs", "kind": "CronJob", "shortNames": ["ct"]});
    rig.post(DEFINITIONS, &second).await.expect(201);
    let path = format!("{DEFINITIONS}/jobs.stable.example.com");
    let conditions = rig.get(&path).await.expect(200)["status"]["conditions"].clone();
    assert_eq!(conditions[0]["reason"], "ShortNamesConflict");
    assert_eq!(conditions[0]["message"], "\"ct\" is already in use");
    assert_eq!(
        (&conditions[1]["type"], &conditions[1]["status"]),
        (&json!("Established"), &json!("False"))
    );
    let jobs = "/apis/stable.example.com/v1/namespaces/default/jobs";
    assert_eq!(rig.get(jobs).await.code, 404);
    let first = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let mut gone = rig
        .watch(&format!(
            "{DEFINITIONS}?watch=1&fieldSelector=metadata.name=jobs.stable.example.com"
        ))
        .await;
    assert_eq!(gone.step().await.0, "ADDED");
    rig.delete(&first, None).await.expect(200);
    let event = gone.next().await.unwrap();
    assert_eq!(event["object"]["status"]["conditions"][1]["status"], "True");
    rig.get(jobs).await.expect(200);
}

#[tokio::test]
async fn documents_describe_the_definition() {
    let rig = with_definition().await;
    let document = rig
        .get("/openapi/v3/apis/stable.example.com/v1")
        .await
        .expect(200);
    let schema = &document["components"]["schemas"]["com.example.stable.v1.CronTab"];
    assert_eq!(
        schema["properties"]["spec"]["properties"]["replicas"]["default"],
        1
    );
    assert!(schema["properties"]["metadata"]["allOf"][0]["$ref"].is_string());
    assert_eq!(
        schema["x-kubernetes-group-version-kind"][0]["kind"],
        "CronTab"
    );
    let path = "/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}";
    let operation = &document["paths"][path]["patch"];
    assert_eq!(
        operation["x-kubernetes-group-version-kind"]["kind"],
        "CronTab"
    );
    let names: Vec<&Value> = operation["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["name"])
        .collect();
    assert!(names.contains(&&json!("fieldValidation")));
}

#[tokio::test]
async fn a_server_that_starts_again_serves_what_was_defined() {
    let rig = with_definition().await;
    rig.post(CRONTABS, &crontab("a")).await.expect(201);
    let again = Rig::over(rig.server.store().clone()).await;
    let seen = again.get(&format!("{CRONTABS}/a")).await.expect(200);
    assert_eq!(seen, rig.get(&format!("{CRONTABS}/a")).await.expect(200));
    again.post(CRONTABS, &crontab("b")).await.expect(201);
    let path = format!("{CRONTABS}?fieldSelector=metadata.name%3Db");
    assert_eq!(
        again.get(&path).await.expect(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_none() {
    let rig = with_definition().await;
    let made = rig.post(CRONTABS, &crontab("a")).await.expect(201);
    let mut same = made.clone();
    let spec = same["spec"].as_object_mut().unwrap();
    let first = spec.shift_remove("cronSpec").unwrap();
    spec.insert("cronSpec".to_owned(), first);
    let answer = rig.put(&format!("{CRONTABS}/a"), &same).await.expect(200);
    assert_eq!(
        answer["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
}
