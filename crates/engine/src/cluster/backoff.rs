//! Groups that failed to grow are left alone for a while.

use super::group::GroupId;
use super::plan::SkipReason;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long groups are left alone (upstream's flags).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffOptions {
    /// `--initial-node-group-backoff-duration`.
    pub initial: SignedDuration,
    /// `--max-node-group-backoff-duration`.
    pub max: SignedDuration,
    /// `--node-group-backoff-reset-timeout`: after so long without a failure all is forgotten.
    pub reset_after: SignedDuration,
}

impl Default for BackoffOptions {
    fn default() -> Self {
        Self {
            initial: SignedDuration::from_mins(5),
            max: SignedDuration::from_mins(30),
            reset_after: SignedDuration::from_hours(3),
        }
    }
}

/// One group's failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackoffWindow {
    /// How long the window is.
    pub length: SignedDuration,
    /// When it ends.
    pub until: Timestamp,
    /// When the last failure was.
    pub failed: Timestamp,
    /// The provider's code; empty where there was none.
    pub code: String,
    /// The provider's message.
    pub message: String,
}

/// All groups' failures; kept over restarts as it serializes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Backoff {
    windows: BTreeMap<GroupId, BackoffWindow>,
}

impl Backoff {
    /// Notes a failure. Returns until when the group is left alone.
    ///
    /// The window doubles if the one before had ended, up to the maximum.
    pub fn fail(
        &mut self,
        group: &GroupId,
        now: Timestamp,
        why: (&str, &str),
        options: &BackoffOptions,
    ) -> Timestamp {
        self.forget_old(now, options);
        let before = self.windows.get(group);
        let length = match before {
            // Parity: strictly before; a failure at the very end of a window does not double it.
            Some(window) if window.until < now => {
                let doubled = window.length.checked_mul(2).unwrap_or(options.max);
                doubled.min(options.max)
            }
            Some(window) => window.length,
            None => options.initial,
        };
        let until = now.checked_add(length).unwrap_or(Timestamp::MAX);
        let (code, message) = why;
        let window = BackoffWindow {
            length,
            until,
            failed: now,
            code: code.to_owned(),
            message: message.to_owned(),
        };
        self.windows.insert(GroupId::clone(group), window);
        until
    }

    /// Why the group must not grow now; `None` if it may.
    pub fn active(&self, group: &str, now: Timestamp) -> Option<SkipReason> {
        let window = self.window(group, now)?;
        Some(SkipReason::Backoff {
            code: window.code.clone(),
            message: window.message.clone(),
            until: window.until.to_string(),
        })
    }

    /// The group's window, if it is open.
    pub fn window(&self, group: &str, now: Timestamp) -> Option<&BackoffWindow> {
        self.windows.get(group).filter(|window| window.until > now)
    }

    /// The group grew: nothing is held against it.
    ///
    /// Departs: upstream keeps the window after a success.
    pub fn clear(&mut self, group: &str) {
        self.windows.remove(group);
    }

    /// The group grew as it was asked to at `asked`: failures before that are not held against it.
    ///
    /// Departs: as [`Backoff::clear`].
    pub fn clear_before(&mut self, group: &str, asked: Timestamp) {
        let window = self.windows.get(group);
        if window.is_some_and(|window| window.failed < asked) {
            self.windows.remove(group);
        }
    }

    /// Forgets groups without a failure for so long. Returns whether anything was forgotten.
    pub fn forget_old(&mut self, now: Timestamp, options: &BackoffOptions) -> bool {
        let before = self.windows.len();
        self.windows.retain(|_, window| {
            let forgotten = window.failed.checked_add(options.reset_after);
            forgotten.is_ok_and(|then| then >= now)
        });
        self.windows.len() != before
    }

    /// Forgets groups that are no more.
    pub fn keep(&mut self, exists: impl Fn(&GroupId) -> bool) {
        self.windows.retain(|group, _| exists(group));
    }

    /// Groups with failures that are not forgotten.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupId, &BackoffWindow)> {
        self.windows.iter()
    }

    /// Whether nothing is held against any group.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    #[test]
    fn windows_grow_as_the_worked_example_says() {
        let (mut backoff, options) = (Backoff::default(), BackoffOptions::default());
        let group: GroupId = "ng1".into();
        let failures = [0, 4, 6, 17, 38, 70, 260];
        let ends = [5, 9, 11, 27, 58, 100, 265];
        for (failure, end) in failures.into_iter().zip(ends) {
            let until = backoff.fail(&group, at(failure), ("", ""), &options);
            assert_eq!(until, at(end), "failure at minute {failure}");
        }
    }

    #[test]
    fn a_window_holds_the_group_until_it_ends_or_is_cleared() {
        let (mut backoff, options) = (Backoff::default(), BackoffOptions::default());
        let group: GroupId = "ng1".into();
        backoff.fail(&group, at(0), ("OutOfResources", "no stock"), &options);
        let reason = backoff.active("ng1", at(4)).unwrap();
        assert_eq!(reason.to_string(), "in backoff after failed scale-up");
        assert!(matches!(reason, SkipReason::Backoff { code, .. } if code == "OutOfResources"));
        assert_eq!(backoff.active("ng1", at(5)), None);
        assert_eq!(backoff.active("other", at(0)), None);
        backoff.clear("ng1");
        assert_eq!(backoff.active("ng1", at(1)), None);
    }

    #[test]
    fn it_is_read_back_as_it_was_written() {
        let (mut backoff, options) = (Backoff::default(), BackoffOptions::default());
        backoff.fail(&"ng1".into(), at(0), ("c", "m"), &options);
        let text = serde_json::to_string(&backoff).unwrap();
        assert_eq!(
            serde_json::from_str::<Backoff>(&text).unwrap(),
            backoff,
            "{text}"
        );
        assert!(!backoff.forget_old(at(180), &options));
        assert!(backoff.forget_old(at(181), &options) && backoff.is_empty());
    }
}
