//! Reading back what a directory holds.

use super::codec::{self, Record};
use super::intern::Interner;
use super::log::{Directory, Log, Numbered, failed};
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
}

/// Reads the newest snapshot and every log after it.
///
/// The last commit may be torn: it was never acknowledged, and is cut off. Anything else that does
/// not fit together is damage, and refused. (Damage to nothing but the last commit looks like a
/// torn one.)
pub(super) fn recover(directory: &Directory, options: &Options) -> Result<Recovered, StoreError> {
    let (snapshots, logs) = directory.files().map_err(failed)?;
    let start = snapshots
        .last()
        .map_or(FIRST_REVISION, |(revision, _)| *revision);
    let mut state = State::new(start, options.history_events, options.history_bytes);
    let mut interner = Interner::default();
    if let Some((revision, path)) = snapshots.last() {
        load_snapshot(path, *revision, &mut state, &mut interner)?;
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
        return Ok(Recovered {
            state,
            interner,
            log,
        });
    };
    for (first, path) in earlier {
        let bytes = std::fs::read(path).map_err(failed)?;
        let good = replay(path, *first, &bytes, (&mut state, &mut interner))?;
        if good != bytes.len() {
            return Err(damaged(path, good));
        }
    }
    let (first, path) = last;
    let bytes = std::fs::read(path).map_err(failed)?;
    let log = if bytes.len() < codec::HEADER && *first == state.revision() {
        Log::create(directory, *first)
    } else {
        let good = replay(path, *first, &bytes, (&mut state, &mut interner))?;
        Log::resume(path, good as u64)
    };
    Ok(Recovered {
        state,
        interner,
        log: log.map_err(failed)?,
    })
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

fn load_snapshot(
    path: &Path,
    revision: u64,
    state: &mut State,
    interner: &mut Interner,
) -> Result<(), StoreError> {
    let bytes = std::fs::read(path).map_err(failed)?;
    if codec::read_header(&bytes) != Some(revision) {
        return Err(damaged(path, 0));
    }
    let mut rest = bytes.get(codec::HEADER..).unwrap_or_default();
    let mut ended = false;
    while !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        let (mut frame, after) = codec::split_frame(rest).ok_or_else(|| damaged(path, offset))?;
        while let Some(record) = frame.next() {
            match record {
                Record::Changed(Change::Put, entry) if !ended => {
                    state.restore(shared(entry, interner));
                }
                Record::End(objects) => ended = objects == state.stats().objects as u64,
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
fn replay(
    path: &Path,
    first: u64,
    bytes: &[u8],
    (state, interner): (&mut State, &mut Interner),
) -> Result<usize, StoreError> {
    if codec::read_header(bytes) != Some(first) || first != state.revision() {
        return Err(damaged(path, 0));
    }
    let mut rest = bytes.get(codec::HEADER..).unwrap_or_default();
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
        while let Some(record) = frame.next() {
            match record {
                Record::Changed(change, entry) if entry.revision == state.revision() + 1 => {
                    state.replay(change, shared(entry, interner));
                }
                Record::Changed(..) | Record::End(_) | Record::Nonsense => {
                    return Err(damaged(path, offset));
                }
            }
        }
        rest = after;
    }
    Ok(bytes.len())
}

fn shared(mut entry: Entry, interner: &mut Interner) -> Arc<Entry> {
    interner.share_parts(&mut entry.key, &mut entry.index);
    Arc::new(entry)
}
