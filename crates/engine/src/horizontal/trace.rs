//! The steps of a decision: typed, serialisable, replayable, and one sentence each.

use super::limit::{Limit, Rate};
use super::milli;
use super::tolerance::Band;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How a measured number prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Percent of the request.
    Percent,
    /// Thousandths, shown with decimal suffixes.
    Plain,
    /// Thousandths of bytes, shown with binary suffixes.
    Bytes,
}

impl Unit {
    /// The unit of a resource.
    pub(super) fn of_resource(name: &str) -> Self {
        if name == "memory" {
            Self::Bytes
        } else {
            Self::Plain
        }
    }

    /// The number as text.
    pub fn show(self, value: i64) -> String {
        match self {
            Self::Percent => format!("{value}%"),
            Self::Plain => milli::format(value, milli::Suffixes::Decimal),
            Self::Bytes => milli::format(value, milli::Suffixes::Binary),
        }
    }
}

/// What an unmeasured pod is taken to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Assumption {
    /// Thousandths.
    Value(i64),
    /// Percent of its request.
    Percent(i32),
}

/// Why a metric proposes no change.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Hold {
    /// The ratio is close enough to 1.
    WithinTolerance {
        /// The average, assumptions included, or the total.
        value: i64,
        /// What is to be held.
        target: i64,
        /// How both print.
        unit: Unit,
        /// Measured over target.
        ratio: f64,
        /// The band.
        band: Band,
    },
    /// The assumptions would turn the direction the measured pods show.
    WouldReverse {
        /// The ratio of the measured pods.
        seen: f64,
        /// The ratio with assumptions.
        ratio: f64,
    },
}

/// The recommendation that holds a count back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// What was recommended.
    pub replicas: i32,
    /// When.
    pub time: Timestamp,
    /// When it leaves the window; nothing moves before that.
    pub until: Timestamp,
}

/// How a product becomes a count of replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Rounding {
    /// Cut to 32 bits as the original's processor does.
    Wrapping,
    /// Capped at the largest 32-bit integer.
    Saturating,
}

/// The end of the allowed range that the target was outside of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// Below the minimum.
    Min,
    /// Above the maximum.
    Max,
}

/// A schedule in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Window {
    /// The schedule's name.
    pub name: Arc<str>,
    /// Its lower bound.
    pub min: Option<i32>,
    /// Its upper bound.
    pub max: Option<i32>,
    /// When it ends.
    pub until: Option<Timestamp>,
}

/// A pod's sample and its age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aged {
    /// The pod.
    pub pod: Arc<str>,
    /// Whole seconds.
    pub seconds: i64,
}

/// One step of a decision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "step",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Step {
    /// The target's scale could not be read.
    Unreadable {
        /// Why.
        error: String,
    },
    /// Schedules change the bounds, or will.
    Scheduled {
        /// Those in force.
        windows: Vec<Window>,
        /// The next one to begin.
        upcoming: Option<Arc<str>>,
        /// When.
        begins: Option<Timestamp>,
    },
    /// A schedule is left out.
    Unscheduled {
        /// Its name.
        name: Arc<str>,
        /// Why it cannot be read.
        error: String,
    },
    /// Where it stands.
    Found {
        /// `spec.replicas` of the scale.
        current: i32,
        /// Lower bound.
        min: i32,
        /// Upper bound.
        max: i32,
    },
    /// Scaled to zero by hand: nothing is done.
    Disabled,
    /// Outside the range: straight to the bound, metrics unread.
    OutsideRange {
        /// Which end.
        bound: Bound,
        /// The bound.
        replicas: i32,
    },
    /// The selector cannot be used.
    Unselectable {
        /// Why.
        error: String,
    },
    /// A metric is looked at.
    Metric {
        /// Place in the spec.
        index: usize,
        /// What is measured.
        name: String,
    },
    /// Samples that are too old to count.
    Stale {
        /// Whose.
        pods: Vec<Aged>,
        /// The age from which they do not count, in seconds.
        limit_seconds: i64,
    },
    /// Selected pods whose value is not in the average.
    Uncounted {
        /// Ending or failed.
        ignored: Vec<Arc<str>>,
        /// Not started, not ready, or measured too early.
        unready: Vec<Arc<str>>,
        /// Without a value.
        missing: Vec<Arc<str>>,
    },
    /// The average over the measured pods.
    Measured {
        /// Values in the average.
        pods: usize,
        /// Ready pods.
        ready: usize,
        /// The average.
        value: i64,
        /// What is to be held.
        target: i64,
        /// How both print.
        unit: Unit,
        /// Measured over target.
        ratio: f64,
    },
    /// A total.
    Total {
        /// The total, in thousandths.
        value: i64,
        /// What is to be held, in thousandths.
        target: i64,
        /// How both print.
        unit: Unit,
        /// Existing pods, where the target is an average.
        pods: Option<i32>,
        /// Measured over target.
        ratio: f64,
    },
    /// Unmeasured pods enter the average.
    Assumed {
        /// Their names.
        pods: Vec<Arc<str>>,
        /// How the assumption prints.
        unit: Unit,
        /// As what.
        assumption: Assumption,
    },
    /// The metric proposes what is there.
    Held {
        /// Why.
        because: Hold,
        /// What is there.
        replicas: i32,
    },
    /// The metric proposes `ceil(ratio × counted)`.
    Proposed {
        /// Used over target.
        ratio: f64,
        /// Pods.
        counted: usize,
        /// How the product becomes a count.
        rounding: Rounding,
        /// The proposal.
        replicas: i32,
    },
    /// The metric gives no proposal.
    Failed {
        /// Why.
        error: String,
    },
    /// The largest proposal of several.
    Chosen {
        /// Name of the winning metric.
        name: String,
        /// Its proposal.
        replicas: i32,
    },
    /// Too little is known to move.
    Blocked {
        /// Metrics without a proposal.
        failed: usize,
        /// Metrics in all.
        metrics: usize,
    },
    /// Recent recommendations hold the count back.
    Stabilized {
        /// What is stabilised: the proposal, or with a behavior the current count.
        start: i32,
        /// Raised at least to this.
        lowest: i32,
        /// Lowered at most to this.
        highest: Option<i32>,
        /// The newest recommendation in the way of the proposal, if one is.
        holder: Option<Holder>,
        /// The result.
        replicas: i32,
    },
    /// A bound or a rate limit cuts the count.
    Limited {
        /// What was wanted.
        wanted: i32,
        /// Lower bound in force.
        floor: Option<i32>,
        /// Upper bound in force.
        ceiling: Option<i32>,
        /// The `ScalingLimited` reason.
        reason: Limit,
        /// The rate in force, where it is the rate that cuts.
        rate: Option<Rate>,
        /// The result.
        replicas: i32,
    },
    /// Somebody holds the target: what was decided is not written.
    HeldByHand {
        /// Until when; `None` until it is lifted.
        until: Option<Timestamp>,
        /// What that person said, or empty.
        why: String,
        /// What would be written otherwise.
        would: i32,
    },
    /// The answer.
    Settled {
        /// Before.
        from: i32,
        /// After.
        to: i32,
    },
}
