//! Schedules: when they are in force and what they do to a decision.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that meets something unexpected should stop there"
)]

#[cfg(test)]
mod horizontal_cases;

use horizontal_cases::{cpu, observed, recommended};
use jiff::Timestamp;
use plimsoll_engine::horizontal::limit::Range;
use plimsoll_engine::horizontal::schedule::InForce;
use plimsoll_engine::horizontal::{
    Decision, Memory, Observed, Schedule, Settings, decide, render, replay,
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(written: Value) -> Schedule {
    serde_json::from_value(written).unwrap()
}

/// From 8 to 18 on weekdays in Berlin.
fn office_hours() -> Value {
    json!({"name": "day", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5",
           "timeZone": "Europe/Berlin", "minReplicas": 5})
}

#[rstest]
#[case::before_the_start("2026-01-05T06:59:59.9Z", false, "2026-01-05T07:00:00Z")]
#[case::at_the_start("2026-01-05T07:00:00Z", true, "2026-01-05T17:00:00Z")]
#[case::in_between("2026-01-05T12:00:00Z", true, "2026-01-05T17:00:00Z")]
#[case::just_before_the_end("2026-01-05T16:59:59.9Z", true, "2026-01-05T17:00:00Z")]
#[case::at_the_end("2026-01-05T17:00:00Z", false, "2026-01-06T07:00:00Z")]
#[case::over_the_weekend("2026-01-10T12:00:00Z", false, "2026-01-12T07:00:00Z")]
#[case::in_summer_time("2026-07-06T06:00:00Z", true, "2026-07-06T16:00:00Z")]
fn in_force_from_start_to_end(#[case] now: &str, #[case] active: bool, #[case] changes: &str) {
    let state = schedule(office_hours()).recurrence.unwrap().at(at(now));
    assert_eq!(state.active, active);
    assert_eq!(state.changes, Some(at(changes)));
}

#[rstest]
#[case::overnight("0 22 * * *", "0 6 * * *", "2026-01-05T03:00:00Z", true)]
#[case::starts_that_repeat("*/5 * * * *", "58 * * * *", "2026-01-05T03:07:00Z", true)]
#[case::ends_that_repeat("0 8 * * *", "0 * * * *", "2026-01-05T08:59:00Z", true)]
#[case::after_the_first_end("0 8 * * *", "0 9-17 * * *", "2026-01-05T09:00:00Z", false)]
#[case::an_end_on_weekdays_only("0 8 * * *", "0 18 * * 1-5", "2026-01-11T03:00:00Z", true)]
#[case::a_start_at_an_end("0 8,12 * * *", "0 12 * * *", "2026-01-05T12:00:00Z", true)]
fn each_start_opens_and_each_end_closes(
    #[case] start: &str,
    #[case] end: &str,
    #[case] now: &str,
    #[case] active: bool,
) {
    let written = json!({"name": "a", "start": start, "end": end, "minReplicas": 2});
    assert_eq!(
        schedule(written).recurrence.unwrap().at(at(now)).active,
        active
    );
}

#[rstest]
#[case::at_the_start("2026-01-05T08:00:00Z", true, "2026-01-05T10:30:00Z")]
#[case::at_the_end("2026-01-05T10:30:00Z", false, "2026-01-06T08:00:00Z")]
#[case::before("2026-01-05T07:00:00Z", false, "2026-01-05T08:00:00Z")]
fn a_duration_runs_from_each_start(#[case] now: &str, #[case] active: bool, #[case] changes: &str) {
    let written = json!({"name": "a", "start": "0 8 * * *", "duration": "2h30m", "minReplicas": 2});
    let state = schedule(written).recurrence.unwrap().at(at(now));
    assert_eq!((state.active, state.changes), (active, Some(at(changes))));
}

/// The clocks of Berlin leap on 2026-03-29 from 2 to 3 and repeat 2 to 3 on 2026-10-25.
#[rstest]
#[case::a_start_leapt_over("2026-03-29T01:30:00Z", false)]
#[case::the_day_after("2026-03-30T00:45:00Z", true)]
#[case::first_of_a_repeated_start("2026-10-25T00:45:00Z", true)]
#[case::between_the_repeats("2026-10-25T01:05:00Z", false)]
#[case::second_of_a_repeated_start("2026-10-25T01:45:00Z", true)]
fn clocks_change(#[case] now: &str, #[case] active: bool) {
    let written = json!({"name": "a", "start": "30 2 * * *", "duration": "30m",
                         "timeZone": "Europe/Berlin", "minReplicas": 2});
    assert_eq!(
        schedule(written).recurrence.unwrap().at(at(now)).active,
        active
    );
}

#[rstest]
#[case::a_bad_start(json!({"start": "0 8 * *", "end": "0 9 * * *"}),
    "start: expected 5 fields (minute hour day month weekday), found 4")]
#[case::a_bad_end(json!({"start": "0 8 * * *", "end": "0 25 * * *"}),
    "end: hour range \"25\" is not within 0 to 23 in this order")]
#[case::a_bad_duration(json!({"start": "0 8 * * *", "duration": "soon"}),
    "duration: \"soon\" is no length of time such as 2h30m")]
#[case::no_duration(json!({"start": "0 8 * * *", "duration": "0s"}),
    "duration: \"0s\" is no length of time such as 2h30m")]
#[case::a_bad_zone(json!({"start": "0 8 * * *", "duration": "1h", "timeZone": "Mars/Base"}),
    "timeZone: unknown time zone \"Mars/Base\"")]
#[case::no_end(json!({"start": "0 8 * * *"}), "exactly one of end and duration must be given")]
fn a_schedule_without_meaning_says_why(#[case] written: Value, #[case] why: &str) {
    assert_eq!(schedule(written).recurrence.unwrap_err().to_string(), why);
}

fn always(name: &str, min: Option<i32>, max: Option<i32>) -> Schedule {
    let mut written = json!({"name": name, "start": "* * * * *", "duration": "1h"});
    for (key, bound) in [("minReplicas", min), ("maxReplicas", max)] {
        if let Some(bound) = bound {
            written[key] = bound.into();
        }
    }
    schedule(written)
}

#[rstest]
#[case::none(&[], (2, 10))]
#[case::a_higher_floor(&[always("a", Some(5), None)], (5, 10))]
#[case::a_lower_floor_changes_nothing(&[always("a", Some(1), None)], (2, 10))]
#[case::a_lower_ceiling(&[always("a", None, Some(4))], (2, 4))]
#[case::a_higher_ceiling_changes_nothing(&[always("a", None, Some(40))], (2, 10))]
#[case::the_highest_floor_wins(
    &[always("a", Some(5), None), always("b", Some(7), None)], (7, 10))]
#[case::the_lowest_ceiling_wins(
    &[always("a", None, Some(8)), always("b", None, Some(6))], (2, 6))]
#[case::the_ceiling_wins_over_a_floor(
    &[always("a", Some(9), None), always("b", None, Some(6))], (6, 6))]
fn overlapping_schedules(#[case] schedules: &[Schedule], #[case] (min, max): (i32, i32)) {
    let bounds = Range { min: 2, max: 10 };
    let got = InForce::of(bounds, schedules, at("2026-01-05T12:00:00Z"));
    assert_eq!(got.range, Range { min, max });
}

fn scheduled(schedules: &Value, now: &str, usages: &[Option<i64>]) -> Observed {
    let mut spec = cpu(50);
    spec["schedules"] = schedules.clone();
    let mut seen = observed(&spec, usages);
    seen.now = at(now);
    seen
}

fn condition(decision: &Decision) -> (String, String, String) {
    let found = decision.status.conditions.iter();
    let mut found = found.filter(|condition| condition.kind == "ScheduleActive");
    let found = found.next().expect("a condition");
    (
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    )
}

#[test]
fn a_floor_is_reached_at_once() {
    let seen = scheduled(
        &json!([office_hours()]),
        "2026-01-05T07:00:00Z",
        &[Some(100), Some(100)],
    );
    let decision = decide(&seen);
    assert_eq!(decision.write, Some(5));
    assert_eq!(
        decision.reason,
        "Current number of replicas below the bound of schedule \"day\""
    );
    assert_eq!(decision.next_change, Some(at("2026-01-05T17:00:00Z")));
    let message = "schedule \"day\" until 2026-01-05T17:00:00Z: at least 5";
    let want = ("True".into(), "InForce".into(), message.into());
    assert_eq!(condition(&decision), want);
    insta::assert_snapshot!(render(&decision.trace).join("\n"), @r#"
    schedule "day" until 2026-01-05T17:00:00Z: at least 5
    2 replicas now, 5 to 100 allowed
    below the minimum: straight to 5, without reading metrics
    2 -> 5 replicas
    "#);
    assert_eq!(replay(&decision.trace), Some(5));
}

#[test]
fn a_floor_keeps_metrics_from_going_lower() {
    let usages = [Some(10); 6];
    let mut seen = scheduled(&json!([office_hours()]), "2026-01-05T12:00:00Z", &usages);
    seen.memory = Some(Memory {
        recommendations: vec![recommended(1, 900)],
        ..Memory::default()
    });
    let decision = decide(&seen);
    assert_eq!(decision.write, Some(5));
    // At night the same load leaves one.
    seen.now = at("2026-01-05T17:00:00Z");
    let decision = decide(&seen);
    assert_eq!(decision.write, Some(1));
    let message = "no schedule in force; schedule \"day\" begins at 2026-01-06T07:00:00Z";
    let want = ("False".into(), "NotInForce".into(), message.into());
    assert_eq!(condition(&decision), want);
    assert_eq!(decision.next_change, Some(at("2026-01-06T07:00:00Z")));
}

#[test]
fn a_ceiling_is_kept() {
    let night = json!([{"name": "night", "start": "0 22 * * *", "end": "0 6 * * *",
                        "maxReplicas": 3}]);
    let decision = decide(&scheduled(&night, "2026-01-05T23:00:00Z", &[Some(900); 8]));
    assert_eq!(decision.write, Some(3));
    assert_eq!(
        decision.reason,
        "Current number of replicas above the bound of schedule \"night\""
    );
}

#[test]
fn a_broken_schedule_is_left_out_and_told() {
    let mut broken = office_hours();
    broken["timeZone"] = json!("Mars/Base");
    let decision = decide(&scheduled(
        &json!([broken]),
        "2026-01-05T12:00:00Z",
        &[Some(500)],
    ));
    assert_eq!(decision.write, None);
    let text = "schedule \"day\" is left out: timeZone: unknown time zone \"Mars/Base\"";
    let want = ("False".into(), "InvalidSchedule".into(), text.into());
    assert_eq!(condition(&decision), want);
    assert_eq!(decision.events[0].reason, "InvalidSchedule");
    assert_eq!(decision.events[0].message, text);
    assert_eq!(decision.next_change, None);
}

#[test]
fn a_schedule_wakes_what_was_scaled_to_zero_for_want_of_work() {
    let mut seen = scheduled(&json!([office_hours()]), "2026-01-05T12:00:00Z", &[]);
    seen.settings = Settings {
        scale_to_zero: true,
        ..seen.settings
    };
    if let Ok(scale) = &mut seen.scale {
        (scale.spec_replicas, scale.status_replicas) = (0, 0);
    }
    // By hand: it stays.
    assert_eq!(decide(&seen).write, None);
    seen.status =
        serde_json::from_value(json!({"conditions": [{"type": "ScaledToZero", "status": "True"}]}))
            .unwrap();
    assert_eq!(decide(&seen).write, Some(5));
}

#[test]
fn without_schedules_nothing_is_said() {
    let decision = decide(&observed(&cpu(50), &[Some(500)]));
    assert_eq!(decision.next_change, None);
    let kinds = decision.status.conditions.iter().map(|c| c.kind.as_str());
    assert!(!kinds.collect::<Vec<_>>().contains(&"ScheduleActive"));
}

fn schedules() -> impl Strategy<Value = Vec<Schedule>> {
    let one = (
        0_u32..24,
        1_u32..30,
        prop::option::of(0..20),
        prop::option::of(1..20),
    )
        .prop_map(|(hour, length, min, max)| {
            let mut written = json!({
                "name": "s", "start": format!("0 {hour} * * *"), "duration": format!("{length}h"),
                "timeZone": "America/New_York",
            });
            written["minReplicas"] = json!(min);
            written["maxReplicas"] = json!(max);
            schedule(written)
        });
    prop::collection::vec(one, 0..5)
}

proptest! {
    #[test]
    fn bounds_are_never_wider_than_asked_and_hold_until_told(
        schedules in schedules(), seconds in 1_767_225_600_i64..1_798_761_600,
        part in 0.0_f64..1.0,
    ) {
        let bounds = Range { min: 1, max: 15 };
        let now = Timestamp::from_second(seconds).unwrap();
        let got = InForce::of(bounds, &schedules, now);
        prop_assert!(got.range.max <= bounds.max);
        prop_assert!(got.range.min <= got.range.max);
        if let Some(next) = got.next_change() {
            prop_assert!(next > now);
            let later = now + next.duration_since(now).mul_f64(part);
            if later < next {
                let then = InForce::of(bounds, &schedules, later);
                prop_assert_eq!(then.range, got.range, "{} to {}", now, later);
            }
        }
    }
}
