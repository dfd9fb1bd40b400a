//! A controller written with kube-rs and nothing of ours, to show that such a program cannot tell
//! `plimsoll up` from another Kubernetes: it installs its CustomResourceDefinition, watches
//! Websites, keeps a ConfigMap and a Deployment for each by server-side apply, and reports in the
//! status.
//!
//! ```text
//! plimsoll up --detach --kubeconfig site.kubeconfig
//! KUBECONFIG=site.kubeconfig cargo run --example website_controller &
//! kubectl --kubeconfig site.kubeconfig apply -f examples/website.yaml
//! kubectl --kubeconfig site.kubeconfig get websites -w
//! ```

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, watcher};
use kube::{Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

/// Who writes.
const MANAGER: &str = "website-controller";

/// A website: how many servers show which words.
#[derive(CustomResource, Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "demo.plimsoll.dev",
    version = "v1",
    kind = "Website",
    namespaced,
    status = "WebsiteStatus",
    shortname = "site",
    printcolumn = r#"{"name":"Replicas","type":"integer","jsonPath":".spec.replicas"}"#,
    printcolumn = r#"{"name":"Ready","type":"integer","jsonPath":".status.ready"}"#
)]
struct WebsiteSpec {
    /// The words it shows.
    words: String,
    /// How many servers show them.
    replicas: i32,
}

/// What has become of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
struct WebsiteStatus {
    /// How many servers are ready.
    ready: i32,
    /// The generation this is about.
    #[serde(rename = "observedGeneration")]
    observed_generation: Option<i64>,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The API server said no.
    #[error("the API server")]
    Api(#[from] kube::Error),
    /// An object has no key to own others by.
    #[error("the website has no uid")]
    Unowned,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let client = Client::try_default().await?;
    install(&client).await?;
    let sites: Api<Website> = Api::all(client.clone());
    let owned: Api<Deployment> = Api::all(client.clone());
    Controller::new(sites, watcher::Config::default())
        .owns(owned, watcher::Config::default())
        .run(reconcile, again_soon, Arc::new(client))
        .for_each(|pass| {
            if let Err(error) = pass {
                let line = format!("{:#}", anyhow::Error::from(error));
                writeln!(std::io::stderr(), "{line}").ok();
            }
            std::future::ready(())
        })
        .await;
    Ok(())
}

/// Applies the definition and waits until it is served.
async fn install(client: &Client) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let name = Website::crd_name();
    let apply = PatchParams::apply(MANAGER).force();
    let definition = Patch::Apply(Website::crd());
    definitions.patch(name, &apply, &definition).await?;
    let established = await_condition(definitions, name, conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(10), established).await??;
    Ok(())
}

async fn reconcile(site: Arc<Website>, client: Arc<Client>) -> Result<Action, Error> {
    let namespace = site.namespace().unwrap_or_default();
    let name = site.name_any();
    let owner = site.controller_owner_ref(&()).ok_or(Error::Unowned)?;
    let metadata = json!({"name": name, "namespace": namespace, "ownerReferences": [owner]});
    let apply = PatchParams::apply(MANAGER).force();
    let words = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata,
        "data": {"words": site.spec.words},
    });
    Api::<ConfigMap>::namespaced(Client::clone(&client), &namespace)
        .patch(&name, &apply, &Patch::Apply(words))
        .await?;
    let labels = json!({"website": name});
    let servers = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": site.spec.replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "nginx"}]},
            },
        },
    });
    let servers = Api::<Deployment>::namespaced(Client::clone(&client), &namespace)
        .patch(&name, &apply, &Patch::Apply(servers))
        .await?;
    let ready = servers.status.and_then(|s| s.ready_replicas).unwrap_or(0);
    let status = json!({
        "apiVersion": Website::api_version(&()), "kind": Website::kind(&()),
        "status": {"ready": ready, "observedGeneration": site.meta().generation},
    });
    Api::<Website>::namespaced(Client::clone(&client), &namespace)
        .patch_status(&name, &apply, &Patch::Apply(status))
        .await?;
    Ok(Action::await_change())
}

fn again_soon(_: Arc<Website>, _: &Error, _: Arc<Client>) -> Action {
    Action::requeue(Duration::from_secs(1))
}
