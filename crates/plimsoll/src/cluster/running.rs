//! Starting, using and stopping the whole.

use super::doors::{Doorkeeper, Doors};
use super::groups::{self, Embedded};
use super::kubeconfig::{self, NAME, Written};
use super::machine::Machine;
use super::nodes;
use super::reach::ThroughPods;
use crate::metric_sources::MetricSourceArgs;
use crate::up::{NodeArgs, NodeGroupArg};
use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client};
use plimsoll_api::gates::FeatureGates;
use plimsoll_api::kinds;
use plimsoll_api::nodegroup::NodeProvider;
use plimsoll_apiserver::ClusterSettings;
use plimsoll_apiserver::audit::Audit;
use plimsoll_apiserver::pki::{Context as Entry, KeyedCert, Pki};
use plimsoll_apiserver::serve::Listener;
use plimsoll_apiserver::store::{Options as StoreOptions, Sealing, Store};
use plimsoll_clock::Clock;
use plimsoll_cluster::components::{self, COMPONENTS, Component};
use plimsoll_cluster::describing;
use plimsoll_cluster::{ControlPlane, Parts};
use plimsoll_controllers::horizontal;
use plimsoll_controllers::nodes::{self as autoscaling, NodeAutoscaler};
use plimsoll_node::agent::{self, Agents};
use plimsoll_node::dns;
use plimsoll_node::launcher::LauncherConfig;
use plimsoll_node::proxy::table::Directory;
use plimsoll_node::proxy::{self, Proxy};
use plimsoll_node::runtime::choose::{self as runtime, Chosen};
use plimsoll_node::runtime::simulated::{Simulated, Steady};
use plimsoll_node::runtime::{Network, Runtime};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Where the volumes of a cluster in memory are: never among those of a durable one on the same
/// directory.
const PASSING_VOLUMES: &str = "volumes-in-memory-only";
/// Where pods find the DNS.
const DNS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Where pods find the API server.
const KUBERNETES: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// Events and bytes of history kept for watches that resume.
const HISTORY: (usize, usize) = (20_000, 8 << 20);
/// How long open requests may take to end at a stop.
const GRACE: Duration = Duration::from_secs(2);
/// The nodes must be Ready within this time.
const NODE_PATIENCE: Duration = Duration::from_secs(20);

/// What to start.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where state lives.
    pub(crate) dir: PathBuf,
    /// Keep objects in memory only.
    pub(crate) ephemeral: bool,
    /// Where the API server listens.
    pub(crate) address: SocketAddr,
    /// The nodes.
    pub(crate) nodes: NodeArgs,
    /// Groups of nodes that can be resized.
    pub(crate) node_groups: Vec<NodeGroupArg>,
    /// Where to serve them to other autoscalers.
    pub(crate) node_groups_grpc: Option<SocketAddr>,
    /// Parts left out.
    pub(crate) without: BTreeSet<String>,
    /// Root of all seeds.
    pub(crate) seed: u64,
    /// The audit log.
    pub(crate) audit: Option<Audit>,
    /// Which features are on.
    pub(crate) gates: FeatureGates,
    /// Where custom and external metrics come from.
    pub(crate) metric_sources: MetricSourceArgs,
    /// Settings of the horizontal autoscaler, without the gates.
    pub(crate) horizontal: horizontal::Options,
    /// Settings of node autoscaling, for node groups.
    pub(crate) node_autoscaling: autoscaling::Options,
}

/// A running cluster.
pub(crate) struct Running {
    /// An in-process client with all rights.
    pub(crate) client: Client,
    /// The pods' network.
    pub(crate) network: Arc<dyn Network>,
    /// Time.
    pub(crate) clock: Clock,
    /// `https://127.0.0.1:6443`.
    pub(crate) server: String,
    /// The administrator's credentials, in the data directory.
    pub(crate) admin_kubeconfig: PathBuf,
    /// What runs the pods, in words.
    pub(crate) runtime: String,
    /// The nodes, in words.
    pub(crate) nodes: String,
    /// Where the state lives, in words.
    pub(crate) place: String,
    /// Seconds from start to ready.
    pub(crate) took: f64,
    plane: ControlPlane,
    store: Store,
    agents: Option<Agents>,
    /// Who resizes node groups, where there are any.
    pub(crate) node_groups: Option<Arc<dyn NodeProvider>>,
    node_autoscaler: Option<NodeAutoscaler>,
    routing: (Option<Proxy>, Option<dns::Server>),
    admin: KeyedCert,
    pki: Pki,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
    /// Volumes that go with the cluster.
    passing: Option<PathBuf>,
}

impl Running {
    /// Starts everything and waits until the nodes are Ready.
    pub(crate) async fn start(mut settings: Settings) -> Result<Self> {
        let begun = Instant::now();
        let clock = Clock::system();
        let listener = Listener::bind(settings.address).await?;
        let address = listener.address();
        let pki = make_pki(&settings, address)?;
        let store = open_store(&settings)?;
        let (plane, runtime) = tokio::join!(
            start_plane(&settings, &store, clock, &pki),
            start_runtime(&settings, clock)
        );
        let (mut plane, Chosen { runtime, why }) = (plane?, runtime?);
        keep_records(&mut plane, &mut settings, &pki);
        serve_metrics(&mut plane, &settings, clock).await?;
        let stop = CancellationToken::new();
        let server = plane.server.clone();
        server.set_network(Arc::new(ThroughPods(runtime.network())));
        let handler = move |request, peer: plimsoll_apiserver::serve::Peer| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.handle(peer.identity, request).await) }
        };
        let serving =
            tokio::spawn(listener.serve(pki.server_config()?, handler, stop.clone(), GRACE));
        let admin = pki.client("kubernetes-admin", &["system:masters"])?;
        let mut running = Self {
            client: plane.client().clone(),
            network: runtime.network(),
            clock,
            server: format!("https://{address}"),
            admin_kubeconfig: settings.dir.join("admin.kubeconfig"),
            runtime: why,
            nodes: String::new(),
            place: place(&settings),
            took: 0.0,
            plane,
            store,
            agents: None,
            node_groups: None,
            node_autoscaler: None,
            routing: (None, None),
            admin,
            pki,
            stop,
            serving,
            passing: passing(&settings),
        };
        kubeconfig::write_alone(&running.admin_kubeconfig, &running.entry())?;
        running.populate(&settings, runtime, address).await?;
        running.took = begun.elapsed().as_secs_f64();
        tracing::info!(
            server = running.server,
            nodes = running.nodes,
            runtime = running.runtime,
            store = running.place,
            seconds = running.took,
            "the cluster is up"
        );
        Ok(running)
    }

    /// Adds nodes, routing, names, and the pods that describe the parts.
    async fn populate(
        &mut self,
        settings: &Settings,
        runtime: Arc<dyn Runtime>,
        address: SocketAddr,
    ) -> Result<()> {
        let runs = |part: &str| part.is_empty() || !settings.without.contains(part);
        let services = Directory::start(self.client.clone());
        let mut specs = nodes::specs(settings, Machine::here(), &runtime);
        self.nodes = nodes::summary(&specs, &settings.node_groups);
        if runs("proxy") {
            self.routing.0 = Some(self.start_proxy(&services, settings.seed, address));
        }
        if runs("dns") {
            components::dns_service(&self.client, &DNS.to_string()).await?;
            self.routing.1 = Some(start_dns(&services, &self.network));
        }
        if !runs("nodes") {
            "none (left to others)".clone_into(&mut self.nodes);
            return Ok(());
        }
        let doors = Doors::open(&mut specs).await;
        let mut names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
        let (samples, measured) = mpsc::channel(64);
        let agents = Agents::start(agent::Config {
            client: self.client.clone(),
            clock: self.clock,
            seed: settings.seed,
            nodes: specs,
            samples,
            services,
            cluster_dns: IpAddr::V4(DNS),
            cluster_domain: "cluster.local".to_owned(),
            state_dir: settings.dir.join("pods"),
            sample_period: Duration::from_secs(1),
        })
        .await?;
        self.plane.server.set_nodes(Arc::new(agents.clone()));
        self.plane.keep(pump(measured, self.plane.pipeline.clone()));
        doors.serve(&mut self.plane, &self.pki, &self.stop)?;
        if !settings.node_groups.is_empty() {
            names.extend(Box::pin(self.start_groups(settings, &agents, runtime)).await?);
        } else if !settings.ephemeral {
            groups::forget(&self.client).await?;
        }
        self.agents = Some(agents);
        let ready = names.iter().map(|name| node_ready(&self.client, name));
        tokio::time::timeout(NODE_PATIENCE, futures::future::try_join_all(ready))
            .await
            .context("the nodes did not become Ready in time")??;
        self.describe(settings, names.first()).await
    }

    /// Shows the parts of this process as pods, at first on this node.
    async fn describe(&mut self, settings: &Settings, first: Option<&String>) -> Result<()> {
        let runs = |part: &str| part.is_empty() || !settings.without.contains(part);
        let parts = COMPONENTS.iter().filter(|(part, _)| runs(part));
        let parts: Vec<Component> = parts.map(|(_, component)| component.clone()).collect();
        if let Some(node) = first {
            for component in &parts {
                components::describe(&self.client, self.clock, node, component).await?;
            }
        }
        let context = self.plane.context.clone();
        self.plane.keep(describing::keep(context, parts));
        Ok(())
    }

    /// Starts node groups; returns the names of the nodes that they begin with.
    async fn start_groups(
        &mut self,
        settings: &Settings,
        agents: &Agents,
        runtime: Arc<dyn Runtime>,
    ) -> Result<Vec<String>> {
        let doors = Doorkeeper::new(self.plane.server.clone(), &self.pki, &self.stop);
        let embedded = Embedded::new(agents.clone(), runtime, self.clock).with_doors(doors);
        let began = groups::start(&self.client, settings, embedded).await?;
        self.node_groups = Some(began.provider);
        if settings.node_autoscaling.buffers.is_some() {
            let definition = plimsoll_api::capacity_buffer::definition();
            plimsoll_cluster::definitions::define_one(&self.client, definition).await?;
        }
        if settings.node_autoscaling.capacity_quotas {
            let definition = plimsoll_api::capacity_quota::definition();
            plimsoll_cluster::definitions::define_one(&self.client, definition).await?;
        }
        if settings.node_autoscaling.provisioning.is_some() {
            let definition = plimsoll_api::provisioning_request::definition();
            plimsoll_cluster::definitions::define_one(&self.client, definition).await?;
        }
        self.autoscale_nodes(settings);
        Ok(began.nodes)
    }

    /// Begins to resize node groups, if there are any.
    fn autoscale_nodes(&mut self, settings: &Settings) {
        let provider = self.node_groups.as_ref();
        let runs = !settings.without.contains("node-autoscaler");
        let Some(provider) = provider.filter(|_| runs) else {
            return;
        };
        let signals = autoscaling::Signals {
            explanations: self.plane.explanations.nodes.clone(),
            metrics: autoscaling::Metrics::default(),
        };
        let exposition = Arc::new(signals.metrics.clone());
        self.plane.server.add_exposition(exposition);
        let mut options = settings.node_autoscaling.clone();
        if settings.ephemeral {
            options.report.memory = None;
        }
        let (context, provider) = (&self.plane.context, Arc::clone(provider));
        let started = NodeAutoscaler::start(context, provider, options, signals);
        self.node_autoscaler = Some(started);
    }

    fn start_proxy(&self, services: &Directory, seed: u64, address: SocketAddr) -> Proxy {
        let dns = SocketAddr::new(IpAddr::V4(DNS), 53);
        let kubernetes = SocketAddr::new(IpAddr::V4(KUBERNETES), 443);
        Proxy::start(proxy::Config {
            services: services.clone(),
            network: Arc::clone(&self.network),
            clock: self.clock,
            seed,
            node_ports: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            fixed: BTreeMap::from([(kubernetes, address)]),
            except: vec![dns],
        })
    }

    fn entry(&self) -> Entry<'_> {
        Entry {
            name: NAME,
            server: &self.server,
            ca: self.pki.ca(),
            client: &self.admin,
        }
    }

    /// Writes the credentials where the user wants them.
    pub(crate) fn write_kubeconfig(&self, file: Option<&Path>) -> Result<Written> {
        match file {
            Some(path) => kubeconfig::write_alone(path, &self.entry()),
            None => kubeconfig::merge(&self.entry()),
        }
    }

    /// Stops everything, pods first, and makes what was acknowledged durable.
    pub(crate) async fn stop(self) {
        let Self {
            agents,
            node_groups,
            node_autoscaler,
            routing,
            stop,
            serving,
            mut plane,
            store,
            passing,
            ..
        } = self;
        tracing::info!("stopping");
        // Before the pods go, which is not to be scaled by.
        if let Some(autoscaler) = node_autoscaler {
            autoscaler.stop().await;
        }
        plane.rest().await;
        if let Some(groups) = node_groups {
            groups.close().await;
        }
        if let Some(agents) = agents {
            agents.shutdown().await;
        }
        drop(routing);
        stop.cancel();
        serving.await.ok();
        let server = plane.server.clone();
        drop(plane);
        tokio::task::spawn_blocking(move || server.close_audit())
            .await
            .ok();
        store.close().await;
        if let Some(dir) = passing {
            discard(&dir);
        }
        tracing::info!("stopped");
    }
}

/// Starts what signs certificates, and the audit log.
fn keep_records(plane: &mut ControlPlane, settings: &mut Settings, pki: &Pki) {
    if !settings.without.contains("controllers") {
        let (server, pki) = (plane.server.clone(), pki.clone());
        plane.keep(async move { server.sign_certificates(pki).await });
    }
    if let Some(audit) = settings.audit.take() {
        plane.server.set_audit(audit);
    }
}

/// Serves custom and external metrics, if there are sources of any.
async fn serve_metrics(plane: &mut ControlPlane, settings: &Settings, clock: Clock) -> Result<()> {
    let client = plane.client().clone();
    let sources = settings
        .metric_sources
        .sources(&client, clock, Some(&client));
    let sources = sources.await?;
    for group in sources.router.groups() {
        plane.server.add_local_group(group);
    }
    for work in sources.work {
        plane.keep(work);
    }
    Ok(())
}

fn place(settings: &Settings) -> String {
    if settings.ephemeral {
        "memory only; nothing survives a stop".to_owned()
    } else {
        settings.dir.display().to_string()
    }
}

fn make_pki(settings: &Settings, address: SocketAddr) -> Result<Pki> {
    let extra = [address.ip().to_string()];
    let pki = if settings.ephemeral {
        Pki::ephemeral(&extra)
    } else {
        Pki::load_or_create(&settings.dir, &extra)
    };
    pki.context("the cluster's certificates")
}

/// The store of a data directory: its log, and the keys that Secrets are encrypted with.
pub(crate) fn store_options(dir: &Path) -> StoreOptions {
    let (history_events, history_bytes) = HISTORY;
    StoreOptions {
        dir: Some(dir.join("store")),
        history_events,
        history_bytes,
        sealing: Some(Sealing::secrets(dir.join("encryption-keys.json"))),
    }
}

fn open_store(settings: &Settings) -> Result<Store> {
    let mut options = store_options(&settings.dir);
    if settings.ephemeral {
        (options.dir, options.sealing) = (None, None);
    }
    Ok(Store::open(options)?)
}

/// The directory of the volumes made for claims. Those of a cluster in memory go with it.
///
/// Absolute: volumes name it, and the next start may be from elsewhere.
fn volumes(settings: &Settings) -> PathBuf {
    let dir = std::path::absolute(&settings.dir).unwrap_or_else(|_| settings.dir.clone());
    if !settings.ephemeral {
        return dir.join("volumes");
    }
    let dir = dir.join(PASSING_VOLUMES);
    discard(&dir);
    dir
}

/// Where the volumes are that go with the cluster.
fn passing(settings: &Settings) -> Option<PathBuf> {
    let dir = settings.ephemeral.then_some(&settings.dir);
    dir.map(|dir| dir.join(PASSING_VOLUMES))
}

/// Removes what pods wrote; users of their own may have made some of it out of our reach.
fn discard(dir: &Path) {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(dir = %dir.display(), %error, "old volumes are left");
        }
        _ => {}
    }
}

/// What is stored outlives a stop, and so does what autoscalers remember.
fn autoscaling(settings: &Settings) -> horizontal::Options {
    let memory = horizontal::MemoryPlace::in_namespace("kube-system");
    horizontal::Options {
        memory: (!settings.ephemeral).then_some(memory),
        ..settings.horizontal.clone().gated(settings.gates)
    }
}

async fn start_plane(
    settings: &Settings,
    store: &Store,
    clock: Clock,
    pki: &Pki,
) -> Result<ControlPlane> {
    let parts = Parts {
        store: store.clone(),
        clock,
        seed: settings.seed,
        kinds: kinds::gated(settings.gates),
        settings: ClusterSettings {
            ca: pki.ca().to_owned(),
            front_proxy: Some(pki.front_proxy()),
            ..ClusterSettings::default()
        },
        token_key: pki.token_key(),
        without: settings.without.clone(),
        controllers: plimsoll_controllers::supervisor::Options {
            root_ca: Some(pki.ca().into()),
            volumes: Some(volumes(settings)),
            // Only our proxy listens there.
            load_balancers: (!settings.without.contains("proxy")).then_some(Ipv4Addr::LOCALHOST),
            ..Default::default()
        },
        horizontal: autoscaling(settings),
    };
    Ok(ControlPlane::start(parts).await?)
}

/// The runtime and the line that says why this one.
async fn start_runtime(settings: &Settings, clock: Clock) -> Result<Chosen> {
    let wanted = settings.nodes.runtime.as_str();
    if wanted == "simulated" {
        let model = Arc::new(Steady::default());
        let runtime: Arc<dyn Runtime> = Arc::new(Simulated::new(clock, model));
        return Ok(Chosen {
            why: runtime.describe(),
            runtime,
        });
    }
    let choice = wanted
        .parse()
        .map_err(anyhow::Error::msg)
        .context("--runtime")?;
    let exe = std::env::current_exe().context("finding this program")?;
    let config = LauncherConfig::new(settings.dir.join("run"));
    Ok(runtime::choose(choice, &exe, &config, clock).await?)
}

fn start_dns(services: &Directory, network: &Arc<dyn Network>) -> dns::Server {
    let resolv_conf = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    dns::Server::start(dns::Config {
        services: services.clone(),
        network: Arc::clone(network),
        address: SocketAddr::new(IpAddr::V4(DNS), 53),
        domain: "cluster.local".to_owned(),
        service_range: (Ipv4Addr::new(10, 96, 0, 0), 12),
        upstream: dns::Server::host_resolvers(&resolv_conf),
    })
}

async fn pump(
    mut measured: mpsc::Receiver<plimsoll_api::usage::Samples>,
    pipeline: plimsoll_sources::metrics::Pipeline,
) {
    while let Some(samples) = measured.recv().await {
        pipeline.publish(samples);
    }
}

async fn node_ready(client: &Client, name: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    await_condition(nodes, name, is_ready())
        .await
        .with_context(|| format!("node {name}"))?;
    Ok(())
}

fn is_ready() -> impl Condition<Node> {
    |node: Option<&Node>| {
        let conditions = node
            .and_then(|n| n.status.as_ref())
            .and_then(|s| s.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    }
}
