//! What nodes do with pods that do not fit, that change their size, or that end in special ways;
//! against the real API server in virtual time.

use crate::agent_cluster::{POD, World, condition, is_ready, node};
use jiff::Timestamp;
use plimsoll_node::runtime::simulated::{PodKey, Simulated, Steady, UsageModel};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Containers use 100 MiB each.
async fn world() -> World {
    World::start(Arc::new(Steady {
        cpu_milli: 250,
        memory_bytes: 100 << 20,
        ..Steady::default()
    }))
    .await
}

fn sized(name: &str, cpu: &str, memory: &str) -> Value {
    let amounts = json!({"cpu": cpu, "memory": memory});
    json!({"name": name, "image": "nginx",
        "resources": {"requests": amounts, "limits": amounts}})
}

/// A pod with another name, bound to the node.
async fn beside(world: &World, name: &str, container: Value) {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": "n1", "containers": [container]}});
    let path = "/api/v1/namespaces/default/pods";
    world.api.create(path, &pod).await.unwrap();
}

async fn resize(world: &World, cpu: &str, memory: &str) {
    let container = sized("app", cpu, memory);
    let change = json!({"spec": {"containers": [container]}});
    world
        .api
        .strategic(&format!("{POD}/resize"), &change)
        .await
        .unwrap();
}

/// Waits until an event with this reason is there, and returns its message.
async fn event(world: &World, reason: &str) -> String {
    for _ in 0..1000 {
        let path = "/api/v1/namespaces/default/events";
        let list: Value = world.api.get(path).await.unwrap();
        let items = list["items"].as_array().unwrap();
        if let Some(event) = items.iter().find(|e| e["reason"] == reason) {
            return event["message"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no event {reason}: {:?}", world.events().await);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_fit_is_rejected_and_its_place_is_given_on() {
    let world = world().await;
    beside(&world, "first", sized("app", "3", "1Gi")).await;
    let first = "/api/v1/namespaces/default/pods/first";
    for _ in 0..1000 {
        let pod: Value = world.api.get(first).await.unwrap();
        if is_ready(&pod) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let container = sized("app", "2", "1Gi");
    world.create(json!({"containers": [container]})).await;
    let pod = world
        .until("rejected", |p| p["status"]["phase"] == "Failed")
        .await;
    let status = &pod["status"];
    assert_eq!(status["reason"], "OutOfcpu");
    assert_eq!(
        status["message"],
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 2000, used: 3000, \
         capacity: 4000"
    );
    assert!(status["containerStatuses"].is_null(), "{status}");
    assert!(
        event(&world, "OutOfcpu")
            .await
            .starts_with("Node didn't have enough")
    );
    for path in [first, POD] {
        world.api.delete(path, &json!({})).await.unwrap();
    }
    world.until("gone", Value::is_null).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    world
        .create(json!({"containers": [sized("app", "2", "1Gi")]}))
        .await;
    world.until("ready", is_ready).await;
}

#[tokio::test(start_paused = true)]
async fn a_resize_is_granted_actuated_and_told_of_without_a_restart() {
    let world = world().await;
    world
        .create(json!({"containers": [sized("app", "1", "1Gi")]}))
        .await;
    let before = world.until("ready", is_ready).await;
    resize(&world, "2", "2Gi").await;
    let pod = world
        .until("resized", |p| {
            p["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == "2"
                && p["status"]["observedGeneration"] == p["metadata"]["generation"]
        })
        .await;
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(
        status["allocatedResources"],
        json!({"cpu": "2", "memory": "2Gi"})
    );
    assert_eq!(status["restartCount"], 0);
    assert_ne!(
        pod["metadata"]["generation"],
        before["metadata"]["generation"]
    );
    assert_eq!(*condition(&pod, "PodResizeInProgress"), Value::Null);
    let message = event(&world, "ResizeCompleted").await;
    assert_eq!(
        message,
        "Pod resize completed: {\"containers\":[{\"name\":\"app\",\"resources\":{\"limits\":\
         {\"cpu\":\"2\",\"memory\":\"2Gi\"},\"requests\":{\"cpu\":\"2\",\"memory\":\"2Gi\"}}}],\
         \"generation\":2}"
    );
    assert!(
        event(&world, "ResizeStarted")
            .await
            .starts_with("Pod resize started: {")
    );
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_does_not_fit_now_waits_for_another_pod_to_go() {
    let world = world().await;
    beside(&world, "other", sized("app", "2", "1Gi")).await;
    world
        .create(json!({"containers": [sized("app", "1", "1Gi")]}))
        .await;
    world.until("ready", is_ready).await;
    resize(&world, "3", "1Gi").await;
    let pending = |p: &Value| condition(p, "PodResizePending")["reason"].clone();
    let pod = world.until("deferred", |p| pending(p) == "Deferred").await;
    let shown = condition(&pod, "PodResizePending");
    assert_eq!(shown["status"], "True");
    assert_eq!(
        shown["message"],
        "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000"
    );
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["allocatedResources"]["cpu"], "1");
    assert!(
        event(&world, "ResizeDeferred")
            .await
            .starts_with("Pod resize Deferred: {")
    );
    let other = "/api/v1/namespaces/default/pods/other";
    world.api.delete(other, &json!({})).await.unwrap();
    world
        .until("granted", |p| {
            p["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == "3"
                && pending(p).is_null()
        })
        .await;
    resize(&world, "9", "1Gi").await;
    let pod = world
        .until("infeasible", |p| pending(p) == "Infeasible")
        .await;
    assert_eq!(
        condition(&pod, "PodResizePending")["message"],
        "Node didn't have enough capacity: cpu, requested: 9000, capacity: 4000"
    );
    resize(&world, "3", "1Gi").await;
    world.until("taken back", |p| pending(p).is_null()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_is_not_lowered_below_its_use() {
    let world = world().await;
    world
        .create(json!({"containers": [sized("app", "1", "1Gi")]}))
        .await;
    world.until("ready", is_ready).await;
    resize(&world, "1", "50Mi").await;
    let progress = |p: &Value| condition(p, "PodResizeInProgress")["reason"].clone();
    let pod = world.until("stuck", |p| progress(p) == "Error").await;
    assert_eq!(
        condition(&pod, "PodResizeInProgress")["message"],
        "attempting to set container \"app\" memory limit (52428800) below current usage \
         (104857600)"
    );
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["allocatedResources"]["memory"], "50Mi");
    assert_eq!(status["resources"]["limits"]["memory"], "1Gi");
    resize(&world, "1", "200Mi").await;
    world
        .until("resized", |p| {
            p["status"]["containerStatuses"][0]["resources"]["limits"]["memory"] == "200Mi"
                && progress(p).is_null()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_whose_policy_says_so_is_changed_by_a_restart() {
    let world = world().await;
    let mut container = sized("app", "1", "1Gi");
    container["resizePolicy"] =
        json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    world.create(json!({"containers": [container]})).await;
    world.until("ready", is_ready).await;
    resize(&world, "1", "2Gi").await;
    let pod = world
        .until("restarted", |p| {
            p["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(p)
        })
        .await;
    let status = &pod["status"]["containerStatuses"][0];
    assert_eq!(status["resources"]["limits"]["memory"], "2Gi");
    assert_eq!(
        event(&world, "Killing").await,
        "Container app resize requires restart"
    );
    event(&world, "ResizeCompleted").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_past_its_deadline_fails_only_when_its_containers_have_ended() {
    let world = world().await;
    world.create(json!({"activeDeadlineSeconds": 5})).await;
    world.until("ready", is_ready).await;
    let pod = world
        .until("failed", |p| p["status"]["phase"] == "Failed")
        .await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    assert_eq!(
        pod["status"]["message"],
        "Pod was active on the node longer than the specified deadline"
    );
    assert!(pod["status"]["containerStatuses"][0]["state"]["terminated"].is_object());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_pod_whose_container_takes_for_ever_to_start() {
    let world = World::start(Arc::new(Steady {
        start_delay: Duration::from_secs(3600),
        ..Steady::default()
    }))
    .await;
    let start = world.clock.now();
    world.create(json!({"activeDeadlineSeconds": 5})).await;
    let pod = world
        .until("failed", |p| p["status"]["phase"] == "Failed")
        .await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    assert!(world.since(start) < 10.0);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_program_does_not_fail_a_pod_with_a_pending_resize() {
    let world = world().await;
    // The status as an earlier run left it: 1 was granted, 9 is asked for.
    world
        .create(json!({"nodeName": "n2", "containers": [sized("app", "9", "1Gi")]}))
        .await;
    let granted = json!({"cpu": "1", "memory": "1Gi"});
    let seen = json!({"name": "app", "image": "nginx", "imageID": "i", "ready": true,
        "restartCount": 0, "allocatedResources": granted,
        "resources": {"limits": granted, "requests": granted}});
    let status = json!({"status": {"phase": "Running", "containerStatuses": [seen]}});
    let path = format!("{POD}/status");
    world.api.merge(&path, &status).await.unwrap();
    // Until the agents have seen that.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let runtime = Arc::<Simulated>::clone(&world.runtime);
    let n2 = node("n2", "10.244.2.0/24", runtime);
    world.agents.add_node(n2).await.unwrap();
    let pod = world.until("ready", is_ready).await;
    let app = &pod["status"]["containerStatuses"][0];
    assert_eq!(app["resources"]["limits"]["cpu"], "1");
    assert_eq!(app["allocatedResources"]["cpu"], "1");
    let pending = |p: &Value| condition(p, "PodResizePending").clone();
    assert_eq!(pending(&pod)["reason"], "Infeasible");
    world
        .until("judged anew", |p| {
            pending(p)["message"]
                == "Node didn't have enough capacity: cpu, requested: 9000, capacity: 4000"
        })
        .await;
    resize(&world, "2", "1Gi").await;
    world
        .until("granted", |p| {
            p["status"]["containerStatuses"][0]["resources"]["limits"]["cpu"] == "2"
                && pending(p).is_null()
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_rule_for_an_exit_code_restarts_a_container_that_never_restarts() {
    let world = world().await;
    let container = json!({"name": "app", "image": "nginx", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart",
            "exitCodes": {"operator": "In", "values": [42]}}]});
    let spec = json!({"restartPolicy": "Never", "containers": [container]});
    world.create(spec).await;
    world.until("ready", is_ready).await;
    world.crash(42);
    world
        .until("restarted", |p| {
            p["status"]["containerStatuses"][0]["restartCount"] == 1 && is_ready(p)
        })
        .await;
    world.crash(1);
    world
        .until("failed", |p| p["status"]["phase"] == "Failed")
        .await;
}

#[tokio::test(start_paused = true)]
async fn one_container_can_make_all_of_them_begin_anew() {
    let world = world().await;
    let rule = json!([{"action": "RestartAllContainers",
        "exitCodes": {"operator": "In", "values": [7]}}]);
    let containers = json!([
        {"name": "other", "image": "nginx"},
        {"name": "app", "image": "nginx", "restartPolicy": "Never", "restartPolicyRules": rule},
    ]);
    let spec = json!({"restartPolicy": "Never", "containers": containers});
    world.create(spec).await;
    world.until("ready", is_ready).await;
    // The last one that was started is the last one in the spec.
    world.crash(7);
    let pod = world
        .until("restarted", |p| {
            let all = p["status"]["containerStatuses"].as_array().cloned();
            let all = all.unwrap_or_default();
            all.len() == 2 && all.iter().all(|c| c["restartCount"] == 1) && is_ready(p)
        })
        .await;
    let last = &pod["status"]["containerStatuses"][1]["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 7);
}

/// Uses whatever the pod's name says, in MiB, where it is a number.
#[derive(Debug)]
struct ByName;

impl UsageModel for ByName {
    fn usage(&self, pod: PodKey<'_>, _container: &str, _now: Timestamp) -> (u64, u64) {
        let mebibytes = pod.name.trim_start_matches('m').parse::<u64>();
        (1, mebibytes.unwrap_or(1) << 20)
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_short_of_memory_evicts_the_pod_beyond_its_request_and_says_so() {
    let world = World::start(Arc::new(ByName)).await;
    world.create(json!({})).await;
    world.until("ready", is_ready).await;
    // The node has 8 GiB. The larger pod keeps its promise, the smaller one does not.
    beside(&world, "m5000", sized("app", "1", "5Gi")).await;
    beside(&world, "m3150", json!({"name": "app", "image": "nginx"})).await;
    let path = "/api/v1/namespaces/default/pods/m3150";
    let mut pod = Value::Null;
    for _ in 0..1000 {
        pod = world.api.get(path).await.unwrap();
        if pod["status"]["phase"] == "Failed" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = &pod["status"];
    assert_eq!(status["reason"], "Evicted", "{status}");
    assert_eq!(
        status["message"],
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 41Mi. \
         Container app was using 3150Mi, request is 0, has larger consumption of memory. "
    );
    let target = condition(&pod, "DisruptionTarget");
    assert_eq!(target["status"], "True");
    assert_eq!(target["reason"], "TerminationByKubelet");
    let node: Value = world.api.get("/api/v1/nodes/n1").await.unwrap();
    let pressure = condition(&node, "MemoryPressure");
    assert_eq!(pressure["status"], "True");
    assert_eq!(pressure["reason"], "KubeletHasInsufficientMemory");
    // Nobody without a promise is taken on meanwhile.
    beside(&world, "late", json!({"name": "app", "image": "nginx"})).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let late: Value = world
        .api
        .get("/api/v1/namespaces/default/pods/late")
        .await
        .unwrap();
    assert_eq!(
        late["status"]["message"],
        "Pod was rejected: The node had condition: [MemoryPressure]. "
    );
    // The others stay, and the pressure is over five minutes later.
    tokio::time::sleep(Duration::from_secs(310)).await;
    assert!(is_ready(&world.api.get(POD).await.unwrap()));
    let node: Value = world.api.get("/api/v1/nodes/n1").await.unwrap();
    assert_eq!(condition(&node, "MemoryPressure")["status"], "False");
}
