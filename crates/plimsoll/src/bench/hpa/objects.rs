//! The objects that are measured with: workloads that nobody runs, their pods and autoscalers.

use anyhow::Result;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Requests in flight while the objects are made.
const IN_FLIGHT: usize = 64;
/// Name of the custom and external metric.
pub(super) const METRIC: &str = "load";
/// What every metric is to be held at.
pub(super) const TARGET: u32 = 50;

/// Kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
pub(super) enum MetricType {
    /// CPU of the pods
    Resource,
    /// CPU of one container in each pod
    ContainerResource,
    /// A custom metric of each pod
    Pods,
    /// A custom metric of the workload
    Object,
    /// An external metric
    External,
}

/// How much there is, and where.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    pub(super) namespace: String,
    pub(super) autoscalers: usize,
    pub(super) pods: usize,
    pub(super) others: usize,
    pub(super) types: Vec<MetricType>,
}

impl Shape {
    /// Namespace of the pods of other workloads.
    pub(super) fn elsewhere(&self) -> String {
        format!("{}-others", self.namespace)
    }

    /// Every pod: namespace and name.
    pub(super) fn pod_names(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let own = (0..self.autoscalers)
            .flat_map(|index| (0..self.pods).map(move |pod| pod_name(index, pod)));
        let own = own.map(|name| (self.namespace.clone(), name));
        own.chain((0..self.others).map(|pod| (self.elsewhere(), other_name(pod))))
    }

    /// Makes everything.
    pub(super) async fn make(&self, client: &Client) -> Result<()> {
        for namespace in [self.namespace.clone(), self.elsewhere()] {
            let made = json!({ "metadata": { "name": namespace } });
            let namespaces: Api<Namespace> = Api::all(client.clone());
            namespaces
                .create(&PostParams::default(), &object(made)?)
                .await?;
            // Pods are refused without, and nobody else may be there to make it.
            let account = json!({ "metadata": { "name": "default" } });
            let made = create::<ServiceAccount>(client, &namespace, account).await;
            tolerate_existing(made)?;
        }
        stream::iter(0..self.autoscalers)
            .map(|index| self.make_workload(client, index))
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<()>()
            .await?;
        let elsewhere = self.elsewhere();
        stream::iter(0..self.others)
            .map(|pod| {
                // Ten to a workload, as the measured ones have.
                let labels = json!({ "app": format!("other-{}", pod / 10) });
                make_pod(client, &elsewhere, other_name(pod), labels)
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect::<()>()
            .await
    }

    async fn make_workload(&self, client: &Client, index: usize) -> Result<()> {
        let (namespace, name) = (&self.namespace, app(index));
        create::<Deployment>(client, namespace, deployment(index, self.pods)).await?;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
        let status = json!({ "status": { "replicas": self.pods, "readyReplicas": self.pods } });
        let patch = Patch::Merge(status);
        deployments
            .patch_status(&name, &PatchParams::default(), &patch)
            .await?;
        for pod in 0..self.pods {
            let labels = json!({ "app": name });
            make_pod(client, namespace, pod_name(index, pod), labels).await?;
        }
        let autoscaler = self.autoscaler(index);
        create::<HorizontalPodAutoscaler>(client, namespace, autoscaler).await
    }

    fn autoscaler(&self, index: usize) -> Value {
        let name = app(index);
        let kind = self.types.get(index % self.types.len().max(1));
        let metric = metric(kind.copied().unwrap_or(MetricType::Resource), &name);
        json!({
            "metadata": { "name": name },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
                "minReplicas": 1,
                "maxReplicas": 100,
                "metrics": [metric],
            },
        })
    }
}

fn metric(kind: MetricType, name: &str) -> Value {
    let percent = json!({ "type": "Utilization", "averageUtilization": TARGET });
    let average = json!({ "type": "AverageValue", "averageValue": TARGET.to_string() });
    let total = json!({ "type": "Value", "value": TARGET.to_string() });
    let load = json!({ "name": METRIC });
    match kind {
        MetricType::Resource => {
            json!({ "type": "Resource", "resource": { "name": "cpu", "target": percent } })
        }
        MetricType::ContainerResource => json!({ "type": "ContainerResource",
            "containerResource": { "name": "cpu", "container": "app", "target": percent } }),
        MetricType::Pods => json!({ "type": "Pods",
            "pods": { "metric": load, "target": average } }),
        MetricType::Object => json!({ "type": "Object", "object": { "metric": load,
            "describedObject": { "apiVersion": "apps/v1", "kind": "Deployment", "name": name },
            "target": total } }),
        MetricType::External => json!({ "type": "External",
            "external": { "metric": load, "target": total } }),
    }
}

/// Name of a workload and its autoscaler.
pub(super) fn app(index: usize) -> String {
    format!("app-{index}")
}

pub(super) fn pod_name(index: usize, pod: usize) -> String {
    format!("app-{index}-{pod}")
}

fn other_name(pod: usize) -> String {
    format!("other-{pod}")
}

/// An object of a type from JSON.
pub(super) fn object<K: DeserializeOwned>(value: Value) -> Result<K> {
    Ok(serde_json::from_value(value)?)
}

/// Nothing happened where the object was there before.
pub(super) fn tolerate_existing(made: Result<()>) -> Result<()> {
    match made {
        Err(error) if is_conflict(&error) => Ok(()),
        other => other,
    }
}

fn is_conflict(error: &anyhow::Error) -> bool {
    let status = error.downcast_ref::<kube::Error>();
    matches!(status, Some(kube::Error::Api(status)) if status.code == 409)
}

/// Creates an object.
pub(super) async fn create<K>(client: &Client, namespace: &str, value: Value) -> Result<()>
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &object(value)?).await?;
    Ok(())
}

async fn make_pod(client: &Client, namespace: &str, name: String, labels: Value) -> Result<()> {
    let mut spec = template_spec();
    if let Some(spec) = spec.as_object_mut() {
        // Nobody is to run it: no scheduler has this name.
        spec.insert("schedulerName".into(), "plimsoll-bench".into());
    }
    let value = json!({ "metadata": { "name": name, "labels": labels }, "spec": spec });
    create::<Pod>(client, namespace, value).await?;
    let status = json!({ "status": {
        "phase": "Running", "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{ "type": "Ready", "status": "True",
                         "lastTransitionTime": "2026-01-01T00:00:10Z" }],
    } });
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

fn template_spec() -> Value {
    json!({ "containers": [{ "name": "app", "image": "app",
        "resources": { "requests": { "cpu": "500m" } } }] })
}

fn deployment(index: usize, pods: usize) -> Value {
    let labels = json!({ "app": app(index) });
    json!({
        "metadata": { "name": app(index) },
        "spec": {
            // Paused, so that a deployment controller makes no pods of it.
            "paused": true,
            "replicas": pods,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": template_spec() },
        },
    })
}
