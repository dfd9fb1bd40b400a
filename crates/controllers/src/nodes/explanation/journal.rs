//! The log of decisions about nodes and groups: bounded, one entry per changed verdict.

use crate::explain::query::API_VERSION;
use jiff::Timestamp;
use plimsoll_engine::cluster::{Answer, GroupFacts, GroupVerdict, KeepReason, NodeVerdict};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::mem::discriminant;
use std::sync::Arc;

/// Decisions remembered of all nodes and groups together, those in force not counted.
const MOST_ENTRIES: usize = 5_000;

/// A run of looks that decided the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// Grows with every changed decision.
    pub(super) id: u64,
    /// The first look.
    pub(super) first: Timestamp,
    /// The newest look.
    pub(super) last: Timestamp,
    /// How many there were.
    pub(super) passes: u64,
}

impl Span {
    /// One more look.
    pub(super) fn again(&mut self, now: Timestamp) {
        self.last = now;
        self.passes += 1;
    }
}

/// A decision, as the newest of its looks made it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) span: Span,
    /// `Node` or `NodeGroup`.
    pub(super) kind: &'static str,
    pub(super) name: Arc<str>,
    reason: &'static str,
    /// Size of the group before and after.
    sizes: Option<(usize, usize)>,
    answer: Answer,
}

impl Entry {
    pub(super) fn of_node(span: Span, name: &Arc<str>, verdict: &NodeVerdict) -> Self {
        Self {
            span,
            kind: "Node",
            name: Arc::clone(name),
            reason: verdict.name(),
            sizes: None,
            answer: verdict.answer(name, span.last),
        }
    }

    pub(super) fn of_group(span: Span, group: &GroupFacts, verdict: &GroupVerdict) -> Self {
        let sizes = if let GroupVerdict::Grown(resize) = verdict {
            (resize.from, resize.to)
        } else {
            (group.target, group.target)
        };
        Self {
            span,
            kind: "NodeGroup",
            name: Arc::clone(&group.id),
            reason: verdict.name(),
            sizes: Some(sizes),
            answer: verdict.answer(),
        }
    }

    /// In the form of the API.
    pub(super) fn shown(&self) -> Value {
        let Span {
            id,
            first,
            last,
            passes,
        } = self.span;
        let (from, to) = self.sizes.unzip();
        json!({
            "kind": "Decision",
            "apiVersion": API_VERSION,
            "metadata": {
                "name": format!("{}.{id:x}", self.name),
                "creationTimestamp": first.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "resourceVersion": id.to_string(),
            },
            "involvedObject": { "kind": self.kind, "name": self.name },
            "firstTime": first,
            "lastTime": last,
            "passes": passes,
            "from": from,
            "to": to,
            "wrote": from != to,
            "reason": self.reason,
            "error": null,
            "summary": self.answer.reason,
            "lift": self.answer.lift,
        })
    }
}

/// Past decisions, oldest first.
#[derive(Debug, Default)]
pub(super) struct Journal(VecDeque<Entry>);

impl Journal {
    /// Adds an entry and drops the oldest beyond the bound.
    pub(super) fn push(&mut self, entry: Entry) {
        self.0.push_back(entry);
        if self.0.len() > MOST_ENTRIES {
            self.0.pop_front();
        }
    }

    /// Oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }
}

/// Whether two looks think the same of a node, numbers aside.
pub(super) fn is_repeated(before: &NodeVerdict, now: &NodeVerdict) -> bool {
    match (before, now) {
        (NodeVerdict::Kept(before), NodeVerdict::Kept(now)) => same_reason(before, now),
        (
            NodeVerdict::Unneeded {
                since,
                waiting: before,
            },
            NodeVerdict::Unneeded {
                since: then,
                waiting: now,
            },
        ) => match (before, now) {
            (Some(before), Some(now)) => since == then && same_reason(before, now),
            (before, now) => since == then && before.is_none() && now.is_none(),
        },
        _ => false,
    }
}

fn same_reason(before: &KeepReason, now: &KeepReason) -> bool {
    use KeepReason as Keep;
    match (before, now) {
        (Keep::BlockedByPod(before), Keep::BlockedByPod(now))
        | (Keep::BlockedByOnCompletionPod(before), Keep::BlockedByOnCompletionPod(now)) => {
            before == now
        }
        (Keep::NoPlaceToMovePods { pod: before, .. }, Keep::NoPlaceToMovePods { pod: now, .. }) => {
            before == now
        }
        // That a judgement is remembered is no news.
        (Keep::RecentlyUnremovable { why, .. }, now) => same_reason(why, now),
        (before, Keep::RecentlyUnremovable { why, .. }) => same_reason(before, why),
        (before, now) => discriminant(before) == discriminant(now),
    }
}

/// Whether two looks came to the same for a group, numbers aside.
pub(super) fn is_alike(before: &GroupVerdict, now: &GroupVerdict) -> bool {
    match (before, now) {
        (GroupVerdict::Skipped(before), GroupVerdict::Skipped(now)) => {
            discriminant(before) == discriminant(now)
        }
        (before, now) => discriminant(before) == discriminant(now),
    }
}
