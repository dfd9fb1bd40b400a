//! The server as its users see it.

use crate::admission::Indexes;
use crate::admission::policy::Policies;
use crate::admission::service::Allocator;
use crate::admission::webhook::Webhooks;
use crate::aggregation::Aggregation;
use crate::audit::Audit;
use crate::auth::liveness;
use crate::auth::{
    Attributes, Authenticator, Decision, Identity, Rbac, TokenKey, Tokens, VerifiedToken,
};
use crate::custom::rules::RuleCache;
use crate::custom::{self, Registry};
use crate::dispatch;
use crate::flow::Flow;
use crate::http::Body;
use crate::metrics::Metrics;
use crate::openapi::Documents;
use crate::outbound::{Connect, Outbound};
use crate::pki::{FrontProxy, KeyedCert};
use crate::random::Random;
use crate::store::{Entry, Key, Store};
use http::{Request, Response};
use jiff::Timestamp;
use parking_lot::RwLock;
use plimsoll_api::exposition::Exposition;
use plimsoll_api::kind::{Kind, Kinds};
use plimsoll_api::local::LocalGroup;
use plimsoll_api::node::NodeBackend;
use plimsoll_clock::Clock;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

/// Addresses of the cluster.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// First address of the Services' range.
    pub service_network: Ipv4Addr,
    /// Prefix length of the Services' range, 8 to 30.
    pub service_prefix: u8,
    /// Ports for Services of type NodePort.
    pub node_ports: RangeInclusive<u16>,
    /// Where nodes and pods reach the API server; not a loopback address.
    pub advertise_address: Ipv4Addr,
    /// The port there.
    pub advertise_port: u16,
    /// The authority's certificate (PEM), published for clients; empty for none.
    pub ca: String,
    /// What extension servers know this one by; `None` leaves aggregation without a certificate.
    pub front_proxy: Option<FrontProxy>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            service_network: Ipv4Addr::new(10, 96, 0, 0),
            service_prefix: 12,
            node_ports: 30_000..=32_767,
            advertise_address: Ipv4Addr::new(10, 0, 0, 1),
            advertise_port: 6443,
            ca: String::new(),
            front_proxy: None,
        }
    }
}

/// What an API server is made of.
#[derive(Debug)]
pub struct Config {
    /// Where objects live.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// What is served.
    pub kinds: Kinds,
    /// Seeds uids, generated names and allocated ports.
    pub seed: u64,
    /// Addresses.
    pub cluster: ClusterSettings,
    /// Who runs the pods; may come later by [`ApiServer::set_nodes`].
    pub nodes: Option<Arc<dyn NodeBackend>>,
    /// Groups served by other parts of the program.
    pub locals: Vec<Arc<dyn LocalGroup>>,
    /// Signs service-account tokens.
    pub token_key: TokenKey,
}

/// The API server. Clones share it.
#[derive(Debug, Clone)]
pub struct ApiServer(pub(crate) Arc<Inner>);

/// What the clones share.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) kinds: RwLock<Arc<Kinds>>,
    pub(crate) random: Random,
    pub(crate) cluster: ClusterSettings,
    pub(crate) nodes: RwLock<Option<Arc<dyn NodeBackend>>>,
    pub(crate) locals: RwLock<Vec<Arc<dyn LocalGroup>>>,
    pub(crate) authenticator: Authenticator,
    pub(crate) rbac: Rbac,
    pub(crate) audit: OnceLock<Audit>,
    pub(crate) allocator: Allocator,
    /// What built-in admission knows.
    pub(crate) admission: Indexes,
    /// How many requests run, and whose they are.
    pub(crate) flow: Flow,
    pub(crate) metrics: Metrics,
    pub(crate) expositions: RwLock<Vec<Arc<dyn Exposition>>>,
    pub(crate) documents: Documents,
    pub(crate) outbound: Outbound,
    pub(crate) custom: Registry,
    pub(crate) webhooks: Webhooks,
    pub(crate) policies: Policies,
    pub(crate) rules: RuleCache,
    pub(crate) aggregation: Aggregation,
    front_proxy: Option<Arc<KeyedCert>>,
}

impl ApiServer {
    /// A server over what `config` names. Nothing runs until requests come.
    pub fn new(config: Config) -> Self {
        let tokens = Tokens::new(config.token_key, config.clock, config.seed);
        let store = config.store.clone();
        let rbac = Rbac::new(config.store.clone());
        let liveness = move |token: &VerifiedToken| liveness::check(&store, token);
        let allocator = Allocator::new(&config.store, &config.cluster);
        let outbound = Outbound::new(config.store.clone());
        let webhooks = Webhooks::new(&config.store);
        let policies = Policies::new(&config.store);
        let aggregation = Aggregation::new(&config.store);
        let front_proxy = config.cluster.front_proxy.as_ref();
        let front_proxy = front_proxy.map(|front| Arc::new(front.client.clone()));
        let server = Self(Arc::new(Inner {
            admission: Indexes::new(&config.store),
            flow: Flow::new(&config.store),
            store: config.store,
            clock: config.clock,
            kinds: RwLock::new(Arc::new(config.kinds)),
            random: Random::new(config.seed),
            cluster: config.cluster,
            nodes: RwLock::new(config.nodes),
            locals: RwLock::new(config.locals),
            authenticator: Authenticator::new(tokens, Box::new(liveness)),
            rbac,
            audit: OnceLock::new(),
            allocator,
            metrics: Metrics::default(),
            expositions: RwLock::default(),
            documents: Documents::default(),
            outbound,
            webhooks,
            policies,
            aggregation,
            front_proxy,
            custom: Registry::default(),
            rules: RuleCache::default(),
        }));
        custom::load(&server);
        server
    }

    /// A client's view of the server for a known caller, in process: no sockets, no TLS. Fits
    /// `kube::Client::new(server.service(identity), "default")`.
    pub fn service(&self, identity: Identity) -> InProcess {
        InProcess {
            server: self.clone(),
            identity,
        }
    }

    /// Answers a request from a connection. `certificate` is the identity of its client
    /// certificate; a bearer token in the headers counts only without one.
    pub async fn handle<B>(
        &self,
        certificate: Option<Identity>,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let who = self
            .0
            .authenticator
            .authenticate(certificate.as_ref(), request.headers());
        Box::pin(dispatch::answer(self.clone(), who, request)).await
    }

    /// Whether `who` may do this, and why. The one place that decides.
    pub fn authorize(&self, who: &Identity, asked: &Attributes<'_>) -> Decision {
        self.0.rbac.decide(who, asked)
    }

    /// Names who runs the pods, for logs, exec and attach.
    pub fn set_nodes(&self, nodes: Arc<dyn NodeBackend>) {
        *self.0.nodes.write() = Some(nodes);
    }

    /// Names how pods behind Services are reached, for webhooks and extension servers; until then
    /// they are dialled from the host.
    pub fn set_network(&self, network: Arc<dyn Connect>) {
        self.0.outbound.set_network(network);
    }

    /// Adds a group that another part of the program serves.
    pub fn add_local_group(&self, group: Arc<dyn LocalGroup>) {
        self.0.locals.write().push(group);
        self.0.aggregation.groups_changed();
    }

    /// Adds series to `/metrics`.
    pub fn add_exposition(&self, part: Arc<dyn Exposition>) {
        self.0.expositions.write().push(part);
    }

    /// The certificate to show to extension servers.
    pub(crate) fn front_proxy_certificate(&self) -> Option<Arc<KeyedCert>> {
        self.0.front_proxy.clone()
    }

    /// What is served now.
    pub fn kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.0.kinds.read())
    }

    /// The store beneath.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The service-account tokens it issues and accepts.
    pub fn tokens(&self) -> &Tokens {
        self.0.authenticator.tokens()
    }

    /// The time it stamps objects with.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// A stored object of a built-in kind, for admission and subresources.
    pub(crate) fn find(&self, group: &str, plural: &str, at: (&str, &str)) -> Option<Arc<Entry>> {
        let kind = self.stored_kind(group, plural)?;
        self.0.store.get(&key(&kind, at.0, at.1))
    }

    /// Any served kind of this group and plural.
    pub(crate) fn stored_kind(&self, group: &str, plural: &str) -> Option<Arc<Kind>> {
        let kinds = self.kinds();
        let mut found = kinds
            .iter()
            .filter(|k| k.group == group && k.plural == plural);
        found.next().map(Arc::clone)
    }
}

/// Where an object of `kind` lives.
pub(crate) fn key(kind: &Kind, namespace: &str, name: &str) -> Key {
    Key {
        resource: Arc::clone(&kind.storage),
        namespace: if kind.namespaced {
            namespace.into()
        } else {
            "".into()
        },
        name: name.into(),
    }
}

/// Where an object of a stored resource lives.
pub(crate) fn key_of(resource: &str, namespace: &str, name: &str) -> Key {
    Key {
        resource: resource.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// [`ApiServer`] as a tower service for one caller.
#[derive(Debug, Clone)]
pub struct InProcess {
    server: ApiServer,
    identity: Identity,
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (server, identity) = (self.server.clone(), self.identity.clone());
        Box::pin(async move { Ok(dispatch::answer(server, Ok(identity), request).await) })
    }
}
