//! Recurring times: the notation, the calendar and the clocks' changes.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected should stop there"
)]

use jiff::Timestamp;
use jiff::tz::TimeZone;
use plimsoll_cron::{Cron, CronError, Schedule, zone};
use proptest::prelude::*;
use rstest::rstest;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cron(text: &str) -> Cron {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[rstest]
#[case::every_minute("* * * * *", "2026-01-01T00:00:59Z", "2026-01-01T00:01:00Z")]
#[case::strictly_later("0 * * * *", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z")]
#[case::a_fraction_later("0 1 * * *", "2026-01-01T00:59:59.999999999Z", "2026-01-01T01:00:00Z")]
#[case::a_list("5,35 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:35:00Z")]
#[case::a_range("0 9-11 * * *", "2026-01-01T11:30:00Z", "2026-01-02T09:00:00Z")]
#[case::a_step("*/20 * * * *", "2026-01-01T00:41:00Z", "2026-01-01T01:00:00Z")]
#[case::a_step_in_a_range("0-30/15 * * * *", "2026-01-01T00:30:00Z", "2026-01-01T01:00:00Z")]
#[case::a_step_from_a_value("50/5 * * * *", "2026-01-01T00:51:00Z", "2026-01-01T00:55:00Z")]
#[case::names("0 0 * FEB Mon", "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z")]
#[case::a_range_of_names("0 0 * * fri-SAT", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")]
#[case::a_question_mark("0 0 ? * 1", "2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z")]
#[case::day_or_weekday("0 0 13 * 5", "2026-01-10T00:00:00Z", "2026-01-13T00:00:00Z")]
#[case::weekday_or_day("0 0 13 * 5", "2026-01-13T00:00:00Z", "2026-01-16T00:00:00Z")]
#[case::a_stepped_day_restricts("0 0 */31 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")]
#[case::short_months_are_passed("0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z")]
#[case::a_leap_day("0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z")]
#[case::a_leap_day_over_1900s("0 0 29 2 *", "2096-02-29T00:00:00Z", "2104-02-29T00:00:00Z")]
#[case::yearly("@yearly", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z")]
#[case::annually("@annually", "2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z")]
#[case::monthly("@monthly", "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")]
#[case::weekly("@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z")]
#[case::daily("@daily", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")]
#[case::midnight("@midnight", "2026-01-01T23:59:00Z", "2026-01-02T00:00:00Z")]
#[case::hourly("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")]
#[case::blanks("  0\t12  * * *  ", "2026-01-01T00:00:00Z", "2026-01-01T12:00:00Z")]
fn the_next_time(#[case] text: &str, #[case] after: &str, #[case] want: &str) {
    let got = cron(text).next(&TimeZone::UTC, at(after)).unwrap();
    assert_eq!(got, at(want));
    assert_eq!(cron(text).last(&TimeZone::UTC, got), Some(got));
}

/// New York leaps from 2 to 3 on 2026-03-08 at 07:00Z and repeats 1 to 2 on 2026-11-01 at 06:00Z.
#[rstest]
#[case::a_time_leapt_over("30 2 * * *", "2026-03-07T12:00:00Z", "2026-03-09T06:30:00Z")]
#[case::the_hour_after_the_leap("0 * * * *", "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z")]
#[case::the_day_of_the_leap("0 3 * * *", "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z")]
#[case::before_the_leap("59 1 * * *", "2026-03-08T05:00:00Z", "2026-03-08T06:59:00Z")]
#[case::first_of_a_repeated_time("30 1 * * *", "2026-11-01T04:00:00Z", "2026-11-01T05:30:00Z")]
#[case::second_of_a_repeated_time("30 1 * * *", "2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z")]
#[case::after_a_repeated_time("30 1 * * *", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z")]
#[case::every_hour_of_a_long_day("0 * * * *", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z")]
#[case::after_the_repeat("0 2 * * *", "2026-10-31T12:00:00Z", "2026-11-01T07:00:00Z")]
fn clocks_change_in_new_york(#[case] text: &str, #[case] after: &str, #[case] want: &str) {
    let zone = zone("America/New_York").unwrap();
    let got = cron(text).next(&zone, at(after)).unwrap();
    assert_eq!(got, at(want));
    assert_eq!(cron(text).last(&zone, got), Some(got));
}

#[rstest]
#[case::a_midnight_that_never_was(
    "America/Sao_Paulo",
    "0 0 * * *",
    "2018-11-03T12:00:00Z",
    "2018-11-05T02:00:00Z"
)]
#[case::half_an_hour(
    "Australia/Lord_Howe",
    "15 2 * * *",
    "2026-10-03T12:00:00Z",
    "2026-10-04T15:15:00Z"
)]
#[case::a_day_that_never_was(
    "Pacific/Apia",
    "0 12 30 12 *",
    "2011-12-01T00:00:00Z",
    "2012-12-29T22:00:00Z"
)]
#[case::no_changes(
    "Asia/Seoul",
    "0 9 * * *",
    "2026-01-01T00:00:00Z",
    "2026-01-02T00:00:00Z"
)]
fn clocks_change_elsewhere(
    #[case] name: &str,
    #[case] text: &str,
    #[case] after: &str,
    #[case] want: &str,
) {
    let got = cron(text).next(&zone(name).unwrap(), at(after));
    assert_eq!(got, Some(at(want)));
}

#[rstest]
#[case::nothing("", CronError::Fields(0))]
#[case::four_fields("* * * *", CronError::Fields(4))]
#[case::six_fields("0 * * * * *", CronError::Fields(6))]
#[case::an_interval("@every 1h", CronError::Name("@every 1h".into()))]
#[case::a_zone("TZ=Asia/Tokyo 0 8 * * *", CronError::Zone)]
#[case::never("0 0 30 2 *", CronError::Never("0 0 30 2 *".into()))]
fn no_recurring_time(#[case] text: &str, #[case] want: CronError) {
    assert_eq!(text.parse::<Cron>(), Err(want));
}

#[rstest]
#[case::too_late(
    "60 * * * *",
    "minute range \"60\" is not within 0 to 59 in this order"
)]
#[case::no_day_zero(
    "* * 0 * *",
    "day of the month range \"0\" is not within 1 to 31 in this order"
)]
#[case::no_month_13("* * * 13 *", "month range \"13\" is not within 1 to 12 in this order")]
#[case::sunday_is_zero(
    "* * * * 7",
    "day of the week range \"7\" is not within 0 to 6 in this order"
)]
#[case::backwards(
    "* 5-1 * * *",
    "hour range \"5-1\" is not within 0 to 23 in this order"
)]
#[case::huge(
    "99999999999999999999 * * * *",
    "minute range \"99999999999999999999\" is not within 0 to 59 in this order"
)]
#[case::no_step("*/0 * * * *", "minute step in \"*/0\" is no positive number")]
#[case::a_negative_step("*/-1 * * * *", "minute step in \"*/-1\" is no positive number")]
#[case::two_steps("*/1/1 * * * *", "minute step in \"*/1/1\" is no positive number")]
#[case::an_empty_item("1,,2 * * * *", "\"\" is no minute")]
#[case::a_name_of_another_field("* * * mon *", "\"mon\" is no month")]
#[case::a_sign("+5 * * * *", "\"+5\" is no minute")]
#[case::a_half_open_range("5- * * * *", "\"\" is no minute")]
fn a_field_that_makes_no_sense(#[case] text: &str, #[case] why: &str) {
    assert_eq!(text.parse::<Cron>().unwrap_err().to_string(), why);
}

#[test]
fn zones_have_the_databases_names() {
    assert!(zone("Europe/Berlin").is_ok());
    assert!(zone("Etc/GMT+5").is_ok());
    for unknown in ["", "Local", "Berlin", "../etc/passwd", "Europe/Berlin\0"] {
        assert!(zone(unknown).is_err(), "{unknown:?}");
    }
}

#[test]
fn the_calendar_has_ends() {
    let cron = cron("0 0 * * *");
    assert_eq!(cron.next(&TimeZone::UTC, Timestamp::MAX), None);
    assert_eq!(cron.last(&TimeZone::UTC, Timestamp::MIN), None);
}

const ZONES: [&str; 7] = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Asia/Kathmandu",
];

/// A field with values from `least` to `most`.
fn field(least: u8, most: u8) -> impl Strategy<Value = String> {
    let value = least..=most;
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => value.clone().prop_map(|value| value.to_string()),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => (value.clone(), value.clone()).prop_map(|(a, b)| format!("{a},{b}")),
        1 => (1..=most).prop_map(|step| format!("*/{step}")),
        1 => (value, 1..=most).prop_map(|(from, step)| format!("{from}/{step}")),
    ]
}

fn crons() -> impl Strategy<Value = String> {
    // Days up to 28 so that every one of them happens.
    let fields = (
        field(0, 59),
        field(0, 23),
        field(1, 28),
        field(1, 12),
        field(0, 6),
    );
    fields.prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}"))
}

/// Seconds around the years 2005 to 2035.
fn instants() -> impl Strategy<Value = Timestamp> {
    (1_104_537_600_i64..2_051_222_400, 0_i32..1_000_000_000)
        .prop_map(|(seconds, nanos)| Timestamp::new(seconds, nanos).unwrap())
}

proptest! {
    #[test]
    fn the_last_time_before_the_next_is_not_after_now(
        text in crons(), name in prop::sample::select(&ZONES[..]), now in instants(),
    ) {
        let (cron, zone) = (cron(&text), zone(name).unwrap());
        let next = cron.next(&zone, now).unwrap();
        prop_assert!(next > now);
        prop_assert_eq!(cron.last(&zone, next), Some(next));
        // Nothing lies between: the two directions see the same times.
        let before = cron.last(&zone, now).unwrap();
        prop_assert!(before <= now);
        prop_assert_eq!(cron.next(&zone, before), Some(next));
        let a_moment_earlier = next.checked_sub(jiff::SignedDuration::from_nanos(1)).unwrap();
        prop_assert_eq!(cron.last(&zone, a_moment_earlier), Some(before));
    }

    #[test]
    fn no_minute_is_skipped(
        text in crons(), name in prop::sample::select(&ZONES[..]), now in instants(),
    ) {
        let (cron, zone) = (cron(&text), zone(name).unwrap());
        let next = cron.next(&zone, now).unwrap();
        // The clock shows every time that happens, and the minutes on the way do not match.
        let minute = |time: Timestamp| zone.to_datetime(time);
        prop_assert_eq!(minute(next).second(), 0);
        let mut step = now;
        for _ in 0..600 {
            step = step.checked_add(jiff::SignedDuration::from_mins(1)).unwrap();
            if step >= next {
                break;
            }
            let shown = minute(step);
            let exactly = format!(
                "{} {} {} {} *", shown.minute(), shown.hour(), shown.day(), shown.month()
            );
            prop_assert!(!covers(&text, shown), "{exactly} is before {next}");
        }
    }

    #[test]
    fn garbage_is_refused_or_read(text in "\\PC{0,40}", now in instants()) {
        if let Ok(cron) = text.parse::<Cron>() {
            cron.next(&TimeZone::UTC, now);
            cron.last(&TimeZone::UTC, now);
        }
    }

    #[test]
    fn near_garbage_is_refused_or_read(text in "[0-9*?,/@A-Za-z -]{1,30}", now in instants()) {
        if let Ok(cron) = text.parse::<Cron>() {
            prop_assert!(cron.next(&TimeZone::UTC, now).is_some());
        }
    }
}

/// Whether a local time matches, read in the most naive way.
fn covers(text: &str, time: jiff::civil::DateTime) -> bool {
    let fields: Vec<&str> = text.split(' ').collect();
    let matches = |field: &str, value: i8, most: i8| {
        field.split(',').any(|part| {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            let number = |text: &str| text.parse::<i8>().unwrap();
            let least = i8::from(most == 31 || most == 12);
            let (low, high) = match range.split_once('-') {
                Some((low, high)) => (number(low), number(high)),
                None if range == "*" => (least, most),
                None if part.contains('/') => (number(range), most),
                None => (number(range), number(range)),
            };
            (low..=high).contains(&value) && (value - low) % number(step) == 0
        })
    };
    let weekday = time.weekday().to_sunday_zero_offset();
    let any = |field: &str| field == "*" || field == "*/1";
    let day = matches(fields[2], time.day(), 31);
    let of_week = matches(fields[4], weekday, 6);
    let on = if any(fields[2]) || any(fields[4]) {
        day && of_week
    } else {
        day || of_week
    };
    matches(fields[0], time.minute(), 59)
        && matches(fields[1], time.hour(), 23)
        && matches(fields[3], time.month(), 12)
        && on
}

#[rstest]
#[case::every("@every 1h30m", "2026-01-01T00:00:00.5Z", "2026-01-01T01:30:00Z")]
#[case::fractions("@every 1.5m", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z")]
#[case::at_least_a_second("@every 100ms", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z")]
#[case::times("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z")]
fn schedules_go_on(#[case] text: &str, #[case] after: &str, #[case] want: &str) {
    let schedule: Schedule = text.parse().unwrap();
    assert_eq!(schedule.next(&TimeZone::UTC, at(after)), Some(at(want)));
}

#[rstest]
#[case::nothing("@every ")]
#[case::no_unit("@every 5")]
#[case::no_number("@every h")]
#[case::another_unit("@every 5d")]
#[case::huge("@every 99999999999h")]
fn no_length_of_time(#[case] text: &str) {
    let length = text.strip_prefix("@every ").unwrap().trim();
    let error = text.parse::<Schedule>().unwrap_err();
    let names = [
        CronError::Length(length.to_owned()),
        CronError::Name(text.trim().to_owned()),
    ];
    assert!(names.contains(&error), "{error:?}");
}

proptest! {
    #[test]
    fn the_last_of_a_schedule_is_the_last_that_next_finds(
        minutes in 1_i64..50, now in instants(), back in 1_i64..100_000,
    ) {
        let after = now.checked_sub(jiff::SignedDuration::from_secs(back)).unwrap();
        for text in [format!("@every {minutes}m"), format!("*/{minutes} * * * *")] {
            let schedule: Schedule = text.parse().unwrap();
            let next = |time: &Timestamp| schedule.next(&TimeZone::UTC, *time);
            let times = std::iter::successors(next(&after), next);
            let last = times.take_while(|time| *time <= now).last();
            prop_assert_eq!(schedule.last_between(&TimeZone::UTC, after, now), last, "{}", text);
        }
    }
}
