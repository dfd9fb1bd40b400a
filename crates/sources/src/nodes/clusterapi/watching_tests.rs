//! Following the objects, against an API server, in virtual time.

use super::tests::{GROUP, Rig, bare_rig, rig};
use super::{ClusterApi, Settings};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Either, Full};
use jiff::Timestamp;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::client::Body;
use plimsoll_api::nodegroup::NodeProvider;
use plimsoll_apiserver::auth::Identity;
use plimsoll_clock::Clock;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tower::Service as _;

/// Waits until the watches show everything.
async fn followed(rig: &Rig) {
    let shown = async {
        while rig.provider.watching.version().is_none() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let patience = Duration::from_secs(120);
    timeout(patience, shown).await.expect("the watches begin");
}

async fn replicas(rig: &Rig, replicas: usize) {
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    let api = rig.api("MachineDeployment");
    let done = api.patch("md", &PatchParams::default(), &patch).await;
    done.unwrap();
}

async fn woken(changes: &mut watch::Receiver<u64>) {
    let patience = Duration::from_secs(60);
    let news = timeout(patience, changes.changed()).await;
    news.expect("something has changed").unwrap();
}

async fn target(rig: &Rig) -> usize {
    let groups = rig.provider.groups().await.unwrap();
    groups
        .iter()
        .find(|group| &*group.id == GROUP)
        .unwrap()
        .target
}

#[tokio::test(start_paused = true)]
async fn what_changes_wakes_and_is_seen_without_a_list() {
    let rig = rig().await;
    rig.deployment(2).await;
    let mut changes = rig.provider.changes().unwrap();
    assert_eq!(target(&rig).await, 2);
    followed(&rig).await;
    changes.mark_unchanged();
    // Listed a moment ago, and for that reason not listed again now.
    rig.provider.listed().await.unwrap();
    replicas(&rig, 4).await;
    woken(&mut changes).await;
    assert_eq!(target(&rig).await, 4);
    rig.running("a").await;
    woken(&mut changes).await;
    let groups = rig.provider.groups().await.unwrap();
    assert!(
        groups[0]
            .instances
            .iter()
            .any(|one| &*one.id == "cloud://a")
    );
    let api = rig.api("MachineDeployment");
    api.delete("md", &DeleteParams::default()).await.unwrap();
    while !rig.provider.groups().await.unwrap().is_empty() {
        woken(&mut changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn own_writes_are_seen_at_once() {
    let rig = rig().await;
    rig.deployment(2).await;
    assert_eq!(target(&rig).await, 2);
    followed(&rig).await;
    rig.provider.increase(GROUP, 2).await.unwrap();
    assert_eq!(target(&rig).await, 4);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(target(&rig).await, 4);
}

#[tokio::test(start_paused = true)]
async fn kinds_that_come_later_are_found() {
    let rig = bare_rig().await;
    let mut changes = rig.provider.changes().unwrap();
    assert!(rig.provider.groups().await.is_err());
    sleep(Duration::from_secs(90)).await;
    rig.define().await;
    rig.deployment(3).await;
    woken(&mut changes).await;
    followed(&rig).await;
    assert_eq!(target(&rig).await, 3);
    replicas(&rig, 1).await;
    woken(&mut changes).await;
    assert_eq!(target(&rig).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_is_no_hindrance() {
    let rig = rig().await;
    rig.deployment(3).await;
    let definitions = rig.all("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let name = "machinepools.cluster.x-k8s.io";
    let gone = definitions.delete(name, &DeleteParams::default()).await;
    gone.unwrap();
    assert_eq!(target(&rig).await, 3);
    followed(&rig).await;
    assert_eq!(target(&rig).await, 3);
    let shown = rig.provider.shown().unwrap();
    assert_eq!(shown.groups.len(), 1);
}

/// What becomes of questions for all MachineDeployments.
#[derive(Debug, Default)]
struct Slips {
    /// So many are answered with 404.
    left: AtomicUsize,
    asked: AtomicUsize,
}

impl Slips {
    fn slips(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let less = |left: usize| left.checked_sub(1);
        let left = self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        left.is_ok()
    }
}

/// A provider that speaks to the server through `slips`.
fn slipping(rig: &Rig, slips: &Arc<Slips>) -> ClusterApi {
    let (server, slips) = (rig.server.clone(), Arc::clone(slips));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (mut inner, slips) = (
            server.service(Identity::in_process("test")),
            Arc::clone(&slips),
        );
        async move {
            if request
                .uri()
                .path()
                .ends_with("/v1beta1/machinedeployments")
                && slips.slips()
            {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404,
                    "reason": "NotFound", "message": "the server could not find the requested resource",
                });
                let answer = Response::builder().status(404);
                let answer = answer.header("Content-Type", "application/json");
                let body = Full::new(Bytes::from(status.to_string()));
                return Ok::<_, Infallible>(answer.body(Either::Left(body)).unwrap());
            }
            let answer = inner.call(request).await?;
            Ok(answer.map(Either::Right))
        }
    });
    let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
    ClusterApi::new(Client::new(service, "default"), clock, Settings::default())
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_found_for_a_moment_keeps_its_groups() {
    let rig = rig().await;
    rig.deployment(2).await;
    let slips = Arc::new(Slips::default());
    let provider = slipping(&rig, &slips);
    assert_eq!(provider.groups().await.unwrap().len(), 1);
    let begins = async {
        while provider.watching.version().is_none() {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(120), begins).await.unwrap();
    slips.left.store(3, Ordering::Relaxed);
    for _ in 0..900 {
        sleep(Duration::from_secs(1)).await;
        if let Ok(groups) = provider.groups().await {
            assert_eq!(groups.len(), 1);
        }
    }
    assert_eq!(slips.left.load(Ordering::Relaxed), 0, "it has happened");
    assert!(provider.watching.version().is_some(), "followed again");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_not_found_is_none_without_objects() {
    let rig = rig().await;
    rig.deployment(2).await;
    let slips = Arc::new(Slips::default());
    let provider = slipping(&rig, &slips);
    slips.left.store(1, Ordering::Relaxed);
    assert_eq!(provider.listed().await.unwrap().groups.len(), 1);
    provider.forget();
    slips.left.store(2, Ordering::Relaxed);
    provider.listed().await.map(drop).unwrap_err();
    assert_eq!(provider.listed().await.unwrap().groups.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn everything_is_listed_once_for_all_that_ask_meanwhile() {
    let rig = rig().await;
    rig.deployment(2).await;
    let slips = Arc::new(Slips::default());
    let provider = slipping(&rig, &slips);
    let (one, other) = tokio::join!(provider.listed(), provider.listed());
    assert_eq!(one.unwrap().groups.len() + other.unwrap().groups.len(), 2);
    assert_eq!(slips.asked.load(Ordering::Relaxed), 1);
}
