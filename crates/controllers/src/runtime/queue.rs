//! A work queue that hands out keys in the order (due time, order of adding).

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// First delay after a failure, doubled with each further one (as client-go does).
const FIRST_RETRY: Duration = Duration::from_millis(5);
/// Longest delay after a failure.
const LAST_RETRY: Duration = Duration::from_secs(1000);

/// A queue of keys to work on. Clones share it.
///
/// A key is in the queue at most once, at its earliest due time. A key handed out by
/// [`Queue::next`] is not handed out again before [`Queue::done`]; if it is added meanwhile, it
/// waits until then. Two runs that add the same keys at the same times get them in the same order.
#[derive(Debug)]
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

#[derive(Debug)]
struct Shared<K> {
    state: Mutex<State<K>>,
    added: Notify,
}

/// When a key is due; ties go to whoever was added first.
type Due = (Instant, u64);

#[derive(Debug)]
struct State<K> {
    sequence: u64,
    by_due: BTreeMap<Due, K>,
    waiting: BTreeMap<K, Due>,
    processing: BTreeSet<K>,
    /// Keys added while being processed.
    again: BTreeMap<K, Due>,
    failures: BTreeMap<K, u32>,
    added: u64,
    retried: u64,
}

/// What a queue has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Keys waiting, due or not.
    pub waiting: usize,
    /// Keys ever added, repetitions included.
    pub added: u64,
    /// Keys ever added because of a failure.
    pub retried: u64,
}

impl<K: Ord + Clone> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Clone> Queue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            sequence: 0,
            by_due: BTreeMap::new(),
            waiting: BTreeMap::new(),
            processing: BTreeSet::new(),
            again: BTreeMap::new(),
            failures: BTreeMap::new(),
            added: 0,
            retried: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                added: Notify::new(),
            }),
        }
    }

    /// Adds `key`, due now.
    pub fn add(&self, key: K) {
        self.add_after(key, Duration::ZERO);
    }

    /// Adds `key`, due after `delay`; keeps the earlier time if it is queued already.
    pub fn add_after(&self, key: K, delay: Duration) {
        let now = Instant::now();
        let at = now.checked_add(delay).unwrap_or(now + LAST_RETRY);
        self.shared.state.lock().insert(key, at);
        self.shared.added.notify_one();
    }

    /// Adds several keys, each due after its delay.
    pub fn add_all(&self, keys: impl IntoIterator<Item = (K, Duration)>) {
        let now = Instant::now();
        {
            let mut state = self.shared.state.lock();
            for (key, delay) in keys {
                state.insert(key, now.checked_add(delay).unwrap_or(now + LAST_RETRY));
            }
        }
        self.shared.added.notify_waiters();
        self.shared.added.notify_one();
    }

    /// Adds `key` after 5 ms · 2ⁿ, at most 1,000 s, for the n-th failure since [`Queue::forget`].
    pub fn add_rate_limited(&self, key: K) {
        let delay = {
            let mut state = self.shared.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            let delay = FIRST_RETRY
                .saturating_mul(1_u32 << (*failures).min(20))
                .min(LAST_RETRY);
            *failures = failures.saturating_add(1);
            state.retried += 1;
            delay
        };
        self.add_after(key, delay);
    }

    /// Forgets the failures of `key`.
    pub fn forget(&self, key: &K) {
        self.shared.state.lock().failures.remove(key);
    }

    /// How often `key` has failed since [`Queue::forget`].
    pub fn failures(&self, key: &K) -> u32 {
        self.shared
            .state
            .lock()
            .failures
            .get(key)
            .copied()
            .unwrap_or_default()
    }

    /// Keys waiting, due or not.
    pub fn len(&self) -> usize {
        let state = self.shared.state.lock();
        state.waiting.len() + state.again.len()
    }

    /// What it has seen so far.
    pub fn stats(&self) -> QueueStats {
        let state = self.shared.state.lock();
        QueueStats {
            waiting: state.waiting.len() + state.again.len(),
            added: state.added,
            retried: state.retried,
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits for the next due key. The caller must call [`Queue::done`] with it.
    pub async fn next(&self) -> K {
        loop {
            // Registered before looking, so an add in between is not missed.
            let added = self.shared.added.notified();
            let due = match self.shared.state.lock().pop(Instant::now()) {
                Ok(key) => return key,
                Err(due) => due,
            };
            let Some(due) = due else {
                added.await;
                continue;
            };
            tokio::select! {
                biased;
                () = added => {}
                () = sleep_until(due) => {}
            }
        }
    }

    /// Takes the next key if one is due now.
    pub fn try_next(&self) -> Option<K> {
        self.shared.state.lock().pop(Instant::now()).ok()
    }

    /// Ends the work on `key`; if it was added meanwhile, it is queued now.
    pub fn done(&self, key: &K) {
        let mut state = self.shared.state.lock();
        state.processing.remove(key);
        if let Some((at, _)) = state.again.remove(key) {
            state.insert(key.clone(), at);
            drop(state);
            self.shared.added.notify_one();
        }
    }
}

impl<K: Ord + Clone> State<K> {
    fn insert(&mut self, key: K, at: Instant) {
        self.sequence += 1;
        self.added += 1;
        let due = (at, self.sequence);
        if self.processing.contains(&key) {
            let entry = self.again.entry(key).or_insert(due);
            *entry = due.min(*entry);
            return;
        }
        if let Some(&old) = self.waiting.get(&key) {
            if old <= due {
                return;
            }
            self.by_due.remove(&old);
        }
        self.by_due.insert(due, key.clone());
        self.waiting.insert(key, due);
    }

    /// The first key if due at `now`, else when the first is due.
    fn pop(&mut self, now: Instant) -> Result<K, Option<Instant>> {
        let Some(first) = self.by_due.first_entry() else {
            return Err(None);
        };
        let (at, _) = *first.key();
        if at > now {
            return Err(Some(at));
        }
        let key = first.remove();
        self.waiting.remove(&key);
        self.processing.insert(key.clone());
        Ok(key)
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
