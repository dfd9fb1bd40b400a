//! What is true now, and the recent past.

use super::intern::Interner;
use super::watch::Feed;
use super::{Change, Draft, Entry, Event, Expect, Frame, Key, ListQuery, Page, Stats, StoreError};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::Notify;

/// The revision of an empty store. Not 0, because clients read "0" as "any".
pub(super) const FIRST_REVISION: u64 = 1;

/// Bytes of an event beside the objects it holds, roughly.
const EVENT_OVERHEAD: usize = 160;

/// One write that has been asked for.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) change: Change,
    pub(super) draft: Draft,
    pub(super) expect: Expect,
}

/// Namespace and name.
type Place = (Arc<str>, Arc<str>);

/// What all handles, watches and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    state: RwLock<State>,
    interner: Mutex<Interner>,
    advanced: Notify,
}

/// The objects and their history.
#[derive(Debug)]
pub(super) struct State {
    revision: u64,
    /// The revision this process's history begins after.
    base: u64,
    resources: BTreeMap<Arc<str>, Resource>,
    owners: BTreeMap<Arc<str>, BTreeSet<Key>>,
    objects: usize,
    bytes: usize,
    history: History,
}

#[derive(Debug)]
struct Resource {
    objects: BTreeMap<Place, Arc<Entry>>,
    feed: Arc<Feed>,
}

/// Which feed holds the next oldest event, and how much all of them keep alive.
#[derive(Debug)]
struct History {
    order: VecDeque<(Arc<Feed>, usize)>,
    bytes: usize,
    most_events: usize,
    most_bytes: usize,
}

/// Writes that have been checked and given revisions, but are not visible yet.
#[derive(Debug, Default)]
pub(super) struct Staged {
    overlay: BTreeMap<Key, Option<Arc<Entry>>>,
    /// The events to come, in order.
    pub(super) events: Vec<Arc<Event>>,
}

impl Staged {
    /// Checks `write` against the state and what is staged already.
    pub(super) fn admit(
        &mut self,
        state: &State,
        interner: &mut Interner,
        mut write: Write,
    ) -> Result<Arc<Entry>, StoreError> {
        let key = &write.draft.key;
        let previous = self
            .overlay
            .get(key)
            .cloned()
            .unwrap_or_else(|| state.get(key));
        match (write.expect, &previous) {
            (Expect::Absent, Some(entry)) => return Err(StoreError::Exists(Arc::clone(entry))),
            (Expect::Revision(_), None) => return Err(StoreError::Missing),
            (Expect::Absent, None) if write.change == Change::Delete => {
                return Err(StoreError::Missing);
            }
            (Expect::Revision(wanted), Some(entry)) if entry.revision != wanted => {
                return Err(StoreError::Conflict(Arc::clone(entry)));
            }
            (Expect::Absent, None) | (Expect::Revision(_), Some(_)) => {}
        }
        interner.share_draft(&mut write.draft);
        let revision = state.revision + self.events.len() as u64 + 1;
        let entry = Arc::new(finish(write.draft, revision));
        let now = (write.change == Change::Put).then(|| Arc::clone(&entry));
        self.overlay.insert(entry.key.clone(), now);
        self.events
            .push(event(write.change, Arc::clone(&entry), previous));
        Ok(entry)
    }
}

/// Completes a draft; the JSON is one exact allocation.
fn finish(draft: Draft, revision: u64) -> Entry {
    let digits = revision.to_string();
    let Draft {
        key,
        uid,
        head,
        tail,
        index,
    } = draft;
    let mut json = Vec::with_capacity(head.len() + digits.len() + tail.len());
    json.extend_from_slice(&head);
    json.extend_from_slice(digits.as_bytes());
    json.extend_from_slice(&tail);
    Entry {
        key,
        uid,
        revision,
        json: Bytes::from(json),
        index,
    }
}

fn event(change: Change, entry: Arc<Entry>, previous: Option<Arc<Entry>>) -> Arc<Event> {
    Arc::new(Event {
        change,
        entry,
        previous,
        frame: Frame::default(),
        protobuf: Frame::default(),
    })
}

impl Shared {
    /// Wraps a state.
    pub(super) fn new(state: State, interner: Interner) -> Self {
        Self {
            state: RwLock::new(state),
            interner: Mutex::new(interner),
            advanced: Notify::new(),
        }
    }

    /// The current revision.
    pub(super) fn revision(&self) -> u64 {
        self.state.read().revision
    }

    /// Waits for a revision.
    pub(super) async fn reached(&self, revision: u64) {
        loop {
            let advanced = self.advanced.notified();
            if self.revision() >= revision {
                return;
            }
            advanced.await;
        }
    }

    /// Looks at the state.
    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read())
    }

    /// Checks writes without making them visible.
    ///
    /// The result is only good while nobody else writes: callers are the one writer of the store.
    pub(super) fn stage(
        &self,
        writes: impl IntoIterator<Item = Write>,
    ) -> (Staged, Vec<Result<Arc<Entry>, StoreError>>) {
        let state = self.state.read();
        stage(&state, &mut self.interner.lock(), writes)
    }

    /// Makes staged writes visible and wakes whoever waits for them.
    pub(super) fn publish(&self, staged: Staged) {
        let feeds = self.state.write().apply_all(staged.events);
        self.wake(feeds);
    }

    /// Checks writes and makes them visible in one step.
    pub(super) fn commit(&self, writes: Vec<Write>) -> Vec<Result<Arc<Entry>, StoreError>> {
        let mut state = self.state.write();
        let (staged, outcomes) = stage(&state, &mut self.interner.lock(), writes);
        let feeds = state.apply_all(staged.events);
        drop(state);
        self.wake(feeds);
        outcomes
    }

    /// The feed of `resource`, with the revision that is current at the same moment.
    pub(super) fn feed(&self, resource: &str) -> (Arc<Feed>, u64) {
        {
            let state = self.state.read();
            if let Some(found) = state.resources.get(resource) {
                return (Arc::clone(&found.feed), state.revision);
            }
        }
        let mut state = self.state.write();
        let revision = state.revision;
        (state.feed(&Arc::from(resource)), revision)
    }

    /// A list and the feed that continues it.
    pub(super) fn list_with_feed(
        &self,
        query: &ListQuery,
    ) -> Result<(Page, Arc<Feed>), StoreError> {
        // The feed is made first: looking it up may need the write lock.
        let (feed, _) = self.feed(&query.resource);
        Ok((self.state.read().list(query)?, feed))
    }

    fn wake(&self, feeds: Vec<Arc<Feed>>) {
        for feed in feeds {
            feed.wake();
        }
        self.advanced.notify_waiters();
    }
}

fn stage(
    state: &State,
    interner: &mut Interner,
    writes: impl IntoIterator<Item = Write>,
) -> (Staged, Vec<Result<Arc<Entry>, StoreError>>) {
    let mut staged = Staged::default();
    let outcomes = writes
        .into_iter()
        .map(|w| staged.admit(state, interner, w))
        .collect();
    (staged, outcomes)
}

impl State {
    /// A state of no objects at `revision`, with a bounded history.
    pub(super) fn new(revision: u64, most_events: usize, most_bytes: usize) -> Self {
        let history = History {
            order: VecDeque::new(),
            bytes: 0,
            most_events,
            most_bytes,
        };
        Self {
            revision,
            base: revision,
            resources: BTreeMap::new(),
            owners: BTreeMap::new(),
            objects: 0,
            bytes: 0,
            history,
        }
    }

    /// The current revision.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The object at `key`.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        let place = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        self.resources
            .get(&key.resource)?
            .objects
            .get(&place)
            .map(Arc::clone)
    }

    /// Keys of the objects that name `uid` as an owner.
    pub(super) fn by_owner(&self, uid: &str) -> Vec<Key> {
        self.owners
            .get(uid)
            .map(|keys| keys.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Every object, in order of key.
    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.resources
            .values()
            .flat_map(|r| r.objects.values())
            .map(Arc::clone)
            .collect()
    }

    /// Sizes.
    pub(super) fn stats(&self) -> Stats {
        Stats {
            objects: self.objects,
            bytes: self.bytes,
            events: self.history.order.len(),
            history_bytes: self.history.bytes,
            revision: self.revision,
        }
    }

    /// How many objects each resource has.
    pub(super) fn counts(&self) -> Vec<(Arc<str>, usize)> {
        let found = self.resources.iter();
        found
            .map(|(name, resource)| (Arc::clone(name), resource.objects.len()))
            .collect()
    }

    /// Puts back an object from a snapshot: no event, no new revision.
    pub(super) fn restore(&mut self, entry: Arc<Entry>) {
        self.replace(&entry.key.clone(), Some(entry));
    }

    /// Puts back a change from the log, as an event with its original revision.
    pub(super) fn replay(&mut self, change: Change, entry: Arc<Entry>) {
        let previous = self.get(&entry.key);
        self.apply(event(change, entry, previous));
        self.trim();
    }

    /// The feed of a resource, made if it is new.
    fn feed(&mut self, resource: &Arc<str>) -> Arc<Feed> {
        Arc::clone(&self.resource(resource).feed)
    }

    fn resource(&mut self, resource: &Arc<str>) -> &mut Resource {
        let base = self.base;
        self.resources
            .entry(Arc::clone(resource))
            .or_insert_with(|| Resource {
                objects: BTreeMap::new(),
                feed: Arc::new(Feed::new(base)),
            })
    }

    /// Applies events in order; returns the feeds to wake, each once.
    fn apply_all(&mut self, events: Vec<Arc<Event>>) -> Vec<Arc<Feed>> {
        let mut feeds: Vec<Arc<Feed>> = Vec::new();
        for event in events {
            let feed = self.apply(event);
            if !feeds.iter().any(|known| Arc::ptr_eq(known, &feed)) {
                feeds.push(feed);
            }
        }
        self.trim();
        feeds
    }

    fn apply(&mut self, event: Arc<Event>) -> Arc<Feed> {
        self.revision = event.entry.revision;
        let now = (event.change == Change::Put).then(|| Arc::clone(&event.entry));
        self.replace(&event.entry.key, now);
        let feed = self.feed(&event.entry.key.resource);
        let cost = cost(&event);
        self.history.bytes += cost;
        self.history.order.push_back((Arc::clone(&feed), cost));
        feed.push(event);
        feed
    }

    fn trim(&mut self) {
        let history = &mut self.history;
        while history.order.len() > history.most_events || history.bytes > history.most_bytes {
            let Some((feed, cost)) = history.order.pop_front() else {
                return;
            };
            history.bytes -= cost;
            feed.pop();
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "the map keeps it")]
    fn replace(&mut self, key: &Key, now: Option<Arc<Entry>>) {
        let place = (Arc::clone(&key.namespace), Arc::clone(&key.name));
        let objects = &mut self.resource(&key.resource).objects;
        let before = match &now {
            Some(entry) => objects.insert(place, Arc::clone(entry)),
            None => objects.remove(&place),
        };
        if let Some(before) = &before {
            self.objects -= 1;
            self.bytes -= before.json.len();
        }
        if let Some(now) = &now {
            self.objects += 1;
            self.bytes += now.json.len();
        }
        self.reindex(key, before.as_deref(), now.as_deref());
    }

    fn reindex(&mut self, key: &Key, before: Option<&Entry>, now: Option<&Entry>) {
        let none: &[Arc<str>] = &[];
        let old = before.map_or(none, |e| &e.index.owners);
        let new = now.map_or(none, |e| &e.index.owners);
        if old == new {
            return;
        }
        for owner in old {
            if let Some(keys) = self.owners.get_mut(owner) {
                keys.remove(key);
                if keys.is_empty() {
                    self.owners.remove(owner);
                }
            }
        }
        for owner in new {
            self.owners
                .entry(Arc::clone(owner))
                .or_default()
                .insert(key.clone());
        }
    }

    /// Objects in order, now or at an earlier revision.
    pub(super) fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        let revision = query.revision.unwrap_or(self.revision);
        if revision > self.revision {
            return Err(StoreError::Future {
                asked: revision,
                current: self.revision,
            });
        }
        let Some(resource) = self.resources.get(&query.resource) else {
            return if revision < self.base {
                Err(StoreError::Compacted {
                    asked: revision,
                    oldest: self.base,
                })
            } else {
                Ok(Page {
                    revision,
                    entries: Vec::new(),
                    remaining: 0,
                })
            };
        };
        if revision == self.revision {
            let found = resource.range(query).map(|(_, entry)| entry);
            return Ok(page(revision, query.limit, found));
        }
        resource.check(revision)?;
        let past = resource.changed_since(revision, query);
        let untouched = resource
            .range(query)
            .filter(|(place, _)| !past.contains_key(*place));
        let restored = past
            .iter()
            .filter_map(|(place, entry)| Some((place, entry.as_ref()?)));
        Ok(page(revision, query.limit, merge(untouched, restored)))
    }
}

impl Resource {
    fn check(&self, revision: u64) -> Result<(), StoreError> {
        let oldest = self.feed.compacted();
        if revision < oldest {
            return Err(StoreError::Compacted {
                asked: revision,
                oldest,
            });
        }
        Ok(())
    }

    /// The objects the query covers, in order.
    fn range<'a>(
        &'a self,
        query: &'a ListQuery,
    ) -> impl Iterator<Item = (&'a Place, &'a Arc<Entry>)> {
        let start = match (&query.after, &query.namespace) {
            (Some(after), None) => Bound::Excluded(after.clone()),
            (Some(after), Some(namespace)) if after.0 >= *namespace => {
                Bound::Excluded(after.clone())
            }
            (_, Some(namespace)) => Bound::Included((Arc::clone(namespace), Arc::from(""))),
            (None, None) => Bound::Unbounded,
        };
        self.objects
            .range((start, Bound::Unbounded))
            .take_while(|((namespace, _), _)| covers(query, namespace))
    }

    /// The objects that changed after `revision`, as they were at it.
    fn changed_since(
        &self,
        revision: u64,
        query: &ListQuery,
    ) -> BTreeMap<Place, Option<Arc<Entry>>> {
        let mut past = BTreeMap::new();
        self.feed.newest_first_until(revision, |event| {
            let key = &event.entry.key;
            let place = (Arc::clone(&key.namespace), Arc::clone(&key.name));
            let wanted = covers(query, &key.namespace)
                && query.after.as_ref().is_none_or(|after| place > *after);
            if wanted {
                past.insert(place, event.previous.as_ref().map(Arc::clone));
            }
        });
        past
    }
}

fn covers(query: &ListQuery, namespace: &Arc<str>) -> bool {
    query
        .namespace
        .as_ref()
        .is_none_or(|wanted| wanted == namespace)
}

/// Two ordered, disjoint sequences as one.
fn merge<'a>(
    left: impl Iterator<Item = (&'a Place, &'a Arc<Entry>)>,
    right: impl Iterator<Item = (&'a Place, &'a Arc<Entry>)>,
) -> impl Iterator<Item = &'a Arc<Entry>> {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    std::iter::from_fn(move || {
        let from_left = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => l.0 < r.0,
            (Some(_), None) => true,
            (None, Some(_) | None) => false,
        };
        let taken = if from_left { left.next() } else { right.next() };
        taken.map(|(_, entry)| entry)
    })
}

fn page<'a>(revision: u64, limit: usize, mut found: impl Iterator<Item = &'a Arc<Entry>>) -> Page {
    let most = if limit == 0 { usize::MAX } else { limit };
    let entries = found.by_ref().take(most).map(Arc::clone).collect();
    Page {
        revision,
        entries,
        remaining: found.count(),
    }
}

/// What an event alone keeps alive: the object it replaced, a removed object's last state, and the
/// frame that the first watcher will make.
fn cost(event: &Event) -> usize {
    let json = event.entry.json.len();
    let last = if event.change == Change::Delete {
        json
    } else {
        0
    };
    let replaced = event.previous.as_ref().map_or(0, |p| p.json.len());
    EVENT_OVERHEAD + json + last + replaced
}
