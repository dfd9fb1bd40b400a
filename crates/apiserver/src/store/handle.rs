//! The store as its users see it.

use super::intern::Interner;
use super::log::{Directory, failed};
use super::recovery::{Recovered, recover};
use super::sealing::Keyring;
use super::state::{FIRST_REVISION, Shared, State, Write};
use super::watch::Watch;
use super::writer::{self, Files, Outcomes, Request, Rotation, Task};
use super::{
    Backup, Change, Draft, Entry, Expect, Key, ListQuery, Options, Page, Sealing, StoreError,
};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Drafts that [`Store::delete_many`] puts into one commit.
const CHUNK: usize = 1_000;

/// A handle on the store; clones share it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use plimsoll_apiserver::store::{Draft, Expect, Index, Key, Options, Store};
/// let store = Store::open(Options::ephemeral()).unwrap();
/// let key = Key { resource: "configmaps".into(), namespace: "default".into(), name: "a".into() };
/// let draft = Draft {
///     key: key.clone(),
///     uid: "1".into(),
///     head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
///     tail: br#""}}"#.to_vec(),
///     index: Index::default(),
/// };
/// let entry = store.put(draft, Expect::Absent).await.unwrap();
/// assert_eq!(&entry.json[..], br#"{"metadata":{"resourceVersion":"2"}}"#);
/// assert_eq!(store.get(&key).unwrap().revision, store.revision());
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
    durable: Option<Arc<Durable>>,
}

#[derive(Debug)]
struct Durable {
    writer: Mutex<Option<(Sender<Task>, JoinHandle<()>)>>,
    sealing: Option<Sealing>,
}

impl Durable {
    fn ask(&self, task: Task) -> Result<(), StoreError> {
        match &*self.writer.lock() {
            Some((sender, _)) => sender.send(task).map_err(|_unsent| StoreError::Closed),
            None => Err(StoreError::Closed),
        }
    }
}

impl Drop for Durable {
    /// Waits for the writer, so that the directory is free once the last handle is gone.
    fn drop(&mut self) {
        if let Some((sender, thread)) = self.writer.get_mut().take() {
            drop(sender);
            finish(thread);
        }
    }
}

fn finish(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the store's writer panicked");
    }
}

/// How much the store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Objects stored now.
    pub objects: usize,
    /// Bytes of their JSON.
    pub bytes: usize,
    /// Events kept for watches.
    pub events: usize,
    /// Bytes that those events alone keep alive, at most.
    pub history_bytes: usize,
    /// The current revision.
    pub revision: u64,
}

/// Follows the store's revision; clones follow the same store.
#[derive(Debug, Clone)]
pub struct Progress {
    shared: Arc<Shared>,
}

impl Progress {
    /// The current revision.
    pub fn revision(&self) -> u64 {
        self.shared.revision()
    }

    /// Waits until the store is at `revision` or later. Cancel-safe.
    pub async fn reached(&self, revision: u64) {
        self.shared.reached(revision).await;
    }
}

impl Store {
    /// Opens a store, recovering what its directory holds. Blocks while it reads.
    ///
    /// # Errors
    /// [`StoreError::Locked`], [`StoreError::Damaged`], [`StoreError::Newer`],
    /// [`StoreError::Sealed`] or [`StoreError::Io`]; never in memory.
    pub fn open(options: Options) -> Result<Self, StoreError> {
        Self::open_with(options, Rotation::default())
    }

    /// Opens a store whose log is rotated by a rule of the caller's, for tests.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a store is opened once, with its own options"
    )]
    pub(super) fn open_with(options: Options, rotation: Rotation) -> Result<Self, StoreError> {
        let Some(path) = &options.dir else {
            let state = State::new(
                FIRST_REVISION,
                options.history_events,
                options.history_bytes,
            );
            let shared = Arc::new(Shared::new(state, Interner::default()));
            return Ok(Self {
                shared,
                durable: None,
            });
        };
        let directory = Directory::open(path)?;
        let sealing = options.sealing.clone();
        let keys = sealing.as_ref().map(Keyring::load_or_create).transpose()?;
        let Recovered {
            state,
            interner,
            mut log,
            outdated,
        } = recover(&directory, &options, keys.as_ref())?;
        if outdated {
            tracing::info!("the store's files are brought into today's format");
            log = directory.rewrite(state.revision(), &state.entries(), keys.as_ref())?;
        }
        let files = Files {
            directory,
            log,
            keys: keys.map(Arc::new),
        };
        let shared = Arc::new(Shared::new(state, interner));
        let started = writer::start(Arc::clone(&shared), files, rotation);
        let writer = Mutex::new(Some(started.map_err(failed)?));
        Ok(Self {
            shared,
            durable: Some(Arc::new(Durable { writer, sealing })),
        })
    }

    /// The revision of the last write that is durable and visible; 1 if there was none.
    pub fn revision(&self) -> u64 {
        self.shared.revision()
    }

    /// The object at `key`.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.shared.read(|state| state.get(key))
    }

    /// Objects in order, now or at an earlier revision that history still covers.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] and [`StoreError::Future`].
    pub fn list(&self, query: &ListQuery) -> Result<Page, StoreError> {
        self.shared.read(|state| state.list(query))
    }

    /// Creates or replaces an object; returns once the write is durable and visible.
    ///
    /// A caller that stops waiting may find the write done or not done.
    ///
    /// # Errors
    /// [`StoreError::Exists`], [`StoreError::Missing`], [`StoreError::Conflict`],
    /// [`StoreError::Io`] and [`StoreError::Closed`].
    pub async fn put(&self, draft: Draft, expect: Expect) -> Result<Arc<Entry>, StoreError> {
        self.write_one(Write {
            change: Change::Put,
            draft,
            expect,
        })
        .await
    }

    /// Removes an object; `draft` shows its last state, which gets the removal's revision.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub async fn delete(&self, draft: Draft, expect: Expect) -> Result<Arc<Entry>, StoreError> {
        self.write_one(Write {
            change: Change::Delete,
            draft,
            expect,
        })
        .await
    }

    /// Creates or replaces many objects in few commits; one result per draft, in order.
    pub async fn put_many(
        &self,
        drafts: Vec<(Draft, Expect)>,
    ) -> Vec<Result<Arc<Entry>, StoreError>> {
        self.write_many(Change::Put, drafts).await
    }

    /// Removes many objects in few commits; one result per draft, in order.
    pub async fn delete_many(
        &self,
        drafts: Vec<(Draft, Expect)>,
    ) -> Vec<Result<Arc<Entry>, StoreError>> {
        self.write_many(Change::Delete, drafts).await
    }

    async fn write_many(
        &self,
        change: Change,
        drafts: Vec<(Draft, Expect)>,
    ) -> Vec<Result<Arc<Entry>, StoreError>> {
        let mut outcomes = Vec::with_capacity(drafts.len());
        let mut drafts = drafts.into_iter().peekable();
        while drafts.peek().is_some() {
            let chunk = drafts.by_ref().take(CHUNK);
            let writes: Vec<Write> = chunk
                .map(|(draft, expect)| Write {
                    change,
                    draft,
                    expect,
                })
                .collect();
            let count = writes.len();
            match self.write(writes).await {
                Ok(done) => outcomes.extend(done),
                Err(error) => outcomes.extend((0..count).map(|_| Err(error.clone()))),
            }
        }
        outcomes
    }

    async fn write_one(&self, write: Write) -> Result<Arc<Entry>, StoreError> {
        self.write(vec![write])
            .await?
            .pop()
            .unwrap_or(Err(StoreError::Closed))
    }

    async fn write(&self, writes: Vec<Write>) -> Result<Outcomes, StoreError> {
        let Some(durable) = &self.durable else {
            return Ok(self.shared.commit(writes));
        };
        let (reply, outcomes) = oneshot::channel();
        durable.ask(Task::Write(Request { writes, reply }))?;
        outcomes.await.map_err(|_gone| StoreError::Closed)
    }

    /// Makes a new key, puts everything on disk under it and forgets the old ones. Writes wait
    /// meanwhile. Answers the new key's id; `None` where nothing is encrypted.
    ///
    /// # Errors
    /// [`StoreError::Sealed`] and [`StoreError::Io`]: the old keys stay good. [`StoreError::Closed`].
    pub async fn rotate_key(&self) -> Result<Option<u32>, StoreError> {
        let Some(durable) = &self.durable else {
            return Ok(None);
        };
        let Some(sealing) = &durable.sealing else {
            return Ok(None);
        };
        let (reply, outcome) = oneshot::channel();
        durable.ask(Task::Rekey(sealing.keys.clone(), reply))?;
        outcome.await.map_err(|_gone| StoreError::Closed)?.map(Some)
    }

    /// Everything at one revision, for a backup. Writes go on.
    pub fn backup(&self) -> Backup {
        let (revision, entries) = self.shared.read(|s| (s.revision(), s.entries()));
        Backup::new(revision, entries)
    }

    /// Events of `resource` after revision `from`.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] and [`StoreError::Future`].
    pub fn watch(&self, resource: &str, from: u64) -> Result<Watch, StoreError> {
        let (feed, current) = self.shared.feed(resource);
        if from > current {
            return Err(StoreError::Future {
                asked: from,
                current,
            });
        }
        let oldest = feed.compacted();
        if from < oldest {
            return Err(StoreError::Compacted {
                asked: from,
                oldest,
            });
        }
        Ok(Watch::new(Arc::clone(&self.shared), feed, from))
    }

    /// A list and the events after it, with nothing lost or repeated between them. The watch
    /// covers the whole resource, whatever the query's namespace.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list_and_watch(&self, query: &ListQuery) -> Result<(Page, Watch), StoreError> {
        let (page, feed) = self.shared.list_with_feed(query)?;
        let watch = Watch::new(Arc::clone(&self.shared), feed, page.revision);
        Ok((page, watch))
    }

    /// A way to wait for a revision.
    pub fn progress(&self) -> Progress {
        Progress {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Objects that name `uid` as an owner, ordered by key.
    pub fn by_owner(&self, uid: &str) -> Vec<Key> {
        self.shared.read(|state| state.by_owner(uid))
    }

    /// How many objects each resource has, sorted by its storage name.
    pub fn counts(&self) -> Vec<(Arc<str>, usize)> {
        self.shared.read(State::counts)
    }

    /// How much the store holds.
    pub fn stats(&self) -> Stats {
        self.shared.read(State::stats)
    }

    /// Finishes the writes that wait and releases the directory; later writes fail with
    /// [`StoreError::Closed`]. Does nothing in memory.
    pub async fn close(&self) {
        let Some(durable) = &self.durable else { return };
        let Some((sender, thread)) = durable.writer.lock().take() else {
            return;
        };
        drop(sender);
        let (done, ended) = oneshot::channel();
        // A thread of its own, because joining blocks.
        let waiter = std::thread::Builder::new()
            .name("store-close".into())
            .spawn(move || {
                finish(thread);
                // Nobody listens any more if closing was cancelled.
                done.send(()).ok();
            });
        match waiter {
            Ok(_detached) => drop(ended.await),
            Err(error) => tracing::warn!(%error, "the store closes in the background"),
        }
    }
}
