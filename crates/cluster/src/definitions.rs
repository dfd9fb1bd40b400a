//! The custom resource definitions of this program, kept up to date in its own cluster.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, Client, Error};
use plimsoll_api::pod_autoscaler;
use serde_json::Value;

/// Creates what is missing, and replaces what an older program left in the data directory. A server
/// that serves no definitions, as in a simulation of few kinds, gets none.
///
/// # Errors
/// What the API server answers.
pub async fn define(client: &Client) -> Result<(), Error> {
    define_one(client, pod_autoscaler::definition()).await
}

/// The same for one definition.
///
/// # Errors
/// What the API server answers.
pub async fn define_one(client: &Client, definition: Value) -> Result<(), Error> {
    let definition = decode(definition)?;
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let created = api.create(&PostParams::default(), &definition).await;
    match created {
        Err(Error::Api(status)) if status.code == 409 => renew(&api, definition).await,
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

async fn renew(
    api: &Api<CustomResourceDefinition>,
    mut definition: CustomResourceDefinition,
) -> Result<(), Error> {
    let name = definition.metadata.name.clone().unwrap_or_default();
    let stored = api.get(&name).await?;
    let versions = |crd: &CustomResourceDefinition| serde_json::to_value(&crd.spec.versions).ok();
    if versions(&stored) == versions(&definition) {
        return Ok(());
    }
    definition.metadata = stored.metadata;
    api.replace(&name, &PostParams::default(), &definition)
        .await
        .map(drop)
}

fn decode(value: Value) -> Result<CustomResourceDefinition, Error> {
    serde_json::from_value(value).map_err(Error::SerdeError)
}
