//! Copies of the objects, kept current by watches, one for each kind.
//!
//! ```text
//! watch ──▶ slimmed object ──▶ copy ──▶ a change that matters wakes the autoscaler
//! ```
//!
//! A copy is of use while it is current: its first list is complete and nothing has gone wrong
//! since. Otherwise (at the start, after a lost connection, after 410, while a kind is not served)
//! nobody reads it, and the objects are listed as if there were no watch. A kind that discovery does
//! not name is looked for again every half minute, in whatever version there is then; that a watch
//! finds nothing does not suffice, since an API server that starts says so for a moment.

use super::access::Access;
use super::scalable::Kind;
use futures::StreamExt;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Error};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// The pause after a first failure; doubles with each further one, up to [`LAST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause, and the one after a kind was not served.
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// A kind that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    /// One with a scale.
    Scalable(Kind),
    /// `Machine`.
    Machine,
}

impl Watched {
    const ALL: [Self; 4] = [
        Self::Scalable(Kind::Deployment),
        Self::Scalable(Kind::Set),
        Self::Scalable(Kind::Pool),
        Self::Machine,
    ];

    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Scalable(kind) => kind.plural(),
            Self::Machine => "machines",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scalable(kind) => kind.name(),
            Self::Machine => "Machine",
        }
    }

    /// What of the status is read; the rest would wake the autoscaler for nothing.
    fn status(self) -> &'static [&'static str] {
        match self {
            Self::Scalable(Kind::Deployment | Kind::Set) => &[],
            Self::Scalable(Kind::Pool) => &["nodeRefs", "replicas"],
            Self::Machine => &[
                "deprecated",
                "failureMessage",
                "failureReason",
                "nodeRef",
                "phase",
            ],
        }
    }
}

/// Namespace and name.
type Key = (String, String);

/// The objects of a kind.
#[derive(Debug, Default)]
struct Mirror {
    objects: BTreeMap<Key, Arc<Value>>,
    /// What a list that is under way has brought so far.
    coming: BTreeMap<Key, Arc<Value>>,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not listed yet, or not followed any more.
    #[default]
    Stale,
    Current,
    /// There is no such kind.
    Absent,
}

/// Everything that is followed.
#[derive(Debug, Default)]
struct Shared {
    copies: Mutex<BTreeMap<Watched, Mirror>>,
    /// How often something has changed.
    news: watch::Sender<u64>,
}

/// The copies, and the tasks that keep them. Dropping it ends these.
#[derive(Debug, Default)]
pub(super) struct Watching {
    shared: Arc<Shared>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// The objects at one moment.
pub(super) struct Current {
    /// How often something had changed until then.
    pub(super) version: u64,
    /// The objects with a scale.
    pub(super) scalables: Vec<(Kind, Arc<Value>)>,
    /// The machines.
    pub(super) machines: Vec<Arc<Value>>,
}

impl Watching {
    /// Begins to watch, once. Must be called inside a runtime.
    pub(super) fn start(&self, access: &Arc<Access>) {
        let mut tasks = self.tasks.lock();
        if !tasks.is_empty() {
            return;
        }
        let begun = Watched::ALL.map(|kind| {
            let (shared, access) = (Arc::clone(&self.shared), Arc::clone(access));
            tokio::spawn(async move { shared.follow(&access, kind).await }).abort_handle()
        });
        tasks.extend(begun);
    }

    /// Ends the watches.
    pub(super) fn stop(&self) {
        for task in self.tasks.lock().iter() {
            task.abort();
        }
        self.shared.copies.lock().clear();
    }

    /// Changes with every change of the objects.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.news.subscribe()
    }

    /// How often something has changed, if all copies are current.
    pub(super) fn version(&self) -> Option<u64> {
        let copies = self.shared.copies.lock();
        let is_current = |kind: &Watched| copies.get(kind).is_some_and(|c| c.state != State::Stale);
        let all = Watched::ALL.iter().all(is_current);
        all.then(|| *self.shared.news.borrow())
    }

    /// The objects, if all copies are current.
    pub(super) fn current(&self) -> Option<Current> {
        let copies = self.shared.copies.lock();
        let mut current = Current {
            version: *self.shared.news.borrow(),
            scalables: Vec::new(),
            machines: Vec::new(),
        };
        for kind in Watched::ALL {
            let copy = copies.get(&kind).filter(|c| c.state != State::Stale)?;
            let objects = copy.objects.values().map(Arc::clone);
            match kind {
                Watched::Scalable(kind) => {
                    current
                        .scalables
                        .extend(objects.map(|object| (kind, object)));
                }
                Watched::Machine => current.machines.extend(objects),
            }
        }
        Some(current)
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Follows one kind, for ever.
    async fn follow(&self, access: &Access, kind: Watched) {
        let mut pause = FIRST_PAUSE;
        loop {
            if let Ok(resource) = access.resource(kind).await {
                let api = Api::all_with(access.client(), &resource);
                self.watch(api, kind, &mut pause).await;
                // Perhaps it comes under another version.
                access.forget_version();
                if let Ok(false) = access.serves(kind.plural()).await {
                    self.lose(kind, State::Absent);
                    pause = LAST_PAUSE;
                }
            }
            access.forget_version();
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(LAST_PAUSE);
        }
    }

    /// Watches until the kind seems not to be served.
    async fn watch(&self, api: Api<DynamicObject>, kind: Watched, pause: &mut Duration) {
        let mut events = pin!(watcher(api, watcher::Config::default()));
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    if self.take_in(kind, event) {
                        *pause = FIRST_PAUSE;
                    }
                }
                Err(error) if is_absent(&error) => {
                    self.doubt(kind);
                    return;
                }
                Err(error) => {
                    tracing::debug!(kind = kind.name(), %error, "the watch failed");
                    self.lose(kind, State::Stale);
                    tokio::time::sleep(*pause).await;
                    *pause = pause.saturating_mul(2).min(LAST_PAUSE);
                }
            }
        }
    }

    /// Takes in an event. Returns whether the copy is current.
    fn take_in(&self, kind: Watched, event: Event<DynamicObject>) -> bool {
        let mut copies = self.copies.lock();
        let copy = copies.entry(kind).or_default();
        let is_news = match event {
            Event::Init => {
                copy.coming.clear();
                false
            }
            Event::InitApply(object) => {
                copy.coming.extend(slim(kind, &object));
                false
            }
            Event::InitDone => {
                let was = std::mem::replace(&mut copy.state, State::Current);
                let coming = std::mem::take(&mut copy.coming);
                let is_news = was == State::Absent || copy.objects != coming;
                copy.objects = coming;
                is_news
            }
            Event::Apply(object) => slim(kind, &object).is_some_and(|(key, object)| {
                let known = copy.objects.get(&key);
                let is_news = known.is_none_or(|known| *known != object);
                copy.objects.insert(key, object);
                is_news
            }),
            Event::Delete(object) => {
                let key = slim(kind, &object).map(|(key, _)| key);
                key.is_some_and(|key| copy.objects.remove(&key).is_some())
            }
        };
        let is_current = copy.state == State::Current;
        if is_news {
            // Still locked: whoever reads the copies reads their version with them.
            self.news.send_modify(|count| *count += 1);
        }
        is_current
    }

    /// Perhaps the kind is not served: what was copied is of no use until that is known.
    fn doubt(&self, kind: Watched) {
        let mut copies = self.copies.lock();
        let copy = copies.entry(kind).or_default();
        if copy.state == State::Current {
            copy.state = State::Stale;
        }
    }

    /// The copy is of no use any more, or there is nothing to copy.
    fn lose(&self, kind: Watched, state: State) {
        let mut copies = self.copies.lock();
        let copy = copies.entry(kind).or_default();
        let had_some = state == State::Absent && !copy.objects.is_empty();
        if state == State::Absent {
            copy.objects.clear();
        }
        copy.state = state;
        if had_some {
            self.news.send_modify(|count| *count += 1);
        }
    }
}

/// What of an object matters, by its name; `None` if it has none.
fn slim(kind: Watched, object: &DynamicObject) -> Option<(Key, Arc<Value>)> {
    let metadata = &object.metadata;
    let key = (metadata.namespace.clone()?, metadata.name.clone()?);
    let mut value = serde_json::to_value(object).ok()?;
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| {
            !["managedFields", "resourceVersion", "generation"].contains(&&**name)
        });
    }
    if let Some(status) = value.get_mut("status").and_then(Value::as_object_mut) {
        status.retain(|name, _| kind.status().contains(&&**name));
    }
    Some((key, Arc::new(value)))
}

/// Whether the kind seems not to be served.
fn is_absent(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => {
            matches!(error, Error::Api(status) if status.code == 404)
        }
        watcher::Error::WatchError(status) => status.code == 404,
        watcher::Error::NoResourceVersion => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DEPLOYMENT: Watched = Watched::Scalable(Kind::Deployment);

    fn object(name: &str, version: u64, replicas: u64, conditions: u64) -> DynamicObject {
        let metadata = json!({
            "namespace": "default", "name": name, "resourceVersion": version.to_string(), "generation": version,
            "managedFields": [{"manager": "m", "operation": "Update", "time": "2026-01-01T00:00:00Z"}],
        });
        let object = json!({
            "metadata": metadata, "spec": {"replicas": replicas},
            "status": {"observed": conditions, "phase": "Running"},
        });
        serde_json::from_value(object).unwrap()
    }

    fn listed(shared: &Shared, kind: Watched, objects: Vec<DynamicObject>) {
        shared.take_in(kind, Event::Init);
        for object in objects {
            shared.take_in(kind, Event::InitApply(object));
        }
        assert!(shared.take_in(kind, Event::InitDone));
    }

    fn news(watching: &Watching) -> u64 {
        *watching.shared.news.borrow()
    }

    #[test]
    fn only_what_matters_is_news() {
        let watching = Watching::default();
        let shared = &watching.shared;
        listed(shared, DEPLOYMENT, vec![object("a", 1, 3, 0)]);
        assert_eq!(news(&watching), 1);
        shared.take_in(DEPLOYMENT, Event::Apply(object("a", 2, 3, 1)));
        assert_eq!(news(&watching), 1, "another status of a deployment is none");
        shared.take_in(DEPLOYMENT, Event::Apply(object("a", 3, 4, 1)));
        assert_eq!(news(&watching), 2);
        listed(shared, DEPLOYMENT, vec![object("a", 9, 4, 7)]);
        assert_eq!(news(&watching), 2, "a new list that says the same is none");
        listed(shared, DEPLOYMENT, Vec::new());
        assert_eq!(news(&watching), 3);
        shared.take_in(DEPLOYMENT, Event::Delete(object("a", 9, 4, 7)));
        assert_eq!(news(&watching), 3, "it was gone");
    }

    #[test]
    fn copies_are_of_use_while_all_are_current() {
        let watching = Watching::default();
        let shared = &watching.shared;
        for kind in [DEPLOYMENT, Watched::Scalable(Kind::Set), Watched::Machine] {
            assert!(watching.current().is_none());
            listed(shared, kind, vec![object("a", 1, 3, 0)]);
        }
        assert!(watching.version().is_none());
        shared.lose(Watched::Scalable(Kind::Pool), State::Absent);
        let current = watching.current().unwrap();
        assert_eq!((current.scalables.len(), current.machines.len()), (2, 1));
        assert_eq!(watching.version(), Some(current.version));
        shared.lose(Watched::Machine, State::Stale);
        assert!(watching.current().is_none());
        shared.take_in(Watched::Machine, Event::Init);
        assert!(
            watching.version().is_none(),
            "a list that has begun is not enough"
        );
        shared.take_in(Watched::Machine, Event::InitDone);
        assert!(watching.current().unwrap().machines.is_empty());
    }
}
