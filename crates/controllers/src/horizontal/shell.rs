//! The loop: who is looked at, and when.

use super::explanation::Explanations;
use super::findings::{Around, Lookout, Verticals};
use super::key::{ScalerKey, ScalerKind};
use super::mapping::Mapper;
use super::metrics::{Live, Metrics, Pass, Present, state_of};
use super::observe::{Seen, target_key};
use super::options::{Options, Scope};
use super::outside::Outside;
use super::persist::{Haste, Persisted};
use super::pod_autoscaler::PaView;
use super::recall::Recall;
use super::record;
use super::registry::Registry;
use super::running::Signals;
use super::view::{HpaView, Scaler};
use crate::pods::{Caches, PodView};
use crate::runtime::{
    Action, Cache, Change, ObjectKey, Queue, Reconcile, Recorder, WriteError, Writer,
};
use crate::supervisor::Context;
use crate::wishes::Wishes;
use kube::runtime::watcher;
use plimsoll_api::usage::{Samples, UsageStore};
use plimsoll_clock::Clock;
use plimsoll_engine::horizontal::{Decision, Memory, Spec, decide_held, hold};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::time::Instant;

/// Who writes, as `metadata.managedFields` shows it.
pub(super) const FIELD_MANAGER: &str = "plimsoll";

#[derive(Debug)]
pub(super) struct Shell {
    pub(super) writer: Writer,
    pub(super) hpas: Cache<HpaView>,
    pub(super) pas: Cache<PaView>,
    pub(super) caches: Caches,
    pub(super) recorder: Recorder,
    pub(super) clock: Clock,
    pub(super) usage: UsageStore,
    pub(super) registry: Registry,
    pub(super) recall: Recall,
    pub(super) mapper: Arc<Mapper>,
    pub(super) outside: Outside,
    pub(super) persisted: Option<Persisted>,
    pub(super) options: Options,
    pub(super) queue: Queue<ScalerKey>,
    pub(super) metrics: Metrics,
    pub(super) lookout: Lookout,
    pub(super) verticals: Verticals,
    pub(super) wishes: Wishes,
    explanations: Explanations,
    evaluations: AtomicU64,
}

impl Shell {
    /// Starts the watch on autoscalers. Must be called inside a runtime.
    pub(super) fn new(
        context: &Context,
        signals: Signals,
        options: Options,
    ) -> (Self, Receiver<Arc<Samples>>) {
        let Signals {
            usage,
            rounds,
            explanations,
            metrics,
        } = signals;
        let (client, seed) = (context.client.clone(), context.seed ^ 0x68_70_61);
        let namespaces = &options.scope.namespaces;
        let selected = watcher::Config::default().labels(&options.scope.selector);
        let (period, timeout) = (options.sync_period, options.request_timeout);
        let mapper = Arc::new(Mapper::new(client.clone(), period, timeout));
        let outside = Outside::new(client.clone(), Arc::clone(&mapper), period, timeout);
        let persisted = options.memory.clone();
        let persisted =
            persisted.map(|place| Persisted::new(client.clone(), context.clock, place, timeout));
        let shell = Self {
            writer: context.writer.managed_by(FIELD_MANAGER),
            hpas: Cache::start_within(&client, namespaces, seed, &selected),
            pas: Cache::start_within(&client, namespaces, seed ^ 1, &selected),
            recorder: context.recorder.component("horizontal-pod-autoscaler"),
            caches: context.caches.clone(),
            clock: context.clock,
            registry: Registry::default(),
            recall: Recall::default(),
            lookout: Lookout::default(),
            verticals: Verticals::default(),
            wishes: context.wishes.clone(),
            mapper,
            outside,
            persisted,
            queue: Queue::new(),
            evaluations: AtomicU64::new(0),
            usage,
            explanations,
            metrics,
            options,
        };
        (shell, rounds)
    }

    pub(super) fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }

    /// An autoscaler as the watch shows it.
    fn find(&self, key: &ScalerKey) -> Option<Arc<Scaler>> {
        match key.kind {
            ScalerKind::Horizontal => {
                let view = self.hpas.get(&key.object)?;
                Some(Arc::clone(&view.0))
            }
            ScalerKind::Pod => {
                let view = self.pas.get(&key.object)?;
                Some(Arc::clone(&view.0))
            }
        }
    }

    /// Looks at an autoscaler that is new, gone or asks for something else.
    pub(super) fn on_scaler(
        &self,
        key: ScalerKey,
        old: Option<Arc<Scaler>>,
        new: Option<Arc<Scaler>>,
    ) {
        let asks = |scaler: Option<Arc<Scaler>>| {
            scaler.map(|scaler| {
                let hold = scaler.meta.annotation(hold::ANNOTATION).map(str::to_owned);
                (scaler.spec.clone(), scaler.sync_period.clone(), hold)
            })
        };
        let (old, new) = (asks(old), asks(new));
        if old.is_none() || old != new {
            self.queue.add(key);
        }
    }

    pub(super) fn on_pod(&self, change: &Change<PodView>) {
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

    pub(super) fn on_samples(&self, round: &Samples) {
        // Pods of one namespace mostly come in a run, whose shared text is looked up once.
        let mut last: Option<(Arc<str>, Arc<str>)> = None;
        let mut asked: Option<(&Arc<str>, bool)> = None;
        let of_interest = round.pods.iter().filter(|((namespace, _), _)| match asked {
            Some((given, selects)) if Arc::ptr_eq(given, namespace) => selects,
            _ => {
                let selects = self.registry.selects_in(namespace);
                asked = Some((namespace, selects));
                selects
            }
        });
        let measured = of_interest.map(|((namespace, name), _)| {
            if let Some((given, shared)) = &last
                && Arc::ptr_eq(given, namespace)
            {
                return ObjectKey {
                    namespace: Arc::clone(shared),
                    name: Arc::clone(name),
                };
            }
            let key = ObjectKey::of(namespace, Arc::clone(name));
            last = Some((Arc::clone(namespace), Arc::clone(&key.namespace)));
            key
        });
        let pods = self.caches.pods.get_all(measured);
        let mut affected = BTreeSet::new();
        self.registry.collect(&pods, &mut affected);
        self.nudge_all(affected);
    }

    pub(super) fn on_target(&self, kind: &str, target: &ObjectKey) {
        let target = target_key(kind, target.clone());
        self.nudge_all(self.registry.scalers_of(&target));
    }

    /// Looks at autoscalers as soon as the shortest interval allows.
    fn nudge_all(&self, scalers: BTreeSet<ScalerKey>) {
        let idle = self.recall.idle(scalers, self.clock.now());
        let shortest = self.options.shortest_interval;
        let due = idle
            .into_iter()
            .map(|(scaler, since)| (scaler, shortest.saturating_sub(since)));
        self.queue.add_all(due);
    }

    /// Drops the memory of autoscalers that were deleted while nobody looked. Of those that are
    /// outside the scope nothing is known, nor of `PodAutoscalers` unless `all_known`.
    pub(super) fn sweep(&self, persisted: &Persisted, all_known: bool) {
        let Scope {
            namespaces,
            selector,
        } = &self.options.scope;
        if !selector.is_empty() {
            return;
        }
        let mut uids = BTreeSet::new();
        self.hpas.for_each(|hpa| {
            uids.insert(Arc::clone(&hpa.0.meta.uid));
        });
        self.pas.for_each(|pa| {
            uids.insert(Arc::clone(&pa.0.meta.uid));
        });
        persisted.sweep(|entry, uid| {
            let (kind, of) = entry.of.split_once(' ').unwrap_or_default();
            let namespace = of.split_once('/').map(|(namespace, _)| namespace);
            let inside = namespace.is_some_and(|namespace| {
                namespaces.is_empty() || namespaces.iter().any(|known| **known == *namespace)
            });
            let known = all_known || kind == ScalerKind::Horizontal.kind();
            inside && known && !uids.contains(uid)
        });
    }

    /// Saves what is remembered as it changes, for ever.
    pub(super) async fn keep_memory(&self) {
        match &self.persisted {
            Some(persisted) => persisted.keep().await,
            None => std::future::pending().await,
        }
    }

    fn forget(&self, key: &ScalerKey) {
        let uid = self.recall.forget(key);
        if let (Some(persisted), Some(uid)) = (&self.persisted, uid) {
            persisted.forget(&uid);
        }
        self.registry.forget(key);
        self.lookout.forget(key);
        self.explanations.forget(key);
        self.wish_no_more(key);
    }

    /// One pass; answers when to look again at the latest.
    async fn evaluate(&self, key: &ScalerKey, scaler: &Scaler) -> Result<Duration, Error> {
        let began = Instant::now();
        let spec = scaler.spec.as_ref().map_err(|why| {
            self.metrics.unreadable(began.elapsed());
            Error::Spec(key.clone(), why.clone())
        })?;
        let memory = self.recall_memory(key, scaler, spec);
        let seen = self.observe(key, scaler, spec, memory).await;
        self.notice_change(key, &seen).await;
        let held = scaler.hold(seen.observed.now);
        let deciding = Instant::now();
        let mut decision = decide_held(&seen.observed, held.as_ref());
        let decided_in = deciding.elapsed();
        let mut wrote = false;
        match decision.write {
            Some(_) if self.options.observe_only => decision = decision.unwritten(&seen.observed),
            Some(replicas) => (decision, wrote) = self.scale(key, &seen, decision, replicas).await,
            None => {}
        }
        self.metrics.passed(&Pass {
            observed: &seen.observed,
            decision: &decision,
            wrote,
            took: began.elapsed(),
            decided_in,
            read_in: &seen.read_in,
            since_observed: deciding.elapsed(),
        });
        if let Some(memory) = &mut decision.memory {
            memory.compact();
        }
        self.remember(key, scaler, decision.memory.as_ref(), wrote);
        self.wish(key, scaler, &decision, wrote);
        let end_of_hold = held.and_then(|held| held.until);
        let next_change = decision.next_change.into_iter().chain(end_of_hold).min();
        let rest = self.rest(scaler, next_change);
        let next_ask = seen.next_ask;
        self.finish(key, scaler, seen, (decision, wrote)).await?;
        let until_ask = next_ask.map(|next| next.saturating_duration_since(Instant::now()));
        Ok(until_ask.map_or(rest, |until_ask| until_ask.min(rest)))
    }

    /// What is remembered of an autoscaler, here or from before the start.
    fn recall_memory(&self, key: &ScalerKey, scaler: &Scaler, spec: &Spec) -> Option<Memory> {
        let (uid, now) = (&scaler.meta.uid, self.clock.now());
        let (memory, former) = self.recall.begin(key, uid, now);
        let persisted = self.persisted.as_ref();
        if let (Some(persisted), Some(former)) = (persisted, former) {
            persisted.forget(&former);
        }
        memory.or_else(|| {
            let horizon = record::horizon(spec, &self.settings_of(key.kind));
            let memory = persisted?.recall(uid);
            memory.filter(|memory| !record::is_outdated(memory, horizon, now))
        })
    }

    /// Forgets what an autoscaler has been proposed once another controller obeys it: to go on from
    /// there after an hour would be to act on nothing.
    fn leave(&self, key: &ScalerKey, scaler: &Scaler) {
        self.recall.with(key, |known| known.memory = None);
        if let Some(persisted) = &self.persisted {
            persisted.forget(&scaler.meta.uid);
        }
        self.wish_no_more(key);
    }

    fn remember(&self, key: &ScalerKey, scaler: &Scaler, memory: Option<&Memory>, wrote: bool) {
        self.recall
            .with(key, |known| known.memory = memory.cloned());
        if let (Some(persisted), Some(memory)) = (&self.persisted, memory) {
            let haste = if wrote { Haste::Now } else { Haste::Soon };
            let of = format_args!("{} {}", key.kind.kind(), key.object);
            persisted.note(&scaler.meta.uid, of, memory, haste);
        }
    }

    /// Writes the replica count; the decision as it stands after that, and whether it is written.
    async fn scale(
        &self,
        key: &ScalerKey,
        seen: &Seen,
        decision: Decision,
        replicas: i32,
    ) -> (Decision, bool) {
        let target = &seen.observed.spec.scale_target_ref;
        let namespace = &key.object.namespace;
        let written = self.write_scale(namespace, target, &seen.source, replicas);
        match written.await {
            Ok(revision) => {
                self.recall.with(key, |known| known.awaited = revision);
                let from = decision.status.current_replicas;
                tracing::info!(scaler = %key, from, to = replicas, reason = %decision.reason, "scaled");
                (decision, true)
            }
            Err(error) => (decision.write_failed(&seen.observed, &error), false),
        }
    }

    /// Tells what was decided.
    async fn finish(
        &self,
        key: &ScalerKey,
        scaler: &Scaler,
        seen: Seen,
        (decision, wrote): (Decision, bool),
    ) -> Result<(), Error> {
        let Seen {
            observed,
            pods,
            source,
            ..
        } = seen;
        let now = observed.now;
        if self.options.observe_only {
            if let Some(line) = self.explanations.news(key, &decision) {
                tracing::info!(scaler = %key, "decided (dry run, nothing is written): {line}");
            }
            self.explanations.tell(key, observed, decision, Vec::new());
            return Ok(());
        }
        self.tell_events(key, scaler, &decision, now);
        self.tell_period(key, scaler, now);
        let around = Around {
            observed: &observed,
            pods: &pods,
            decision: &decision,
            target_uid: &source.uid,
            wrote,
        };
        let findings = self.look_around(key, scaler, &around);
        // Most passes change nothing, so that there is nothing to copy.
        let changed = (decision.status != scaler.status).then(|| decision.status.clone());
        self.explanations.tell(key, observed, decision, findings);
        let Some(status) = changed else { return Ok(()) };
        let written = self.write_status(key, scaler, &status, now);
        let written = tokio::time::timeout(self.options.request_timeout, written).await;
        let written = match written {
            Ok(written) => written.map_err(Error::Status),
            Err(_) => Err(Error::Late),
        };
        if let Err(error) = &written {
            self.tell_unwritten(key, scaler, error, now);
        }
        written
    }
}

impl Live for Shell {
    fn present(&self) -> Present {
        let mut states = BTreeMap::new();
        let mut desired = Vec::new();
        self.hpas.for_each(|hpa| {
            let scaler = &hpa.0;
            *states.entry(state_of(&scaler.status)).or_default() += 1;
            let key = &scaler.meta.key;
            let (namespace, name) = (Arc::clone(&key.namespace), Arc::clone(&key.name));
            desired.push((namespace, name, scaler.status.desired_replicas));
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
    type Key = ScalerKey;
    type Error = Error;

    fn name(&self) -> &'static str {
        "horizontal-pod-autoscaler"
    }

    async fn reconcile(&self, key: &ScalerKey) -> Result<Action, Error> {
        let Some(scaler) = self.find(key) else {
            self.forget(key);
            return Ok(Action::Wait);
        };
        if key.kind == ScalerKind::Horizontal && self.options.elsewhere.is_set() {
            self.leave(key, &scaler);
            self.note(key, &scaler).await;
            return Ok(Action::Requeue(self.options.sync_period));
        }
        let outcome = self.evaluate(key, &scaler).await;
        self.evaluations.fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(rest) => Ok(Action::Requeue(rest)),
            // Nothing to do before somebody edits it.
            Err(Error::Spec(..)) => {
                self.wish_no_more(key);
                Ok(Action::Wait)
            }
            Err(Error::Status(error)) if error.is_not_found() => Ok(Action::Wait),
            // A pass is a decision, so it is not tried again at once, nor ever more rarely.
            Err(Error::Status(_) | Error::Late) => {
                Ok(Action::Requeue(self.options.status_interval))
            }
        }
    }
}

/// Why a pass did not end well.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The stored spec does not have the API's shape.
    #[error("spec of autoscaler {0} cannot be read: {1}")]
    Spec(ScalerKey, String),
    /// The status was not written; the scale is.
    #[error("status of the autoscaler was not written")]
    Status(#[source] WriteError),
    /// Whether the status is written is not known.
    #[error("the API server gave no answer to the status in time")]
    Late,
}
