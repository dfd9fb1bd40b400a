//! Asks by trying: an autoscaler without a target, in our own namespace.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, Error};
use serde_json::json;
use std::time::Duration;

/// What the autoscaler is called. A fixed name, so that one that was left behind is used again.
const NAME: &str = "plimsoll-probe";
/// Upstream's controller answers within its sync period of 15 s; some are set to 30 s.
const PATIENCE: Duration = Duration::from_secs(40);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether a controller says that it cannot scale an autoscaler without a target.
pub(super) async fn obeyed(client: &Client, namespace: &str) -> Result<bool, Error> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
    clear(client, namespace).await?;
    api.create(&PostParams::default(), &bait()?).await?;
    let answered = tokio::time::timeout(PATIENCE, answer(&api)).await;
    clear(client, namespace).await?;
    answered.map_or(Ok(false), |outcome| outcome.map(|()| true))
}

/// Removes the autoscaler, if it is there.
pub(super) async fn clear(client: &Client, namespace: &str) -> Result<(), Error> {
    let api: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), namespace);
    match api.delete(NAME, &DeleteParams::default()).await {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// Waits until somebody has written a condition.
async fn answer(api: &Api<HorizontalPodAutoscaler>) -> Result<(), Error> {
    loop {
        tokio::time::sleep(PAUSE).await;
        let status = api.get(NAME).await?.status;
        let conditions = status.and_then(|status| status.conditions);
        if conditions.is_some_and(|conditions| !conditions.is_empty()) {
            return Ok(());
        }
    }
}

fn bait() -> Result<HorizontalPodAutoscaler, Error> {
    serde_json::from_value(json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": NAME,
            "labels": {"app.kubernetes.io/name": "plimsoll"},
            "annotations": {"plimsoll.dev/purpose":
                "finds out whether a controller obeys autoscalers; deleted within a minute"},
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "minReplicas": 1, "maxReplicas": 1,
        },
    }))
    .map_err(Error::SerdeError)
}
