//! Making room for pods of higher priority.

use crate::rig::{Rig, condition};
use crate::scheduling::{add_node, node, node_of, pod, scheduled, start};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use std::time::Duration;

async fn add_class(rig: &Rig, name: &str, value: i32, policy: &str) {
    let classes = rig.cluster_of(
        ("scheduling.k8s.io", "v1"),
        "priorityclasses",
        "PriorityClass",
    );
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": name}, "value": value, "preemptionPolicy": policy});
    rig.create(&classes, class).await;
}

fn of_class(mut pod: Value, class: &str) -> Value {
    pod["spec"]["priorityClassName"] = json!(class);
    pod
}

/// A cluster whose node `n` of one CPU runs `large` (600m) and `small` (300m).
async fn full() -> Rig {
    let rig = start().await;
    add_class(&rig, "urgent", 1000, "PreemptLowerPriority").await;
    add_class(&rig, "medium", 500, "PreemptLowerPriority").await;
    add_class(&rig, "patient", 1000, "Never").await;
    add_node(&rig, node("n", "1")).await;
    for (name, cpu) in [("large", "600m"), ("small", "300m")] {
        rig.create(&rig.pods(), pod(name, cpu)).await;
        rig.until("placed", async || node_of(&rig, name).await.is_some())
            .await;
    }
    rig
}

async fn is_leaving(rig: &Rig, name: &str) -> bool {
    let pod = rig.pods().get(name).await.unwrap();
    pod.metadata.deletion_timestamp.is_some()
}

async fn nominated(rig: &Rig, name: &str) -> Option<String> {
    let pod = rig.pods().get(name).await.unwrap();
    let node = pod.data["status"]["nominatedNodeName"].as_str();
    node.map(str::to_owned)
}

async fn end(rig: &Rig, name: &str) {
    let now = DeleteParams::default().grace_period(0);
    drop(rig.pods().delete(name, &now).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_least_harmful_victim_leaves_gracefully_and_its_room_is_kept() {
    let rig = full().await;
    rig.create(&rig.pods(), of_class(pod("urgent", "600m"), "urgent"))
        .await;
    rig.until("the victim leaves", async || {
        is_leaving(&rig, "large").await
    })
    .await;
    assert!(!is_leaving(&rig, "small").await);
    rig.until("nominated", async || {
        nominated(&rig, "urgent").await.as_deref() == Some("n")
    })
    .await;
    let why = condition(&rig.pods().get("large").await.unwrap(), "DisruptionTarget");
    let message = "default-scheduler: preempting to accommodate a higher priority pod";
    let want = ("True", "PreemptionByScheduler", message);
    assert_eq!((&*why.0, &*why.1, &*why.2), want);
    let urgent = rig.pods().get("urgent").await.unwrap();
    let uid = urgent.metadata.uid.unwrap();
    let told = format!("Preempted by pod {uid} on node n");
    rig.until("told", async || {
        rig.events("Preempted").await == [told.clone()]
    })
    .await;
    assert_eq!(
        rig.events("FailedScheduling").await,
        ["0/1 nodes are available: 1 Insufficient cpu."]
    );

    // The room is not given to somebody less important meanwhile, nor is anybody else removed.
    rig.create(&rig.pods(), pod("other", "100m")).await;
    rig.until("refused", async || {
        scheduled(&rig, "other").await.0 == "False"
    })
    .await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(node_of(&rig, "urgent").await, None);
    assert!(!is_leaving(&rig, "small").await);

    end(&rig, "large").await;
    rig.until("bound", async || node_of(&rig, "urgent").await.is_some())
        .await;
    rig.until("and what is left over", async || {
        node_of(&rig, "other").await.is_some()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_patient_pod_removes_nobody() {
    let rig = full().await;
    rig.create(&rig.pods(), of_class(pod("urgent", "600m"), "patient"))
        .await;
    rig.until("refused", async || {
        scheduled(&rig, "urgent").await.0 == "False"
    })
    .await;
    assert_eq!(
        scheduled(&rig, "urgent").await.2,
        "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not \
         eligible due to preemptionPolicy=Never."
    );
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert!(!is_leaving(&rig, "large").await);
}

#[tokio::test(start_paused = true)]
async fn who_matters_less_loses_the_room_that_was_kept() {
    let rig = full().await;
    rig.create(&rig.pods(), of_class(pod("second", "600m"), "medium"))
        .await;
    rig.until("nominated", async || {
        nominated(&rig, "second").await.is_some()
    })
    .await;
    rig.create(&rig.pods(), of_class(pod("first", "900m"), "urgent"))
        .await;
    rig.until("the room changes hands", async || {
        nominated(&rig, "first").await.is_some() && nominated(&rig, "second").await.is_none()
    })
    .await;
    for name in ["large", "small"] {
        rig.until("leaves", async || is_leaving(&rig, name).await)
            .await;
        end(&rig, name).await;
    }
    rig.until("bound", async || node_of(&rig, "first").await.is_some())
        .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(node_of(&rig, "second").await, None);
}

#[tokio::test(start_paused = true)]
async fn a_protected_pod_is_spared_if_another_will_do() {
    let rig = start().await;
    add_class(&rig, "urgent", 1000, "PreemptLowerPriority").await;
    for name in ["a", "b"] {
        add_node(&rig, node(name, "1")).await;
        let mut pod = pod(&format!("on-{name}"), "800m");
        pod["metadata"]["labels"] = json!({"app": name});
        pod["spec"]["nodeName"] = json!(name);
        rig.create(&rig.pods(), pod).await;
    }
    let budgets = rig.api(
        "default",
        ("policy", "v1"),
        "poddisruptionbudgets",
        "PodDisruptionBudget",
    );
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "a", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    rig.create(&budgets, budget).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.create(&rig.pods(), of_class(pod("urgent", "500m"), "urgent"))
        .await;
    rig.until("nominated", async || {
        nominated(&rig, "urgent").await.is_some()
    })
    .await;
    assert_eq!(nominated(&rig, "urgent").await.as_deref(), Some("b"));
    assert!(!is_leaving(&rig, "on-a").await);
}

#[tokio::test(start_paused = true)]
async fn a_nominated_pod_that_goes_frees_the_room() {
    let rig = full().await;
    rig.create(&rig.pods(), of_class(pod("urgent", "600m"), "urgent"))
        .await;
    rig.until("nominated", async || {
        nominated(&rig, "urgent").await.is_some()
    })
    .await;
    rig.create(&rig.pods(), pod("other", "700m")).await;
    rig.until("refused", async || {
        scheduled(&rig, "other").await.0 == "False"
    })
    .await;
    end(&rig, "large").await;
    rig.until("bound", async || node_of(&rig, "urgent").await.is_some())
        .await;
    end(&rig, "urgent").await;
    rig.until("bound in its place", async || {
        node_of(&rig, "other").await.is_some()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_was_refused_for_another_reason_before_is_tried_when_its_victims_are_gone() {
    let rig = full().await;
    let mut urgent = of_class(pod("urgent", "600m"), "urgent");
    urgent["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    rig.create(&rig.pods(), urgent).await;
    rig.until("refused", async || {
        scheduled(&rig, "urgent").await.0 == "False"
    })
    .await;
    let nodes = rig.cluster("nodes", "Node");
    let label = json!({"metadata": {"labels": {"disk": "ssd"}}});
    rig.patch(&nodes, "n", label).await;
    rig.until("the victim leaves", async || {
        is_leaving(&rig, "large").await
    })
    .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    end(&rig, "large").await;
    let took = rig
        .until("bound", async || node_of(&rig, "urgent").await.is_some())
        .await;
    assert!(took < Duration::from_secs(15), "{took:?}");
}
