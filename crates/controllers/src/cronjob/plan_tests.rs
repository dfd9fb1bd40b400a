//! Which runs are started, and which finished Jobs are kept.

#![expect(
    clippy::needless_pass_by_value,
    reason = "cases read best with literals"
)]

use super::{Overlap, outdated, overlap, settle};
use crate::cronjob::{CronJobView, CronJobWire};
use crate::job::{JobView, JobWire};
use crate::runtime::Cached;
use rstest::rstest;
use serde_json::{Value, json};
use std::sync::Arc;

fn cron_job(spec: Value, active: &[&str]) -> CronJobView {
    let active: Vec<Value> = active
        .iter()
        .map(|name| json!({"name": name, "uid": format!("uid-{name}")}))
        .collect();
    let wire: CronJobWire = serde_json::from_value(json!({
        "metadata": {"name": "c"}, "spec": spec, "status": {"active": active},
    }))
    .unwrap();
    CronJobView::from_wire(wire)
}

/// A Job that started in this second and has this condition.
fn job(name: &str, start: i64, end: Option<&str>) -> Arc<JobView> {
    let conditions: Vec<Value> = end
        .map(|kind| json!({"type": kind, "status": "True"}))
        .into_iter()
        .collect();
    let time = |second: i64| jiff::Timestamp::from_second(second).unwrap();
    let wire: JobWire = serde_json::from_value(json!({
        "metadata": {"name": name, "uid": format!("uid-{name}")},
        "status": {
            "startTime": time(start), "conditions": conditions,
            "completionTime": end.map(|_| time(start + 5)),
        },
    }))
    .unwrap();
    Arc::new(JobView::from_wire(wire))
}

#[rstest]
#[case::runs(&["a"], &[job("a", 0, None)], "", &["a"])]
#[case::completed(&["a"], &[job("a", 0, Some("Complete"))],
    "SawCompletedJob: Saw completed job: a, condition: Complete", &[])]
#[case::failed(&["a"], &[job("a", 0, Some("Failed"))],
    "SawCompletedJob: Saw completed job: a, condition: Failed", &[])]
#[case::seen_before(&[], &[job("a", 0, Some("Complete"))], "", &[])]
#[case::unknown(&[], &[job("a", 0, None)],
    "UnexpectedJob: Saw a job that the controller did not create or forgot: a", &[])]
#[case::gone(&["a", "b"], &[job("b", 0, None)],
    "MissingJob: Active job went missing: a", &["b"])]
fn running_jobs_are_kept_in_mind(
    #[case] active: &[&str],
    #[case] jobs: &[Arc<JobView>],
    #[case] told: &str,
    #[case] left: &[&str],
) {
    let mut status = cron_job(json!({}), active).status;
    let news = settle(&mut status, jobs);
    let texts: Vec<_> = news
        .iter()
        .map(|(_, why, text)| format!("{why}: {text}"))
        .collect();
    assert_eq!(texts.join("|"), told);
    let names: Vec<_> = status.active.iter().map(|job| &*job.name).collect();
    assert_eq!(names, left);
}

#[test]
fn the_last_success_is_the_latest() {
    let mut status = cron_job(json!({}), &[]).status;
    let jobs = [
        job("b", 60, Some("Complete")),
        job("c", 0, Some("Complete")),
        job("d", 90, Some("Failed")),
    ];
    settle(&mut status, &jobs);
    assert_eq!(status.last_successful_time.unwrap().as_second(), 65);
}

#[rstest]
#[case::allow("Allow", &["a"], Some(0))]
#[case::forbid("Forbid", &["a"], None)]
#[case::forbid_nothing("Forbid", &[], Some(0))]
#[case::replace("Replace", &["a", "b"], Some(2))]
fn jobs_overlap(#[case] policy: &str, #[case] active: &[&str], #[case] replaced: Option<usize>) {
    let cron_job = cron_job(json!({"concurrencyPolicy": policy}), active);
    let got = match overlap(&cron_job, &cron_job.status) {
        Overlap::Start(old) => Some(old.len()),
        Overlap::Skip => None,
    };
    assert_eq!(got, replaced);
}

#[rstest]
#[case::the_oldest(json!({"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1}), &["b", "d"])]
#[case::all(json!({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0}), &["b", "a", "d", "c"])]
#[case::none_without_limits(json!({}), &[])]
fn history_has_limits(#[case] spec: Value, #[case] want: &[&str]) {
    let jobs = [
        job("a", 20, Some("Complete")),
        job("b", 10, Some("Complete")),
        job("c", 20, Some("Failed")),
        job("d", 10, Some("Failed")),
        job("e", 1, None),
    ];
    let got = outdated(&cron_job(spec, &[]), &jobs);
    let names: Vec<_> = got.iter().map(|job| job.meta.name()).collect();
    assert_eq!(names, want);
}
