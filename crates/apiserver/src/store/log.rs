//! The files of a durable store: a locked directory with one snapshot and the logs after it.

use super::codec;
use super::sealing::Keyring;
use super::{Entry, StoreError};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of a snapshot's frame, about.
const SNAPSHOT_FRAME: usize = 1 << 20;

/// Wraps an error of the file system.
pub(super) fn failed(error: io::Error) -> StoreError {
    StoreError::Io(Arc::new(error))
}

/// A directory that this process alone uses.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    // Holds the advisory lock until it is dropped.
    _lock: File,
}

/// Files by the revision in their name, ascending.
pub(super) type Numbered = Vec<(u64, PathBuf)>;

impl Directory {
    /// Creates and locks `path`.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(failed)?;
        let lock = private().open(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Snapshots and logs.
    pub(super) fn files(&self) -> io::Result<(Numbered, Numbered)> {
        let (mut snapshots, mut logs) = (Vec::new(), Vec::new());
        for file in std::fs::read_dir(&self.path)? {
            let path = file?.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                continue;
            };
            if let Some(revision) = numbered(name, "snapshot-") {
                snapshots.push((revision, path));
            } else if let Some(revision) = numbered(name, "log-") {
                logs.push((revision, path));
            }
        }
        snapshots.sort();
        logs.sort();
        Ok((snapshots, logs))
    }

    /// Where the log that begins at `revision` is.
    pub(super) fn log_path(&self, revision: u64) -> PathBuf {
        self.path.join(format!("log-{revision:020}"))
    }

    /// Where the snapshot of `revision` is.
    pub(super) fn snapshot_path(&self, revision: u64) -> PathBuf {
        self.path.join(format!("snapshot-{revision:020}"))
    }

    /// Removes files that a newer snapshot replaces.
    pub(super) fn remove_before(&self, revision: u64) -> io::Result<()> {
        let (snapshots, logs) = self.files()?;
        for (_, path) in snapshots
            .into_iter()
            .chain(logs)
            .filter(|(start, _)| *start < revision)
        {
            std::fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Makes created and renamed files durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Writes the snapshot of `revision`; it exists under its name only once it is whole.
    pub(super) fn write_snapshot(
        &self,
        revision: u64,
        entries: &[Arc<Entry>],
        keys: Option<&Keyring>,
    ) -> Result<(), StoreError> {
        let path = self.snapshot_path(revision);
        // One name, so that an interrupted attempt is overwritten by the next.
        let unfinished = self.path.join("snapshot.tmp");
        let file = private().truncate(true).open(&unfinished);
        let mut file = BufWriter::new(file.map_err(failed)?);
        snapshot(&mut file, revision, entries, keys)?;
        let publish = || {
            file.into_inner()
                .map_err(io::IntoInnerError::into_error)?
                .sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            self.sync()
        };
        publish().map_err(failed)
    }

    /// Begins a new log at `revision` and puts everything into a snapshot beside it, in today's
    /// format and sealed with `keys`. Nothing older is left.
    pub(super) fn rewrite(
        &self,
        revision: u64,
        entries: &[Arc<Entry>],
        keys: Option<&Keyring>,
    ) -> Result<Log, StoreError> {
        let log = Log::create(self, revision).map_err(failed)?;
        self.write_snapshot(revision, entries, keys)?;
        self.remove_before(revision).map_err(failed)?;
        Ok(log)
    }
}

/// Writes the snapshot of `revision`: header, objects, end.
pub(super) fn snapshot(
    out: &mut impl io::Write,
    revision: u64,
    entries: &[Arc<Entry>],
    keys: Option<&Keyring>,
) -> Result<(), StoreError> {
    out.write_all(&codec::header(revision)).map_err(failed)?;
    let mut frame = codec::FrameWriter::new(keys);
    for entry in entries {
        frame.object(entry)?;
        if frame.len() >= SNAPSHOT_FRAME {
            out.write_all(&frame.finish()).map_err(failed)?;
        }
    }
    frame.end(entries.len() as u64);
    out.write_all(&frame.finish()).map_err(failed)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options
}

fn numbered(name: &str, prefix: &str) -> Option<u64> {
    let digits = name.strip_prefix(prefix)?;
    (digits.len() == 20).then(|| digits.parse().ok())?
}

/// The log being written.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    /// Bytes known to be durable.
    length: u64,
    /// Set once nobody can tell what the file holds; nothing is written any more.
    broken: Option<StoreError>,
}

impl Log {
    /// Begins a log at `revision`, replacing what is there.
    pub(super) fn create(directory: &Directory, revision: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let path = directory.log_path(revision);
        let mut file = options.append(true).create(true).mode(0o600).open(path)?;
        file.set_len(0)?;
        file.write_all(&codec::header(revision))?;
        file.sync_all()?;
        directory.sync()?;
        Ok(Self {
            file,
            length: codec::HEADER as u64,
            broken: None,
        })
    }

    /// Continues a log whose first `length` bytes are good, cutting off the rest.
    pub(super) fn resume(path: &Path, length: u64) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).open(path)?;
        if file.metadata()?.len() != length {
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(Self {
            file,
            length,
            broken: None,
        })
    }

    /// Bytes in the log.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// Whether nothing has been appended yet.
    pub(super) fn is_empty(&self) -> bool {
        self.length <= codec::HEADER as u64
    }

    /// Appends a frame and waits until it is durable.
    ///
    /// # Errors
    /// If writing fails (disk full), the log is as before and may be used again. If syncing fails,
    /// nobody knows what reached the disk, and every later append fails too.
    pub(super) fn append(&mut self, frame: &[u8]) -> Result<(), StoreError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        if let Err(error) = self.file.write_all(frame) {
            let error = failed(error);
            if self.file.set_len(self.length).is_err() {
                self.broken = Some(error.clone());
            }
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            let error = failed(error);
            self.broken = Some(error.clone());
            return Err(error);
        }
        self.length += frame.len() as u64;
        Ok(())
    }
}
