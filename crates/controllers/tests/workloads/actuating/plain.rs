//! Removals to which nothing happens.

use super::stage::{Stage, removal, taint, whole};
use plimsoll_controllers::nodes::actuation::{
    EvictionSettings, Phase, Settings, SoftTaints, TaintSettings, priorities,
};
use plimsoll_engine::cluster::RemovalCause;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn an_empty_node_is_marked_and_then_removed() {
    let stage = Stage::of(&["a", "b"]).await;
    stage.start(&[removal("a", &[])], &[]);
    let begun = Instant::now();
    stage.until_marked("a").await;
    let now = stage.rig.clock.now().as_second();
    let mark: i64 = stage.mark("a").await.unwrap().parse().unwrap();
    assert!((now - 1..=now).contains(&mark), "{mark} at {now}");
    assert_eq!(
        stage.node("a").await.unwrap().data["spec"]["unschedulable"],
        true
    );
    assert!(stage.is_free("b").await);
    stage
        .until("asked", async || !stage.machines.calls.lock().is_empty())
        .await;
    // --node-delete-delay-after-taint.
    assert!(
        begun.elapsed() >= Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    let outcomes = stage.settled().await;
    assert_eq!(stage.machines.calls(), ["g: a"]);
    assert!(stage.node("a").await.is_none());
    assert_eq!(outcomes.len(), 1);
    assert_eq!(
        (outcomes[0].reason, &outcomes[0].result),
        (RemovalCause::Empty, &Ok(()))
    );
    let want = [
        "Scale-down: empty node a removed",
        "Scale-down: removing empty node \"a\"",
    ];
    assert_eq!(stage.rig.events("ScaleDownEmpty").await, want);
    let want = [
        "marked the node as toBeDeleted/unschedulable",
        "node removed by cluster autoscaler",
    ];
    assert_eq!(stage.rig.events("ScaleDown").await, want);
}

#[tokio::test(start_paused = true)]
async fn empty_nodes_of_a_group_go_in_one_call() {
    let stage = Stage::new().await;
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    stage.join(&names).await;
    let removals = names.map(|name| removal(name, &[]));
    stage.start(&removals[..6], &[]);
    // A second plan with the same nodes, as of the next look, changes nothing.
    stage.start(&removals[..6], &[]);
    let outcomes = stage.settled().await;
    assert_eq!(stage.machines.calls(), ["g: a,b,c,d,e,f"]);
    assert_eq!(outcomes.len(), 6);
    assert_eq!(*stage.machines.target.lock(), 1);
}

#[tokio::test(start_paused = true)]
async fn pods_leave_in_their_own_time_before_the_node_goes() {
    let stage = Stage::of(&["a"]).await;
    stage
        .run(
            "quick",
            "a",
            json!({"spec": {"terminationGracePeriodSeconds": 7}}),
        )
        .await;
    stage
        .run(
            "slow",
            "a",
            json!({"spec": {"terminationGracePeriodSeconds": 5000}}),
        )
        .await;
    stage.start(&[], &[removal("a", &["quick", "slow"])]);
    stage
        .until("evicted", async || {
            stage.leaves("slow").await && stage.leaves("quick").await
        })
        .await;
    let grace = async |name: &str| {
        let pod = stage.pod(name).await.unwrap();
        pod.metadata.deletion_grace_period_seconds
    };
    // --max-graceful-termination-sec.
    assert_eq!(
        (grace("quick").await, grace("slow").await),
        (Some(7), Some(600))
    );
    assert_eq!(stage.actuator.running()[0].phase, Phase::Draining);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(stage.machines.calls(), [""; 0]);
    let outcomes = stage.settled().await;
    assert_eq!(outcomes[0].result, Ok(()));
    assert_eq!(outcomes[0].reason, RemovalCause::Underutilized);
    assert_eq!(stage.actuator.evictions().succeeded, 2);
    let events = stage.rig.events("ScaleDown").await;
    let want = [
        "Scale-down: node a removed with drain",
        "Scale-down: removing node a, utilization: {0.2500}, pods to reschedule: quick,slow",
        "deleting pod for node scale down",
        "deleting pod for node scale down",
        "marked the node as toBeDeleted/unschedulable",
        "node removed by cluster autoscaler",
    ];
    assert_eq!(events, want);
}

#[tokio::test(start_paused = true)]
async fn waits_may_be_as_long_as_anybody_sets_them() {
    let settings = Settings {
        taints: TaintSettings {
            soft_time: Duration::MAX,
            ..TaintSettings::default()
        },
        evictions: EvictionSettings {
            waves: priorities::all_at_once(Duration::MAX),
            max_time: Duration::MAX,
            retry: Duration::MAX,
            headroom: Duration::MAX,
            ..EvictionSettings::default()
        },
        delay_timeout: Duration::MAX,
        provider_timeout: Duration::MAX,
        leave_timeout: Duration::MAX,
        batch_interval: Duration::ZERO,
    };
    let stage = Stage::with(settings).await;
    stage.join(&["a"]).await;
    let patient = json!({"spec": {"terminationGracePeriodSeconds": i64::MAX}});
    stage.run("web", "a", patient).await;
    stage.start(&[], &[removal("a", &["web"])]);
    stage.until_evicted("web").await;
    let now = jiff::Timestamp::UNIX_EPOCH;
    let unneeded = [("a".into(), now)].into();
    stage.actuator.mark_candidates(&unneeded, &|_| true).await;
    let outcomes = stage.settled().await;
    assert_eq!(outcomes[0].result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn pods_leave_in_waves_of_priority() {
    let mut settings = Settings::default();
    settings.evictions.waves = priorities::parse("100:20,0:60", Duration::ZERO).unwrap();
    let stage = Stage::with(settings).await;
    stage.join(&["a"]).await;
    let classes = stage.rig.cluster_of(
        ("scheduling.k8s.io", "v1"),
        "priorityclasses",
        "PriorityClass",
    );
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
        "metadata": {"name": "high"}, "value": 500});
    stage.rig.create(&classes, class).await;
    stage.run("low", "a", json!({})).await;
    stage
        .run("high", "a", json!({"spec": {"priorityClassName": "high"}}))
        .await;
    stage.start(&[], &[removal("a", &["low", "high"])]);
    stage
        .until("first wave", async || stage.leaves("low").await)
        .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!stage.leaves("high").await);
    stage.rig.tend_pods().await;
    stage
        .until("second wave", async || stage.leaves("high").await)
        .await;
    let high = stage.pod("high").await.unwrap();
    assert_eq!(high.metadata.deletion_grace_period_seconds, Some(20));
    assert_eq!(stage.settled().await[0].result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn pods_of_daemon_sets_hold_nothing_up() {
    let stage = Stage::of(&["a"]).await;
    let daemon = json!({"metadata": {"annotations":
        {"cluster-autoscaler.kubernetes.io/daemonset-pod": "true"}}});
    stage.run("daemon", "a", daemon).await;
    stage.run("web", "a", json!({})).await;
    stage.start(&[], &[removal("a", &["web"])]);
    stage.until_evicted("web").await;
    assert!(!stage.leaves("daemon").await);
    stage.rig.tend_pods().await;
    // Nobody tends the pods any more: the daemon never ends.
    stage
        .until("told to leave", async || stage.leaves("daemon").await)
        .await;
    let waited = stage
        .until("asked", async || !stage.machines.calls.lock().is_empty())
        .await;
    assert!(waited <= Duration::from_secs(31), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn an_annotation_holds_a_deletion_back_but_not_for_ever() {
    let stage = Stage::of(&["a", "b"]).await;
    let annotation = "delay-deletion.cluster-autoscaler.kubernetes.io/backup";
    let held = json!({"metadata": {"annotations": {annotation: "true"}}});
    stage.change("a", held.clone()).await;
    stage.change("b", held).await;
    stage.start(&[removal("a", &[]), removal("b", &[])], &[]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.machines.calls(), [""; 0]);
    stage
        .change(
            "a",
            json!({"metadata": {"annotations": {annotation: null}}}),
        )
        .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.machines.calls(), ["g: a"]);
    tokio::time::sleep(Duration::from_secs(65)).await;
    assert_eq!(stage.machines.calls(), ["g: b"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_goes_as_a_whole_goes_in_one_call() {
    let stage = Stage::of(&["a", "b"]).await;
    stage.run("web", "b", json!({})).await;
    stage.start(&[whole("a", &[])], &[whole("b", &["web"])]);
    stage.until_evicted("web").await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(stage.machines.calls(), [""; 0]);
    let outcomes = stage.settled().await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()));
    assert_eq!(stage.machines.calls(), ["g: a,b"]);
}

#[tokio::test(start_paused = true)]
async fn soft_taints_come_and_go_a_few_at_a_time() {
    let stage = Stage::new().await;
    let names: Vec<String> = (0..12).map(|at| format!("n{at:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    stage.join(&names).await;
    let since = jiff::Timestamp::from_second(77).unwrap();
    let unneeded: BTreeMap<_, _> = names.iter().map(|name| ((*name).into(), since)).collect();
    let look = async |unneeded| stage.actuator.mark_candidates(unneeded, &|_| true).await;
    let want = SoftTaints {
        set: 10,
        left: 2,
        ..SoftTaints::default()
    };
    assert_eq!(look(&unneeded).await, want);
    let node = stage.node("n03").await.unwrap();
    let value = taint(&node, "DeletionCandidateOfClusterAutoscaler");
    assert_eq!(value.as_deref(), Some("77"));
    assert_ne!(node.data["spec"]["unschedulable"], true);
    assert_eq!(look(&unneeded).await.set, 2);
    assert_eq!(look(&unneeded).await, SoftTaints::default());
    let needed = BTreeMap::new();
    let nobodys = |_: &str| false;
    let others = stage.actuator.mark_candidates(&needed, &nobodys).await;
    assert_eq!(others, SoftTaints::default());
    assert_eq!(look(&needed).await.removed, 10);
    assert_eq!(look(&needed).await.removed, 2);
    let nodes = stage.rig.list(&stage.nodes()).await;
    assert!(
        nodes
            .iter()
            .all(|node| node.data["spec"].get("taints").is_none())
    );
}
