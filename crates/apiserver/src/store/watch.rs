//! Watches: one bounded ring of events per resource, read by any number of watchers at their own
//! pace. A write wakes only the watchers of its resource.

use super::state::Shared;
use super::{Event, StoreError};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::Notify;

/// The newest events of a resource keep the frames that their watchers share.
const SHARED: usize = 256;

/// Events a watcher takes from the ring at once.
const TAKE: usize = 128;

/// The recent events of one resource.
#[derive(Debug)]
pub(super) struct Feed {
    ring: Mutex<Ring>,
    // Not `tokio::sync::watch`: that one wakes its receivers in random order, and a simulation
    // must run the same way twice.
    wake: Notify,
}

#[derive(Debug)]
struct Ring {
    events: VecDeque<Arc<Event>>,
    /// Revision of the newest event that is gone; later ones are all here.
    compacted: u64,
    /// How many events are gone: the place of the first one in `events`.
    gone: u64,
}

impl Feed {
    /// An empty feed that knows of every event after `since`.
    pub(super) fn new(since: u64) -> Self {
        let ring = Ring {
            events: VecDeque::new(),
            compacted: since,
            gone: 0,
        };
        Self {
            ring: Mutex::new(ring),
            wake: Notify::new(),
        }
    }

    /// Adds the newest event; `wake` is a separate step, taken outside the store's lock.
    pub(super) fn push(&self, event: Arc<Event>) {
        let mut ring = self.ring.lock();
        ring.events.push_back(event);
        let old = ring.events.len().checked_sub(SHARED + 1);
        if let Some(old) = old.and_then(|at| ring.events.get(at)) {
            old.frame.forget();
            old.protobuf.forget();
        }
    }

    /// Forgets the oldest event.
    pub(super) fn pop(&self) {
        let mut ring = self.ring.lock();
        if let Some(event) = ring.events.pop_front() {
            ring.compacted = event.entry.revision;
            ring.gone += 1;
            if ring.events.len() * 4 < ring.events.capacity() {
                let keep = ring.events.len() * 2;
                ring.events.shrink_to(keep);
            }
        }
    }

    /// Wakes everyone who waits for an event.
    pub(super) fn wake(&self) {
        self.wake.notify_waiters();
    }

    /// The newest revision of which everything later is known.
    pub(super) fn compacted(&self) -> u64 {
        self.ring.lock().compacted
    }

    /// Every event after `revision`, newest first.
    pub(super) fn newest_first_until(&self, revision: u64, mut visit: impl FnMut(&Arc<Event>)) {
        let ring = self.ring.lock();
        ring.events
            .iter()
            .rev()
            .take_while(|e| e.entry.revision > revision)
            .for_each(&mut visit);
    }
}

impl Ring {
    /// The place of the first event after `revision`, counted from the first event ever.
    fn place_after(&self, revision: u64) -> u64 {
        let older = self
            .events
            .partition_point(|e| e.entry.revision <= revision);
        self.gone + older as u64
    }

    /// The events from a place on.
    fn from(&self, place: u64) -> impl Iterator<Item = &Arc<Event>> {
        let skipped = usize::try_from(place.saturating_sub(self.gone)).unwrap_or(usize::MAX);
        self.events.range(skipped.min(self.events.len())..)
    }
}

/// The events of one resource after a revision, in order.
#[derive(Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    feed: Arc<Feed>,
    /// Revision of the last event taken from the feed.
    position: u64,
    /// Where in the feed the next event will be; searched for once.
    place: Option<u64>,
    taken: VecDeque<Arc<Event>>,
}

impl Watch {
    pub(super) fn new(shared: Arc<Shared>, feed: Arc<Feed>, position: u64) -> Self {
        Self {
            shared,
            feed,
            position,
            place: None,
            taken: VecDeque::new(),
        }
    }

    /// The next event. Cancel-safe.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] if history has moved past this watcher; it is over then.
    pub async fn next(&mut self) -> Result<Arc<Event>, StoreError> {
        loop {
            let feed = Arc::clone(&self.feed);
            // Registered before looking, so that an event in between is not missed.
            let woken = feed.wake.notified();
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            woken.await;
        }
    }

    /// The next event if one is there already.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, StoreError> {
        if self.taken.is_empty() {
            let ring = self.feed.ring.lock();
            if self.position < ring.compacted {
                return Err(StoreError::TooSlow);
            }
            let place = self
                .place
                .unwrap_or_else(|| ring.place_after(self.position));
            self.taken
                .extend(ring.from(place).take(TAKE).map(Arc::clone));
            self.place = Some(place + self.taken.len() as u64);
            if let Some(last) = self.taken.back() {
                self.position = last.entry.revision;
            }
        }
        Ok(self.taken.pop_front())
    }

    /// If every event so far has been taken: the store's revision, good for a bookmark.
    pub fn caught_up(&self) -> Option<u64> {
        // The revision is read first: every event up to it is in the feed by then.
        let revision = self.shared.revision();
        let ring = self.feed.ring.lock();
        let behind = !self.taken.is_empty()
            || self.position < ring.compacted
            || ring
                .events
                .back()
                .is_some_and(|newest| newest.entry.revision > self.position);
        (!behind).then_some(revision)
    }
}
