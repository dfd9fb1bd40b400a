//! What is decided about Jobs: table by table.
#![expect(
    clippy::needless_pass_by_value,
    reason = "cases read best with literals"
)]

use super::backoff::Record;
use super::decide::{Act, Decision, decide};
use super::seen::{FAILURES, IGNORED, Seen};
use super::testing::{both, exit, index, job, pod};
use crate::pods::PodView;
use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

fn decided(spec: Value, status: Value, pods: &[Arc<PodView>], second: i64) -> Decision {
    let job = job(&spec, &status);
    let seen = Seen {
        job: &job,
        pods,
        doomed: &BTreeSet::new(),
        now: Timestamp::from_second(second).unwrap(),
    };
    let tally = seen.tally();
    let record = Record::default().after(&tally.newly_succeeded, &tally.newly_failed);
    decide(&seen, &tally, record)
}

/// In words: `+2` pods, `-a,b`, `stop a`, `REASON`, `wait 10`.
fn words(decision: &Decision) -> String {
    let names = |pods: &[Arc<PodView>]| {
        let names: Vec<_> = pods.iter().map(|pod| pod.meta.name()).collect();
        names.join(",")
    };
    let mut words = Vec::new();
    match &decision.act {
        Act::Keep => {}
        Act::Create(pods) => {
            let indexes = pods.iter().filter_map(|pod| pod.index);
            let indexes: Vec<_> = indexes.map(|index| index.to_string()).collect();
            words.push(if indexes.is_empty() {
                format!("+{}", pods.len())
            } else {
                format!("+{}", indexes.join(","))
            });
        }
        Act::Remove(pods) => words.push(format!("-{}", names(pods))),
        Act::Stop(pods) if pods.is_empty() => {}
        Act::Stop(pods) => words.push(format!("stop {}", names(pods))),
    }
    words.extend(decision.end.iter().map(|end| end.reason.clone()));
    words.extend(
        decision
            .wake
            .iter()
            .map(|wake| format!("wait {}", wake.as_secs())),
    );
    words.join(" ")
}

fn running(name: &str) -> Arc<PodView> {
    pod(name, &json!({}))
}

fn deleting(name: &str) -> Arc<PodView> {
    pod(
        name,
        &json!({"metadata": {"deletionTimestamp": "1970-01-01T00:01:00Z"}}),
    )
}

fn ended(name: &str, code: i32, second: i64) -> Arc<PodView> {
    pod(name, &exit(code, second))
}

#[rstest]
#[case::the_first(json!({}), &[], "+1")]
#[case::runs(json!({}), &[running("a")], "")]
#[case::done(json!({}), &[ended("a", 0, 0)], "CompletionsReached")]
#[case::as_many_as_allowed(json!({"parallelism": 3, "completions": 9}), &[running("a")], "+2")]
#[case::as_many_as_needed(json!({"parallelism": 9, "completions": 3}),
    &[ended("a", 0, 0)], "+2")]
#[case::a_burst(json!({"parallelism": 900, "completions": 900}), &[], "+500")]
#[case::fewer_now(json!({"parallelism": 1, "completions": 9}),
    &[running("a"), pod("b", &json!({"status": {"phase": "Pending"}}))], "-b")]
#[case::none_at_all(json!({"parallelism": 0}), &[running("a")], "-a")]
#[case::nothing_to_do(json!({"completions": 0}), &[], "CompletionsReached")]
#[case::a_queue(json!({"completions": null, "parallelism": 2}), &[], "+2")]
#[case::a_queue_running_dry(json!({"completions": null, "parallelism": 2}),
    &[running("a"), ended("b", 0, 0)], "")]
#[case::a_queue_that_is_empty(json!({"completions": null, "parallelism": 2}),
    &[ended("a", 1, 0), ended("b", 0, 0)], "CompletionsReached")]
#[case::suspended(json!({"suspend": true}), &[running("a")], "-a")]
#[case::suspended_but_done(json!({"suspend": true}), &[ended("a", 0, 0)], "CompletionsReached")]
#[case::replaced_while_ending(json!({}), &[deleting("a")], "+1")]
#[case::replaced_when_ended(json!({"podReplacementPolicy": "Failed"}), &[deleting("a")], "")]
fn pods_are_adjusted(#[case] spec: Value, #[case] pods: &[Arc<PodView>], #[case] want: &str) {
    assert_eq!(words(&decided(spec, json!({}), pods, 1000)), want);
}

#[rstest]
#[case::at_once(0, "wait 10")]
#[case::later(9, "wait 1")]
#[case::then(10, "+1")]
fn a_failure_pauses(#[case] second: i64, #[case] want: &str) {
    let pods = [ended("a", 1, 0)];
    assert_eq!(words(&decided(json!({}), json!({}), &pods, second)), want);
}

#[rstest]
#[case::two(2, "wait 20")]
#[case::three(3, "wait 40")]
#[case::six(6, "wait 320")]
#[case::many(12, "wait 600")]
fn failures_double_the_pause(#[case] failures: usize, #[case] want: &str) {
    let pods: Vec<_> = (0..failures)
        .map(|n| ended(&format!("p{n}"), 1, 0))
        .collect();
    let spec = json!({"backoffLimit": 99});
    assert_eq!(words(&decided(spec, json!({}), &pods, 0)), want);
}

#[test]
fn a_success_ends_the_pause() {
    let pods = [ended("a", 1, 0), ended("b", 0, 1)];
    let spec = json!({"completions": 2});
    assert_eq!(words(&decided(spec, json!({}), &pods, 2)), "+1");
}

#[rstest]
#[case::limit(json!({"backoffLimit": 1}), json!({"failed": 1}), &[ended("a", 1, 0), running("b")],
    "stop b BackoffLimitExceeded")]
#[case::within_the_limit(json!({"backoffLimit": 2, "parallelism": 2, "completions": 2}),
    json!({"failed": 1}), &[running("a"), running("b")], "")]
#[case::listed_failures_count(json!({"backoffLimit": 1}),
    json!({"failed": 1, "uncountedTerminatedPods": {"failed": ["x"]}}), &[], "BackoffLimitExceeded")]
#[case::restarts(json!({"backoffLimit": 3, "template": {"spec": {"restartPolicy": "OnFailure"}}}),
    json!({}), &[pod("a", &json!({"status": {"initContainerStatuses": [{"restartCount": 1}],
        "containerStatuses": [{"restartCount": 2}]}}))], "stop a BackoffLimitExceeded")]
#[case::restarts_of_others(json!({"backoffLimit": 3}), json!({}),
    &[pod("a", &json!({"status": {"containerStatuses": [{"restartCount": 9}]}}))], "")]
#[case::deadline(json!({"activeDeadlineSeconds": 60}), json!({"startTime": "1970-01-01T00:15:40Z"}),
    &[running("a")], "stop a DeadlineExceeded")]
#[case::before_the_deadline(json!({"activeDeadlineSeconds": 61}),
    json!({"startTime": "1970-01-01T00:15:40Z"}), &[running("a")], "wait 1")]
#[case::suspended(json!({"activeDeadlineSeconds": 60, "suspend": true}),
    json!({"startTime": "1970-01-01T00:15:40Z"}), &[], "")]
#[case::resumed(json!({"activeDeadlineSeconds": 60}),
    json!({"startTime": "1970-01-01T00:00:00Z", "conditions": [{"type": "Suspended", "status": "True"}]}),
    &[], "+1")]
#[case::told_before(json!({}),
    json!({"conditions": [{"type": "FailureTarget", "status": "True", "reason": "Why"}]}),
    &[running("a")], "stop a Why")]
fn jobs_fail(
    #[case] spec: Value,
    #[case] status: Value,
    #[case] pods: &[Arc<PodView>],
    #[case] want: &str,
) {
    assert_eq!(words(&decided(spec, status, pods, 1000)), want);
}

fn indexed(change: Value) -> Value {
    both(
        json!({"completionMode": "Indexed", "completions": 4, "parallelism": 2}),
        &change,
    )
}

fn at(name: &str, number: u32, change: Value) -> Arc<PodView> {
    pod(name, &both(index(number), &change))
}

#[rstest]
#[case::the_first(json!({}), json!({}), &[], "+0,1")]
#[case::the_next(json!({}), json!({"completedIndexes": "0,2"}), &[at("a", 1, json!({}))], "+3")]
#[case::twice(json!({}), json!({}), &[at("a", 0, json!({})), at("b", 0, json!({"spec": {"nodeName": null}}))],
    "-b")]
#[case::out_of_range(json!({}), json!({}), &[at("a", 0, json!({})), at("b", 4, json!({}))], "-b")]
#[case::without_any(json!({}), json!({}), &[at("a", 0, json!({})), pod("b", &json!({}))], "-b")]
#[case::done(json!({}), json!({"completedIndexes": "0-2"}), &[at("a", 3, exit(0, 0))],
    "CompletionsReached")]
#[case::beyond_the_end_is_nothing(json!({"completions": 2}), json!({"completedIndexes": "0,3"}), &[], "+1")]
#[case::by_index(json!({"backoffLimitPerIndex": 1}), json!({}), &[at("a", 0, exit(1, 995))],
    "+1,2 wait 5")]
#[case::index_failed(json!({"backoffLimitPerIndex": 0}), json!({}), &[at("a", 0, exit(1, 0))], "+1,2")]
#[case::all_tried(json!({"backoffLimitPerIndex": 0}), json!({"completedIndexes": "1-3"}),
    &[at("a", 0, exit(1, 0))], "FailedIndexes")]
#[case::too_many(json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}), json!({}),
    &[at("a", 0, exit(1, 0)), at("b", 1, json!({}))], "stop b MaxFailedIndexesExceeded")]
fn indexes_are_worked_off(
    #[case] change: Value,
    #[case] status: Value,
    #[case] pods: &[Arc<PodView>],
    #[case] want: &str,
) {
    assert_eq!(words(&decided(indexed(change), status, pods, 1000)), want);
}

#[rstest]
#[case::counted(json!({}), (2, 3))]
#[case::ignored(json!({"podFailurePolicy": {"rules": [
    {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]}}]}}), (1, 4))]
fn failures_of_an_index_are_handed_on(#[case] change: Value, #[case] want: (i64, i64)) {
    let before = json!({"metadata": {"annotations": {(FAILURES): "1", (IGNORED): "3"}}});
    let failed = at("a", 0, both(exit(1, 0), &before));
    let spec = indexed(both(json!({"backoffLimitPerIndex": 5}), &change));
    let Act::Create(pods) = decided(spec, json!({}), &[failed], 10_000).act else {
        panic!("pods are created")
    };
    assert_eq!(pods[0].failures, Some(want));
    assert_eq!(pods[1].failures, Some((0, 0)));
}
