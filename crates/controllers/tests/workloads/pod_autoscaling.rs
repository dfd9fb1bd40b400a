//! The second kind of autoscaler: schedules, periods of its own, and living beside the first kind.

use crate::autoscaling::{Load, autoscaler, autoscalers, replicas, scaling, sizes};
use crate::rig::{Rig, condition};
use kube::api::{Api, DeleteParams};
use kube::core::DynamicObject;
use plimsoll_api::pod_autoscaler;
use plimsoll_controllers::horizontal::Options;
use serde_json::{Value, json};
use std::time::Duration;

async fn define(rig: &Rig) {
    let definitions = rig.cluster_of(
        ("apiextensions.k8s.io", "v1"),
        "customresourcedefinitions",
        "CustomResourceDefinition",
    );
    rig.create(&definitions, pod_autoscaler::definition()).await;
}

async fn start(options: Options) -> (Rig, Load) {
    let rig = Rig::start().await;
    define(&rig).await;
    scaling(rig, options)
}

fn scalers(rig: &Rig) -> Api<DynamicObject> {
    let version = ("plimsoll.dev", "v1alpha1");
    rig.api("default", version, "podautoscalers", "PodAutoscaler")
}

/// The same as the other kind's, and more.
fn scaler(name: &str, more: &Value) -> Value {
    let mut scaler = autoscaler(name);
    scaler["apiVersion"] = json!("plimsoll.dev/v1alpha1");
    scaler["kind"] = json!("PodAutoscaler");
    json_patch::merge(&mut scaler["spec"], more);
    scaler
}

async fn get(rig: &Rig, name: &str) -> DynamicObject {
    scalers(rig).get(name).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_scales_as_the_other_kind_does() {
    let (rig, load) = start(Options::default()).await;
    load.set(190);
    rig.deploy(1).await;
    rig.create(&scalers(&rig), scaler("web", &json!({}))).await;
    let grown = sizes(&rig, Duration::from_secs(60)).await;
    assert_eq!(grown.last(), Some(&4));
    load.set(20);
    assert_eq!(sizes(&rig, Duration::from_secs(290)).await, [4]);
    assert_eq!(sizes(&rig, Duration::from_secs(30)).await, [4, 1]);
    let web = get(&rig, "web").await;
    let status = &web.data["status"];
    assert_eq!(status["reference"], "Deployment/web");
    assert_eq!(status["targets"], "cpu: 20%/50%");
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["desiredReplicas"], 1);
    assert_eq!(condition(&web, "ScalingActive").1, "ValidMetricFound");
    assert_eq!(condition(&web, "ScheduleActive").1, "");
    let events = rig.list(&rig.core("default", "events", "Event")).await;
    let told = events
        .iter()
        .find(|event| event.data["reason"] == "SuccessfulRescale");
    let about = &told.unwrap().data["involvedObject"];
    assert_eq!(about["kind"], "PodAutoscaler");
    assert_eq!(about["apiVersion"], "plimsoll.dev/v1alpha1");
}

#[tokio::test(start_paused = true)]
async fn a_schedule_raises_the_floor_at_its_minute_and_lets_go_at_its_end() {
    let (rig, load) = start(Options::default()).await;
    load.set(20);
    rig.deploy(1).await;
    let schedule = json!({"schedules": [{
        "name": "rush", "start": "5 0 * * *", "end": "10 0 * * *", "minReplicas": 6,
    }]});
    rig.create(&scalers(&rig), scaler("web", &schedule)).await;
    let begins: jiff::Timestamp = "1970-01-01T00:05:00Z".parse().unwrap();
    let left = Duration::try_from(begins.duration_since(rig.clock.now())).unwrap();
    let before = left.checked_sub(Duration::from_millis(200)).unwrap();
    assert_eq!(sizes(&rig, before).await, [1]);
    let web = get(&rig, "web").await;
    let said = condition(&web, "ScheduleActive");
    let none = "no schedule in force; schedule \"rush\" begins at 1970-01-01T00:05:00Z";
    assert_eq!(said, ("False".into(), "NotInForce".into(), none.into()));
    // Not at the next sync period, but at its very minute.
    rig.until("raised", async || replicas(&rig).await == 6)
        .await;
    let late = rig.clock.now().duration_since(begins);
    assert!(late.as_millis() < 20, "{late}");
    rig.settle(6).await;
    let web = get(&rig, "web").await;
    let said = condition(&web, "ScheduleActive");
    let active = "schedule \"rush\" until 1970-01-01T00:10:00Z: at least 6";
    assert_eq!(said, ("True".into(), "InForce".into(), active.into()));
    let told = rig.events("SuccessfulRescale").await;
    let why =
        "New size: 6; reason: Current number of replicas below the bound of schedule \"rush\"";
    assert_eq!(told, [why]);

    let ends: jiff::Timestamp = "1970-01-01T00:10:00Z".parse().unwrap();
    let left = Duration::try_from(ends.duration_since(rig.clock.now())).unwrap();
    let before = left.checked_sub(Duration::from_millis(200)).unwrap();
    assert_eq!(sizes(&rig, before).await, [6]);
    rig.until("let go", async || replicas(&rig).await == 1)
        .await;
    let late = rig.clock.now().duration_since(ends);
    // A proposal of just after the rise is exactly as old as the window in the first or second pass.
    assert!(late.as_millis() < 2000, "{late}");
}

#[tokio::test(start_paused = true)]
async fn a_broken_schedule_is_told_and_the_rest_goes_on() {
    let (rig, load) = start(Options::default()).await;
    load.set(190);
    rig.deploy(1).await;
    let schedule = json!({"schedules": [{
        "name": "rush", "start": "* * * * *", "duration": "1h", "timeZone": "Mars/Base",
        "minReplicas": 6,
    }]});
    rig.create(&scalers(&rig), scaler("web", &schedule)).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&4));
    let text = "schedule \"rush\" is left out: timeZone: unknown time zone \"Mars/Base\"";
    let said = condition(&get(&rig, "web").await, "ScheduleActive");
    assert_eq!(
        said,
        ("False".into(), "InvalidSchedule".into(), text.into())
    );
    assert_eq!(rig.events("InvalidSchedule").await, [text]);
}

#[tokio::test(start_paused = true)]
async fn both_kinds_on_the_same_pods_hold_each_other() {
    let (rig, load) = start(Options::default()).await;
    load.set(500);
    rig.deploy(2).await;
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    rig.create(&scalers(&rig), scaler("web", &json!({}))).await;
    rig.until("ambiguous", async || {
        let hpa = autoscalers(&rig).get("web").await.unwrap();
        condition(&hpa, "ScalingActive").1 == "AmbiguousSelector"
            && condition(&get(&rig, "web").await, "ScalingActive").1 == "AmbiguousSelector"
    })
    .await;
    let said = condition(&get(&rig, "web").await, "ScalingActive").2;
    let both = "[default/web PodAutoscaler default/web]";
    assert!(said.ends_with(both), "{said}");
    // What one of that name remembers is not the other's.
    let hpas = autoscalers(&rig);
    drop(hpas.delete("web", &DeleteParams::default()).await.unwrap());
    let grown = sizes(&rig, Duration::from_secs(60)).await;
    assert_eq!(grown.last(), Some(&10));
}

#[tokio::test(start_paused = true)]
async fn where_another_controller_obeys_the_first_kind_only_the_second_is_obeyed() {
    let options = Options::default();
    let elsewhere = options.elsewhere.clone();
    elsewhere.set(true);
    let (rig, load) = start(options).await;
    load.set(500);
    rig.deploy(2).await;
    rig.create(&autoscalers(&rig), autoscaler("web")).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await, [2]);
    let hpa = autoscalers(&rig).get("web").await.unwrap();
    assert!(hpa.data["status"]["conditions"].is_null());
    // The other controller scales these pods, so the second kind keeps off them.
    rig.create(&scalers(&rig), scaler("web", &json!({}))).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await, [2]);
    let said = condition(&get(&rig, "web").await, "ScalingActive").1;
    assert_eq!(said, "AmbiguousSelector");
    let hpas = autoscalers(&rig);
    drop(hpas.delete("web", &DeleteParams::default()).await.unwrap());
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&10));
}

#[tokio::test(start_paused = true)]
async fn a_definition_that_comes_later_is_found() {
    let (rig, load) = scaling(Rig::start().await, Options::default());
    load.set(190);
    rig.deploy(1).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    define(&rig).await;
    rig.create(&scalers(&rig), scaler("web", &json!({}))).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&4));
}

/// A target whose kind no cache watches, so that only a look finds what happens to it.
async fn unwatched(rig: &Rig) -> Api<DynamicObject> {
    let controllers = rig.core("default", "replicationcontrollers", "ReplicationController");
    let controller = json!({
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "odd"},
        "spec": {"replicas": 2, "selector": {"app": "odd"}, "template": {
            "metadata": {"labels": {"app": "odd"}},
            "spec": {"containers": [{"name": "c", "image": "a"}]}}},
    });
    rig.create(&controllers, controller).await;
    controllers
}

#[tokio::test(start_paused = true)]
async fn each_is_looked_at_as_often_as_it_asks() {
    let (rig, _load) = start(Options::default()).await;
    let controllers = unwatched(&rig).await;
    let target = json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "odd"});
    let often = json!({"syncPeriod": "2s", "maxReplicas": 3, "scaleTargetRef": target});
    rig.create(&scalers(&rig), scaler("odd", &often)).await;
    rig.until("looked at", async || {
        !condition(&get(&rig, "odd").await, "AbleToScale")
            .1
            .is_empty()
    })
    .await;
    for _ in 0..5 {
        let many = json!({"spec": {"replicas": 9}});
        rig.patch(&controllers, "odd", many).await;
        let took = rig
            .until("back in bounds", async || {
                controllers.get("odd").await.unwrap().data["spec"]["replicas"] == 3
            })
            .await;
        assert!(took <= Duration::from_millis(2100), "{took:?}");
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_period_that_cannot_be_read_is_told() {
    let (rig, load) = start(Options::default()).await;
    load.set(190);
    rig.deploy(1).await;
    let mut hpa = autoscaler("web");
    hpa["metadata"]["annotations"] = json!({"plimsoll.dev/sync-period": "now and then"});
    rig.create(&autoscalers(&rig), hpa).await;
    assert_eq!(sizes(&rig, Duration::from_secs(60)).await.last(), Some(&4));
    let why = "sync period \"now and then\" is left out: it is no length of time between 1s and 1h";
    assert_eq!(rig.events("InvalidSyncPeriod").await, [why]);
}
