//! What is remembered between passes: recommendations and scale events.

use super::spec::{Behavior, Rules};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// The memory of one autoscaler; goes in with one decision and comes out of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// Proposals before stabilisation and limits.
    pub recommendations: Vec<Recommendation>,
    /// How much it grew, and when.
    pub scale_up_events: Vec<Change>,
    /// How much it shrank, and when.
    pub scale_down_events: Vec<Change>,
}

/// A proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recommendation {
    /// The proposed count, not clamped.
    pub replicas: i32,
    /// When it was made.
    pub time: Timestamp,
}

/// A change of the replica count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its size, not negative.
    pub change: i32,
    /// When it was written.
    pub time: Timestamp,
}

impl Memory {
    /// What is remembered at first sight: the current count.
    pub(super) fn begin(current: i32, now: Timestamp) -> Self {
        let first = Recommendation {
            replicas: current,
            time: now,
        };
        Self {
            recommendations: vec![first],
            ..Self::default()
        }
    }

    /// Remembers a proposal in the last slot older than `stale_before`, or in a new one.
    pub(super) fn recommend(&mut self, replicas: i32, now: Timestamp, stale_before: Timestamp) {
        let entry = Recommendation {
            replicas,
            time: now,
        };
        let stale = self
            .recommendations
            .iter_mut()
            .rfind(|r| r.time < stale_before);
        match stale {
            Some(slot) => *slot = entry,
            None => self.recommendations.push(entry),
        }
    }

    /// Forgets recommendations that can never decide again. Windows end now and ask for the largest
    /// or the smallest, so one counts only while every later one is smaller, or every later one is
    /// larger. What is left is a handful, however often an autoscaler is looked at.
    pub fn compact(&mut self) {
        self.recommendations
            .sort_by_key(|r| std::cmp::Reverse(r.time));
        let (mut lowest, mut highest) = (i64::MAX, i64::MIN);
        self.recommendations.retain(|recommendation| {
            let replicas = i64::from(recommendation.replicas);
            let counts = replicas < lowest || replicas > highest;
            (lowest, highest) = (lowest.min(replicas), highest.max(replicas));
            counts
        });
        self.recommendations.reverse();
    }

    /// Remembers a written change; only autoscalers with a behavior do.
    pub fn record_scale(
        &mut self,
        behavior: Option<&Behavior>,
        from: i32,
        to: i32,
        now: Timestamp,
    ) {
        let Some(behavior) = behavior else { return };
        let (rules, events) = match to.cmp(&from) {
            std::cmp::Ordering::Greater => (&behavior.scale_up, &mut self.scale_up_events),
            std::cmp::Ordering::Less => (&behavior.scale_down, &mut self.scale_down_events),
            std::cmp::Ordering::Equal => return,
        };
        let entry = Change {
            change: to.saturating_sub(from).saturating_abs(),
            time: now,
        };
        let outdated = before(now, longest_period(rules));
        match events.iter_mut().rfind(|event| event.time < outdated) {
            Some(slot) => *slot = entry,
            None => events.push(entry),
        }
    }
}

/// `now` minus `by`.
pub(super) fn before(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// The sum of changes strictly newer than `seconds` ago.
pub fn change_within(events: &[Change], seconds: i32, now: Timestamp) -> i32 {
    let cutoff = before(now, SignedDuration::from_secs(seconds.into()));
    let recent = events.iter().filter(|event| event.time > cutoff);
    recent.fold(0, |sum, event| sum.wrapping_add(event.change))
}

fn longest_period(rules: &Rules) -> SignedDuration {
    let longest = rules
        .policies
        .iter()
        .map(|policy| policy.period_seconds)
        .max();
    SignedDuration::from_secs(longest.unwrap_or(0).into())
}
