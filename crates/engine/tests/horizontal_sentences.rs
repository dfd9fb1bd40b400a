//! What people read: the sentences of typical decisions, word for word.

#[cfg(test)]
mod horizontal_cases;

use horizontal_cases::{cpu, facts, observed, pod, recommended};
use plimsoll_engine::horizontal::{Memory, Observed, decide, render};
use serde_json::{Value, json};

#[cfg(test)]
fn told(seen: &Observed) -> String {
    render(&decide(seen).trace).join("\n")
}

#[cfg(test)]
fn with(mut spec: Value, key: &str, value: Value) -> Value {
    spec[key] = value;
    spec
}

#[test]
fn a_load_step_scales_out() {
    insta::assert_snapshot!(told(&observed(&cpu(50), &[Some(900), Some(960)])), @r"
    2 replicas now, 1 to 100 allowed
    metric 1: cpu resource utilization (percentage of request)
    2 ready pods measured: average 93%, target 50%, ratio 1.86
    proposes 1.86 x 2 pods, rounded up: 4
    largest proposal: 4, from cpu resource utilization (percentage of request)
    stabilization: no recommendation above 4 in the window
    4 is within the minimum, maximum and rate limits
    2 -> 4 replicas
    ");
}

#[test]
fn a_ratio_within_the_tolerance_holds() {
    insta::assert_snapshot!(told(&observed(&cpu(50), &[Some(520); 4])), @r"
    4 replicas now, 1 to 100 allowed
    metric 1: cpu resource utilization (percentage of request)
    4 ready pods measured: average 52%, target 50%, ratio 1.04
    held at 4: 52% is within 10% of 50%
    largest proposal: 4, from cpu resource utilization (percentage of request)
    stabilization: no recommendation above 4 in the window
    4 is within the minimum, maximum and rate limits
    stays at 4 replicas
    ");
}

#[test]
fn the_stabilization_window_holds() {
    let mut seen = observed(&cpu(50), &[Some(100); 4]);
    seen.memory = Some(Memory {
        recommendations: vec![recommended(4, 60)],
        ..Memory::default()
    });
    insta::assert_snapshot!(told(&seen), @r"
    4 replicas now, 1 to 100 allowed
    metric 1: cpu resource utilization (percentage of request)
    4 ready pods measured: average 10%, target 50%, ratio 0.2
    proposes 0.2 x 4 pods, rounded up: 1
    largest proposal: 1, from cpu resource utilization (percentage of request)
    held at 4 by stabilization until 12:04:00, the next possible change: 4 was recommended at 11:59:00
    4 is within the minimum, maximum and rate limits
    stays at 4 replicas
    ");
}

#[test]
fn pods_that_are_left_out_are_named() {
    let mut seen = observed(&cpu(50), &[Some(900), Some(900), Some(900), None]);
    let mut late = pod("p1", "1");
    late["status"]["conditions"][0]["status"] = json!("False");
    late["status"]["startTime"] = json!("2026-01-01T11:59:00Z");
    seen.pods[1] = facts(&late);
    let mut ending = pod("p2", "1");
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-01T11:59:00Z");
    seen.pods[2] = facts(&ending);
    insta::assert_snapshot!(told(&seen), @r"
    4 replicas now, 1 to 100 allowed
    metric 1: cpu resource utilization (percentage of request)
    left out of the average: p2 (ending or failed); p1 (not ready yet); p3 (without a sample)
    1 ready pod measured: average 90%, target 50%, ratio 1.8
    to be careful, counted as idle: p3
    to be careful, counted as idle: p1
    held at 4: with the assumed pods the ratio turns from 1.8 to 0.6
    largest proposal: 4, from cpu resource utilization (percentage of request)
    stabilization: no recommendation above 4 in the window
    4 is within the minimum, maximum and rate limits
    stays at 4 replicas
    ");
}

#[test]
fn the_maximum_cuts_a_careful_proposal() {
    let spec = with(cpu(50), "maxReplicas", json!(5));
    let seen = observed(&spec, &[Some(900), Some(900), Some(900), None]);
    insta::assert_snapshot!(told(&seen), @r"
    4 replicas now, 1 to 5 allowed
    metric 1: cpu resource utilization (percentage of request)
    left out of the average: p3 (without a sample)
    3 ready pods measured: average 90%, target 50%, ratio 1.8
    to be careful, counted as idle: p3
    proposes 1.34 x 4 pods, rounded up: 6
    largest proposal: 6, from cpu resource utilization (percentage of request)
    stabilization: no recommendation above 6 in the window
    6 limited to 5: the maximum
    4 -> 5 replicas
    ");
}

#[test]
fn a_rate_limit_says_so() {
    let policy = json!({ "type": "Pods", "value": 2, "periodSeconds": 60 });
    let behavior = json!({
        "scaleUp": { "stabilizationWindowSeconds": 0, "policies": [policy] },
        "scaleDown": { "policies": [policy] },
    });
    let spec = with(cpu(50), "behavior", behavior);
    insta::assert_snapshot!(told(&observed(&spec, &[Some(2000); 3])), @r"
    3 replicas now, 1 to 100 allowed
    metric 1: cpu resource utilization (percentage of request)
    3 ready pods measured: average 200%, target 50%, ratio 4
    proposes 4 x 3 pods, rounded up: 12
    largest proposal: 12, from cpu resource utilization (percentage of request)
    stabilization: recent recommendations agree on 12
    12 limited to 5: at most 2 pods may be added in 60 s
    3 -> 5 replicas
    ");
}

#[test]
fn no_samples_at_all_hold() {
    insta::assert_snapshot!(told(&observed(&cpu(50), &[None, None])), @r"
    2 replicas now, 1 to 100 allowed
    metric 1: cpu resource utilization (percentage of request)
    no proposal: failed to get cpu utilization: unable to get metrics for resource cpu: no metrics returned from resource metrics API
    held: 1 of 1 metrics gave no proposal
    stays at 2 replicas
    ");
}

#[test]
fn above_the_maximum_it_goes_straight_there() {
    let spec = with(cpu(50), "maxReplicas", json!(2));
    insta::assert_snapshot!(told(&observed(&spec, &[Some(500); 3])), @r"
    3 replicas now, 1 to 2 allowed
    above the maximum: straight to 2, without reading metrics
    3 -> 2 replicas
    ");
}

#[test]
fn a_target_at_zero_is_left_alone() {
    insta::assert_snapshot!(told(&observed(&cpu(50), &[])), @r"
    0 replicas now, 1 to 100 allowed
    the target is scaled to zero, so autoscaling is off until it is scaled up by hand
    stays at 0 replicas
    ");
}
