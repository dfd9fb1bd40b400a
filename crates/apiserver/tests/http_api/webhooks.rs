//! Admission webhooks over TLS on loopback.

use crate::rig::{Bound, CONFIG_MAPS, DEPLOYMENTS, PODS, Rig, deployment};
use crate::webhook_server::{WebhookServer, patched};
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const MUTATING: &str = "mutating";
const VALIDATING: &str = "validating";

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "1"}})
}

/// A webhook that adds a key to ConfigMaps, unless it is there.
async fn adder(key: &'static str) -> WebhookServer {
    WebhookServer::new(move |request| {
        let path = format!("/data/{key}");
        patched(&json!([{"op": "add", "path": path, "value": request["operation"]}]))
    })
    .await
}

#[tokio::test]
async fn a_refusal_reads_as_upstreams() {
    let rig = Rig::new().await;
    let denying = WebhookServer::new(|_| {
        json!({"allowed": false, "status": {"message": "no way", "code": 403, "reason": "Forbidden"}})
    })
    .await;
    denying.register(&rig, VALIDATING, "v", json!({})).await;
    let words = "admission webhook \"v.example.com\" denied the request: no way";
    let status = rig.post(CONFIG_MAPS, &map("a")).await;
    let status = status.expect_failure(403, "Forbidden", words);
    assert_eq!(status["message"], words);
    rig.get(&format!("{CONFIG_MAPS}/a")).await.expect(404);
    rig.post(PODS, &json!({"metadata": {"name": "p"}})).await;
    let asked = denying.asked();
    assert_eq!(asked.len(), 1, "only ConfigMaps: {asked:?}");
}

#[tokio::test]
async fn a_review_says_who_does_what_to_what() {
    let rig = Rig::new().await;
    let hook = WebhookServer::new(|_| json!({"allowed": true, "warnings": ["careful"]})).await;
    let quick = json!({"timeoutSeconds": 7});
    hook.register(&rig, VALIDATING, "v", quick).await;
    let answer = rig.post(CONFIG_MAPS, &map("a")).await;
    answer.expect(201);
    assert_eq!(answer.headers["warning"], "299 - \"careful\"");
    let path = format!("{CONFIG_MAPS}/a");
    let change = json!({"data": {"a": "2"}});
    rig.patch(&path, "merge", &change).await.expect(200);
    rig.delete(&format!("{path}?dryRun=All"), None)
        .await
        .expect(200);

    let (url, review) = hook.calls().into_iter().next().unwrap();
    assert!(url.ends_with("/admit?timeout=7s"), "{url}");
    assert_eq!(review["kind"], "AdmissionReview");
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    let asked = hook.asked();
    let create = &asked[0];
    let kind = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let resource = json!({"group": "", "version": "v1", "resource": "configmaps"});
    assert_eq!(create["kind"], kind);
    assert_eq!(create["requestKind"], kind);
    assert_eq!(create["resource"], resource);
    assert_eq!(create["name"], "a");
    assert_eq!(create["namespace"], "default");
    assert_eq!(create["operation"], "CREATE");
    assert_eq!(create["userInfo"]["username"], "admin");
    assert_eq!(create["object"]["data"]["a"], "1");
    assert_eq!(create["oldObject"], Value::Null);
    assert_eq!(create["dryRun"], false);
    assert_eq!(create["options"]["kind"], "CreateOptions");
    let (update, delete) = (&asked[1], &asked[2]);
    assert_eq!(update["operation"], "UPDATE");
    assert_eq!(update["oldObject"]["data"]["a"], "1");
    assert_eq!(update["object"]["data"]["a"], "2");
    assert_eq!(delete["operation"], "DELETE");
    assert_eq!(delete["object"], Value::Null);
    assert_eq!(delete["oldObject"]["data"]["a"], "2");
    assert_eq!(delete["dryRun"], true);
    assert_eq!(asked.len(), 3);
}

#[tokio::test]
async fn mutations_are_applied_in_the_order_of_names() {
    let rig = Rig::new().await;
    let seen_by_second = WebhookServer::new(|request| {
        let seen = request["object"]["data"]["first"].clone();
        patched(&json!([{"op": "add", "path": "/data/second", "value": seen}]))
    })
    .await;
    seen_by_second
        .register(&rig, MUTATING, "b", json!({}))
        .await;
    let first = adder("first").await;
    first.register(&rig, MUTATING, "a", json!({})).await;
    let made = rig.post(CONFIG_MAPS, &map("m")).await.expect(201);
    let wanted = json!({"a": "1", "first": "CREATE", "second": "CREATE"});
    assert_eq!(made["data"], wanted);
}

#[tokio::test]
async fn what_a_webhook_adds_is_pruned_defaulted_and_validated() {
    let rig = Rig::new().await;
    let pods = json!([{
        "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["*"], "resources": ["pods"],
    }]);
    rig.default_account().await;
    let hook = WebhookServer::new(|request| {
        let sidecar = json!({"name": "side", "image": "side:1", "unheardOf": 1});
        let name = &request["object"]["metadata"]["name"];
        let uid = json!({"op": "replace", "path": "/metadata/uid", "value": "mine"});
        let image = if name == "bad" {
            json!("")
        } else {
            json!("side:1")
        };
        let mut sidecar = sidecar;
        sidecar["image"] = image;
        patched(&json!([{"op": "add", "path": "/spec/containers/-", "value": sidecar}, uid]))
    })
    .await;
    hook.register(&rig, MUTATING, "m", json!({"rules": pods}))
        .await;
    let pod = rig.pod("good", Bound::No).await;
    let side = &pod["spec"]["containers"][1];
    assert_eq!(side["imagePullPolicy"], "IfNotPresent");
    assert_eq!(side["unheardOf"], Value::Null);
    assert_ne!(pod["metadata"]["uid"], "mine");
    let bad = json!({
        "metadata": {"name": "bad"}, "spec": {"containers": [{"name": "a", "image": "a"}]},
    });
    let answer = rig.post(PODS, &bad).await;
    answer.expect_failure(422, "Invalid", "spec.containers[1].image: Required value");
}

#[rstest]
#[case::bad_uid(r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"x","allowed":true}}"#,
    "received invalid webhook response: expected response.uid=")]
#[case::garbage("not json", "failed to call webhook: ")]
#[case::empty("", "failed to call webhook: ")]
#[case::no_response(
    r#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}"#,
    "webhook response was absent"
)]
#[tokio::test]
async fn nonsense_fails_or_is_ignored_as_the_policy_says(
    #[case] said: &'static str,
    #[case] why: &str,
) {
    let rig = Rig::new().await;
    let hook = WebhookServer::raw(move |_| Some(said.to_owned())).await;
    hook.register(&rig, VALIDATING, "v", json!({})).await;
    let answer = rig.post(CONFIG_MAPS, &map("a")).await;
    let status = answer.expect_failure(500, "InternalError", why);
    let start = "Internal error occurred: failed calling webhook \"v.example.com\": ";
    assert!(status["message"].as_str().unwrap().starts_with(start));
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";
    let ignore = json!([{"op": "add", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    rig.patch(path, "json", &ignore).await.expect(200);
    rig.post(CONFIG_MAPS, &map("a")).await.expect(201);
}

#[tokio::test]
async fn silence_ends_with_the_timeout() {
    let rig = Rig::new().await;
    let hook = WebhookServer::raw(|_| None).await;
    hook.register(&rig, MUTATING, "m", json!({"timeoutSeconds": 1}))
        .await;
    let answer = rig.post(CONFIG_MAPS, &map("a")).await;
    let words = format!(
        "failed to call webhook: Post \"https://{}/admit?timeout=1s\": context deadline exceeded",
        hook.address
    );
    answer.expect_failure(500, "InternalError", &words);
}

#[tokio::test]
async fn a_closed_port_and_a_missing_service_are_told() {
    let rig = Rig::new().await;
    let closed = json!({"clientConfig": {"url": "https://127.0.0.1:1/x"}});
    let hook = WebhookServer::new(|_| json!({"allowed": true})).await;
    hook.register(&rig, VALIDATING, "closed", closed).await;
    let refused = rig.post(CONFIG_MAPS, &map("a")).await;
    let words = "Post \"https://127.0.0.1:1/x?timeout=10s\": dial tcp 127.0.0.1:1: connect: connection refused";
    refused.expect_failure(500, "InternalError", words);
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/closed";
    rig.delete(path, None).await.expect(200);
    let service = json!({"clientConfig": {"service": {"namespace": "x", "name": "y"}}});
    hook.register(&rig, VALIDATING, "service", service).await;
    let missing = rig.post(CONFIG_MAPS, &map("a")).await;
    let words = "Post \"https://y.x.svc:443/?timeout=10s\": service \"y\" not found";
    missing.expect_failure(500, "InternalError", words);
}

#[tokio::test]
async fn a_huge_answer_is_cut_off() {
    let rig = Rig::new().await;
    let hook = WebhookServer::raw(|_| Some("x".repeat(9 << 20))).await;
    hook.register(&rig, VALIDATING, "v", json!({})).await;
    let answer = rig.post(CONFIG_MAPS, &map("a")).await;
    answer.expect_failure(500, "InternalError", "the response is larger than");
}

#[rstest]
#[case("None", 201)]
#[case("NoneOnDryRun", 201)]
#[case("Some", 400)]
#[case("Unknown", 400)]
#[tokio::test]
async fn dry_runs_ask_only_webhooks_without_side_effects(#[case] effects: &str, #[case] code: u16) {
    let rig = Rig::new().await;
    let hook = WebhookServer::new(|_| json!({"allowed": true})).await;
    // What v1 refuses may still be stored by an older release.
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let configuration = json!({"metadata": {"name": "m"}, "webhooks": [{
        "name": "m.example.com", "clientConfig": hook.client_config("/"),
        "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"],
                   "resources": ["configmaps"]}],
        "sideEffects": effects, "admissionReviewVersions": ["v1"],
    }]});
    if rig.post(path, &configuration).await.code != 201 {
        assert_eq!(code, 400, "{effects} is valid");
        return;
    }
    let answer = rig
        .post(&format!("{CONFIG_MAPS}?dryRun=All"), &map("a"))
        .await;
    assert_eq!(answer.code, code, "{}", answer.text);
    rig.post(CONFIG_MAPS, &map("a")).await.expect(201);
}

#[tokio::test]
async fn a_webhook_sees_later_changes_if_it_asks_for_it() {
    let rig = Rig::new().await;
    let first = WebhookServer::new(|_| json!({"allowed": true})).await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    first.register(&rig, MUTATING, "a", again).await;
    let never = WebhookServer::new(|_| json!({"allowed": true})).await;
    never.register(&rig, MUTATING, "b", json!({})).await;
    let changes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&changes);
    let last = WebhookServer::new(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        patched(&json!([{"op": "add", "path": "/data/late", "value": "1"}]))
    })
    .await;
    last.register(&rig, MUTATING, "c", json!({})).await;
    rig.post(CONFIG_MAPS, &map("m")).await.expect(201);
    let seen: Vec<Value> = first
        .asked()
        .iter()
        .map(|r| r["object"]["data"]["late"].clone())
        .collect();
    assert_eq!(seen, [Value::Null, json!("1")]);
    assert_eq!(never.asked().len(), 1);
    assert_eq!(changes.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn selectors_choose_by_namespace_and_by_either_object() {
    let rig = Rig::new().await;
    let hook = WebhookServer::new(|_| json!({"allowed": false})).await;
    let selectors = json!({
        "namespaceSelector": {"matchExpressions": [{
            "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"],
        }]},
        "objectSelector": {"matchLabels": {"guarded": "yes"}},
    });
    hook.register(&rig, VALIDATING, "v", selectors).await;
    let guarded = json!({"metadata": {"name": "g", "labels": {"guarded": "yes"}}});
    let system = "/api/v1/namespaces/kube-system/configmaps";
    rig.post(system, &guarded).await.expect(201);
    rig.post(CONFIG_MAPS, &map("free")).await.expect(201);
    let words = "denied the request without explanation";
    rig.post(CONFIG_MAPS, &guarded)
        .await
        .expect_failure(403, "", words);
    let label = json!({"metadata": {"labels": {"guarded": "yes"}}});
    let path = format!("{CONFIG_MAPS}/free");
    rig.patch(&path, "merge", &label)
        .await
        .expect_failure(403, "", words);
}

#[tokio::test]
async fn subresources_are_asked_about_only_where_listed() {
    let rig = Rig::new().await;
    rig.post(DEPLOYMENTS, &deployment("d")).await.expect(201);
    let rules = |resource: &str| {
        json!({"rules": [{
            "operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"],
            "resources": [resource],
        }]})
    };
    let main = WebhookServer::new(|_| json!({"allowed": true})).await;
    main.register(&rig, VALIDATING, "main", rules("deployments"))
        .await;
    let scale = WebhookServer::new(|request| {
        let asked = request["object"]["spec"]["replicas"].as_i64().unwrap();
        patched(&json!([{"op": "replace", "path": "/spec/replicas", "value": asked.min(3)}]))
    })
    .await;
    scale
        .register(&rig, MUTATING, "scale", rules("deployments/scale"))
        .await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let wanted = json!({"spec": {"replicas": 9}});
    let scaled = rig.patch(&path, "merge", &wanted).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 3);
    assert_eq!(main.asked().len(), 0);
    let asked = &scale.asked()[0];
    let kind = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
    assert_eq!(asked["kind"], kind);
    assert_eq!(asked["subResource"], "scale");
    assert_eq!(asked["oldObject"]["spec"]["replicas"], 1);
}

#[tokio::test]
async fn another_version_matches_unless_the_policy_is_exact() {
    let rig = Rig::new().await;
    let v1_only = |policy: &str| {
        json!({"matchPolicy": policy, "rules": [{
            "operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"],
            "resources": ["horizontalpodautoscalers"],
        }]})
    };
    let hook = WebhookServer::new(|_| {
        patched(
            &json!([{"op": "replace", "path": "/spec/targetCPUUtilizationPercentage",
                         "value": 70}]),
        )
    })
    .await;
    hook.register(&rig, MUTATING, "equivalent", v1_only("Equivalent"))
        .await;
    let exact = WebhookServer::new(|_| json!({"allowed": false})).await;
    exact
        .register(&rig, VALIDATING, "exact", v1_only("Exact"))
        .await;
    let autoscaler = json!({
        "metadata": {"name": "h"},
        "spec": {
            "maxReplicas": 4,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50},
            }}],
        },
    });
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let made = rig.post(path, &autoscaler).await.expect(201);
    let target = &made["spec"]["metrics"][0]["resource"]["target"];
    assert_eq!(target["averageUtilization"], 70);
    let asked = &hook.asked()[0];
    assert_eq!(asked["kind"]["version"], "v1");
    assert_eq!(asked["requestKind"]["version"], "v2");
    assert_eq!(asked["object"]["apiVersion"], "autoscaling/v1");
    assert_eq!(exact.asked().len(), 0);
}

#[tokio::test]
async fn deletions_and_connections_can_be_refused_but_not_changed() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let hook = adder("x").await;
    let rules = json!({"rules": [{
        "operations": ["DELETE", "CONNECT"], "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["pods", "pods/exec"],
    }]});
    rig.pod("p", Bound::Yes).await;
    hook.register(&rig, MUTATING, "m", rules).await;
    let words = "admission webhook \"m.example.com\" attempted to modify the object, which is not supported for this operation";
    let gone = rig.delete(&format!("{PODS}/p"), None).await;
    gone.expect_failure(500, "InternalError", words);
    let exec = rig
        .get(&format!("{PODS}/p/exec?command=ls&stdout=true"))
        .await;
    exec.expect_failure(500, "InternalError", words);
    let asked = &hook.asked()[1];
    assert_eq!(asked["operation"], "CONNECT");
    assert_eq!(asked["subResource"], "exec");
    assert_eq!(asked["object"]["kind"], "PodExecOptions");
    assert_eq!(asked["object"]["command"], json!(["ls"]));
    rig.get(&format!("{PODS}/p")).await.expect(200);
}

#[tokio::test]
async fn webhooks_never_guard_their_own_configuration() {
    let rig = Rig::new().await;
    let hook = WebhookServer::new(|_| json!({"allowed": false})).await;
    let everything = json!({"rules": [{
        "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"],
    }]});
    hook.register(&rig, VALIDATING, "v", everything).await;
    rig.post(CONFIG_MAPS, &map("a"))
        .await
        .expect_failure(403, "", "denied");
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";
    rig.delete(path, None).await.expect(200);
    rig.post(CONFIG_MAPS, &map("a")).await.expect(201);
}

#[tokio::test]
async fn questions_are_counted() {
    let rig = Rig::new().await;
    let hook = WebhookServer::new(|_| json!({"allowed": true})).await;
    hook.register(&rig, VALIDATING, "v", json!({})).await;
    rig.post(CONFIG_MAPS, &map("a")).await.expect(201);
    let metrics = rig.get("/metrics").await.text;
    let line = "apiserver_admission_webhook_request_total{name=\"v.example.com\",type=\"validating\",operation=\"CREATE\",code=\"200\",rejected=\"false\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}
