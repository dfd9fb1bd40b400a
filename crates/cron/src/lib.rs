//! Recurring times in cron's notation: `minute hour day-of-month month day-of-week`, or a name
//! such as `@daily`.
//!
//! Parity: the notation and its meaning are those of the parser that CronJobs and KEDA's cron
//! trigger use. A time happens at every instant at which the clocks of its zone show it. So a time
//! that clocks leap over in spring does not happen that day, and one they show twice in autumn
//! happens twice.
//!
//! ```
//! use plimsoll_cron::{Cron, zone};
//!
//! let weekdays: Cron = "0 8 * * MON-FRI".parse()?;
//! let berlin = zone("Europe/Berlin")?;
//! let saturday = "2026-01-03T12:00:00Z".parse()?;
//! let next = weekdays.next(&berlin, saturday).unwrap();
//! assert_eq!(next.to_string(), "2026-01-05T07:00:00Z");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calendar;
mod field;
mod schedule;
mod wording;
mod zone;

pub use schedule::Schedule;
pub use zone::{UnknownZone, zone};

use field::Field;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// How far is looked for a time. The rarest one, a 29th of February, comes every eight years at
/// the turn of some centuries.
const HORIZON: SignedDuration = SignedDuration::from_hours(9 * 366 * 24);

/// A recurring time, to the minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minute: Field,
    hour: Field,
    day: Field,
    month: Field,
    weekday: Field,
}

/// Why a text is no recurring time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// Not five fields.
    #[error("expected 5 fields (minute hour day month weekday), found {0}")]
    Fields(usize),
    /// An unknown `@name`.
    #[error("unknown schedule {0:?}; known are @yearly, @monthly, @weekly, @daily and @hourly")]
    Name(String),
    /// `@every` with no length of time.
    #[error("{0:?} is no length of time such as 1h30m")]
    Length(String),
    /// `TZ=` before the fields.
    #[error("the time zone is a field of its own, not part of the schedule")]
    Zone,
    /// Neither a number nor a name of this field.
    #[error("{text:?} is no {field}")]
    Value {
        /// `minute`.
        field: &'static str,
        /// As written.
        text: String,
    },
    /// A range that leaves the field's values, or runs backwards.
    #[error("{field} range {text:?} is not within {least} to {most} in this order")]
    Range {
        /// `minute`.
        field: &'static str,
        /// As written.
        text: String,
        /// Where it begins.
        first: u8,
        /// Where it ends.
        last: u8,
        /// The field's smallest value.
        least: u8,
        /// Its largest.
        most: u8,
    },
    /// A step of zero, or none.
    #[error("{field} step in {text:?} is no positive number")]
    Step {
        /// `minute`.
        field: &'static str,
        /// As written.
        text: String,
    },
    /// No month it names has a day it names.
    #[error("{0:?} never happens: no such month has such a day")]
    Never(String),
}

impl std::str::FromStr for Cron {
    type Err = CronError;

    fn from_str(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            return Err(CronError::Zone);
        }
        let fields = if text.starts_with('@') {
            named(text).ok_or_else(|| CronError::Name(text.to_owned()))?
        } else {
            text
        };
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(CronError::Fields(fields.len()));
        };
        let cron = Self {
            minute: field::MINUTE.parse(minute)?,
            hour: field::HOUR.parse(hour)?,
            day: field::DAY.parse(day)?,
            month: field::MONTH.parse(month)?,
            weekday: field::WEEKDAY.parse(weekday)?,
        };
        if cron.can_happen() {
            Ok(cron)
        } else {
            Err(CronError::Never(text.to_owned()))
        }
    }
}

/// What an `@name` stands for.
fn named(name: &str) -> Option<&'static str> {
    Some(match name {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return None,
    })
}

impl Cron {
    /// The first time strictly after an instant; `None` past the end of the calendar.
    pub fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let end = after.checked_add(HORIZON).unwrap_or(Timestamp::MAX);
        let mut from = calendar::next_minute(zone.to_offset(after).to_datetime(after))?;
        let mut offset = zone.to_offset(after);
        // Between two changes of the clocks, times and instants go in step.
        for change in zone.following(after) {
            if let Some(found) = self.first_between(from, offset, change.timestamp()) {
                return Some(found);
            }
            if change.timestamp() > end {
                return None;
            }
            offset = change.offset();
            from = calendar::minute_from(offset.to_datetime(change.timestamp()))?;
        }
        self.first_between(from, offset, end)
    }

    /// The last time at or before an instant; `None` before the beginning of the calendar.
    pub fn last(&self, zone: &TimeZone, until: Timestamp) -> Option<Timestamp> {
        let start = until.checked_sub(HORIZON).unwrap_or(Timestamp::MIN);
        let mut end = until;
        loop {
            let offset = zone.to_offset(end);
            // A change at this very instant begins the span that it lies in.
            let just_after = end.checked_add(SignedDuration::from_nanos(1)).ok();
            let change = zone.preceding(just_after.unwrap_or(end)).next();
            let from = change.map_or(Timestamp::MIN, |change| change.timestamp());
            if let Some(found) = self.last_between(from.max(start), offset, end) {
                return Some(found);
            }
            if from <= start {
                return None;
            }
            end = from.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        }
    }

    /// The first time from a local minute on and before an instant, under one offset.
    fn first_between(
        &self,
        from: jiff::civil::DateTime,
        offset: jiff::tz::Offset,
        before: Timestamp,
    ) -> Option<Timestamp> {
        let limit = offset.to_datetime(before);
        let found = self.first_from(from, limit.date())?;
        let found = offset.to_timestamp(found).ok()?;
        (found < before).then_some(found)
    }

    /// The last time from an instant on and at or before another, under one offset.
    fn last_between(
        &self,
        from: Timestamp,
        offset: jiff::tz::Offset,
        until: Timestamp,
    ) -> Option<Timestamp> {
        let limit = offset.to_datetime(from);
        let found = self.last_until(offset.to_datetime(until), limit.date())?;
        let found = offset.to_timestamp(found).ok()?;
        (found >= from).then_some(found)
    }
}
