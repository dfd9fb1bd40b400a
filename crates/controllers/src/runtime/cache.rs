//! A local copy of every object of a kind, kept current by a watch.

use super::index::{Index, Postings, Values};
use super::meta::revision;
use super::{Meta, ObjectKey};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use parking_lot::{Mutex, RwLock};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// First pause after a failed watch; doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause after a failed watch.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// What a cache can hold: a slim view, made from what is decoded from the wire.
///
/// `Wire` is decoded straight from the watch's bytes (fields it does not name are skipped) and
/// lives only until [`Cached::from_wire`].
pub trait Cached: Send + Sync + fmt::Debug + Sized + 'static {
    /// What is decoded.
    type Wire: Resource<DynamicType = ()>
        + DeserializeOwned
        + Clone
        + fmt::Debug
        + Send
        + Sync
        + 'static;

    /// Keeps what is needed.
    fn from_wire(wire: Self::Wire) -> Self;

    /// The object's metadata.
    fn meta(&self) -> &Meta;
}

/// Keeps the whole object; for kinds of which there are few.
#[derive(Debug, Clone)]
pub struct Full<K> {
    meta: Meta,
    /// The object; its `metadata` is the wire's.
    pub object: K,
}

impl<K> Cached for Full<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned + Clone + fmt::Debug + Send + Sync + 'static,
{
    type Wire = K;

    fn from_wire(wire: K) -> Self {
        Self {
            meta: Meta::from(wire.meta().clone()),
            object: wire,
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// One change of one object: an addition has no `old`, a removal no `new`.
#[derive(Debug)]
pub struct Change<V> {
    /// Which object.
    pub key: ObjectKey,
    /// Before.
    pub old: Option<Arc<V>>,
    /// After.
    pub new: Option<Arc<V>>,
}

impl<V> Clone for Change<V> {
    fn clone(&self) -> Self {
        Self {
            key: self.key.clone(),
            old: self.old.clone(),
            new: self.new.clone(),
        }
    }
}

type Handler<V> = Box<dyn Fn(&Change<V>) + Send + Sync>;

/// Every object of a kind. Clones share it.
///
/// Order of a change: the map and the indexes first, then the handlers in the order of their
/// registration, one change at a time. Handlers must be short, must not block, and must not
/// register further handlers on the same cache.
pub struct Cache<V: Cached> {
    inner: Arc<Inner<V>>,
}

struct Inner<V> {
    state: RwLock<State<V>>,
    /// Held while a change is applied and handed out, so that handlers see one total order.
    handlers: Mutex<Vec<Handler<V>>>,
    /// Watches whose first list is not complete.
    unlisted: AtomicUsize,
    ready: watch::Sender<bool>,
}

struct State<V> {
    objects: BTreeMap<ObjectKey, Arc<V>>,
    indexes: Vec<Postings<V>>,
    /// The newest revision the watch has shown.
    seen: u64,
}

/// Says that a watch failed: the first time that the API server refuses it, and whenever it refuses
/// it otherwise, for all to hear. Lost connections and watches that are too old pass by themselves.
fn tell(kind: &str, error: &watcher::Error, said: &mut Option<u16>) {
    let refusal = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => None,
    };
    match refusal.filter(|code| *code != 410) {
        Some(code) if *said != Some(code) => {
            *said = Some(code);
            tracing::warn!(kind, %error, "watch failed; it is tried again without saying so");
        }
        _ => tracing::debug!(kind, %error, "watch failed"),
    }
}

impl<V: Cached> Clone for Cache<V> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<V: Cached> fmt::Debug for Cache<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = V::Wire::kind(&());
        f.debug_struct("Cache")
            .field("kind", &kind)
            .field("len", &self.len())
            .finish()
    }
}

impl<V: Cached> Default for Cache<V> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<V: Cached> Cache<V> {
    /// A cache that no watch feeds; changed with [`Cache::observe`] and [`Cache::remove`].
    pub fn empty() -> Self {
        let state = State {
            objects: BTreeMap::new(),
            indexes: Vec::new(),
            seen: 0,
        };
        let inner = Inner {
            state: RwLock::new(state),
            handlers: Mutex::new(Vec::new()),
            unlisted: AtomicUsize::new(0),
            ready: watch::Sender::new(false),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts a cache of every object of the kind in the cluster. The task ends when the returned
    /// cache and all its clones, indexes and receivers are gone at the next event.
    ///
    /// Must be called inside a runtime. `seed` seeds the jitter of the pauses after failures.
    pub fn start(client: Client, seed: u64) -> Self {
        Self::start_selected(client, seed, watcher::Config::default())
    }

    /// Like [`Cache::start`], for the objects that `config` selects by labels or fields.
    pub fn start_selected(client: Client, seed: u64, config: watcher::Config) -> Self {
        Self::start_in(Api::all(client), seed, config)
    }

    /// Like [`Cache::start_selected`], for the objects that `api` reaches (one namespace).
    pub fn start_in(api: Api<V::Wire>, seed: u64, config: watcher::Config) -> Self {
        let cache = Self::empty();
        cache.inner.unlisted.store(1, Ordering::Relaxed);
        let watch = cache.clone().follow(api, config, seed, None);
        drop(tokio::spawn(watch));
        cache
    }

    /// Like [`Cache::start_selected`], with one watch for each of these namespaces, so that rights
    /// in them suffice. No namespace at all means all of them.
    pub fn start_within(
        client: &Client,
        namespaces: &[Arc<str>],
        seed: u64,
        config: &watcher::Config,
    ) -> Self
    where
        V::Wire: Resource<Scope = NamespaceResourceScope>,
    {
        if namespaces.is_empty() {
            return Self::start_selected(client.clone(), seed, config.clone());
        }
        let cache = Self::empty();
        let unlisted = &cache.inner.unlisted;
        unlisted.store(namespaces.len(), Ordering::Relaxed);
        for (seed, namespace) in (seed..).zip(namespaces) {
            let api = Api::namespaced(client.clone(), namespace);
            let inside = Some(Arc::clone(namespace));
            let watch = cache.clone().follow(api, config.clone(), seed, inside);
            drop(tokio::spawn(watch));
        }
        cache
    }

    /// Keeps the objects that `api` reaches current: those of one namespace if `inside` names it.
    async fn follow(
        self,
        api: Api<V::Wire>,
        config: watcher::Config,
        seed: u64,
        inside: Option<Arc<str>>,
    ) {
        let mut has_listed = false;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut events = pin!(watcher(api, config));
        let mut listed = BTreeSet::new();
        let mut pause = FIRST_PAUSE;
        let mut said = None;
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(wire)) => {
                    let object = self.apply(V::from_wire(wire), Source::Watch);
                    listed.insert(object.meta().key.clone());
                }
                Ok(Event::InitDone) => {
                    self.retain(&std::mem::take(&mut listed), inside.as_deref());
                    self.listed(std::mem::replace(&mut has_listed, true));
                    said = None;
                    pause = FIRST_PAUSE;
                }
                Ok(Event::Apply(wire)) => {
                    self.apply(V::from_wire(wire), Source::Watch);
                    pause = FIRST_PAUSE;
                }
                Ok(Event::Delete(wire)) => {
                    let at = revision(wire.meta().resource_version.as_deref());
                    self.delete(V::from_wire(wire).meta().key.clone(), at);
                }
                Err(error) => {
                    tell(&V::Wire::kind(&()), &error, &mut said);
                    tokio::time::sleep(pause.mul_f64(rng.random_range(0.5..1.0))).await;
                    pause = pause.saturating_mul(2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Waits until the first list is complete.
    pub async fn ready(&self) {
        // An error means that the watch task is gone for good (the runtime ends).
        drop(self.inner.ready.subscribe().wait_for(|ready| *ready).await);
    }

    /// Whether the first list is complete.
    pub fn is_ready(&self) -> bool {
        *self.inner.ready.borrow()
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<V>> {
        self.inner.state.read().objects.get(key).cloned()
    }

    /// Those of these objects that there are.
    pub fn get_all(&self, keys: impl IntoIterator<Item = ObjectKey>) -> Vec<Arc<V>> {
        let state = self.inner.state.read();
        keys.into_iter()
            .filter_map(|key| state.objects.get(&key).cloned())
            .collect()
    }

    /// One object by borrowed names.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<V>> {
        self.get(&ObjectKey::new(namespace, name))
    }

    /// The objects of a namespace, or all, ordered by namespace and name.
    pub fn list(&self, namespace: Option<&str>) -> Vec<Arc<V>> {
        let state = self.inner.state.read();
        let Some(namespace) = namespace else {
            return state.objects.values().cloned().collect();
        };
        let first = ObjectKey::new(namespace, "");
        let objects = state.objects.range(first..);
        let inside = objects.take_while(|(key, _)| &*key.namespace == namespace);
        inside.map(|(_, object)| Arc::clone(object)).collect()
    }

    /// Visits every object in order, under the read lock: be short.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<V>)) {
        self.inner
            .state
            .read()
            .objects
            .values()
            .for_each(&mut visit);
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.inner.state.read().objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an index: objects are found by each value that `values` returns.
    pub fn index(&self, values: fn(&V) -> Vec<Arc<str>>) -> Index<V> {
        let values: Values<V> = values;
        let mut state = self.inner.state.write();
        let mut postings = Postings::new(values);
        for (key, object) in &state.objects {
            postings.apply(key, None, Some(object));
        }
        state.indexes.push(postings);
        Index {
            cache: self.clone(),
            slot: state.indexes.len() - 1,
        }
    }

    pub(super) fn indexed(&self, slot: usize, value: &str) -> Vec<Arc<V>> {
        let state = self.inner.state.read();
        let Some(postings) = state.indexes.get(slot) else {
            return Vec::new();
        };
        postings
            .keys(value)
            .filter_map(|key| state.objects.get(key).cloned())
            .collect()
    }

    pub(super) fn count_indexed(&self, slot: usize, value: &str) -> usize {
        let state = self.inner.state.read();
        state
            .indexes
            .get(slot)
            .map_or(0, |postings| postings.keys(value).len())
    }

    /// Calls `handler` with each object there is (as an addition) and then with each change.
    pub fn on_change(&self, handler: impl Fn(&Change<V>) + Send + Sync + 'static) {
        let mut handlers = self.inner.handlers.lock();
        for object in self.list(None) {
            let key = object.meta().key.clone();
            handler(&Change {
                key,
                old: None,
                new: Some(object),
            });
        }
        handlers.push(Box::new(handler));
    }

    /// The same as [`Cache::on_change`], through an unbounded channel.
    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Change<V>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.on_change(move |change| {
            // A gone receiver has lost interest.
            drop(sender.send(change.clone()));
        });
        receiver
    }

    /// Takes in the answer to an own write, so that the next reconcile sees it even if the watch
    /// has not shown it yet. Ignored if the watch is further already.
    pub fn observe(&self, wire: V::Wire) -> Arc<V> {
        self.apply(V::from_wire(wire), Source::Write)
    }

    /// Removes an object that is known to be gone.
    pub fn remove(&self, key: &ObjectKey) {
        self.delete(key.clone(), u64::MAX);
    }

    fn apply(&self, object: V, source: Source) -> Arc<V> {
        let handlers = self.inner.handlers.lock();
        let key = object.meta().key.clone();
        let at = object.meta().revision;
        let mut state = self.inner.state.write();
        let current = state.objects.get(&key);
        let newer = current.is_none_or(|current| current.meta().revision < at || at == 0);
        let outdated = match source {
            Source::Watch => !newer,
            // A watch that is past the write has shown it, and perhaps its removal.
            Source::Write => !newer || (at <= state.seen && at != 0),
        };
        if matches!(source, Source::Watch) {
            state.seen = state.seen.max(at);
        }
        let new = Arc::new(object);
        if outdated {
            return new;
        }
        let old = state.put(&key, Some(&new));
        drop(state);
        publish(
            &handlers,
            &Change {
                key,
                old,
                new: Some(Arc::clone(&new)),
            },
        );
        new
    }

    fn delete(&self, key: ObjectKey, at: u64) {
        let handlers = self.inner.handlers.lock();
        let mut state = self.inner.state.write();
        if at != u64::MAX {
            state.seen = state.seen.max(at);
        }
        let current = state.objects.get(&key);
        if current.is_none_or(|current| current.meta().revision > at && at != 0) {
            return;
        }
        let old = state.put(&key, None);
        drop(state);
        publish(
            &handlers,
            &Change {
                key,
                old,
                new: None,
            },
        );
    }

    /// Notes that a watch's list is complete; the last first one makes the cache ready.
    fn listed(&self, again: bool) {
        if !again && self.inner.unlisted.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.inner.ready.send_replace(true);
        }
    }

    /// Removes what a new list of a namespace (or of all) does not show.
    fn retain(&self, listed: &BTreeSet<ObjectKey>, inside: Option<&str>) {
        let gone: Vec<ObjectKey> = {
            let state = self.inner.state.read();
            state
                .objects
                .keys()
                .filter(|key| inside.is_none_or(|namespace| *key.namespace == *namespace))
                .filter(|key| !listed.contains(*key))
                .cloned()
                .collect()
        };
        for key in gone {
            self.remove(&key);
        }
    }
}

/// Who brings an object.
#[derive(Clone, Copy)]
enum Source {
    Watch,
    Write,
}

impl<V> State<V> {
    fn put(&mut self, key: &ObjectKey, new: Option<&Arc<V>>) -> Option<Arc<V>> {
        let old = match new {
            Some(new) => self.objects.insert(key.clone(), Arc::clone(new)),
            None => self.objects.remove(key),
        };
        for index in &mut self.indexes {
            index.apply(key, old.as_deref(), new.map(|new| &**new));
        }
        old
    }
}

fn publish<V>(handlers: &[Handler<V>], change: &Change<V>) {
    for handler in handlers {
        handler(change);
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
