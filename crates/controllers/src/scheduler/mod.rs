//! The scheduler: binds pods to nodes by the rules of `engine::placement`.
//!
//! ```text
//! caches ──watching──> State (snapshot, queue) ──decide──> Decided ──carrying──> API server
//! ```
//!
//! The snapshot follows the caches change by change. Pods wait in a [`queue`] by priority; one that
//! fits nowhere is parked, says why (condition and event), and is tried again when something
//! happens that could help it. Deciding happens under one lock and never waits; the writes that
//! carry decisions out run side by side.

mod carrying;
pub(crate) mod classes;
mod devices;
pub mod explanation;
mod hints;
mod preempting;
mod promises;
mod queue;
mod state;
pub(crate) mod surroundings;
pub(crate) mod volumes;
pub(crate) mod watching;

use crate::pods::{Caches, PodView, ServiceView, VolumeView, label_key};
use crate::runtime::{Cache, Full, Index, Recorder, Writer};
use crate::supervisor::Context;
use k8s_openapi::api::storage::v1::CSINode;
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use state::{Decided, State, Verdict};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Keeps the scheduler's ties apart from other uses of the seed.
const SEED: u64 = 0x7363_6865;
/// Decisions whose writes may be under way at once.
const IN_FLIGHT: usize = 64;
/// Pods that were tried moments ago are looked at again at most this often. Changes come in bursts
/// (a scale-in frees many places): look once after each.
const REST: Duration = Duration::from_millis(50);

/// What a node's CSI drivers can do.
type CsiNode = Full<CSINode>;

/// The scheduler named `default-scheduler`.
#[derive(Debug)]
pub struct Scheduler {
    state: Mutex<State>,
    wake: Notify,
    caches: Caches,
    services_by_label: Index<ServiceView>,
    volumes_by_class: Index<VolumeView>,
    csi_nodes: Cache<CsiNode>,
    /// Counts the changes of claims, volumes and storage classes.
    storage_moved: watch::Sender<u64>,
    /// Pods that have a node and wait for their volumes.
    awaiting_volumes: AtomicUsize,
    writer: Writer,
    recorder: Recorder,
    clock: Clock,
}

impl Scheduler {
    /// Follows the caches from now on; the context's seed decides ties between equally good nodes.
    pub fn new(context: &Context) -> Arc<Self> {
        let caches = context.caches.clone();
        let scheduler = Arc::new(Self {
            state: Mutex::new(State::new(context.seed ^ SEED)),
            wake: Notify::new(),
            services_by_label: caches.services.index(anchor),
            volumes_by_class: caches
                .volumes
                .index(|volume| vec![Arc::clone(&volume.class)]),
            csi_nodes: Cache::start(context.client.clone(), context.seed ^ SEED),
            storage_moved: watch::Sender::new(0),
            awaiting_volumes: AtomicUsize::new(0),
            caches,
            writer: context.writer.clone(),
            recorder: context.recorder.component("default-scheduler"),
            clock: context.clock,
        });
        watching::follow(&scheduler);
        scheduler
    }

    /// Schedules for ever.
    pub async fn run(self: Arc<Self>) -> Infallible {
        self.caches.ready().await;
        self.csi_nodes.ready().await;
        self.caches.storage_classes.ready().await;
        self.caches.volumes.ready().await;
        self.caches.claims.ready().await;
        self.caches.budgets.ready().await;
        self.caches.devices.ready().await;
        let mut writes = JoinSet::new();
        let mut rested = Instant::now();
        loop {
            let now = Instant::now();
            let free = self.free(writes.len());
            let decided = self.decide_some(free, now, &mut rested);
            for one in decided {
                let scheduler = Arc::clone(&self);
                writes.spawn(async move { scheduler.carry_out(one).await });
            }
            let free = self.free(writes.len()) > 0;
            if free && self.state.lock().queue.has_line() {
                continue;
            }
            let due = self.next_look(rested + REST);
            tokio::select! {
                biased;
                Some(_) = writes.join_next() => {}
                () = self.wake.notified(), if free => {}
                () = sleep_until(due.unwrap_or(now)), if free && due.is_some() => {}
            }
        }
    }

    /// How many more writes may be under way. Waiting for volumes costs nothing.
    fn free(&self, under_way: usize) -> usize {
        let waiting = self.awaiting_volumes.load(Ordering::Relaxed);
        (IN_FLIGHT + waiting).saturating_sub(under_way)
    }

    /// When to look next without being woken; those who rest are looked at from `rested` on.
    fn next_look(&self, rested: Instant) -> Option<Instant> {
        let state = self.state.lock();
        let resting = state.queue.has_resting().then_some(rested);
        resting.into_iter().chain(state.queue.next_due()).min()
    }

    /// Decides for up to `count` pods.
    fn decide_some(&self, count: usize, now: Instant, rested: &mut Instant) -> Vec<Decided> {
        let mut state = self.state.lock();
        if !state.queue.is_due(now) {
            if *rested + REST > now {
                return Vec::new();
            }
            *rested = now;
        }
        let mut decided = Vec::new();
        for taken in state.queue.take(count, now) {
            match self.caches.pods.get(&taken.key) {
                Some(pod) if pod.node.is_none() && is_ours(&pod) => {
                    let mut one = state.decide(pod, &taken, now);
                    if let Verdict::Bind { node } = &one.verdict
                        && !one.pod.placement.claims.is_empty()
                    {
                        one.volumes = self.plan_volumes(&mut state, &one.pod, node);
                    }
                    if matches!(one.verdict, Verdict::Bind { .. })
                        && !one.pod.placement.device_claims.is_empty()
                    {
                        one.grants = state.grants(&one.pod);
                    }
                    decided.push(one);
                }
                _ => state.forget(&taken.key),
            }
        }
        state.end_batch();
        decided
    }
}

/// The label by which a Service's pods are found first.
fn anchor(service: &ServiceView) -> Vec<Arc<str>> {
    let selector = service.selector.as_ref();
    let anchor = selector.and_then(|selector| selector.anchor());
    let key = anchor.map(|(key, value)| label_key(service.meta.namespace(), key, value));
    key.map(Arc::from).into_iter().collect()
}

/// Runs the scheduler until the task is dropped.
pub async fn control(context: Context) {
    match Scheduler::new(&context).run().await {}
}

/// Whether the pod waits for this scheduler. One whose claims to devices have not been made yet does
/// not.
fn is_ours(pod: &PodView) -> bool {
    let gated = pod
        .placement
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| gates.get() != "[]");
    let lacks_claim = pod
        .placement
        .device_claims
        .iter()
        .any(|claim| claim.claim.is_none());
    pod.scheduler.is_none()
        && !lacks_claim
        && !pod.meta.is_deleting()
        && !gated
        && !pod.phase.is_terminal()
}
