//! Why each autoscaler did what it did: the last decision with everything it came from, and a log
//! of the decisions before it.

mod api;
mod journal;
mod show;

use super::findings::Finding;
use super::key::ScalerKey;
use crate::explain::board::{Board, Told};
use crate::explain::journal::{Ids, Journal, Remembered as _, Span};
use crate::explain::query::{About, Wanted};
use jiff::Timestamp;
use journal::{Entry, is_repeated, says_the_same};
use plimsoll_engine::horizontal::{Decision, Observed, summary};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

pub use show::describe;

/// Bytes of all decision logs together.
const MOST_BYTES_IN_ALL: usize = 32 << 20;

/// The last decision of every autoscaler, and a bounded log of those before it. Clones share it.
///
/// Consecutive passes that decide the same are one entry with a count; an entry holds the newest of
/// its passes. A log is bounded by count and bytes, and so are all logs together.
#[derive(Debug, Clone, Default)]
pub struct Explanations(Board<Inner>);

#[derive(Debug, Default)]
struct Inner {
    scalers: BTreeMap<ScalerKey, Scaler>,
    /// Bytes of all logs.
    bytes: usize,
    ids: Ids,
    /// The newest pass of any autoscaler.
    latest: Timestamp,
}

/// What one autoscaler told.
#[derive(Debug)]
struct Scaler {
    last: Arc<Record>,
    span: Span,
    journal: Journal<Entry>,
}

#[derive(Debug)]
struct Record {
    observed: Observed,
    decision: Decision,
    findings: Vec<Finding>,
}

impl Explanations {
    /// Remembers a decision and what was found around it.
    pub(super) fn tell(
        &self,
        scaler: &ScalerKey,
        observed: Observed,
        decision: Decision,
        findings: Vec<Finding>,
    ) {
        let record = Record {
            observed,
            decision,
            findings,
        };
        self.0.tell(|inner| inner.tell(scaler, record));
    }

    /// The decision in one line, unless it says what the last one told said.
    pub(super) fn news(&self, scaler: &ScalerKey, decision: &Decision) -> Option<String> {
        let inner = self.0.read();
        let told = inner.scalers.get(scaler);
        let old = told.is_some_and(|told| says_the_same(&told.last.decision, decision));
        (!old).then(|| summary(&decision.trace))
    }

    /// Forgets an autoscaler that is gone.
    pub(super) fn forget(&self, scaler: &ScalerKey) {
        self.0.tell(|inner| {
            if let Some(told) = inner.scalers.remove(scaler) {
                inner.bytes -= told.journal.bytes();
            }
        });
    }

    fn get(&self, key: &ScalerKey) -> Option<Value> {
        Some(show::explanation(key, self.0.read().scalers.get(key)?))
    }

    fn list(&self, is_wanted: impl Fn(&ScalerKey) -> bool) -> Vec<Value> {
        let inner = self.0.read();
        let told = inner.scalers.iter().filter(|(key, _)| is_wanted(key));
        told.map(|(key, told)| show::explanation(key, told))
            .collect()
    }
}

impl Told for Inner {
    fn newest(&self) -> u64 {
        self.ids.newest()
    }

    fn latest(&self) -> Timestamp {
        self.latest
    }

    fn wanted(&self, wanted: &Wanted) -> Vec<(u64, Value)> {
        let mut found = Vec::new();
        for (key, told) in &self.scalers {
            let other = wanted.namespace.as_deref();
            if other.is_some_and(|namespace| *key.object.namespace != *namespace) {
                continue;
            }
            let about = About {
                kind: key.kind.kind(),
                namespace: &key.object.namespace,
                name: &key.object.name,
            };
            for entry in told.journal.entries() {
                if wanted.has(about, &entry.span) {
                    found.push((entry.span.id, show::past(key, entry)));
                }
            }
            if wanted.has(about, &told.span) {
                found.push((told.span.id, show::current(key, told)));
            }
        }
        found
    }
}

impl Inner {
    fn tell(&mut self, scaler: &ScalerKey, record: Record) {
        let now = record.observed.now;
        self.latest = self.latest.max(now);
        if let Some(told) = self.scalers.get_mut(scaler)
            && is_repeated(&told.last.decision, &record.decision)
        {
            told.last = Arc::new(record);
            told.span.again(now);
            return;
        }
        let span = self.ids.begin(now);
        self.begin(scaler, Arc::new(record), span);
    }

    fn begin(&mut self, scaler: &ScalerKey, last: Arc<Record>, span: Span) {
        let Some(told) = self.scalers.get_mut(scaler) else {
            let journal = Journal::default();
            let told = Scaler {
                last,
                span,
                journal,
            };
            drop(self.scalers.insert(scaler.clone(), told));
            return;
        };
        let before = std::mem::replace(&mut told.last, last);
        let past = std::mem::replace(&mut told.span, span);
        let decision = match Arc::try_unwrap(before) {
            Ok(record) => record.decision,
            Err(shared) => shared.decision.clone(),
        };
        self.bytes -= told.journal.bytes();
        told.journal.push(Entry::new(past, decision));
        self.bytes += told.journal.bytes();
        if self.bytes > MOST_BYTES_IN_ALL {
            self.make_room();
        }
    }

    /// Cuts every log to half its fair share, so that this is seldom needed.
    fn make_room(&mut self) {
        let share = MOST_BYTES_IN_ALL / 2 / self.scalers.len().max(1);
        self.bytes = 0;
        for told in self.scalers.values_mut() {
            told.journal.trim(Entry::MOST_ENTRIES, share);
            self.bytes += told.journal.bytes();
        }
    }
}

#[cfg(test)]
mod tests;
