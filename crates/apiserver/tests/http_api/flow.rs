//! Flow control: what is seeded, what answers say.

use crate::rig::{PODS, Rig};
use serde_json::json;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";

#[tokio::test]
async fn answers_name_their_flow() {
    let mut rig = Rig::new().await;
    let levels = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
    let list = rig.get(levels).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 8);
    let list = rig.get(SCHEMAS).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 11);
    let answer = rig.get(PODS).await;
    let uid = |name: &str| {
        let items = list["items"].as_array().unwrap();
        let found = items.iter().find(|item| item["metadata"]["name"] == name);
        found.unwrap()["metadata"]["uid"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let header = "x-kubernetes-pf-flowschema-uid";
    assert_eq!(answer.headers[header], uid("exempt"));
    assert!(
        answer
            .headers
            .contains_key("x-kubernetes-pf-prioritylevel-uid")
    );
    rig.identity = plimsoll_apiserver::auth::Identity::new("bob", &["system:authenticated"]);
    let answer = rig.get(PODS).await;
    answer.expect(403);
    assert_eq!(answer.headers[header], uid("global-default"));
}

#[tokio::test(start_paused = true)]
async fn a_schema_without_its_level_dangles() {
    let rig = Rig::new().await;
    let schema = json!({
        "metadata": {"name": "mine"},
        "spec": {"priorityLevelConfiguration": {"name": "nowhere"}},
    });
    let made = rig.post(SCHEMAS, &schema).await.expect(201);
    assert_eq!(made["spec"]["matchingPrecedence"], 1000);
    let mut lines = rig.watch(&format!("{SCHEMAS}?watch=1")).await;
    let judged = async {
        while let Some(event) = lines.next().await {
            let condition = &event["object"]["status"]["conditions"][0];
            if event["object"]["metadata"]["name"] == "mine" && condition["status"] == "True" {
                return condition["reason"].clone();
            }
        }
        json!(null)
    };
    let reason = tokio::select! {
        reason = judged => reason,
        () = rig.server.tend_flows() => json!(null),
    };
    assert_eq!(reason, "NotFound");
}
