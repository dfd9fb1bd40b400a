//! Builds what all controllers share and starts them.

use crate::pods::Caches;
use crate::runtime::{Recorder, Writer};
use crate::wishes::Wishes;
use kube::Client;
use plimsoll_clock::Clock;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Names that [`Options::without`] takes.
pub const CONTROLLERS: [&str; 23] = [
    "deployment",
    "replicaset",
    "statefulset",
    "replicationcontroller",
    "endpointslice",
    "endpoints",
    "endpointslicemirroring",
    "servicelb",
    "garbage",
    "namespace",
    "serviceaccount",
    "podgc",
    "nodelifecycle",
    "protection",
    "ipaddress",
    "disruption",
    "volumes",
    "ephemeral",
    "job",
    "cronjob",
    "ttl-after-finished",
    "daemonset",
    "resourceclaim",
];

/// What to run and with which settings.
#[derive(Debug, Clone)]
pub struct Options {
    /// Controllers of [`CONTROLLERS`] to leave out.
    pub without: BTreeSet<String>,
    /// PEM text published as `kube-root-ca.crt` in every namespace; nothing is published without.
    pub root_ca: Option<Arc<str>>,
    /// A node whose lease and status are older than this is unreachable (upstream: 50 s).
    /// `None` switches the check off, as for nodes in virtual time that send no heartbeats.
    pub node_grace: Option<Duration>,
    /// Terminated pods above this number are deleted, oldest first (upstream: 12,500; 0 = keep).
    pub terminated_pods: usize,
    /// Directory of the volumes that are made for claims. `None` as in virtual time: volumes are
    /// made, but no directories.
    pub volumes: Option<PathBuf>,
    /// First of the host's loopback addresses that Services of type LoadBalancer get. `None` leaves
    /// them to somebody else.
    pub load_balancers: Option<Ipv4Addr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            without: BTreeSet::new(),
            root_ca: None,
            node_grace: Some(Duration::from_secs(50)),
            terminated_pods: 12_500,
            volumes: None,
            load_balancers: None,
        }
    }
}

/// What every controller gets. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The way to the API.
    pub client: Client,
    /// Writes with the answers taken into the caches.
    pub writer: Writer,
    /// Time.
    pub clock: Clock,
    /// Root of the seeds.
    pub seed: u64,
    /// The shared caches.
    pub caches: Caches,
    /// Tells events; use [`Recorder::component`] for a controller's own name.
    pub recorder: Recorder,
    /// What autoscalers want beyond what they may write now.
    pub wishes: Wishes,
    /// Settings.
    pub options: Options,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("seed", &self.seed)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// Starts the caches and the recorder. Must be called inside a runtime.
    pub fn start(client: Client, clock: Clock, seed: u64, options: Options) -> Self {
        let writer = Writer::new(client.clone());
        Self {
            caches: Caches::start(&client, seed),
            recorder: Recorder::start(writer.clone(), clock),
            writer,
            client,
            clock,
            seed,
            wishes: Wishes::default(),
            options,
        }
    }

    /// The same for autoscalers alone: see [`Caches::for_autoscalers`].
    pub fn for_autoscalers(
        client: Client,
        clock: Clock,
        seed: u64,
        namespaces: &[Arc<str>],
    ) -> Self {
        let caches = Caches::for_autoscalers(&client, seed, namespaces);
        Self::with_caches(client, clock, seed, caches)
    }

    /// The same where nodes are autoscaled, too: see [`Caches::with_nodes`].
    pub async fn for_node_autoscaling(client: Client, clock: Clock, seed: u64) -> Self {
        let caches = Caches::with_nodes(&client, seed).await;
        Self::with_caches(client, clock, seed, caches)
    }

    fn with_caches(client: Client, clock: Clock, seed: u64, caches: Caches) -> Self {
        let writer = Writer::new(client.clone());
        Self {
            caches,
            recorder: Recorder::start(writer.clone(), clock),
            writer,
            client,
            clock,
            seed,
            wishes: Wishes::default(),
            options: Options::default(),
        }
    }

    fn runs(&self, name: &str) -> bool {
        !self.options.without.contains(name)
    }
}

/// Starts every controller of [`CONTROLLERS`] that is not left out. Dropping the set stops them.
///
/// Each waits for its caches before its first reconcile.
pub fn start_all(context: &Context) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for name in CONTROLLERS.into_iter().filter(|name| context.runs(name)) {
        let context = context.clone();
        match name {
            "deployment" => drop(tasks.spawn(crate::deployment::control(context))),
            "replicaset" => drop(tasks.spawn(crate::replicaset::control(context))),
            "statefulset" => drop(tasks.spawn(crate::statefulset::control(context))),
            "replicationcontroller" => {
                drop(tasks.spawn(crate::replicationcontroller::control(context)));
            }
            "endpointslice" => drop(tasks.spawn(crate::endpointslice::control(context))),
            "endpoints" => drop(tasks.spawn(crate::endpoints::control(context))),
            "servicelb" => drop(tasks.spawn(crate::servicelb::control(context))),
            "endpointslicemirroring" => {
                drop(tasks.spawn(crate::endpointslice::mirroring::control(context)));
            }
            "garbage" => drop(tasks.spawn(crate::garbage::control(context))),
            "namespace" => drop(tasks.spawn(crate::namespace::control(context))),
            "serviceaccount" => drop(tasks.spawn(crate::serviceaccount::control(context))),
            "protection" => drop(tasks.spawn(crate::protection::control(context))),
            "ipaddress" => drop(tasks.spawn(crate::ipaddress::control(context))),
            "daemonset" => drop(tasks.spawn(crate::daemonset::control(context))),
            "resourceclaim" => drop(tasks.spawn(crate::devices::control(context))),
            "disruption" => drop(tasks.spawn(crate::disruption::control(context))),
            "volumes" => drop(tasks.spawn(crate::volumes::control(context))),
            "ephemeral" => drop(tasks.spawn(crate::volumes::ephemeral::control(context))),
            "job" => drop(tasks.spawn(crate::job::control(context))),
            "cronjob" => drop(tasks.spawn(crate::cronjob::control(context))),
            "ttl-after-finished" => drop(tasks.spawn(crate::ttl::control(context))),
            "podgc" => drop(tasks.spawn(crate::podgc::control(context))),
            _ => drop(tasks.spawn(crate::nodelifecycle::control(context))),
        }
    }
    tasks
}
