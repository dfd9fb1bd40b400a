//! All node agents of this machine in one manager.
//!
//! One watch of pods feeds one small task a pod ([`worker`]); what to do next is decided by a pure
//! function ([`plan`]), and what the API shows is computed by another ([`status`]).

pub mod addresses;
mod admitting;
mod backend;
mod board;
mod cluster;
pub mod demand;
mod dial;
pub mod environment;
mod events;
mod evicting;
mod ledger;
mod mailbox;
pub mod names;
mod node;
mod operate;
mod outcome;
pub mod plan;
pub mod pressure;
mod probing;
mod report;
pub mod resize;
mod resizing;
pub mod restart;
pub mod security;
mod server;
pub mod state;
pub mod status;
mod stopping;
mod termination;
mod usage;
pub mod view;
mod worker;

pub(crate) use cluster::Change;
pub use cluster::{Cluster, ClusterError};
pub(crate) use operate::Site;

use crate::proxy::table::Directory;
use crate::runtime::{NodeSlice, Runtime, RuntimeError};
use addresses::{BadCidr, Pool};
use board::Board;
use demand::Amounts;
use ledger::Ledger;
use parking_lot::Mutex;
use plimsoll_api::usage::Samples;
use plimsoll_clock::Clock;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use view::Pod;
use worker::{Message, Worker};

/// One node to run.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// Name of the Node object.
    pub name: String,
    /// Capacity in millicores.
    pub cpu_milli: u64,
    /// Capacity in bytes.
    pub memory_bytes: u64,
    /// Most pods (110 by default upstream).
    pub pods: u32,
    /// Further resources, e.g. `nvidia.com/gpu`, in whole units. They are counted, not handed out.
    pub extended: BTreeMap<String, u64>,
    /// `spec.providerID`; `plimsoll://NAME` where `None`.
    pub provider_id: Option<String>,
    /// Labels beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Taints the node is registered with, as `Node.spec.taints`.
    pub taints: Vec<k8s_openapi::api::core::v1::Taint>,
    /// What runs its pods.
    pub runtime: Arc<dyn Runtime>,
    /// Address range of its pods, e.g. `10.244.1.0/24`.
    pub pod_cidr: String,
    /// The node's own address; the first of `pod_cidr` where `None`.
    pub address: Option<IpAddr>,
    /// Where the node's own server is reached from outside the cluster; `None` where it is only
    /// reached through the API server.
    pub server: Option<std::net::SocketAddr>,
}

/// What the agents need.
#[derive(Clone)]
pub struct Config {
    /// The API.
    pub client: kube::Client,
    /// The clock.
    pub clock: Clock,
    /// Seed of everything random in here.
    pub seed: u64,
    /// Nodes from the start.
    pub nodes: Vec<NodeSpec>,
    /// Where usage goes.
    pub samples: mpsc::Sender<Samples>,
    /// Services and endpoints, shared with proxy and DNS.
    pub services: Directory,
    /// Address of the cluster's DNS.
    pub cluster_dns: IpAddr,
    /// `cluster.local`.
    pub cluster_domain: String,
    /// Directory for volumes and logs.
    pub state_dir: PathBuf,
    /// How often usage is measured (1 s).
    pub sample_period: Duration,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}

/// What can go wrong with a node.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The address range cannot be used.
    #[error("node {node:?} has no usable pod addresses")]
    Addresses {
        /// Node name.
        node: String,
        /// Why.
        source: BadCidr,
    },
    /// The runtime made no room for it.
    #[error("node {node:?} was not made")]
    Runtime {
        /// Node name.
        node: String,
        /// Why.
        source: RuntimeError,
    },
    /// It is there already.
    #[error("node {0:?} is already run here")]
    Exists(String),
    /// It is not run here.
    #[error("node {0:?} is not run here")]
    Unknown(String),
}

/// What all pods of this machine share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) cluster: Cluster,
    pub(crate) clock: Clock,
    pub(crate) events: events::Recorder,
    pub(crate) services: Directory,
    pub(crate) board: Board,
    pub(crate) cluster_dns: IpAddr,
    pub(crate) cluster_domain: String,
    pub(crate) state_dir: PathBuf,
    pub(crate) attachments: crate::volumes::Attachments,
    pub(crate) refresher: crate::volumes::Refresher,
}

/// One node while it is run.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) spec: NodeSpec,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) address: IpAddr,
    pub(crate) since: jiff::Timestamp,
    /// When and why its runtime broke down.
    pub(crate) broken: std::sync::OnceLock<(jiff::Timestamp, String)>,
    pub(crate) pool: Mutex<Pool>,
    /// What it is short of.
    pub(crate) pressure: Mutex<pressure::Pressure>,
    /// What its pods hold of it.
    pub(crate) ledger: Mutex<Ledger<mailbox::Outbox<Message>>>,
    pub(crate) stop: CancellationToken,
}

struct Task {
    uid: String,
    outbox: mailbox::Outbox<Message>,
}

#[derive(Default)]
struct Roster {
    nodes: BTreeMap<String, Arc<Node>>,
    /// Every bound pod that was seen, by namespace and name: also those of nodes to come.
    pods: BTreeMap<(String, String), Arc<Pod>>,
    tasks: BTreeMap<(String, String), Task>,
}

/// All node agents of this machine. Clones are the same agents.
#[derive(Clone)]
pub struct Agents {
    shared: Arc<Shared>,
    roster: Arc<Mutex<Roster>>,
    /// When nodes count as short of something; `None` where nobody looks.
    thresholds: Arc<Mutex<Option<pressure::Thresholds>>>,
    stop: CancellationToken,
}

impl std::fmt::Debug for Agents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let nodes: Vec<String> = self.roster.lock().nodes.keys().cloned().collect();
        f.debug_struct("Agents")
            .field("nodes", &nodes)
            .finish_non_exhaustive()
    }
}

impl Agents {
    /// Starts the agents: registers the nodes and takes on their pods.
    ///
    /// # Errors
    /// A node with an unusable address range, or one that its runtime cannot make.
    pub async fn start(config: Config) -> Result<Self, AgentError> {
        let agents = Self::start_silent(config).await?;
        agents.set_thresholds(pressure::Thresholds::default());
        agents.spawn(node::keep_alive(agents.clone()));
        Ok(agents)
    }

    /// Like [`Agents::start`], without heartbeats: leases and node conditions are written once and
    /// never renewed. For virtual time, where they would be most of the work; nobody may expect
    /// them (`node_grace` of the controllers must be `None`).
    ///
    /// # Errors
    /// See [`Agents::start`].
    pub async fn start_silent(config: Config) -> Result<Self, AgentError> {
        let cluster = Cluster::new(config.client);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            events: events::Recorder::start(cluster.clone(), config.clock),
            cluster,
            clock: config.clock,
            services: config.services,
            board: Board::default(),
            cluster_dns: config.cluster_dns,
            cluster_domain: config.cluster_domain,
            state_dir: config.state_dir,
            attachments: crate::volumes::Attachments::default(),
            refresher: crate::volumes::Refresher::default(),
        });
        let agents = Self {
            shared,
            roster: Arc::default(),
            thresholds: Arc::default(),
            stop,
        };
        for spec in config.nodes {
            agents.add_node(spec).await?;
        }
        agents.spawn(agents.clone().dispatch());
        let sampler = usage::Sampler::new(agents.clone(), config.samples, config.sample_period);
        agents.spawn(sampler.run());
        Ok(agents)
    }

    /// Adds a node at run time.
    ///
    /// # Errors
    /// See [`Agents::start`]; or the node is there already.
    pub async fn add_node(&self, spec: NodeSpec) -> Result<(), AgentError> {
        let name = spec.name.clone();
        let pool = Pool::new(&spec.pod_cidr).map_err(|source| AgentError::Addresses {
            node: name.clone(),
            source,
        })?;
        if self.roster.lock().nodes.contains_key(&name) {
            return Err(AgentError::Exists(name));
        }
        let slice = NodeSlice {
            node: name.clone(),
            cpu_milli: spec.cpu_milli,
            memory_bytes: spec.memory_bytes,
        };
        let added = spec.runtime.add_node(slice).await;
        added.map_err(|source| AgentError::Runtime {
            node: name.clone(),
            source,
        })?;
        let node = Arc::new(Node {
            name: name.clone(),
            runtime: Arc::clone(&spec.runtime),
            address: spec.address.unwrap_or_else(|| pool.gateway()),
            since: self.shared.clock.now(),
            broken: std::sync::OnceLock::new(),
            pool: Mutex::new(pool),
            pressure: Mutex::default(),
            ledger: Mutex::new(Ledger::new(
                Amounts {
                    cpu_milli: spec.cpu_milli,
                    memory_bytes: spec.memory_bytes,
                },
                spec.pods,
            )),
            stop: self.stop.child_token(),
            spec,
        });
        let waiting: Vec<Arc<Pod>> = {
            let mut roster = self.roster.lock();
            roster.nodes.insert(name.clone(), Arc::clone(&node));
            roster
                .pods
                .values()
                .filter(|p| p.spec.node_name == name)
                .map(Arc::clone)
                .collect()
        };
        // Registered in the background: a slow API must not hold the other nodes up.
        let stop = node.stop.clone();
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { stop.run_until_cancelled(node::register(shared, node)).await });
        for pod in waiting {
            self.tell(pod);
        }
        Ok(())
    }

    /// Removes a node at run time: what still runs on it is ended, the Node object is deleted.
    ///
    /// # Errors
    /// The node is not run here, or its runtime cannot remove it.
    pub async fn remove_node(&self, name: &str) -> Result<(), AgentError> {
        let (node, tasks) = {
            let mut roster = self.roster.lock();
            let node = roster.nodes.remove(name);
            let node = node.ok_or_else(|| AgentError::Unknown(name.to_owned()))?;
            let keys: Vec<(String, String)> = roster
                .pods
                .iter()
                .filter(|(_, pod)| pod.spec.node_name == name)
                .map(|(key, _)| key.clone())
                .collect();
            let tasks: Vec<Task> = keys.iter().filter_map(|k| roster.tasks.remove(k)).collect();
            (node, tasks)
        };
        node.stop.cancel();
        for task in &tasks {
            task.outbox.send(Message::Gone);
        }
        for task in tasks {
            task.outbox.closed().await;
        }
        node::deregister(&self.shared, name).await;
        let removed = node.runtime.remove_node(name).await;
        removed.map_err(|source| AgentError::Runtime {
            node: name.to_owned(),
            source,
        })
    }

    /// Stops all agents and what they run. The API objects stay.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        for runtime in self.runtimes() {
            runtime.shutdown().await;
        }
    }

    /// Every runtime once.
    fn runtimes(&self) -> Vec<Arc<dyn Runtime>> {
        let mut runtimes: Vec<Arc<dyn Runtime>> = Vec::new();
        for node in self.roster.lock().nodes.values() {
            if !runtimes.iter().any(|seen| Arc::ptr_eq(seen, &node.runtime)) {
                runtimes.push(Arc::clone(&node.runtime));
            }
        }
        runtimes
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.roster.lock().nodes.values().map(Arc::clone).collect()
    }

    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        tokio::spawn(async move { stop.run_until_cancelled(work).await });
    }

    /// Hands every change of a bound pod to its worker.
    async fn dispatch(self) {
        // The first pods must find the Services' environment variables.
        self.shared.services.synced().await;
        let (sender, mut changes) = mpsc::channel::<Change<Pod>>(256);
        let follow = self.shared.cluster.clone().follow("/api/v1/pods", sender);
        tokio::spawn(follow);
        while let Some(change) = changes.recv().await {
            match change {
                Change::All(pods) => self.replace(pods),
                Change::Set(pod) => self.tell(Arc::new(pod)),
                Change::Gone(pod) => {
                    self.forget(&(pod.metadata.namespace, pod.metadata.name));
                }
            }
        }
    }

    fn replace(&self, pods: Vec<Pod>) {
        let mut left: Vec<(String, String)> = self.roster.lock().pods.keys().cloned().collect();
        for pod in pods {
            let key = key(&pod);
            left.retain(|k| *k != key);
            self.tell(Arc::new(pod));
        }
        for key in left {
            self.forget(&key);
        }
    }

    fn forget(&self, key: &(String, String)) {
        let mut roster = self.roster.lock();
        roster.pods.remove(key);
        if let Some(task) = roster.tasks.remove(key) {
            task.outbox.send(Message::Gone);
        }
    }

    fn tell(&self, pod: Arc<Pod>) {
        if pod.spec.node_name.is_empty() || pod.is_mirror() {
            return;
        }
        let key = key(&pod);
        let mut roster = self.roster.lock();
        let Some(node) = roster.nodes.get(&pod.spec.node_name).map(Arc::clone) else {
            roster.pods.insert(key, pod);
            return;
        };
        let known = roster.tasks.get(&key);
        let known = known.is_some_and(|task| task.uid == pod.metadata.uid);
        let pod = if node.runtime.runs_processes() {
            pod
        } else {
            let pod = Arc::unwrap_or_clone(pod).without_program();
            Arc::new(if known { pod.without_first_look() } else { pod })
        };
        roster.pods.insert(key.clone(), Arc::clone(&pod));
        if let Some(task) = roster.tasks.get(&key) {
            let same = task.uid == pod.metadata.uid;
            let message = if same {
                Message::Pod(Arc::clone(&pod))
            } else {
                Message::Gone
            };
            task.outbox.send(message);
            // A worker that has ended deleted its pod itself; the deletion is on its way here.
            if same {
                return;
            }
        }
        let uid = pod.metadata.uid.clone();
        let (worker, outbox) = Worker::new(Arc::clone(&self.shared), node, pod);
        roster.tasks.insert(key, Task { uid, outbox });
        drop(roster);
        // Boxed: each layer around a future would have room for it twice, for every pod.
        self.spawn(Box::pin(Box::new(worker).run()));
    }
}

fn key(pod: &Pod) -> (String, String) {
    (pod.metadata.namespace.clone(), pod.metadata.name.clone())
}
