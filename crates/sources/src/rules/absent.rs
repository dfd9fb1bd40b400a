//! Metrics that nobody knows, and how often they are looked for.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A metric that was looked for in vain is not looked for again within this time; then twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// Most names that are remembered: who asks may make them up.
const MOST: usize = 1000;

/// Which metrics were asked for in vain.
#[derive(Debug, Default)]
pub(super) struct Absent {
    /// When a question for a metric counts again, and the pause after that.
    paused: BTreeMap<String, (Instant, Duration)>,
    is_wanted: bool,
}

impl Absent {
    /// Notes that somebody asked for a metric at `now`. Beyond some names nothing is noted: the
    /// regular list will find what there is.
    pub(super) fn miss(&mut self, metric: &str, now: Instant, longest: Duration) {
        if let Some((until, pause)) = self.paused.get_mut(metric) {
            if now < *until {
                return;
            }
            (*until, *pause) = (now + *pause, pause.saturating_mul(2).min(longest));
        } else {
            if self.paused.len() >= MOST {
                self.paused.retain(|_, (until, _)| now < *until);
            }
            if self.paused.len() >= MOST {
                return;
            }
            let pause = FIRST_PAUSE.min(longest);
            let next = pause.saturating_mul(2).min(longest);
            self.paused.insert(metric.to_owned(), (now + pause, next));
        }
        self.is_wanted = true;
    }

    /// Whether the series should be listed for them.
    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted
    }

    /// The series are listed; with new rules everything is looked for anew.
    pub(super) fn listed(&mut self, is_anew: bool) {
        self.is_wanted = false;
        if is_anew {
            self.paused.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Absent, MOST};
    use std::time::Duration;
    use tokio::time::Instant;

    const LONGEST: Duration = Duration::from_secs(600);

    #[test]
    fn what_nobody_knows_is_looked_for_less_and_less() {
        let (mut absent, begun) = (Absent::default(), Instant::now());
        let mut looked = Vec::new();
        for second in (0..3000).step_by(15) {
            absent.miss("theirs", begun + Duration::from_secs(second), LONGEST);
            if absent.is_wanted() {
                looked.push(second);
                absent.listed(false);
            }
        }
        assert_eq!(looked, [0, 30, 90, 210, 450, 930, 1530, 2130, 2730]);
        absent.miss("another", begun, LONGEST);
        assert!(absent.is_wanted());
    }

    #[test]
    fn new_rules_begin_anew() {
        let (mut absent, now) = (Absent::default(), Instant::now());
        absent.miss("m", now, LONGEST);
        absent.listed(true);
        absent.miss("m", now, LONGEST);
        assert!(absent.is_wanted());
    }

    #[test]
    fn names_are_not_remembered_without_bounds() {
        let (mut absent, now) = (Absent::default(), Instant::now());
        for number in 0..MOST + 10 {
            absent.miss(&number.to_string(), now, LONGEST);
        }
        assert_eq!(absent.paused.len(), MOST);
        absent.miss("later", now + LONGEST, LONGEST);
        assert_eq!(absent.paused.len(), 1);
    }
}
