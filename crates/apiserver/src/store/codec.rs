//! Bytes of the log and of snapshots.
//!
//! A file is a header and frames. A frame is `magic, length, checksum` and records; one frame is
//! one commit, so a commit is there whole or not at all. Numbers are little-endian.

use super::{Change, Entry, Event, Index, Key};
use bytes::Bytes;
use flate2::Crc;
use std::sync::Arc;

/// Begins every frame. Not valid UTF-8, so no object can contain it.
const MAGIC: [u8; 4] = [0xf5, 0xc1, b'p', 0xff];
/// Begins every file.
const FILE_MAGIC: [u8; 8] = *b"plimsto1";
/// Bytes of a file's header: magic and a revision.
pub(super) const HEADER: usize = 16;
const FRAME_HEADER: usize = 12;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const END: u8 = 3;

/// One thing a frame says.
#[derive(Debug)]
pub(super) enum Record {
    /// An object was written or removed; uids, names and texts are not interned yet.
    Changed(Change, Entry),
    /// A snapshot is complete and holds this many objects.
    End(u64),
    /// The frame is intact, but this cannot be read.
    Nonsense,
}

/// The header of a file that begins at `revision`.
pub(super) fn header(revision: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let (magic, rest) = bytes.split_at_mut(FILE_MAGIC.len());
    magic.copy_from_slice(&FILE_MAGIC);
    rest.copy_from_slice(&revision.to_le_bytes());
    bytes
}

/// A frame under construction.
#[derive(Debug, Default)]
pub(super) struct FrameWriter {
    bytes: Vec<u8>,
}

impl FrameWriter {
    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a change.
    pub(super) fn event(&mut self, event: &Event) {
        self.entry(event.change, &event.entry);
    }

    /// Adds an object of a snapshot.
    pub(super) fn object(&mut self, entry: &Entry) {
        self.entry(Change::Put, entry);
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

    fn entry(&mut self, change: Change, entry: &Entry) {
        self.begin();
        self.bytes.push(match change {
            Change::Put => PUT,
            Change::Delete => DELETE,
        });
        self.bytes.extend_from_slice(&entry.revision.to_le_bytes());
        let Key {
            resource,
            namespace,
            name,
        } = &entry.key;
        for text in [resource, namespace, name, &entry.uid] {
            self.text(text.as_bytes());
        }
        let Index {
            labels,
            fields,
            owners,
            deleting,
        } = &entry.index;
        self.bytes.push(u8::from(*deleting));
        self.count(labels.len());
        for (label, value) in labels {
            self.text(label.as_bytes());
            self.text(value.as_bytes());
        }
        for texts in [fields, owners] {
            self.count(texts.len());
            for text in texts {
                self.text(text.as_bytes());
            }
        }
        self.text(&entry.json);
    }

    fn count(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&count.to_le_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.count(text.len());
        self.bytes.extend_from_slice(text);
    }
}

/// The revision in a file's header, if it is one.
pub(super) fn read_header(file: &[u8]) -> Option<u64> {
    let mut reader = Reader { rest: file };
    (reader.take(FILE_MAGIC.len())? == FILE_MAGIC).then(|| reader.u64())?
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
    /// The next record; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Record> {
        let more = !self.reader.rest.is_empty();
        more.then(|| self.reader.record().unwrap_or(Record::Nonsense))
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

    fn record(&mut self) -> Option<Record> {
        let change = match self.u8()? {
            PUT => Change::Put,
            DELETE => Change::Delete,
            END => return self.u64().map(Record::End),
            _ => return None,
        };
        let revision = self.u64()?;
        let key = Key {
            resource: self.text()?,
            namespace: self.text()?,
            name: self.text()?,
        };
        let uid = self.text()?;
        let deleting = self.u8()? != 0;
        let labels = self.many(|r| Some((r.text()?, r.text()?)))?;
        let fields = self.many(Self::text)?;
        let owners = self.many(Self::text)?;
        let json = Bytes::copy_from_slice(self.bytes()?);
        let index = Index {
            labels,
            fields,
            owners,
            deleting,
        };
        Some(Record::Changed(
            change,
            Entry {
                key,
                uid,
                revision,
                json,
                index,
            },
        ))
    }
}
