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
