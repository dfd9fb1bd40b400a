//! The one writer of a durable store: a thread that takes all waiting writes, makes them durable
//! with a single sync, shows them, and only then answers.

use super::codec::FrameWriter;
use super::log::{Directory, Log, failed};
use super::sealing::{Keyring, SealError};
use super::state::{Shared, Write};
use super::{Entry, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Bytes of drafts that one commit takes at most, unless a single request is larger.
const COMMIT_BYTES: usize = 8 << 20;

/// What became of the writes of one request, in order.
pub(super) type Outcomes = Vec<Result<Arc<Entry>, StoreError>>;

/// Writes that belong together.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) writes: Vec<Write>,
    pub(super) reply: oneshot::Sender<Outcomes>,
}

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Task {
    /// Write.
    Write(Request),
    /// Put everything under a new key and forget the old ones; answers the new key's id.
    Rekey(PathBuf, oneshot::Sender<Result<u32, StoreError>>),
}

/// When the log is replaced by a snapshot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    /// Not before the log has this many bytes.
    pub(super) least: u64,
    /// Nor before it has this many times the bytes of the live objects.
    pub(super) ratio: u64,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            least: 16 << 20,
            ratio: 2,
        }
    }
}

#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    directory: Arc<Directory>,
    log: Log,
    rotation: Rotation,
    keys: Option<Arc<Keyring>>,
    snapshot: Option<JoinHandle<()>>,
}

/// What the writer works on.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) directory: Directory,
    pub(super) log: Log,
    pub(super) keys: Option<Arc<Keyring>>,
}

/// Starts the writer. It ends when every sender is gone, and releases the directory then.
pub(super) fn start(
    shared: Arc<Shared>,
    files: Files,
    rotation: Rotation,
) -> std::io::Result<(Sender<Task>, JoinHandle<()>)> {
    let (sender, tasks) = channel();
    let writer = Writer {
        shared,
        directory: Arc::new(files.directory),
        log: files.log,
        rotation,
        keys: files.keys,
        snapshot: None,
    };
    let thread = std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || writer.run(&tasks))?;
    Ok((sender, thread))
}

impl Writer {
    fn run(mut self, tasks: &Receiver<Task>) {
        let mut waiting = None;
        while let Some(task) = waiting.take().or_else(|| tasks.recv().ok()) {
            match task {
                Task::Write(first) => {
                    waiting = self.write(first, tasks);
                    self.rotate();
                }
                Task::Rekey(file, reply) => {
                    // Nobody listens any more if the request was cancelled.
                    drop(reply.send(self.rekey(&file)));
                }
            }
        }
        self.finish_snapshot();
    }

    /// Writes what waits; answers the task that came after it, if that is none to write.
    fn write(&mut self, first: Request, tasks: &Receiver<Task>) -> Option<Task> {
        let mut bytes = first.bytes();
        let mut batch = vec![first];
        let mut other = None;
        while bytes < COMMIT_BYTES
            && let Ok(next) = tasks.try_recv()
        {
            match next {
                Task::Write(request) => {
                    bytes += request.bytes();
                    batch.push(request);
                }
                task @ Task::Rekey(..) => {
                    other = Some(task);
                    break;
                }
            }
        }
        self.commit(batch);
        other
    }

    fn finish_snapshot(&mut self) {
        if let Some(snapshot) = self.snapshot.take()
            && snapshot.join().is_err()
        {
            tracing::error!("the thread that wrote a snapshot panicked");
        }
    }

    /// The file holds both keys until nothing is sealed with the old one any more, so a crash in
    /// between loses nothing.
    fn rekey(&mut self, file: &Path) -> Result<u32, StoreError> {
        let Some(old) = self.keys.clone() else {
            return Err(SealError::Malformed {
                file: file.to_owned(),
                why: "nothing is encrypted here".to_owned(),
            }
            .into());
        };
        self.finish_snapshot();
        let both = Arc::new(old.rotated()?);
        both.save(file)?;
        self.keys = Some(Arc::clone(&both));
        let (revision, entries) = self.shared.read(|s| (s.revision(), s.entries()));
        self.log = self.directory.rewrite(revision, &entries, Some(&both))?;
        let newest = both.only_newest()?;
        newest.save(file)?;
        let id = newest.newest();
        self.keys = Some(Arc::new(newest));
        Ok(id)
    }

    fn commit(&mut self, batch: Vec<Request>) {
        let (sizes, writes): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|r| ((r.writes.len(), r.reply), r.writes))
            .unzip();
        let (staged, mut outcomes) = self.shared.stage(writes.into_iter().flatten());
        if !staged.events.is_empty() {
            let mut frame = FrameWriter::new(self.keys.as_deref());
            let framed = staged
                .events
                .iter()
                .try_for_each(|event| frame.event(event));
            let appended = framed
                .map_err(StoreError::from)
                .and_then(|()| self.log.append(&frame.finish()));
            match appended {
                Ok(()) => self.shared.publish(staged),
                // Refusals may rest on writes of this same commit, so everything fails together.
                Err(error) => {
                    tracing::error!(%error, "a commit failed");
                    outcomes.fill_with(|| Err(error.clone()));
                }
            }
        }
        let mut outcomes = outcomes.into_iter();
        for (count, reply) in sizes {
            // Nobody listens any more if the request was cancelled; the write stands.
            drop(reply.send(outcomes.by_ref().take(count).collect()));
        }
    }

    /// Begins a new log and writes a snapshot beside it, if the log has become long.
    fn rotate(&mut self) {
        let busy = self
            .snapshot
            .as_ref()
            .is_some_and(|thread| !thread.is_finished());
        if busy || self.log.is_empty() || self.log.len() < self.rotation.least {
            return;
        }
        let live = self.shared.read(|state| state.stats().bytes) as u64;
        if self.log.len() < live.saturating_mul(self.rotation.ratio) {
            return;
        }
        // This thread is the only one that writes, so both readings are of one revision.
        let (revision, entries) = self.shared.read(|s| (s.revision(), s.entries()));
        match Log::create(&self.directory, revision) {
            Ok(log) => self.log = log,
            Err(error) => return tracing::warn!(%error, "no new log could be begun"),
        }
        let directory = Arc::clone(&self.directory);
        let keys = self.keys.clone();
        let write = move || {
            let done = directory
                .write_snapshot(revision, &entries, keys.as_deref())
                .and_then(|()| directory.remove_before(revision).map_err(failed));
            if let Err(error) = done {
                tracing::warn!(%error, revision, "the snapshot was not written");
            }
        };
        let thread = std::thread::Builder::new()
            .name("store-snapshot".into())
            .spawn(write);
        match thread {
            Ok(thread) => self.snapshot = Some(thread),
            Err(error) => tracing::warn!(%error, "no thread for the snapshot"),
        }
    }
}

impl Request {
    fn bytes(&self) -> usize {
        self.writes
            .iter()
            .map(|w| w.draft.head.len() + w.draft.tail.len())
            .sum()
    }
}
