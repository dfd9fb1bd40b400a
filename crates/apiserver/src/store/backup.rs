//! Backups: everything at one revision in one file, to be put into an empty directory.
//!
//! The file is gzip of one line of JSON (what it is), the extra files it carries (certificates,
//! keys), and a snapshot. Objects are not sealed inside: whoever may read every Secret through the
//! API may read the backup, and nobody else may (mode 0600), or encrypts the file as a whole.

use super::log::{self, Directory};
use super::{Entry, Options, Store, StoreError};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;

/// What the first line of a backup must say.
const FORMAT: &str = "plimsoll-backup/1";
/// A first line may be this long.
const MAX_HEAD: usize = 1 << 20;
/// An extra file may be this long.
const MAX_FILE: u64 = 1 << 20;

/// Everything at one revision.
#[derive(Debug)]
pub struct Backup {
    revision: u64,
    entries: Vec<Arc<Entry>>,
}

/// Why a backup cannot be written or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Reading or writing failed.
    #[error("the backup could not be read or written")]
    Io(#[from] io::Error),
    /// The file is no backup, or of another format.
    #[error("not a backup of this program: {0}")]
    Foreign(String),
    /// The directory to restore into has a store already.
    #[error("there is a store in the directory already")]
    Occupied,
    /// The store could not be written, or what was restored does not read back.
    #[error("the store")]
    Store(#[from] StoreError),
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupHead {
    /// `plimsoll-backup/1`.
    pub format: String,
    /// The program that wrote it.
    pub version: String,
    /// The revision it is true at.
    pub revision: u64,
    /// How many objects it holds.
    pub objects: u64,
    /// Extra files, in order: name and length in bytes.
    pub files: Vec<(String, u64)>,
}

/// A file that travels with a backup: its name and content.
pub type Extra = (String, Vec<u8>);

impl Backup {
    pub(super) fn new(revision: u64, entries: Vec<Arc<Entry>>) -> Self {
        Self { revision, entries }
    }

    /// The revision it is true at.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many objects it holds.
    pub fn objects(&self) -> usize {
        self.entries.len()
    }

    /// Writes it, with `extra` files.
    ///
    /// # Errors
    /// If `out` fails.
    pub fn write(&self, out: impl Write, extra: &[Extra]) -> Result<(), BackupError> {
        let files = extra.iter().map(|(n, c)| (n.clone(), c.len() as u64));
        let head = BackupHead {
            format: FORMAT.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: self.revision,
            objects: self.entries.len() as u64,
            files: files.collect(),
        };
        let mut out = begin(out, &head, extra)?;
        log::snapshot(&mut out, self.revision, &self.entries, None)?;
        out.finish()?;
        Ok(())
    }

    /// Copies a backup, with `extra` files added to it. Answers what it is.
    ///
    /// # Errors
    /// If reading or writing fails, or what is read is no backup.
    pub fn enclose(
        from: impl Read,
        out: impl Write,
        extra: &[Extra],
    ) -> Result<BackupHead, BackupError> {
        let mut from = io::BufReader::new(GzDecoder::new(from));
        let mut about = head(&mut from)?;
        let mut files = Vec::new();
        for (name, length) in &about.files {
            files.push((name.clone(), exactly(&mut from, *length)?));
        }
        files.extend_from_slice(extra);
        let listed = files.iter().map(|(n, c)| (n.clone(), c.len() as u64));
        about.files = listed.collect();
        let mut out = begin(out, &about, &files)?;
        io::copy(&mut from, &mut out)?;
        out.finish()?;
        Ok(about)
    }

    /// Reads a backup and puts its objects into the empty directory of `options`, sealed as they
    /// say. The store then begins at the backup's revision plus `later`, so that clients which saw
    /// newer revisions than the backup's see that time has not gone back. Answers the head and the
    /// extra files.
    ///
    /// # Errors
    /// [`BackupError::Occupied`] if there is a store; nothing is changed then. Whatever is wrong
    /// with the file: nothing is left in the directory that a store would take for its own.
    pub fn restore(
        from: impl Read,
        options: &Options,
        later: u64,
    ) -> Result<(BackupHead, Vec<Extra>), BackupError> {
        let mut from = io::BufReader::new(GzDecoder::new(from));
        let head = head(&mut from)?;
        let mut extra = Vec::new();
        for (name, length) in &head.files {
            extra.push((name.clone(), exactly(&mut from, *length)?));
        }
        let mut snapshot = Vec::new();
        from.read_to_end(&mut snapshot)?;
        let Some(dir) = &options.dir else {
            return Err(BackupError::Foreign("there is no directory".to_owned()));
        };
        put(dir, &head, &snapshot, options, later)?;
        Ok((head, extra))
    }
}

/// Writes what comes before the snapshot.
fn begin<W: Write>(out: W, head: &BackupHead, files: &[Extra]) -> io::Result<GzEncoder<W>> {
    let mut out = GzEncoder::new(out, Compression::fast());
    let mut line = serde_json::to_vec(head)?;
    line.push(b'\n');
    out.write_all(&line)?;
    for (_, content) in files {
        out.write_all(content)?;
    }
    Ok(out)
}

fn head(from: &mut impl BufRead) -> Result<BackupHead, BackupError> {
    let mut line = Vec::new();
    let foreign = |why: &dyn std::fmt::Display| BackupError::Foreign(why.to_string());
    from.take(MAX_HEAD as u64)
        .read_until(b'\n', &mut line)
        .map_err(|error| foreign(&error))?;
    let head: BackupHead = serde_json::from_slice(&line).map_err(|error| foreign(&error))?;
    if head.format != FORMAT {
        return Err(foreign(&format_args!(
            "its format is {:?}, this program reads {FORMAT:?}",
            head.format
        )));
    }
    Ok(head)
}

fn exactly(from: &mut impl Read, length: u64) -> Result<Vec<u8>, BackupError> {
    if length > MAX_FILE {
        return Err(BackupError::Foreign(format!("a file of {length} bytes")));
    }
    let mut content = Vec::new();
    from.take(length).read_to_end(&mut content)?;
    if content.len() as u64 != length {
        return Err(BackupError::Foreign("it is cut off".to_owned()));
    }
    Ok(content)
}

/// Reads the snapshot in a directory of its own, and only then writes the store: a damaged backup
/// leaves nothing behind.
fn put(
    dir: &Path,
    head: &BackupHead,
    snapshot: &[u8],
    options: &Options,
    later: u64,
) -> Result<(), BackupError> {
    let target = Directory::open(dir)?;
    let (snapshots, logs) = target.files()?;
    if !(snapshots.is_empty() && logs.is_empty()) {
        return Err(BackupError::Occupied);
    }
    let scratch = dir.join("restoring");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    let entries = read_back(&scratch, head, snapshot);
    std::fs::remove_dir_all(&scratch)?;
    let entries = entries?;
    if entries.len() as u64 != head.objects {
        return Err(BackupError::Foreign("objects are missing".to_owned()));
    }
    let keys = options.sealing.as_ref();
    let keys = keys
        .map(super::sealing::Keyring::load_or_create)
        .transpose()
        .map_err(StoreError::from)?;
    target.rewrite(head.revision.saturating_add(later), &entries, keys.as_ref())?;
    Ok(())
}

fn read_back(
    scratch: &Path,
    head: &BackupHead,
    snapshot: &[u8],
) -> Result<Vec<Arc<Entry>>, BackupError> {
    let directory = Directory::open(scratch)?;
    std::fs::write(directory.snapshot_path(head.revision), snapshot)?;
    log::Log::create(&directory, head.revision)?;
    drop(directory);
    let store = Store::open(Options::durable(scratch))?;
    Ok(store.backup().entries)
}
