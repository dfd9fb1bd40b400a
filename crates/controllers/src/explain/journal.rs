//! Runs of passes that decided the same, and the bounded log of those that are over.

use super::query::API_VERSION;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;

/// A run of passes that decided the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Grows with every changed decision of this process, and from one process to the next.
    pub(crate) id: u64,
    /// The first pass.
    pub(crate) first: Timestamp,
    /// The newest pass.
    pub(crate) last: Timestamp,
    /// How many there were.
    pub(crate) passes: u64,
}

impl Span {
    /// One more pass.
    pub(crate) fn again(&mut self, now: Timestamp) {
        self.last = now;
        self.passes += 1;
    }

    /// What every decision begins with in the form of the API: whose it is (namespace, empty where
    /// there is none, and name), what it is about, and when it was made.
    pub(crate) fn head(
        &self,
        (namespace, name): (&str, &str),
        involved: Value,
    ) -> Map<String, Value> {
        let mut metadata = Map::new();
        metadata.insert("name".into(), format!("{name}.{:x}", self.id).into());
        if !namespace.is_empty() {
            metadata.insert("namespace".into(), namespace.into());
        }
        metadata.insert("creationTimestamp".into(), created(self.first).into());
        metadata.insert("resourceVersion".into(), self.id.to_string().into());
        let mut head = Map::new();
        head.insert("kind".into(), "Decision".into());
        head.insert("apiVersion".into(), API_VERSION.into());
        head.insert("metadata".into(), metadata.into());
        head.insert("involvedObject".into(), involved);
        head.insert("firstTime".into(), json!(self.first));
        head.insert("lastTime".into(), json!(self.last));
        head.insert("passes".into(), self.passes.into());
        head
    }
}

/// A time as `creationTimestamp` has it, to the second.
pub(crate) fn created(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Where ids of decisions come from.
#[derive(Debug, Default)]
pub(crate) struct Ids(u64);

impl Ids {
    /// The id given last; 0 before any.
    pub(crate) fn newest(&self) -> u64 {
        self.0
    }

    /// A run that begins now. Ids grow from one process to the next, too, as long as clocks do.
    pub(crate) fn begin(&mut self, now: Timestamp) -> Span {
        let time = u64::try_from(now.as_microsecond()).unwrap_or_default();
        self.0 = (self.0 + 1).max(time);
        Span {
            id: self.0,
            first: now,
            last: now,
            passes: 1,
        }
    }
}

/// What a journal remembers.
pub(crate) trait Remembered {
    /// How many at most.
    const MOST_ENTRIES: usize;
    /// Bytes of them at most.
    const MOST_BYTES: usize;

    /// Bytes it takes, roughly.
    fn bytes(&self) -> usize;
}

/// Past decisions, oldest first.
#[derive(Debug)]
pub(crate) struct Journal<E> {
    entries: VecDeque<E>,
    bytes: usize,
}

impl<E> Default for Journal<E> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
        }
    }
}

impl<E: Remembered> Journal<E> {
    /// Adds an entry and drops the oldest ones beyond the bounds.
    pub(crate) fn push(&mut self, entry: E) {
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        self.trim(E::MOST_ENTRIES, E::MOST_BYTES);
    }

    /// Drops the oldest entries beyond these bounds.
    pub(crate) fn trim(&mut self, entries: usize, bytes: usize) {
        while self.entries.len() > entries || self.bytes > bytes {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.bytes -= oldest.bytes();
        }
    }

    /// Bytes in use, roughly.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Oldest first.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &E> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, Journal, Remembered};
    use jiff::Timestamp;

    struct Note(u64, usize);

    impl Remembered for Note {
        const MOST_ENTRIES: usize = 500;
        const MOST_BYTES: usize = 256 << 10;

        fn bytes(&self) -> usize {
            self.1
        }
    }

    #[test]
    fn the_oldest_go_beyond_the_count() {
        let mut journal = Journal::default();
        for id in 0..600 {
            journal.push(Note(id, 1));
        }
        let ids: Vec<u64> = journal.entries().map(|Note(id, _)| *id).collect();
        assert_eq!((ids.len(), ids.first()), (500, Some(&100)));
        assert_eq!(journal.bytes(), 500);
    }

    #[test]
    fn the_oldest_go_beyond_the_bytes() {
        let mut journal = Journal::default();
        for id in 0..50 {
            journal.push(Note(id, Note::MOST_BYTES / 10 + 1));
        }
        assert!(journal.bytes() <= Note::MOST_BYTES);
        assert_eq!(journal.entries().count(), 9);
        journal.push(Note(50, Note::MOST_BYTES + 1));
        assert_eq!((journal.entries().count(), journal.bytes()), (0, 0));
    }

    #[test]
    fn ids_grow_though_the_clock_stands_or_goes_back() {
        let mut ids = Ids::default();
        assert_eq!(ids.newest(), 0);
        let given = [10, 10, 5, 11].map(|second| {
            let now = Timestamp::from_second(second).unwrap();
            ids.begin(now).id
        });
        assert_eq!(given, [10_000_000, 10_000_001, 10_000_002, 11_000_000]);
    }
}
