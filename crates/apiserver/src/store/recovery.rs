//! Reading back what a directory holds.

use super::codec::{self, Record, Seal, VERSION};
use super::intern::Interner;
use super::log::{Directory, Log, Numbered, failed};
use super::sealing::Keyring;
use super::state::{FIRST_REVISION, State};
use super::{Change, Entry, Options, StoreError};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A store that has been read back.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) state: State,
    pub(super) interner: Interner,
    pub(super) log: Log,
    /// Whether the files are of an older format, or hold something open that is to be sealed.
    pub(super) outdated: bool,
}

/// What reading builds up.
struct Reading<'a> {
    state: State,
    interner: Interner,
    keys: Option<&'a Keyring>,
    outdated: bool,
}

/// Reads the newest snapshot and every log after it.
///
/// The last commit may be torn: it was never acknowledged, and is cut off. Anything else that does
/// not fit together is damage, and refused. (Damage to nothing but the last commit looks like a
/// torn one.)
pub(super) fn recover(
    directory: &Directory,
    options: &Options,
    keys: Option<&Keyring>,
) -> Result<Recovered, StoreError> {
    let (snapshots, logs) = directory.files().map_err(failed)?;
    let start = snapshots
        .last()
        .map_or(FIRST_REVISION, |(revision, _)| *revision);
    let mut reading = Reading {
        state: State::new(start, options.history_events, options.history_bytes),
        interner: Interner::default(),
        keys,
        outdated: false,
    };
    if let Some((revision, path)) = snapshots.last() {
        reading.snapshot(path, *revision)?;
    }
    let mut logs: Vec<_> = logs
        .into_iter()
        .filter(|(first, _)| *first >= start)
        .collect();
    drop_unused(&mut logs).map_err(failed)?;
    let Some((last, earlier)) = logs.split_last() else {
        if !snapshots.is_empty() {
            return Err(StoreError::Damaged {
                file: directory.log_path(start),
                offset: 0,
            });
        }
        let log = Log::create(directory, start).map_err(failed)?;
        return Ok(reading.finish(log));
    };
    for (first, path) in earlier {
        let bytes = std::fs::read(path).map_err(failed)?;
        let good = reading.log(path, *first, &bytes)?;
        if good != bytes.len() {
            return Err(damaged(path, good));
        }
    }
    let (first, path) = last;
    let bytes = std::fs::read(path).map_err(failed)?;
    let log = if bytes.len() < codec::HEADER && *first == reading.state.revision() {
        Log::create(directory, *first)
    } else {
        let good = reading.log(path, *first, &bytes)?;
        Log::resume(path, good as u64)
    };
    Ok(reading.finish(log.map_err(failed)?))
}

/// A log that was begun but never written to is no use if the one before it went on.
fn drop_unused(logs: &mut Numbered) -> io::Result<()> {
    while logs.len() > 1
        && let Some((_, path)) = logs.last()
        && std::fs::metadata(path)?.len() <= codec::HEADER as u64
    {
        std::fs::remove_file(path)?;
        logs.pop();
    }
    Ok(())
}

fn damaged(path: &Path, offset: usize) -> StoreError {
    StoreError::Damaged {
        file: path.to_owned(),
        offset: offset as u64,
    }
}

impl Reading<'_> {
    fn finish(self, log: Log) -> Recovered {
        Recovered {
            state: self.state,
            interner: self.interner,
            log,
            outdated: self.outdated,
        }
    }

    /// Checks a header; what follows it.
    fn body<'f>(
        &mut self,
        path: &Path,
        revision: u64,
        bytes: &'f [u8],
    ) -> Result<&'f [u8], StoreError> {
        let header = codec::read_header(bytes).ok_or_else(|| damaged(path, 0))?;
        let version = header.version;
        if version > VERSION {
            let file = path.to_owned();
            return Err(StoreError::Newer { file, version });
        }
        if header.revision != revision {
            return Err(damaged(path, 0));
        }
        self.outdated |= version < VERSION;
        Ok(bytes.get(codec::HEADER..).unwrap_or_default())
    }

    fn snapshot(&mut self, path: &Path, revision: u64) -> Result<(), StoreError> {
        let bytes = std::fs::read(path).map_err(failed)?;
        let mut rest = self.body(path, revision, &bytes)?;
        let mut ended = false;
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            let (mut frame, after) =
                codec::split_frame(rest).ok_or_else(|| damaged(path, offset))?;
            while let Some(record) = frame.next(self.keys) {
                match record {
                    Record::Changed(Change::Put, entry, seal) if !ended => {
                        let entry = self.shared(entry, seal);
                        self.state.restore(entry);
                    }
                    Record::End(objects) => ended = objects == self.state.stats().objects as u64,
                    Record::Unopened(error) => return Err(error.into()),
                    Record::Changed(..) | Record::Nonsense => return Err(damaged(path, offset)),
                }
            }
            rest = after;
        }
        if ended {
            Ok(())
        } else {
            Err(damaged(path, bytes.len()))
        }
    }

    /// Applies a log; returns how many bytes of it are good.
    fn log(&mut self, path: &Path, first: u64, bytes: &[u8]) -> Result<usize, StoreError> {
        let mut rest = self.body(path, first, bytes)?;
        if first != self.state.revision() {
            return Err(damaged(path, 0));
        }
        while !rest.is_empty() {
            let offset = bytes.len() - rest.len();
            let Some((mut frame, after)) = codec::split_frame(rest) else {
                // A commit follows only once the one before is durable, so an intact one behind a
                // broken one means that acknowledged data has changed.
                let torn = !codec::any_frame(rest.get(1..).unwrap_or_default());
                return if torn {
                    Ok(offset)
                } else {
                    Err(damaged(path, offset))
                };
            };
            while let Some(record) = frame.next(self.keys) {
                match record {
                    Record::Changed(change, entry, seal)
                        if entry.revision == self.state.revision() + 1 =>
                    {
                        let entry = self.shared(entry, seal);
                        self.state.replay(change, entry);
                    }
                    Record::Unopened(error) => return Err(error.into()),
                    Record::Changed(..) | Record::End(_) | Record::Nonsense => {
                        return Err(damaged(path, offset));
                    }
                }
            }
            rest = after;
        }
        Ok(bytes.len())
    }

    fn shared(&mut self, mut entry: Entry, seal: Seal) -> Arc<Entry> {
        let sealed_now = self
            .keys
            .is_some_and(|keys| keys.seals(&entry.key.resource));
        self.outdated |= sealed_now && seal == Seal::Open;
        self.interner.share_parts(&mut entry.key, &mut entry.index);
        Arc::new(entry)
    }
}
