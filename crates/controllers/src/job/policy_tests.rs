//! Failure and success rules.
use super::indexes::Indexes;
use super::policy::{FailureRule, SuccessRule, judge, success};
use super::testing::{both, exit, pod};
use rstest::rstest;
use serde_json::{Value, json};

#[rstest]
#[case::in_the_list(json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 42]}}]),
    "Container c for pod n/p failed with exit code 42 matching FailJob rule at index 0")]
#[case::not_in_it(json!([{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}]), "")]
#[case::outside(json!([{"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1]}}]),
    "Container c for pod n/p failed with exit code 42 matching FailIndex rule at index 0")]
#[case::another_container(
    json!([{"action": "FailJob", "onExitCodes": {"containerName": "d", "operator": "NotIn", "values": [1]}}]), "")]
#[case::the_container(
    json!([{"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "NotIn", "values": [1]}}]),
    "Container c for pod n/p failed with exit code 42 matching FailJob rule at index 0")]
#[case::a_condition(json!([{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]),
    "Pod n/p has condition DisruptionTarget matching Ignore rule at index 0")]
#[case::a_condition_that_fails(
    json!([{"action": "Ignore", "onPodConditions": [{"type": "Ready", "status": "False"}]}]),
    "Pod n/p has condition Ready matching Ignore rule at index 0")]
#[case::another_status(
    json!([{"action": "Ignore", "onPodConditions": [{"type": "Ready", "status": "Unknown"}]}]), "")]
#[case::the_first_that_is_met(json!([
    {"action": "Count", "onExitCodes": {"operator": "In", "values": [7]}},
    {"action": "Count", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]),
    "Pod n/p has condition DisruptionTarget matching Count rule at index 1")]
fn failures_are_judged(#[case] rules: Value, #[case] want: &str) {
    let rules: Vec<FailureRule> = serde_json::from_value(rules).unwrap();
    let conditions = json!({"status": {"conditions": [
        {"type": "Ready", "status": "False"}, {"type": "DisruptionTarget", "status": "True"},
    ]}});
    let failed = pod("p", &both(exit(42, 0), &conditions));
    let judgement = judge(&rules, &failed);
    assert_eq!(
        judgement
            .map(|judgement| judgement.message)
            .unwrap_or_default(),
        want
    );
}

#[test]
fn a_container_that_succeeded_meets_no_rule() {
    let rules = json!([{"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [1]}}]);
    let rules: Vec<FailureRule> = serde_json::from_value(rules).unwrap();
    assert_eq!(judge(&rules, &pod("p", &exit(0, 0))), None);
}

#[rstest]
#[case::a_count(json!([{"succeededCount": 2}]), "1,5", Some(0))]
#[case::too_few(json!([{"succeededCount": 3}]), "1,5", None)]
#[case::all_named(json!([{"succeededIndexes": "0-2"}]), "0-2,7", Some(0))]
#[case::not_all_named(json!([{"succeededIndexes": "0-2"}]), "0,2,7", None)]
#[case::some_named(json!([{"succeededIndexes": "0-2", "succeededCount": 2}]), "0,2,7", Some(0))]
#[case::others_do_not_count(json!([{"succeededIndexes": "0-2", "succeededCount": 2}]), "0,6,7", None)]
#[case::the_first(json!([{"succeededCount": 9}, {"succeededIndexes": "7"}, {"succeededCount": 1}]),
    "7", Some(1))]
#[case::nothing_yet(json!([{"succeededCount": 0}]), "", None)]
fn successes_are_judged(#[case] rules: Value, #[case] done: &str, #[case] want: Option<usize>) {
    let rules: Vec<SuccessRule> = serde_json::from_value(rules).unwrap();
    let told = success(&rules, &Indexes::parse(done, 10), 10);
    assert_eq!(told, want.map(|at| format!("Matched rules at index {at}")));
}
