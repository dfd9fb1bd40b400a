//! Which removals are under way, how the others ended, and which pods were evicted lately.

use super::outcome::{Outcome, Phase, Running};
use crate::pods::PodView;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// How long an evicted pod counts as one whose replacement may not exist yet.
const RECENT: SignedDuration = SignedDuration::from_mins(2);
/// Outcomes kept for somebody who does not fetch them.
const OUTCOMES: usize = 10_000;

/// How many evictions there were: `evicted_pods_total` by `eviction_result`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evictions {
    /// The pod went.
    pub succeeded: u64,
    /// It was refused until the time was up.
    pub failed: u64,
}

/// What is known of removals.
#[derive(Debug)]
pub(super) struct Ledger {
    clock: Clock,
    running: Mutex<BTreeMap<Arc<str>, Running>>,
    outcomes: Mutex<Vec<Outcome>>,
    evicted: Mutex<Vec<(Timestamp, Arc<PodView>)>>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    changes: watch::Sender<u64>,
}

impl Ledger {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            running: Mutex::default(),
            outcomes: Mutex::default(),
            evicted: Mutex::default(),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            changes: watch::Sender::new(0),
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn raise(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Enters a removal; answers whether none of the node was under way.
    pub(super) fn begin(&self, running: Running) -> bool {
        let mut all = self.running.lock();
        if all.contains_key(&running.node) {
            return false;
        }
        all.insert(Arc::clone(&running.node), running);
        true
    }

    pub(super) fn phase(&self, node: &str, phase: Phase) {
        let now = self.clock.now();
        if let Some(running) = self.running.lock().get_mut(node) {
            running.phase = phase;
            running.phase_since = now;
        }
        self.raise();
    }

    pub(super) fn end(&self, node: &str) {
        self.running.lock().remove(node);
        self.raise();
    }

    /// Every removal, in the order of the nodes' names.
    pub(super) fn all(&self) -> Vec<Running> {
        self.running.lock().values().cloned().collect()
    }

    pub(super) fn is_known(&self, node: &str) -> bool {
        self.running.lock().contains_key(node)
    }

    pub(super) fn clear(&self) {
        self.running.lock().clear();
        self.raise();
    }

    pub(super) fn report(&self, outcome: Outcome) {
        let mut outcomes = self.outcomes.lock();
        if outcomes.len() < OUTCOMES {
            outcomes.push(outcome);
        }
        drop(outcomes);
        self.raise();
    }

    pub(super) fn take_outcomes(&self) -> Vec<Outcome> {
        std::mem::take(&mut self.outcomes.lock())
    }

    pub(super) fn evicted(&self, pod: &Arc<PodView>) {
        self.succeeded.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.now();
        let mut evicted = self.evicted.lock();
        evicted.retain(|(at, _)| now.duration_since(*at) < RECENT);
        evicted.push((now, Arc::clone(pod)));
    }

    pub(super) fn not_evicted(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn recently_evicted(&self) -> Vec<Arc<PodView>> {
        let now = self.clock.now();
        let mut evicted = self.evicted.lock();
        evicted.retain(|(at, _)| now.duration_since(*at) < RECENT);
        evicted.iter().map(|(_, pod)| Arc::clone(pod)).collect()
    }

    pub(super) fn evictions(&self) -> Evictions {
        Evictions {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}
