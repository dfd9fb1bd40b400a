//! Services that load balancers lead to.

use crate::rig::Rig;
use serde_json::{Value, json};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn balancer(name: &str, spec: &Value) -> Value {
    let mut body = json!({
        "metadata": {"name": name},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "externalTrafficPolicy": "Local"},
    });
    for (key, value) in spec.as_object().unwrap() {
        body["spec"][key] = value.clone();
    }
    body
}

#[tokio::test]
async fn a_local_balancer_gets_a_port_for_its_health_and_loses_it_with_the_policy() {
    let rig = Rig::new().await;
    let path = format!("{SERVICES}/web");
    let made = rig
        .post(SERVICES, &balancer("web", &json!({})))
        .await
        .expect(201);
    let port = made["spec"]["healthCheckNodePort"].as_u64().unwrap();
    assert!((30_000..=32_767).contains(&port), "{port}");
    // A manifest that does not name it keeps it.
    let labels = json!({"metadata": {"labels": {"a": "b"}}});
    let same = rig.patch(&path, "merge", &labels).await.expect(200);
    assert_eq!(same["spec"]["healthCheckNodePort"], port);
    let wants_it = json!({"healthCheckNodePort": port});
    rig.post(SERVICES, &balancer("other", &wants_it))
        .await
        .expect_failure(422, "Invalid", "spec.healthCheckNodePort: Invalid value: ");
    let other = json!({"spec": {"healthCheckNodePort": 30_000 + (port + 1) % 2000}});
    rig.patch(&path, "merge", &other)
        .await
        .expect_failure(422, "Invalid", "field is immutable");
    let cluster = json!({"spec": {"externalTrafficPolicy": "Cluster"}});
    let changed = rig.patch(&path, "merge", &cluster).await.expect(200);
    assert!(
        changed["spec"].get("healthCheckNodePort").is_none(),
        "{changed}"
    );
    // It is free again.
    let got = rig
        .post(SERVICES, &balancer("other", &wants_it))
        .await
        .expect(201);
    assert_eq!(got["spec"]["healthCheckNodePort"], port);
}

#[tokio::test]
async fn what_only_balancers_have_goes_with_the_type() {
    let rig = Rig::new().await;
    let class = json!({"loadBalancerClass": "example.com/x"});
    rig.post(SERVICES, &balancer("web", &class))
        .await
        .expect(201);
    let change = json!({"spec": {"type": "NodePort"}});
    let path = format!("{SERVICES}/web");
    let changed = rig.patch(&path, "merge", &change).await.expect(200);
    for field in [
        "loadBalancerClass",
        "allocateLoadBalancerNodePorts",
        "healthCheckNodePort",
    ] {
        assert!(changed["spec"].get(field).is_none(), "{field}: {changed}");
    }
}

#[tokio::test]
async fn the_port_for_health_is_none_of_the_own_node_ports() {
    let rig = Rig::new().await;
    let ports = json!([{"port": 80, "nodePort": 30_100}]);
    let spec = json!({"externalTrafficPolicy": "Cluster", "ports": ports});
    rig.post(SERVICES, &balancer("web", &spec))
        .await
        .expect(201);
    let local = json!({"spec": {
        "externalTrafficPolicy": "Local", "healthCheckNodePort": 30_100,
    }});
    let why = "spec.healthCheckNodePort: Invalid value: 30100: provided port is already allocated";
    let path = format!("{SERVICES}/web");
    rig.patch(&path, "merge", &local)
        .await
        .expect_failure(422, "Invalid", why);
    // A trial is told the same, and takes nothing.
    let trial = format!("{SERVICES}?dryRun=All");
    let taken = balancer("other", &json!({"healthCheckNodePort": 30_100}));
    rig.post(&trial, &taken)
        .await
        .expect_failure(422, "Invalid", why);
    let free = balancer("other", &json!({"healthCheckNodePort": 30_101}));
    rig.post(&trial, &free).await.expect(201);
    rig.post(SERVICES, &free).await.expect(201);
}
