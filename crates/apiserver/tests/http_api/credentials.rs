//! Tokens and certificates: issued, checked, and taken back.

use crate::rig::{Answer, Bound, PODS, Rig};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Request;
use http_body_util::{BodyExt, Full};
use plimsoll_apiserver::auth::Identity;
use plimsoll_apiserver::pki::Pki;
use rstest::rstest;
use serde_json::{Value, json};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

impl Rig {
    async fn token(&self, spec: Value) -> Answer {
        self.post(&format!("{ACCOUNTS}/default/token"), &json!({"spec": spec}))
            .await
    }

    /// The status of a TokenReview.
    async fn review(&self, token: &str, audiences: &[&str]) -> Value {
        let body = json!({"spec": {"token": token, "audiences": audiences}});
        self.post(REVIEWS, &body).await.expect(201)["status"].clone()
    }

    /// Who a bearer token is, by a request over a connection.
    async fn bearer(&self, token: &str) -> (u16, Value) {
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let request = Request::post(path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Full::<bytes::Bytes>::from("{}"))
            .unwrap();
        let response = self.server.handle(None, request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&bytes).unwrap();
        (code, body["status"]["userInfo"]["username"].clone())
    }
}

fn claims(token: &str) -> Value {
    let middle = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_good_for_its_audience_until_its_pod_goes() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let pod = rig.pod("web", Bound::No).await;
    let uid = pod["metadata"]["uid"].clone();
    let reference = json!({"kind": "Pod", "apiVersion": "v1", "name": "web", "uid": uid});
    let spec =
        json!({"audiences": ["vault"], "expirationSeconds": 600, "boundObjectRef": reference});
    let answer = rig.token(spec).await.expect(201);
    assert_eq!(answer["spec"]["audiences"], json!(["vault"]));
    let token = text(&answer["status"]["token"]);
    assert_eq!(claims(&token)["kubernetes.io"]["pod"]["uid"], uid);
    let status = rig.review(&token, &["vault", "other"]).await;
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["audiences"], json!(["vault"]));
    assert_eq!(rig.review(&token, &[]).await["authenticated"], false);
    rig.delete(
        &format!("{PODS}/web"),
        Some(&json!({"gracePeriodSeconds": 0})),
    )
    .await
    .expect(200);
    let status = rig.review(&token, &["vault"]).await;
    assert_eq!(status["authenticated"], false);
    assert!(text(&status["error"]).contains("pods/web"));
}

#[rstest]
#[case::too_short(json!({"expirationSeconds": 599}), 422, "less than 10 minutes")]
#[case::too_long(json!({"expirationSeconds": 4_294_967_297_i64}), 422, "larger than 2^32 seconds")]
#[case::strange(json!({"boundObjectRef": {"kind": "ConfigMap", "apiVersion": "v1", "name": "a"}}),
    400, "cannot bind token to object of type /v1, Kind=ConfigMap")]
#[case::gone(json!({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "a"}}),
    404, "secrets \"a\" not found")]
#[case::other_uid(json!({"boundObjectRef":
    {"kind": "Secret", "apiVersion": "v1", "name": "held", "uid": "1"}}),
    409, "the UID in the bound object reference (1) does not match")]
#[tokio::test(start_paused = true)]
async fn bad_token_requests_are_refused(#[case] spec: Value, #[case] code: u16, #[case] why: &str) {
    let rig = Rig::new().await;
    rig.default_account().await;
    rig.post(SECRETS, &json!({"metadata": {"name": "held"}}))
        .await
        .expect(201);
    let answer = rig.token(spec).await.expect(code);
    assert!(text(&answer["message"]).contains(why), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_token_bound_to_a_secret_ends_with_it() {
    let rig = Rig::new().await;
    rig.default_account().await;
    rig.post(SECRETS, &json!({"metadata": {"name": "held"}}))
        .await
        .expect(201);
    let reference = json!({"kind": "Secret", "apiVersion": "v1", "name": "held"});
    let answer = rig
        .token(json!({"boundObjectRef": reference}))
        .await
        .expect(201);
    let token = text(&answer["status"]["token"]);
    let me = "system:serviceaccount:default:default";
    assert_eq!(rig.bearer(&token).await, (201, me.into()));
    rig.delete(&format!("{SECRETS}/held"), None)
        .await
        .expect(200);
    assert_eq!(rig.bearer(&token).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn a_token_secret_is_filled_and_its_token_lasts_as_long_as_it() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let server = rig.server.clone();
    let task = tokio::spawn(async move { server.fill_token_secrets().await });
    let mut watch = rig.watch(&format!("{SECRETS}?watch=true")).await;
    let annotations = json!({"kubernetes.io/service-account.name": "default"});
    let secret = json!({
        "metadata": {"name": "long", "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    });
    rig.post(SECRETS, &secret).await.expect(201);
    watch.step().await;
    let filled = watch.next().await.unwrap()["object"].clone();
    let data = |key: &str| {
        let bytes = STANDARD
            .decode(filled["data"][key].as_str().unwrap())
            .unwrap();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(data("namespace"), "default");
    let token = data("token");
    let me = "system:serviceaccount:default:default";
    assert_eq!(rig.bearer(&token).await, (201, me.into()));
    // A token is not good any more once the Secret holds another.
    let other = json!({"data": {"token": STANDARD.encode("other")}});
    rig.patch(&format!("{SECRETS}/long"), "merge", &other)
        .await
        .expect(200);
    assert_eq!(rig.bearer(&token).await.0, 401);
    rig.delete(&format!("{ACCOUNTS}/default"), None)
        .await
        .expect(200);
    while watch.step().await.0 != "DELETED" {}
    task.abort();
}

/// A request by `user` for a client certificate, made by openssl with an RSA key, for
/// `CN=jane, O=dev, O=ops`.
fn certificate_request(signer: &str) -> Value {
    json!({
        "metadata": {"name": "jane"},
        "spec": {
            "request": STANDARD.encode(include_str!("jane.csr")),
            "signerName": signer, "usages": ["client auth"], "expirationSeconds": 3600,
            "username": "forged",
        },
    })
}

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

fn approval(mut request: Value, kind: &str) -> Value {
    request["status"]["conditions"] =
        json!([{"type": kind, "status": "True", "reason": "KubectlApprove", "message": "ok"}]);
    request
}

#[tokio::test(start_paused = true)]
async fn an_approved_request_becomes_a_certificate() {
    let rig = Rig::new().await;
    let pki = Pki::ephemeral(&[]).unwrap();
    let (server, signer) = (rig.server.clone(), pki.clone());
    let task = tokio::spawn(async move { server.sign_certificates(signer).await });
    let mut watch = rig.watch(&format!("{REQUESTS}?watch=true")).await;
    let made = rig
        .post(REQUESTS, &certificate_request(CLIENT))
        .await
        .expect(201);
    assert_eq!(made["spec"]["username"], "admin");
    watch.step().await;
    rig.put(
        &format!("{REQUESTS}/jane/approval"),
        &approval(made, "Approved"),
    )
    .await
    .expect(200);
    watch.step().await;
    let issued = watch.next().await.unwrap()["object"].clone();
    let pem = STANDARD
        .decode(issued["status"]["certificate"].as_str().unwrap())
        .unwrap();
    let pem = String::from_utf8(pem).unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let identity = Identity::from_certificate(&STANDARD.decode(body).unwrap()).unwrap();
    assert_eq!(identity.user, "jane");
    assert_eq!(identity.groups, ["dev", "ops", "system:authenticated"]);
    let condition = &issued["status"]["conditions"][0];
    assert_eq!(condition["lastUpdateTime"], "2026-01-01T00:00:00Z");
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn deciding_needs_the_permission_for_the_signer() {
    let mut rig = Rig::new().await;
    let made = rig
        .post(REQUESTS, &certificate_request(CLIENT))
        .await
        .expect(201);
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = json!({
        "metadata": {"name": "approver"},
        "rules": [{"verbs": ["update"], "apiGroups": ["certificates.k8s.io"],
                   "resources": ["certificatesigningrequests/approval"]}],
    });
    rig.post(&format!("{rbac}/clusterroles"), &role)
        .await
        .expect(201);
    let bind = |name: &str| {
        json!({
            "metadata": {"name": format!("joe-{name}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "User", "name": "joe"}],
        })
    };
    let bindings = format!("{rbac}/clusterrolebindings");
    rig.post(&bindings, &bind("approver")).await.expect(201);
    let approver = "system:certificates.k8s.io:kube-apiserver-client-approver";
    let admin = std::mem::replace(&mut rig.identity, Identity::new("joe", &[]));
    let path = format!("{REQUESTS}/jane/approval");
    let decided = approval(made, "Denied");
    rig.put(&path, &decided).await.expect_failure(
        403,
        "Forbidden",
        "user not permitted to approve requests with signerName \
         \"kubernetes.io/kube-apiserver-client\"",
    );
    let joe = std::mem::replace(&mut rig.identity, admin);
    rig.post(&bindings, &bind(approver)).await.expect(201);
    rig.identity = joe;
    rig.put(&path, &decided).await.expect(200);
}

#[tokio::test(start_paused = true)]
async fn what_a_signer_does_not_sign_fails_and_says_why() {
    let rig = Rig::new().await;
    let server = rig.server.clone();
    let pki = Pki::ephemeral(&[]).unwrap();
    let task = tokio::spawn(async move { server.sign_certificates(pki).await });
    let mut watch = rig.watch(&format!("{REQUESTS}?watch=true")).await;
    let signer = "kubernetes.io/kube-apiserver-client-kubelet";
    let made = rig
        .post(REQUESTS, &certificate_request(signer))
        .await
        .expect(201);
    watch.step().await;
    rig.put(
        &format!("{REQUESTS}/jane/approval"),
        &approval(made, "Approved"),
    )
    .await
    .expect(200);
    watch.step().await;
    let failed = watch.next().await.unwrap()["object"]["status"]["conditions"][1].clone();
    assert_eq!(failed["type"], "Failed");
    assert_eq!(failed["reason"], "SignerValidationFailure");
    assert!(text(&failed["message"]).contains("organization is not system:nodes"));
    task.abort();
}
