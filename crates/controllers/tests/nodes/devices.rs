//! Nodes for pods that claim devices.

use crate::autoscaler::start;
use crate::site::Site;
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const GROUP: (&str, &str) = ("resource.k8s.io", "v1");
const DRIVER: &str = "gpu.example.com";
const MINUTE: Duration = Duration::from_secs(60);

/// Publishes four devices of each node, half a minute after it came. Of the first nodes, all but one
/// are `without` them.
async fn drive(nodes: Api<DynamicObject>, slices: Api<DynamicObject>, without: usize) {
    let mut known = BTreeSet::new();
    loop {
        let found = nodes.list(&ListParams::default()).await.unwrap();
        for node in found
            .items
            .into_iter()
            .filter_map(|node| node.metadata.name)
        {
            if !known.insert(node.clone()) || (2..=without + 1).contains(&known.len()) {
                continue;
            }
            let slices = slices.clone();
            drop(tokio::spawn(async move {
                tokio::time::sleep(MINUTE / 2).await;
                let object = serde_json::from_value(slice(&node)).unwrap();
                slices
                    .create(&PostParams::default(), &object)
                    .await
                    .unwrap();
            }));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn slice(node: &str) -> Value {
    let devices: Vec<Value> = (0..4)
        .map(|at| json!({"name": format!("gpu-{at}")}))
        .collect();
    json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceSlice",
        "metadata": {"name": format!("{node}-gpus")},
        "spec": {"driver": DRIVER, "nodeName": node, "devices": devices,
            "pool": {"name": node, "generation": 1, "resourceSliceCount": 1}},
    })
}

/// A site whose machines have devices, with a Deployment `web` of pods that claim `each` of them.
async fn site(min: usize, replicas: usize, each: usize) -> Site {
    site_without(0, min, replicas, each).await
}

/// The same where so many of the first nodes have none.
async fn site_without(without: usize, min: usize, replicas: usize, each: usize) -> Site {
    let mut site = Site::start().await;
    let rig = &site.rig;
    let class = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu"},
        "spec": {"selectors": [{"cel": {"expression": "device.driver == 'gpu.example.com'"}}]},
    });
    let classes = rig.cluster_of(GROUP, "deviceclasses", "DeviceClass");
    rig.create(&classes, class).await;
    let request = json!({"name": "r", "exactly": {"deviceClassName": "gpu", "count": each}});
    let template = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate",
        "metadata": {"name": "gpus", "namespace": "default"},
        "spec": {"spec": {"devices": {"requests": [request]}}},
    });
    let templates = rig.api(
        "default",
        GROUP,
        "resourceclaimtemplates",
        "ResourceClaimTemplate",
    );
    rig.create(&templates, template).await;
    let nodes = rig.cluster("nodes", "Node");
    let slices = rig.cluster_of(GROUP, "resourceslices", "ResourceSlice");
    drop(site.rig.tasks.spawn(drive(nodes, slices, without)));
    site.yard.group("ng", (min, 10), "4").await;
    let web = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "gpus"}],
                "containers": [{"name": "c", "image": "i",
                    "resources": {"requests": {"cpu": "100m"}, "claims": [{"name": "gpus"}]}}]}}},
    });
    site.rig.create(&site.rig.deployments(), web).await;
    site
}

#[tokio::test(start_paused = true)]
async fn devices_decide_how_many_nodes_are_added() {
    let site = site(1, 1, 2).await;
    // A node is an example once it has been ready for a while, with its devices.
    site.until_ready(1).await;
    site.pass(2 * MINUTE).await;
    let _autoscaler = start(&site);
    site.pass(MINUTE).await;
    site.scale(6).await;
    site.until_ready(6).await;
    site.pass(5 * MINUTE).await;
    // Two pods a node; none too many though new nodes come without their devices.
    assert_eq!((site.yard.target("ng"), site.yard.most()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn pods_are_told_which_devices_no_new_node_has() {
    let site = site(1, 1, 2).await;
    site.until_ready(1).await;
    site.pass(2 * MINUTE).await;
    let request = json!({"name": "r", "exactly": {"deviceClassName": "gpu", "count": 5}});
    let claim = json!({
        "apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim",
        "metadata": {"name": "five", "namespace": "default"},
        "spec": {"devices": {"requests": [request]}},
    });
    let claims = site
        .rig
        .api("default", GROUP, "resourceclaims", "ResourceClaim");
    site.rig.create(&claims, claim).await;
    let greedy = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy", "namespace": "default"},
        "spec": {"resourceClaims": [{"name": "five", "resourceClaimName": "five"}],
            "containers": [{"name": "c", "image": "i"}]},
    });
    site.rig.create(&site.rig.pods(), greedy).await;
    let _autoscaler = start(&site);
    let want = "pod didn't trigger scale-up: 1 cannot allocate all claims";
    site.until("it is told", async || {
        site.told("NotTriggerScaleUp").await == [want]
    })
    .await;
    assert_eq!(site.yard.target("ng"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_goes_if_its_pods_get_their_devices_elsewhere() {
    let site = site(1, 3, 2).await;
    site.until_ready(2).await;
    site.pass(2 * MINUTE).await;
    let _autoscaler = start(&site);
    site.until_ready(3).await;
    assert_eq!(site.yard.target("ng"), 2);
    // Two remain: both devices' worth fits on one node.
    site.scale(2).await;
    site.until_nodes(1).await;
    site.until_ready(2).await;
    site.pass(5 * MINUTE).await;
    assert_eq!(site.yard.target("ng"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_node_stays_if_its_pods_find_no_devices_elsewhere() {
    let site = site(1, 3, 2).await;
    site.until_ready(2).await;
    site.pass(2 * MINUTE).await;
    let _autoscaler = start(&site);
    site.until_ready(3).await;
    site.pass(10 * MINUTE).await;
    assert_eq!(site.nodes().await.len(), 2);
    assert_eq!(site.yard.most(), 2);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_never_had_a_driver_are_not_broken() {
    let site = site_without(4, 5, 1, 2).await;
    site.until_ready(1).await;
    site.until_nodes(5).await;
    // Old enough to be expected to have all they will have.
    site.pass(20 * MINUTE).await;
    let _autoscaler = start(&site);
    site.pass(MINUTE).await;
    site.scale(3).await;
    site.until_ready(3).await;
    assert_eq!(site.yard.most(), 6);
}
