//! What autoscalers remember survives a restart.

use crate::autoscaling::{autoscale, autoscaler, autoscalers, measured, replicas, sizes};
use crate::faults::{Fault, Faults};
use crate::rig::{Rig, condition};
use plimsoll_controllers::horizontal::{MemoryPlace, Options};
use serde_json::json;
use std::time::Duration;

fn remembering() -> Options {
    Options {
        memory: Some(MemoryPlace::in_namespace("kube-system")),
        ..Options::default()
    }
}

/// The entries of every ConfigMap.
async fn entries(rig: &Rig) -> Vec<String> {
    let maps = rig.core("kube-system", "configmaps", "ConfigMap");
    let mut entries = Vec::new();
    for map in rig.list(&maps).await {
        let name = map.metadata.name.unwrap_or_default();
        if name.starts_with("plimsoll-horizontal-memory-") {
            let data = map.data["data"].as_object().cloned().unwrap_or_default();
            entries.extend(data.into_iter().map(|(_, text)| text.to_string()));
        }
    }
    entries
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_shorten_the_stabilization_window() {
    let (rig, load) = measured().await;
    load.set(190);
    rig.deploy(1).await;
    let first = autoscale(&rig, &load, rig.client.clone(), remembering());
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&4));
    load.set(20);
    assert_eq!(sizes(&rig, Duration::from_secs(200)).await, [4]);
    first.stop().await;

    let second = autoscale(&rig, &load, rig.client.clone(), remembering());
    // The window ends 300 s after the last proposal of 4, as if nothing had happened.
    assert_eq!(sizes(&rig, Duration::from_secs(85)).await, [4]);
    assert_eq!(sizes(&rig, Duration::from_secs(30)).await, [4, 1]);
    autoscalers(&rig)
        .delete("web", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(entries(&rig).await.len(), 1);
    rig.until("forgotten", async || entries(&rig).await.is_empty())
        .await;
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_renew_the_budget_of_a_policy() {
    let (rig, load) = measured().await;
    load.set(1000);
    rig.deploy(1).await;
    let first = autoscale(&rig, &load, rig.client.clone(), remembering());
    let mut hpa = autoscaler("web");
    hpa["spec"]["behavior"] =
        json!({"scaleUp": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 600}]}});
    rig.create(&autoscalers(&rig), hpa).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&3));
    first.stop().await;
    let second = autoscale(&rig, &load, rig.client.clone(), remembering());
    assert_eq!(sizes(&rig, Duration::from_secs(300)).await, [3]);
    let grown = sizes(&rig, Duration::from_secs(400)).await;
    assert_eq!(grown, [3, 5]);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_before_the_memory_is_read_nor_after_the_stop() {
    let (rig, load) = measured().await;
    load.set(190);
    rig.deploy(1).await;
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    let faults = Faults::none();
    let sick = "{\"kind\":\"Status\",\"message\":\"sick\",\"code\":500}";
    faults.set(move |_, uri| {
        uri.contains("configmaps")
            .then(|| Fault::Answer(500, sick.into()))
    });
    let running = autoscale(
        &rig,
        &load,
        faults.client(rig.client.clone()),
        remembering(),
    );
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await, [1]);
    assert_eq!(running.evaluations(), 0);
    faults.set(|_, _| None);
    rig.until("acting", async || replicas(&rig).await > 1).await;
    running.stop().await;
    let (size, before) = (replicas(&rig).await, faults.asked().len());
    assert!(before > 0);
    load.set(2000);
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await, [size]);
    let asked = faults.asked();
    assert!(
        asked.iter().all(|asked| asked.starts_with("GET")),
        "{asked:?}"
    );
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    assert_eq!(condition(&hpa, "AbleToScale").0, "True");
}

#[tokio::test(start_paused = true)]
async fn after_a_long_downtime_an_old_proposal_is_not_obeyed() {
    let (rig, load) = measured().await;
    load.set(190);
    rig.deploy(1).await;
    let first = autoscale(&rig, &load, rig.client.clone(), remembering());
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&4));
    first.stop().await;
    load.set(20);
    let two = json!({"spec": {"replicas": 2}});
    rig.patch(&rig.deployments(), "web", two).await;
    tokio::time::sleep(Duration::from_secs(1200)).await;
    let second = autoscale(&rig, &load, rig.client.clone(), remembering());
    // As at first sight: not up to the old proposal, and down once the window has passed.
    assert_eq!(sizes(&rig, Duration::from_secs(280)).await, [2]);
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await, [2, 1]);
    second.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_left_to_another_controller_is_seen_for_the_first_time() {
    let (rig, load) = measured().await;
    load.set(190);
    rig.deploy(1).await;
    let options = remembering();
    let running = autoscale(&rig, &load, rig.client.clone(), options.clone());
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&4));
    options.elsewhere.set(true);
    load.set(20);
    tokio::time::sleep(Duration::from_secs(900)).await;
    assert_eq!(running.memory("default", "web"), None);
    assert!(entries(&rig).await.is_empty());
    options.elsewhere.set(false);
    assert_eq!(sizes(&rig, Duration::from_secs(280)).await, [4]);
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await, [4, 1]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_hangs_at_the_end_does_not_cost_the_memory() {
    let (rig, load) = measured().await;
    load.set(40);
    rig.deploy(1).await;
    let faults = Faults::none();
    let client = faults.client(rig.client.clone());
    let options = Options {
        request_timeout: Duration::from_secs(60),
        ..remembering()
    };
    let running = autoscale(&rig, &load, client, options);
    // Statuses hang, so that the passes do, and saving fails once while they are waited for.
    let mut failed = false;
    faults.set(move |method, uri| {
        if method == "GET" || !uri.contains("configmaps") {
            return uri.contains("/status").then_some(Fault::Silence);
        }
        let first = !std::mem::replace(&mut failed, true);
        first.then(|| Fault::Answer(500, "{\"kind\":\"Status\",\"code\":500}".into()))
    });
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    rig.until("remembering", async || {
        running.memory("default", "web").is_some()
    })
    .await;
    running.stop().await;
    assert_eq!(entries(&rig).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn entries_of_either_kind_that_were_deleted_meanwhile_are_swept() {
    let (rig, load) = measured().await;
    let maps = rig.core("kube-system", "configmaps", "ConfigMap");
    let text = |of: &str| format!("{{\"of\":\"{of}\",\"recommended\":[[1,0]]}}");
    // Where the hashes of their uids lead.
    for (map, uid, of) in [
        ("12", "a", "PodAutoscaler default/gone"),
        ("05", "b", "HorizontalPodAutoscaler default/gone"),
    ] {
        let name = format!("plimsoll-horizontal-memory-{map}");
        let map = json!({"metadata": {"name": name}, "data": {uid: text(of)}});
        rig.create(&maps, map).await;
    }
    assert_eq!(entries(&rig).await.len(), 2);
    let running = autoscale(&rig, &load, rig.client.clone(), remembering());
    tokio::time::sleep(Duration::from_secs(60)).await;
    running.stop().await;
    assert!(entries(&rig).await.is_empty());
}
