//! Lines into a file that is rotated by size, off the request path.

use parking_lot::Mutex;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

/// Lines wait for the disk in at most this much memory, in bytes; later ones are dropped and
/// counted.
const MOST_WAITING: usize = 16 << 20;

/// Where and how the log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The file lines are appended to.
    pub path: PathBuf,
    /// The size in bytes at which the file is put aside and a new one begun.
    pub rotate_at: u64,
    /// How many files that were put aside are kept: `FILE.1` is the newest.
    pub keep: usize,
}

impl LogOptions {
    /// A log that is rotated at 100 MiB and keeps ten older files.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            rotate_at: 100 << 20,
            keep: 10,
        }
    }
}

/// Why there is no audit log.
#[derive(Debug, thiserror::Error)]
#[error("the audit log {path} cannot be written")]
pub struct LogError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// The way to the thread that writes lines, and the thread.
type Writer = (Sender<Vec<u8>>, JoinHandle<()>);

/// The log's end that requests write to.
#[derive(Debug)]
pub(super) struct Log {
    writer: Mutex<Option<Writer>>,
    waiting: Arc<AtomicUsize>,
    dropped: AtomicUsize,
}

impl Log {
    pub(super) fn open(options: &LogOptions) -> Result<Self, LogError> {
        let failed = |source| LogError {
            path: options.path.clone(),
            source,
        };
        let file = Rotated::open(options.clone()).map_err(failed)?;
        let (sender, lines) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&waiting);
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(file, &lines, &counted))
            .map_err(failed)?;
        Ok(Self {
            writer: Mutex::new(Some((sender, thread))),
            waiting,
            dropped: AtomicUsize::new(0),
        })
    }

    /// Hands a line over, without its end. Never blocks on the disk.
    pub(super) fn write(&self, mut line: Vec<u8>) {
        line.push(b'\n');
        let size = line.len();
        if self.waiting.load(Ordering::Relaxed) + size > MOST_WAITING {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(dropped, "the disk is slow: audit events are lost");
            }
            return;
        }
        if let Some((sender, _)) = &*self.writer.lock() {
            self.waiting.fetch_add(size, Ordering::Relaxed);
            // Fails only once the writer has stopped, which it reports itself.
            sender.send(line).ok();
        }
    }

    /// Writes what waits, and ends.
    pub(super) fn close(&self) {
        let writer = self.writer.lock().take();
        if let Some((sender, thread)) = writer {
            drop(sender);
            if thread.join().is_err() {
                tracing::error!("the writer of the audit log panicked");
            }
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.close();
    }
}

fn write_all(mut file: Rotated, lines: &Receiver<Vec<u8>>, waiting: &AtomicUsize) {
    while let Ok(first) = lines.recv() {
        let mut outcome = Ok(());
        for line in std::iter::once(first).chain(lines.try_iter()) {
            waiting.fetch_sub(line.len(), Ordering::Relaxed);
            outcome = outcome.and_then(|()| file.write(&line));
        }
        if let Err(error) = outcome.and_then(|()| file.file.flush()) {
            tracing::error!(%error, "audit events are lost");
        }
    }
}

/// A file and its predecessors.
#[derive(Debug)]
struct Rotated {
    options: LogOptions,
    file: BufWriter<File>,
    size: u64,
}

impl Rotated {
    fn open(options: LogOptions) -> std::io::Result<Self> {
        let file = append(&options.path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            options,
            file: BufWriter::new(file),
            size,
        })
    }

    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        if self.size > 0 && self.size + line.len() as u64 > self.options.rotate_at {
            self.rotate()?;
        }
        self.size += line.len() as u64;
        self.file.write_all(line)
    }

    fn rotate(&mut self) -> std::io::Result<()> {
        self.file.flush()?;
        let path = &self.options.path;
        let aside = |number: usize| {
            let mut name = path.clone().into_os_string();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        for number in (1..self.options.keep).rev() {
            if aside(number).exists() {
                std::fs::rename(aside(number), aside(number + 1))?;
            }
        }
        if self.options.keep == 0 {
            std::fs::remove_file(path)?;
        } else {
            std::fs::rename(path, aside(1))?;
        }
        self.file = BufWriter::new(append(path)?);
        self.size = 0;
        Ok(())
    }
}

/// Only the owner may read what users sent.
fn append(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}
