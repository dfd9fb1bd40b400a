//! Services: endpoint slices and endpoints follow their pods.

use crate::rig::Rig;
use kube::api::DeleteParams;
use serde_json::{Value, json};

/// Addresses of the service's slices with (ready, serving, terminating), sorted.
async fn endpoints(rig: &Rig) -> Vec<(String, [bool; 3])> {
    let slices = rig.api(
        "default",
        ("discovery.k8s.io", "v1"),
        "endpointslices",
        "EndpointSlice",
    );
    let mut found = Vec::new();
    for slice in rig.list(&slices).await {
        if slice.metadata.labels.unwrap()["kubernetes.io/service-name"] != "web" {
            continue;
        }
        for endpoint in slice.data["endpoints"].as_array().into_iter().flatten() {
            let holds = |name: &str| endpoint["conditions"][name] == true;
            let address = endpoint["addresses"][0].as_str().unwrap().to_owned();
            found.push((address, ["ready", "serving", "terminating"].map(holds)));
        }
    }
    found.sort();
    found
}

async fn legacy(rig: &Rig) -> Value {
    let api = rig.core("default", "endpoints", "Endpoints");
    let found = api.get_opt("web").await.unwrap();
    found.map_or(Value::Null, |object| object.data["subsets"].clone())
}

#[tokio::test(start_paused = true)]
async fn endpoints_follow_readiness_and_termination() {
    let rig = Rig::start().await;
    let services = rig.core("default", "services", "Service");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    rig.create(&services, service).await;
    rig.deploy(2).await;
    let up = [true, true, false];
    let both = [("10.1.0.1".into(), up), ("10.1.0.2".into(), up)];
    rig.until("two ready endpoints", async || {
        endpoints(&rig).await == both
    })
    .await;
    rig.until("two legacy addresses", async || {
        legacy(&rig).await[0]["addresses"].as_array().map(Vec::len) == Some(2)
    })
    .await;

    let pods = rig.list(&rig.pods()).await;
    let named = |ip: &str| {
        let pod = pods.iter().find(|pod| pod.data["status"]["podIP"] == ip);
        pod.unwrap().metadata.name.clone().unwrap()
    };
    let (first, second) = (named("10.1.0.1"), named("10.1.0.2"));
    rig.set_ready(&first, false).await;
    let one = [("10.1.0.1".into(), [false; 3]), ("10.1.0.2".into(), up)];
    rig.until("one ready endpoint", async || endpoints(&rig).await == one)
        .await;
    rig.until("one legacy address", async || {
        let subsets = legacy(&rig).await;
        subsets[0]["addresses"].as_array().map(Vec::len) == Some(1)
            && subsets[0]["notReadyAddresses"].as_array().map(Vec::len) == Some(1)
    })
    .await;

    // A finalizer keeps the pod in sight while it ends.
    let hold = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    rig.patch(&rig.pods(), &second, hold).await;
    rig.pods()
        .delete(&second, &DeleteParams::default())
        .await
        .unwrap();
    rig.until("the ending pod still serves", async || {
        let found = endpoints(&rig).await;
        found.contains(&("10.1.0.2".into(), [false, true, true]))
    })
    .await;
}

async fn start() -> Rig {
    let rig = Rig::start().await;
    // Bare pods are refused before their service account is there.
    let accounts = rig.core("default", "serviceaccounts", "ServiceAccount");
    rig.until("service account", async || rig.count(&accounts).await == 1)
        .await;
    rig
}

/// Makes a pod with the label `app=web` that runs on a node and is ready.
async fn pod(rig: &Rig, name: &str, port: u16, spec: Value) {
    let ports = json!([{"name": "http", "containerPort": port}]);
    let mut object = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "x", "ports": ports}]},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    rig.create(&rig.pods(), object).await;
    rig.set_ready(name, true).await;
}

async fn service(rig: &Rig, name: &str, spec: Value) {
    let services = rig.core("default", "services", "Service");
    let body = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    });
    rig.create(&services, body).await;
}

/// The slices of a service, whole.
async fn slices(rig: &Rig, service: &str) -> Vec<Value> {
    let slices = rig.api(
        "default",
        ("discovery.k8s.io", "v1"),
        "endpointslices",
        "EndpointSlice",
    );
    let all = rig.list(&slices).await.into_iter();
    let all = all.map(|slice| serde_json::to_value(slice).unwrap());
    all.filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == service)
        .collect()
}

fn addresses(slice: &Value) -> Vec<&str> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints
        .map(|e| e["addresses"][0].as_str().unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_named_port_groups_pods_by_its_number() {
    let rig = start().await;
    let ports = json!([{"port": 80, "targetPort": "http"}]);
    service(
        &rig,
        "web",
        json!({"selector": {"app": "web"}, "ports": ports}),
    )
    .await;
    pod(&rig, "a", 8080, json!({})).await;
    pod(&rig, "b", 9090, json!({})).await;
    rig.until("two slices", async || {
        let mut found: Vec<_> = slices(&rig, "web")
            .await
            .iter()
            .map(|slice| {
                let port = slice["ports"][0]["port"].as_u64();
                (port, addresses(slice).join(","))
            })
            .collect();
        found.sort();
        found
            == [
                (Some(8080), "10.1.0.1".into()),
                (Some(9090), "10.1.0.2".into()),
            ]
    })
    .await;
    rig.until("two subsets", async || {
        let subsets = legacy(&rig).await;
        subsets.as_array().map(Vec::len) == Some(2)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_headless_service_tells_host_names_and_unready_pods_if_it_publishes_them() {
    let rig = start().await;
    let spec = json!({
        "clusterIP": "None", "selector": {"app": "web"}, "publishNotReadyAddresses": true,
        "ports": [{"port": 80}],
    });
    service(&rig, "web", spec).await;
    pod(&rig, "a", 80, json!({"hostname": "a", "subdomain": "web"})).await;
    pod(
        &rig,
        "b",
        80,
        json!({"hostname": "b", "subdomain": "other"}),
    )
    .await;
    rig.set_ready("a", false).await;
    rig.until("a host name and a published address", async || {
        let slices = slices(&rig, "web").await;
        let [slice] = slices.as_slice() else {
            return false;
        };
        let headless = &slice["metadata"]["labels"]["service.kubernetes.io/headless"];
        let (a, b) = (&slice["endpoints"][0], &slice["endpoints"][1]);
        *headless == ""
            && a["hostname"] == "a"
            && b["hostname"].is_null()
            && a["conditions"] == json!({"ready": true, "serving": false, "terminating": false})
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn slices_have_the_labels_of_their_service_and_keep_foreign_annotations() {
    let rig = start().await;
    service(
        &rig,
        "web",
        json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}),
    )
    .await;
    let services = rig.core("default", "services", "Service");
    rig.until("a slice", async || slices(&rig, "web").await.len() == 1)
        .await;
    let label = json!({"metadata": {"labels": {"team": "x"}}});
    rig.patch(&services, "web", label).await;
    rig.until("the label", async || {
        let found = slices(&rig, "web").await;
        found[0]["metadata"]["labels"]["team"] == "x"
    })
    .await;
    let name = slices(&rig, "web").await[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    let kind = ("discovery.k8s.io", "v1");
    let api = rig.api("default", kind, "endpointslices", "EndpointSlice");
    let foreign = json!({"metadata": {"labels": {"mine": "1"}, "annotations": {"mine": "1"}}});
    rig.patch(&api, &name, foreign).await;
    rig.patch(
        &services,
        "web",
        json!({"metadata": {"labels": {"team": null}}}),
    )
    .await;
    rig.until("only the service's labels", async || {
        let found = slices(&rig, "web").await;
        let meta = &found[0]["metadata"];
        meta["annotations"]["mine"] == "1"
            && meta["labels"]
                == json!({
                    "kubernetes.io/service-name": "web",
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn close_traffic_is_hinted_with_the_zone_of_the_node() {
    let rig = start().await;
    let node = |zone: &str| {
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n", "labels": {"topology.kubernetes.io/zone": zone}},
        })
    };
    let nodes = rig.cluster("nodes", "Node");
    rig.create(&nodes, node("x")).await;
    let spec = json!({
        "selector": {"app": "web"}, "ports": [{"port": 80}], "trafficDistribution": "PreferSameNode",
    });
    service(&rig, "web", spec).await;
    pod(&rig, "a", 80, json!({"nodeName": "n"})).await;
    let hinted = async |zone: &str| {
        let want = json!({"forZones": [{"name": zone}], "forNodes": [{"name": "n"}]});
        let found = slices(&rig, "web").await;
        found
            .iter()
            .any(|s| s["endpoints"][0]["hints"] == want && s["endpoints"][0]["zone"] == zone)
    };
    rig.until("hints", async || hinted("x").await).await;
    rig.patch(
        &nodes,
        "n",
        json!({"metadata": {"labels": {"topology.kubernetes.io/zone": "y"}}}),
    )
    .await;
    rig.until("hints of the new zone", async || hinted("y").await)
        .await;
}

/// Family and addresses of each slice of the service `db`, sorted.
async fn families(rig: &Rig) -> Vec<String> {
    let found = slices(rig, "db").await;
    let text = |slice: &Value| {
        let family = slice["addressType"].as_str().unwrap();
        format!("{family} {}", addresses(slice).join(","))
    };
    let mut found: Vec<_> = found.iter().map(text).collect();
    found.sort();
    found
}

/// A service without selector, and the endpoints that somebody gave it.
async fn custom_endpoints(rig: &Rig) {
    service(rig, "db", json!({"ports": [{"name": "sql", "port": 5432}]})).await;
    let body = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "db", "namespace": "default", "labels": {"team": "x"}},
        "subsets": [{
            "addresses": [{"ip": "192.0.2.1", "hostname": "one"}, {"ip": "2001:db8::1"}],
            "notReadyAddresses": [{"ip": "192.0.2.2"}],
            "ports": [{"name": "sql", "port": 15432}],
        }],
    });
    let endpoints = rig.core("default", "endpoints", "Endpoints");
    rig.create(&endpoints, body).await;
    let both = ["IPv4 192.0.2.1,192.0.2.2", "IPv6 2001:db8::1"];
    rig.until("two slices", async || families(rig).await == both)
        .await;
}

#[tokio::test(start_paused = true)]
async fn custom_endpoints_are_mirrored() {
    let rig = start().await;
    custom_endpoints(&rig).await;
    let found = slices(&rig, "db").await;
    let four = found.iter().find(|slice| slice["addressType"] == "IPv4");
    let four = four.unwrap();
    let labels = &four["metadata"]["labels"];
    assert_eq!(labels["team"], "x");
    assert_eq!(
        labels["endpointslice.kubernetes.io/managed-by"],
        "endpointslicemirroring-controller.k8s.io"
    );
    assert_eq!(four["metadata"]["ownerReferences"][0]["kind"], "Endpoints");
    assert_eq!(four["ports"][0]["port"], 15432);
    assert_eq!(four["endpoints"][0]["hostname"], "one");
    assert_eq!(four["endpoints"][1]["conditions"], json!({"ready": false}));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_shows_changes_and_ends_with_its_reason() {
    let rig = start().await;
    custom_endpoints(&rig).await;
    let endpoints = rig.core("default", "endpoints", "Endpoints");
    let services = rig.core("default", "services", "Service");
    let ports = json!([{"name": "sql", "port": 1}]);
    let less = json!({"subsets": [{"addresses": [{"ip": "192.0.2.9"}], "ports": ports}]});
    rig.patch(&endpoints, "db", less).await;
    rig.until("one slice", async || {
        families(&rig).await == ["IPv4 192.0.2.9"]
    })
    .await;
    let skip = |value: Value| json!({"metadata": {"labels": {"endpointslice.kubernetes.io/skip-mirror": value}}});
    rig.patch(&endpoints, "db", skip("true".into())).await;
    rig.until("no slice", async || families(&rig).await.is_empty())
        .await;
    rig.patch(&endpoints, "db", skip(Value::Null)).await;
    rig.until("a slice again", async || families(&rig).await.len() == 1)
        .await;
    // With a selector the service's own pods count, and the object is taken over.
    let selector = json!({"spec": {"selector": {"app": "web"}}});
    rig.patch(&services, "db", selector).await;
    rig.until("only the service's own slice", async || {
        let legacy = endpoints.get("db").await.unwrap();
        families(&rig).await == ["IPv4 "]
            && legacy.data["subsets"].as_array().is_none_or(Vec::is_empty)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn balancers_share_an_address_unless_their_ports_clash() {
    let rig = start().await;
    let services = rig.core("default", "services", "Service");
    let spec = |port: u16| json!({"type": "LoadBalancer", "ports": [{"port": port}]});
    let at = async |name: &str| {
        let service = services.get(name).await.unwrap();
        let ingress = &service.data["status"]["loadBalancer"]["ingress"];
        ingress[0]["ip"].as_str().unwrap_or_default().to_owned()
    };
    service(&rig, "a", spec(80)).await;
    rig.until("the first", async || at("a").await == "127.0.0.1")
        .await;
    service(&rig, "b", spec(80)).await;
    service(&rig, "c", spec(81)).await;
    let mut classed = spec(80);
    classed["loadBalancerClass"] = "example.com/other".into();
    service(&rig, "d", classed).await;
    let mut wished = spec(80);
    wished["loadBalancerIP"] = "127.0.0.1".into();
    service(&rig, "e", wished).await;
    rig.until("others", async || {
        at("b").await == "127.0.0.2" && at("c").await == "127.0.0.1"
    })
    .await;
    rig.until("a warning", async || {
        rig.events("SyncLoadBalancerFailed").await.len() == 1
    })
    .await;
    assert_eq!(at("d").await + &at("e").await, "");
    rig.patch(&services, "a", json!({"spec": {"type": "ClusterIP"}}))
        .await;
    rig.until("given up and taken by who waited", async || {
        at("a").await.is_empty() && at("e").await == "127.0.0.1"
    })
    .await;
    // A port that is given up is free as well.
    let mut next = spec(80);
    next["loadBalancerIP"] = "127.0.0.1".into();
    service(&rig, "f", next).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(at("f").await, "");
    let ports = json!({"spec": {"ports": [{"port": 82}]}});
    rig.patch(&services, "e", ports).await;
    rig.until("the port is taken by who waited", async || {
        at("f").await == "127.0.0.1"
    })
    .await;
    assert_eq!(at("e").await, "127.0.0.1");
}

#[tokio::test(start_paused = true)]
async fn a_service_made_anew_takes_over_the_slices_of_the_one_before() {
    let rig = start().await;
    let services = rig.core("default", "services", "Service");
    let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80}]});
    service(&rig, "web", spec.clone()).await;
    rig.until("a slice", async || slices(&rig, "web").await.len() == 1)
        .await;
    let orphaning = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    services.delete("web", &orphaning).await.unwrap();
    rig.until("it is gone", async || {
        services.get_opt("web").await.unwrap().is_none()
    })
    .await;
    let before = slices(&rig, "web").await;
    assert_eq!(before.len(), 1, "left behind");
    service(&rig, "web", spec).await;
    let uid = services.get("web").await.unwrap().metadata.uid.unwrap();
    rig.until("it has its owner", async || {
        let now = slices(&rig, "web").await;
        now.len() == 1
            && now[0]["metadata"]["name"] == before[0]["metadata"]["name"]
            && now[0]["metadata"]["ownerReferences"][0]["uid"] == uid.as_str()
    })
    .await;
}
