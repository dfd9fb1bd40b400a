//! Status bodies that clients branch on.

use crate::rig::{CONFIG_MAPS, DEPLOYMENTS, PODS, Rig, deployment};
use http::Method;
use plimsoll_apiserver::auth::Identity;
use serde_json::json;

#[tokio::test(start_paused = true)]
async fn missing_objects_resources_and_groups_differ() {
    let rig = Rig::new().await;
    let missing = rig.get(&format!("{DEPLOYMENTS}/nope")).await;
    let status = missing.expect_failure(404, "NotFound", "deployments.apps \"nope\" not found");
    assert_eq!(
        status["details"],
        json!({"name": "nope", "group": "apps", "kind": "deployments"})
    );
    let unknown = rig.get("/api/v1/namespaces/default/widgets").await;
    unknown.expect_failure(404, "NotFound", "could not find the requested resource");
    let group = rig.get("/apis/example.com/v1/widgets").await;
    assert_eq!(
        (group.code.as_u16(), group.text.as_str()),
        (404, "404 page not found\n")
    );
}

#[tokio::test(start_paused = true)]
async fn creating_twice_is_already_exists() {
    let rig = Rig::new().await;
    rig.config_map("a", &json!({})).await;
    let again = rig
        .post(CONFIG_MAPS, &json!({"metadata": {"name": "a"}}))
        .await;
    again.expect_failure(409, "AlreadyExists", "configmaps \"a\" already exists");
}

#[tokio::test(start_paused = true)]
async fn a_stale_put_is_a_conflict() {
    let rig = Rig::new().await;
    let mut object = rig.config_map("a9", &json!({})).await;
    let path = format!("{CONFIG_MAPS}/a9");
    rig.patch(&path, "merge", &json!({"data": {"b": "2"}}))
        .await
        .expect(200);
    object["data"]["c"] = json!("3");
    let stale = rig.put(&path, &object).await;
    stale.expect_failure(
        409,
        "Conflict",
        "Operation cannot be fulfilled on configmaps \"a9\"",
    );
}

#[tokio::test(start_paused = true)]
async fn new_objects_may_not_name_a_version_or_another_namespace() {
    let rig = Rig::new().await;
    let versioned = json!({"metadata": {"name": "a", "resourceVersion": "5"}});
    let refused = rig.post(CONFIG_MAPS, &versioned).await;
    refused.expect_failure(
        500,
        "",
        "resourceVersion should not be set on objects to be created",
    );
    let elsewhere = json!({"metadata": {"name": "a", "namespace": "kube-system"}});
    let refused = rig.post(CONFIG_MAPS, &elsewhere).await;
    refused.expect_failure(
        400,
        "BadRequest",
        "does not match the namespace sent on the request",
    );
    let nowhere = "/api/v1/namespaces/nons/configmaps";
    let refused = rig.post(nowhere, &json!({"metadata": {"name": "a"}})).await;
    refused.expect_failure(404, "NotFound", "namespaces \"nons\" not found");
}

#[tokio::test(start_paused = true)]
async fn invalid_objects_name_every_field() {
    let rig = Rig::new().await;
    let mut object = deployment("d");
    object["spec"]["replicas"] = json!(-1);
    let refused = rig.post(DEPLOYMENTS, &object).await;
    let status = refused.expect_failure(422, "Invalid", "Deployment.apps \"d\" is invalid");
    assert_eq!(status["details"]["kind"], "Deployment");
    assert_eq!(status["details"]["causes"][0]["field"], "spec.replicas");
    let gone = rig.get(&format!("{DEPLOYMENTS}/d")).await;
    assert_eq!(gone.code, 404);
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_are_refused_or_warned_about() {
    let rig = Rig::new().await;
    let object = json!({"metadata": {"name": "a"}, "foo": 1});
    let strict = rig
        .post(&format!("{CONFIG_MAPS}?fieldValidation=Strict"), &object)
        .await;
    strict.expect_failure(400, "BadRequest", "unknown field \"foo\"");
    let warned = rig.post(CONFIG_MAPS, &object).await;
    warned.expect(201);
    let warning = warned.headers["warning"].to_str().unwrap();
    assert_eq!(warning, "299 - \"unknown field \\\"foo\\\"\"");
}

#[tokio::test(start_paused = true)]
async fn methods_media_types_and_sizes_have_their_codes() {
    let rig = Rig::new().await;
    let method = rig.post(&format!("{PODS}/x"), &json!({})).await;
    method.expect_failure(405, "MethodNotAllowed", "does not allow this method");
    let text = Some(("text/plain", "x".to_owned()));
    let media = rig.call(Method::POST, CONFIG_MAPS, text).await;
    media.expect_failure(415, "UnsupportedMediaType", "application/json");
    let accept = rig.get_as(CONFIG_MAPS, "text/html").await;
    accept.expect_failure(406, "NotAcceptable", "only the following media types");
    let huge = Some(("application/json", " ".repeat(4 << 20)));
    let size = rig.call(Method::POST, CONFIG_MAPS, huge).await;
    size.expect_failure(413, "RequestEntityTooLarge", "limit is 3145728");
}

#[tokio::test(start_paused = true)]
async fn selectors_that_make_no_sense_are_bad_requests() {
    let rig = Rig::new().await;
    let field = rig.get(&format!("{PODS}?fieldSelector=spec.foo%3Dx")).await;
    field.expect_failure(400, "BadRequest", "field label not supported: spec.foo");
    let known = rig
        .get(&format!("{CONFIG_MAPS}?fieldSelector=data%3Dx"))
        .await;
    known.expect_failure(400, "BadRequest", "is not a known field selector");
    let label = rig.get(&format!("{PODS}?labelSelector=%3D%3Dx")).await;
    label.expect_failure(400, "BadRequest", "unable to parse requirement");
}

#[tokio::test(start_paused = true)]
async fn strangers_are_forbidden() {
    let mut rig = Rig::new().await;
    rig.identity = Identity::anonymous();
    let refused = rig.get(PODS).await;
    refused.expect_failure(403, "Forbidden", "system:anonymous");
    assert_eq!(rig.get("/readyz").await.text, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_version_ahead_of_the_server_times_out() {
    let rig = Rig::new().await;
    let late = rig.get(&format!("{PODS}?resourceVersion=999999")).await;
    let status = late.expect_failure(
        504,
        "Timeout",
        "Too large resource version: 999999, current:",
    );
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    assert_eq!(late.headers["retry-after"], "1");
    let matching = rig.get(&format!("{PODS}?resourceVersionMatch=Exact")).await;
    matching.expect_failure(422, "Invalid", "resourceVersionMatch is forbidden");
}

#[tokio::test(start_paused = true)]
async fn kinds_that_nothing_acts_on_come_with_a_warning() {
    let rig = Rig::new().await;
    let policy = json!({"metadata": {"name": "p"}, "spec": {"podSelector": {}}});
    let path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
    let answer = rig.post(path, &policy).await;
    answer.expect(201);
    let warning = answer.headers["warning"].to_str().unwrap();
    assert!(warning.contains("does not act on them yet"), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn an_impersonated_user_has_only_their_own_rights() {
    let rig = Rig::new().await;
    let request = http::Request::get(PODS).header("impersonate-user", "bob");
    let request = request.body(http_body_util::Full::default()).unwrap();
    let message = "User \"bob\" cannot list resource \"pods\"";
    rig.send(request)
        .await
        .expect_failure(403, "Forbidden", message);
}

#[tokio::test(start_paused = true)]
async fn everyone_known_may_ask_what_they_may_do() {
    let mut rig = Rig::new().await;
    rig.identity = Identity::new("bob", &["system:authenticated"]);
    let attributes = json!({"verb": "create", "resource": "pods", "namespace": "default"});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let review = json!({"spec": {"resourceAttributes": attributes}});
    let answer = rig.post(path, &review).await.expect(201);
    assert_eq!(answer["status"]["allowed"], false);
    rig.get("/apis").await.expect(200);
    rig.identity = Identity::anonymous();
    assert_eq!(rig.get("/apis").await.code.as_u16(), 403);
}
