//! The side that answers.

use super::{SERVICE, convert, wire};
use futures::future::BoxFuture;
use plimsoll_api::nodegroup::{NodeGroup, NodeProvider, NodeRef};
use prost::Message;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Certificates in PEM.
#[derive(Clone)]
pub struct Tls {
    /// Certificate and key of the server.
    pub identity: (Vec<u8>, Vec<u8>),
    /// Who signs the certificates of those who may ask; anybody may where `None`.
    pub clients: Option<Vec<u8>>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The server cannot be started, or broke down.
#[derive(Debug, thiserror::Error)]
#[error("serving node groups over gRPC")]
pub struct ServeError(#[source] tonic::transport::Error);

/// Serves a provider until `stop`.
///
/// # Errors
/// The certificates cannot be used, or the listener broke down.
pub async fn serve(
    provider: Arc<dyn NodeProvider>,
    listener: TcpListener,
    tls: Option<Tls>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut server = Server::builder();
    if let Some(tls) = tls {
        let (cert, key) = tls.identity;
        let mut config = ServerTlsConfig::new().identity(Identity::from_pem(cert, key));
        if let Some(clients) = tls.clients {
            config = config.client_ca_root(Certificate::from_pem(clients));
        }
        server = server.tls_config(config).map_err(ServeError)?;
    }
    let incoming = TcpIncoming::from(listener);
    let router = server.add_service(Plugin { provider });
    let serving = router.serve_with_incoming_shutdown(incoming, stop);
    serving.await.map_err(ServeError)
}

#[derive(Debug, Clone)]
struct Plugin {
    provider: Arc<dyn NodeProvider>,
}

impl NamedService for Plugin {
    const NAME: &'static str = SERVICE;
}

impl tower::Service<http::Request<Body>> for Plugin {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let provider = Arc::clone(&self.provider);
        Box::pin(async move { Ok(answer(provider, request).await) })
    }
}

/// Reads the message, acts, writes the answer.
pub(super) async fn unary<I, O, F>(
    request: http::Request<Body>,
    act: impl FnOnce(I) -> F + Send,
) -> http::Response<Body>
where
    I: Message + Default + Send + Sync + 'static,
    O: Message + Default + Send + Sync + 'static,
    F: Future<Output = Result<O, Status>> + Send,
{
    let mut act = Some(act);
    let service = tower::service_fn(move |request: Request<I>| {
        let done = act.take().map(|act| act(request.into_inner()));
        async move {
            let Some(done) = done else {
                return Err(Status::internal("asked twice"));
            };
            done.await.map(Response::new)
        }
    });
    let codec: ProstCodec<O, I> = ProstCodec::default();
    Grpc::new(codec).unary(service, request).await
}

async fn answer(
    provider: Arc<dyn NodeProvider>,
    request: http::Request<Body>,
) -> http::Response<Body> {
    let path = request.uri().path().to_owned();
    let method = path.rsplit('/').next().unwrap_or_default();
    let p = &*provider;
    match method {
        "NodeGroups" => unary(request, |_: wire::Empty| groups(p)).await,
        "NodeGroupForNode" => unary(request, |asked| group_of(p, asked)).await,
        "NodeGroupTargetSize" => unary(request, |asked| target(p, asked)).await,
        "NodeGroupNodes" => unary(request, |asked| nodes(p, asked)).await,
        "NodeGroupTemplateNodeInfo" => unary(request, |asked| template(p, asked)).await,
        "NodeGroupGetOptions" => unary(request, |asked| options(p, asked)).await,
        "NodeGroupIncreaseSize" => unary(request, |asked| increase(p, asked)).await,
        "NodeGroupDeleteNodes" => unary(request, |asked| delete(p, asked)).await,
        "NodeGroupDecreaseTargetSize" => unary(request, |asked| decrease(p, asked)).await,
        "PricingNodePrice" => unary(request, |asked| async { price(p, asked) }).await,
        "GPULabel" => {
            let label = p.gpu_label().to_owned();
            let answer = |_: wire::Empty| async { Ok(wire::Label { label }) };
            unary(request, answer).await
        }
        "Refresh" | "Cleanup" | "GetAvailableGPUTypes" => {
            let nothing = |_: wire::Empty| async { Ok(wire::Empty {}) };
            unary(request, nothing).await
        }
        _ => Status::unimplemented(format!("there is no call {method}")).into_http(),
    }
}

async fn groups(provider: &dyn NodeProvider) -> Result<wire::Groups, Status> {
    let groups = provider.groups().await.map_err(convert::status)?;
    Ok(wire::Groups {
        groups: groups.iter().map(told).collect(),
    })
}

fn told(group: &NodeGroup) -> wire::Group {
    wire::Group {
        id: group.id.to_string(),
        min_size: convert::number(group.min),
        max_size: convert::number(group.max),
        debug: group.debug.clone(),
    }
}

async fn group(provider: &dyn NodeProvider, id: &str) -> Result<NodeGroup, Status> {
    let groups = provider.groups().await.map_err(convert::status)?;
    let found = groups.into_iter().find(|group| &*group.id == id);
    found.ok_or_else(|| Status::not_found(format!("there is no node group {id:?}")))
}

async fn group_of(
    provider: &dyn NodeProvider,
    asked: wire::OfNode,
) -> Result<wire::MaybeGroup, Status> {
    let node = convert::node_ref(asked.node.unwrap_or_default());
    let id = provider.group_of(&node).await.map_err(convert::status)?;
    let group = match id {
        Some(id) => told(&group(provider, &id).await?),
        None => wire::Group::default(),
    };
    Ok(wire::MaybeGroup { group: Some(group) })
}

async fn target(provider: &dyn NodeProvider, asked: wire::Id) -> Result<wire::TargetSize, Status> {
    let group = group(provider, &asked.id).await?;
    Ok(wire::TargetSize {
        target_size: convert::number(group.target),
    })
}

async fn nodes(provider: &dyn NodeProvider, asked: wire::Id) -> Result<wire::Instances, Status> {
    let group = group(provider, &asked.id).await?;
    let instances = group.instances.into_iter().map(convert::told_instance);
    Ok(wire::Instances {
        instances: instances.collect(),
    })
}

async fn template(provider: &dyn NodeProvider, asked: wire::Id) -> Result<wire::Template, Status> {
    let template = provider.template(&asked.id).await;
    let template = template.map_err(convert::status)?;
    let template = template.ok_or_else(|| Status::unimplemented("no template is known"))?;
    Ok(wire::Template {
        node: convert::bytes("Node", &template.node)?,
    })
}

async fn options(
    provider: &dyn NodeProvider,
    asked: wire::OptionsOf,
) -> Result<wire::MaybeOptions, Status> {
    let group = group(provider, &asked.id).await?;
    let defaults = asked
        .defaults
        .ok_or_else(|| Status::invalid_argument("the defaults are missing"))?;
    Ok(wire::MaybeOptions {
        options: Some(convert::overlaid(defaults, &group.options)),
    })
}

async fn increase(provider: &dyn NodeProvider, asked: wire::Delta) -> Result<wire::Empty, Status> {
    let delta = usize::try_from(asked.delta)
        .map_err(|_| Status::invalid_argument("a group grows by more than nothing"))?;
    let done = provider.increase(&asked.id, delta).await;
    done.map_err(convert::status)?;
    Ok(wire::Empty {})
}

async fn delete(provider: &dyn NodeProvider, asked: wire::Deletion) -> Result<wire::Empty, Status> {
    let nodes: Vec<NodeRef> = asked.nodes.into_iter().map(convert::node_ref).collect();
    let done = provider.delete(&asked.id, &nodes).await;
    done.map_err(convert::status)?;
    Ok(wire::Empty {})
}

async fn decrease(provider: &dyn NodeProvider, asked: wire::Delta) -> Result<wire::Empty, Status> {
    let delta = usize::try_from(asked.delta.saturating_neg())
        .map_err(|_| Status::invalid_argument("the change of a target must be below zero"))?;
    let done = provider.decrease_target(&asked.id, delta).await;
    done.map_err(convert::status)?;
    Ok(wire::Empty {})
}

fn price(provider: &dyn NodeProvider, asked: wire::PriceOfNode) -> Result<wire::Price, Status> {
    let hours = convert::hours(asked.start.as_ref(), asked.end.as_ref());
    let node = convert::node_ref(asked.node.unwrap_or_default());
    let labels: Map<String, Value> = node
        .labels
        .iter()
        .map(|(key, value)| (key.to_string(), json!(**value)))
        .collect();
    let object = json!({
        "metadata": {"name": *node.name, "labels": labels},
        "spec": {"providerID": *node.provider_id},
    });
    let price = provider.price(&object);
    let price = price.ok_or_else(|| Status::unimplemented("no price is known"))?;
    Ok(wire::Price {
        price: price * hours,
    })
}
