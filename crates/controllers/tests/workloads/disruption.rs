//! Disruption budgets: what they count, and that evictions never take more.

use crate::rig::{Rig, condition};
use futures::future::join_all;
use kube::api::{Api, DynamicObject, EvictParams, PostParams};
use kube::core::Request;
use plimsoll_controllers::supervisor::{Context, start_all};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng};
use serde_json::{Value, json};
use std::time::Duration;

fn budgets(rig: &Rig) -> Api<DynamicObject> {
    let kind = "PodDisruptionBudget";
    rig.api("default", ("policy", "v1"), "poddisruptionbudgets", kind)
}

async fn protect(rig: &Rig, bound: &str, value: Value) {
    let mut spec = json!({"selector": {"matchLabels": {"app": "web"}}});
    spec[bound] = value;
    let body = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "web", "namespace": "default"}, "spec": spec,
    });
    rig.create(&budgets(rig), body).await;
}

/// `disruptionsAllowed`, `currentHealthy`, `desiredHealthy`, `expectedPods`.
async fn figures(rig: &Rig) -> [i64; 4] {
    let budget = budgets(rig).get("web").await.unwrap();
    let status = &budget.data["status"];
    let names = [
        "disruptionsAllowed",
        "currentHealthy",
        "desiredHealthy",
        "expectedPods",
    ];
    if status["observedGeneration"].as_i64() != budget.metadata.generation {
        return [-1; 4];
    }
    let figure = |name: &str| status[name].as_i64();
    names.map(|name| figure(name).unwrap_or_else(|| panic!("no {name}: {status}")))
}

async fn until_figures(rig: &Rig, want: [i64; 4]) {
    let mut seen = [0; 4];
    for _ in 0..2000 {
        seen = figures(rig).await;
        if seen == want {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{seen:?} and not {want:?}");
}

/// Asks to evict a pod; the code and the cause's message if refused.
async fn evict(rig: &Rig, pod: &str) -> Result<(), (u16, String)> {
    let params = EvictParams {
        post_options: PostParams::default(),
        ..EvictParams::default()
    };
    let request = Request::new("/api/v1/namespaces/default/pods").evict(pod, &params);
    let answer: Result<Value, _> = rig.client.request(request.unwrap()).await;
    match answer {
        Ok(status) => {
            assert_eq!(status["status"], "Success");
            Ok(())
        }
        Err(kube::Error::Api(status)) => {
            let details = status.details.as_ref();
            let cause = details.and_then(|d| d.causes.first());
            Err((
                status.code,
                cause.map_or(status.message.clone(), |c| c.message.clone()),
            ))
        }
        Err(other) => panic!("{other}"),
    }
}

async fn names(rig: &Rig) -> Vec<String> {
    let pods = rig.list(&rig.pods()).await.into_iter();
    pods.filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .map(|pod| pod.metadata.name.unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_budget_counts_what_the_deployment_wants() {
    let rig = Rig::start().await;
    rig.deploy(7).await;
    protect(&rig, "minAvailable", json!("50%")).await;
    until_figures(&rig, [3, 7, 4, 7]).await;
    let budget = budgets(&rig).get("web").await.unwrap();
    assert_eq!(
        condition(&budget, "DisruptionAllowed"),
        ("True".into(), "SufficientPods".into(), String::new())
    );
    // A pod that is not ready makes one less to give.
    let first = names(&rig).await[0].clone();
    rig.set_ready(&first, false).await;
    until_figures(&rig, [2, 6, 4, 7]).await;
    rig.set_ready(&first, true).await;
    until_figures(&rig, [3, 7, 4, 7]).await;
    // Another bound is counted at once.
    let patch = json!({"spec": {"minAvailable": null, "maxUnavailable": 1}});
    rig.patch(&budgets(&rig), "web", patch).await;
    until_figures(&rig, [1, 7, 6, 7]).await;
}

#[tokio::test(start_paused = true)]
async fn evictions_at_the_same_time_take_no_more_than_there_is() {
    let rig = Rig::start().await;
    rig.deploy(10).await;
    protect(&rig, "maxUnavailable", json!(3)).await;
    until_figures(&rig, [3, 10, 7, 10]).await;
    let pods = names(&rig).await;
    let outcomes = join_all(pods.iter().map(|pod| evict(&rig, pod))).await;
    let (granted, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((granted.len(), refused.len()), (3, 7));
    let why = "The disruption budget web needs 7 healthy pods and has";
    for outcome in refused {
        let (code, message) = outcome.unwrap_err();
        assert_eq!(code, 429);
        assert!(message.starts_with(why), "{message}");
    }
    // The replacements must be ready before more may go.
    rig.until("replacements", async || names(&rig).await.len() == 10)
        .await;
    let next = names(&rig).await;
    let outcomes = join_all(next.iter().map(|pod| evict(&rig, pod))).await;
    let waiting = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    // The pending ones are free to go; nobody serves from them.
    assert_eq!(waiting, 3);
    rig.settle(10).await;
    until_figures(&rig, [3, 10, 7, 10]).await;
}

#[tokio::test(start_paused = true)]
async fn an_evicted_pod_says_why_it_ends() {
    let rig = Rig::start().await;
    rig.deploy(2).await;
    protect(&rig, "minAvailable", json!(1)).await;
    until_figures(&rig, [1, 2, 1, 2]).await;
    let pod = names(&rig).await[0].clone();
    rig.patch(
        &rig.pods(),
        &pod,
        json!({"metadata": {"finalizers": ["a.b/c"]}}),
    )
    .await;
    evict(&rig, &pod).await.unwrap();
    let ending = rig.pods().get(&pod).await.unwrap();
    assert_eq!(
        condition(&ending, "DisruptionTarget"),
        (
            "True".into(),
            "EvictionByEvictionAPI".into(),
            "Eviction API: evicting".into()
        )
    );
    assert!(ending.metadata.deletion_timestamp.is_some());
    // The budget bounds a count, so it expects what is there: also the replacement.
    until_figures(&rig, [0, 1, 1, 3]).await;
    // A pod that ends already is not asked about again.
    evict(&rig, &pod).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_controller_without_scale_allows_nothing() {
    let rig = Rig::start().await;
    let job = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "owner", "namespace": "default"},
    });
    let maps = rig.core("default", "configmaps", "ConfigMap");
    rig.create(&maps, job).await;
    let uid = maps.get("owner").await.unwrap().metadata.uid.unwrap();
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "default", "labels": {"app": "web"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
                "uid": uid, "controller": true}]},
        "spec": {"nodeName": "a", "containers": [{"name": "c", "image": "i"}]},
    });
    rig.create(&rig.pods(), pod.clone()).await;
    rig.set_ready("web-0", true).await;
    protect(&rig, "maxUnavailable", json!(1)).await;
    rig.until("the failure is told", async || {
        let budget = budgets(&rig).get("web").await.unwrap();
        condition(&budget, "DisruptionAllowed").1 == "SyncFailed"
    })
    .await;
    let told = rig.events("CalculateExpectedPodCountFailed").await;
    let why = "configmaps does not implement the scale subresource";
    assert_eq!(
        told,
        [format!(
            "Failed to calculate the number of expected pods: {why}"
        )]
    );
    // A count of pods needs no controller.
    let patch = json!({"spec": {"maxUnavailable": null, "minAvailable": 1}});
    rig.patch(&budgets(&rig), "web", patch).await;
    until_figures(&rig, [0, 1, 1, 1]).await;
    pod["metadata"]["name"] = "web-1".into();
    rig.create(&rig.pods(), pod).await;
    rig.set_ready("web-1", true).await;
    until_figures(&rig, [1, 2, 1, 2]).await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_came_to_nothing_is_taken_back() {
    let rig = Rig::start().await;
    rig.deploy(2).await;
    protect(&rig, "minAvailable", json!(1)).await;
    until_figures(&rig, [1, 2, 1, 2]).await;
    let pod = names(&rig).await[0].clone();
    let now = rig.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let granted = json!({"status": {"disruptionsAllowed": 0, "disruptedPods": {&pod: now}}});
    budgets(&rig)
        .patch_status(
            "web",
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Merge(&granted),
        )
        .await
        .unwrap();
    let target = json!({"status": {"conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": now,
    }]}});
    rig.pods()
        .patch_status(
            &pod,
            &kube::api::PatchParams::default(),
            &kube::api::Patch::Strategic(&target),
        )
        .await
        .unwrap();
    until_figures(&rig, [0, 1, 1, 2]).await;
    tokio::time::sleep(Duration::from_secs(118)).await;
    assert_eq!(figures(&rig).await, [0, 1, 1, 2]);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(figures(&rig).await, [1, 2, 1, 2]);
    rig.until("the pod is no target any more", async || {
        let pod = rig.pods().get(&pod).await.unwrap();
        condition(&pod, "DisruptionTarget").0 == "False"
    })
    .await;
    let kept = rig.pods().get(&pod).await.unwrap();
    assert_eq!(condition(&kept, "Ready").0, "True");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = rig.events("NotDeleted").await;
    assert_eq!(
        told,
        ["Pod was expected by PDB default/web to be deleted but it wasn't"]
    );
}

/// Pods that are ready and stay.
async fn healthy(rig: &Rig) -> Vec<String> {
    let mut pods = rig.list(&rig.pods()).await;
    pods.retain(|pod| {
        pod.metadata.deletion_timestamp.is_none() && condition(pod, "Ready").0 == "True"
    });
    let names = pods.into_iter().map(|pod| pod.metadata.name.unwrap());
    names.collect()
}

/// Lets the controllers see what happened.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn restart(rig: &mut Rig) {
    rig.tasks.abort_all();
    let options = rig.context.options.clone();
    let context = Context::start(rig.client.clone(), rig.clock, 11, options);
    rig.tasks = start_all(&context);
}

/// One run of chance: pods crash and heal, controllers restart, everything is asked to go at once.
async fn chance(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::start().await;
    let replicas = random.random_range(1..8);
    rig.deploy(replicas).await;
    let bound = random.random_range(0..=replicas);
    let (kind, desired) = if random.random_bool(0.5) {
        ("minAvailable", bound)
    } else {
        ("maxUnavailable", replicas - bound)
    };
    protect(&rig, kind, json!(bound)).await;
    let desired = usize::try_from(desired).unwrap();
    for step in 0..15 {
        settle().await;
        let pods = healthy(&rig).await;
        match random.random_range(0..6) {
            0 => {
                if let Some(pod) = pods.first() {
                    rig.set_ready(pod, false).await;
                }
            }
            1 => rig.tend_pods().await,
            2 => {
                for pod in names(&rig).await {
                    rig.set_ready(&pod, true).await;
                }
            }
            choice => {
                if choice == 3 {
                    restart(&mut rig);
                }
                let outcomes = join_all(pods.iter().map(|pod| evict(&rig, pod))).await;
                let granted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
                let left = pods.len() - granted;
                let why = format!("seed {seed}, step {step}: {granted} of {} went", pods.len());
                assert!(
                    granted == 0 || left >= desired,
                    "{why}, {desired} must stay"
                );
                // And it is not only strict: what may go goes.
                let spare = pods.len().saturating_sub(desired);
                assert!(choice == 3 || granted == spare, "{why}, {spare} could");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_evictions_leave_what_the_budget_wants() {
    for seed in 0..8 {
        chance(seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pods_without_a_controller_are_not_expected_and_nothing_is_allowed_without_a_bound() {
    let rig = Rig::start().await;
    let accounts = rig.core("default", "serviceaccounts", "ServiceAccount");
    rig.until("service account", async || rig.count(&accounts).await == 1)
        .await;
    let stray = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "stray", "namespace": "default", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    rig.create(&rig.pods(), stray).await;
    rig.set_ready("stray", true).await;
    protect(&rig, "minAvailable", json!(1)).await;
    until_figures(&rig, [0, 1, 1, 1]).await;
    assert!(rig.events("UnmanagedPods").await.is_empty());
    let relative = json!({"spec": {"minAvailable": "50%"}});
    rig.patch(&budgets(&rig), "web", relative).await;
    until_figures(&rig, [0, 1, 0, 0]).await;
    rig.until("it is told", async || {
        !rig.events("UnmanagedPods").await.is_empty()
    })
    .await;
    let none = json!({"spec": {"minAvailable": null}});
    rig.patch(&budgets(&rig), "web", none).await;
    until_figures(&rig, [0, 1, 0, 0]).await;
    let (code, _) = evict(&rig, "stray").await.unwrap_err();
    assert_eq!(code, 429);
}
