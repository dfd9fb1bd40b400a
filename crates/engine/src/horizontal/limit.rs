//! Bounds and rate limits.

use super::memory::{Memory, change_within};
use super::milli::cut32;
use super::spec::{Behavior, Policy, PolicyKind, Rules, Select};
use super::trace::Step;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which rule had the last word on a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// None.
    DesiredWithinRange,
    /// The minimum.
    TooFewReplicas,
    /// The maximum.
    TooManyReplicas,
    /// The rate of growth.
    ScaleUpLimit,
    /// The rate of shrinking.
    ScaleDownLimit,
}

impl Limit {
    /// The condition's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::DesiredWithinRange => "DesiredWithinRange",
            Self::TooFewReplicas => "TooFewReplicas",
            Self::TooManyReplicas => "TooManyReplicas",
            Self::ScaleUpLimit => "ScaleUpLimit",
            Self::ScaleDownLimit => "ScaleDownLimit",
        }
    }

    /// The condition's message.
    pub fn message(self) -> &'static str {
        match self {
            Self::DesiredWithinRange => "the desired count is within the acceptable range",
            Self::TooFewReplicas => {
                "the desired replica count is less than the minimum replica count"
            }
            Self::TooManyReplicas => {
                "the desired replica count is more than the maximum replica count"
            }
            Self::ScaleUpLimit => {
                "the desired replica count is increasing faster than the maximum scale rate"
            }
            Self::ScaleDownLimit => {
                "the desired replica count is decreasing faster than the maximum scale rate"
            }
        }
    }
}

/// The allowed range of replica counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Lower bound.
    pub min: i32,
    /// Upper bound.
    pub max: i32,
}

/// The rule of autoscalers without a behavior: at most doubling, or four.
pub fn without_behavior(current: i32, wanted: i32, range: Range) -> Step {
    let rate = cut32((2.0 * f64::from(current)).max(4.0));
    let (ceiling, reason) = if range.max > rate {
        (rate, Limit::ScaleUpLimit)
    } else {
        (range.max, Limit::TooManyReplicas)
    };
    let (replicas, reason) = if wanted < range.min {
        (range.min, Limit::TooFewReplicas)
    } else if wanted > ceiling {
        (ceiling, reason)
    } else {
        (wanted, Limit::DesiredWithinRange)
    };
    Step::Limited {
        wanted,
        floor: Some(range.min),
        ceiling: Some(ceiling),
        reason,
        replicas,
    }
}

/// The rule of autoscalers with a behavior: policies in the direction of the move.
pub fn with_behavior(
    current: i32,
    wanted: i32,
    range: Range,
    (behavior, memory): (&Behavior, &Memory),
    now: Timestamp,
) -> Step {
    let started = |policy: &Policy| {
        let added = change_within(&memory.scale_up_events, policy.period_seconds, now);
        let removed = change_within(&memory.scale_down_events, policy.period_seconds, now);
        current.wrapping_sub(added).wrapping_add(removed)
    };
    match wanted.cmp(&current) {
        std::cmp::Ordering::Equal => {
            let reason = Limit::DesiredWithinRange;
            Step::Limited {
                wanted,
                floor: None,
                ceiling: None,
                reason,
                replicas: wanted,
            }
        }
        std::cmp::Ordering::Greater => {
            let rate = growth(&behavior.scale_up, current, started).max(current);
            let (ceiling, reason) = if range.max > rate {
                (rate, Limit::ScaleUpLimit)
            } else {
                (range.max, Limit::TooManyReplicas)
            };
            let reason = if wanted > ceiling {
                reason
            } else {
                Limit::DesiredWithinRange
            };
            let replicas = wanted.min(ceiling);
            Step::Limited {
                wanted,
                floor: None,
                ceiling: Some(ceiling),
                reason,
                replicas,
            }
        }
        std::cmp::Ordering::Less => {
            let rate = shrinking(&behavior.scale_down, current, started).min(current);
            let (floor, reason) = if range.min < rate {
                (rate, Limit::ScaleDownLimit)
            } else {
                (range.min, Limit::TooFewReplicas)
            };
            let reason = if wanted < floor {
                reason
            } else {
                Limit::DesiredWithinRange
            };
            let replicas = wanted.max(floor);
            Step::Limited {
                wanted,
                floor: Some(floor),
                ceiling: None,
                reason,
                replicas,
            }
        }
    }
}

fn growth(rules: &Rules, current: i32, started: impl Fn(&Policy) -> i32) -> i32 {
    let allowed = rules.policies.iter().map(|policy| match policy.kind {
        PolicyKind::Pods => started(policy).saturating_add(policy.value),
        PolicyKind::Percent => {
            let factor = 1.0 + f64::from(policy.value) / 100.0;
            cut32((f64::from(started(policy)) * factor).ceil())
        }
    });
    match rules.select_policy {
        Some(Select::Disabled) => current,
        Some(Select::Min) => allowed.min().unwrap_or(i32::MAX),
        Some(Select::Max) | None => allowed.max().unwrap_or(i32::MIN),
    }
}

fn shrinking(rules: &Rules, current: i32, started: impl Fn(&Policy) -> i32) -> i32 {
    let allowed = rules.policies.iter().map(|policy| match policy.kind {
        PolicyKind::Pods => started(policy).saturating_sub(policy.value),
        PolicyKind::Percent => {
            let factor = 1.0 - f64::from(policy.value) / 100.0;
            cut32(f64::from(started(policy)) * factor)
        }
    });
    match rules.select_policy {
        Some(Select::Disabled) => current,
        Some(Select::Min) => allowed.max().unwrap_or(i32::MIN),
        Some(Select::Max) | None => allowed.min().unwrap_or(i32::MAX),
    }
}
