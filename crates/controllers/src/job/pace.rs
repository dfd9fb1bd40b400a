//! Looks at a Job at once if it has had rest, else a second after the last look: hundreds of pods
//! that end together are counted together.
//!
//! Departs: upstream waits a second each time.

use super::watch::Work;
use crate::runtime::{ObjectKey, Queue};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Shortest time between two looks that pods cause.
const REST: Duration = Duration::from_secs(1);

/// Adds Jobs to the queue at a bearable pace. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    queue: Queue<Work>,
    looked: Arc<Mutex<BTreeMap<ObjectKey, Instant>>>,
}

impl Pace {
    pub(super) fn new(queue: Queue<Work>) -> Self {
        Self {
            queue,
            looked: Arc::default(),
        }
    }

    /// Something about the Job's pods changed.
    pub(super) fn add(&self, key: ObjectKey) {
        let due = self.looked.lock().get(&key).map(|at| *at + REST);
        let rest = due.map_or(Duration::ZERO, |due| {
            due.saturating_duration_since(Instant::now())
        });
        self.queue.add_after(Work::Job(key), rest);
    }

    /// The Job is being looked at.
    pub(super) fn looked(&self, key: &ObjectKey) {
        self.looked.lock().insert(key.clone(), Instant::now());
    }

    /// The Job is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.looked.lock().remove(key);
    }
}
