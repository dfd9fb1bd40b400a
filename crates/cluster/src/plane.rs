//! The control plane.

use kube::Client;
use plimsoll_api::kind::Kinds;
use plimsoll_apiserver::auth::{Identity, TokenKey};
use plimsoll_apiserver::store::Store;
use plimsoll_apiserver::{ApiServer, ClusterSettings, Config};
use plimsoll_clock::Clock;
use plimsoll_controllers::explain::ExplainApi;
use plimsoll_controllers::horizontal::{self, Explanations, Horizontal, Signals};
use plimsoll_controllers::supervisor::{self, Context};
use plimsoll_sources::metrics::{MetricsApi, Pipeline};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// What a control plane is made of.
#[derive(Debug)]
pub struct Parts {
    /// Where objects live.
    pub store: Store,
    /// What time it is.
    pub clock: Clock,
    /// Root of all seeds.
    pub seed: u64,
    /// What is served.
    pub kinds: Kinds,
    /// Addresses.
    pub settings: ClusterSettings,
    /// Signs service-account tokens.
    pub token_key: TokenKey,
    /// Parts to leave out: `controllers`, `scheduler`, `horizontal`, `metrics`.
    pub without: BTreeSet<String>,
    /// Settings of the controllers.
    pub controllers: supervisor::Options,
    /// Settings of the horizontal autoscaler.
    pub horizontal: horizontal::Options,
}

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The objects every cluster has could not be made.
    #[error("the cluster's first objects could not be made")]
    Bootstrap(#[source] plimsoll_api::status::ApiError),
    /// The definitions of this program's own kinds could not be made.
    #[error("the definitions of custom resources could not be made")]
    Define(#[source] kube::Error),
    /// The storage classes could not be made.
    #[error("the storage classes could not be made")]
    Classes(#[source] kube::Error),
}

/// A running control plane. Dropping it stops its tasks.
#[derive(Debug)]
pub struct ControlPlane {
    /// The API server.
    pub server: ApiServer,
    /// What the controllers share.
    pub context: Context,
    /// Where measurements go.
    pub pipeline: Pipeline,
    /// Why each autoscaler did what it did, and why each node stays or goes.
    pub explanations: ExplainApi,
    horizontal: Option<Horizontal>,
    tasks: JoinSet<()>,
}

impl ControlPlane {
    /// Starts everything. Must be called inside a runtime.
    ///
    /// # Errors
    /// The store refuses the first objects.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let server = ApiServer::new(Config {
            store: parts.store,
            clock: parts.clock,
            kinds: parts.kinds,
            seed: parts.seed,
            cluster: parts.settings,
            nodes: None,
            locals: Vec::new(),
            token_key: parts.token_key,
        });
        server.bootstrap().await.map_err(StartError::Bootstrap)?;
        let client = Client::new(server.service(Identity::in_process("plimsoll")), "default");
        let context = Context::start(client.clone(), parts.clock, parts.seed, parts.controllers);
        let pipeline = Pipeline::new();
        let explanations = ExplainApi::default();
        let runs = |part: &str| !parts.without.contains(part);
        let mut tasks = JoinSet::new();
        tend(&mut tasks, &server);
        if runs("metrics") {
            let metrics = MetricsApi::new(pipeline.usage.clone());
            metrics.follow(client);
            server.add_local_group(Arc::new(metrics));
        }
        if runs("controllers") {
            crate::storage::classes(&context.client)
                .await
                .map_err(StartError::Classes)?;
            let aggregated = server.clone();
            tasks.spawn(async move { aggregated.aggregate_roles().await });
            let filled = server.clone();
            tasks.spawn(async move { filled.fill_token_secrets().await });
            let mut controllers = supervisor::start_all(&context);
            tasks.spawn(async move { while controllers.join_next().await.is_some() {} });
        }
        if runs("scheduler") {
            tasks.spawn(plimsoll_controllers::scheduler::control(context.clone()));
        }
        let mut horizontal = None;
        if runs("horizontal") {
            let defined = crate::definitions::define(&context.client);
            defined.await.map_err(StartError::Define)?;
            server.add_local_group(Arc::new(explanations.clone()));
            let signals = signals(&server, &pipeline, &explanations.scalers);
            horizontal = Some(Horizontal::start(&context, signals, parts.horizontal));
        }
        Ok(Self {
            server,
            context,
            pipeline,
            explanations,
            horizontal,
            tasks,
        })
    }

    /// Ends the horizontal autoscaler in order: it finishes its writes and saves what it remembers.
    pub async fn rest(&mut self) {
        if let Some(horizontal) = self.horizontal.take() {
            horizontal.stop().await;
        }
    }

    /// Keeps a further task with the control plane.
    pub fn keep(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// A client with all rights, in process.
    pub fn client(&self) -> &Client {
        &self.context.client
    }
}

/// What the horizontal autoscaler works with. The server shows its series.
fn signals(server: &ApiServer, pipeline: &Pipeline, explanations: &Explanations) -> Signals {
    let metrics = horizontal::Metrics::default();
    server.add_exposition(Arc::new(metrics.clone()));
    Signals {
        usage: pipeline.usage.clone(),
        rounds: pipeline.subscribe(),
        explanations: explanations.clone(),
        metrics,
    }
}

/// What the API server itself does all the time.
fn tend(tasks: &mut JoinSet<()>, server: &ApiServer) {
    let tended = server.clone();
    tasks.spawn(async move { tended.tend().await });
    let counted = server.clone();
    tasks.spawn(async move { counted.tend_quotas().await });
    let sorted = server.clone();
    tasks.spawn(async move { sorted.tend_flows().await });
    let extended = server.clone();
    tasks.spawn(async move { extended.aggregate().await });
}
