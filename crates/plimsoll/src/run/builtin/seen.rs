//! Looks for traces of another controller.

use super::evidence::{ControllerPod, Evidence, StatusWriter};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};
use std::sync::Arc;

/// Who we are, in managed fields.
const OURSELVES: &str = "plimsoll";
/// Traces in so many autoscalers are enough.
const SAMPLE: u32 = 200;
/// What pods that run controllers are labelled with.
const PODS: &str = "component in (kube-controller-manager,horizontal-pod-autoscaler)";

/// Reads the traces. What may not be read is not there; with some namespaces as the scope, nothing is
/// asked for outside of them.
pub(crate) async fn see(client: &Client, scope: &[Arc<str>]) -> Evidence {
    if scope.is_empty() {
        return Evidence {
            writers: writers(Api::all(client.clone())).await.unwrap_or_default(),
            pods: pods(client).await.unwrap_or_default(),
        };
    }
    let mut evidence = Evidence::default();
    for namespace in scope {
        let found = writers(Api::namespaced(client.clone(), namespace)).await;
        evidence.writers.extend(found.unwrap_or_default());
    }
    evidence
}

async fn writers(api: Api<HorizontalPodAutoscaler>) -> Result<Vec<StatusWriter>, kube::Error> {
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

#[cfg(test)]
mod tests {
    use super::see;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;
    use std::convert::Infallible;

    /// Rights in namespaces `a` and `b` alone; both have an autoscaler that somebody else wrote.
    fn client() -> Client {
        let server = tower::service_fn(|request: Request<Body>| async move {
            let path = request.uri().path();
            let namespace = path
                .strip_prefix("/apis/autoscaling/v2/namespaces/")
                .and_then(|rest| rest.strip_suffix("/horizontalpodautoscalers"))
                .filter(|namespace| ["a", "b"].contains(namespace));
            let (status, body) = match namespace {
                Some(namespace) => (
                    200,
                    json!({
                        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": {},
                        "items": [{
                            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                            "metadata": {"name": "web", "namespace": namespace, "managedFields": [
                                {"manager": "plimsoll", "operation": "Update", "subresource": "status"},
                                {"manager": "kube-controller-manager", "operation": "Update",
                                 "subresource": "status", "time": "2026-01-01T00:00:00Z"},
                            ]},
                        }],
                    }),
                ),
                None => (
                    403,
                    json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                    "status": "Failure", "message": "no", "reason": "Forbidden", "code": 403}),
                ),
            };
            let body = Body::from(body.to_string().into_bytes());
            Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
        });
        Client::new(server, "default")
    }

    #[tokio::test]
    async fn traces_are_seen_in_the_namespaces_in_scope() {
        let scope = ["a".into(), "forbidden".into(), "b".into()];
        let evidence = see(&client(), &scope).await;
        let writers: Vec<_> = evidence
            .writers
            .iter()
            .map(|writer| (writer.autoscaler.as_str(), writer.manager.as_str()))
            .collect();
        let kcm = "kube-controller-manager";
        assert_eq!(writers, [("a/web", kcm), ("b/web", kcm)]);
        assert!(see(&client(), &[]).await.writers.is_empty());
    }
}
