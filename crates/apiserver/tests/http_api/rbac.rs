//! Who may do what: roles, bindings, granting, acting as others, and asking about it.

use crate::rig::{Answer, CONFIG_MAPS, PODS, Rig};
use http::Request;
use http_body_util::Full;
use plimsoll_apiserver::auth::Identity;
use rstest::rstest;
use serde_json::{Value, json};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const ACCESS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// The rig as somebody who is signed in.
struct As<'a>(&'a Rig, Identity);

impl Rig {
    fn user(&self, name: &str) -> As<'_> {
        As(self, Identity::new(name, &["system:authenticated"]))
    }

    /// A ClusterRole with one rule.
    async fn cluster_role(&self, name: &str, verbs: &[&str], resources: &[&str]) {
        let role = json!({
            "metadata": {"name": name},
            "rules": [{"verbs": verbs, "apiGroups": ["", "rbac.authorization.k8s.io"],
                       "resources": resources}],
        });
        self.post(&format!("{RBAC}/clusterroles"), &role)
            .await
            .expect(201);
    }

    /// Binds a ClusterRole to a user, in `default` or everywhere.
    async fn bind(&self, scope: &str, role: &str, user: &str) {
        let path = match scope {
            "cluster" => format!("{RBAC}/clusterrolebindings"),
            namespace => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
        };
        self.post(&path, &binding(&format!("{user}-{role}"), role, user))
            .await
            .expect(201);
    }
}

fn binding(name: &str, role: &str, user: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    })
}

impl As<'_> {
    async fn send(&self, request: http::request::Builder, body: Option<&Value>) -> Answer {
        let rig = Rig {
            server: self.0.server.clone(),
            identity: self.1.clone(),
        };
        let request = request.header("content-type", "application/json");
        let body = body.map(ToString::to_string).unwrap_or_default();
        rig.send(request.body(Full::from(body)).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path), None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Request::post(path), Some(body)).await
    }

    async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Request::put(path), Some(body)).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_binding_opens_and_its_removal_closes() {
    let rig = Rig::new().await;
    let jane = rig.user("jane");
    jane.get(PODS).await.expect_failure(
        403,
        "Forbidden",
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the \
         namespace \"default\"",
    );
    rig.bind("default", "view", "jane").await;
    jane.get(PODS).await.expect(200);
    jane.get("/api/v1/pods").await.expect(403);
    jane.get("/api/v1/namespaces/default/secrets")
        .await
        .expect(403);
    rig.delete(
        &format!("{RBAC}/namespaces/default/rolebindings/jane-view"),
        None,
    )
    .await
    .expect(200);
    jane.get(PODS).await.expect(403);
}

#[rstest]
#[case::health("/healthz", 200)]
#[case::version("/version", 200)]
#[case::discovery("/api", 403)]
#[case::metrics("/metrics", 403)]
#[case::below_version("/version/x", 403)]
#[case::lookalike("/healthzz", 403)]
#[tokio::test(start_paused = true)]
async fn nobody_may_read_only_health_and_version(#[case] path: &str, #[case] code: u16) {
    let rig = Rig::new().await;
    let nobody = As(&rig, Identity::anonymous());
    assert_eq!(nobody.get(path).await.code, code);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_signed_in_may_discover_but_not_read_metrics() {
    let rig = Rig::new().await;
    let jane = rig.user("jane");
    jane.get("/apis/apps/v1").await.expect(200);
    jane.get("/metrics").await.expect_failure(
        403,
        "Forbidden",
        "forbidden: User \"jane\" cannot get path \"/metrics\"",
    );
    let account = "system:serviceaccount:default:web";
    let groups = ["system:serviceaccounts", "system:authenticated"];
    let web = As(&rig, Identity::new(account, &groups));
    web.get(PODS).await.expect(403);
    let keys = web.get("/openid/v1/jwks").await.expect(200);
    assert_eq!(keys["keys"][0]["alg"], "ES256");
    let found = web
        .get("/.well-known/openid-configuration")
        .await
        .expect(200);
    assert_eq!(
        found["issuer"],
        "https://kubernetes.default.svc.cluster.local"
    );
}

#[tokio::test(start_paused = true)]
async fn a_role_is_granted_by_who_holds_its_rules() {
    let rig = Rig::new().await;
    rig.cluster_role(
        "grantor",
        &["get", "create", "update"],
        &["pods", "clusterroles"],
    )
    .await;
    rig.bind("cluster", "grantor", "jane").await;
    let jane = rig.user("jane");
    let role = |name: &str, verbs: Value| {
        json!({
            "metadata": {"name": name},
            "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}],
        })
    };
    let roles = format!("{RBAC}/clusterroles");
    jane.post(&roles, &role("mine", json!(["get"])))
        .await
        .expect(201);
    let said = "clusterroles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" \
                (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not \
                currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\" \
                \"list\"]}";
    jane.post(&roles, &role("more", json!(["get", "delete", "list"])))
        .await
        .expect_failure(403, "Forbidden", said);
    jane.put(&format!("{roles}/mine"), &role("mine", json!(["*"])))
        .await
        .expect_failure(403, "Forbidden", "not currently held");
    // Labels alone may change, whatever the rules are.
    let mut cluster_admin = rig.get(&format!("{roles}/cluster-admin")).await.json();
    cluster_admin["metadata"]["labels"]["a"] = "b".into();
    jane.put(&format!("{roles}/cluster-admin"), &cluster_admin)
        .await
        .expect(200);
    rig.cluster_role("escalator", &["escalate"], &["clusterroles"])
        .await;
    rig.bind("cluster", "escalator", "jane").await;
    jane.post(&roles, &role("more", json!(["*"])))
        .await
        .expect(201);
}

#[tokio::test(start_paused = true)]
async fn a_role_is_bound_by_who_holds_it_or_may_bind_it() {
    let rig = Rig::new().await;
    rig.cluster_role("binder", &["create", "get"], &["rolebindings"])
        .await;
    rig.bind("default", "binder", "jane").await;
    let jane = rig.user("jane");
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    jane.post(&bindings, &binding("a", "binder", "joe"))
        .await
        .expect(201);
    jane.post(&bindings, &binding("b", "view", "joe"))
        .await
        .expect_failure(403, "Forbidden", "not currently held:\n{APIGroups:[\"\"]");
    jane.post(&bindings, &binding("c", "no-such", "joe"))
        .await
        .expect_failure(404, "NotFound", "\"no-such\" not found");
    let may_bind = json!({
        "metadata": {"name": "bind-view"},
        "rules": [{"verbs": ["bind"], "apiGroups": ["rbac.authorization.k8s.io"],
                   "resources": ["clusterroles"], "resourceNames": ["view"]}],
    });
    rig.post(&format!("{RBAC}/clusterroles"), &may_bind)
        .await
        .expect(201);
    rig.bind("default", "bind-view", "jane").await;
    jane.post(&bindings, &binding("b", "view", "joe"))
        .await
        .expect(201);
    jane.post(&bindings, &binding("d", "edit", "joe"))
        .await
        .expect(403);
}

#[tokio::test(start_paused = true)]
async fn a_binding_keeps_its_role() {
    let rig = Rig::new().await;
    rig.bind("default", "view", "jane").await;
    let path = format!("{RBAC}/namespaces/default/rolebindings/jane-view");
    rig.put(&path, &binding("jane-view", "edit", "jane"))
        .await
        .expect_failure(422, "Invalid", "cannot change roleRef");
}

#[rstest]
#[case::user(&[("impersonate-user", "joe")],
    "users \"joe\" is forbidden: User \"jane\" cannot impersonate resource \"users\" in API \
     group \"\" at the cluster scope")]
#[case::account(&[("impersonate-user", "system:serviceaccount:default:web")],
    "serviceaccounts \"web\" is forbidden: User \"jane\" cannot impersonate resource \
     \"serviceaccounts\" in API group \"\" in the namespace \"default\"")]
#[case::as_himself(&[("impersonate-user", "bob")],
    "User \"bob\" cannot list resource \"configmaps\"")]
#[case::group(&[("impersonate-user", "bob"), ("impersonate-group", "system:masters")],
    "cannot impersonate resource \"groups\"")]
#[case::uid(&[("impersonate-user", "bob"), ("impersonate-uid", "1")],
    "resource \"uids\" in API group \"authentication.k8s.io\"")]
#[case::extra(&[("impersonate-user", "bob"), ("impersonate-extra-a%2Fb", "1")],
    "resource \"userextras/a/b\"")]
#[tokio::test(start_paused = true)]
async fn acting_as_others_is_a_permission_for_each_part(
    #[case] headers: &[(&str, &str)],
    #[case] why: &str,
) {
    let rig = Rig::new().await;
    let as_bob = json!({
        "metadata": {"name": "as-bob"},
        "rules": [{"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"],
                   "resourceNames": ["bob"]}],
    });
    rig.post(&format!("{RBAC}/clusterroles"), &as_bob)
        .await
        .expect(201);
    rig.bind("cluster", "as-bob", "jane").await;
    let request = headers
        .iter()
        .fold(Request::get(CONFIG_MAPS), |r, (k, v)| r.header(*k, *v));
    rig.user("jane")
        .send(request, None)
        .await
        .expect_failure(403, "Forbidden", why);
}

#[tokio::test(start_paused = true)]
async fn groups_are_not_impersonated_without_a_user() {
    let rig = Rig::new().await;
    let request = Request::get(CONFIG_MAPS).header("impersonate-group", "system:masters");
    As(&rig, rig.identity.clone())
        .send(request, None)
        .await
        .expect_failure(400, "BadRequest", "together with a user");
}

#[tokio::test(start_paused = true)]
async fn an_administrator_becomes_the_named_user() {
    let rig = Rig::new().await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let request = Request::post(path)
        .header("impersonate-user", "system:serviceaccount:a:b")
        .header("impersonate-extra-team", "blue");
    let admin = As(&rig, rig.identity.clone());
    let body = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"});
    let review = admin.send(request, Some(&body)).await.expect(201);
    let want = json!({
        "username": "system:serviceaccount:a:b",
        "groups": ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"],
        "extra": {"team": ["blue"]},
    });
    assert_eq!(review["status"]["userInfo"], want);
}

#[tokio::test(start_paused = true)]
async fn access_reviews_say_whether_and_why() {
    let rig = Rig::new().await;
    rig.bind("default", "view", "jane").await;
    let review = |user: &str, attributes: Value| {
        let mut spec = attributes;
        spec["user"] = user.into();
        json!({"spec": spec})
    };
    let pods = json!({"resourceAttributes":
        {"verb": "get", "resource": "pods", "namespace": "default"}});
    let answer = rig
        .post(ACCESS, &review("jane", pods.clone()))
        .await
        .expect(201);
    let want = json!({"allowed": true, "reason":
        "RBAC: allowed by RoleBinding \"jane-view/default\" of ClusterRole \"view\" to User \"jane\""});
    assert_eq!(answer["status"], want);
    let answer = rig.post(ACCESS, &review("joe", pods)).await.expect(201);
    assert_eq!(answer["status"], json!({"allowed": false}));
    let path = json!({"nonResourceAttributes": {"verb": "get", "path": "/api"},
                      "groups": ["system:authenticated"]});
    let answer = rig.post(ACCESS, &review("joe", path)).await.expect(201);
    assert_eq!(answer["status"]["allowed"], true);
}

#[rstest]
#[case::nothing(json!({"user": "jane"}),
    "exactly one of nonResourceAttributes or resourceAttributes must be specified")]
#[case::nobody(json!({"resourceAttributes": {"verb": "get"}}),
    "at least one of user or group must be specified")]
#[case::both(json!({"user": "j", "resourceAttributes": {}, "nonResourceAttributes": {}}),
    "cannot be specified in combination with resourceAttributes")]
#[case::empty_selector(json!({"user": "j", "resourceAttributes": {"fieldSelector": {}}}),
    "requirements or rawSelector is required")]
#[case::operator(json!({"user": "j", "resourceAttributes": {"labelSelector":
    {"requirements": [{"key": "a", "operator": "Is"}]}}}), "not a valid selector operator")]
#[tokio::test(start_paused = true)]
async fn a_review_that_asks_nothing_is_refused(#[case] spec: Value, #[case] why: &str) {
    let rig = Rig::new().await;
    rig.post(ACCESS, &json!({"spec": spec}))
        .await
        .expect_failure(422, "Invalid", why);
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_a_namespace_are_those_bound_there() {
    let rig = Rig::new().await;
    rig.cluster_role("pod-reader", &["get"], &["pods"]).await;
    rig.bind("default", "pod-reader", "jane").await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let ask = |namespace: &str| {
        let body = json!({"spec": {"namespace": namespace}});
        let jane = rig.user("jane");
        async move { jane.post(path, &body).await }
    };
    let reader = json!({"verbs": ["get"], "apiGroups": ["", "rbac.authorization.k8s.io"],
                        "resources": ["pods"]});
    let status = ask("default").await.expect(201)["status"].clone();
    assert_eq!(status["incomplete"], false);
    assert!(
        status["resourceRules"]
            .as_array()
            .unwrap()
            .contains(&reader)
    );
    assert_eq!(status["nonResourceRules"].as_array().unwrap().len(), 2);
    let status = ask("kube-system").await.expect(201)["status"].clone();
    assert!(
        !status["resourceRules"]
            .as_array()
            .unwrap()
            .contains(&reader)
    );
    ask("")
        .await
        .expect_failure(400, "BadRequest", "no namespace on request");
}

#[tokio::test(start_paused = true)]
async fn aggregated_roles_follow_their_parts() {
    let rig = Rig::new().await;
    let server = rig.server.clone();
    let task = tokio::spawn(async move { server.aggregate_roles().await });
    let mut watch = rig
        .watch(&format!(
            "{RBAC}/clusterroles?watch=true&fieldSelector=metadata.name%3Dview"
        ))
        .await;
    watch.step().await;
    let role = json!({
        "metadata": {"name": "widgets",
                     "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"verbs": ["get"], "apiGroups": ["demo.io"], "resources": ["widgets"]}],
    });
    rig.post(&format!("{RBAC}/clusterroles"), &role)
        .await
        .expect(201);
    let event = watch.next().await.unwrap();
    let rules = event["object"]["rules"].as_array().unwrap().clone();
    assert!(rules.contains(&role["rules"][0]));
    rig.delete(&format!("{RBAC}/clusterroles/widgets"), None)
        .await
        .expect(200);
    let event = watch.next().await.unwrap();
    assert!(
        !event["object"]["rules"]
            .as_array()
            .unwrap()
            .contains(&role["rules"][0])
    );
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn what_default_roles_lost_comes_back_at_the_next_start() {
    let rig = Rig::new().await;
    let path = format!("{RBAC}/clusterroles/system:basic-user");
    let whole = rig.get(&path).await.expect(200);
    assert_eq!(
        whole["metadata"]["labels"]["kubernetes.io/bootstrapping"],
        "rbac-defaults"
    );
    rig.patch(&path, "merge", &json!({"rules": []}))
        .await
        .expect(200);
    rig.delete(
        &format!("{RBAC}/clusterrolebindings/system:discovery"),
        None,
    )
    .await
    .expect(200);
    rig.server.bootstrap().await.unwrap();
    let rules = |role: &Value| role["rules"].as_array().map_or(0, Vec::len);
    assert_eq!(rules(&rig.get(&path).await.expect(200)), rules(&whole) + 1);
    rig.get(&format!("{RBAC}/clusterrolebindings/system:discovery"))
        .await
        .expect(200);
    let off = json!({"rules": [], "metadata": {"annotations":
        {"rbac.authorization.kubernetes.io/autoupdate": "false"}}});
    rig.patch(&path, "merge", &off).await.expect(200);
    rig.server.bootstrap().await.unwrap();
    assert_eq!(rules(&rig.get(&path).await.expect(200)), 0);
}

#[tokio::test(start_paused = true)]
async fn a_list_of_one_name_is_about_that_object() {
    let rig = Rig::new().await;
    let role = json!({
        "metadata": {"name": "one-map"},
        "rules": [{"verbs": ["list", "watch"], "apiGroups": [""], "resources": ["configmaps"],
                   "resourceNames": ["one"]}],
    });
    rig.post(&format!("{RBAC}/clusterroles"), &role)
        .await
        .expect(201);
    rig.bind("default", "one-map", "jane").await;
    let jane = rig.user("jane");
    jane.get(CONFIG_MAPS).await.expect(403);
    jane.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Done"))
        .await
        .expect(200);
    jane.get(&format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Dtwo"))
        .await
        .expect_failure(403, "Forbidden", "configmaps \"two\" is forbidden");
}

#[tokio::test(start_paused = true)]
async fn a_namespace_is_read_by_who_may_view_it() {
    let rig = Rig::new().await;
    rig.bind("default", "view", "jane").await;
    let jane = rig.user("jane");
    jane.get("/api/v1/namespaces/default").await.expect(200);
    jane.get("/api/v1/namespaces/kube-system")
        .await
        .expect_failure(403, "Forbidden", "in the namespace \"kube-system\"");
}

#[tokio::test(start_paused = true)]
async fn a_node_reads_what_its_pods_refer_to() {
    let rig = Rig::new().await;
    rig.default_account().await;
    for name in ["mine", "other"] {
        let secret = json!({"metadata": {"name": name}});
        rig.post("/api/v1/namespaces/default/secrets", &secret)
            .await
            .expect(201);
    }
    let pod = json!({
        "metadata": {"name": "web"},
        "spec": {
            "containers": [{"name": "main", "image": "nginx",
                            "envFrom": [{"secretRef": {"name": "mine"}}]}],
        },
    });
    rig.post(PODS, &pod).await.expect(201);
    let node = |name: &str| {
        let user = format!("system:node:{name}");
        As(
            &rig,
            Identity::new(&user, &["system:nodes", "system:authenticated"]),
        )
    };
    let path = "/api/v1/namespaces/default/secrets/mine";
    node("n1").get(path).await.expect_failure(
        403,
        "Forbidden",
        "no relationship found between node \"n1\" and this object",
    );
    let binding = json!({"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "n1"}});
    rig.post(&format!("{PODS}/web/binding"), &binding)
        .await
        .expect(201);
    node("n1").get(path).await.expect(200);
    node("n2").get(path).await.expect(403);
    let other = "/api/v1/namespaces/default/secrets/other";
    node("n1").get(other).await.expect(403);
    node("n1").get(PODS).await.expect(200);
    node("n1")
        .get("/apis/apps/v1/deployments")
        .await
        .expect(403);
    let token = "/api/v1/namespaces/default/serviceaccounts/default/token";
    node("n1").post(token, &json!({})).await.expect(201);
    node("n2").post(token, &json!({})).await.expect(403);
}
