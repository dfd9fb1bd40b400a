//! The loop: waits until there is something to look at, and looks.

use super::actuation::{Actuator, Running};
use super::autoscaler::Signals;
use super::buffers::{self, BufferCaches, Buffers};
use super::calls::Calls;
use super::config_map::ConfigMap;
use super::expanders::{ExpanderName, Expanders};
use super::memory::Memory;
use super::news::{self, News, OwnCaches};
use super::options::Options;
use super::provisioning::{self, Provisioning, RequestCaches};
use super::pulse::Pulse;
use super::quotas;
use super::readable::warn_of;
use super::registry::Registry;
use super::reporting::Counted;
use super::status::{self, Status};
use super::templates::Templates;
use super::told::Told;
use super::world::{Haste, World};
use crate::pods::Caches;
use crate::runtime::{Cache, Reference};
use crate::supervisor::Context;
use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplate;
use plimsoll_api::nodegroup::{NodeGroup, NodeProvider, ProviderError};
use plimsoll_engine::cluster::{Planner, Quota, Resize};
use plimsoll_engine::placement::PodFacts;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Keeps the seeds of caches and ties apart from other uses.
const SEED: u64 = 0x6e6f_6465;

/// Everything the loop works with.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) context: Context,
    pub(super) provider: Arc<dyn NodeProvider>,
    pub(super) options: Options,
    pub(super) signals: Signals,
    pub(super) pulse: Pulse,
    pub(super) own: OwnCaches,
    pub(super) world: World,
    pub(super) templates: Templates,
    pub(super) registry: Registry,
    pub(super) planner: Planner,
    pub(super) actuator: Arc<Actuator>,
    pub(super) calls: Calls,
    pub(super) expanders: Expanders,
    pub(super) buffers: Buffers,
    /// The quotas that flags make.
    pub(super) own_quotas: Vec<Quota>,
    /// Whether it is not known which quotas there are: no node is added until it is.
    pub(super) awaits_quotas: bool,
    pub(super) provisioning: Provisioning,
    pub(super) told: Told,
    pub(super) status: Status,
    pub(super) memory: Memory,
    pub(super) counted: Counted,
    /// Pods without a node that fit one, by that node, as growth has just found.
    pub(super) expected: BTreeMap<Arc<str>, Vec<PodFacts>>,
    pub(super) rng: StdRng,
    /// The groups as they were last told.
    pub(super) groups: Vec<NodeGroup>,
    /// Whether an open request is assumed for what groups lack: true at the first look.
    pub(super) adopts: bool,
    /// Whether an earlier life may have left nodes marked.
    pub(super) unclean: bool,
    /// Removals that were under way when the groups were last read: those that have been agreed to
    /// since are in the sizes that were told.
    pub(super) going: Vec<Running>,
    /// Orders whose end is not known, until the groups are told again.
    pub(super) unsure: Vec<(Resize, ProviderError)>,
    /// Soft taints being written.
    pub(super) soft: Option<tokio::task::JoinHandle<()>>,
    news: UnboundedReceiver<News>,
    provider_changes: Option<watch::Receiver<u64>>,
    /// Tells of autoscalers that want more than they may write, where that counts.
    wishes: Option<watch::Receiver<u64>>,
    removal_changes: watch::Receiver<u64>,
    /// When to look next.
    due: Due,
}

/// When to look next, and why.
#[derive(Debug, Clone, Copy)]
struct Due {
    /// At the latest.
    latest: Instant,
    /// Since when a burst of urgent changes goes on, and when the last was.
    burst: Option<(Instant, Instant)>,
}

/// The ConfigMaps of our own.
struct Maps {
    /// Where the status is written.
    status: Option<ConfigMap>,
    /// What events are about that concern no single object.
    about: Reference,
    memory: Memory,
}

impl Maps {
    /// Says that the work begins, and reads what is remembered.
    async fn open(context: &Context, options: &Options) -> Self {
        let report = &options.report;
        let map = |name: &String| ConfigMap::new(&context.client, &report.namespace, name);
        let written = report.status.as_ref().filter(|_| !options.observe_only);
        let status = written.map(map);
        let about = status_reference(options);
        let about = match &status {
            Some(map) => status::announce(map, context.clock.now(), about).await,
            None => about,
        };
        let kept = report.memory.as_ref().filter(|_| !options.observe_only);
        let mut memory = Memory::new(kept.map(map));
        memory.load().await;
        Self {
            status,
            about,
            memory,
        }
    }
}

/// Begins to read what only node autoscaling reads.
fn own_caches(context: &Context, options: &Options) -> OwnCaches {
    let (client, seed) = (&context.client, context.seed ^ SEED);
    let (buffers, requests) = (options.buffers.is_some(), options.provisioning.is_some());
    let templates = (buffers || requests).then(|| Cache::start(client.clone(), seed ^ 2));
    OwnCaches {
        csi_nodes: Cache::start(client.clone(), seed),
        daemon_sets: Cache::start(client.clone(), seed ^ 1),
        buffers: templates
            .clone()
            .filter(|_| buffers)
            .map(|templates| BufferCaches::start(client, seed ^ 3, templates)),
        requests: templates.filter(|_| requests).map(|templates| {
            let pods = &context.caches.pods;
            RequestCaches::start(client, seed ^ 5, templates, pods)
        }),
        quotas: options
            .capacity_quotas
            .then(|| Cache::start(client.clone(), seed ^ 4)),
    }
}

/// Waits until the caches are complete that node autoscaling looks at.
pub(super) async fn filled(caches: &Caches, own: &OwnCaches) {
    caches.pods.ready().await;
    caches.nodes.ready().await;
    caches.namespaces.ready().await;
    caches.claims.ready().await;
    caches.volumes.ready().await;
    caches.storage_classes.ready().await;
    caches.budgets.ready().await;
    caches.replica_sets.ready().await;
    caches.replication_controllers.ready().await;
    caches.stateful_sets.ready().await;
    caches.jobs.all.ready().await;
    own.csi_nodes.ready().await;
    own.daemon_sets.ready().await;
}

/// Tells of kinds that flags ask for and that cannot be read. Nobody waits for them.
fn warn_of_unreadable(context: &Context, own: &OwnCaches, patience: Duration) {
    let client = &context.client;
    if own.buffers.is_some() {
        buffers::warn(client, patience);
    }
    if own.requests.is_some() {
        provisioning::warn(client, patience);
    }
    if own.buffers.is_some() || own.requests.is_some() {
        warn_of::<PodTemplate>(client, patience);
    }
}

/// The world with all that the caches know, and how the rest is heard.
fn informed(
    mut world: World,
    context: &Context,
    own: &OwnCaches,
) -> (World, UnboundedReceiver<News>) {
    let mut news = news::follow(&context.caches, own);
    while let Ok(news) = news.try_recv() {
        world.apply(news);
    }
    (world, news)
}

impl Work {
    /// Waits for the caches, recalls what an earlier life knew, and undoes what it left behind.
    pub(super) async fn prepare(
        context: Context,
        provider: Arc<dyn NodeProvider>,
        options: Options,
        ears: (Signals, Pulse),
    ) -> Self {
        let own = own_caches(&context, &options);
        filled(&context.caches, &own).await;
        let patience = options.pace.provider_timeout;
        let knows_quotas = match &own.quotas {
            Some(cache) => quotas::known(&context.client, cache, patience).await,
            None => true,
        };
        warn_of_unreadable(&context, &own, patience);
        let maps = Maps::open(&context, &options).await;
        let mut work = Self::assemble(context, provider, options, ears, (own, maps));
        work.awaits_quotas = !knows_quotas;
        work.recall_examples();
        work.expanders
            .ready(work.options.pace.provider_timeout)
            .await;
        work.clean_up().await;
        work
    }

    fn assemble(
        context: Context,
        provider: Arc<dyn NodeProvider>,
        mut options: Options,
        (signals, pulse): (Signals, Pulse),
        (own, maps): (OwnCaches, Maps),
    ) -> Self {
        let (caches, seed) = (context.caches.clone(), context.seed ^ SEED);
        if options.expanders.contains(&ExpanderName::Grpc) {
            // The service knows the options of one choice; the next is made in the next look.
            options.growth.rounds = Some(1);
        }
        let mut settings = options.actuation.clone();
        if let Some(shrink) = &options.shrink {
            // A node is judged again by the rules by which it was chosen.
            settings.evictions.rules = shrink.drain;
        }
        let actuator = Arc::new(Actuator::new(&context, Arc::clone(&provider), settings));
        actuator.tell_on(maps.about.clone());
        let cutoff = options.growth.expendable_below;
        let world = World::new(caches, own.clone(), provider.gpu_label(), cutoff);
        let (world, news) = informed(world, &context, &own);
        let Maps {
            status,
            about,
            memory,
        } = maps;
        let report = &options.report;
        let repeats = report.duplicated_events;
        let names = &options.expanders;
        Self {
            templates: Templates::new(options.templates.clone()),
            registry: memory.get("requests").unwrap_or_default(),
            planner: Planner::remembering(memory.get("timers").unwrap_or_default()),
            calls: Calls::default(),
            expanders: Expanders::start(&context.client, seed ^ 2, &report.namespace, names),
            buffers: Buffers::default(),
            own_quotas: options.growth.quotas.clone(),
            awaits_quotas: false,
            provisioning: Provisioning::default(),
            told: Told::new(&context.recorder, &context.caches, about, repeats),
            status: Status::start(status),
            counted: Counted::default(),
            expected: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            groups: Vec::new(),
            adopts: true,
            unclean: true,
            going: Vec::new(),
            unsure: Vec::new(),
            soft: None,
            provider_changes: provider.changes(),
            wishes: options.intended.map(|_| context.wishes.read()),
            removal_changes: actuator.changes(),
            due: Due {
                latest: Instant::now(),
                burst: None,
            },
            context,
            provider,
            options,
            signals,
            pulse,
            own,
            world,
            actuator,
            memory,
            news,
        }
    }

    /// Looks until told to stop.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Self {
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return self,
                () = self.wait() => {}
            }
            let latest = Instant::now() + self.options.pace.scan_interval;
            self.due = Due {
                latest,
                burst: None,
            };
            let look = AssertUnwindSafe(Box::pin(self.look())).catch_unwind();
            let looked = tokio::select! {
                biased;
                // A provider that hangs must not keep the end from being in order.
                _ = stop.wait_for(|stop| *stop) => Ok(()),
                looked = look => looked,
            };
            if looked.is_err() {
                tracing::error!("a look at the nodes panicked; the next one begins anew");
                self.world.snapshot.revert_all();
                self.planner = Planner::remembering(self.planner.memory().clone());
            }
        }
    }

    /// Somebody should look within `delay`.
    pub(super) fn look_within(&mut self, delay: Duration) {
        self.due.latest = self.due.latest.min(Instant::now() + delay);
    }

    /// Takes in what happens until it is time to look.
    async fn wait(&mut self) {
        loop {
            let at = self.next_look();
            if at <= Instant::now() {
                // What has arrived belongs to this look.
                while let Ok(news) = self.news.try_recv() {
                    let haste = self.world.apply(news);
                    self.hurry(haste);
                }
                if self.next_look() <= Instant::now() {
                    return;
                }
                continue;
            }
            let haste = tokio::select! {
                biased;
                Some(news) = self.news.recv() => self.world.apply(news),
                ended = self.calls.next() => {
                    self.ordered(ended);
                    continue;
                }
                () = changed(&mut self.provider_changes) => Haste::Urgent,
                () = changed(&mut self.wishes) => Haste::Urgent,
                Ok(()) = self.removal_changes.changed() => Haste::Calm,
                () = sleep_until(at) => Haste::None,
            };
            self.hurry(haste);
        }
    }

    fn hurry(&mut self, haste: Haste) {
        let now = Instant::now();
        match haste {
            Haste::None => {}
            Haste::Calm => self.look_within(self.options.pace.calm),
            Haste::Urgent => {
                let began = self.due.burst.map_or(now, |(began, _)| began);
                self.due.burst = Some((began, now));
            }
        }
    }

    fn next_look(&self) -> Instant {
        let pace = &self.options.pace;
        let burst = self.due.burst;
        let burst = burst.map(|(began, last)| (last + pace.quiet).min(began + pace.burst));
        burst.map_or(self.due.latest, |burst| burst.min(self.due.latest))
    }

    /// Looks at groups, nodes and pods once, and acts.
    async fn look(&mut self) {
        let (began, now) = (Instant::now(), self.context.clock.now());
        self.pulse.active(now);
        self.active("main", now);
        if let Err(error) = self.read_groups().await {
            tracing::warn!(%error, "nothing is decided: the provider's groups cannot be read");
            self.signals
                .metrics
                .add("errors_total", &[("type", "cloudProviderError")], 1);
            return;
        }
        self.took("cloudProviderRefresh", began);
        self.take_quotas();
        self.world.set_gpu_label(self.provider.gpu_label());
        self.find_out(now);
        if self.unclean {
            // The provider may not have been readable when the work began.
            self.clean_up().await;
        }
        self.assign().await;
        let facts = self.group_facts(now).await;
        let failed = self.observe(now);
        self.blame(&failed, now);
        let mut health = self.judge(&facts, now);
        self.took("updateClusterState", began);
        if self.settle(&facts, &health, now) {
            health = self.judge(&facts, now);
        }
        let lowered = self.repair(&facts, &health, failed).await;
        let outcome = if health.healthy {
            let growth = if lowered {
                None
            } else {
                Some(self.grow(&facts, &health, now).await)
            };
            // What is booked comes first, here as in growth.
            self.keep_bookings(growth.as_deref(), now);
            self.hold(growth.as_deref());
            let known = (&health, growth.as_deref());
            let shrink = self.shrink(&facts, known, now);
            self.tell_buffers(now).await;
            self.tell_requests(now).await;
            (growth, shrink)
        } else {
            self.unhealthy();
            (None, None)
        };
        self.report(&facts, &health, outcome, now);
        self.tell_quotas(now).await;
        self.remember();
        self.memory.save().await;
        self.world.sweep();
        self.pulse.succeeded(self.context.clock.now());
        self.took("main", began);
    }

    pub(super) fn took(&self, function: &str, since: Instant) {
        self.signals.metrics.took(function, since.elapsed());
    }

    /// Ends in order: what is being removed is finished or undone, and what is known is saved.
    pub(super) async fn end(mut self) {
        if let Some(soft) = self.soft.take() {
            soft.abort();
        }
        self.actuator.stop().await;
        self.remember();
        self.memory.save().await;
        if let Some(name) = &self.options.report.status
            && !self.options.observe_only
        {
            let namespace = &self.options.report.namespace;
            let map = ConfigMap::new(&self.context.client, namespace, name);
            self.status.close().await;
            if let Err(error) = map.delete().await {
                tracing::debug!(%error, "the status is left behind");
            }
        }
    }
}

/// Waits until the provider says that something changed; for ever where it does not say.
async fn changed(changes: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = changes {
        if receiver.changed().await.is_ok() {
            return;
        }
        *changes = None;
    }
    std::future::pending::<()>().await;
}

/// What events are about that concern no single object.
fn status_reference(options: &Options) -> Reference {
    let report = &options.report;
    let name = report.status.as_deref();
    Reference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: report.namespace.as_str().into(),
        name: name.unwrap_or("cluster-autoscaler-status").into(),
        uid: "".into(),
        revision: 0,
        field_path: "".into(),
    }
}

/// A moment as seconds since 1970, as series show it.
pub(super) fn epoch_seconds(at: Timestamp) -> f64 {
    at.as_duration().as_secs_f64()
}
