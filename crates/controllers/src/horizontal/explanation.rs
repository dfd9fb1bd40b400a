//! Why each autoscaler did what it did: the last decision with everything it came from, and a log
//! of the decisions before it.

mod api;
mod journal;
mod show;

use super::findings::Finding;
use super::key::ScalerKey;
use crate::explain::query::{About, Wanted};
use jiff::Timestamp;
use journal::{Entry, Journal, MOST_ENTRIES, Span, is_repeated, says_the_same};
use parking_lot::RwLock;
use plimsoll_engine::horizontal::{Decision, Observed, summary};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

pub use show::describe;

/// Bytes of all decision logs together.
const MOST_BYTES_IN_ALL: usize = 32 << 20;

/// The last decision of every autoscaler, and a bounded log of those before it. Clones share it.
///
/// Consecutive passes that decide the same are one entry with a count; an entry holds the newest of
/// its passes. A log is bounded by count and bytes, and so are all logs together.
#[derive(Debug, Clone)]
pub struct Explanations(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    inner: RwLock<Inner>,
    /// Id of the newest changed decision, for whoever waits.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    scalers: BTreeMap<ScalerKey, Told>,
    /// Bytes of all logs.
    bytes: usize,
    newest: u64,
    /// The newest pass of any autoscaler.
    latest: Timestamp,
}

#[derive(Debug)]
struct Told {
    last: Arc<Record>,
    span: Span,
    journal: Journal,
}

#[derive(Debug)]
struct Record {
    observed: Observed,
    decision: Decision,
    findings: Vec<Finding>,
}

impl Default for Explanations {
    fn default() -> Self {
        let (newest, _) = watch::channel(0);
        Self(Arc::new(Shared {
            inner: RwLock::default(),
            newest,
        }))
    }
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
        let changed = self.0.inner.write().tell(scaler, record);
        if let Some(id) = changed {
            self.0.newest.send_replace(id);
        }
    }

    /// The decision in one line, unless it says what the last one told said.
    pub(super) fn news(&self, scaler: &ScalerKey, decision: &Decision) -> Option<String> {
        let inner = self.0.inner.read();
        let told = inner.scalers.get(scaler);
        let old = told.is_some_and(|told| says_the_same(&told.last.decision, decision));
        (!old).then(|| summary(&decision.trace))
    }

    /// Forgets an autoscaler that is gone.
    pub(super) fn forget(&self, scaler: &ScalerKey) {
        let mut inner = self.0.inner.write();
        if let Some(told) = inner.scalers.remove(scaler) {
            inner.bytes -= told.journal.bytes();
        }
    }

    fn get(&self, key: &ScalerKey) -> Option<Value> {
        Some(show::explanation(
            key,
            self.0.inner.read().scalers.get(key)?,
        ))
    }

    fn list(&self, is_wanted: impl Fn(&ScalerKey) -> bool) -> Vec<Value> {
        let inner = self.0.inner.read();
        let told = inner.scalers.iter().filter(|(key, _)| is_wanted(key));
        told.map(|(key, told)| show::explanation(key, told))
            .collect()
    }

    /// The wanted decisions, oldest first, and the id of the newest of all.
    fn decisions(&self, wanted: &Wanted) -> (Vec<Value>, u64) {
        let inner = self.0.inner.read();
        let mut found = Vec::new();
        for (key, told) in &inner.scalers {
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
                if wanted.has(about, entry.span.id, entry.span.last) {
                    found.push((entry.span.id, show::past(key, entry)));
                }
            }
            if wanted.has(about, told.span.id, told.span.last) {
                found.push((told.span.id, show::current(key, told)));
            }
        }
        found.sort_by_key(|(id, _)| *id);
        let decisions = found.into_iter().map(|(_, decision)| decision);
        (decisions.collect(), inner.newest)
    }

    /// The time of the newest pass: what "an hour ago" counts from.
    fn latest(&self) -> Timestamp {
        self.0.inner.read().latest
    }
}

impl Inner {
    /// Answers the id of the decision if it is another one than before.
    fn tell(&mut self, scaler: &ScalerKey, record: Record) -> Option<u64> {
        let now = record.observed.now;
        self.latest = self.latest.max(now);
        if let Some(told) = self.scalers.get_mut(scaler)
            && is_repeated(&told.last.decision, &record.decision)
        {
            told.last = Arc::new(record);
            told.span.last = now;
            told.span.passes += 1;
            return None;
        }
        // Ids grow from one process to the next, too, as long as clocks do.
        let time = u64::try_from(now.as_microsecond()).unwrap_or_default();
        self.newest = (self.newest + 1).max(time);
        let span = Span {
            id: self.newest,
            first: now,
            last: now,
            passes: 1,
        };
        self.begin(scaler, Arc::new(record), span);
        Some(self.newest)
    }

    fn begin(&mut self, scaler: &ScalerKey, last: Arc<Record>, span: Span) {
        let Some(told) = self.scalers.get_mut(scaler) else {
            let journal = Journal::default();
            let told = Told {
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
            told.journal.trim(MOST_ENTRIES, share);
            self.bytes += told.journal.bytes();
        }
    }
}

#[cfg(test)]
mod tests;
