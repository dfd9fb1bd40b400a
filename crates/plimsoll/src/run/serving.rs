//! The APIs the leader serves, and how clients find it.
//!
//! The Service has no selector: the leader alone answers, because it alone has measurements and
//! explanations. It writes its own address into the Service's endpoints, so a new leader is found
//! as soon as it leads.

use super::RunArgs;
use super::parts::Parts;
use crate::metric_sources::{MetricSourceArgs, Sources};
use anyhow::{Context as _, Result};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use plimsoll_api::local::LocalGroup;
use plimsoll_apiserver::extension::{
    CertificateSource, Extension, ExtensionConfig, Registrations, ServiceAddress,
};
use plimsoll_apiserver::serve::Listener;
use plimsoll_controllers::supervisor::Context;
use plimsoll_sources::metrics::MetricsApi;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

/// The Service in front of the leader.
const SERVICE: &str = "plimsoll";
/// How long open requests may take to end.
const GRACE: Duration = Duration::from_secs(2);
/// Writing where the leader is may take no longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is served, as the flags say.
#[derive(Debug, Clone)]
pub(super) struct Serving {
    port: u16,
    apis: Vec<String>,
    certificate: Option<(PathBuf, PathBuf)>,
    advertise: Option<IpAddr>,
    namespace: String,
    sources: MetricSourceArgs,
}

impl Serving {
    /// What the flags say; `None` if nothing is to be served.
    pub(super) fn new(args: &RunArgs, namespace: &str) -> Option<Self> {
        let sources = args.metric_sources.clone();
        let args = &args.serving;
        let apis: Vec<String> = args
            .serve
            .iter()
            .filter(|api| !api.is_empty())
            .cloned()
            .collect();
        let serves = args.secure_port != 0 && !apis.is_empty();
        serves.then(|| Self {
            port: args.secure_port,
            apis,
            certificate: args
                .tls_cert_file
                .clone()
                .zip(args.tls_private_key_file.clone()),
            advertise: args.advertise_address,
            namespace: namespace.to_owned(),
            sources,
        })
    }

    fn service(&self) -> ServiceAddress {
        ServiceAddress {
            namespace: self.namespace.clone(),
            name: SERVICE.to_owned(),
            port: 443,
        }
    }

    /// Where custom and external metrics come from.
    async fn sources(&self, context: &Context) -> Result<Sources> {
        // Inside a cluster its DNS finds Services.
        let inside = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let proxy = (!inside).then_some(&context.client);
        self.sources
            .sources(&context.client, context.clock, proxy)
            .await
    }

    fn groups(
        &self,
        context: &Context,
        parts: &Parts,
        sources: &Sources,
    ) -> Vec<Arc<dyn LocalGroup>> {
        let mut groups = sources.router.groups();
        for api in ["custom", "external"] {
            let name = format!("{api}.metrics.k8s.io");
            let configured = groups.iter().any(|group| group.group() == name);
            let wanted = self.apis.iter().any(|wanted| wanted == api);
            match (configured, wanted) {
                (true, false) => {
                    tracing::warn!("{name} is configured, but --serve does not name {api}");
                    groups.retain(|group| group.group() != name);
                }
                (false, true) => tracing::warn!(
                    "nothing to serve {name} from: see --metrics-config and --metrics-adapter"
                ),
                _ => {}
            }
        }
        for api in &self.apis {
            match api.as_str() {
                "explain" => groups.push(Arc::new(parts.explanations.clone())),
                "metrics" => {
                    let metrics = MetricsApi::new(parts.pipeline.usage.clone());
                    metrics.follow(context.client.clone());
                    groups.push(Arc::new(metrics));
                }
                _ => {}
            }
        }
        groups
    }

    /// Starts to serve.
    pub(super) async fn start(&self, context: &Context, parts: &Parts) -> Result<Served> {
        let address = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), self.port);
        let listener = Listener::bind(address).await.context("--secure-port")?;
        let service = self.service();
        let certificate = match self.certificate.clone() {
            Some((certificate, key)) => CertificateSource::Files { certificate, key },
            None => CertificateSource::Generated {
                names: service.names(),
            },
        };
        let sources = self.sources(context).await?;
        let extension = Extension::new(ExtensionConfig {
            client: context.client.clone(),
            clock: context.clock,
            seed: context.seed,
            locals: self.groups(context, parts, &sources),
            certificate,
            registrations: Registrations::Update(service),
            metrics: Vec::new(),
        })
        .await?;
        let stop = CancellationToken::new();
        let serving = extension.serve(listener, stop.clone(), GRACE);
        let task = tokio::spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the APIs are not served");
            }
        });
        let sign = if let Some(address) = self.advertise {
            let client = context.client.clone();
            Some(Sign::put_up(client, &self.namespace, address, self.port).await)
        } else {
            tracing::warn!("without --advertise-address, the Service does not lead here");
            None
        };
        tracing::info!(port = self.port, apis = ?self.apis, "serving APIs");
        let mut following = JoinSet::new();
        for work in sources.work {
            following.spawn(work);
        }
        Ok(Served {
            stop,
            task,
            sign,
            _following: following,
        })
    }
}

/// Running APIs. Dropping them ends them at once.
pub(super) struct Served {
    stop: CancellationToken,
    task: JoinHandle<()>,
    sign: Option<Sign>,
    /// Keeps metrics current.
    _following: JoinSet<()>,
}

impl Served {
    /// Takes the address back and lets requests end.
    pub(super) async fn stop(mut self) {
        if let Some(sign) = self.sign.take() {
            sign.take_down().await;
        }
        self.stop.cancel();
        // Whether it ended well has been told.
        drop((&mut self.task).await);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The Service's endpoints, which say where the leader is.
struct Sign {
    slices: Api<DynamicObject>,
    endpoints: Api<DynamicObject>,
}

impl Sign {
    async fn put_up(client: Client, namespace: &str, address: IpAddr, port: u16) -> Self {
        let api = |group, version, kind, plural| {
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            Api::namespaced_with(client.clone(), namespace, &resource)
        };
        let sign = Self {
            slices: api("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            endpoints: api("", "v1", "Endpoints", "endpoints"),
        };
        apply(&sign.slices, &slice(address, port)).await;
        apply(&sign.endpoints, &endpoints(address, port)).await;
        sign
    }

    async fn take_down(&self) {
        for api in [&self.slices, &self.endpoints] {
            let params = DeleteParams::default();
            let deleting = tokio::time::timeout(PATIENCE, api.delete(SERVICE, &params));
            match deleting.await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => tracing::debug!(%error, "endpoints are left behind"),
                Err(_) => tracing::debug!("endpoints are left behind"),
            }
        }
    }
}

async fn apply(api: &Api<DynamicObject>, object: &Value) {
    let params = PatchParams::apply("plimsoll").force();
    let patch = Patch::Apply(object);
    match tokio::time::timeout(PATIENCE, api.patch(SERVICE, &params, &patch)).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(%error, "clients are not led to this leader"),
        Err(_) => tracing::warn!("writing where the leader is takes too long"),
    }
}

fn slice(address: IpAddr, port: u16) -> Value {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": SERVICE, "labels": {
            "kubernetes.io/service-name": SERVICE,
            "endpointslice.kubernetes.io/managed-by": "plimsoll.dev",
        }},
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}

/// What clusters before 1.33 lead API requests by. The slice is ours, so it is not mirrored.
fn endpoints(address: IpAddr, port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": SERVICE, "labels": {
            "endpointslice.kubernetes.io/skip-mirror": "true",
        }},
        "subsets": [{
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    })
}
