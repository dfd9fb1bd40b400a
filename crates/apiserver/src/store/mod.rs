//! The store: an authoritative in-memory map of immutable entries, an append-only log with group
//! commit, snapshots, and the history that watches replay.

mod backup;
mod codec;
mod frame;
mod handle;
mod intern;
mod log;
mod recovery;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod safety_tests;
mod sealing;
mod state;
mod watch;
mod writer;

pub use backup::{Backup, BackupError, BackupHead, Extra};
pub use frame::Frame;
pub use handle::{Progress, Stats, Store};
pub use sealing::{SealError, Sealing};
pub use watch::Watch;

use bytes::Bytes;
use std::path::PathBuf;
use std::sync::Arc;

/// Where an object lives. Orders by resource, then namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Storage name of the resource, e.g. `apps/deployments` ([`plimsoll_api::kind::Kind::storage`]).
    pub resource: Arc<str>,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

/// The fields of an object that lists, watches and controllers select by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Index {
    /// Labels, sorted by key.
    pub labels: Box<[(Arc<str>, Arc<str>)]>,
    /// Values of the kind's selectable fields, in the order of `Kind::selectable`.
    pub fields: Box<[Arc<str>]>,
    /// Owner uids.
    pub owners: Box<[Arc<str>]>,
    /// Whether `metadata.deletionTimestamp` is set.
    pub deleting: bool,
}

/// A stored object: serialised once, never changed.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it lives.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// The revision of its last write; equals `metadata.resourceVersion` in `json`.
    pub revision: u64,
    /// The whole object as compact JSON in the stored version.
    pub json: Bytes,
    /// What it is selected by.
    pub index: Index,
}

/// An object about to be written. The store completes `head` + revision in decimal + `tail`, so
/// that the resourceVersion inside the JSON is the revision of the write itself.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Where it goes.
    pub key: Key,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// JSON up to and including `"resourceVersion":"`.
    pub head: Vec<u8>,
    /// JSON from the quote that closes the resourceVersion.
    pub tail: Vec<u8>,
    /// What it is selected by.
    pub index: Index,
}

/// What must be true of the stored object for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It does not exist.
    Absent,
    /// It exists at this revision.
    Revision(u64),
}

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was created or replaced.
    Put,
    /// It was removed; the entry shows its last state at the revision of the removal.
    Delete,
}

/// One step of history, shared by all watchers.
#[derive(Debug)]
pub struct Event {
    /// What happened.
    pub change: Change,
    /// The object after the change (for a removal: its last state, at the removal's revision).
    pub entry: Arc<Entry>,
    /// The object before the change.
    pub previous: Option<Arc<Entry>>,
    /// `{"type":"MODIFIED","object":…}\n` in the stored version, made by the first watcher that needs it.
    pub frame: Frame,
    /// The same as a protobuf frame.
    pub protobuf: Frame,
}

/// How to open a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of the log and the snapshots; `None` keeps everything in memory.
    pub dir: Option<PathBuf>,
    /// Events kept for watches that resume.
    pub history_events: usize,
    /// Bytes of objects kept alive by history alone.
    pub history_bytes: usize,
    /// What is encrypted on disk; `None` for nothing.
    pub sealing: Option<Sealing>,
}

impl Options {
    /// Events kept by default.
    pub const HISTORY_EVENTS: usize = 100_000;
    /// Bytes kept by history by default.
    pub const HISTORY_BYTES: usize = 32 << 20;

    /// A store that lives in memory and ends with the process.
    pub fn ephemeral() -> Self {
        Self {
            dir: None,
            history_events: Self::HISTORY_EVENTS,
            history_bytes: Self::HISTORY_BYTES,
            sealing: None,
        }
    }

    /// A store that lives in `dir`, created if absent.
    pub fn durable(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: Some(dir.into()),
            ..Self::ephemeral()
        }
    }
}

/// Why the store refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The object exists already.
    #[error("the object exists already")]
    Exists(Arc<Entry>),
    /// The object does not exist.
    #[error("the object does not exist")]
    Missing,
    /// The object is at another revision.
    #[error("the object is at another revision")]
    Conflict(Arc<Entry>),
    /// The revision is older than the history.
    #[error("revision {asked} is older than the history, which starts at {oldest}")]
    Compacted {
        /// The revision asked for.
        asked: u64,
        /// The oldest one that can be served.
        oldest: u64,
    },
    /// The revision has not happened yet.
    #[error("revision {asked} is ahead of the store at {current}")]
    Future {
        /// The revision asked for.
        asked: u64,
        /// The current one.
        current: u64,
    },
    /// The watcher fell too far behind and was dropped.
    #[error("the watcher fell behind")]
    TooSlow,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
    /// The log could not be written or read.
    #[error("the store's log failed")]
    Io(#[source] Arc<std::io::Error>),
    /// Something sealed could not be written or read.
    #[error("encryption at rest failed")]
    Sealed(#[source] Arc<SealError>),
    /// A file is of a format that only a newer program reads.
    #[error(
        "{file} has format {version}, which a newer version of this program wrote; this one reads formats 1 to {}",
        codec::VERSION
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        version: u8,
    },
    /// Another process uses the directory.
    #[error("data directory {0} is in use by another process")]
    Locked(PathBuf),
    /// The log or a snapshot is damaged beyond a torn tail.
    #[error("{file}: damaged at byte {offset}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
    },
}

/// Which objects to list.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Storage name of the resource.
    pub resource: Arc<str>,
    /// One namespace, or all.
    pub namespace: Option<Arc<str>>,
    /// The revision to list at; `None` for now.
    pub revision: Option<u64>,
    /// Start after this (namespace, name).
    pub after: Option<(Arc<str>, Arc<str>)>,
    /// At most this many entries; 0 for all.
    pub limit: usize,
}

/// A consistent list.
#[derive(Debug)]
pub struct Page {
    /// The revision the list is true at.
    pub revision: u64,
    /// The entries, ordered by namespace and name.
    pub entries: Vec<Arc<Entry>>,
    /// How many entries follow (0 if this is the last page).
    pub remaining: usize,
}
