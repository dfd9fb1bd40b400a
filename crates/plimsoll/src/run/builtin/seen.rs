//! Looks for traces of another controller.

use super::evidence::{ControllerPod, Evidence, StatusWriter};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

/// Who we are, in managed fields.
const OURSELVES: &str = "plimsoll";
/// Traces in so many autoscalers are enough.
const SAMPLE: u32 = 200;
/// What pods that run controllers are labelled with.
const PODS: &str = "component in (kube-controller-manager,horizontal-pod-autoscaler)";

/// Reads the traces. What may not be read is not there; without rights in the whole cluster (`all`)
/// nothing is asked for.
pub(crate) async fn see(client: &Client, all: bool) -> Evidence {
    if !all {
        return Evidence::default();
    }
    Evidence {
        writers: writers(client).await.unwrap_or_default(),
        pods: pods(client).await.unwrap_or_default(),
    }
}

async fn writers(client: &Client) -> Result<Vec<StatusWriter>, kube::Error> {
    let api: Api<HorizontalPodAutoscaler> = Api::all(client.clone());
    let page = api
        .list_metadata(&ListParams::default().limit(SAMPLE))
        .await?;
    let mut writers = Vec::new();
    for object in page {
        let autoscaler = format!(
            "{}/{}",
            object.namespace().unwrap_or_default(),
            object.name_any()
        );
        let fields = object.metadata.managed_fields.into_iter().flatten();
        let status = fields.filter(|entry| entry.subresource.as_deref() == Some("status"));
        for entry in status {
            let manager = entry.manager.unwrap_or_default();
            if manager != OURSELVES {
                writers.push(StatusWriter {
                    autoscaler: autoscaler.clone(),
                    manager,
                    at: entry.time.map(|time| time.0),
                });
            }
        }
    }
    Ok(writers)
}

async fn pods(client: &Client) -> Result<Vec<ControllerPod>, kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let page = api.list(&ListParams::default().labels(PODS)).await?;
    let running = page.into_iter().filter(|pod| {
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
    });
    Ok(running.map(controller_pod).collect())
}

fn controller_pod(pod: Pod) -> ControllerPod {
    let own = pod.annotations().contains_key("plimsoll.dev/runs-in");
    let part = pod.labels().get("component").filter(|_| own).cloned();
    let name = pod.name_any();
    let containers = pod.spec.into_iter().flat_map(|spec| spec.containers);
    let command = containers.flat_map(|container| {
        let command = container.command.unwrap_or_default();
        command
            .into_iter()
            .chain(container.args.unwrap_or_default())
    });
    ControllerPod {
        name,
        command: command.collect(),
        part,
    }
}
