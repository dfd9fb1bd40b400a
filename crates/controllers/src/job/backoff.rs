//! How long to wait after failures: 10 s · 2ⁿ, at most ten minutes.

use super::seen::{earlier_failures, ended_at};
use crate::pods::PodView;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(600);

/// Failures since the last success.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Record {
    failures: u32,
    last: Option<Timestamp>,
}

impl Record {
    /// The record with these pods' ends in it.
    pub(super) fn after(self, succeeded: &[Arc<PodView>], failed: &[Arc<PodView>]) -> Self {
        let last_success = succeeded.iter().map(|pod| ended_at(pod)).max();
        let times = failed.iter().map(|pod| ended_at(pod));
        let later = times.filter(|time| last_success.is_none_or(|success| *time > success));
        let before = if last_success.is_some() {
            Self::default()
        } else {
            self
        };
        later.fold(before, |record, time| Self {
            failures: record.failures.saturating_add(1),
            last: record.last.max(Some(time)),
        })
    }

    /// How long no pod is to be created.
    pub(super) fn remaining(self, now: Timestamp) -> Option<Duration> {
        remaining(self.failures, self.last?, now)
    }
}

/// How long an index whose last pod is this failed one gets no new pod.
pub(super) fn of_index(pod: &PodView, now: Timestamp) -> Option<Duration> {
    let (counted, ignored) = earlier_failures(pod);
    let failures = counted.saturating_add(ignored).saturating_add(1);
    remaining(
        u32::try_from(failures).unwrap_or(u32::MAX),
        ended_at(pod),
        now,
    )
}

fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let doublings = failures.checked_sub(1)?.min(10);
    let pause = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    // A clock that went backwards must not prolong the pause.
    let passed = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    pause.checked_sub(passed).filter(|left| !left.is_zero())
}
