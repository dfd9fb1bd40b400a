//! Where the original's arithmetic surprises: float products, truncation, inclusive and exclusive
//! windows, and the worked time trace.

#[cfg(test)]
mod horizontal_cases;

use horizontal_cases::{cpu, now, observed, recommended};
use jiff::SignedDuration;
use plimsoll_engine::horizontal::limit::{self, Range};
use plimsoll_engine::horizontal::memory::{Change, Memory};
use plimsoll_engine::horizontal::spec::Behavior;
use plimsoll_engine::horizontal::{Settings, Step, decide, render, stabilize};
use rstest::rstest;
use serde_json::{Value, json};

#[cfg(test)]
fn average(milli: &str, min: i32) -> Value {
    json!({ "minReplicas": min, "metrics": [{ "type": "Resource", "resource": { "name": "cpu",
        "target": { "type": "AverageValue", "averageValue": milli } } }] })
}

#[rstest]
#[case::example_2_half_of_six(average("100m", 2), &[50; 6], 3)]
#[case::example_2_half_of_three_is_rounded_up(average("100m", 2), &[50; 3], 2)]
#[case::example_3_a_sum_of_270_percent(cpu(50), &[600, 900, 1200], 6)]
#[case::a_percentage_is_cut_not_rounded(cpu(5), &[45; 10], 8)]
#[case::nine_tenths_are_inside(cpu(50), &[450; 4], 4)]
fn a_load_scales(#[case] spec: Value, #[case] usages: &[i64], #[case] want: i32) {
    let usages: Vec<Option<i64>> = usages.iter().copied().map(Some).collect();
    let decision = decide(&observed(&spec, &usages));
    assert_eq!(decision.replicas, want, "{:#?}", render(&decision.trace));
}

#[cfg(test)]
fn percent(direction: &str, value: i32) -> Behavior {
    let policies = json!([{ "type": "Percent", "value": value, "periodSeconds": 60 }]);
    serde_json::from_value(json!({ direction: { "policies": policies } })).unwrap()
}

#[rstest]
#[case::a_hundred_grow_by_eleven("scaleUp", 10, 100, 1000, 111)]
#[case::fifty_grow_by_six("scaleUp", 10, 50, 1000, 56)]
#[case::ten_grow_by_one("scaleUp", 10, 10, 1000, 11)]
#[case::thirty_shrink_to_two("scaleDown", 90, 30, 0, 2)]
#[case::seven_shrink_to_five("scaleDown", 25, 7, 0, 5)]
fn a_percentage_is_a_float_product(
    #[case] direction: &str,
    #[case] value: i32,
    #[case] current: i32,
    #[case] wanted: i32,
    #[case] want: i32,
) {
    let range = Range { min: 1, max: 1000 };
    let rules = (&percent(direction, value), &Memory::default());
    let step = limit::with_behavior(current, wanted, range, rules, now());
    let Step::Limited { replicas, .. } = step else {
        panic!("{step:?}")
    };
    assert_eq!(replicas, want);
}

#[rstest]
#[case::without_behavior_the_edge_counts(None, 300, 9)]
#[case::without_behavior_a_second_later_it_is_gone(None, 301, 1)]
#[case::with_behavior_the_edge_is_gone(Some(60), 60, 1)]
#[case::with_behavior_a_second_earlier_it_counts(Some(60), 59, 9)]
fn a_window_ends(#[case] window: Option<i32>, #[case] age: i64, #[case] want: i32) {
    let mut memory = Memory {
        recommendations: vec![recommended(9, age)],
        ..Memory::default()
    };
    let (settings, now) = (Settings::default(), now());
    let step = match window {
        None => stabilize::without_behavior(1, &mut memory, &settings, now),
        Some(seconds) => {
            let rules = json!({ "scaleDown": { "stabilizationWindowSeconds": seconds } });
            let behavior: Behavior = serde_json::from_value(rules).unwrap();
            stabilize::with_behavior((9, 1), &mut memory, &behavior, &settings, now)
        }
    };
    let Step::Stabilized { replicas, .. } = step else {
        panic!("{step:?}")
    };
    assert_eq!(replicas, want);
}

#[rstest]
#[case::a_change_at_the_edge_is_gone(60, 14)]
#[case::a_second_earlier_it_counts(59, 10)]
fn a_policys_period_ends(#[case] age: i64, #[case] want: i32) {
    let policies = json!([{ "type": "Pods", "value": 4, "periodSeconds": 60 }]);
    let rules = json!({ "scaleUp": { "policies": policies } });
    let behavior: Behavior = serde_json::from_value(rules).unwrap();
    let time = now() - SignedDuration::from_secs(age);
    let memory = Memory {
        scale_up_events: vec![Change { change: 4, time }],
        ..Memory::default()
    };
    let range = Range { min: 1, max: 100 };
    let step = limit::with_behavior(10, 100, range, (&behavior, &memory), now());
    let Step::Limited { replicas, .. } = step else {
        panic!("{step:?}")
    };
    assert_eq!(replicas, want);
}

/// Without behavior, one core a pod, target 50 %: the load rises at 15 s and falls at 45 s.
#[test]
fn the_worked_trace_doubles_then_waits_five_minutes() {
    let load = |at: i64| match at {
        0 => 1000,
        15..45 => 3000,
        _ => 500,
    };
    let (mut replicas, mut memory, mut status) = (2_i32, None, None);
    let mut seen_at = Vec::new();
    for at in (0..=345).step_by(15) {
        let count = usize::try_from(replicas).unwrap();
        let share = load(at) / i64::from(replicas);
        let mut seen = observed(&cpu(50), &vec![Some(share); count]);
        seen.now += SignedDuration::from_secs(at);
        seen.memory = memory;
        seen.status = status.unwrap_or_default();
        let decision = decide(&seen);
        if let Some(written) = decision.write {
            seen_at.push((at, replicas, written));
        }
        let conditions = &decision.status.conditions;
        let reason = |kind: &str| {
            let found = conditions.iter().find(|c| c.kind == kind);
            found.map_or("", |condition| condition.reason.as_str())
        };
        match at {
            0 => assert_eq!(reason("AbleToScale"), "ReadyForNewScale"),
            15 => assert_eq!(reason("ScalingLimited"), "ScaleUpLimit"),
            45..=330 => assert_eq!(reason("AbleToScale"), "ScaleDownStabilized", "at {at} s"),
            _ => {}
        }
        replicas = decision.replicas;
        (memory, status) = (decision.memory, Some(decision.status));
    }
    assert_eq!(seen_at, [(15, 2, 4), (30, 4, 6), (345, 6, 1)]);
}
