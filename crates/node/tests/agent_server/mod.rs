//! What nodes answer over HTTP, and what can be connected to, in virtual time.

use crate::agent_cluster::{POD, World, is_ready};
use plimsoll_api::node::{Destination, NodeBackend};
use plimsoll_node::runtime::simulated::Steady;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn world() -> World {
    let world = World::start(Arc::new(Steady {
        cpu_milli: 250,
        ..Steady::default()
    }))
    .await;
    world.create(json!({})).await;
    world.until("ready", is_ready).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    world
}

/// The status line and the body of a node's answer.
async fn get(world: &World, path: &str) -> (String, String) {
    let to = Destination::Agent { node: "n1".into() };
    let mut stream = world.agents.connect(to).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: n1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[rstest]
#[case::health("/healthz", "ok")]
#[case::own_metrics("/metrics", "kubelet_running_pods 1\n")]
#[case::usage(
    "/metrics/resource",
    "pod_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\"} 2."
)]
#[case::cadvisor(
    "/metrics/cadvisor",
    "container_cpu_usage_seconds_total{container=\"app\""
)]
#[case::settings("/configz", "\"clusterDomain\":\"cluster.local\"")]
#[case::pods("/pods", "\"kind\":\"PodList\"")]
#[case::container_logs("/containerLogs/default/web/app", "simulated container app")]
#[case::logs("/logs/", "<a href=\"default_web_")]
#[tokio::test(start_paused = true)]
async fn a_node_answers(#[case] path: &str, #[case] want: &str) {
    let world = world().await;
    let (status, body) = get(&world, path).await;
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(body.contains(want), "{body} lacks {want}");
}

#[rstest]
#[case::unknown("/nonsense")]
#[case::no_such_pod("/containerLogs/default/nope/app")]
#[case::outside("/logs/../../etc/passwd")]
#[case::outside_a_pod("/logs/default_web/../../x")]
#[tokio::test(start_paused = true)]
async fn a_node_says_what_it_does_not_have(#[case] path: &str) {
    let world = world().await;
    assert_eq!(get(&world, path).await.0, "HTTP/1.1 404 Not Found");
}

#[tokio::test(start_paused = true)]
async fn the_summary_adds_containers_up() {
    let world = world().await;
    let (_, body) = get(&world, "/stats/summary").await;
    let summary: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(summary["node"]["nodeName"], "n1");
    let pod = &summary["pods"][0];
    assert_eq!(pod["podRef"]["name"], "web");
    let (whole, part) = (&pod["cpu"], &pod["containers"][0]["cpu"]);
    assert_eq!(whole["usageCoreNanoSeconds"], part["usageCoreNanoSeconds"]);
    assert_eq!(part["usageNanoCores"], 250_000_000);
}

#[tokio::test(start_paused = true)]
async fn simulated_pods_have_no_ports_and_say_so() {
    let world = world().await;
    let to = |name: &str| Destination::Pod {
        namespace: "default".into(),
        name: name.into(),
        port: 80,
    };
    let refused = world.agents.connect(to("web")).await.err().unwrap();
    let text = refused.to_string();
    assert!(text.contains("simulated pods have no sockets"), "{text}");
    let absent = world.agents.connect(to("nope")).await.err().unwrap();
    assert_eq!(absent.to_string(), "pod default/nope is not running");
    let to = Destination::Agent { node: "n9".into() };
    let absent = world.agents.connect(to).await.err().unwrap();
    assert_eq!(absent.to_string(), "node \"n9\" is not run here");
}

#[tokio::test(start_paused = true)]
async fn containers_added_later_run_beside_the_others() {
    let world = world().await;
    let added = json!({"spec": {"ephemeralContainers": [
        {"name": "dbg", "image": "busybox", "targetContainerName": "app"},
    ]}});
    let path = format!("{POD}/ephemeralcontainers");
    world.api.strategic(&path, &added).await.unwrap();
    let runs = |pod: &Value| {
        let status = &pod["status"]["ephemeralContainerStatuses"][0];
        status["name"] == "dbg" && status["state"]["running"].is_object()
    };
    let pod = world.until("the added container runs", runs).await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(
        pod["status"]["containerStatuses"].as_array().unwrap().len(),
        1
    );
    assert!(is_ready(&pod));
}
