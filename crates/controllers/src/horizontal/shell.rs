//! The loop: who is looked at, when, and what is remembered between passes.

use super::explanation::Explanations;
use super::metrics::{Live, Metrics, Pass, Present, state_of};
use super::observe::{Seen, target_key};
use super::options::Options;
use super::registry::Registry;
use super::view::HpaView;
use crate::pods::{Caches, PodView};
use crate::runtime::{
    self, Action, Cache, Change, ObjectKey, Queue, Reconcile, Recorder, WriteError, Writer,
};
use crate::supervisor::Context;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use plimsoll_api::usage::{Samples, UsageStore};
use plimsoll_clock::Clock;
use plimsoll_engine::horizontal::{Memory, decide};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Where an autoscaler's signals come from and where its reasons go.
#[derive(Debug)]
pub struct Signals {
    /// The newest usage of pods.
    pub usage: UsageStore,
    /// Each round of measurement.
    pub rounds: Receiver<Arc<Samples>>,
    /// Where decisions are explained.
    pub explanations: Explanations,
    /// Where passes are counted.
    pub metrics: Metrics,
}

/// Runs the horizontal autoscaler until the future is dropped.
pub async fn control(context: Context, signals: Signals, options: Options) {
    let running = Horizontal::start(&context, signals, options);
    std::future::pending::<()>().await;
    drop(running);
}

/// The running horizontal autoscaler. Dropping it ends it.
#[derive(Debug)]
pub struct Horizontal {
    tasks: Vec<AbortHandle>,
    shell: Arc<Shell>,
}

impl Horizontal {
    /// Starts the watches and the workers. Must be called inside a runtime.
    pub fn start(context: &Context, signals: Signals, options: Options) -> Self {
        let Signals {
            usage,
            rounds,
            explanations,
            metrics,
        } = signals;
        let (client, seed) = (context.client.clone(), context.seed ^ 0x68_70_61);
        let shell = Arc::new(Shell {
            writer: context.writer.clone(),
            hpas: Cache::start(client, seed),
            recorder: context.recorder.component("horizontal-pod-autoscaler"),
            caches: context.caches.clone(),
            clock: context.clock,
            registry: Registry::default(),
            remembered: Mutex::default(),
            queue: Queue::new(),
            evaluations: AtomicU64::new(0),
            usage,
            explanations,
            metrics,
            options,
        });
        let live: Arc<dyn Live> = Arc::<Shell>::clone(&shell);
        shell.metrics.attach(Arc::downgrade(&live));
        let mut tasks = vec![tokio::spawn(begin(Arc::clone(&shell))).abort_handle()];
        tasks.push(tokio::spawn(follow(Arc::downgrade(&shell), rounds)).abort_handle());
        Self { tasks, shell }
    }

    /// How many passes there have been.
    pub fn evaluations(&self) -> u64 {
        self.shell.evaluations.load(Ordering::Relaxed)
    }

    /// What an autoscaler (namespace, name) remembers between passes.
    pub fn memory(&self, namespace: &str, name: &str) -> Option<Memory> {
        let key = ObjectKey::new(namespace, name);
        self.shell
            .remembered
            .lock()
            .get(&key)
            .and_then(|known| known.memory.clone())
    }
}

impl Drop for Horizontal {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// What is kept between passes of one autoscaler.
#[derive(Debug, Default)]
struct Remembered {
    memory: Option<Memory>,
    evaluated: Option<Timestamp>,
    status_written: Option<Timestamp>,
    /// Revision of the last own write to the target: older views are not believed.
    awaited: u64,
    warnings: BTreeMap<String, (String, Timestamp)>,
}

#[derive(Debug)]
pub(super) struct Shell {
    pub(super) writer: Writer,
    pub(super) hpas: Cache<HpaView>,
    pub(super) caches: Caches,
    pub(super) recorder: Recorder,
    pub(super) clock: Clock,
    pub(super) usage: UsageStore,
    pub(super) registry: Registry,
    pub(super) options: Options,
    explanations: Explanations,
    metrics: Metrics,
    remembered: Mutex<BTreeMap<ObjectKey, Remembered>>,
    queue: Queue<ObjectKey>,
    evaluations: AtomicU64,
}

/// Waits for the first lists, then connects the watches to the queue and works, for ever.
async fn begin(shell: Arc<Shell>) {
    shell.caches.deployments.ready().await;
    shell.caches.replica_sets.ready().await;
    shell.caches.pods.ready().await;
    shell.hpas.ready().await;
    connect(&shell);
    let workers = (0..shell.options.concurrent_syncs.max(1))
        .map(|_| runtime::run(Arc::clone(&shell), shell.queue.clone()));
    futures::future::join_all(workers).await;
}

fn connect(shell: &Arc<Shell>) {
    let weak = Arc::downgrade(shell);
    shell.hpas.on_change(move |change| {
        if let Some(shell) = weak.upgrade() {
            shell.on_hpa(change);
        }
    });
    let weak = Arc::downgrade(shell);
    shell.caches.pods.on_change(move |change| {
        if let Some(shell) = weak.upgrade() {
            shell.on_pod(change);
        }
    });
    let weak = Arc::downgrade(shell);
    shell.caches.deployments.on_change(move |change| {
        let figures = |view: &Option<_>| scale_figures(view.as_deref());
        if figures(&change.old) != figures(&change.new)
            && let Some(shell) = weak.upgrade()
        {
            shell.nudge_scalers("Deployment", &change.key);
        }
    });
    let weak = Arc::downgrade(shell);
    shell.caches.replica_sets.on_change(move |change| {
        let figures = |view: &Option<Arc<crate::pods::ReplicaSetView>>| {
            view.as_ref()
                .map(|view| (view.replicas, view.status.replicas))
        };
        if figures(&change.old) != figures(&change.new)
            && let Some(shell) = weak.upgrade()
        {
            shell.nudge_scalers("ReplicaSet", &change.key);
        }
    });
}

fn scale_figures(view: Option<&crate::pods::DeploymentView>) -> Option<(i32, i32)> {
    view.map(|view| (view.replicas, view.status.replicas))
}

/// Looks at the autoscalers of freshly measured pods, for ever.
async fn follow(shell: Weak<Shell>, mut rounds: Receiver<Arc<Samples>>) {
    loop {
        let round = match rounds.recv().await {
            Ok(round) => round,
            // What was missed is in the store; the next round leads to it.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let Some(shell) = shell.upgrade() else { return };
        shell.on_samples(&round);
    }
}

impl Shell {
    fn on_hpa(&self, change: &Change<HpaView>) {
        let spec = |view: &Option<Arc<HpaView>>| view.as_ref().map(|view| view.spec.clone());
        if change.old.is_none() || change.new.is_none() || spec(&change.old) != spec(&change.new) {
            self.queue.add(change.key.clone());
        }
    }

    fn on_pod(&self, change: &Change<PodView>) {
        let same = match (&change.old, &change.new) {
            (Some(old), Some(new)) => old.facts == new.facts && old.meta.labels == new.meta.labels,
            _ => false,
        };
        if same {
            return;
        }
        let mut affected = BTreeSet::new();
        self.registry
            .collect(change.old.iter().chain(&change.new), &mut affected);
        self.nudge_all(affected);
    }

    fn on_samples(&self, round: &Samples) {
        let keys = round.pods.iter().map(|(key, _)| key);
        let measured = keys.map(|(namespace, name)| ObjectKey::of(namespace, Arc::clone(name)));
        let pods = self.caches.pods.get_all(measured);
        let mut affected = BTreeSet::new();
        self.registry.collect(&pods, &mut affected);
        self.nudge_all(affected);
    }

    fn nudge_scalers(&self, kind: &str, target: &ObjectKey) {
        let target = target_key(kind, target.clone());
        self.nudge_all(self.registry.scalers_of(&target));
    }

    /// Looks at autoscalers as soon as the shortest interval allows.
    fn nudge_all(&self, hpas: BTreeSet<ObjectKey>) {
        let now = self.clock.now();
        let due: Vec<_> = {
            let remembered = self.remembered.lock();
            let due = hpas.into_iter().map(|hpa| {
                let evaluated = remembered.get(&hpa).and_then(|known| known.evaluated);
                let since = evaluated.map_or(Duration::MAX, |at| elapsed(at, now));
                let wait = self.options.shortest_interval.saturating_sub(since);
                (hpa, wait)
            });
            due.collect()
        };
        self.queue.add_all(due);
    }

    /// The revision below which the target's view is older than the last own write.
    pub(super) fn awaited(&self, hpa: &ObjectKey) -> u64 {
        self.remembered
            .lock()
            .get(hpa)
            .map_or(0, |known| known.awaited)
    }

    /// Whether this warning was told within a sync period; notes it otherwise.
    pub(super) fn has_warned(
        &self,
        hpa: &ObjectKey,
        reason: &str,
        message: &str,
        now: Timestamp,
    ) -> bool {
        let mut remembered = self.remembered.lock();
        let warnings = &mut remembered.entry(hpa.clone()).or_default().warnings;
        let known = warnings.get(reason).is_some_and(|(text, at)| {
            text == message && elapsed(*at, now) < self.options.sync_period
        });
        if !known {
            warnings.insert(reason.to_owned(), (message.to_owned(), now));
        }
        known
    }

    pub(super) fn wrote_lately(&self, hpa: &ObjectKey, now: Timestamp) -> bool {
        let written = self
            .remembered
            .lock()
            .get(hpa)
            .and_then(|known| known.status_written);
        written.is_some_and(|at| elapsed(at, now) < self.options.status_interval)
    }

    pub(super) fn wrote_status(&self, hpa: &ObjectKey, now: Timestamp) {
        self.remembered
            .lock()
            .entry(hpa.clone())
            .or_default()
            .status_written = Some(now);
    }

    fn forget(&self, hpa: &ObjectKey) {
        self.remembered.lock().remove(hpa);
        self.registry.forget(hpa);
        self.explanations.forget(hpa);
    }

    async fn evaluate(&self, hpa: &HpaView) -> Result<(), Error> {
        let key = &hpa.meta.key;
        let began = Instant::now();
        let spec = hpa.spec.as_ref().map_err(|why| {
            self.metrics.unreadable(began.elapsed());
            Error::Spec(key.clone(), why.clone())
        })?;
        let memory = {
            let mut remembered = self.remembered.lock();
            let known = remembered.entry(key.clone()).or_default();
            known.evaluated = Some(self.clock.now());
            known.memory.clone()
        };
        let Seen { observed, source } = self.observe(hpa, spec, memory).await;
        let deciding = Instant::now();
        let mut decision = decide(&observed);
        let decided_in = deciding.elapsed();
        let mut wrote = false;
        if let Some(replicas) = decision.write {
            let target = &spec.scale_target_ref;
            match self.write_scale(key, target, &source, replicas).await {
                Ok(revision) => {
                    wrote = true;
                    self.remembered
                        .lock()
                        .entry(key.clone())
                        .or_default()
                        .awaited = revision;
                    let from = decision.status.current_replicas;
                    tracing::info!(hpa = %key, from, to = replicas, reason = %decision.reason, "scaled");
                }
                Err(error) => decision = decision.write_failed(&observed, &error),
            }
        }
        let now = observed.now;
        self.metrics.passed(&Pass {
            observed: &observed,
            decision: &decision,
            wrote,
            took: began.elapsed(),
            decided_in,
            read_in: &[],
            since_observed: deciding.elapsed(),
        });
        if let Some(memory) = &mut decision.memory {
            memory.compact();
        }
        {
            let mut remembered = self.remembered.lock();
            let known = &mut remembered.entry(key.clone()).or_default().memory;
            known.clone_from(&decision.memory);
        }
        self.tell_events(hpa, &decision, now);
        let status = decision.status.clone();
        self.explanations.tell(key, observed, decision);
        self.write_status(hpa, &status, now)
            .await
            .map_err(Error::Status)
    }
}

impl Live for Shell {
    fn present(&self) -> Present {
        let mut states = BTreeMap::new();
        let mut desired = Vec::new();
        self.hpas.for_each(|hpa| {
            *states.entry(state_of(&hpa.status)).or_default() += 1;
            let key = &hpa.meta.key;
            let (namespace, name) = (Arc::clone(&key.namespace), Arc::clone(&key.name));
            desired.push((namespace, name, hpa.status.desired_replicas));
        });
        let queue = self.queue.stats();
        Present {
            states: states.into_iter().collect(),
            desired,
            queue,
        }
    }
}

impl Reconcile for Shell {
    type Key = ObjectKey;
    type Error = Error;

    fn name(&self) -> &'static str {
        "horizontal-pod-autoscaler"
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Action, Error> {
        let Some(hpa) = self.hpas.get(key) else {
            self.forget(key);
            return Ok(Action::Wait);
        };
        let outcome = self.evaluate(&hpa).await;
        self.evaluations.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(()) => Ok(Action::Requeue(self.options.sync_period)),
            // Nothing to do before somebody edits it.
            Err(Error::Spec(..)) => Ok(Action::Wait),
            Err(Error::Status(error)) if error.is_not_found() => Ok(Action::Wait),
            Err(error) => Err(error),
        }
    }
}

/// Why a pass did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The stored spec does not have the API's shape.
    #[error("spec of autoscaler {0} cannot be read: {1}")]
    Spec(ObjectKey, String),
    /// The status was not written; the scale is.
    #[error("status of the autoscaler was not written")]
    Status(#[source] WriteError),
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    let passed: SignedDuration = to.duration_since(from);
    Duration::try_from(passed).unwrap_or_default()
}
