//! Schedules: bounds that are in force at some times only. Beyond what a
//! `HorizontalPodAutoscaler` has.
//!
//! A schedule is in force from each start to the first end after it. Of those in force, the
//! largest minimum raises the floor and the smallest maximum lowers the ceiling; where floor and
//! ceiling cross, the ceiling wins, because a maximum is a promise not to exceed it.

use super::limit::Range;
use super::trace::{Step, Window};
use crate::cron::{Cron, CronError, UnknownZone, zone};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::sync::Arc;

/// A recurring time with bounds of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(from = "Written")]
pub struct Schedule {
    /// For messages.
    pub name: Arc<str>,
    /// The lower bound meanwhile.
    pub min_replicas: Option<i32>,
    /// The upper bound meanwhile.
    pub max_replicas: Option<i32>,
    /// When, or why that cannot be read.
    pub recurrence: Result<Recurrence, ScheduleError>,
}

/// When a schedule is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct Recurrence {
    start: Cron,
    end: End,
    zone: TimeZone,
}

/// How a schedule ends.
#[derive(Debug, Clone, PartialEq)]
enum End {
    /// At a recurring time.
    At(Cron),
    /// So long after each start.
    After(SignedDuration),
}

/// Why a schedule has no meaning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// The start is no recurring time.
    #[error("start: {0}")]
    Start(CronError),
    /// The end is none.
    #[error("end: {0}")]
    End(CronError),
    /// The duration is no length of time above zero.
    #[error("duration: {0:?} is no length of time such as 2h30m")]
    Duration(String),
    /// Neither end nor duration, or both.
    #[error("exactly one of end and duration must be given")]
    Ends,
    /// No such time zone.
    #[error("timeZone: {0}")]
    Zone(UnknownZone),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    name: String,
    #[serde(default)]
    start: String,
    end: Option<String>,
    duration: Option<String>,
    time_zone: Option<String>,
    min_replicas: Option<i32>,
    max_replicas: Option<i32>,
}

impl From<Written> for Schedule {
    fn from(written: Written) -> Self {
        Self {
            recurrence: recurrence(&written),
            name: written.name.into(),
            min_replicas: written.min_replicas,
            max_replicas: written.max_replicas,
        }
    }
}

fn recurrence(written: &Written) -> Result<Recurrence, ScheduleError> {
    let end = match (&written.end, &written.duration) {
        (Some(end), None) => End::At(end.parse().map_err(ScheduleError::End)?),
        (None, Some(length)) => {
            let read = length.parse::<SignedDuration>().ok();
            let read = read.filter(SignedDuration::is_positive);
            End::After(read.ok_or_else(|| ScheduleError::Duration(length.clone()))?)
        }
        (None, None) | (Some(_), Some(_)) => return Err(ScheduleError::Ends),
    };
    let name = written.time_zone.as_deref().filter(|name| !name.is_empty());
    Ok(Recurrence {
        start: written.start.parse().map_err(ScheduleError::Start)?,
        end,
        zone: zone(name.unwrap_or("UTC")).map_err(ScheduleError::Zone)?,
    })
}

/// Whether something is in force, and the next time that may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// Whether it is in force.
    pub active: bool,
    /// The end if it is in force, else the next start. `None` past the end of the calendar.
    pub changes: Option<Timestamp>,
}

impl Recurrence {
    /// The state at an instant: in force at the very start, no longer at the very end.
    ///
    /// Departs: KEDA's cron trigger asks which comes next, start or end. Where starts repeat inside
    /// a window, as `*/5` does, that is not in force until the last of them. Here it is from the
    /// first.
    pub fn at(&self, now: Timestamp) -> State {
        let started = self.start.last(&self.zone, now);
        let (active, end) = match &self.end {
            End::At(end) => {
                let ended = end.last(&self.zone, now);
                // A start at the moment of an end goes on.
                let active = started.is_some() && started >= ended;
                (active, active.then(|| end.next(&self.zone, now)).flatten())
            }
            End::After(length) => {
                let end = started.and_then(|started| started.checked_add(*length).ok());
                (end.is_some_and(|end| end > now), end)
            }
        };
        let changes = if active {
            end
        } else {
            self.start.next(&self.zone, now)
        };
        State { active, changes }
    }
}

/// The bounds that hold at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// The bounds.
    pub range: Range,
    /// The schedules in force.
    pub windows: Vec<Window>,
    /// The next start of one that is not: its name and when.
    pub upcoming: Option<(Arc<str>, Timestamp)>,
    /// Those that cannot be read, and why.
    pub broken: Vec<(Arc<str>, ScheduleError)>,
}

impl InForce {
    /// The bounds of a spec and its schedules.
    pub fn of(bounds: Range, schedules: &[Schedule], now: Timestamp) -> Self {
        let mut found = Self {
            range: bounds,
            windows: Vec::new(),
            upcoming: None,
            broken: Vec::new(),
        };
        for schedule in schedules {
            found.add(schedule, now);
        }
        found.range.min = found.range.min.min(found.range.max);
        found
    }

    fn add(&mut self, schedule: &Schedule, now: Timestamp) {
        let name = Arc::clone(&schedule.name);
        let state = match &schedule.recurrence {
            Ok(recurrence) => recurrence.at(now),
            Err(error) => return self.broken.push((name, error.clone())),
        };
        if state.active {
            let (min, max) = (schedule.min_replicas, schedule.max_replicas);
            self.range.min = min.map_or(self.range.min, |min| min.max(self.range.min));
            self.range.max = max.map_or(self.range.max, |max| max.min(self.range.max));
            self.windows.push(Window {
                name,
                min,
                max,
                until: state.changes,
            });
        } else if let Some(start) = state.changes
            && self.upcoming.as_ref().is_none_or(|(_, at)| start < *at)
        {
            self.upcoming = Some((name, start));
        }
    }

    /// When the bounds may change next.
    pub fn next_change(&self) -> Option<Timestamp> {
        let ends = self.windows.iter().filter_map(|window| window.until);
        ends.chain(self.upcoming.as_ref().map(|(_, at)| *at)).min()
    }

    /// The schedule that raises the floor above this.
    pub(super) fn raising(&self, bounds: Range) -> Option<&Window> {
        let min = self.range.min;
        let mut windows = self.windows.iter().filter(|_| min > bounds.min);
        windows.find(|window| window.min.is_some_and(|own| own >= min))
    }

    /// The schedule that lowers the ceiling below this.
    pub(super) fn bounding(&self, bounds: Range) -> Option<&Window> {
        let max = self.range.max;
        let mut windows = self.windows.iter().filter(|_| max < bounds.max);
        windows.find(|window| window.max.is_some_and(|own| own <= max))
    }
}

/// What a step says about schedules; nothing for other steps.
pub(super) fn sentence(step: &Step) -> String {
    if let Step::Unscheduled { name, error } = step {
        return format!("schedule {name:?} is left out: {error}");
    }
    let Step::Scheduled {
        windows,
        upcoming,
        begins,
    } = step
    else {
        return String::new();
    };
    let active = windows.iter().map(window).collect::<Vec<_>>().join("; ");
    let next = match (upcoming, *begins) {
        (Some(name), Some(at)) => format!("schedule {name:?} begins at {at}"),
        _ => "none begins again".to_owned(),
    };
    match (active.is_empty(), upcoming) {
        (true, _) => format!("no schedule in force; {next}"),
        (false, None) => active,
        (false, Some(_)) => format!("{active}; {next}"),
    }
}

/// `schedule "day" until 2026-01-01T17:00:00Z: at least 5`
fn window(window: &Window) -> String {
    let Window {
        name,
        min,
        max,
        until,
    } = window;
    let until = until.map_or_else(|| "for ever".to_owned(), |until| format!("until {until}"));
    let bounds = match (min, max) {
        (Some(min), Some(max)) => format!("at least {min}, at most {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "no bounds".to_owned(),
    };
    format!("schedule {name:?} {until}: {bounds}")
}
