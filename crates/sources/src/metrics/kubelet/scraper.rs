//! Follows the nodes and reads each in its own rhythm.

use super::access;
use super::follower::Follower;
use super::ledger::Outcome;
use super::options::ScrapeOptions;
use super::owners::Owners;
use super::stats::ScrapeStats;
use crate::metrics::Pipeline;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Nodes that are read at once.
const AT_ONCE: usize = 64;
/// Nodes that have failed and are tried again at once: a dead one waits here, where it delays only
/// its like.
const SUSPECTS_AT_ONCE: usize = 16;
/// The first readings are spread over this much a node, but over no more than [`LONGEST_SPREAD`].
const SPREAD_PER_NODE: Duration = Duration::from_millis(8);
const LONGEST_SPREAD: Duration = Duration::from_secs(4);
/// Pause after a failed watch of the nodes.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// What a scraper works with.
pub struct ScraperConfig {
    /// Where the nodes are listed.
    pub api: Client,
    /// Reaches kubelets ([`super::kubelet_client`]); the same as `api` when they are reached through
    /// the API server.
    pub kubelets: Client,
    /// What time it is.
    pub clock: Clock,
    /// Root of the seeds of jitter.
    pub seed: u64,
    /// Settings.
    pub options: ScrapeOptions,
    /// Where usage goes.
    pub pipeline: Pipeline,
}

impl std::fmt::Debug for ScraperConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ScraperConfig");
        shown
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Reads usage from every node's kubelet.
///
/// Clones share their counters; only one of them should run.
#[derive(Debug, Clone)]
pub struct Scraper {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ScraperConfig,
    pub(super) stats: ScrapeStats,
    owners: Mutex<Owners>,
    /// Nodes that are followed, and how their last reading went.
    health: Mutex<BTreeMap<Arc<str>, Health>>,
    pub(super) steady: Semaphore,
    pub(super) suspect: Semaphore,
}

impl Scraper {
    /// A scraper that does nothing before [`Scraper::run`].
    pub fn new(config: ScraperConfig) -> Self {
        let clock = config.clock;
        let shared = Shared {
            config,
            stats: ScrapeStats::new(clock),
            owners: Mutex::default(),
            health: Mutex::default(),
            steady: Semaphore::new(AT_ONCE),
            suspect: Semaphore::new(SUSPECTS_AT_ONCE),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Its counters.
    pub fn stats(&self) -> ScrapeStats {
        self.shared.stats.clone()
    }

    /// The API it lists nodes at, and where it publishes.
    pub(crate) fn shares(&self) -> (Client, Pipeline) {
        let config = &self.shared.config;
        (config.api.clone(), config.pipeline.clone())
    }

    /// The clock it works by.
    pub fn clock(&self) -> Clock {
        self.shared.config.clock
    }

    /// Follows the nodes, for ever. Dropping the future ends everything at once.
    pub async fn run(self) {
        let config = &self.shared.config;
        *self.shared.owners.lock() = Owners::default();
        self.shared.health.lock().clear();
        let mut wanted = watcher::Config::default();
        if !config.options.node_selector.is_empty() {
            wanted = wanted.labels(&config.options.node_selector);
        }
        let nodes: Api<Node> = Api::all(config.api.clone());
        let mut events = pin!(watcher(nodes, wanted));
        let mut roster = Roster::new(Arc::clone(&self.shared));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => roster.apply(event),
                Err(error) => {
                    tracing::warn!(%error, "nodes cannot be listed");
                    if roster.nodes.is_empty() {
                        let why = format!("nodes cannot be listed: {error}");
                        config.pipeline.report_outage(Some(&why));
                    }
                    tokio::time::sleep(WATCH_PAUSE).await;
                }
            }
        }
    }
}

/// The tasks, one a node. Dropping it ends them.
#[derive(Debug)]
struct Roster {
    shared: Arc<Shared>,
    /// Each node's URL, by which its task hears of changes; closed when the node is gone.
    nodes: BTreeMap<Arc<str>, watch::Sender<Option<String>>>,
    listed: BTreeSet<Arc<str>>,
    tasks: JoinSet<()>,
}

impl Roster {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            nodes: BTreeMap::new(),
            listed: BTreeSet::new(),
            tasks: JoinSet::new(),
        }
    }

    fn apply(&mut self, event: Event<Node>) {
        while self.tasks.try_join_next().is_some() {}
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(node) => {
                let name = self.put(&node);
                self.listed.insert(name);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.nodes.retain(|name, _| listed.contains(name));
                // The nodes could be listed, whatever was said before.
                self.shared.judge(&self.shared.health.lock());
            }
            Event::Apply(node) => drop(self.put(&node)),
            Event::Delete(node) => {
                let name = node.metadata.name.unwrap_or_default();
                self.nodes.remove(name.as_str());
            }
        }
    }

    fn put(&mut self, node: &Node) -> Arc<str> {
        let name: Arc<str> = node.metadata.name.as_deref().unwrap_or_default().into();
        let url = access::url(node, &self.shared.config.options.reach);
        if let Some(known) = self.nodes.get(&name) {
            known.send_if_modified(|old| std::mem::replace(old, url.clone()) != url);
            return name;
        }
        let (sender, urls) = watch::channel(url);
        let spread = LONGEST_SPREAD.min(SPREAD_PER_NODE * count(self.nodes.len() + 1));
        self.shared.await_first(&name);
        let follower = Follower::new(Arc::clone(&self.shared), Arc::clone(&name), urls);
        self.tasks.spawn(follower.run(spread));
        self.nodes.insert(Arc::clone(&name), sender);
        name
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl Shared {
    pub(super) fn publish(&self, node: &Arc<str>, outcome: Outcome) {
        let Outcome {
            mut samples,
            starts,
            ..
        } = outcome;
        self.owners.lock().admit(node, &mut samples, &starts);
        for (name, _) in &mut samples.nodes {
            *name = Arc::clone(node);
        }
        if !samples.pods.is_empty() || !samples.nodes.is_empty() {
            self.config.pipeline.publish(samples);
        }
    }

    /// Notes a node that is about to be read.
    fn await_first(&self, node: &Arc<str>) {
        self.health.lock().insert(Arc::clone(node), Health::Unread);
    }

    /// Notes how a node's last reading went.
    pub(super) fn mark(&self, node: &Arc<str>, failure: Option<&str>) {
        let new = failure.map_or(Health::Answers, |why| Health::Fails(why.into()));
        let mut health = self.health.lock();
        let before = health.insert(Arc::clone(node), new.clone());
        if before != Some(new) {
            self.judge(&health);
        }
    }

    pub(super) fn forget(&self, node: &Arc<str>) {
        self.stats.forget(node);
        let mut health = self.health.lock();
        health.remove(node);
        self.judge(&health);
        drop(health);
        self.config.pipeline.usage.set_silent(node, None);
    }

    /// When all nodes were read and none answers, nothing can be measured. Takes what it looks at
    /// locked, so that what is reported last is what is known last.
    fn judge(&self, health: &BTreeMap<Arc<str>, Health>) {
        let failures = health.iter().map(|(node, health)| match health {
            Health::Fails(why) => Some((node, why)),
            Health::Unread | Health::Answers => None,
        });
        let failures: Option<Vec<_>> = failures.collect();
        let nodes = health.len();
        let why = failures.as_deref().and_then(<[_]>::first);
        let why = why.map(|(node, why)| format!("none of {nodes} nodes answers; {node}: {why}"));
        self.config.pipeline.report_outage(why.as_deref());
    }
}

/// How the last reading of a node went.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Health {
    Unread,
    Answers,
    Fails(Arc<str>),
}
