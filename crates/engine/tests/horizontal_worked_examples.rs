//! The worked examples of the reference, self-contained.

#[cfg(test)]
mod horizontal_cases;

use horizontal_cases::{cpu, facts, now, observed, pod, recommended};
use jiff::SignedDuration;
use plimsoll_engine::horizontal::memory::Change;
use plimsoll_engine::horizontal::{Decision, Memory, Observed, Reading, decide, render, replay};
use rstest::rstest;
use serde_json::{Value, json};

#[cfg(test)]
fn all(count: usize, usage: i64) -> Vec<Option<i64>> {
    vec![Some(usage); count]
}

#[cfg(test)]
fn with(mut spec: Value, key: &str, value: Value) -> Value {
    spec[key] = value;
    spec
}

#[cfg(test)]
fn decided(observed: &Observed) -> Decision {
    let decision = decide(observed);
    let told = render(&decision.trace);
    assert_eq!(
        replay(&decision.trace),
        Some(decision.replicas),
        "{told:#?}"
    );
    decision
}

#[cfg(test)]
fn default_behavior() -> Value {
    let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
    json!({
        "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": "Max",
                     "policies": [pods, percent] },
        "scaleDown": { "selectPolicy": "Max", "policies": [percent] },
    })
}

#[rstest]
#[case::example_1_doubling_without_behavior(2, 1500, cpu(50), 4)]
#[case::example_1_four_more_with_behavior(
    2,
    1500,
    with(cpu(50), "behavior", default_behavior()),
    6
)]
#[case::example_5_a_ratio_of_exactly_1_1_holds(3, 550, cpu(50), 3)]
#[case::example_5_percent_is_cut_to_55(3, 559, cpu(50), 3)]
#[case::example_5_at_56_percent_it_moves(3, 560, cpu(50), 4)]
#[case::example_14_own_tolerance(10, 515, with(cpu(50), "behavior", json!({
    "scaleUp": { "tolerance": "10m", "selectPolicy": "Max",
                 "policies": [{ "type": "Pods", "value": 4, "periodSeconds": 15 }] } })), 11)]
#[case::example_14_default_tolerance(10, 515, cpu(50), 10)]
#[case::trap_2_the_float_product_is_rounded_up(25, 220, cpu(10), 50)]
#[case::trap_2_fifteen_at_62_of_30(15, 620, cpu(30), 30)]
#[case::the_maximum_holds(50, 2000, cpu(50), 100)]
#[case::the_minimum_holds(3, 0, cpu(50), 1)]
fn a_uniform_load_scales(
    #[case] pods: usize,
    #[case] usage: i64,
    #[case] spec: Value,
    #[case] want: i32,
) {
    let decision = decided(&observed(&spec, &all(pods, usage)));
    assert_eq!(decision.replicas, want, "{:#?}", render(&decision.trace));
}

#[rstest]
#[case::up_to_doubling(1, 4)]
#[case::example_4_from_4(4, 8)]
#[case::example_4_from_8(8, 16)]
#[case::example_4_the_maximum_ends_it(16, 20)]
fn a_saturated_load_at_most_doubles(#[case] current: usize, #[case] want: i32) {
    let spec = with(cpu(50), "maxReplicas", json!(20));
    let decision = decided(&observed(&spec, &all(current, 20_000)));
    assert_eq!(decision.replicas, want);
}

#[test]
fn example_6_an_unready_pod_counts_as_idle_going_up() {
    let mut seen = observed(&cpu(50), &all(4, 600));
    let mut late = pod("p3", "1");
    late["status"]["conditions"][0]["status"] = json!("False");
    late["status"]["startTime"] = json!("2026-01-01T11:59:00Z");
    seen.pods[3] = facts(&late);
    let decision = decided(&seen);
    assert_eq!(decision.replicas, 4, "{:#?}", render(&decision.trace));
    let metrics = decision.status.current_metrics.unwrap();
    assert_eq!(metrics[0]["resource"]["current"]["averageUtilization"], 60);
}

#[test]
fn example_7_missing_pods_count_at_full_request_going_down() {
    let decision = decided(&observed(&cpu(80), &[Some(200), Some(200), None, None]));
    assert_eq!(decision.replicas, 3, "{:#?}", render(&decision.trace));
}

#[test]
fn example_8_memory_average() {
    let spec = json!({ "metrics": [{ "type": "Resource", "resource": { "name": "memory",
        "target": { "type": "AverageValue", "averageValue": "500Mi" } } }] });
    let decision = decided(&observed(&spec, &all(3, 700 * 1024 * 1024 * 1000)));
    assert_eq!(decision.replicas, 5);
    let metrics = decision.status.current_metrics.unwrap();
    assert_eq!(metrics[0]["resource"]["current"]["averageValue"], "700Mi");
}

#[rstest]
#[case::example_9_value_counts_ready_pods(json!({ "type": "Value", "value": "300" }), 6, "900")]
#[case::example_9_average_divides_by_existing(
    json!({ "type": "AverageValue", "averageValue": "100" }), 8, "225")]
fn a_total_of_an_object_scales(#[case] target: Value, #[case] want: i32, #[case] shown: &str) {
    let spec = json!({ "metrics": [{ "type": "Object", "object": {
        "describedObject": { "apiVersion": "v1", "kind": "Service", "name": "front" },
        "metric": { "name": "requests" }, "target": target } }] });
    let mut seen = observed(&spec, &[None; 4]);
    seen.readings = vec![Ok(Reading::Single(900_000))];
    for index in 2..4 {
        let mut unready = pod(&format!("p{index}"), "1");
        unready["status"]["conditions"][0]["status"] = json!("False");
        seen.pods[index] = facts(&unready);
    }
    let decision = decided(&seen);
    assert_eq!(decision.replicas, want, "{:#?}", render(&decision.trace));
    let current = decision.status.current_metrics.unwrap()[0]["object"]["current"].clone();
    assert!(
        current.as_object().unwrap().values().any(|v| v == shown),
        "{current}"
    );
}

#[test]
fn example_10_a_queue_wakes_from_zero() {
    let spec = json!({ "minReplicas": 0, "metrics": [{ "type": "External", "external": {
        "metric": { "name": "queue" },
        "target": { "type": "AverageValue", "averageValue": "10" } } }] });
    let mut seen = observed(&spec, &[]);
    seen.settings.scale_to_zero = true;
    seen.readings = vec![Ok(Reading::Series(vec![20_000, 15_000]))];
    assert_eq!(decide(&seen).replicas, 0, "a human set it to zero");
    seen.status.conditions = serde_json::from_value(json!([
        { "type": "ScaledToZero", "status": "True" },
    ]))
    .unwrap();
    assert_eq!(decided(&seen).replicas, 4);
}

#[rstest]
#[case::example_11_up_goes_ahead(400, 35, Some(7))]
#[case::example_11_down_is_held(100, 5, None)]
fn a_failed_metric_blocks_only_the_way_down(
    #[case] cpu_milli: i64,
    #[case] qps: i64,
    #[case] want: Option<i32>,
) {
    let mut spec = cpu(50);
    let more = [
        json!({ "type": "Pods", "pods": { "metric": { "name": "qps" },
            "target": { "type": "AverageValue", "averageValue": "20" } } }),
        json!({ "type": "External", "external": { "metric": { "name": "queue" },
            "target": { "type": "AverageValue", "averageValue": "10" } } }),
    ];
    spec["metrics"].as_array_mut().unwrap().extend(more);
    let mut seen = observed(&spec, &all(4, cpu_milli));
    let Ok(Reading::PerPod(mut samples)) = seen.readings[0].clone() else {
        panic!("per pod")
    };
    for sample in &mut samples {
        sample.value = qps * 1000;
    }
    seen.readings
        .extend([Ok(Reading::PerPod(samples)), Err("down".into())]);
    let decision = decided(&seen);
    assert_eq!(decision.write, want, "{:#?}", render(&decision.trace));
    assert!(decision.error.is_some());
    let placeholder = decision.status.current_metrics.unwrap()[2].clone();
    assert_eq!(placeholder, json!({ "type": "" }));
}

#[rstest]
#[case::example_12_the_least_of_both("Min", &[3], &[], 11)]
#[case::example_12_the_most_of_both("Max", &[3], &[2], 14)]
fn policies_count_from_the_start_of_their_period(
    #[case] select: &str,
    #[case] up: &[i32],
    #[case] down: &[i32],
    #[case] want: i32,
) {
    let spec = with(
        cpu(50),
        "behavior",
        json!({ "scaleUp": { "stabilizationWindowSeconds": 0, "selectPolicy": select, "policies": [
            { "type": "Pods", "value": 4, "periodSeconds": 60 },
            { "type": "Percent", "value": 50, "periodSeconds": 60 },
        ] } }),
    );
    let mut seen = observed(&spec, &all(10, 1500));
    let event = |&change: &i32, ago: i64| {
        let time = now() - SignedDuration::from_secs(ago);
        Change { change, time }
    };
    let memory = seen.memory.as_mut().unwrap();
    memory.scale_up_events = up.iter().map(|change| event(change, 40)).collect();
    memory.scale_up_events.push(event(&5, 70));
    memory.scale_down_events = down.iter().map(|change| event(change, 20)).collect();
    assert_eq!(decided(&seen).replicas, want);
}

#[rstest]
#[case::without_behavior_a_remembered_peak_raises_it(None, 8)]
#[case::with_behavior_it_only_holds(Some(default_behavior()), 4)]
fn example_13_a_remembered_peak(#[case] behavior: Option<Value>, #[case] want: i32) {
    let spec = with(cpu(50), "behavior", json!(behavior));
    let mut seen = observed(&spec, &all(4, 200));
    let recommendations = vec![recommended(10, 60)];
    seen.memory = Some(Memory {
        recommendations,
        ..Memory::default()
    });
    let decision = decided(&seen);
    assert_eq!(decision.replicas, want);
    let told = decision
        .events
        .iter()
        .any(|event| event.message.contains("All metrics below"));
    assert_eq!(told, want != 4);
}

#[test]
fn example_15_a_percentage_down_is_truncated() {
    let spec = with(
        cpu(50),
        "behavior",
        json!({ "scaleDown": { "stabilizationWindowSeconds": 0, "policies": [
            { "type": "Percent", "value": 25, "periodSeconds": 60 } ] } }),
    );
    assert_eq!(decided(&observed(&spec, &all(7, 0))).replicas, 5);
    assert_eq!(decided(&observed(&spec, &all(5, 0))).replicas, 3);
}

#[test]
fn example_16_a_surge_pod_enters_the_product() {
    let mut seen = observed(&cpu(50), &all(5, 700));
    if let Ok(scale) = &mut seen.scale {
        scale.spec_replicas = 4;
    }
    assert_eq!(decided(&seen).replicas, 7);
}

#[test]
fn a_pod_that_became_ready_inside_the_window_is_too_young() {
    let mut seen = observed(&cpu(50), &all(2, 900));
    let mut young = pod("p1", "1");
    young["status"]["startTime"] = json!("2026-01-01T11:59:50Z");
    young["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T11:59:58Z");
    seen.pods[1] = facts(&young);
    assert_eq!(
        decided(&seen).replicas,
        2,
        "counted as idle: 45% is within the tolerance"
    );
    if let Ok(Reading::PerPod(samples)) = &mut seen.readings[0] {
        samples[1].window = SignedDuration::from_secs(1);
    }
    assert_eq!(
        decided(&seen).replicas,
        4,
        "a 1 s window after readiness is fresh"
    );
}

#[test]
fn a_failed_write_is_told_and_not_remembered() {
    let spec = with(cpu(50), "behavior", default_behavior());
    let seen = observed(&spec, &all(2, 1500));
    let decision = decide(&seen).write_failed(&seen, "no quota");
    assert_eq!(decision.status.desired_replicas, 0, "keeps the old value");
    assert_eq!(decision.status.current_replicas, 2);
    assert_eq!(decision.status.last_scale_time, None);
    let events: Vec<&str> = decision.events.iter().map(|e| e.message.as_str()).collect();
    let metric = "cpu resource utilization (percentage of request)";
    assert_eq!(
        events,
        [format!(
            "New size: 6; reason: {metric} above target; error: no quota"
        )]
    );
    assert!(decision.memory.unwrap().scale_up_events.is_empty());
}
