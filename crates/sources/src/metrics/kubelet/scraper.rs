//! Follows the nodes and reads each in its own rhythm.

use super::access;
use super::ledger::{Ledger, Outcome, Pace};
use super::options::ScrapeOptions;
use super::owners::Owners;
use super::round::{self, RoundError};
use super::stats::ScrapeStats;
use crate::metrics::Pipeline;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Nodes that are read at once.
const AT_ONCE: usize = 64;
/// Nodes that have failed and are tried again at once: a dead one waits here, where it delays only
/// its like.
const SUSPECTS_AT_ONCE: usize = 16;
/// The first readings are spread over this much a node, but over no more than [`LONGEST_SPREAD`].
const SPREAD_PER_NODE: Duration = Duration::from_millis(8);
const LONGEST_SPREAD: Duration = Duration::from_secs(4);
/// A node that does not answer is tried at least this often, unless the period is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: ScraperConfig,
    stats: ScrapeStats,
    owners: Mutex<Owners>,
    /// Nodes that are followed, and whether their last reading failed.
    failing: Mutex<BTreeMap<Arc<str>, bool>>,
    steady: Semaphore,
    suspect: Semaphore,
}

impl Scraper {
    /// A scraper that does nothing before [`Scraper::run`].
    pub fn new(config: ScraperConfig) -> Self {
        let clock = config.clock;
        let shared = Shared {
            config,
            stats: ScrapeStats::new(clock),
            owners: Mutex::default(),
            failing: Mutex::default(),
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
        self.shared.failing.lock().clear();
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
        let follower = Follower::new(Arc::clone(&self.shared), Arc::clone(&name), urls);
        self.tasks.spawn(follower.run(spread));
        self.nodes.insert(Arc::clone(&name), sender);
        name
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Reads one node until it is gone.
struct Follower {
    shared: Arc<Shared>,
    node: Arc<str>,
    urls: watch::Receiver<Option<String>>,
    ledger: Ledger,
    random: StdRng,
    /// Failures since the last answer.
    failures: u32,
    /// When the last answer becomes too old; `None` when it was taken back.
    stale_at: Option<Instant>,
    /// What was logged and told of the last failure.
    said: String,
}

impl Follower {
    fn new(shared: Arc<Shared>, node: Arc<str>, urls: watch::Receiver<Option<String>>) -> Self {
        let seed = node.bytes().fold(shared.config.seed, |seed, byte| {
            seed.rotate_left(5).wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        Self {
            shared,
            node,
            urls,
            ledger: Ledger::default(),
            random: StdRng::seed_from_u64(seed),
            failures: 0,
            stale_at: None,
            said: String::new(),
        }
    }

    async fn run(mut self, spread: Duration) {
        let began = Instant::now();
        let period = self.shared.config.options.resolution;
        let phase = self.within(period);
        let mut next = began + self.within(spread.min(period));
        loop {
            match self.wait(next).await {
                Woken::Gone => break,
                Woken::Moved => self.failures = 0,
                Woken::Stale => {
                    self.take_back();
                    continue;
                }
                Woken::Due => {}
            }
            self.read().await;
            let since = Instant::now().saturating_duration_since(began);
            next = if self.failures == 0 {
                began + upcoming(since, period, phase)
            } else {
                Instant::now() + self.pause(period)
            };
        }
        self.shared.publish(&self.node, self.ledger.silence());
        self.shared.forget(&self.node);
    }

    async fn wait(&mut self, next: Instant) -> Woken {
        let stale_at = self.stale_at;
        let stale = async {
            match stale_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = self.urls.changed() => match changed {
                Ok(()) => Woken::Moved,
                Err(_closed) => Woken::Gone,
            },
            () = stale => Woken::Stale,
            () = tokio::time::sleep_until(next) => Woken::Due,
        }
    }

    /// Reads the node once and publishes what came of it.
    async fn read(&mut self) {
        let shared = Arc::clone(&self.shared);
        let ScraperConfig { clock, options, .. } = &shared.config;
        let Some(url) = self.urls.borrow_and_update().clone() else {
            self.failed("it has no address of a wanted type");
            return;
        };
        let gate = if self.failures == 0 {
            &shared.steady
        } else {
            &shared.suspect
        };
        // Never closed.
        let Ok(_permit) = gate.acquire().await else {
            return;
        };
        let patience = options
            .request_timeout
            .min(options.resolution.mul_f64(0.9).max(FLOOR));
        let asked = Instant::now();
        let kubelets = &shared.config.kubelets;
        let outcome = round::read(kubelets, &url, &mut self.ledger, patience).await;
        let (took, now) = (asked.elapsed(), clock.now());
        match outcome {
            Ok(malformed) => {
                let pace = Pace {
                    resolution: options.resolution,
                    max_age: options.freshness(),
                };
                let outcome = self.ledger.finish(now, pace);
                shared.stats.succeeded(&self.node, took);
                shared.stats.unusable(malformed, outcome.incomplete);
                self.answered();
                shared.publish(&self.node, outcome);
            }
            Err(error) => {
                shared.stats.failed(took);
                self.failed(&said(&error));
            }
        }
    }

    fn answered(&mut self) {
        if self.failures > 0 {
            tracing::info!(node = %self.node, "a node answers again");
        }
        self.failures = 0;
        self.said.clear();
        self.stale_at = Some(Instant::now() + self.shared.config.options.freshness());
        let usage = &self.shared.config.pipeline.usage;
        usage.set_silent(&self.node, None);
        self.shared.mark(&self.node, None);
    }

    fn failed(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        if self.said != why {
            tracing::warn!(node = %self.node, why, "a node's usage cannot be read");
            why.clone_into(&mut self.said);
        }
        let usage = &self.shared.config.pipeline.usage;
        usage.set_silent(&self.node, Some(why));
        self.shared.mark(&self.node, Some(why));
    }

    /// Takes back what the node said: it is too old to be served.
    fn take_back(&mut self) {
        self.stale_at = None;
        self.shared.stats.stale();
        let age = self.shared.config.options.freshness();
        tracing::warn!(node = %self.node, ?age, "a node's last usage is too old and no longer served");
        self.shared.publish(&self.node, self.ledger.silence());
    }

    /// Some time up to `most`.
    fn within(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.random.random_range(0.0..1.0))
    }

    /// How long to leave a node alone that failed, a tenth more or less.
    fn pause(&mut self, period: Duration) -> Duration {
        let doubled = period.saturating_mul(1 << self.failures.saturating_sub(1).min(10));
        let jitter = self.random.random_range(0.9..1.1);
        doubled.min(LONGEST_PAUSE.max(period)).mul_f64(jitter)
    }
}

/// However often a node is read, it may take this long.
const FLOOR: Duration = Duration::from_millis(900);

enum Woken {
    Due,
    Moved,
    Stale,
    Gone,
}

/// The next time of the form `phase` + n × `period` after `since`.
fn upcoming(since: Duration, period: Duration, phase: Duration) -> Duration {
    let past = since
        .checked_sub(phase)
        .map_or(0, |past| 1 + past.as_nanos() / period.as_nanos().max(1));
    phase.saturating_add(period.saturating_mul(u32::try_from(past).unwrap_or(u32::MAX)))
}

/// The failure as people read it.
fn said(error: &RoundError) -> String {
    match error {
        RoundError::Refused(code) if matches!(code.as_u16(), 401 | 403) => {
            format!("{error}: reading usage needs \"get\" on nodes/metrics")
        }
        RoundError::Refused(_)
        | RoundError::Timeout(_)
        | RoundError::TooLong
        | RoundError::Url(_)
        | RoundError::Connection(_) => error.to_string(),
    }
}

impl Shared {
    fn publish(&self, node: &Arc<str>, outcome: Outcome) {
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

    /// Notes how a node's last reading went. When no node answers, nothing can be measured.
    fn mark(&self, node: &Arc<str>, failure: Option<&str>) {
        let mut failing = self.failing.lock();
        let before = failing.insert(Arc::clone(node), failure.is_some());
        if before == Some(failure.is_some()) {
            return;
        }
        let all = failing.values().all(|failing| *failing);
        let nodes = failing.len();
        drop(failing);
        let why = failure.filter(|_| all);
        let why = why.map(|why| format!("none of {nodes} nodes answers; {node}: {why}"));
        self.config.pipeline.report_outage(why.as_deref());
    }

    fn forget(&self, node: &Arc<str>) {
        self.stats.forget(node);
        self.failing.lock().remove(node);
        self.config.pipeline.usage.set_silent(node, None);
    }
}

#[cfg(test)]
mod schedule {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, 15, 4, 4)]
    #[case(4, 15, 4, 19)]
    #[case(5, 15, 4, 19)]
    #[case(20, 15, 4, 34)]
    #[case(0, 15, 0, 15)]
    fn readings_keep_their_phase(
        #[case] since: u64,
        #[case] period: u64,
        #[case] phase: u64,
        #[case] next: u64,
    ) {
        let seconds = Duration::from_secs;
        assert_eq!(
            upcoming(seconds(since), seconds(period), seconds(phase)),
            seconds(next)
        );
    }
}
