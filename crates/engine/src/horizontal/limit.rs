//! Bounds and rate limits.

use super::memory::{Change, Memory, before, change_within};
use super::milli::{cap32, cut32};
use super::spec::{Behavior, Policy, PolicyKind, Rules, Select};
use super::trace::Step;
use jiff::{SignedDuration, Timestamp};
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

/// The rate that cuts a count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// The rule that decides.
    pub rule: Rule,
    /// When the oldest change that counts against the rule leaves its period and makes room.
    pub until: Option<Timestamp>,
}

/// What bounds a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Rule {
    /// Without a behavior: at most twice as many, or four.
    Doubling,
    /// `selectPolicy: Disabled`.
    Disabled,
    /// The policy of several that decides.
    Policy {
        /// Unit of `value`.
        kind: PolicyKind,
        /// How much a period.
        value: i32,
        /// Length of the sliding period, in seconds.
        period_seconds: i32,
        /// Pods of it that are used up: changes in this direction less those in the other.
        used: i32,
    },
}

/// The rule of autoscalers without a behavior: at most doubling, or four.
pub fn without_behavior(current: i32, wanted: i32, range: Range) -> Step {
    let rate = cap32((2.0 * f64::from(current)).max(4.0));
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
    let doubling = Rate {
        rule: Rule::Doubling,
        until: None,
    };
    Step::Limited {
        wanted,
        floor: Some(range.min),
        ceiling: Some(ceiling),
        reason,
        rate: (reason == Limit::ScaleUpLimit).then_some(doubling),
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
    let history = History {
        memory,
        current,
        now,
    };
    match wanted.cmp(&current) {
        std::cmp::Ordering::Equal => {
            let reason = Limit::DesiredWithinRange;
            Step::Limited {
                wanted,
                floor: None,
                ceiling: None,
                reason,
                rate: None,
                replicas: wanted,
            }
        }
        std::cmp::Ordering::Greater => growing(wanted, range, &behavior.scale_up, &history),
        std::cmp::Ordering::Less => shrinking(wanted, range, &behavior.scale_down, &history),
    }
}

/// What counts against policies.
struct History<'a> {
    memory: &'a Memory,
    current: i32,
    now: Timestamp,
}

impl History<'_> {
    /// The count at the start of the policy's period.
    fn started(&self, policy: &Policy) -> i32 {
        let within = |events| change_within(events, policy.period_seconds, self.now);
        let added = within(&self.memory.scale_up_events);
        let removed = within(&self.memory.scale_down_events);
        self.current.wrapping_sub(added).wrapping_add(removed)
    }

    fn up_first(&self) -> (&[Change], &[Change]) {
        (&self.memory.scale_up_events, &self.memory.scale_down_events)
    }

    /// The rule of `rules` that decides, for the explanation.
    fn rate(
        &self,
        rules: &Rules,
        decides: Option<&Policy>,
        (same, opposite): (&[Change], &[Change]),
    ) -> Option<Rate> {
        if rules.select_policy == Some(Select::Disabled) {
            return Some(Rate {
                rule: Rule::Disabled,
                until: None,
            });
        }
        let policy = decides?;
        let period = SignedDuration::from_secs(policy.period_seconds.into());
        let counted = same.iter().filter(|e| e.time > before(self.now, period));
        let oldest = counted.map(|event| event.time).min();
        let within = |events| change_within(events, policy.period_seconds, self.now);
        Some(Rate {
            rule: Rule::Policy {
                kind: policy.kind,
                value: policy.value,
                period_seconds: policy.period_seconds,
                used: within(same).wrapping_sub(within(opposite)),
            },
            until: oldest.map(|time| time.checked_add(period).unwrap_or(Timestamp::MAX)),
        })
    }
}

fn growing(wanted: i32, range: Range, rules: &Rules, history: &History<'_>) -> Step {
    let allows = |policy: &Policy| most(policy, history.started(policy));
    let (allowed, policy) = match rules.select_policy {
        Some(Select::Disabled) => (history.current, None),
        Some(Select::Min) => {
            let least = rules.policies.iter().min_by_key(|policy| allows(policy));
            (least.map_or(i32::MAX, allows), least)
        }
        Some(Select::Max) | None => {
            let most = rules.policies.iter().max_by_key(|policy| allows(policy));
            (most.map_or(i32::MIN, allows), most)
        }
    };
    let rate = allowed.max(history.current);
    let (ceiling, cut) = if range.max > rate {
        (rate, Limit::ScaleUpLimit)
    } else {
        (range.max, Limit::TooManyReplicas)
    };
    let reason = if wanted > ceiling {
        cut
    } else {
        Limit::DesiredWithinRange
    };
    let by_rate = reason == Limit::ScaleUpLimit;
    let told = || history.rate(rules, policy, history.up_first());
    Step::Limited {
        wanted,
        floor: None,
        ceiling: Some(ceiling),
        reason,
        rate: by_rate.then(told).flatten(),
        replicas: wanted.min(ceiling),
    }
}

fn shrinking(wanted: i32, range: Range, rules: &Rules, history: &History<'_>) -> Step {
    let allows = |policy: &Policy| least(policy, history.started(policy));
    let (allowed, policy) = match rules.select_policy {
        Some(Select::Disabled) => (history.current, None),
        Some(Select::Min) => {
            let slowest = rules.policies.iter().max_by_key(|policy| allows(policy));
            (slowest.map_or(i32::MIN, allows), slowest)
        }
        Some(Select::Max) | None => {
            let fastest = rules.policies.iter().min_by_key(|policy| allows(policy));
            (fastest.map_or(i32::MAX, allows), fastest)
        }
    };
    let rate = allowed.min(history.current);
    let (floor, cut) = if range.min < rate {
        (rate, Limit::ScaleDownLimit)
    } else {
        (range.min, Limit::TooFewReplicas)
    };
    let reason = if wanted < floor {
        cut
    } else {
        Limit::DesiredWithinRange
    };
    let by_rate = reason == Limit::ScaleDownLimit;
    let told = || {
        let (up, down) = history.up_first();
        history.rate(rules, policy, (down, up))
    };
    Step::Limited {
        wanted,
        floor: Some(floor),
        ceiling: None,
        reason,
        rate: by_rate.then(told).flatten(),
        replicas: wanted.max(floor),
    }
}

/// The most that a policy allows when growing.
fn most(policy: &Policy, started: i32) -> i32 {
    match policy.kind {
        PolicyKind::Pods => started.saturating_add(policy.value),
        PolicyKind::Percent => {
            let factor = 1.0 + f64::from(policy.value) / 100.0;
            cap32((f64::from(started) * factor).ceil())
        }
    }
}

/// The least that a policy allows when shrinking.
fn least(policy: &Policy, started: i32) -> i32 {
    match policy.kind {
        PolicyKind::Pods => started.saturating_sub(policy.value),
        PolicyKind::Percent => {
            let factor = 1.0 - f64::from(policy.value) / 100.0;
            cut32(f64::from(started) * factor)
        }
    }
}
