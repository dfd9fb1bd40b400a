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
mod classes;
mod facts;
mod nominations;
mod queue;
mod state;
mod watching;

use crate::pods::{Caches, PodView};
use crate::runtime::{Recorder, Writer};
use crate::supervisor::Context;
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use state::{Decided, State};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// Keeps the scheduler's ties apart from other uses of the seed.
const SEED: u64 = 0x7363_6865;
/// Decisions whose writes may be under way at once.
const IN_FLIGHT: usize = 64;
/// Pods that were tried moments ago are looked at again at most this often. Changes come in bursts
/// (a scale-in frees many places): look once after each.
const REST: Duration = Duration::from_millis(50);

/// The scheduler named `default-scheduler`.
#[derive(Debug)]
pub struct Scheduler {
    state: Mutex<State>,
    wake: Notify,
    caches: Caches,
    writer: Writer,
    recorder: Recorder,
    clock: Clock,
}

impl Scheduler {
    /// Follows the caches from now on; the context's seed decides ties between equally good nodes.
    pub fn new(context: &Context) -> Arc<Self> {
        let scheduler = Arc::new(Self {
            state: Mutex::new(State::new(context.seed ^ SEED)),
            wake: Notify::new(),
            caches: context.caches.clone(),
            writer: context.writer.clone(),
            recorder: context.recorder.component("default-scheduler"),
            clock: context.clock,
        });
        watching::follow(&scheduler);
        scheduler
    }

    /// Schedules for ever.
    pub async fn run(self: Arc<Self>) -> Infallible {
        self.caches.nodes.ready().await;
        self.caches.pods.ready().await;
        let mut writes = JoinSet::new();
        let mut rested = Instant::now();
        loop {
            let now = Instant::now();
            let free = IN_FLIGHT.saturating_sub(writes.len());
            let decided = self.decide_some(free, now, &mut rested);
            for one in decided {
                let scheduler = Arc::clone(&self);
                writes.spawn(async move { scheduler.carry_out(one).await });
            }
            let free = writes.len() < IN_FLIGHT;
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
                    decided.push(state.decide(pod, &taken, now));
                }
                _ => state.forget(&taken.key),
            }
        }
        state.end_batch();
        decided
    }
}

/// Runs the scheduler until the task is dropped.
pub async fn control(context: Context) {
    match Scheduler::new(&context).run().await {}
}

/// Whether the pod waits for this scheduler.
fn is_ours(pod: &PodView) -> bool {
    let gated = pod
        .placement
        .scheduling_gates
        .as_ref()
        .is_some_and(|gates| gates.get() != "[]");
    pod.scheduler.is_none() && !pod.meta.is_deleting() && !gated && !pod.phase.is_terminal()
}
