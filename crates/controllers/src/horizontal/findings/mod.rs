//! What is wrong around an autoscaler, although it decides as it should: who else writes the count,
//! signals that cannot rise any further, pods that are not its own.
//!
//! Every detection is a pure function from what a pass has seen to a [`Finding`]. Findings become
//! Warning events, once, and stay in the explanation while they last.
//!
//! Departs: upstream says none of this. It changes no decision, no condition and no status.

mod ceiling;
mod foreign;
mod look;
mod requests;
mod saturation;
mod sharing;
mod vertical;
mod writers;

pub(super) use look::{Around, Lookout};
pub(super) use vertical::Verticals;

use serde::Serialize;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum FindingKind {
    /// Somebody else changes `spec.replicas` of the target.
    OtherReplicasWriter,
    /// The pods use all the CPU they may, so the signal says nothing any more.
    CpuSaturated,
    /// A container without a request spoils the percentage.
    MissingRequest,
    /// Several autoscalers have one target.
    SharedTarget,
    /// At the maximum for long, with more wanted.
    StuckAtMaximum,
    /// The selector matches pods of another owner.
    ForeignPods,
    /// A VerticalPodAutoscaler changes the request whose percentage is held.
    VerticalConflict,
}

impl FindingKind {
    /// The event's reason.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::OtherReplicasWriter => "OtherReplicasWriter",
            Self::CpuSaturated => "CpuSaturated",
            Self::MissingRequest => "MissingRequest",
            Self::SharedTarget => "SharedTarget",
            Self::StuckAtMaximum => "StuckAtMaximum",
            Self::ForeignPods => "ForeignPods",
            Self::VerticalConflict => "VerticalConflict",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Finding {
    /// What.
    #[serde(rename = "type")]
    pub(super) kind: FindingKind,
    /// The object it is about; the same finding about another object is another one.
    pub(super) object: String,
    /// What it means, with the numbers.
    pub(super) message: String,
    /// What to do.
    pub(super) advice: String,
}

impl Finding {
    /// The event's message.
    pub(super) fn text(&self) -> String {
        format!("{}; {}", self.message, self.advice)
    }
}

/// The first names of a list: `a, b and 3 more`.
fn some_of<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 3;
    let more = names.len().saturating_sub(SHOWN);
    let shown: Vec<&str> = names.take(SHOWN).collect();
    let shown = shown.join(", ");
    match more {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `1 pod`, `2 pods`.
fn pods_of(count: usize) -> String {
    match count {
        1 => "1 pod".into(),
        count => format!("{count} pods"),
    }
}

#[cfg(test)]
mod tests;
