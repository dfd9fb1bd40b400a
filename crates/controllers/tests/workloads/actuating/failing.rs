//! Removals that fail: the node is as it was before.

use super::machines::Mood;
use super::stage::{Stage, removal, whole};
use crate::faults::Fault;
use plimsoll_controllers::nodes::actuation::Failure;
use plimsoll_controllers::runtime::ObjectKey;
use serde_json::json;

/// `what` was the only thing on the node, and it stays whole.
async fn stays(stage: &Stage, pod: &str) {
    assert!(!stage.leaves(pod).await, "{pod} was evicted");
    assert!(stage.is_free("a").await);
    assert_eq!(stage.machines.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_gives_nothing_keeps_the_node() {
    let stage = Stage::with_web().await;
    stage.protect(1).await;
    let begun = tokio::time::Instant::now();
    stage.start(&[], &[removal("a", &["web"])]);
    let Failure::Evict(refused) = stage.failure().await else {
        panic!("an eviction that is refused");
    };
    assert_eq!(refused[0].0, ObjectKey::new("default", "web"));
    let why = "Cannot evict pod as it would violate the pod's disruption budget.";
    assert_eq!(refused[0].1, why);
    // --max-pod-eviction-time.
    let tried = begun.elapsed().as_secs();
    assert!((110..=130).contains(&tried), "{tried} s");
    stays(&stage, "web").await;
    assert_eq!(stage.actuator.evictions().failed, 1);
    let want = [
        "failed to delete pod for ScaleDown".to_owned(),
        format!("failed to drain the node: default/web: {why}"),
    ];
    assert_eq!(stage.rig.events("ScaleDownFailed").await, want);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_gives_one_at_a_time_is_asked_again() {
    let stage = Stage::of(&["a", "b"]).await;
    for pod in ["one", "two", "three"] {
        stage.run(pod, "a", json!({})).await;
    }
    stage.protect(2).await;
    stage.start(&[], &[removal("a", &["one", "two", "three"])]);
    // Replacements come up elsewhere.
    for (at, name) in ["four", "five"].into_iter().enumerate() {
        let gone = async || {
            stage.rig.tend_pods().await;
            let pods = stage.rig.list(&stage.rig.pods()).await;
            let ready = pods.len();
            assert!(ready >= 2, "more pods left than the budget gives");
            ready == 2
        };
        stage.until(&format!("eviction {at}"), gone).await;
        stage.run(name, "b", json!({})).await;
    }
    let outcomes = stage.settled().await;
    assert_eq!(outcomes[0].result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_came_meanwhile_keeps_an_empty_node() {
    let stage = Stage::of(&["a"]).await;
    stage.start(&[removal("a", &[])], &[]);
    stage.until_marked("a").await;
    stage.run("late", "a", json!({})).await;
    let late = vec![ObjectKey::new("default", "late")];
    assert_eq!(stage.failure().await, Failure::NotEmpty(late));
    stays(&stage, "late").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_must_not_be_moved_keeps_the_node_though_it_came_late() {
    let stage = Stage::draining().await;
    let annotation = "cluster-autoscaler.kubernetes.io/safe-to-evict";
    let late = json!({"metadata": {"annotations": {annotation: "false"}}});
    stage.run("late", "a", late).await;
    let failure = stage.failure().await;
    assert!(
        matches!(&failure, Failure::Blocked(why) if why.contains("default/late")),
        "{failure}"
    );
    stays(&stage, "web").await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_end_keeps_the_node() {
    let stage = Stage::of(&["a"]).await;
    stage
        .run(
            "web",
            "a",
            json!({"metadata": {"finalizers": ["example.com/keep"]}}),
        )
        .await;
    stage.start(&[], &[removal("a", &["web"])]);
    let begun = tokio::time::Instant::now();
    let pods = vec![ObjectKey::new("default", "web")];
    assert_eq!(stage.failure().await, Failure::Remaining(pods));
    // 5 s for schedulers, its 30 s of grace, 30 s more.
    let waited = begun.elapsed().as_secs();
    assert!((65..=67).contains(&waited), "{waited} s");
    assert!(stage.is_free("a").await);
    assert_eq!(stage.machines.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_while_it_is_drained_goes() {
    let stage = Stage::draining().await;
    stage.until_evicted("web").await;
    stage.set_ready("a", "Unknown").await;
    // Nobody is left who could tell that the pod has ended.
    let asked = async || !stage.machines.calls.lock().is_empty();
    let waited = stage.until("asked", asked).await.as_secs();
    assert!((58..=62).contains(&waited), "{waited} s");
    stage
        .until("gone", async || stage.node("a").await.is_none())
        .await;
    let outcomes = stage.settled().await;
    assert_eq!(outcomes[0].result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_vanishes_while_it_is_drained_leaves_no_machine_behind() {
    let stage = Stage::draining().await;
    stage.until_evicted("web").await;
    stage
        .nodes()
        .delete("a", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    let outcomes = stage.settled().await;
    assert_eq!(outcomes[0].result, Ok(()));
    assert_eq!(stage.machines.calls(), ["g: a"]);
}

#[tokio::test(start_paused = true)]
async fn one_bad_machine_keeps_no_other() {
    let stage = Stage::of(&["a", "b", "c"]).await;
    *stage.machines.mood.lock() = Mood::Refuses(vec!["a"]);
    stage.start(&["a", "b", "c"].map(|name| removal(name, &[])), &[]);
    let outcomes = stage.settled().await;
    assert_eq!(stage.machines.calls(), ["g: a,b,c", "g: a", "g: b", "g: c"]);
    let failed: Vec<_> = outcomes.iter().filter(|one| one.result.is_err()).collect();
    assert_eq!(failed.len(), 1);
    let text = failed[0].result.clone().unwrap_err().to_string();
    assert_eq!(text, "failed to delete the node: instance is protected");
    assert!(stage.is_free("a").await);
    assert!(stage.node("b").await.is_none() && stage.node("c").await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_goes_as_a_whole_stays_as_a_whole() {
    let stage = Stage::of(&["a", "b"]).await;
    stage.run("web", "b", json!({})).await;
    stage.protect(1).await;
    stage.start(&[whole("a", &[])], &[whole("b", &["web"])]);
    let outcomes = stage.settled().await;
    let sibling = Err(Failure::Sibling("b".into()));
    assert_eq!(outcomes[0].result, sibling);
    assert!(stage.is_free("b").await);
    stays(&stage, "web").await;
}

#[tokio::test(start_paused = true)]
async fn somebody_who_takes_the_taint_away_keeps_the_node() {
    let stage = Stage::draining().await;
    stage.until_marked("a").await;
    stage.change("a", json!({"spec": {"taints": null}})).await;
    assert!(matches!(stage.failure().await, Failure::Blocked(_)));
    stays(&stage, "web").await;
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_is_refused_leaves_the_others_alone() {
    let stage = Stage::of(&["a", "b"]).await;
    stage.faults.set(|method, uri| {
        let refused = method == "PATCH" && uri.contains("/nodes/a");
        refused.then(|| {
            Fault::Answer(
                500,
                json!({"kind": "Status", "apiVersion": "v1",
            "status": "Failure", "code": 500, "message": "etcd is down"})
                .to_string(),
            )
        })
    });
    stage.start(&["a", "b"].map(|name| removal(name, &[])), &[]);
    stage
        .until("b gone", async || stage.node("b").await.is_none())
        .await;
    stage.faults.set(|_, _| None);
    let outcomes = stage.settled().await;
    let failed = outcomes.iter().find(|one| *one.node == *"a").unwrap();
    assert_eq!(failed.result, Err(Failure::Mark("etcd is down".into())));
    assert!(stage.is_free("a").await);
}
