//! The one writer of a durable store: a thread that takes all waiting writes, makes them durable
//! with a single sync, shows them, and only then answers.

use super::codec::FrameWriter;
use super::log::{Directory, Log};
use super::state::{Shared, Write};
use super::{Entry, StoreError};
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
    snapshot: Option<JoinHandle<()>>,
}

/// Starts the writer. It ends when every sender is gone, and releases the directory then.
pub(super) fn start(
    shared: Arc<Shared>,
    directory: Directory,
    log: Log,
    rotation: Rotation,
) -> std::io::Result<(Sender<Request>, JoinHandle<()>)> {
    let (sender, requests) = channel();
    let directory = Arc::new(directory);
    let writer = Writer {
        shared,
        directory,
        log,
        rotation,
        snapshot: None,
    };
    let thread = std::thread::Builder::new()
        .name("store-writer".into())
        .spawn(move || writer.run(&requests))?;
    Ok((sender, thread))
}

impl Writer {
    fn run(mut self, requests: &Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut bytes = first.bytes();
            let mut batch = vec![first];
            while bytes < COMMIT_BYTES
                && let Ok(next) = requests.try_recv()
            {
                bytes += next.bytes();
                batch.push(next);
            }
            self.commit(batch);
            self.rotate();
        }
        if let Some(snapshot) = self.snapshot.take()
            && snapshot.join().is_err()
        {
            tracing::error!("the thread that wrote a snapshot panicked");
        }
    }

    fn commit(&mut self, batch: Vec<Request>) {
        let (sizes, writes): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|r| ((r.writes.len(), r.reply), r.writes))
            .unzip();
        let (staged, mut outcomes) = self.shared.stage(writes.into_iter().flatten());
        if !staged.events.is_empty() {
            let mut frame = FrameWriter::default();
            staged.events.iter().for_each(|event| frame.event(event));
            match self.log.append(&frame.finish()) {
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
        let write = move || {
            let done = directory
                .write_snapshot(revision, &entries)
                .and_then(|()| directory.remove_before(revision));
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
