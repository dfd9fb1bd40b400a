//! The storage classes a cluster starts with.
//!
//! `standard` behaves like a local disk: its volumes are made when a pod is to use them, and stay on
//! that pod's node. `fast` behaves like a network disk: its volumes are made at once and reach every
//! node, one at a time.

use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, Error};
use plimsoll_controllers::volumes::{LOCAL, provision::TOPOLOGY_KEYS};
use serde_json::{Value, json};

const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";

/// Creates the classes that are missing. Claims that name none get `standard`, unless somebody
/// marked another class. A server that serves no classes gets none.
///
/// # Errors
/// What the API server answers.
pub async fn classes(client: &Client) -> Result<(), Error> {
    let api: Api<StorageClass> = Api::all(client.clone());
    let known = match api.list(&ListParams::default()).await {
        Err(Error::Api(status)) if status.code == 404 => return Ok(()),
        other => other?,
    };
    let has_default = known.items.iter().any(|class| {
        let annotations = class.metadata.annotations.as_ref();
        annotations.is_some_and(|all| all.get(DEFAULT).is_some_and(|value| value == "true"))
    });
    for class in [standard(!has_default), fast()] {
        let class = serde_json::from_value(class).map_err(Error::SerdeError)?;
        match api.create(&PostParams::default(), &class).await {
            Err(Error::Api(status)) if status.code == 409 => {}
            other => drop(other?),
        }
    }
    Ok(())
}

fn standard(is_default: bool) -> Value {
    json!({
        "metadata": {
            "name": "standard", "annotations": {(DEFAULT): is_default.to_string()},
        },
        "provisioner": LOCAL, "reclaimPolicy": "Delete", "allowVolumeExpansion": true,
        "volumeBindingMode": "WaitForFirstConsumer",
        "parameters": {(TOPOLOGY_KEYS): "kubernetes.io/hostname"},
    })
}

fn fast() -> Value {
    json!({
        "metadata": {"name": "fast"},
        "provisioner": LOCAL, "reclaimPolicy": "Delete", "allowVolumeExpansion": true,
        "volumeBindingMode": "Immediate",
    })
}
