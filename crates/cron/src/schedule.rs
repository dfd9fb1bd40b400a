//! Schedules as CronJobs write them: recurring times, or `@every 90m`.

use super::{Cron, CronError};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// When something happens again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At the times that a clock shows.
    Times(Cron),
    /// So long after the last time, in whole seconds, at least one.
    Every(SignedDuration),
}

impl std::str::FromStr for Schedule {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        match text.trim().strip_prefix("@every ") {
            None => text.parse().map(Self::Times),
            Some(length) => every(length).ok_or_else(|| CronError::Length(length.to_owned())),
        }
    }
}

fn every(length: &str) -> Option<Schedule> {
    let whole = duration(length)?.as_secs();
    Some(Schedule::Every(SignedDuration::from_secs(whole.max(1))))
}

/// A length of time as Go writes it: `1h30m`, `-1.5h`, `100ms`.
fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.');
        let (unit, tail) = tail.split_at_checked(letters.unwrap_or(tail.len()))?;
        let number: f64 = number.parse().ok()?;
        seconds += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = tail;
    }
    if text.is_empty() || seconds > 9.2e9 {
        return None;
    }
    SignedDuration::try_from_secs_f64(sign * seconds).ok()
}

impl Schedule {
    /// The first time strictly after an instant; `None` past the end of the calendar.
    pub fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Times(cron) => cron.next(zone, after),
            Self::Every(length) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                whole.checked_add(*length).ok()
            }
        }
    }

    /// The last time after one instant and not after another.
    pub fn last_between(
        &self,
        zone: &TimeZone,
        after: Timestamp,
        until: Timestamp,
    ) -> Option<Timestamp> {
        match self {
            Self::Times(cron) => cron.last(zone, until).filter(|last| *last > after),
            Self::Every(length) => {
                let start = after.as_second();
                let periods = until.as_second().checked_sub(start)? / length.as_secs();
                let last = start.checked_add(periods.checked_mul(length.as_secs())?)?;
                let last = Timestamp::from_second(last).ok()?;
                (periods > 0).then_some(last)
            }
        }
    }
}
