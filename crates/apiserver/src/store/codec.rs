//! Bytes of the log and of snapshots.
//!
//! A file is a header and frames. A frame is `magic, length, checksum` and records; one frame is
//! one commit, so a commit is there whole or not at all. Numbers are little-endian.
//!
//! Version 2 added sealed objects: their place and revision stay readable, the rest is encrypted.
//! Version 1 is read and rewritten.

use super::sealing::{Keyring, SealError, Sealed};
use super::{Change, Entry, Event, Index, Key};
use bytes::Bytes;
use flate2::Crc;
use std::sync::Arc;

/// Begins every frame. Not valid UTF-8, so no object can contain it.
const MAGIC: [u8; 4] = [0xf5, 0xc1, b'p', 0xff];
/// Begins every file, before the version's digit.
const FILE_MAGIC: [u8; 7] = *b"plimsto";
/// The version that is written.
pub(super) const VERSION: u8 = 2;
/// Bytes of a file's header: magic and a revision.
pub(super) const HEADER: usize = 16;
const FRAME_HEADER: usize = 12;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const END: u8 = 3;
const SEALED_PUT: u8 = 4;
const SEALED_DELETE: u8 = 5;

/// One thing a frame says.
#[derive(Debug)]
pub(super) enum Record {
    /// An object was written or removed; uids, names and texts are not interned yet.
    Changed(Change, Entry, Seal),
    /// An object that does not open.
    Unopened(SealError),
    /// A snapshot is complete and holds this many objects.
    End(u64),
    /// The frame is intact, but this cannot be read.
    Nonsense,
}

/// How an object was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// Readable.
    Open,
    /// Encrypted.
    Closed,
}

/// What a file's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// Version of the format.
    pub(super) version: u8,
    /// The revision the file begins at.
    pub(super) revision: u64,
}

/// The header of a file that begins at `revision`.
pub(super) fn header(revision: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let digit = [b'0' + VERSION];
    let parts = FILE_MAGIC.into_iter().chain(digit);
    for (to, from) in bytes.iter_mut().zip(parts.chain(revision.to_le_bytes())) {
        *to = from;
    }
    bytes
}

/// A frame under construction.
#[derive(Debug, Default)]
pub(super) struct FrameWriter<'a> {
    bytes: Vec<u8>,
    keys: Option<&'a Keyring>,
}

impl<'a> FrameWriter<'a> {
    /// A writer that seals what `keys` seals.
    pub(super) fn new(keys: Option<&'a Keyring>) -> Self {
        Self {
            bytes: Vec::new(),
            keys,
        }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a change.
    pub(super) fn event(&mut self, event: &Event) -> Result<(), SealError> {
        self.entry(event.change, &event.entry)
    }

    /// Adds an object of a snapshot.
    pub(super) fn object(&mut self, entry: &Entry) -> Result<(), SealError> {
        self.entry(Change::Put, entry)
    }

    /// Adds the end of a snapshot.
    pub(super) fn end(&mut self, objects: u64) {
        self.begin();
        self.bytes.push(END);
        self.bytes.extend_from_slice(&objects.to_le_bytes());
    }

    /// The finished frame; the writer is empty again. An object list must fit 4 GiB.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.begin();
        let mut bytes = std::mem::take(&mut self.bytes);
        let (head, body) = bytes.split_at_mut(FRAME_HEADER);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
        let sum = checksum(length, body).to_le_bytes();
        for (to, from) in head
            .iter_mut()
            .zip(MAGIC.into_iter().chain(length).chain(sum))
        {
            *to = from;
        }
        bytes
    }

    fn begin(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.resize(FRAME_HEADER, 0);
        }
    }

    fn entry(&mut self, change: Change, entry: &Entry) -> Result<(), SealError> {
        self.begin();
        let keys = self.keys.filter(|keys| keys.seals(&entry.key.resource));
        self.bytes.push(match (change, keys) {
            (Change::Put, None) => PUT,
            (Change::Delete, None) => DELETE,
            (Change::Put, Some(_)) => SEALED_PUT,
            (Change::Delete, Some(_)) => SEALED_DELETE,
        });
        self.bytes.extend_from_slice(&entry.revision.to_le_bytes());
        let Key {
            resource,
            namespace,
            name,
        } = &entry.key;
        for part in [resource, namespace, name] {
            text(&mut self.bytes, part.as_bytes());
        }
        let Some(keys) = keys else {
            content(&mut self.bytes, entry);
            return Ok(());
        };
        let mut body = Vec::with_capacity(entry.json.len() + 256);
        content(&mut body, entry);
        let (id, nonce) = keys.seal(&entry.key, entry.revision, &mut body)?;
        self.bytes.extend_from_slice(&id.to_le_bytes());
        self.bytes.extend_from_slice(&nonce);
        text(&mut self.bytes, &body);
        Ok(())
    }
}

/// What an entry is beside its place and revision.
fn content(out: &mut Vec<u8>, entry: &Entry) {
    text(out, entry.uid.as_bytes());
    let Index {
        labels,
        fields,
        owners,
        deleting,
    } = &entry.index;
    out.push(u8::from(*deleting));
    count(out, labels.len());
    for (label, value) in labels {
        text(out, label.as_bytes());
        text(out, value.as_bytes());
    }
    for texts in [fields, owners] {
        count(out, texts.len());
        for one in texts {
            text(out, one.as_bytes());
        }
    }
    text(out, &entry.json);
}

fn count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    out.extend_from_slice(&count.to_le_bytes());
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    count(out, text.len());
    out.extend_from_slice(text);
}

/// A file's header, if it is one; the version may be one this program does not know.
pub(super) fn read_header(file: &[u8]) -> Option<Header> {
    let mut reader = Reader { rest: file };
    let ours = reader.take(FILE_MAGIC.len())? == FILE_MAGIC;
    let digit = reader.u8()?;
    let version = digit.checked_sub(b'0').filter(|v| (1..=9).contains(v))?;
    let revision = reader.u64()?;
    ours.then_some(Header { version, revision })
}

/// Splits the first frame off `file`; `None` if it is not whole and intact.
pub(super) fn split_frame(file: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let mut reader = Reader { rest: file };
    if reader.take(MAGIC.len())? != MAGIC {
        return None;
    }
    let length = reader.u32()?;
    let sum = reader.u32()?;
    let body = reader.take(usize::try_from(length).ok()?)?;
    let intact = checksum(length.to_le_bytes(), body) == sum;
    intact.then_some((
        Frame {
            reader: Reader { rest: body },
        },
        reader.rest,
    ))
}

/// Whether an intact frame begins anywhere in `file`.
pub(super) fn any_frame(mut file: &[u8]) -> bool {
    while let Some(at) = file.windows(MAGIC.len()).position(|w| w == MAGIC) {
        let (_, rest) = file.split_at(at);
        if split_frame(rest).is_some() {
            return true;
        }
        file = rest.get(1..).unwrap_or_default();
    }
    false
}

fn checksum(length: [u8; 4], body: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(&length);
    crc.update(body);
    crc.sum()
}

/// The records of one intact frame.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    reader: Reader<'a>,
}

impl Frame<'_> {
    /// The next record, opened with `keys` if it is sealed; `None` at the end.
    pub(super) fn next(&mut self, keys: Option<&Keyring>) -> Option<Record> {
        let more = !self.reader.rest.is_empty();
        more.then(|| self.reader.record(keys).unwrap_or(Record::Nonsense))
    }
}

#[derive(Debug)]
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        self.take(length)
    }

    fn text(&mut self) -> Option<Arc<str>> {
        Some(Arc::from(str::from_utf8(self.bytes()?).ok()?))
    }

    fn many<T>(&mut self, mut one: impl FnMut(&mut Self) -> Option<T>) -> Option<Box<[T]>> {
        (0..self.u32()?).map(|_| one(self)).collect()
    }

    fn record(&mut self, keys: Option<&Keyring>) -> Option<Record> {
        let (change, seal) = match self.u8()? {
            PUT => (Change::Put, Seal::Open),
            DELETE => (Change::Delete, Seal::Open),
            SEALED_PUT => (Change::Put, Seal::Closed),
            SEALED_DELETE => (Change::Delete, Seal::Closed),
            END => return self.u64().map(Record::End),
            _ => return None,
        };
        let revision = self.u64()?;
        let key = Key {
            resource: self.text()?,
            namespace: self.text()?,
            name: self.text()?,
        };
        if seal == Seal::Open {
            let entry = self.content(key, revision)?;
            return Some(Record::Changed(change, entry, seal));
        }
        let sealed = Sealed {
            key: self.u32()?,
            nonce: self.take(12)?.try_into().ok()?,
            bytes: self.bytes()?,
        };
        let opened = match keys {
            Some(keys) => keys.open(&key, revision, &sealed),
            None => Err(SealError::UnknownKey(sealed.key)),
        };
        match opened {
            Ok(body) => {
                let entry = Reader { rest: &body }.content(key, revision)?;
                Some(Record::Changed(change, entry, seal))
            }
            Err(error) => Some(Record::Unopened(error)),
        }
    }

    fn content(&mut self, key: Key, revision: u64) -> Option<Entry> {
        let uid = self.text()?;
        let deleting = self.u8()? != 0;
        let labels = self.many(|r| Some((r.text()?, r.text()?)))?;
        let fields = self.many(Self::text)?;
        let owners = self.many(Self::text)?;
        let json = Bytes::copy_from_slice(self.bytes()?);
        Some(Entry {
            key,
            uid,
            revision,
            json,
            index: Index {
                labels,
                fields,
                owners,
                deleting,
            },
        })
    }
}
