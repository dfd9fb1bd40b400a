//! What built-in admission fills in and refuses.

use crate::rig::{PODS, Rig};
use serde_json::{Value, json};

const LIMITS: &str = "/api/v1/namespaces/default/limitranges";

fn pod(name: &str, resources: &Value) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "web", "image": "nginx", "resources": resources}]},
    })
}

#[tokio::test]
async fn a_limit_range_fills_in_and_refuses() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let range = json!({
        "metadata": {"name": "limits"},
        "spec": {"limits": [{
            "type": "Container", "max": {"cpu": "1"},
            "default": {"cpu": "200m", "memory": "64Mi"}, "defaultRequest": {"cpu": "100m"},
        }]},
    });
    let stored = rig.post(LIMITS, &range).await.expect(201);
    assert_eq!(
        stored["spec"]["limits"][0]["defaultRequest"]["memory"],
        "64Mi"
    );
    let filled = rig.post(PODS, &pod("a", &json!({}))).await.expect(201);
    assert_eq!(
        filled["spec"]["containers"][0]["resources"],
        json!({
            "limits": {"cpu": "200m", "memory": "64Mi"},
            "requests": {"cpu": "100m", "memory": "64Mi"},
        })
    );
    assert_eq!(filled["status"]["qosClass"], "Burstable");
    let refused = rig
        .post(PODS, &pod("b", &json!({"limits": {"cpu": "3"}})))
        .await;
    refused.expect_failure(
        403,
        "Forbidden",
        "pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 3",
    );
    rig.delete(&format!("{LIMITS}/limits"), None)
        .await
        .expect(200);
    rig.post(PODS, &pod("b", &json!({"limits": {"cpu": "3"}})))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_claim_keeps_to_its_limit_range() {
    let rig = Rig::new().await;
    let range = json!({
        "metadata": {"name": "limits"},
        "spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]},
    });
    rig.post(LIMITS, &range).await.expect(201);
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}},
    });
    let path = "/api/v1/namespaces/default/persistentvolumeclaims";
    rig.post(path, &claim).await.expect_failure(
        403,
        "Forbidden",
        "maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi",
    );
}

const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";

fn class(name: &str, default: &str) -> Value {
    json!({
        "metadata": {
            "name": name,
            "annotations": {"storageclass.kubernetes.io/is-default-class": default},
        },
        "provisioner": "example.com/disk",
    })
}

fn claim(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

#[tokio::test]
async fn claims_get_the_default_class_and_a_finalizer() {
    let rig = Rig::new().await;
    let without = rig.post(CLAIMS, &claim("none")).await.expect(201);
    assert_eq!(without["spec"].get("storageClassName"), None);
    rig.post(CLASSES, &class("b", "true")).await.expect(201);
    rig.post(CLASSES, &class("a", "true")).await.expect(201);
    rig.post(CLASSES, &class("0", "false")).await.expect(201);
    let made = rig.post(CLAIMS, &claim("one")).await.expect(201);
    assert_eq!(made["spec"]["storageClassName"], "a");
    assert_eq!(
        made["metadata"]["finalizers"],
        json!(["kubernetes.io/pvc-protection"])
    );
    let grow = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
    rig.patch(&format!("{CLAIMS}/one"), "merge", &grow)
        .await
        .expect_failure(
            422,
            "Invalid",
            "PersistentVolumeClaim \"one\" is invalid: spec: Forbidden: spec is immutable after \
             creation except resources.requests and volumeAttributesClassName for bound claims",
        );
}

#[tokio::test]
async fn a_runtime_class_has_its_price() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let mut wanted = pod("p", &json!({}));
    wanted["spec"]["runtimeClassName"] = "gvisor".into();
    rig.post(PODS, &wanted).await.expect_failure(
        403,
        "Forbidden",
        "pods \"p\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found",
    );
    let class = json!({
        "metadata": {"name": "gvisor"}, "handler": "runsc",
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"sandbox": "yes"}},
    });
    let path = "/apis/node.k8s.io/v1/runtimeclasses";
    rig.post(path, &class).await.expect(201);
    let made = rig.post(PODS, &wanted).await.expect(201);
    assert_eq!(made["spec"]["overhead"], json!({"cpu": "250m"}));
    assert_eq!(made["spec"]["nodeSelector"], json!({"sandbox": "yes"}));
}

#[tokio::test]
async fn only_one_priority_class_is_the_default() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let path = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str| json!({"metadata": {"name": name}, "value": 7, "globalDefault": true});
    rig.post(path, &class("a")).await.expect(201);
    rig.post(path, &class("b")).await.expect_failure(
        403,
        "Forbidden",
        "PriorityClass a is already marked as default. Only one default can exist",
    );
    let made = rig.post(PODS, &pod("p", &json!({}))).await.expect(201);
    assert_eq!(made["spec"]["priority"], 7);
    assert_eq!(made["spec"]["priorityClassName"], "a");
    let mut wrong = pod("q", &json!({}));
    wrong["spec"]["priority"] = 8.into();
    rig.post(PODS, &wrong).await.expect_failure(
        403,
        "Forbidden",
        "the integer value of priority (8) must not be provided in pod spec; priority admission controller computed 7 from the given PriorityClass name",
    );
}

#[tokio::test]
async fn a_node_writes_about_itself_only() {
    let mut rig = Rig::new().await;
    rig.identity = plimsoll_apiserver::auth::Identity::new(
        "system:node:n1",
        &["system:nodes", "system:masters"],
    );
    let node =
        |name: &str| json!({"metadata": {"name": name, "labels": {"kubernetes.io/os": "linux"}}});
    rig.post("/api/v1/nodes", &node("n1")).await.expect(201);
    rig.post("/api/v1/nodes", &node("n2")).await.expect_failure(
        403,
        "Forbidden",
        "node \"n1\" is not allowed to modify node \"n2\"",
    );
    let label = json!({"metadata": {"labels": {"node-restriction.kubernetes.io/zone": "a"}}});
    rig.patch("/api/v1/nodes/n1", "merge", &label)
        .await
        .expect_failure(
            403,
            "Forbidden",
            "node \"n1\" is not allowed to modify labels: node-restriction.kubernetes.io/zone",
        );
    rig.post(PODS, &pod("p", &json!({}))).await.expect(403);
}

#[tokio::test(start_paused = true)]
async fn a_pod_waits_a_moment_for_its_account() {
    let rig = Rig::new().await;
    let (pod, later) = (pod("p", &json!({})), async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        rig.default_account().await;
    });
    let (answer, ()) = tokio::join!(rig.post(PODS, &pod), later);
    answer.expect(201);
    let mut other = pod.clone();
    other["spec"]["serviceAccountName"] = "nobody".into();
    other["metadata"]["name"] = "q".into();
    rig.post(PODS, &other).await.expect_failure(
        403,
        "Forbidden",
        "pods \"q\" is forbidden: error looking up service account default/nobody: serviceaccount \"nobody\" not found",
    );
}

#[tokio::test]
async fn a_certificate_request_says_who_asks() {
    let rig = Rig::new().await;
    let request = |organization: &str| {
        let mut params = rcgen::CertificateParams::default();
        let name = &mut params.distinguished_name;
        name.push(rcgen::DnType::CommonName, "bob");
        name.push(rcgen::DnType::OrganizationName, organization);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem)
    };
    let body = |name: &str, organization: &str| {
        json!({
            "metadata": {"name": name},
            "spec": {
                "request": request(organization), "usages": ["client auth"],
                "signerName": "kubernetes.io/kube-apiserver-client", "username": "someone-else",
            },
        })
    };
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let made = rig.post(path, &body("a", "people")).await.expect(201);
    assert_eq!(made["spec"]["username"], "admin");
    assert_eq!(made["spec"]["groups"], json!(["system:masters"]));
    rig.post(path, &body("b", "system:masters"))
        .await
        .expect_failure(
            403,
            "Forbidden",
            "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed",
        );
}

#[tokio::test]
async fn what_is_rarely_meant_comes_with_a_warning() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let mut odd = pod("p", &json!({}));
    odd["spec"]["nodeSelector"] = json!({"beta.kubernetes.io/os": "linux"});
    let answer = rig.post(PODS, &odd).await;
    answer.expect(201);
    let warning = answer.headers["warning"].to_str().unwrap();
    assert_eq!(
        warning,
        "299 - \"spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\\"kubernetes.io/os\\\" instead\""
    );
}

#[tokio::test]
async fn a_bound_pod_learns_its_zone() {
    let rig = Rig::new().await;
    rig.default_account().await;
    let node = json!({
        "metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}},
    });
    rig.post("/api/v1/nodes", &node).await.expect(201);
    let bound = rig.pod("p", crate::rig::Bound::Yes).await;
    assert_eq!(
        bound["metadata"]["labels"],
        json!({"app": "web", "topology.kubernetes.io/zone": "z1"})
    );
}

#[tokio::test]
async fn an_account_may_limit_the_secrets_of_its_pods() {
    let rig = Rig::new().await;
    let account = json!({
        "metadata": {
            "name": "tight", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"},
        },
        "secrets": [{"name": "known"}],
    });
    let path = "/api/v1/namespaces/default/serviceaccounts";
    rig.post(path, &account).await.expect(201);
    let with = |name: &str, secret: &str| {
        let mut pod = pod(name, &json!({}));
        pod["spec"]["serviceAccountName"] = "tight".into();
        pod["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": secret}}]);
        pod
    };
    rig.post(PODS, &with("a", "known")).await.expect(201);
    rig.post(PODS, &with("b", "other")).await.expect_failure(
        403,
        "Forbidden",
        "volume with secret.secretName=\"other\" is not allowed because service account tight does not reference that secret",
    );
}
