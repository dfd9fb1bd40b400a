//! What is remembered of a decision about a node or a group, and which verdicts are one decision.

use crate::explain::journal::{Remembered, Span};
use plimsoll_engine::cluster::{Answer, GroupFacts, GroupVerdict, KeepReason, NodeVerdict};
use serde_json::{Value, json};
use std::mem::discriminant;
use std::sync::Arc;

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
        let involved = json!({ "kind": self.kind, "name": self.name });
        let (from, to) = self.sizes.unzip();
        let mut shown = self.span.head(("", &self.name), involved);
        shown.insert("from".into(), json!(from));
        shown.insert("to".into(), json!(to));
        shown.insert("wrote".into(), json!(from != to));
        shown.insert("reason".into(), json!(self.reason));
        shown.insert("error".into(), Value::Null);
        shown.insert("summary".into(), json!(self.answer.reason));
        shown.insert("lift".into(), json!(self.answer.lift));
        Value::Object(shown)
    }
}

impl Remembered for Entry {
    /// Of all nodes and groups together, decisions in force not counted.
    const MOST_ENTRIES: usize = 5_000;
    /// Of all nodes and groups together.
    const MOST_BYTES: usize = 8 << 20;

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.answer.reason.len() + self.answer.lift.len()
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
