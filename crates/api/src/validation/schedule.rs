//! When a CronJob starts.

use super::scope::{Errors, Scope};
use plimsoll_cron::{CronError, Schedule, zone};

/// The schedule and its time zone. A zone within the schedule is only kept where there was one.
pub(super) fn schedule(spec: &Scope<'_>, old: Option<&Scope<'_>>, errors: &mut Errors) {
    let schedule = spec.at("schedule");
    if schedule.require(errors) {
        let was_zoned = old.is_some_and(|old| old.at("schedule").text().contains("TZ"));
        format(&schedule, was_zoned, errors);
        if was_zoned && schedule.text().contains("TZ") && spec.at("timeZone").present() {
            let why = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
            errors.push(schedule.invalid(why));
        }
    }
    let zone = spec.at("timeZone");
    if old.is_none_or(|old| old.at("timeZone").value != zone.value) {
        time_zone(&zone, errors);
    }
}

fn format(schedule: &Scope<'_>, was_zoned: bool, errors: &mut Errors) {
    let text = schedule.text();
    let trimmed = text.trim_start();
    let zoned = trimmed
        .strip_prefix("TZ=")
        .or(trimmed.strip_prefix("CRON_TZ="));
    let fields = zoned.map_or(text, |rest| rest.split_once(' ').map_or("", |(_, f)| f));
    match fields.parse::<Schedule>() {
        // One that never happens is a schedule all the same.
        Ok(_) | Err(CronError::Never(_)) => {}
        Err(error) => errors.push(schedule.invalid(error.upstream(fields))),
    }
    if text.contains("TZ") && !was_zoned {
        let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
        errors.push(schedule.invalid(why));
    }
}

fn time_zone(field: &Scope<'_>, errors: &mut Errors) {
    if !field.present() {
        return;
    }
    let name = field.text();
    if name.is_empty() {
        errors.push(field.invalid("timeZone must be nil or non-empty string"));
    } else if name.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in \
                   https://www.iana.org/time-zones";
        errors.push(field.invalid(why));
    } else if zone(name).is_err() {
        errors.push(field.invalid(format!("unknown time zone {name}")));
    }
}
