//! Bad input, blind spots and odd clocks: what must hold however wrong the world is.

#[cfg(test)]
mod horizontal_cases;

use horizontal_cases::{cpu, observed, recommended};
use jiff::SignedDuration;
use plimsoll_engine::horizontal::memory::Change;
use plimsoll_engine::horizontal::{
    Decision, Memory, Observed, Reading, Status, decide, render, replay,
};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

/// Any whole number, the extreme ones often.
#[cfg(test)]
fn extremes() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        Just(i64::MAX),
        Just(i64::MIN),
        Just(0),
        Just(-1),
        0_i64..5000,
    ]
}

#[cfg(test)]
fn spec(target: i32, behaves: bool) -> Value {
    let mut spec = cpu(target);
    spec["maxReplicas"] = json!(40);
    if behaves {
        let policy = json!({ "type": "Percent", "value": 50, "periodSeconds": 60 });
        spec["behavior"] = json!({
            "scaleUp": { "stabilizationWindowSeconds": 60, "policies": [policy] },
            "scaleDown": { "stabilizationWindowSeconds": 120, "policies": [policy] },
        });
    }
    spec
}

/// Ages in seconds; negative ones lie in the future.
#[cfg(test)]
fn memory(ages: &[(i32, i64)]) -> Memory {
    let change = |&(count, ago): &(i32, i64)| Change {
        change: count,
        time: recommended(0, ago).time,
    };
    Memory {
        recommendations: ages
            .iter()
            .map(|&(count, ago)| recommended(count, ago))
            .collect(),
        scale_up_events: ages.iter().map(change).collect(),
        scale_down_events: Vec::new(),
    }
}

#[cfg(test)]
fn seen(usages: &[Option<i64>], target: i32, behaves: bool, ages: &[(i32, i64)]) -> Observed {
    let mut seen = observed(&spec(target, behaves), usages);
    seen.memory = Some(memory(ages));
    seen
}

#[cfg(test)]
fn current(seen: &Observed) -> i32 {
    seen.scale.as_ref().unwrap().spec_replicas
}

#[cfg(test)]
fn told(decision: &Decision) -> String {
    render(&decision.trace).join("\n")
}

#[cfg(test)]
fn usages() -> impl Strategy<Value = Vec<Option<i64>>> {
    let usage = prop_oneof![6 => (0_i64..3000).prop_map(Some), 1 => Just(None)];
    prop::collection::vec(usage, 1..12)
}

#[cfg(test)]
fn ages() -> impl Strategy<Value = Vec<(i32, i64)>> {
    prop::collection::vec((0_i32..40, -400_i64..400), 0..6)
}

/// One metric of each type, with the reading that `values` gives it.
#[cfg(test)]
fn of_every_type(values: &[i64], target: i64) -> Vec<(Value, Reading)> {
    let rate = json!({ "name": "rate" });
    let average = json!({ "type": "AverageValue", "averageValue": format!("{target}m") });
    let total = json!({ "type": "Value", "value": format!("{target}m") });
    let described = json!({ "apiVersion": "v1", "kind": "Service", "name": "web" });
    let single = values.first().copied().unwrap_or_default();
    let per_pod = {
        let given: Vec<Option<i64>> = values.iter().copied().map(Some).collect();
        observed(&cpu(50), &given).readings.remove(0).unwrap()
    };
    vec![
        (
            json!({ "type": "Resource", "resource": { "name": "cpu", "target": average } }),
            per_pod.clone(),
        ),
        (
            json!({ "type": "Pods", "pods": { "metric": rate, "target": average } }),
            per_pod,
        ),
        (
            json!({ "type": "Object", "object": { "metric": rate, "target": total, "describedObject": described } }),
            Reading::Single(single),
        ),
        (
            json!({ "type": "Object", "object": { "metric": rate, "target": average, "describedObject": described } }),
            Reading::Single(single),
        ),
        (
            json!({ "type": "External", "external": { "metric": rate, "target": total } }),
            Reading::Series(values.to_vec()),
        ),
        (
            json!({ "type": "External", "external": { "metric": rate, "target": average } }),
            Reading::Series(values.to_vec()),
        ),
    ]
}

proptest! {
    #[test]
    fn no_number_breaks_a_metric_of_any_type(
        values in prop::collection::vec(extremes(), 1..6),
        target in extremes(),
        at_zero in any::<bool>(),
        behaves in any::<bool>(),
        ages in ages(),
    ) {
        let pods: Vec<Option<i64>> = values.iter().map(|_| Some(100)).collect();
        for (metric, reading) in of_every_type(&values, target) {
            let mut spec = spec(50, behaves);
            spec["metrics"] = json!([metric]);
            let mut seen = observed(&spec, &pods);
            seen.readings = vec![Ok(reading)];
            seen.memory = Some(memory(&ages));
            if at_zero {
                seen.scale.as_mut().unwrap().status_replicas = 0;
            }
            let decision = decide(&seen);
            prop_assert_eq!(replay(&decision.trace), Some(decision.replicas), "{}", told(&decision));
            let bounds = seen.spec.min()..=seen.spec.max_replicas;
            prop_assert!(decision.write.is_none_or(|to| bounds.contains(&to)), "{}", told(&decision));
            prop_assert!(target > 0 || decision.write.is_none(), "{}", told(&decision));
            prop_assert!(target > 0 || decision.error.is_some());
        }
    }

    #[test]
    fn no_load_is_too_large_to_scale_up(
        load in (1_i64 << 40)..=i64::MAX, pods in 1_usize..30, behaves in any::<bool>()
    ) {
        let values: Vec<i64> = vec![load; pods];
        let measured: Vec<Option<i64>> = values.iter().copied().map(Some).collect();
        let utilization = decide(&seen(&measured, 50, behaves, &[]));
        let pods = i32::try_from(pods).unwrap();
        prop_assert!(utilization.replicas > pods, "{}", told(&utilization));
        for (metric, reading) in of_every_type(&values, 100) {
            let mut spec = spec(50, behaves);
            spec["metrics"] = json!([metric]);
            let mut seen = observed(&spec, &measured);
            seen.readings = vec![Ok(reading)];
            let decision = decide(&seen);
            prop_assert!(decision.replicas > pods, "{metric}\n{}", told(&decision));
        }
    }

    #[test]
    fn more_load_never_ends_with_fewer(
        usages in usages(),
        more in prop::collection::vec(0_i64..3000, 12),
        target in 1_i32..200,
        behaves in any::<bool>(),
        ages in ages(),
    ) {
        let raised: Vec<_> = usages.iter().zip(more).map(|(usage, more)| usage.map(|u| u + more)).collect();
        let low = decide(&seen(&usages, target, behaves, &ages));
        let high = decide(&seen(&raised, target, behaves, &ages));
        prop_assert!(low.replicas <= high.replicas, "{}\n--\n{}", told(&low), told(&high));
    }

    #[test]
    fn whatever_is_unseen_counts_as_at_work_when_shrinking(usages in usages(), target in 1_i32..200) {
        let (blind, count) = (seen(&usages, target, false, &[]), i32::try_from(usages.len()).unwrap());
        // What every pod would have to use at least, so that its absence costs nobody its place.
        let at_work = Some(i64::from(target.max(100)) * 10);
        let filled: Vec<_> = usages.iter().map(|usage| usage.or(at_work)).collect();
        let (blind, full) = (decide(&blind), decide(&seen(&filled, target, false, &[])));
        if blind.replicas < count {
            prop_assert_eq!(blind.replicas, full.replicas, "{}\n--\n{}", told(&blind), told(&full));
        }
    }

    #[test]
    fn total_blindness_moves_nothing(
        pods in 1_usize..12, behaves in any::<bool>(), ages in ages(), empty in any::<bool>()
    ) {
        let mut seen = seen(&vec![None; pods], 50, behaves, &ages);
        if !empty {
            seen.readings = vec![Err("the server is currently unable to handle the request".into())];
        }
        let decision = decide(&seen);
        prop_assert_eq!(decision.write, None);
        prop_assert_eq!(decision.replicas, current(&seen));
        prop_assert!(decision.error.is_some());
        // What was remembered stays; being blind is no recommendation.
        prop_assert_eq!(decision.memory, seen.memory);
    }

    #[test]
    fn a_failed_metric_beside_others_never_shrinks(
        usages in usages(), target in 1_i32..200, behaves in any::<bool>(), ages in ages()
    ) {
        let mut seen = seen(&usages, target, behaves, &ages);
        let spec = std::sync::Arc::make_mut(&mut seen.spec);
        spec.metrics.push(spec.metrics[0].clone());
        seen.readings.push(Err("429".into()));
        let decision = decide(&seen);
        let (proposal, _) = plimsoll_engine::horizontal::propose(&seen, 0);
        if proposal.is_ok_and(|answer| answer.replicas < current(&seen)) {
            prop_assert_eq!(decision.write, None, "{}", told(&decision));
        }
    }

    #[test]
    fn a_settled_autoscaler_stays_settled(
        usages in usages(), target in 1_i32..200, behaves in any::<bool>(), ages in ages()
    ) {
        let mut seen = seen(&usages, target, behaves, &ages);
        let first = decide(&seen);
        if first.write.is_some() {
            return Ok(());
        }
        seen.status = first.status.clone();
        seen.memory.clone_from(&first.memory);
        let second = decide(&seen);
        prop_assert_eq!(second.write, None, "{}", told(&second));
        prop_assert_eq!(second.status, first.status);
        prop_assert_eq!(second.events, first.events);
    }

    #[test]
    fn the_order_of_metrics_does_not_matter(
        first in usages(), target in 1_i32..200, other in 1_i32..200, total in 0_i64..100_000
    ) {
        let utilization = |percent: i32| cpu(percent)["metrics"][0].clone();
        let queue = json!({ "type": "External", "external": { "metric": { "name": "queue" },
            "target": { "type": "AverageValue", "averageValue": "1" } } });
        let spec = json!({ "metrics": [utilization(target), utilization(other), queue] });
        let mut seen = observed(&spec, &first);
        let reading = seen.readings[0].clone();
        seen.readings = vec![reading.clone(), reading, Ok(Reading::Series(vec![total]))];
        let one = decide(&seen);
        std::sync::Arc::make_mut(&mut seen.spec).metrics.reverse();
        seen.readings.reverse();
        let turned = decide(&seen);
        prop_assert_eq!(one.replicas, turned.replicas);
        prop_assert_eq!(one.write, turned.write);
    }

    #[test]
    fn clocks_that_jump_never_break_a_window(
        usages in usages(),
        behaves in any::<bool>(),
        ages in ages(),
        jumps in prop::collection::vec(-4_000_i64..4_000, 1..8),
    ) {
        let mut seen = seen(&usages, 50, behaves, &ages);
        for jump in jumps {
            seen.now += SignedDuration::from_secs(jump);
            let decision = decide(&seen);
            let bounds = seen.spec.min()..=seen.spec.max_replicas;
            prop_assert!(decision.write.is_none_or(|to| bounds.contains(&to)));
            prop_assert_eq!(replay(&decision.trace), Some(decision.replicas));
            let mut memory = decision.memory.unwrap();
            memory.compact();
            seen.memory = Some(memory);
            seen.status = decision.status;
        }
    }
}

#[rstest]
#[case::utilization(json!({ "type": "Utilization", "averageUtilization": 0 }))]
#[case::average(json!({ "type": "AverageValue", "averageValue": "-5" }))]
fn a_target_that_is_no_target_holds_and_says_so(#[case] target: Value) {
    let metric = json!({ "type": "Resource", "resource": { "name": "cpu", "target": target } });
    let seen = observed(&json!({ "metrics": [metric] }), &[Some(900), Some(900)]);
    let decision = decide(&seen);
    assert_eq!((decision.write, decision.replicas), (None, 2));
    let active = |status: &Status| {
        let found = status.conditions.iter().find(|c| c.kind == "ScalingActive");
        found.map(|c| (c.reason.clone(), c.message.clone()))
    };
    let why =
        "the HPA was unable to compute the replica count: the target is not greater than zero";
    let want = ("FailedGetResourceMetric".to_owned(), why.to_owned());
    assert_eq!(active(&decision.status), Some(want));
}

#[test]
fn the_largest_counts_do_not_wrap() {
    let mut seen = observed(&cpu(50), &[Some(900)]);
    std::sync::Arc::make_mut(&mut seen.spec).max_replicas = i32::MAX;
    for current in [i32::MAX - 1, i32::MAX / 2 + 1] {
        seen.scale.as_mut().unwrap().spec_replicas = current;
        seen.memory = Some(Memory {
            recommendations: vec![recommended(i32::MAX, 1)],
            ..Memory::default()
        });
        let decision = decide(&seen);
        assert!(decision.replicas >= current, "{}", told(&decision));
    }
}
