//! What is remembered of a past decision about one autoscaler, and which decisions are one.

use crate::explain::journal::{Remembered, Span};
use plimsoll_engine::horizontal::{Decision, Step, same_outcome};
use std::sync::Arc;

/// A decision of the past, as the newest of its passes made it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) span: Span,
    pub(super) from: i32,
    pub(super) wrote: Option<i32>,
    pub(super) reason: String,
    pub(super) error: Option<String>,
    pub(super) trace: Arc<[Step]>,
    bytes: usize,
}

impl Entry {
    pub(super) fn new(span: Span, decision: Decision) -> Self {
        let mut entry = Self {
            span,
            from: decision.status.current_replicas,
            wrote: decision.write,
            reason: decision.reason,
            error: decision.error,
            trace: decision.trace.into(),
            bytes: 0,
        };
        let text = entry.reason.len() + entry.error.as_ref().map_or(0, String::len);
        let steps: usize = entry.trace.iter().map(weight).sum();
        entry.bytes = size_of::<Self>() + text + steps;
        entry
    }
}

impl Remembered for Entry {
    /// Of one autoscaler, the decision in force not counted.
    const MOST_ENTRIES: usize = 500;
    /// Of one autoscaler.
    const MOST_BYTES: usize = 256 << 10;

    fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Whether a pass decides what the one before it did, so that it is only counted.
pub(super) fn is_repeated(before: &Decision, now: &Decision) -> bool {
    before.write.is_none() && now.write.is_none() && says_the_same(before, now)
}

/// Whether two decisions say the same, numbers and times aside.
pub(super) fn says_the_same(before: &Decision, now: &Decision) -> bool {
    before.write == now.write
        && before.error == now.error
        && same_outcome(&before.trace, &now.trace)
}

/// Roughly the memory of a step.
fn weight(step: &Step) -> usize {
    let text = text_of(step).map_or(0, str::len);
    size_of::<Step>() + text + names_in(step) * size_of::<Arc<str>>()
}

fn text_of(step: &Step) -> Option<&str> {
    if let Step::Unreadable { error } | Step::Unselectable { error } | Step::Failed { error } = step
    {
        return Some(error);
    }
    if let Step::Metric { name, .. } | Step::Chosen { name, .. } = step {
        return Some(name);
    }
    if let Step::HeldByHand { why, .. } = step {
        return Some(why);
    }
    None
}

fn names_in(step: &Step) -> usize {
    if let Step::Uncounted {
        ignored,
        unready,
        missing,
    } = step
    {
        return ignored.len() + unready.len() + missing.len();
    }
    if let Step::Stale { pods, .. } = step {
        return pods.len() * 2;
    }
    if let Step::Assumed { pods, .. } = step {
        return pods.len();
    }
    0
}

#[cfg(test)]
mod tests {
    use super::{Entry, is_repeated};
    use crate::explain::journal::{Remembered as _, Span};
    use jiff::Timestamp;
    use plimsoll_engine::horizontal::{Decision, Status, Step};

    fn decided(trace: Vec<Step>, write: Option<i32>) -> Decision {
        Decision {
            replicas: 0,
            write,
            status: Status::default(),
            events: Vec::new(),
            memory: None,
            error: None,
            reason: String::new(),
            trace,
            next_change: None,
        }
    }

    fn entry(id: u64, error: &str) -> Entry {
        let span = Span {
            id,
            first: Timestamp::UNIX_EPOCH,
            last: Timestamp::UNIX_EPOCH,
            passes: 1,
        };
        let error = error.to_owned();
        Entry::new(span, decided(vec![Step::Failed { error }], None))
    }

    #[test]
    fn an_entry_weighs_what_it_says() {
        let (short, long) = (entry(0, ""), entry(1, &"x".repeat(1000)));
        assert!(long.bytes() >= short.bytes() + 1000);
        assert!(short.bytes() >= size_of::<Entry>());
    }

    #[test]
    fn a_write_is_never_only_counted() {
        let settled = |to| vec![Step::Settled { from: 2, to }];
        let still = decided(settled(2), None);
        assert!(is_repeated(&still, &still));
        let moved = decided(settled(3), Some(3));
        assert!(!is_repeated(&moved, &moved));
        assert!(!is_repeated(&still, &moved));
        let failed = Decision {
            error: Some("no".into()),
            ..still.clone()
        };
        assert!(!is_repeated(&still, &failed));
    }
}
