//! Server-side apply and managedFields, as clients see them.

use crate::rig::{Answer, Bound, CONFIG_MAPS, DEPLOYMENTS, PODS, Rig, deployment};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::Full;
use serde_json::{Value, json};

const APPLY: &str = "application/apply-patch+yaml";

async fn apply(rig: &Rig, path: &str, body: &Value) -> Answer {
    let body = Some((APPLY, body.to_string()));
    rig.call(Method::PATCH, path, body).await
}

async fn send_as(rig: &Rig, agent: &str, method: Method, path: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .header("user-agent", agent);
    let body = Full::new(Bytes::from(body.to_string()));
    rig.send(request.body(body).unwrap()).await
}

fn web(replicas: u32) -> Value {
    let mut web = deployment("web");
    web["apiVersion"] = json!("apps/v1");
    web["kind"] = json!("Deployment");
    web["spec"]["replicas"] = json!(replicas);
    web
}

fn map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data})
}

/// (manager, operation, subresource) of every entry.
fn owners(object: &Value) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let entries = object["metadata"]["managedFields"].as_array();
    let entries = entries.into_iter().flatten();
    entries
        .map(|e| {
            (
                text(&e["manager"]),
                text(&e["operation"]),
                text(&e["subresource"]),
            )
        })
        .collect()
}

fn owner(manager: &str, operation: &str, subresource: &str) -> (String, String, String) {
    (
        manager.to_owned(),
        operation.to_owned(),
        subresource.to_owned(),
    )
}

fn fields<'v>(object: &'v Value, manager: &str) -> &'v Value {
    let entries = object["metadata"]["managedFields"].as_array().unwrap();
    let entry = entries.iter().find(|e| e["manager"] == manager);
    &entry.unwrap_or_else(|| panic!("no {manager}: {entries:?}"))["fieldsV1"]
}

#[tokio::test(start_paused = true)]
async fn applying_creates_and_owns_what_is_given() {
    let rig = Rig::new().await;
    let path = format!("{DEPLOYMENTS}/web?fieldManager=m1");
    let made = apply(&rig, &path, &web(3)).await.expect(201);
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(owners(&made), [owner("m1", "Apply", "")]);
    let entry = &made["metadata"]["managedFields"][0];
    assert_eq!(entry["apiVersion"], "apps/v1");
    assert_eq!(entry["fieldsType"], "FieldsV1");
    assert_eq!(entry["time"], "2026-01-01T00:00:00Z");
    let spec = &fields(&made, "m1")["f:spec"];
    assert!(spec["f:replicas"].is_object() && spec["f:strategy"].is_null());
    let again = apply(&rig, &path, &web(3)).await.expect(200);
    assert_eq!(again, made, "applying the same changes nothing");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_apply_does_not_even_move_the_time() {
    let rig = Rig::new().await;
    let path = format!("{DEPLOYMENTS}/web?fieldManager=m1");
    let made = apply(&rig, &path, &web(3)).await.expect(201);
    tokio::time::advance(std::time::Duration::from_secs(60)).await;
    let again = apply(&rig, &path, &web(3)).await.expect(200);
    assert_eq!(again, made);
}

#[tokio::test(start_paused = true)]
async fn conflicts_name_the_owner_and_force_wins() {
    let rig = Rig::new().await;
    let path = format!("{DEPLOYMENTS}/web");
    apply(&rig, &format!("{path}?fieldManager=m1"), &web(3))
        .await
        .expect(201);
    let other = format!("{path}?fieldManager=m2");
    let small = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 5},
    });
    let refused = apply(&rig, &other, &small).await;
    let message = "Apply failed with 1 conflict: conflict with \"m1\": .spec.replicas";
    let status = refused.expect_failure(409, "Conflict", message);
    let cause = json!({
        "reason": "FieldManagerConflict", "message": "conflict with \"m1\"", "field": ".spec.replicas",
    });
    assert_eq!(status["details"]["causes"], json!([cause]));
    let forced = apply(&rig, &format!("{other}&force=true"), &small)
        .await
        .expect(200);
    assert_eq!(forced["spec"]["replicas"], 5);
    assert!(fields(&forced, "m1")["f:spec"]["f:replicas"].is_null());
    assert!(fields(&forced, "m2")["f:spec"]["f:replicas"].is_object());
}

#[tokio::test(start_paused = true)]
async fn what_an_applier_leaves_out_goes() {
    let rig = Rig::new().await;
    let path = format!("{CONFIG_MAPS}/m?fieldManager=m1");
    apply(&rig, &path, &map(&json!({"a": "1", "b": "2"})))
        .await
        .expect(201);
    let other = format!("{CONFIG_MAPS}/m?fieldManager=m2");
    apply(&rig, &other, &map(&json!({"b": "2", "c": "3"})))
        .await
        .expect(200);
    let left = apply(&rig, &path, &map(&json!({"a": "1"})))
        .await
        .expect(200);
    assert_eq!(left["data"], json!({"a": "1", "b": "2", "c": "3"}));
    let left = apply(&rig, &other, &map(&json!({"c": "3"})))
        .await
        .expect(200);
    assert_eq!(left["data"], json!({"a": "1", "c": "3"}));
}

#[tokio::test(start_paused = true)]
async fn bad_applies_are_refused_and_change_nothing() {
    let rig = Rig::new().await;
    let path = format!("{CONFIG_MAPS}/m");
    let body = map(&json!({"a": "1"}));
    apply(&rig, &path, &body).await.expect_failure(
        422,
        "Invalid",
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
    );
    let path = format!("{path}?fieldManager=m1");
    let mut other = body.clone();
    other["apiVersion"] = json!("v2");
    apply(&rig, &path, &other).await.expect_failure(
        400,
        "BadRequest",
        "Incorrect version specified in apply patch. Specified patch version: v2, expected: v1",
    );
    let mut managed = body.clone();
    managed["metadata"]["managedFields"] = json!([]);
    apply(&rig, &path, &managed).await.expect_failure(
        400,
        "BadRequest",
        "metadata.managedFields must be nil",
    );
    let mut unknown = body.clone();
    unknown["foo"] = json!(1);
    apply(&rig, &path, &unknown).await.expect_failure(
        500,
        "",
        "failed to create typed patch object (default/m; /v1, Kind=ConfigMap): .foo: field not declared in schema",
    );
    let merge = json!({"data": {"a": "1"}});
    let forced = format!("{CONFIG_MAPS}/m?force=true");
    rig.patch(&forced, "merge", &merge).await.expect_failure(
        422,
        "Invalid",
        "force: Forbidden: may not be specified for non-apply patch",
    );
    let long = format!("{CONFIG_MAPS}?fieldManager={}", "x".repeat(129));
    rig.post(&long, &body)
        .await
        .expect_failure(422, "Invalid", "may not be more than 128 bytes");
    assert_eq!(rig.get(&format!("{CONFIG_MAPS}/m")).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn yaml_dry_runs_and_preconditions_work() {
    let rig = Rig::new().await;
    let path = format!("{CONFIG_MAPS}/m?fieldManager=m1");
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: m\ndata:\n  a: \"1\"\n";
    let dry = format!("{path}&dryRun=All");
    let body = || Some((APPLY, yaml.to_owned()));
    let shown = rig.call(Method::PATCH, &dry, body()).await.expect(201);
    assert_eq!(owners(&shown), [owner("m1", "Apply", "")]);
    assert_eq!(rig.get(&format!("{CONFIG_MAPS}/m")).await.code, 404);
    rig.call(Method::PATCH, &path, body()).await.expect(201);
    let mut stale = map(&json!({"a": "2"}));
    stale["metadata"]["resourceVersion"] = json!("1");
    apply(&rig, &path, &stale).await.expect_failure(
        409,
        "Conflict",
        "the object has been modified",
    );
}

#[tokio::test(start_paused = true)]
async fn every_write_records_its_author() {
    let rig = Rig::new().await;
    let agent = "kubectl/v1.36.2 (linux/amd64) kubernetes/abc";
    let path = format!("{DEPLOYMENTS}/web");
    let made = send_as(&rig, agent, Method::POST, DEPLOYMENTS, &deployment("web"))
        .await
        .expect(201);
    assert_eq!(owners(&made), [owner("kubectl", "Update", "")]);
    let spec = &fields(&made, "kubectl")["f:spec"];
    assert!(
        spec["f:strategy"]["f:type"].is_object(),
        "defaults belong to the creator: {spec}"
    );
    assert!(made["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"].is_null());
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    let labelled = json!({"metadata": {"labels": {"x": "y"}}});
    let named = format!("{path}?fieldManager=kubectl-label");
    let labelled = rig.patch(&named, "merge", &labelled).await.expect(200);
    let want = json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}});
    assert_eq!(fields(&labelled, "kubectl-label"), &want);
    let entry = &labelled["metadata"]["managedFields"][1];
    assert_eq!(entry["time"], "2026-01-01T00:00:05Z");
    let mut status = labelled.clone();
    status["status"]["observedGeneration"] = json!(1);
    status["spec"]["replicas"] = json!(7);
    let agent = "kube-controller-manager/v1.36.2";
    let kept = send_as(&rig, agent, Method::PUT, &format!("{path}/status"), &status)
        .await
        .expect(200);
    assert_eq!(kept["spec"]["replicas"], 1);
    let want = json!({"f:status": {"f:observedGeneration": {}}});
    assert_eq!(fields(&kept, "kube-controller-manager"), &want);
    assert!(owners(&kept).contains(&owner("kube-controller-manager", "Update", "status")));
    let nothing = rig
        .patch(&named, "merge", &json!({"status": {"replicas": 9}}))
        .await
        .expect(200);
    assert_eq!(
        nothing, kept,
        "the status of the main endpoint belongs to nobody"
    );
}

#[tokio::test(start_paused = true)]
async fn scaling_owns_the_replicas_of_the_workload() {
    let rig = Rig::new().await;
    let path = format!("{DEPLOYMENTS}/web");
    apply(&rig, &format!("{path}?fieldManager=m1"), &web(3))
        .await
        .expect(201);
    let scale = json!({"spec": {"replicas": 6}});
    let scaled = format!("{path}/scale?fieldManager=hpa");
    rig.patch(&scaled, "merge", &scale).await.expect(200);
    let web_now = rig.get(&path).await.expect(200);
    assert_eq!(
        fields(&web_now, "hpa"),
        &json!({"f:spec": {"f:replicas": {}}})
    );
    assert!(owners(&web_now).contains(&owner("hpa", "Update", "scale")));
    assert!(fields(&web_now, "m1")["f:spec"]["f:replicas"].is_null());
    let refused = apply(&rig, &format!("{path}?fieldManager=m1"), &web(3)).await;
    let message = "conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas";
    refused.expect_failure(409, "Conflict", message);
    let applied = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
        "spec": {"replicas": 2},
    });
    let path_scale = format!("{path}/scale?fieldManager=m3&force=true");
    let shown = apply(&rig, &path_scale, &applied).await.expect(200);
    assert_eq!(shown["spec"]["replicas"], 2);
    let web_now = rig.get(&path).await.expect(200);
    assert!(owners(&web_now).contains(&owner("m3", "Apply", "scale")));
}

#[tokio::test(start_paused = true)]
async fn the_status_is_applied_through_its_own_door() {
    let rig = Rig::new().await;
    rig.post(DEPLOYMENTS, &deployment("web")).await.expect(201);
    let path = format!("{DEPLOYMENTS}/web/status?fieldManager=m1");
    let mut wanted = web(9);
    wanted["status"] = json!({"replicas": 1});
    let applied = apply(&rig, &path, &wanted).await.expect(200);
    assert_eq!(applied["spec"]["replicas"], 1);
    assert_eq!(applied["status"]["replicas"], 1);
    assert_eq!(
        fields(&applied, "m1"),
        &json!({"f:status": {"f:replicas": {}}})
    );
    let absent = format!("{DEPLOYMENTS}/nope/status?fieldManager=m1");
    wanted["metadata"]["name"] = json!("nope");
    assert_eq!(apply(&rig, &absent, &wanted).await.code, 404);
}

#[tokio::test(start_paused = true)]
async fn managed_fields_can_be_reset_replaced_but_not_lost() {
    let rig = Rig::new().await;
    let path = format!("{CONFIG_MAPS}/m?fieldManager=m1");
    let made = apply(&rig, &path, &map(&json!({"a": "1"})))
        .await
        .expect(201);
    let mut unaware = made.clone();
    unaware["metadata"]["managedFields"] = json!([]);
    let plain = format!("{CONFIG_MAPS}/m");
    assert_eq!(rig.put(&plain, &unaware).await.expect(200), made);
    let mine = json!([{
        "manager": "new", "operation": "Apply", "apiVersion": "v1", "time": "2025-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}},
    }]);
    let given = json!({"metadata": {"managedFields": mine}});
    let renamed = rig.patch(&plain, "merge", &given).await.expect(200);
    assert_eq!(renamed["metadata"]["managedFields"], mine);
    let reset = rig
        .patch(
            &plain,
            "merge",
            &json!({"metadata": {"managedFields": [{}]}}),
        )
        .await
        .expect(200);
    assert!(reset["metadata"]["managedFields"].is_null(), "{reset}");
    let changed = rig
        .patch(&plain, "merge", &json!({"data": {"b": "2"}}))
        .await
        .expect(200);
    assert!(
        changed["metadata"]["managedFields"].is_null(),
        "not tracked until the next apply"
    );
    let applied = apply(&rig, &path, &map(&json!({"a": "1"})))
        .await
        .expect(200);
    assert_eq!(
        owners(&applied),
        [
            owner("m1", "Apply", ""),
            owner("before-first-apply", "Update", "")
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn kubectl_takes_over_what_it_applied_from_the_client() {
    let rig = Rig::new().await;
    let last = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"},
        "metadata": {"name": "m", "namespace": "default"},
    });
    let mut made = map(&json!({"a": "1"}));
    made["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": format!("{last}\n")});
    rig.post(
        &format!("{CONFIG_MAPS}?fieldManager=kubectl-client-side-apply"),
        &made,
    )
    .await
    .expect(201);
    let path = format!("{CONFIG_MAPS}/m?fieldManager=kubectl");
    let applied = apply(&rig, &path, &map(&json!({"a": "2"})))
        .await
        .expect(200);
    assert_eq!(applied["data"]["a"], "2");
    let record =
        &applied["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    let record: Value = serde_json::from_str(record.as_str().unwrap()).unwrap();
    assert_eq!(record["data"]["a"], "2");
    let other = format!("{CONFIG_MAPS}/m?fieldManager=other");
    apply(&rig, &other, &map(&json!({"a": "3"})))
        .await
        .expect_failure(409, "Conflict", "conflict with \"kubectl\"");
}

#[tokio::test(start_paused = true)]
async fn owners_of_another_version_lose_what_changes() {
    let rig = Rig::new().await;
    let v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let v2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let hpa = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 5, "targetCPUUtilizationPercentage": 50,
        },
    });
    let made = apply(&rig, &format!("{v1}/h?fieldManager=m1"), &hpa)
        .await
        .expect(201);
    assert!(fields(&made, "m1")["f:spec"]["f:targetCPUUtilizationPercentage"].is_object());
    let seen = rig.get(&format!("{v2}/h")).await.expect(200);
    let metrics = json!({"spec": {"maxReplicas": 7}});
    let changed = rig
        .patch(&format!("{v2}/h?fieldManager=m2"), "merge", &metrics)
        .await
        .expect(200);
    assert_eq!(seen["spec"]["metrics"], changed["spec"]["metrics"]);
    let mine = &fields(&changed, "m1")["f:spec"];
    assert!(
        mine["f:maxReplicas"].is_null() && mine["f:targetCPUUtilizationPercentage"].is_object()
    );
    let cpu = json!({"spec": {"metrics": [{"type": "Resource", "resource": {
        "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]}});
    let changed = rig
        .patch(&format!("{v2}/h?fieldManager=m2"), "merge", &cpu)
        .await
        .expect(200);
    assert!(fields(&changed, "m1")["f:spec"]["f:targetCPUUtilizationPercentage"].is_null());
}

#[tokio::test(start_paused = true)]
async fn bindings_and_admission_own_nothing() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let pod = rig.pod("p", Bound::Yes).await;
    assert_eq!(owners(&pod), [owner("admin", "Update", "")]);
    let spec = &fields(&pod, "admin")["f:spec"];
    assert!(spec["f:nodeName"].is_null() && spec["f:serviceAccountName"].is_null());
    let container = &spec["f:containers"]["k:{\"name\":\"main\"}"];
    assert!(
        container["f:terminationMessagePath"].is_object(),
        "{container}"
    );
    let path = format!("{PODS}/p/ephemeralcontainers?fieldManager=kubectl-debug");
    let debug = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}});
    let grown = rig
        .patch(&path, "strategic-merge", &debug)
        .await
        .expect(200);
    assert!(owners(&grown).contains(&owner("kubectl-debug", "Update", "ephemeralcontainers")));
}

#[tokio::test(start_paused = true)]
async fn custom_resources_merge_as_their_schema_says() {
    let rig = Rig::new().await;
    let rules = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["host"],
        "items": {"type": "object", "required": ["host"], "properties": {
            "host": {"type": "string"}, "port": {"type": "integer"},
        }},
    });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gates.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "gates", "kind": "Gate"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {
                        "rules": rules,
                        "words": {"type": "array", "items": {"type": "string"}},
                    }},
                    "status": {"type": "object", "properties": {"open": {"type": "boolean"}}},
                }}},
            }],
        },
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    rig.post(path, &definition).await.expect(201);
    let gate = |spec: &Value| json!({"apiVersion": "example.com/v1", "kind": "Gate", "metadata": {"name": "g"}, "spec": spec});
    let path = "/apis/example.com/v1/namespaces/default/gates/g";
    let (one, two) = (
        format!("{path}?fieldManager=m1"),
        format!("{path}?fieldManager=m2"),
    );
    let ours = gate(&json!({"rules": [{"host": "a", "port": 1}], "words": ["x"]}));
    apply(&rig, &one, &ours).await.expect(201);
    let theirs = gate(&json!({"rules": [{"host": "b", "port": 2}]}));
    let both = apply(&rig, &two, &theirs).await.expect(200);
    assert_eq!(both["spec"]["rules"].as_array().unwrap().len(), 2, "{both}");
    let words = gate(&json!({"words": ["y"]}));
    let message = "conflict with \"m1\": .spec.words";
    apply(&rig, &two, &words)
        .await
        .expect_failure(409, "Conflict", message);
    let unknown = gate(&json!({"color": "red"}));
    let message = ".spec.color: field not declared in schema";
    apply(&rig, &two, &unknown)
        .await
        .expect_failure(500, "", message);
    let left = apply(&rig, &one, &gate(&json!({"words": ["x"]})))
        .await
        .expect(200);
    assert_eq!(left["spec"]["rules"], json!([{"host": "b", "port": 2}]));
    let mut open = gate(&json!({}));
    open["status"] = json!({"open": true});
    let door = format!("{path}/status?fieldManager=gatekeeper");
    let open = apply(&rig, &door, &open).await.expect(200);
    assert_eq!(
        fields(&open, "gatekeeper"),
        &json!({"f:status": {"f:open": {}}})
    );
}
