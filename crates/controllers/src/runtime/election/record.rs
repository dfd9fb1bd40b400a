//! What a lease says, and what a candidate may conclude from it.
//!
//! Nothing here compares the clocks of two machines: how long a record has stood is measured from
//! the moment this candidate first saw it.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use std::time::Duration;
use tokio::time::Instant;

/// How often and how long. Names and defaults are those of client-go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A record that has stood for so long may be taken over.
    pub lease_duration: Duration,
    /// A leader that could not renew for so long stops acting.
    pub renew_deadline: Duration,
    /// The pause between two attempts; a candidate's is stretched at random up to 2.2 times.
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }
}

/// Which rule of the timing is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// A leader must stop before others may start.
    #[error("the lease duration, in whole seconds, must be greater than the renew deadline")]
    DeadlineTooLong,
    /// There must be time for a second attempt.
    #[error("the renew deadline must be greater than 1.2 times the retry period")]
    RetryTooLong,
    /// Leases count whole seconds.
    #[error("the lease duration must be at least one second")]
    LeaseTooShort,
    /// Attempts without a pause would be an attack.
    #[error("the retry period must be greater than zero")]
    NoPause,
}

impl Timing {
    /// Checks the rules that keep two leaders apart.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), TimingError> {
        if self.lease_seconds() < 1 {
            return Err(TimingError::LeaseTooShort);
        }
        if self.counted() <= self.renew_deadline {
            return Err(TimingError::DeadlineTooLong);
        }
        if self.renew_deadline <= self.retry_period.mul_f64(1.2) {
            return Err(TimingError::RetryTooLong);
        }
        if self.retry_period.is_zero() {
            return Err(TimingError::NoPause);
        }
        Ok(())
    }

    /// The lease duration as the lease has it: whole seconds, rounded down.
    fn lease_seconds(&self) -> i32 {
        i32::try_from(self.lease_duration.as_secs()).unwrap_or(i32::MAX)
    }

    /// The lease duration as others count it.
    fn counted(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.lease_seconds()).unwrap_or_default())
    }
}

/// The fields of a lease that elections use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Who leads; empty after a release.
    pub(super) holder: String,
    /// Seconds after which others may take over.
    pub(super) lease_seconds: i32,
    acquired: Option<Timestamp>,
    renewed: Option<Timestamp>,
    transitions: i32,
}

impl Record {
    /// Reads a lease.
    pub(super) fn of(spec: Option<&LeaseSpec>) -> Self {
        let Some(spec) = spec else {
            return Self::default();
        };
        Self {
            holder: spec.holder_identity.clone().unwrap_or_default(),
            lease_seconds: spec.lease_duration_seconds.unwrap_or_default(),
            acquired: spec.acquire_time.as_ref().map(|time| time.0),
            renewed: spec.renew_time.as_ref().map(|time| time.0),
            transitions: spec.lease_transitions.unwrap_or_default(),
        }
    }

    /// The record of `me` as the leader from this one on.
    pub(super) fn led_by(&self, me: &str, timing: &Timing, now: Timestamp) -> Self {
        let stays = self.holder == me;
        Self {
            holder: me.to_owned(),
            lease_seconds: timing.lease_seconds(),
            acquired: self.acquired.filter(|_| stays).or(Some(now)),
            renewed: Some(now),
            transitions: self.transitions.saturating_add(i32::from(!stays)),
        }
    }

    /// The first record there is.
    pub(super) fn first(me: &str, timing: &Timing, now: Timestamp) -> Self {
        Self {
            transitions: 0,
            ..Self::default().led_by(me, timing, now)
        }
    }

    /// The record of a leader that has stopped: free at once.
    pub(super) fn released(&self, now: Timestamp) -> Self {
        Self {
            holder: String::new(),
            lease_seconds: 1,
            acquired: Some(now),
            renewed: Some(now),
            transitions: self.transitions,
        }
    }

    /// Writes the record into a lease's spec, leaving other fields as they are.
    pub(super) fn write_to(&self, spec: &mut LeaseSpec) {
        // Parity: an empty holder is refused; client-go leaves the field out.
        spec.holder_identity = Some(self.holder.clone()).filter(|holder| !holder.is_empty());
        spec.lease_duration_seconds = Some(self.lease_seconds);
        spec.acquire_time = self.acquired.map(MicroTime);
        spec.renew_time = self.renewed.map(MicroTime);
        spec.lease_transitions = Some(self.transitions);
    }

    fn valid_for(&self) -> Duration {
        Duration::from_secs(u64::try_from(self.lease_seconds).unwrap_or_default())
    }
}

/// The record a candidate saw last, and since when it has stood.
#[derive(Debug, Default)]
pub(super) struct Observed {
    record: Record,
    since: Option<Instant>,
}

impl Observed {
    /// Takes in what was read at `now`. `None` means that there is no lease.
    ///
    /// Departs: client-go takes over a lease that is gone at once. Its holder may not know yet, so
    /// what was seen of it stands until it runs out.
    pub(super) fn see(&mut self, record: Option<&Record>, now: Instant) {
        let Some(record) = record else { return };
        if self.since.is_none() || self.record != *record {
            self.record = record.clone();
            self.since = Some(now);
        }
    }

    /// Who leads, unless it is `me`, nobody, or the record has stood too long.
    pub(super) fn other_leader(&self, me: &str, now: Instant) -> Option<&str> {
        let holder = self.record.holder.as_str();
        if holder.is_empty() || holder == me {
            return None;
        }
        let until = self.since?.checked_add(self.record.valid_for());
        until.is_none_or(|until| until > now).then_some(holder)
    }
}

#[cfg(test)]
mod tests {
    use super::{Observed, Record, Timing, TimingError};
    use rstest::rstest;
    use std::time::Duration;
    use tokio::time::Instant;

    fn timing(lease: u64, renew: u64, retry: u64) -> Timing {
        Timing {
            lease_duration: Duration::from_secs(lease),
            renew_deadline: Duration::from_secs(renew),
            retry_period: Duration::from_secs(retry),
        }
    }

    /// Milliseconds, with attempts every 0.1 s.
    fn fine(lease: u64, renew: u64) -> Timing {
        Timing {
            lease_duration: Duration::from_millis(lease),
            renew_deadline: Duration::from_millis(renew),
            retry_period: Duration::from_millis(100),
        }
    }

    #[rstest]
    #[case::defaults(Timing::default(), Ok(()))]
    #[case::equal(timing(10, 10, 2), Err(TimingError::DeadlineTooLong))]
    #[case::retry(timing(15, 10, 9), Err(TimingError::RetryTooLong))]
    #[case::no_pause(timing(15, 10, 0), Err(TimingError::NoPause))]
    #[case::same_second(fine(10_900, 10_500), Err(TimingError::DeadlineTooLong))]
    #[case::deadline_of_that_second(fine(10_900, 10_000), Err(TimingError::DeadlineTooLong))]
    #[case::within_the_second(fine(10_900, 9_999), Ok(()))]
    #[case::less_than_a_second(fine(900, 500), Err(TimingError::LeaseTooShort))]
    #[case::longer_than_a_lease_can_say(timing(1 << 40, 1 << 39, 2), Err(TimingError::DeadlineTooLong))]
    fn timing_keeps_leaders_apart(#[case] timing: Timing, #[case] want: Result<(), TimingError>) {
        assert_eq!(timing.check(), want);
    }

    #[test]
    fn a_record_is_judged_by_when_it_was_seen_and_not_by_its_own_times() {
        let begun = Instant::now();
        let skewed = "2000-01-01T00:00:00Z".parse().unwrap();
        let theirs = Record::first("a", &Timing::default(), skewed);
        let mut observed = Observed::default();
        observed.see(Some(&theirs), begun);
        let at = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(observed.other_leader("b", at(14)), Some("a"));
        assert_eq!(observed.other_leader("a", at(14)), None);
        observed.see(Some(&theirs), at(14));
        assert_eq!(observed.other_leader("b", at(15)), None);
        let renewed = theirs.led_by(
            "a",
            &Timing::default(),
            "2000-01-01T00:00:02Z".parse().unwrap(),
        );
        observed.see(Some(&renewed), at(15));
        assert_eq!(observed.other_leader("b", at(29)), Some("a"));
    }

    #[test]
    fn a_deleted_lease_frees_nothing_before_it_runs_out() {
        let begun = Instant::now();
        let theirs = Record::first("a", &Timing::default(), jiff::Timestamp::UNIX_EPOCH);
        let mut observed = Observed::default();
        observed.see(Some(&theirs), begun);
        observed.see(None, begun + Duration::from_secs(1));
        assert_eq!(
            observed.other_leader("b", begun + Duration::from_secs(14)),
            Some("a")
        );
        assert_eq!(
            observed.other_leader("b", begun + Duration::from_secs(15)),
            None
        );
    }

    #[test]
    fn transitions_count_changes_of_the_leader() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let timing = Timing::default();
        let first = Record::first("a", &timing, now);
        assert_eq!(first.transitions, 0);
        let again = first.led_by("a", &timing, now);
        assert_eq!(again.transitions, 0);
        let released = again.released(now);
        assert_eq!((released.transitions, released.lease_seconds), (0, 1));
        let next = released.led_by("b", &timing, now);
        assert_eq!((next.transitions, next.holder.as_str()), (1, "b"));
    }
}
