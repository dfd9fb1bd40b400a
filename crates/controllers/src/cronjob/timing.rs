//! For which time a Job is due, and when to look again.

use super::view::CronJobView;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::cron::{CronError, Schedule, zone};
use std::time::Duration;

/// More missed starts than this are told.
const MANY: usize = 100;
/// How long after its time a Job starts at the earliest, so that clocks agree that it is time.
const SKEW: Duration = Duration::from_millis(100);

/// Why nothing can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// There is no such time zone.
    Zone(String),
    /// The schedule is none.
    Schedule(CronError),
}

/// When Jobs start.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    schedule: Schedule,
    pub(super) zone: TimeZone,
}

/// A start that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// The time it was planned for: the last one of those missed.
    pub(super) at: Timestamp,
    /// Whether suspiciously many were missed.
    pub(super) many_missed: bool,
    /// Whether it is too late for it.
    pub(super) too_late: bool,
}

impl Timing {
    /// Reads schedule and time zone.
    pub(super) fn of(cron_job: &CronJobView) -> Result<Self, Unusable> {
        let name = cron_job.spec.time_zone.as_deref();
        let zone = name.map_or(Ok(TimeZone::UTC), zone);
        let zone = zone.map_err(|unknown| Unusable::Zone(unknown.0))?;
        let (schedule, zone) = match prefixed(&cron_job.spec.schedule) {
            Some((name, fields)) if cron_job.spec.time_zone.is_none() => (
                fields,
                self::zone(name).map_err(|unknown| Unusable::Zone(unknown.0))?,
            ),
            _ => (&*cron_job.spec.schedule, zone),
        };
        let schedule = schedule.parse().map_err(Unusable::Schedule)?;
        Ok(Self { schedule, zone })
    }

    /// The start that is due, if one is.
    pub(super) fn due(&self, cron_job: &CronJobView, now: Timestamp) -> Option<Due> {
        let last = cron_job.status.last_schedule_time;
        let since = last.or(cron_job.meta.created)?;
        let deadline = cron_job.spec.starting_deadline_seconds;
        let reach = deadline.and_then(|seconds| {
            let deadline = SignedDuration::from_secs(seconds);
            now.checked_sub(deadline).ok()
        });
        let at = self.schedule.last_between(&self.zone, since, now)?;
        // Departs: upstream passes over such a start in silence.
        if reach.is_some_and(|reach| at < reach) {
            return Some(Due {
                at,
                many_missed: false,
                too_late: true,
            });
        }
        // Only starts that are not too late count as missed.
        let after = reach.map_or(since, |reach| since.max(reach));
        let next = |time: &Timestamp| self.schedule.next(&self.zone, *time);
        let missed = std::iter::successors(next(&after), next).take_while(|time| *time <= now);
        Some(Due {
            at,
            many_missed: missed.take(MANY + 1).count() > MANY,
            too_late: false,
        })
    }

    /// How long until the next start.
    pub(super) fn wait(&self, now: Timestamp) -> Option<Duration> {
        let next = self.schedule.next(&self.zone, now)?;
        let wait = Duration::try_from(next.duration_since(now)).unwrap_or_default();
        Some(wait + SKEW)
    }

    /// A time as its zone's clocks show it, e.g. `2026-01-01T08:00:00+01:00`.
    pub(super) fn shown(&self, at: Timestamp) -> String {
        let local = at.to_zoned(self.zone.clone());
        let pattern = if local.offset().is_zero() {
            "%Y-%m-%dT%H:%M:%SZ"
        } else {
            "%Y-%m-%dT%H:%M:%S%:z"
        };
        local.strftime(pattern).to_string()
    }
}

/// Objects from before `timeZone` may have their zone in the schedule.
fn prefixed(schedule: &str) -> Option<(&str, &str)> {
    let zoned = schedule.trim();
    let zoned = zoned
        .strip_prefix("TZ=")
        .or(zoned.strip_prefix("CRON_TZ="))?;
    zoned.split_once(' ')
}

/// As upstream's events show a time: `Thu, 01 Jan 1970 00:01:00 +0000`.
pub(super) fn in_words(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

#[cfg(test)]
#[path = "timing_tests.rs"]
mod tests;
