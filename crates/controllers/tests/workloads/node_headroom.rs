//! Room for pods that are not there yet, and a service that chooses among groups.

use crate::node_autoscaling::{bound, deploy, hasty, provider, start, target, told};
use crate::rig::Rig;
use crate::scheduling;
use async_trait::async_trait;
use kube::Api;
use kube::api::DeleteParams;
use kube::core::DynamicObject;
use parking_lot::Mutex;
use plimsoll_api::capacity_buffer;
use plimsoll_api::nodegroup::{ErrorClass, ExpanderService, OfferedOption, ProviderError};
use plimsoll_controllers::nodes::{Adviser, BufferOptions, ExpanderName, Options};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A cluster that knows the kind.
async fn rig() -> (Rig, Api<DynamicObject>) {
    let rig = scheduling::start().await;
    let definitions = rig.cluster_of(
        ("apiextensions.k8s.io", "v1"),
        "customresourcedefinitions",
        "CustomResourceDefinition",
    );
    rig.create(&definitions, capacity_buffer::definition())
        .await;
    let group = (capacity_buffer::GROUP, capacity_buffer::VERSION);
    let buffers = rig.api(
        "default",
        group,
        capacity_buffer::PLURAL,
        capacity_buffer::KIND,
    );
    (rig, buffers)
}

fn with_buffers() -> Options {
    Options {
        buffers: Some(BufferOptions {
            resolve: true,
            inject: true,
            limit: 5000,
        }),
        ..hasty()
    }
}

fn buffer(spec: &Value) -> Value {
    json!({
        "apiVersion": capacity_buffer::API_VERSION, "kind": capacity_buffer::KIND,
        "metadata": {"name": "spare"}, "spec": spec,
    })
}

/// A pod template that asks for half a core.
async fn template(rig: &Rig) {
    let templates = rig.core("default", "podtemplates", "PodTemplate");
    let resources = json!({"requests": {"cpu": "500m"}});
    let container = json!({"name": "c", "image": "i", "resources": resources});
    let template = json!({
        "apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "half"},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [container]}},
    });
    rig.create(&templates, template).await;
}

async fn status(buffers: &Api<DynamicObject>) -> Value {
    let buffer = buffers.get_opt("spare").await.ok().flatten();
    let status = buffer.and_then(|buffer| buffer.data.get("status").cloned());
    status.unwrap_or_default()
}

fn condition<'a>(status: &'a Value, kind: &str) -> (&'a str, &'a str) {
    let all = status["conditions"].as_array();
    let found = all.into_iter().flatten().find(|c| c["type"] == kind);
    let text = |field: &str| found.and_then(|c| c[field].as_str()).unwrap_or("");
    (text("status"), text("reason"))
}

#[tokio::test(start_paused = true)]
async fn nodes_are_there_before_the_pods_and_stay_as_long_as_the_buffer() {
    let (rig, buffers) = rig().await;
    let provider = provider(&rig, &[("workers", (0, 6), 1000)]).await;
    let (_autoscaler, _) = start(&rig, &provider, with_buffers());
    template(&rig).await;
    let spec = json!({"podTemplateRef": {"name": "half"}, "replicas": 4});
    rig.create(&buffers, buffer(&spec)).await;
    rig.until("there is room", async || {
        let status = status(&buffers).await;
        condition(&status, "Provisioning") == ("True", "CapacityReady")
    })
    .await;
    assert_eq!(target(&provider, "workers").await, 2);
    let told_of = status(&buffers).await;
    assert_eq!(told_of["replicas"], 4);
    assert_eq!(told_of["podTemplateRef"]["name"], "half");
    let ready = condition(&told_of, "ReadyForProvisioning");
    assert_eq!(ready, ("True", "AttributesSetSuccessfully"));
    // Nodes that nobody needs go after a minute; these are needed.
    tokio::time::sleep(Duration::from_secs(400)).await;
    assert_eq!(target(&provider, "workers").await, 2);
    assert!(told(&rig, "TriggeredScaleUp").await.is_empty());
    assert!(told(&rig, "NotTriggerScaleUp").await.is_empty());
    assert_eq!(bound(&rig).await, 0);
    // Real pods take the room at once, and it is made anew.
    deploy(&rig, 2).await;
    let took = rig
        .until("the pods have nodes", async || bound(&rig).await == 2)
        .await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    rig.until("there is room again", async || {
        target(&provider, "workers").await == 3
    })
    .await;
    buffers
        .delete("spare", &DeleteParams::default())
        .await
        .unwrap();
    rig.until("the nodes are gone", async || {
        rig.tend_pods().await;
        target(&provider, "workers").await < 3
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_share_of_a_deployment_is_rounded_up_and_follows_it() {
    let (rig, buffers) = rig().await;
    let provider = provider(&rig, &[("workers", (0, 9), 1000)]).await;
    let (_autoscaler, _) = start(&rig, &provider, with_buffers());
    deploy(&rig, 5).await;
    let reference = json!({"apiGroup": "apps", "kind": "Deployment", "name": "web"});
    let spec = json!({"scalableRef": reference, "percentage": 30, "limits": {"cpu": "1500m"}});
    rig.create(&buffers, buffer(&spec)).await;
    let replicas = async |count: i64| {
        let status = status(&buffers).await;
        status["replicas"] == count
    };
    rig.until("5 × 30 % are 2", async || replicas(2).await)
        .await;
    crate::node_autoscaling::scale(&rig, 20).await;
    rig.until("the limit allows 3", async || replicas(3).await)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_buffer_that_refers_to_nothing_says_so() {
    let (rig, buffers) = rig().await;
    let provider = provider(&rig, &[("workers", (0, 6), 1000)]).await;
    let (_autoscaler, _) = start(&rig, &provider, with_buffers());
    let spec = json!({"podTemplateRef": {"name": "half"}, "replicas": 1});
    rig.create(&buffers, buffer(&spec)).await;
    rig.until("it is told", async || {
        let status = status(&buffers).await;
        condition(&status, "ReadyForProvisioning") == ("False", "Error")
    })
    .await;
    template(&rig).await;
    rig.until("there is room", async || {
        target(&provider, "workers").await == 1
    })
    .await;
}

/// Chooses a group by name, and remembers what it was asked.
#[derive(Debug)]
struct Chooser {
    choice: Option<&'static str>,
    asked: Mutex<Vec<OfferedOption>>,
}

#[async_trait]
impl ExpanderService for Chooser {
    async fn best_options(
        &self,
        offered: &[OfferedOption],
    ) -> Result<Vec<Arc<str>>, ProviderError> {
        self.asked.lock().extend(offered.iter().cloned());
        let away = || ProviderError::new(ErrorClass::Unreachable, "away");
        Ok(vec![self.choice.ok_or_else(away)?.into()])
    }
}

/// Two groups that a pod fits, one of them with machines twice as large.
async fn grown_by(choice: Option<&'static str>, chain: &[ExpanderName]) -> (String, Arc<Chooser>) {
    let rig = scheduling::start().await;
    let groups = [("large", (0, 6), 2000), ("small", (0, 6), 1000)];
    let provider = provider(&rig, &groups).await;
    let chooser = Arc::new(Chooser {
        choice,
        asked: Mutex::default(),
    });
    let options = Options {
        expanders: chain.to_vec(),
        adviser: Some(Adviser(Arc::<Chooser>::clone(&chooser))),
        ..hasty()
    };
    let (_autoscaler, _) = start(&rig, &provider, options);
    deploy(&rig, 3).await;
    rig.until("the pods have nodes", async || bound(&rig).await == 3)
        .await;
    let mut grown = String::new();
    for group in ["large", "small"] {
        if target(&provider, group).await > 0 {
            grown.push_str(group);
        }
    }
    (grown, chooser)
}

#[tokio::test(start_paused = true)]
async fn a_service_chooses_the_group() {
    let (grown, chooser) = grown_by(Some("small"), &[ExpanderName::Grpc]).await;
    assert_eq!(grown, "small");
    let (grown, _) = grown_by(Some("large"), &[ExpanderName::Grpc]).await;
    assert_eq!(grown, "large");
    let asked = chooser.asked.lock();
    let small = asked.iter().find(|option| &*option.group == "small");
    let small = small.unwrap();
    assert_eq!((small.nodes, small.pods.len()), (2, 3));
    assert_eq!(small.pods[0]["spec"]["containers"][0]["image"], "a");
    assert_eq!(small.node["status"]["allocatable"]["cpu"], "1000m");
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_the_rest_of_the_chain_chooses() {
    let chain = [ExpanderName::Grpc, ExpanderName::LeastNodes];
    let (grown, chooser) = grown_by(None, &chain).await;
    assert_eq!(grown, "large");
    assert!(chooser.asked.lock().len() >= 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_not_asked_when_nothing_is_left_to_choose() {
    let chain = [ExpanderName::LeastNodes, ExpanderName::Grpc];
    let (grown, chooser) = grown_by(Some("small"), &chain).await;
    assert_eq!(grown, "large");
    assert!(chooser.asked.lock().is_empty());
}
