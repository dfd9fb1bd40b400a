//! Whether the loop still runs: what `/health-check` answers from.

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use std::sync::Arc;

/// Why somebody should restart the process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// Nothing was looked at for too long.
    #[error("Error: last activity more than {0:#} ago")]
    Inactive(SignedDuration),
    /// Every look failed for too long.
    #[error("Error: last successful activity more than {0:#} ago")]
    Failing(SignedDuration),
    /// The first look has not ended.
    #[error("Error: initialization took more than {0:#}")]
    Starting(SignedDuration),
}

/// How long each may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// `--max-inactivity`.
    pub inactivity: SignedDuration,
    /// `--max-failing-time`.
    pub failing: SignedDuration,
    /// `--max-startup-time`.
    pub startup: SignedDuration,
}

#[derive(Debug, Clone, Copy)]
struct Beats {
    started: Timestamp,
    active: Option<Timestamp>,
    succeeded: Option<Timestamp>,
}

/// When looks were made. Clones share it.
#[derive(Debug, Clone)]
pub struct Pulse {
    patience: Patience,
    beats: Arc<Mutex<Beats>>,
}

impl Pulse {
    /// Nothing has been looked at yet.
    pub fn new(patience: Patience, now: Timestamp) -> Self {
        let beats = Beats {
            started: now,
            active: None,
            succeeded: None,
        };
        Self {
            patience,
            beats: Arc::new(Mutex::new(beats)),
        }
    }

    /// A look begins.
    pub(super) fn active(&self, now: Timestamp) {
        self.beats.lock().active = Some(now);
    }

    /// A look has ended well.
    pub(super) fn succeeded(&self, now: Timestamp) {
        let mut beats = self.beats.lock();
        beats.active = Some(now);
        beats.succeeded = Some(now);
    }

    /// Whether all is well.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self, now: Timestamp) -> Result<(), Stuck> {
        let (beats, patience) = (*self.beats.lock(), self.patience);
        let late = |since: Timestamp, limit: SignedDuration| now.duration_since(since) > limit;
        let Some(succeeded) = beats.succeeded else {
            return if late(beats.started, patience.startup) {
                Err(Stuck::Starting(patience.startup))
            } else {
                Ok(())
            };
        };
        if late(beats.active.unwrap_or(beats.started), patience.inactivity) {
            Err(Stuck::Inactive(patience.inactivity))
        } else if late(succeeded, patience.failing) {
            Err(Stuck::Failing(patience.failing))
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_standstill_is_told() {
        let at = |minute: i64| Timestamp::from_second(60 * minute).unwrap();
        let minutes = SignedDuration::from_mins;
        let patience = Patience {
            inactivity: minutes(10),
            failing: minutes(15),
            startup: minutes(20),
        };
        let pulse = Pulse::new(patience, at(0));
        assert_eq!(pulse.check(at(20)), Ok(()));
        assert_eq!(pulse.check(at(21)), Err(Stuck::Starting(minutes(20))));
        pulse.succeeded(at(22));
        assert_eq!(pulse.check(at(32)), Ok(()));
        assert_eq!(pulse.check(at(33)), Err(Stuck::Inactive(minutes(10))));
        pulse.active(at(37));
        assert_eq!(pulse.check(at(37)), Ok(()));
        assert_eq!(pulse.check(at(38)), Err(Stuck::Failing(minutes(15))));
    }
}
