//! The life of pods on simulated nodes, against the real API server in virtual time.

#![cfg(test)]

mod agent_cluster;
mod agent_life;
mod agent_server;

use agent_cluster::{POD, World, condition, is_ready};
use jiff::Timestamp;
use plimsoll_api::usage::PodName;
use plimsoll_node::runtime::simulated::{PodKey, Steady, UsageModel};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

async fn world() -> World {
    World::start(Arc::new(Steady {
        cpu_milli: 250,
        ..Steady::default()
    }))
    .await
}

#[tokio::test(start_paused = true)]
async fn a_bound_pod_is_ready_within_tens_of_milliseconds() {
    let world = world().await;
    let start = world.clock.now();
    world.create(json!({})).await;
    let pod = world.until("ready", is_ready).await;
    assert!(world.since(start) < 0.1, "{}", world.since(start));
    let status = &pod["status"];
    assert_eq!(status["phase"], "Running");
    assert_eq!(status["podIP"], "10.244.1.2");
    assert_eq!(status["qosClass"], "BestEffort");
    assert_eq!(status["containerStatuses"][0]["imageID"], "simulated:nginx");
    assert_eq!(
        condition(&pod, "PodReadyToStartContainers")["status"],
        "True"
    );
    tokio::time::sleep(Duration::from_millis(100)).await;
    let reasons: Vec<String> = world.events().await.into_iter().map(|(r, _)| r).collect();
    for reason in ["Pulled", "Created", "Started"] {
        assert!(reasons.iter().any(|r| r == reason), "{reasons:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_registers_and_renews_its_lease() {
    let world = world().await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    let node: Value = world.api.get("/api/v1/nodes/n1").await.unwrap();
    assert_eq!(node["status"]["capacity"]["cpu"], "4");
    assert_eq!(node["metadata"]["labels"]["zone"], "a");
    assert_eq!(condition(&node, "Ready")["status"], "True");
    let lease: Value = world
        .api
        .get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1")
        .await
        .unwrap();
    let renewed: Timestamp = lease["spec"]["renewTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(world.since(renewed) <= 10.5, "{}", world.since(renewed));
}

#[tokio::test(start_paused = true)]
async fn a_crashing_container_is_restarted_at_once_and_then_after_ten_and_twenty_seconds() {
    let world = world().await;
    world.create(json!({})).await;
    let mut waits = Vec::new();
    for restarts in 1..=3 {
        world.until("ready", is_ready).await;
        let crashed = world.clock.now();
        world.crash(1);
        world
            .until("restarted", |p| {
                p["status"]["containerStatuses"][0]["restartCount"] == restarts && is_ready(p)
            })
            .await;
        waits.push(world.whole_seconds_since(crashed));
    }
    assert_eq!(waits, [0, 10, 20]);
    world.crash(1);
    let pod = world
        .until("held back", |p| {
            p["status"]["containerStatuses"][0]["state"]
                .get("waiting")
                .is_some()
        })
        .await;
    let shown = &pod["status"]["containerStatuses"][0];
    assert_eq!(shown["state"]["waiting"]["reason"], "CrashLoopBackOff");
    let message = shown["state"]["waiting"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("back-off 40s restarting failed container=app pod=web_default("),
        "{message}"
    );
    assert_eq!(shown["lastState"]["terminated"]["exitCode"], 1);
    assert_eq!(pod["status"]["phase"], "Running");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(
        world.events().await.contains(&("BackOff".to_owned(), 3)),
        "{:?}",
        world.events().await
    );
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_runs_to_its_end_succeeds_or_fails() {
    for (code, phase) in [(0, "Succeeded"), (3, "Failed")] {
        let world = world().await;
        world.create(json!({"restartPolicy": "Never"})).await;
        world.until("ready", is_ready).await;
        world.crash(code);
        let pod = world.until("over", |p| p["status"]["phase"] == phase).await;
        let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(ended["exitCode"], code);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_ends_and_is_removed_and_its_address_is_not_reused_at_once() {
    let world = world().await;
    world.create(json!({})).await;
    world.until("ready", is_ready).await;
    let start = world.clock.now();
    world.api.delete(POD, &json!({})).await.unwrap();
    world.until("gone", Value::is_null).await;
    assert!(world.since(start) < 1.0, "{}", world.since(start));
    assert!(world.runtime.container_ids().is_empty());
    world.create(json!({})).await;
    let pod = world.until("ready again", is_ready).await;
    assert_eq!(pod["status"]["podIP"], "10.244.1.3");
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_is_backed_off() {
    let world = world().await;
    world
        .create(json!({"containers": [{"name": "app", "image": "nginx:404"}]}))
        .await;
    let reason =
        |p: &Value| p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    let pod = world
        .until("refused", |p| reason(p) == "ErrImagePull")
        .await;
    assert_eq!(pod["status"]["phase"], "Pending");
    let pod = world
        .until("backed off", |p| reason(p) == "ImagePullBackOff")
        .await;
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    let message = waiting["message"].as_str().unwrap();
    assert!(
        message.starts_with("Back-off pulling image \"nginx:404\": ErrImagePull: "),
        "{message}"
    );
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(condition(&pod, "Ready")["reason"], "ContainersNotReady");
    tokio::time::sleep(Duration::from_secs(35)).await;
    assert!(
        world.events().await.contains(&("BackOff".to_owned(), 3)),
        "{:?}",
        world.events().await
    );
}

#[tokio::test(start_paused = true)]
async fn a_missing_image_that_must_not_be_pulled_says_so() {
    let world = world().await;
    let app = json!({"name": "app", "image": "nginx:404", "imagePullPolicy": "Never"});
    world.create(json!({"containers": [app]})).await;
    let pod = world
        .until("refused", |p| {
            p["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ErrImageNeverPull"
        })
        .await;
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(
        waiting["message"],
        "Container image \"nginx:404\" is not present with pull policy of Never"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_runtime_breaks_down_is_not_ready_and_says_why() {
    let world = world().await;
    world.create(json!({})).await;
    world.until("ready", is_ready).await;
    world.runtime.break_down("it burned");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let node: Value = world.api.get("/api/v1/nodes/n1").await.unwrap();
    let ready = condition(&node, "Ready");
    assert_eq!(ready["status"], "False");
    assert_eq!(ready["reason"], "KubeletNotReady");
    assert_eq!(ready["message"], "container runtime is down: it burned");
}

#[tokio::test(start_paused = true)]
async fn usage_is_sampled_over_the_true_window_and_ends_with_the_pod() {
    let world = world().await;
    world.create(json!({})).await;
    world.until("ready", is_ready).await;
    let name: PodName = ("default".into(), "web".into());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(world.usage.pod(&name).is_none());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let usage = world.usage.pod(&name).unwrap();
    let milli = (usage.containers[0].cpu_nano + 500_000) / 1_000_000;
    assert_eq!(milli, 250, "{usage:?}");
    assert!(world.usage.node("n1").is_some());
    world.api.delete(POD, &json!({})).await.unwrap();
    world.until("gone", Value::is_null).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(world.usage.pod(&name).is_none());
}

#[derive(Debug, Default)]
struct Moody(AtomicBool);

impl UsageModel for Moody {
    fn usage(&self, _pod: PodKey<'_>, _container: &str, _now: Timestamp) -> (u64, u64) {
        (1, 1)
    }

    fn healthy(&self, _pod: PodKey<'_>, _container: &str, _now: Timestamp) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

fn probed(kind: &str) -> Value {
    let probe = json!({"tcpSocket": {"port": 80}, "periodSeconds": 5, "failureThreshold": 2});
    json!({"containers": [{"name": "app", "image": "nginx", kind: probe}],
        "terminationGracePeriodSeconds": 1})
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_its_probe() {
    let model = Arc::new(Moody::default());
    let world = World::start(Arc::<Moody>::clone(&model)).await;
    world.create(probed("readinessProbe")).await;
    world
        .until("running", |p| p["status"]["phase"] == "Running")
        .await;
    tokio::time::sleep(Duration::from_secs(12)).await;
    assert!(!is_ready(&world.api.get(POD).await.unwrap()));
    model.0.store(true, Ordering::Relaxed);
    let start = world.clock.now();
    world.until("ready", is_ready).await;
    assert!(world.since(start) <= 5.1, "{}", world.since(start));
    model.0.store(false, Ordering::Relaxed);
    world.until("unready", |p| !is_ready(p)).await;
    let waited = world.since(start);
    assert!((5.0..=15.2).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_failing_liveness_probe_restarts_the_container() {
    let world = World::start(Arc::new(Moody::default())).await;
    let start = world.clock.now();
    world.create(probed("livenessProbe")).await;
    world
        .until("restarted", |p| {
            p["status"]["containerStatuses"][0]["restartCount"] == 1
        })
        .await;
    let waited = world.since(start);
    assert!((5.0..6.5).contains(&waited), "{waited}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let events = world.events().await;
    assert!(
        events.iter().any(|(r, n)| r == "Unhealthy" && *n >= 2),
        "{events:?}"
    );
    assert!(events.iter().any(|(r, _)| r == "Killing"), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_takes_its_pods_and_its_object_along() {
    let world = world().await;
    world.create(json!({})).await;
    world.until("ready", is_ready).await;
    world.agents.remove_node("n1").await.unwrap();
    assert!(world.runtime.container_ids().is_empty());
    let error = world
        .api
        .get::<Value>("/api/v1/nodes/n1")
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(404));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_pods_start_together_with_their_own_addresses() {
    let world = world().await;
    for number in 0..100 {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{number}")},
            "spec": {"nodeName": "n1", "containers": [{"name": "app", "image": "nginx"}]}});
        world
            .api
            .create("/api/v1/namespaces/default/pods", &pod)
            .await
            .unwrap();
    }
    let start = world.clock.now();
    loop {
        let list: Value = world
            .api
            .get("/api/v1/namespaces/default/pods")
            .await
            .unwrap();
        let pods = list["items"].as_array().unwrap();
        if pods.iter().all(is_ready) {
            let addresses: std::collections::BTreeSet<&str> = pods
                .iter()
                .filter_map(|p| p["status"]["podIP"].as_str())
                .collect();
            assert_eq!(addresses.len(), 100);
            break;
        }
        assert!(world.since(start) < 1.0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_an_earlier_run_is_restarted_with_its_count_and_one_address() {
    let world = world().await;
    world.create(json!({"nodeName": "later"})).await;
    let status = json!({"status": {"phase": "Running", "podIP": "10.9.9.9", "podIPs": [{"ip": "10.9.9.9"}],
        "containerStatuses": [{"name": "app", "image": "nginx", "imageID": "x", "ready": true,
            "restartCount": 2, "containerID": "plimsoll://old"}]}});
    world
        .api
        .strategic(&format!("{POD}/status"), &status)
        .await
        .unwrap();
    // The agents must have seen that status before the node comes up.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let runtime = Arc::<plimsoll_node::runtime::simulated::Simulated>::clone(&world.runtime);
    world
        .agents
        .add_node(agent_cluster::node("later", "10.244.9.0/24", runtime))
        .await
        .unwrap();
    let pod = world
        .until("restarted", |p| {
            p["status"]["containerStatuses"][0]["restartCount"] == 3
        })
        .await;
    assert_eq!(pod["status"]["podIPs"], json!([{"ip": "10.244.9.2"}]));
}
