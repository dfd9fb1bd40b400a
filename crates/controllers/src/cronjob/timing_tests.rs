//! When a schedule is due, and what was missed.

#![expect(
    clippy::needless_pass_by_value,
    reason = "cases read best with literals"
)]

use super::{Due, Timing, Unusable, in_words};
use crate::cronjob::{CronJobView, CronJobWire};
use crate::runtime::Cached;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};

fn cron_job(spec: Value, last: Option<&str>) -> CronJobView {
    let wire: CronJobWire = serde_json::from_value(json!({
        "metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:30Z"},
        "spec": spec, "status": {"lastScheduleTime": last},
    }))
    .unwrap();
    CronJobView::from_wire(wire)
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn due(spec: Value, last: Option<&str>, now: &str) -> Option<Due> {
    let cron_job = cron_job(spec, last);
    Timing::of(&cron_job).unwrap().due(&cron_job, at(now))
}

#[rstest]
#[case::not_before_its_time("2026-01-01T00:00:59Z", None, None)]
#[case::on_time("2026-01-01T00:01:00Z", None, Some("2026-01-01T00:01:00Z"))]
#[case::the_last_of_those_missed("2026-01-01T00:05:30Z", None, Some("2026-01-01T00:05:00Z"))]
#[case::not_twice("2026-01-01T00:05:30Z", Some("2026-01-01T00:05:00Z"), None)]
#[case::the_next(
    "2026-01-01T00:06:00Z",
    Some("2026-01-01T00:05:00Z"),
    Some("2026-01-01T00:06:00Z")
)]
fn is_due(#[case] now: &str, #[case] last: Option<&str>, #[case] want: Option<&str>) {
    let got = due(json!({"schedule": "* * * * *"}), last, now);
    assert_eq!(got.map(|due| due.at), want.map(at));
    assert!(!got.is_some_and(|due| due.many_missed || due.too_late));
}

#[rstest]
#[case::a_hundred("2026-01-01T01:40:59Z", false)]
#[case::more("2026-01-01T01:41:00Z", true)]
fn many_missed_starts_are_noticed(#[case] now: &str, #[case] many: bool) {
    let got = due(json!({"schedule": "* * * * *"}), None, now).unwrap();
    assert_eq!(got.many_missed, many);
}

#[rstest]
#[case::in_time(json!({"startingDeadlineSeconds": 20}), "2026-01-01T01:00:20Z", Some(false))]
#[case::too_late(json!({"startingDeadlineSeconds": 20}), "2026-01-01T01:00:21Z", Some(true))]
#[case::fewer_missed(json!({"startingDeadlineSeconds": 200}), "2026-01-01T09:00:00Z", Some(false))]
fn a_deadline_limits_the_reach(
    #[case] mut spec: Value,
    #[case] now: &str,
    #[case] want: Option<bool>,
) {
    spec["schedule"] = "0 * * * *".into();
    let got = due(spec, None, now);
    assert_eq!(got.map(|due| due.too_late), want);
    assert!(!got.is_some_and(|due| due.many_missed));
}

#[rstest]
#[case::nothing(json!({"schedule": "0 8 * * *"}), "2026-01-01T08:00:00Z")]
#[case::a_zone(json!({"schedule": "0 8 * * *", "timeZone": "Europe/Berlin"}),
    "2026-01-01T08:00:00+01:00")]
#[case::a_zone_in_an_old_schedule(json!({"schedule": "TZ=Asia/Tokyo 0 8 * * *"}),
    "2026-01-01T08:00:00+09:00")]
fn clocks_are_those_of_the_zone(#[case] spec: Value, #[case] shown: &str) {
    let mut cron_job = cron_job(spec, None);
    cron_job.meta.created = Some(at("2025-12-31T12:00:00Z"));
    let timing = Timing::of(&cron_job).unwrap();
    let due = timing.due(&cron_job, at(shown)).unwrap();
    assert_eq!(
        (due.at, timing.shown(due.at)),
        (at(shown), shown.to_owned())
    );
}

#[test]
fn lengths_count_from_the_last_start() {
    let spec = json!({"schedule": "@every 90m"});
    let got = due(spec, Some("2026-01-01T00:10:00Z"), "2026-01-01T03:30:00Z");
    assert_eq!(got.map(|due| due.at), Some(at("2026-01-01T03:10:00Z")));
}

#[test]
fn an_unknown_zone_is_unusable() {
    let cron_job = cron_job(json!({"schedule": "* * * * *", "timeZone": "Mars"}), None);
    let got = Timing::of(&cron_job).unwrap_err();
    assert_eq!(got, Unusable::Zone("Mars".into()));
}

#[test]
fn times_are_told_as_upstream_tells_them() {
    let told = in_words(at("2026-01-01T00:01:00Z"));
    assert_eq!(told, "Thu, 01 Jan 2026 00:01:00 +0000");
}
