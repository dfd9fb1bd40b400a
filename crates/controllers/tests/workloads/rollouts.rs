//! Rolling updates, roll-backs and pauses.

use crate::rig::{Rig, condition, deployment};
use plimsoll_controllers::supervisor::Context;
use rstest::rstest;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// The most pods there were at once, and the fewest that were available.
struct Extremes {
    most: AtomicI64,
    fewest: AtomicI64,
}

/// Looks at the pods after every single change from now on.
fn observe(context: &Context) -> Arc<Extremes> {
    let extremes = Arc::new(Extremes {
        most: AtomicI64::new(0),
        fewest: AtomicI64::new(i64::MAX),
    });
    let (seen, pods) = (Arc::clone(&extremes), context.caches.pods.clone());
    context.caches.pods.on_change(move |_| {
        let (mut active, mut available) = (0, 0);
        pods.for_each(|pod| {
            active += i64::from(pod.is_active());
            available += i64::from(pod.is_active() && pod.is_ready());
        });
        seen.most.fetch_max(active, Ordering::Relaxed);
        seen.fewest.fetch_min(available, Ordering::Relaxed);
    });
    extremes
}

fn image(image: &str) -> Value {
    json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image,
        "resources": {"requests": {"cpu": "100m"}}}]}}}})
}

#[rstest]
#[case::the_default(json!("25%"), json!("25%"), 10, 13, 8)]
#[case::only_surge(json!(3), json!(0), 4, 7, 4)]
#[case::only_unavailable(json!(0), json!(1), 4, 4, 3)]
#[case::both_zero_means_one_unavailable(json!("1%"), json!("0%"), 4, 5, 4)]
#[tokio::test(start_paused = true)]
async fn a_rollout_stays_within_its_bounds_at_every_moment(
    #[case] surge: Value,
    #[case] unavailable: Value,
    #[case] replicas: i32,
    #[case] most: i64,
    #[case] fewest: i64,
) {
    let rig = Rig::start().await;
    let mut body = deployment("a", replicas);
    let bounds = json!({"maxSurge": surge, "maxUnavailable": unavailable});
    body["spec"]["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": bounds});
    rig.create(&rig.deployments(), body).await;
    rig.settle(replicas).await;
    let seen = observe(&rig.context);
    rig.patch(&rig.deployments(), "web", image("b")).await;
    rig.settle(replicas).await;
    assert_eq!(seen.most.load(Ordering::Relaxed), most);
    assert_eq!(seen.fewest.load(Ordering::Relaxed), fewest);
}

/// Size and revision of each ReplicaSet, by image.
async fn revisions(rig: &Rig) -> BTreeMap<String, (i64, String, Option<String>)> {
    let sets = rig.list(&rig.replica_sets()).await;
    sets.into_iter()
        .map(|set| {
            let image = &set.data["spec"]["template"]["spec"]["containers"][0]["image"];
            let annotations = set.metadata.annotations.unwrap();
            let value = (
                set.data["spec"]["replicas"].as_i64().unwrap(),
                annotations["deployment.kubernetes.io/revision"].clone(),
                annotations
                    .get("deployment.kubernetes.io/revision-history")
                    .cloned(),
            );
            (image.as_str().unwrap().to_owned(), value)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn rolling_back_revives_the_old_set_under_a_new_revision() {
    let rig = Rig::start().await;
    rig.deploy(2).await;
    rig.patch(&rig.deployments(), "web", image("b")).await;
    rig.settle(2).await;
    rig.patch(&rig.deployments(), "web", image("a")).await;
    rig.settle(2).await;
    let want = [
        ("a".to_owned(), (2, "3".to_owned(), Some("1".to_owned()))),
        ("b".to_owned(), (0, "2".to_owned(), None)),
    ];
    assert_eq!(revisions(&rig).await, BTreeMap::from(want));
    let web = rig.deployments().get("web").await.unwrap();
    assert_eq!(
        web.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"],
        "3"
    );
}

#[tokio::test(start_paused = true)]
async fn history_is_kept_up_to_its_limit() {
    let rig = Rig::start().await;
    let mut body = deployment("a", 1);
    body["spec"]["revisionHistoryLimit"] = json!(1);
    rig.create(&rig.deployments(), body).await;
    rig.settle(1).await;
    for next in ["b", "c"] {
        rig.patch(&rig.deployments(), "web", image(next)).await;
        rig.settle(1).await;
    }
    rig.until("the first set is gone", async || {
        let sets = revisions(&rig).await;
        sets.keys().collect::<Vec<_>>() == ["b", "c"]
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_but_does_not_roll() {
    let rig = Rig::start().await;
    rig.deploy(2).await;
    let deployments = rig.deployments();
    rig.patch(&deployments, "web", json!({"spec": {"paused": true}}))
        .await;
    rig.patch(&deployments, "web", image("b")).await;
    rig.patch(&deployments, "web", json!({"spec": {"replicas": 3}}))
        .await;
    rig.until("three pods", async || {
        rig.tend_pods().await;
        rig.count(&rig.pods()).await == 3
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(revisions(&rig).await.keys().collect::<Vec<_>>(), ["a"]);
    let web = deployments.get("web").await.unwrap();
    let (status, reason, message) = condition(&web, "Progressing");
    assert_eq!(
        (&*status, &*reason, &*message),
        ("Unknown", "DeploymentPaused", "Deployment is paused")
    );
    rig.patch(&deployments, "web", json!({"spec": {"paused": false}}))
        .await;
    rig.settle(3).await;
    assert_eq!(revisions(&rig).await["b"].0, 3);
}

#[tokio::test(start_paused = true)]
async fn recreate_never_mixes_templates() {
    let rig = Rig::start().await;
    let mut body = deployment("a", 3);
    body["spec"]["strategy"] = json!({"type": "Recreate"});
    rig.create(&rig.deployments(), body).await;
    rig.settle(3).await;
    rig.patch(&rig.deployments(), "web", image("b")).await;
    rig.until("replaced", async || {
        rig.tend_pods().await;
        let pods = rig.list(&rig.pods()).await;
        let images: std::collections::BTreeSet<_> = pods
            .iter()
            .map(|pod| pod.data["spec"]["containers"][0]["image"].to_string())
            .collect();
        assert!(images.len() <= 1, "{images:?}");
        pods.len() == 3 && images.contains("\"b\"")
    })
    .await;
    rig.settle(3).await;
}
