//! Looks at the cluster as any client would.

use super::timeline::Moment;
use anyhow::{Context, Result};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const NAME: &str = "scalable-app";

/// Creates every object of a manifest in `default`.
pub(crate) async fn apply(client: &Client, manifest: &str) -> Result<()> {
    for document in manifest.split("\n---\n") {
        let value: Value = serde_saphyr::from_str(document).context("reading the manifest")?;
        let object: DynamicObject = serde_json::from_value(value).context("reading an object")?;
        let types = object.types.clone().context("an object without a kind")?;
        let gvk = GroupVersionKind::try_from(&types).context("an object's apiVersion")?;
        let resource = ApiResource::from_gvk(&gvk);
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
        api.create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("creating the {}", gvk.kind))?;
    }
    Ok(())
}

/// Looks at the workload.
#[derive(Debug)]
pub(crate) struct Observer {
    hpas: Api<HorizontalPodAutoscaler>,
    pods: Api<Pod>,
    services: Api<Service>,
    start: Instant,
}

impl Observer {
    /// `start` is when the demonstration began.
    pub(crate) fn new(client: Client, start: Instant) -> Self {
        Self {
            hpas: Api::namespaced(client.clone(), "default"),
            pods: Api::namespaced(client.clone(), "default"),
            services: Api::namespaced(client, "default"),
            start,
        }
    }

    /// Waits for the first Ready pod; returns the Service's address.
    pub(crate) async fn ready(&self) -> Result<SocketAddr> {
        while self.look().await?.ready == 0 {
            sleep(Duration::from_millis(20)).await;
        }
        let service = self.services.get(NAME).await?;
        let ip = service
            .spec
            .and_then(|s| s.cluster_ip)
            .context("a Service without address")?;
        Ok(SocketAddr::new(
            ip.parse().context("the Service's address")?,
            80,
        ))
    }

    /// The state now; load and counts are the caller's to fill in.
    pub(crate) async fn look(&self) -> Result<Moment> {
        let hpa = self.hpas.get(NAME).await.context("reading the HPA")?;
        let selected = ListParams::default().labels("app=scalable-app");
        let pods = self
            .pods
            .list(&selected)
            .await
            .context("listing the pods")?;
        let status = hpa.status.unwrap_or_default();
        let current = status
            .current_metrics
            .into_iter()
            .flatten()
            .find_map(|m| m.resource);
        let ready = pods.items.iter().filter(|pod| is_ready(pod)).count();
        Ok(Moment {
            at: self.start.elapsed().as_secs_f64(),
            utilization: current.and_then(|c| c.current.average_utilization),
            desired: status.desired_replicas,
            ready: i32::try_from(ready).unwrap_or(i32::MAX),
            ..Moment::default()
        })
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .into_iter()
            .any(|c| c.type_ == "Ready" && c.status == "True")
}
