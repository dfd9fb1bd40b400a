//! What must hold for every observation.

#[cfg(test)]
mod horizontal_cases;

use horizontal_cases::{cpu, observed, recommended};
use plimsoll_engine::horizontal::memory::Change;
use plimsoll_engine::horizontal::{
    ByHand, Memory, Observed, Reading, Step, decide, decide_held, render, replay, summary,
};
use proptest::prelude::*;
use serde_json::json;

#[cfg(test)]
fn usages() -> impl Strategy<Value = Vec<Option<i64>>> {
    let usage = prop_oneof![9 => (0_i64..4000).prop_map(Some), 1 => Just(None)];
    prop::collection::vec(usage, 1..30)
}

#[cfg(test)]
fn observations() -> impl Strategy<Value = Observed> {
    let bounds = (0_i32..10, 0_i32..60);
    let memory = prop::collection::vec((0_i32..80, 0_i64..600), 0..6);
    let spec = (1_i32..200, bounds, any::<bool>());
    (usages(), spec, memory).prop_map(|(usages, (target, (min, above), behaves), memory)| {
        let mut spec = cpu(target);
        spec["minReplicas"] = json!(min.max(1));
        spec["maxReplicas"] = json!(min.max(1) + above);
        if behaves {
            let policy = json!({ "type": "Percent", "value": 50, "periodSeconds": 60 });
            spec["behavior"] = json!({
                "scaleUp": { "stabilizationWindowSeconds": 60, "policies": [policy] },
                "scaleDown": { "stabilizationWindowSeconds": 120, "policies": [policy] },
            });
        }
        let mut seen = observed(&spec, &usages);
        let recommendations = memory
            .into_iter()
            .map(|(replicas, ago)| recommended(replicas, ago))
            .collect();
        seen.memory = Some(Memory {
            recommendations,
            ..Memory::default()
        });
        seen
    })
}

proptest! {
    #[test]
    fn compacting_the_memory_changes_no_later_decision(
        seen in observations(),
        history in prop::collection::vec((0_i32..80, 0_i64..700), 0..40),
        later in 0_i64..600,
    ) {
        let recommendations = history.iter().map(|&(count, ago)| recommended(count, ago)).collect();
        let memory = Memory { recommendations, ..Memory::default() };
        let mut compacted = memory.clone();
        compacted.compact();
        prop_assert!(compacted.recommendations.len() <= memory.recommendations.len());
        let mut answers = [memory, compacted].map(|memory| {
            let mut seen = seen.clone();
            seen.now += jiff::SignedDuration::from_secs(later);
            seen.memory = Some(memory);
            decide(&seen).replicas
        }).into_iter();
        prop_assert_eq!(answers.next(), answers.next());
    }

    #[test]
    fn a_written_count_is_within_the_bounds(seen in observations()) {
        let decision = decide(&seen);
        if let Some(count) = decision.write {
            prop_assert!(count <= seen.spec.max_replicas, "{:#?}", render(&decision.trace));
            prop_assert!(count >= seen.spec.min(), "{:#?}", render(&decision.trace));
        }
    }

    #[test]
    fn the_trace_alone_yields_the_answer(seen in observations()) {
        let decision = decide(&seen);
        prop_assert_eq!(
            replay(&decision.trace), Some(decision.replicas), "{:#?}", render(&decision.trace)
        );
    }

    #[test]
    fn every_decision_is_told_and_a_held_one_is_not_written(
        seen in observations(),
        up in prop::collection::vec((0_i32..20, 0_i64..120), 0..4),
        held in any::<bool>(),
    ) {
        let mut seen = seen;
        if let Some(memory) = &mut seen.memory {
            memory.scale_up_events = up.iter().map(|&(change, ago)| Change {
                change,
                time: seen.now - jiff::SignedDuration::from_secs(ago),
            }).collect();
        }
        let hold = held.then(|| ByHand::read(Some("indefinitely"), None, seen.now)).flatten();
        let decision = decide_held(&seen, hold.as_ref());
        let sentences = render(&decision.trace);
        prop_assert!(sentences.iter().all(|sentence| !sentence.trim().is_empty()));
        prop_assert!(!summary(&decision.trace).trim().is_empty());
        prop_assert_eq!(replay(&decision.trace), Some(decision.replicas), "{:#?}", sentences);
        if held {
            prop_assert_eq!(decision.write, None);
            prop_assert_eq!(decision.replicas, decision.status.current_replicas);
        }
    }

    #[test]
    fn nothing_moves_before_the_time_that_is_told(seen in observations()) {
        let decision = decide(&seen);
        let until = decision.trace.iter().find_map(|step| {
            let Step::Stabilized { holder, .. } = step else { return None };
            holder.map(|holder| holder.until)
        });
        let (Some(until), None) = (until, decision.write) else { return Ok(()) };
        let mut later = seen.clone();
        later.now = until - jiff::SignedDuration::from_millis(1);
        later.memory = decision.memory;
        for reading in &mut later.readings {
            if let Ok(Reading::PerPod(samples)) = reading {
                for sample in samples.iter_mut() {
                    sample.timestamp = later.now;
                }
            }
        }
        prop_assert_eq!(decide(&later).write, None, "{:#?}", render(&decision.trace));
    }

    #[test]
    fn a_blind_spot_never_turns_the_direction(seen in observations()) {
        let current = seen.scale.as_ref().unwrap().spec_replicas;
        let (answer, trace) = plimsoll_engine::horizontal::propose(&seen, 0);
        let (Ok(answer), Some(ratio)) = (answer, measured(&trace)) else { return Ok(()) };
        prop_assert!(ratio <= 1.0 || answer.replicas >= current, "{:#?}", render(&trace));
        prop_assert!(ratio >= 1.0 || answer.replicas <= current, "{:#?}", render(&trace));
    }

    #[test]
    fn more_usage_never_asks_for_fewer(usages in usages(), more in 0_i64..3000) {
        let low = observed(&cpu(50), &usages);
        let raised: Vec<_> = usages.iter().map(|usage| usage.map(|u| u + more)).collect();
        let high = observed(&cpu(50), &raised);
        let count = |seen: &Observed| {
            plimsoll_engine::horizontal::propose(seen, 0).0.map(|answer| answer.replicas)
        };
        if let (Ok(low), Ok(high)) = (count(&low), count(&high)) {
            prop_assert!(low <= high, "{low} > {high}");
        }
    }

    #[test]
    fn the_order_of_pods_and_samples_does_not_matter(seen in observations()) {
        let mut turned = seen.clone();
        turned.pods.reverse();
        if let Ok(Reading::PerPod(samples)) = &mut turned.readings[0] {
            samples.reverse();
        }
        let (one, other) = (decide(&seen), decide(&turned));
        prop_assert_eq!(one.replicas, other.replicas);
        prop_assert_eq!(one.status, other.status);
    }

    #[test]
    fn nonsense_numbers_have_an_answer(values in prop::collection::vec(any::<i64>(), 1..5), target in any::<i32>()) {
        let values: Vec<_> = values.into_iter().map(Some).collect();
        let decision = decide(&observed(&cpu(target), &values));
        prop_assert!(!render(&decision.trace).is_empty());
    }
}

#[cfg(test)]
fn measured(trace: &[Step]) -> Option<f64> {
    trace.iter().find_map(|step| {
        let Step::Measured { ratio, .. } = step else {
            return None;
        };
        Some(*ratio)
    })
}
