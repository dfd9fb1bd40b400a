//! The audit log.

use crate::rig::{Answer, CONFIG_MAPS, Rig};
use http::Request;
use http_body_util::Full;
use plimsoll_apiserver::audit::{Audit, LogOptions, Policy};
use plimsoll_apiserver::auth::Identity;
use serde_json::{Value, json};

/// A rig with an audit log, and the log.
struct Logged {
    rig: Rig,
    dir: tempfile::TempDir,
}

impl Logged {
    async fn new(rules: &str) -> Self {
        let rig = Rig::new().await;
        let dir = tempfile::tempdir().unwrap();
        let policy = if rules.is_empty() {
            Policy::metadata()
        } else {
            let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
            Policy::parse(&format!("{head}{rules}")).unwrap()
        };
        let options = LogOptions::at(dir.path().join("audit.log"));
        rig.server.set_audit(Audit::open(policy, &options).unwrap());
        Self { rig, dir }
    }

    async fn send(&self, request: http::request::Builder, body: &str) -> Answer {
        let request = request.header("content-type", "application/json");
        let request = request.body(Full::from(body.to_owned())).unwrap();
        self.rig.send(request).await
    }

    /// The events, once all are written.
    fn events(self) -> Vec<Value> {
        self.rig.server.close_audit();
        let text = std::fs::read_to_string(self.dir.path().join("audit.log")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_leaves_who_what_when_and_how_it_ended() {
    let log = Logged::new("").await;
    let request = Request::get(format!("{CONFIG_MAPS}/none"))
        .header("audit-id", "my-id")
        .header("user-agent", "tester/1");
    let answer = log.send(request, "").await;
    assert_eq!(answer.headers["audit-id"], "my-id");
    let events = log.events();
    let want = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
        "auditID": "my-id", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/default/configmaps/none", "verb": "get",
        "user": {"username": "admin", "groups": ["system:masters"]}, "userAgent": "tester/1",
        "objectRef": {"resource": "configmaps", "namespace": "default", "name": "none",
                      "apiVersion": "v1"},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        "responseStatus": {
            "metadata": {}, "status": "Failure", "message": "configmaps \"none\" not found",
            "reason": "NotFound", "details": {"name": "none", "kind": "configmaps"}, "code": 404,
        },
        "stageTimestamp": "2026-01-01T00:00:00.000000Z",
        "annotations": {"authorization.k8s.io/decision": "allow",
                        "authorization.k8s.io/reason": ""},
    });
    assert_eq!(events, [want]);
}

#[tokio::test(start_paused = true)]
async fn bodies_are_logged_where_the_policy_says_and_secrets_are_not() {
    let rules = "rules:\n\
                 - {level: Metadata, resources: [{group: '', resources: [secrets]}]}\n\
                 - {level: RequestResponse, verbs: [create]}\n\
                 omitStages: [RequestReceived]\n";
    let log = Logged::new(rules).await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"key": "hush"}});
    let path = "/api/v1/namespaces/default/secrets";
    log.send(Request::post(path), &secret.to_string())
        .await
        .expect(201);
    let map = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    log.send(Request::post(CONFIG_MAPS), &map.to_string())
        .await
        .expect(201);
    log.send(Request::get(CONFIG_MAPS), "").await.expect(200);
    let events = log.events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(!events[0].to_string().contains("hush"));
    assert_eq!(events[0]["responseStatus"]["code"], 201);
    assert_eq!(events[1]["requestObject"]["data"]["k"], "v");
    assert_eq!(events[1]["responseObject"]["metadata"]["name"], "a");
}

#[tokio::test(start_paused = true)]
async fn refusals_and_impersonation_are_told() {
    let log = Logged::new("").await;
    let request = Request::get(CONFIG_MAPS).header("impersonate-user", "joe");
    log.send(request, "").await.expect(403);
    let request = Request::get(CONFIG_MAPS).header("authorization", "Bearer nonsense");
    let response = log
        .rig
        .server
        .handle(None, request.body(Full::<bytes::Bytes>::default()).unwrap());
    assert_eq!(response.await.status(), 401);
    let events = log.events();
    assert_eq!(events[0]["user"]["username"], "admin");
    assert_eq!(events[0]["impersonatedUser"]["username"], "joe");
    assert_eq!(
        events[0]["annotations"]["authorization.k8s.io/decision"],
        "forbid"
    );
    assert_eq!(events[1]["user"], json!({}));
    assert_eq!(events[1]["responseStatus"]["reason"], "Unauthorized");
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_logged_when_it_begins_and_when_it_ends() {
    let log = Logged::new("rules: [{level: Metadata, verbs: [watch]}]\n").await;
    let watch = log.rig.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    drop(watch);
    let stages: Vec<Value> = log.events().iter().map(|e| e["stage"].clone()).collect();
    assert_eq!(
        stages,
        ["RequestReceived", "ResponseStarted", "ResponseComplete"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_binding_that_allowed_it_is_the_reason() {
    let mut log = Logged::new("").await;
    log.rig.identity = Identity::new("jane", &["system:authenticated"]);
    log.rig.get("/apis").await.expect(200);
    let events = log.events();
    let reason = &events[0]["annotations"]["authorization.k8s.io/reason"];
    assert_eq!(
        reason,
        "RBAC: allowed by ClusterRoleBinding \"system:discovery\" of ClusterRole \
         \"system:discovery\" to Group \"system:authenticated\""
    );
}

#[tokio::test(start_paused = true)]
async fn admission_notes_what_it_only_audits() {
    let log = Logged::new("omitStages: [RequestReceived]\nrules: [{level: Metadata}]\n").await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/audit": "baseline"}}});
    let path = "/api/v1/namespaces/default";
    log.rig.patch(path, "merge", &label).await.expect(200);
    log.rig.default_account().await;
    let base = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
            "operations": ["CREATE"], "resources": ["pods"]}]},
        "validations": [{"expression": "!object.spec.hostNetwork", "message": "no host network"}],
        "auditAnnotations": [{"key": "who", "valueExpression": "request.userInfo.username"}],
    }});
    let binding = json!({"metadata": {"name": "b"},
        "spec": {"policyName": "p", "validationActions": ["Audit"]}});
    for (plural, object) in [
        ("validatingadmissionpolicies", policy),
        ("validatingadmissionpolicybindings", binding),
    ] {
        let path = format!("{base}/{plural}");
        log.rig.post(&path, &object).await.expect(201);
    }
    let pod = json!({"metadata": {"name": "open"}, "spec": {
        "hostNetwork": true, "containers": [{"name": "c", "image": "nginx"}]}});
    let pods = "/api/v1/namespaces/default/pods";
    let made = log.rig.post(pods, &pod).await;
    made.expect(201);
    assert!(made.headers.get("warning").is_none());
    let events = log.events();
    let event = events.last().unwrap();
    let noted = |key: &str| event["annotations"][key].as_str().unwrap_or_default();
    assert_eq!(noted("p/who"), "admin");
    let failure = noted("validation.policy.admission.k8s.io/validation_failure");
    assert!(failure.contains("no host network"), "{event}");
    let level = noted("pod-security.kubernetes.io/audit-violations");
    assert!(
        level.starts_with("would violate PodSecurity \"baseline:latest\""),
        "{event}"
    );
    assert_eq!(noted("authorization.k8s.io/decision"), "allow");
}
