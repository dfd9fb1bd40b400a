//! Create, update, patch and the subresources.

use crate::rig::{Bound, CONFIG_MAPS, DEPLOYMENTS, PODS, Rig, deployment};
use http::Method;
use serde_json::{Value, json};

#[tokio::test(start_paused = true)]
async fn the_server_stamps_new_objects() {
    let rig = Rig::new().await;
    let made = rig.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let metadata = &made["metadata"];
    assert_eq!(metadata["creationTimestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(metadata["generation"], 1);
    assert_eq!(metadata["namespace"], "default");
    assert_eq!(metadata["uid"].as_str().unwrap().len(), 36);
    assert_eq!(made["spec"]["replicas"], 1);
    let read = rig.get(&format!("{DEPLOYMENTS}/web")).await.expect(200);
    assert_eq!(read, made);
}

#[tokio::test(start_paused = true)]
async fn generated_names_end_in_five_letters() {
    let rig = Rig::new().await;
    let body = json!({"metadata": {"generateName": "job-"}});
    let made = rig.post(CONFIG_MAPS, &body).await.expect(201);
    let name = made["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(name.starts_with("job-") && name.len() == 9, "{name}");
}

#[tokio::test(start_paused = true)]
async fn dry_runs_change_nothing() {
    let rig = Rig::new().await;
    let path = format!("{DEPLOYMENTS}?dryRun=All");
    let shown = rig.post(&path, &deployment("web")).await.expect(201);
    assert_eq!(shown["spec"]["replicas"], 1);
    assert!(shown["metadata"]["resourceVersion"].is_null());
    assert_eq!(rig.get(&format!("{DEPLOYMENTS}/web")).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn generation_counts_spec_changes_and_no_change_is_no_write() {
    let rig = Rig::new().await;
    let made = rig.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let same = rig.put(&path, &made).await.expect(200);
    assert_eq!(
        same["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    let two = rig
        .patch(&path, "merge", &json!({"spec": {"replicas": 2}}))
        .await
        .expect(200);
    assert_eq!(two["metadata"]["generation"], 2);
    let labelled = json!({"metadata": {"labels": {"x": "y"}}});
    let labelled = rig.patch(&path, "merge", &labelled).await.expect(200);
    assert_eq!(labelled["metadata"]["generation"], 2);
}

#[tokio::test(start_paused = true)]
async fn every_patch_type_changes_the_image() {
    let rig = Rig::new().await;
    rig.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let image = |d: &Value| d["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let strategic = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "nginx:2"},
    ]}}}});
    let patched = rig
        .patch(&path, "strategic-merge", &strategic)
        .await
        .expect(200);
    assert_eq!(image(&patched), "nginx:2");
    let operations = json!([
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "nginx:3"},
    ]);
    let patched = rig.patch(&path, "json", &operations).await.expect(200);
    assert_eq!(image(&patched), "nginx:3");
    let failed = json!([{"op": "test", "path": "/spec/replicas", "value": 7}]);
    let failed = rig.patch(&path, "json", &failed).await;
    failed.expect_failure(422, "Invalid", "rejected our request");
    let stale = json!({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 3}});
    let stale = rig.patch(&path, "merge", &stale).await;
    stale.expect_failure(409, "Conflict", "the object has been modified");
}

#[tokio::test(start_paused = true)]
async fn status_and_spec_are_written_apart() {
    let rig = Rig::new().await;
    rig.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web");
    let change = json!({
        "metadata": {"annotations": {"deployment.kubernetes.io/revision": "1"}},
        "spec": {"replicas": 9}, "status": {"replicas": 1, "observedGeneration": 1},
    });
    let written = rig
        .patch(&format!("{path}/status"), "merge", &change)
        .await
        .expect(200);
    assert_eq!(
        (&written["spec"]["replicas"], &written["status"]["replicas"]),
        (&json!(1), &json!(1))
    );
    let revision = &written["metadata"]["annotations"]["deployment.kubernetes.io/revision"];
    assert_eq!(revision, "1");
    let main = rig
        .patch(&path, "merge", &json!({"status": {"replicas": 5}}))
        .await
        .expect(200);
    assert_eq!(main["status"]["replicas"], 1);
}

#[tokio::test(start_paused = true)]
async fn scale_is_a_window_on_replicas() {
    let rig = Rig::new().await;
    rig.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web/scale");
    let mut scale = rig.get(&path).await.expect(200);
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"]),
        (&json!("Scale"), &json!(1))
    );
    scale["spec"]["replicas"] = json!(4);
    assert_eq!(
        rig.put(&path, &scale).await.expect(200)["spec"]["replicas"],
        4
    );
    let refused = rig
        .put(&path, &{
            scale["spec"]["replicas"] = json!(5);
            scale
        })
        .await;
    refused.expect_failure(409, "Conflict", "modified");
    let patched = rig
        .patch(&path, "merge", &json!({"spec": {"replicas": 2}}))
        .await
        .expect(200);
    assert_eq!(patched["spec"]["replicas"], 2);
    let negative = rig
        .patch(&path, "merge", &json!({"spec": {"replicas": -2}}))
        .await;
    negative.expect_failure(422, "Invalid", "spec.replicas");
    let deployment = rig.get(&format!("{DEPLOYMENTS}/web")).await.expect(200);
    assert_eq!(deployment["metadata"]["generation"], 3);
}

#[tokio::test(start_paused = true)]
async fn pods_get_an_account_tolerations_and_priority() {
    let rig = Rig::new().await;
    let body =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let early = rig.post(PODS, &body).await;
    early.expect_failure(403, "Forbidden", "service account default/default");
    rig.default_account().await;
    let pod = rig.post(PODS, &body).await.expect(201);
    let spec = &pod["spec"];
    assert_eq!(
        (&spec["serviceAccountName"], &spec["priority"]),
        (&json!("default"), &json!(0))
    );
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    let mount = &spec["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["name"], spec["volumes"][0]["name"]);
    assert_eq!(pod["status"]["phase"], "Pending");
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_bound_once() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let pod = rig.pod("p", Bound::Yes).await;
    assert_eq!(pod["spec"]["nodeName"], "n1");
    assert_eq!(pod["status"]["conditions"][0]["type"], "PodScheduled");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n2"}});
    let again = rig.post(&format!("{PODS}/p/binding"), &binding).await;
    again.expect_failure(409, "Conflict", "pod p is already assigned to node \"n1\"");
}

#[tokio::test(start_paused = true)]
async fn services_get_addresses_and_give_them_back() {
    let rig = Rig::new().await;
    let path = "/api/v1/namespaces/default/services";
    let body = |name: &str, ip: Value| {
        json!({"metadata": {"name": name}, "spec": {
            "type": "NodePort", "clusterIP": ip, "selector": {"app": "a"}, "ports": [{"port": 80}],
        }})
    };
    let made = rig.post(path, &body("a", Value::Null)).await.expect(201);
    let address = made["spec"]["clusterIP"].clone();
    assert!(address.as_str().unwrap().starts_with("10."), "{made}");
    let port = made["spec"]["ports"][0]["nodePort"].as_u64().unwrap();
    assert!((30_000..=32_767).contains(&port));
    let taken = rig.post(path, &body("b", address.clone())).await;
    taken.expect_failure(422, "Invalid", "provided IP is already allocated");
    rig.delete(&format!("{path}/a"), None).await.expect(200);
    rig.post(path, &body("b", address)).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn yaml_bodies_are_read_as_yaml_1_1() {
    let rig = Rig::new().await;
    let text = "metadata:\n  name: words\nimmutable: yes\ndata: {a: \"n\"}\n";
    let body = Some(("application/yaml", text.to_owned()));
    let made = rig.call(Method::POST, CONFIG_MAPS, body).await.expect(201);
    assert_eq!(
        (&made["immutable"], &made["data"]["a"]),
        (&json!(true), &json!("n"))
    );
}

#[tokio::test(start_paused = true)]
async fn reviews_are_answered_and_not_stored() {
    let rig = Rig::new().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let body = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    assert_eq!(
        rig.post(path, &body).await.expect(201)["status"]["allowed"],
        true
    );
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let review = rig.post(path, &json!({})).await.expect(201);
    assert_eq!(review["status"]["userInfo"]["username"], "admin");
}

#[tokio::test(start_paused = true)]
async fn tokens_are_issued_for_accounts() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = rig
        .post(path, &json!({"spec": {"expirationSeconds": 600}}))
        .await
        .expect(201);
    let token = made["status"]["token"].as_str().unwrap().to_owned();
    let short = rig
        .post(path, &json!({"spec": {"expirationSeconds": 60}}))
        .await;
    short.expect_failure(
        422,
        "Invalid",
        "may not specify a duration less than 10 minutes",
    );
    let review = json!({"spec": {"token": token}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = rig.post(path, &review).await.expect(201);
    assert_eq!(review["status"]["authenticated"], true, "{review}");
}
