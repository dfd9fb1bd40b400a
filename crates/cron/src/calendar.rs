//! Finding matching local times, before any time zone comes into it.

use super::Cron;
use jiff::ToSpan;
use jiff::civil::{Date, DateTime};

/// Days that each month has at most.
const LONGEST: [i8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// The whole minute after a time.
pub(super) fn next_minute(time: DateTime) -> Option<DateTime> {
    whole(time)?.checked_add(1.minute()).ok()
}

/// The first whole minute that is not before a time.
pub(super) fn minute_from(time: DateTime) -> Option<DateTime> {
    let whole = whole(time)?;
    if whole == time {
        Some(whole)
    } else {
        whole.checked_add(1.minute()).ok()
    }
}

fn whole(time: DateTime) -> Option<DateTime> {
    time.with().second(0).subsec_nanosecond(0).build().ok()
}

impl Cron {
    /// Whether some month it names has a day it names.
    pub(super) fn can_happen(&self) -> bool {
        // A restricted weekday is enough on its own, unless it comes on top of any day.
        if !self.weekday.any {
            return true;
        }
        let months = LONGEST.iter().zip(1_i8..);
        let mut longest = months
            .filter(|(_, month)| self.month.has(*month))
            .map(|(days, _)| *days);
        longest.any(|days| self.day.at_most(days).is_some())
    }

    fn on(&self, date: Date) -> bool {
        if !self.month.has(date.month()) {
            return false;
        }
        let day = self.day.has(date.day());
        let weekday = self.weekday.has(date.weekday().to_sunday_zero_offset());
        if self.day.any || self.weekday.any {
            day && weekday
        } else {
            day || weekday
        }
    }

    /// The first match from a whole minute on, up to a day.
    pub(super) fn first_from(&self, from: DateTime, last_day: Date) -> Option<DateTime> {
        if self.on(from.date())
            && let Some(time) = self.first_in_day(from)
        {
            return Some(time);
        }
        let mut date = from.date();
        while date < last_day {
            date = if self.month.has(date.month()) {
                date.tomorrow().ok()?
            } else {
                date.last_of_month().tomorrow().ok()?
            };
            if self.on(date) {
                return self.first_in_day(date.at(0, 0, 0, 0));
            }
        }
        None
    }

    fn first_in_day(&self, from: DateTime) -> Option<DateTime> {
        if self.hour.has(from.hour())
            && let Some(minute) = self.minute.at_least(from.minute())
        {
            return Some(from.date().at(from.hour(), minute, 0, 0));
        }
        let hour = self.hour.at_least(from.hour().checked_add(1)?)?;
        Some(from.date().at(hour, self.minute.at_least(0)?, 0, 0))
    }

    /// The last match at or before a time, back to a day.
    pub(super) fn last_until(&self, until: DateTime, first_day: Date) -> Option<DateTime> {
        if self.on(until.date())
            && let Some(time) = self.last_in_day(until)
        {
            return Some(time);
        }
        let mut date = until.date();
        while date > first_day {
            date = if self.month.has(date.month()) {
                date.yesterday().ok()?
            } else {
                date.first_of_month().yesterday().ok()?
            };
            if self.on(date) {
                return self.last_in_day(date.at(23, 59, 0, 0));
            }
        }
        None
    }

    fn last_in_day(&self, until: DateTime) -> Option<DateTime> {
        if self.hour.has(until.hour())
            && let Some(minute) = self.minute.at_most(until.minute())
        {
            return Some(until.date().at(until.hour(), minute, 0, 0));
        }
        let hour = self.hour.at_most(until.hour().checked_sub(1)?)?;
        Some(until.date().at(hour, self.minute.at_most(59)?, 0, 0))
    }
}
