//! Every way to stay where one is has its own sentence, and one line that says the whole.

#[cfg(test)]
mod horizontal_cases;

use horizontal_cases::{cpu, now, observed, recommended};
use jiff::SignedDuration;
use plimsoll_engine::horizontal::hold::INDEFINITELY;
use plimsoll_engine::horizontal::memory::Change;
use plimsoll_engine::horizontal::{
    ByHand, Memory, Observed, Reading, Selection, decide, decide_held, render, replay,
    same_outcome, summary,
};
use rstest::rstest;
use serde_json::{Value, json};

#[cfg(test)]
fn with(key: &str, value: Value) -> Value {
    let mut spec = cpu(50);
    spec[key] = value;
    spec
}

#[cfg(test)]
fn behaving(rules: &Value) -> Value {
    with("behavior", json!({ "scaleUp": rules, "scaleDown": rules }))
}

#[cfg(test)]
fn remembering(mut seen: Observed, recommendations: &[(i32, i64)]) -> Observed {
    let recommendations = recommendations
        .iter()
        .map(|&(count, ago)| recommended(count, ago));
    seen.memory = Some(Memory {
        recommendations: recommendations.collect(),
        ..Memory::default()
    });
    seen
}

#[cfg(test)]
fn changed(mut seen: Observed, up: &[(i32, i64)], down: &[(i32, i64)]) -> Observed {
    let changes = |changes: &[(i32, i64)]| {
        let change = |&(change, ago): &(i32, i64)| Change {
            change,
            time: now() - SignedDuration::from_secs(ago),
        };
        changes.iter().map(change).collect()
    };
    seen.memory = Some(Memory {
        recommendations: Vec::new(),
        scale_up_events: changes(up),
        scale_down_events: changes(down),
    });
    seen
}

#[cfg(test)]
fn policy(kind: &str, value: i32) -> Value {
    json!({ "stabilizationWindowSeconds": 0,
            "policies": [{ "type": kind, "value": value, "periodSeconds": 60 }] })
}

#[cfg(test)]
fn unselectable() -> Observed {
    let mut seen = observed(&cpu(50), &[Some(500); 2]);
    if let Ok(scale) = &mut seen.scale {
        scale.selector = Selection::Missing;
    }
    seen
}

#[cfg(test)]
fn unreadable() -> Observed {
    let mut seen = observed(&cpu(50), &[Some(500); 2]);
    seen.scale = Err("deployments.apps \"web\" not found".into());
    seen
}

#[cfg(test)]
fn two_metrics(external: i64) -> Observed {
    let mut spec = cpu(50);
    let queue = json!({ "type": "External", "external": {
        "metric": { "name": "queue" },
        "target": { "type": "AverageValue", "averageValue": "10" } } });
    spec["metrics"].as_array_mut().unwrap().push(queue);
    let mut seen = observed(&spec, &[Some(250); 4]);
    seen.readings.push(Ok(Reading::Series(vec![external])));
    seen
}

#[rstest]
#[case::within_tolerance(observed(&cpu(50), &[Some(520); 3]), "held at 3: 52% is within 10% of 50%")]
#[case::below_within_tolerance(observed(&cpu(50), &[Some(460); 3]), "held at 3: 46% is within 10% of 50%")]
#[case::stabilized(
    remembering(observed(&cpu(50), &[Some(100); 4]), &[(6, 600), (4, 250), (3, 10)]),
    "held at 4 by stabilization until 12:00:50, the next possible change: 4 was recommended at 11:55:50"
)]
#[case::stabilized_with_behavior(
    remembering(observed(&behaving(&json!({})), &[Some(100); 4]), &[(9, 200), (4, 250), (5, 30)]),
    "held at 4 by stabilization until 12:04:30, the next possible change: 5 was recommended at 11:59:30"
)]
#[case::growth_stabilized(
    remembering(
        observed(&behaving(&json!({ "stabilizationWindowSeconds": 120 })), &[Some(900); 4]),
        &[(3, 100), (7, 50)],
    ),
    "held at 4 by stabilization until 12:00:20, the next possible change: 3 was recommended at 11:58:20"
)]
#[case::rate_used_up(
    changed(observed(&behaving(&policy("Pods", 2)), &[Some(2000); 3]), &[(2, 40)], &[]),
    "held at 3: 12 limited to 3: at most 2 pods may be added in 60 s, and 2 already were; room for \
     more from 12:00:20"
)]
#[case::shrinking_used_up(
    changed(observed(&behaving(&policy("Percent", 25)), &[Some(10); 3]), &[], &[(1, 15)]),
    "held at 3: 1 limited to 3: at most 25% may be removed in 60 s, and 1 already were; room for \
     more from 12:00:45"
)]
#[case::disabled_direction(
    observed(
        &behaving(&json!({ "stabilizationWindowSeconds": 0, "selectPolicy": "Disabled" })),
        &[Some(10); 3],
    ),
    "held at 3: 1 limited to 3: scaling down is disabled (selectPolicy: Disabled)"
)]
#[case::at_the_maximum(
    observed(&with("maxReplicas", json!(3)), &[Some(1000); 3]),
    "held at 3, the maximum: 6 are wanted"
)]
#[case::at_the_minimum(
    observed(&with("minReplicas", json!(3)), &[Some(10); 3]),
    "held at 3, the minimum: 1 are wanted"
)]
#[case::no_sample(
    observed(&cpu(50), &[None, None]),
    "held at 2: no proposal: failed to get cpu utilization: unable to get metrics for resource \
     cpu: no metrics returned from resource metrics API"
)]
#[case::blind_pods(
    observed(&cpu(50), &[Some(900), None, None, None]),
    "held at 4: with the assumed pods the ratio turns from 1.8 to 0.44"
)]
#[case::no_selector(unselectable(), "held: the HPA target's scale is missing a selector")]
#[case::no_scale(
    unreadable(),
    "the target's scale cannot be read: deployments.apps \"web\" not found"
)]
#[case::at_zero(
    observed(&cpu(50), &[]),
    "the target is scaled to zero, so autoscaling is off until it is scaled up by hand"
)]
#[case::grows(
    observed(&cpu(50), &[Some(900), Some(960)]),
    "2 -> 4 replicas: 2 ready pods measured: average 93%, target 50%, ratio 1.86"
)]
#[case::grows_as_far_as_allowed(
    observed(&cpu(50), &[Some(3000)]),
    "1 -> 4 replicas: 1 ready pod measured: average 300%, target 50%, ratio 6; 6 limited to 4: at \
     most doubled, or 4, at once"
)]
#[case::back_into_the_range(
    observed(&with("maxReplicas", json!(2)), &[Some(500); 3]),
    "3 -> 2 replicas: it was above the maximum"
)]
#[case::the_larger_metric_is_named(
    two_metrics(70_000),
    "4 -> 7 replicas: total 70 against 10 per replica with 4: ratio 1.75"
)]
fn one_line_says_it(#[case] seen: Observed, #[case] want: &str) {
    let decision = decide(&seen);
    assert_eq!(summary(&decision.trace), want, "{:#?}", decision.trace);
}

#[rstest]
#[case::for_good(INDEFINITELY, "release", "held by hand until it is lifted (release)")]
#[case::for_a_while("2026-01-01T12:30:00Z", "", "held by hand until 2026-01-01T12:30:00Z")]
fn a_hold_computes_all_and_writes_nothing(
    #[case] until: &str,
    #[case] why: &str,
    #[case] held: &str,
) {
    let seen = observed(&cpu(50), &[Some(900), Some(960)]);
    let hold = ByHand::read(Some(until), Some(why), seen.now);
    let decision = decide_held(&seen, hold.as_ref());
    let free = decide(&seen);
    assert_eq!((decision.write, decision.replicas), (None, 2));
    assert_eq!(
        decision.memory.as_ref().map(|m| &m.recommendations),
        free.memory.as_ref().map(|m| &m.recommendations)
    );
    assert_eq!(
        summary(&decision.trace),
        format!("{held}: would go to 4 replicas")
    );
    assert_eq!(replay(&decision.trace), Some(2));
    let shown = decision
        .status
        .conditions
        .iter()
        .find(|c| c.kind == "Held")
        .unwrap();
    assert_eq!((&*shown.status, &*shown.reason), ("True", "HeldByHand"));
    assert_eq!(shown.message, format!("{held}: would go to 4 replicas"));
    let able = decision
        .status
        .conditions
        .iter()
        .find(|c| c.kind == "AbleToScale")
        .unwrap();
    assert_eq!(able.reason, "ReadyForNewScale");
    let told: Vec<_> = decision
        .events
        .iter()
        .map(|e| (&*e.reason, &*e.message))
        .collect();
    assert_eq!(told, [("Held", held)]);

    // The next pass tells nothing new; the first one after the hold does.
    let mut later = seen.clone();
    later.status = decision.status.clone();
    assert!(decide_held(&later, hold.as_ref()).events.is_empty());
    let released = decide(&later);
    assert!(released.status.conditions.iter().all(|c| c.kind != "Held"));
    let told: Vec<_> = released.events.iter().map(|e| &*e.reason).collect();
    assert_eq!(told, ["SuccessfulRescale", "Resumed"]);
}

#[rstest]
#[case::none(None, false)]
#[case::over(Some("2026-01-01T12:00:00Z"), false)]
#[case::until_later(Some("2026-01-01T12:00:01Z"), true)]
#[case::with_an_offset(Some("2026-01-01T13:30:00+01:00"), true)]
#[case::indefinitely(Some("indefinitely"), true)]
#[case::unreadable_is_careful(Some("30m"), true)]
#[case::empty_is_careful(Some(""), true)]
fn a_hold_is_in_force(#[case] text: Option<&str>, #[case] want: bool) {
    assert_eq!(ByHand::read(text, None, now()).is_some(), want);
}

#[test]
fn an_unreadable_hold_says_what_is_expected() {
    let hold = ByHand::read(Some("30m"), None, now()).unwrap();
    assert_eq!(
        hold.text(),
        "held by hand until it is lifted: plimsoll.dev/hold is \"30m\", which is neither a time \
         like 2026-01-31T12:30:00Z nor \"indefinitely\""
    );
}

#[rstest]
#[case::other_numbers(observed(&cpu(50), &[Some(520); 3]), observed(&cpu(50), &[Some(470); 3]), true)]
#[case::another_count(observed(&cpu(50), &[Some(520); 3]), observed(&cpu(50), &[Some(520); 4]), false)]
#[case::another_rule(observed(&cpu(50), &[Some(520); 3]), observed(&cpu(50), &[Some(900); 3]), false)]
#[case::other_bounds(
    observed(&cpu(50), &[Some(520); 3]),
    observed(&with("maxReplicas", json!(7)), &[Some(520); 3]),
    false
)]
fn only_numbers_may_differ(#[case] one: Observed, #[case] other: Observed, #[case] want: bool) {
    let [one, other] = [one, other].map(|seen| decide(&seen).trace);
    assert_eq!(same_outcome(&one, &other), want);
    assert!(same_outcome(&one, &one));
}

#[test]
fn every_sentence_of_these_cases_is_worth_reading() {
    for seen in [
        unreadable(),
        unselectable(),
        two_metrics(0),
        observed(&cpu(50), &[]),
    ] {
        let sentences = render(&decide(&seen).trace);
        assert!(
            sentences.iter().all(|s| !s.trim().is_empty()),
            "{sentences:?}"
        );
    }
}
