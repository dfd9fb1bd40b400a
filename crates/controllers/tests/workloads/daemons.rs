//! DaemonSets: where pods go, updates, failures, history.

use crate::rig::Rig;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

fn sets(rig: &Rig) -> Api<DynamicObject> {
    rig.api("default", ("apps", "v1"), "daemonsets", "DaemonSet")
}

fn agent(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "template": {
            "metadata": {"labels": {"app": "agent"}},
            "spec": {"containers": [{"name": "c", "image": image}]}}},
    })
}

async fn node(rig: &Rig, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
    let nodes = rig.cluster("nodes", "Node");
    rig.create(&nodes, body).await;
    let ready = json!({"spec": {"taints": null}, "status": {"conditions": [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": "1970-01-01T00:00:00Z"}]}});
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(&ready))
        .await
        .unwrap();
    rig.until("the node is free of taints", async || {
        let node = nodes.get(name).await.unwrap();
        let taints = node.data["spec"]["taints"].as_array();
        taints.is_none_or(Vec::is_empty)
    })
    .await;
}

/// Binds pinned pods, as the scheduler does.
async fn bind(rig: &Rig) {
    for pod in rig.list(&rig.pods()).await {
        let affinity = &pod.data["spec"]["affinity"]["nodeAffinity"];
        let term = &affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
        let target = term[0]["matchFields"][0]["values"][0].as_str();
        if let (Some(node), None) = (target, pod.data["spec"]["nodeName"].as_str()) {
            let name = pod.metadata.name.clone().unwrap();
            let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                "target": {"kind": "Node", "name": node}});
            let body = serde_json::to_vec(&binding).unwrap();
            let request = kube::core::Request::new("/api/v1/namespaces/default/pods");
            let request =
                request.create_subresource("binding", &name, &PostParams::default(), body);
            let bound: Value = rig.client.request(request.unwrap()).await.unwrap();
            assert_eq!(bound["status"], "Success");
        }
    }
}

async fn tend(rig: &Rig) {
    bind(rig).await;
    rig.tend_pods().await;
}

/// Image of the pod on each node that does not end.
async fn images(rig: &Rig) -> BTreeMap<String, Vec<String>> {
    let mut images: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pod in rig.list(&rig.pods()).await {
        if pod.metadata.deletion_timestamp.is_none() {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let image = text(&pod.data["spec"]["containers"][0]["image"]);
            let node = text(&pod.data["spec"]["nodeName"]);
            images.entry(node).or_default().push(image);
        }
    }
    images
}

/// Desired, current, ready, updated, available and misscheduled nodes.
async fn numbers(rig: &Rig) -> [i64; 6] {
    let set = sets(rig).get("agent").await.unwrap();
    let names = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberMisscheduled",
    ];
    if set.data["status"]["observedGeneration"].as_i64() != set.metadata.generation {
        return [-1; 6];
    }
    names.map(|name| set.data["status"][name].as_i64().unwrap_or_default())
}

async fn until_numbers(rig: &Rig, want: [i64; 6]) {
    let mut seen = [0; 6];
    for _ in 0..600 {
        tend(rig).await;
        seen = numbers(rig).await;
        if seen == want {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{seen:?} and not {want:?}");
}

async fn start(nodes: &[&str]) -> Rig {
    let rig = Rig::start().await;
    for name in nodes {
        node(&rig, name).await;
    }
    rig.create(&sets(&rig), agent("a")).await;
    let count = i64::try_from(nodes.len()).unwrap();
    until_numbers(&rig, [count, count, count, count, count, 0]).await;
    rig
}

#[tokio::test(start_paused = true)]
async fn every_node_gets_one_pod() {
    let rig = start(&["n1", "n2"]).await;
    node(&rig, "n3").await;
    until_numbers(&rig, [3, 3, 3, 3, 3, 0]).await;
    let pods = rig
        .pods()
        .list(&ListParams::default().labels("app=agent"))
        .await
        .unwrap();
    assert_eq!(pods.items.len(), 3);
    let pod = &pods.items[0];
    assert!(
        pod.metadata
            .labels
            .as_ref()
            .unwrap()
            .contains_key("controller-revision-hash")
    );
    assert_eq!(
        pod.metadata.labels.as_ref().unwrap()["pod-template-generation"],
        "1"
    );
    // A cordoned node keeps its pod and would get one.
    let nodes = rig.cluster("nodes", "Node");
    rig.patch(&nodes, "n1", json!({"spec": {"unschedulable": true}}))
        .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    until_numbers(&rig, [3, 3, 3, 3, 3, 0]).await;
    // A taint that is not tolerated keeps new ones away, and one that drives out drives out.
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "team", "effect": effect}]}});
    rig.patch(&nodes, "n2", taint("NoSchedule")).await;
    until_numbers(&rig, [2, 2, 2, 2, 2, 1]).await;
    rig.patch(&nodes, "n2", taint("NoExecute")).await;
    until_numbers(&rig, [2, 2, 2, 2, 2, 0]).await;
    assert_eq!(images(&rig).await.len(), 2);
    rig.patch(&nodes, "n2", json!({"spec": {"taints": null}}))
        .await;
    until_numbers(&rig, [3, 3, 3, 3, 3, 0]).await;
    // So does a selector that no longer fits.
    let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {"disk": "fast"}}}}});
    rig.patch(&sets(&rig), "agent", patch).await;
    until_numbers(&rig, [0, 0, 0, 0, 0, 0]).await;
    rig.patch(
        &nodes,
        "n3",
        json!({"metadata": {"labels": {"disk": "fast"}}}),
    )
    .await;
    until_numbers(&rig, [1, 1, 1, 1, 1, 0]).await;
    assert_eq!(images(&rig).await.keys().collect::<Vec<_>>(), ["n3"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_node_by_node_and_back() {
    let rig = start(&["n1", "n2", "n3"]).await;
    let change = async |image: &str| {
        let containers = json!([{"name": "c", "image": image}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
        rig.patch(&sets(&rig), "agent", patch).await;
    };
    change("b").await;
    let mut least = 3;
    for _ in 0..600 {
        tend(&rig).await;
        let ready = rig.list(&rig.pods()).await;
        let serves = |pod: &&DynamicObject| {
            pod.metadata.deletion_timestamp.is_none()
                && crate::rig::condition(pod, "Ready").0 == "True"
        };
        least = least.min(ready.iter().filter(serves).count());
        if numbers(&rig).await == [3, 3, 3, 3, 3, 0] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(least, 2);
    let now = images(&rig).await;
    assert!(now.values().all(|images| images == &["b"]), "{now:?}");
    let revisions = rig.api(
        "default",
        ("apps", "v1"),
        "controllerrevisions",
        "ControllerRevision",
    );
    let history = async || {
        let mut numbers: Vec<_> = rig.list(&revisions).await;
        numbers.sort_by_key(|revision| revision.data["revision"].as_i64());
        let number = |revision: &DynamicObject| revision.data["revision"].as_i64().unwrap();
        numbers.iter().map(number).collect::<Vec<_>>()
    };
    assert_eq!(history().await, [1, 2]);
    // Going back makes the old revision the newest.
    change("a").await;
    rig.until("rolled back", async || {
        tend(&rig).await;
        let now = images(&rig).await;
        now.len() == 3 && now.values().all(|images| images == &["a"])
    })
    .await;
    until_numbers(&rig, [3, 3, 3, 3, 3, 0]).await;
    assert_eq!(history().await, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_surge_starts_the_new_pod_first() {
    let rig = start(&["n1", "n2"]).await;
    let patch = json!({"spec": {
        "updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"spec": {"nodeSelector": {"kubernetes.io/os": null}, "hostname": "b"}},
    }});
    rig.patch(&sets(&rig), "agent", patch).await;
    let mut most = 0;
    for _ in 0..400 {
        let pods = rig.list(&rig.pods()).await;
        let serves = |pod: &&DynamicObject| {
            pod.metadata.deletion_timestamp.is_none()
                && crate::rig::condition(pod, "Ready").0 == "True"
        };
        assert!(pods.iter().filter(serves).count() >= 2);
        let stays = |pod: &&DynamicObject| pod.metadata.deletion_timestamp.is_none();
        most = most.max(pods.iter().filter(stays).count());
        tend(&rig).await;
        if numbers(&rig).await == [2, 2, 2, 2, 2, 0] && rig.count(&rig.pods()).await == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(most, 3);
    let pods = rig.list(&rig.pods()).await;
    assert!(pods.iter().all(|pod| pod.data["spec"]["hostname"] == "b"));
}

#[tokio::test(start_paused = true)]
async fn on_delete_waits_for_somebody() {
    let rig = start(&["n1"]).await;
    let patch = json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null},
        "template": {"spec": {"hostname": "b"}}}});
    rig.patch(&sets(&rig), "agent", patch).await;
    until_numbers(&rig, [1, 1, 1, 0, 1, 0]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    until_numbers(&rig, [1, 1, 1, 0, 1, 0]).await;
    let name = rig.list(&rig.pods()).await[0]
        .metadata
        .name
        .clone()
        .unwrap();
    rig.pods()
        .delete(&name, &kube::api::DeleteParams::default())
        .await
        .unwrap();
    until_numbers(&rig, [1, 1, 1, 1, 1, 0]).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_fails_is_replaced_with_growing_pauses() {
    let rig = start(&["n1"]).await;
    let mut pauses = Vec::new();
    let mut last = String::new();
    for _ in 0..4 {
        let begin = tokio::time::Instant::now();
        let mut name = String::new();
        for _ in 0..400 {
            bind(&rig).await;
            let pods = rig.list(&rig.pods()).await;
            let next = pods
                .iter()
                .find(|pod| pod.metadata.name.as_ref() != Some(&last));
            if let Some(next) = next.filter(|pod| pod.data["spec"]["nodeName"].is_string()) {
                name = next.metadata.name.clone().unwrap();
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pauses.push(begin.elapsed().as_secs_f64().round());
        let failed = json!({"status": {"phase": "Failed", "reason": "Evicted"}});
        rig.pods()
            .patch_status(&name, &PatchParams::default(), &Patch::Merge(&failed))
            .await
            .unwrap();
        last = name;
    }
    assert_eq!(pauses, [0.0, 0.0, 1.0, 2.0]);
    tokio::time::sleep(Duration::from_millis(10)).await;
    let told = rig.events("FailedDaemonPod").await;
    assert!(
        told[0].ends_with("on node n1, will try to kill it"),
        "{told:?}"
    );
}
