//! Resource quotas.

use crate::rig::{CONFIG_MAPS, PODS, Rig};
use futures::future::join_all;
use serde_json::{Value, json};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

async fn quota(rig: &Rig, spec: Value) {
    let body = json!({"metadata": {"name": "q"}, "spec": spec});
    rig.post(QUOTAS, &body).await.expect(201);
}

fn pod(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{
            "name": "web", "image": "nginx", "resources": {"requests": {"cpu": cpu}},
        }]},
    })
}

/// Runs the status writer until the quota's status says what is wanted.
async fn until_used(rig: &Rig, want: &Value) {
    let path = format!("{QUOTAS}?watch=1&fieldSelector=metadata.name=q");
    let mut lines = rig.watch(&path).await;
    let mut last = Value::Null;
    let seen = async {
        while let Some(event) = lines.next().await {
            last = event["object"]["status"]["used"].clone();
            if last == *want {
                return;
            }
        }
    };
    let deadline = std::time::Duration::from_secs(60);
    let found = tokio::select! {
        () = seen => true,
        () = rig.server.tend_quotas() => false,
        () = tokio::time::sleep(deadline) => false,
    };
    assert!(found, "{last} is not {want}");
}

#[tokio::test]
async fn parallel_writes_never_go_over() {
    let rig = Rig::new().await;
    quota(&rig, json!({"hard": {"count/configmaps": "10"}})).await;
    let bodies: Vec<Value> = (0..64)
        .map(|n| json!({"metadata": {"name": format!("c{n}")}}))
        .collect();
    let answers = join_all(bodies.iter().map(|body| rig.post(CONFIG_MAPS, body))).await;
    let made = answers.iter().filter(|a| a.code == 201).count();
    assert_eq!(made, 10);
    let refused = answers.iter().find(|a| a.code == 403).unwrap();
    refused.expect_failure(403, "Forbidden", "is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=10, limited: count/configmaps=10");
    // A refused or failed write gives its room back, and so does a deletion.
    let first = rig.get(CONFIG_MAPS).await.expect(200)["items"][0]["metadata"]["name"].clone();
    let path = format!("{CONFIG_MAPS}/{}", first.as_str().unwrap());
    rig.delete(&path, None).await.expect(200);
    let again = json!({"metadata": {"name": "again"}});
    rig.post(CONFIG_MAPS, &again).await.expect(201);
    rig.post(CONFIG_MAPS, &json!({"metadata": {"name": "more"}}))
        .await
        .expect(403);
}

#[tokio::test(start_paused = true)]
async fn the_status_shows_what_is_used() {
    let rig = Rig::new().await;
    rig.default_account().await;
    rig.post(PODS, &pod("before", "100m")).await.expect(201);
    quota(&rig, json!({"hard": {"pods": "3", "requests.cpu": "1"}})).await;
    until_used(&rig, &json!({"pods": "1", "requests.cpu": "100m"})).await;
    rig.post(PODS, &pod("a", "300m")).await.expect(201);
    until_used(&rig, &json!({"pods": "2", "requests.cpu": "400m"})).await;
    rig.post(PODS, &pod("b", "700m")).await.expect_failure(
        403,
        "Forbidden",
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=700m, used: requests.cpu=400m, limited: requests.cpu=1",
    );
    let nameless = json!({
        "metadata": {"name": "n"}, "spec": {"containers": [{"name": "web", "image": "nginx"}]},
    });
    rig.post(PODS, &nameless).await.expect_failure(
        403,
        "Forbidden",
        "pods \"n\" is forbidden: failed quota: q: must specify requests.cpu for: web",
    );
    rig.delete(&format!("{PODS}/a"), None).await.expect(200);
    until_used(&rig, &json!({"pods": "1", "requests.cpu": "100m"})).await;
    // A pod that has ended uses nothing.
    let ended = json!({"status": {"phase": "Succeeded"}});
    rig.patch(&format!("{PODS}/before/status"), "merge", &ended)
        .await
        .expect(200);
    until_used(&rig, &json!({"pods": "0", "requests.cpu": "0"})).await;
    // A changed quota is counted anew, a status someone else wrote is put right.
    let spec = json!({"spec": {"hard": {"pods": null, "count/pods": "5"}}});
    rig.patch(&format!("{QUOTAS}/q"), "merge", &spec)
        .await
        .expect(200);
    until_used(&rig, &json!({"count/pods": "1", "requests.cpu": "0"})).await;
}

#[tokio::test]
async fn scopes_choose_the_pods() {
    let rig = Rig::new().await;
    rig.default_account().await;
    quota(
        &rig,
        json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]}),
    )
    .await;
    rig.post(PODS, &pod("a", "1")).await.expect(201);
    rig.post(PODS, &pod("b", "1")).await.expect(201);
    let free = |name: &str| {
        json!({
            "metadata": {"name": name}, "spec": {"containers": [{"name": "web", "image": "nginx"}]},
        })
    };
    rig.post(PODS, &free("c")).await.expect(201);
    rig.post(PODS, &free("d")).await.expect(403);
}

#[tokio::test]
async fn services_are_counted_by_type_and_on_update() {
    let rig = Rig::new().await;
    quota(
        &rig,
        json!({"hard": {"services.nodeports": "1", "services.loadbalancers": "0"}}),
    )
    .await;
    let path = "/api/v1/namespaces/default/services";
    let service = |name: &str, kind: &str| {
        json!({
            "metadata": {"name": name}, "spec": {"type": kind, "ports": [{"port": 80}]},
        })
    };
    rig.post(path, &service("a", "ClusterIP")).await.expect(201);
    rig.post(path, &service("b", "NodePort")).await.expect(201);
    let change = json!({"spec": {"type": "NodePort"}});
    rig.patch(&format!("{path}/a"), "merge", &change)
        .await
        .expect_failure(403, "Forbidden", "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1");
    rig.post(path, &service("c", "LoadBalancer"))
        .await
        .expect(403);
    // A dry run is judged too, and keeps nothing.
    rig.post(&format!("{path}?dryRun=All"), &service("d", "NodePort"))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_resize_is_charged() {
    let rig = Rig::new().await;
    rig.default_account().await;
    quota(&rig, json!({"hard": {"requests.cpu": "1"}})).await;
    rig.post(PODS, &pod("a", "600m")).await.expect(201);
    let resize = |cpu: &str| {
        json!({"spec": {"containers": [
            {"name": "web", "resources": {"requests": {"cpu": cpu}}},
        ]}})
    };
    let path = format!("{PODS}/a/resize");
    rig.patch(&path, "strategic-merge", &resize("1100m"))
        .await
        .expect_failure(403, "Forbidden", "exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: requests.cpu=1");
    rig.patch(&path, "strategic-merge", &resize("900m"))
        .await
        .expect(200);
    rig.post(PODS, &pod("b", "200m")).await.expect(403);
    rig.post(PODS, &pod("b", "100m")).await.expect(201);
}

#[tokio::test(start_paused = true)]
async fn custom_resources_count_as_soon_as_they_are_served() {
    let rig = Rig::new().await;
    quota(&rig, json!({"hard": {"count/widgets.example.com": "1"}})).await;
    until_used(&rig, &json!({"count/widgets.example.com": "0"})).await;
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    rig.post(path, &definition).await.expect(201);
    let widget = |name: &str| {
        json!({
            "apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name},
        })
    };
    let path = "/apis/example.com/v1/namespaces/default/widgets";
    rig.post(path, &widget("a")).await.expect(201);
    rig.post(path, &widget("b")).await.expect_failure(
        403,
        "Forbidden",
        "widgets.example.com \"b\" is forbidden: exceeded quota: q, requested: count/widgets.example.com=1, used: count/widgets.example.com=1, limited: count/widgets.example.com=1",
    );
    until_used(&rig, &json!({"count/widgets.example.com": "1"})).await;
    rig.delete(&format!("{path}/a"), None).await.expect(200);
    rig.post(path, &widget("b")).await.expect(201);
}
