//! Pauses between replacements of pods that fail again and again.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FIRST: SignedDuration = SignedDuration::from_secs(1);
const LAST: SignedDuration = SignedDuration::from_mins(15);
/// A node without failures for this long starts anew.
const FORGOTTEN: SignedDuration = SignedDuration::from_mins(30);

/// A node of a DaemonSet: the set's uid and the node's name.
pub(super) type Where = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Pause {
    since: Timestamp,
    lasts: SignedDuration,
}

/// The pauses under way.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    pauses: BTreeMap<Where, Pause>,
}

impl Backoff {
    /// Whether a pause is under way.
    pub(super) fn lasts(&self, place: &Where, now: Timestamp) -> bool {
        let pause = self.pauses.get(place);
        pause.is_some_and(|pause| now.duration_since(pause.since) < pause.lasts)
    }

    /// Notes a failure, if no pause is under way.
    ///
    /// # Errors
    /// How long the pause still lasts.
    pub(super) fn failed(&mut self, place: &Where, now: Timestamp) -> Result<(), Duration> {
        let lasts = match self.pauses.get(place) {
            Some(pause) if now.duration_since(pause.since) < pause.lasts => {
                let left = pause.lasts - now.duration_since(pause.since);
                return Err(Duration::try_from(left).unwrap_or_default());
            }
            Some(pause) if now.duration_since(pause.since) <= FORGOTTEN => {
                pause.lasts.saturating_mul(2).min(LAST)
            }
            Some(_) | None => FIRST,
        };
        self.pauses
            .retain(|_, pause| now.duration_since(pause.since) <= FORGOTTEN);
        let pause = Pause { since: now, lasts };
        self.pauses.insert(place.clone(), pause);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use jiff::{SignedDuration, Timestamp};
    use std::time::Duration;

    #[test]
    fn pauses_double_up_to_a_quarter_of_an_hour_and_are_forgotten() {
        let mut backoff = Backoff::default();
        let place = ("set".into(), "node".into());
        let mut now = Timestamp::UNIX_EPOCH;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            assert!(!backoff.lasts(&place, now));
            assert_eq!(backoff.failed(&place, now), Ok(()));
            assert!(backoff.lasts(&place, now));
            let left = backoff.failed(&place, now).unwrap_err();
            pauses.push(left.as_secs());
            now += SignedDuration::try_from(left).unwrap();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        now += SignedDuration::from_mins(31);
        assert_eq!(backoff.failed(&place, now), Ok(()));
        assert_eq!(backoff.failed(&place, now), Err(Duration::from_secs(1)));
        let other = ("set".into(), "other".into());
        assert_eq!(backoff.failed(&other, now), Ok(()));
    }
}
