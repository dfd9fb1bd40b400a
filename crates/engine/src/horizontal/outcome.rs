//! A decision in one line, and whether two decisions say the same.

use super::limit::Limit;
use super::sentence::replicas_of;
use super::trace::{Bound, Step};
use std::mem::discriminant;

/// The decision in one line: what happens, and the one rule that had the last word.
pub fn summary(trace: &[Step]) -> String {
    let Some(last) = trace.last() else {
        return "nothing was decided".into();
    };
    let Step::Settled { from, to } = *last else {
        return last.sentence();
    };
    if let Some(why) = held_by_hand(trace, from) {
        return why;
    }
    if from != to {
        let why = cause(trace).unwrap_or_default();
        return format!("{from} -> {}{why}", replicas_of(to));
    }
    stay(trace, to)
}

/// Whether two decisions took the same way to the same count: only measured numbers, times and the
/// names of pods may differ.
pub fn same_outcome(one: &[Step], other: &[Step]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| same_step(a, b))
}

/// A text with each number as `#`: what is still the same when only an age has grown.
pub fn without_numbers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if !character.is_ascii_digit() {
            plain.push(character);
        } else if !plain.ends_with('#') {
            plain.push('#');
        }
    }
    plain
}

fn same_step(one: &Step, other: &Step) -> bool {
    if discriminant(one) != discriminant(other) {
        return false;
    }
    match (one, other) {
        (
            Step::Found { current, min, max },
            Step::Found {
                current: current_b,
                min: min_b,
                max: max_b,
            },
        ) => (current, min, max) == (current_b, min_b, max_b),
        (Step::Unreadable { error: a }, Step::Unreadable { error: b })
        | (Step::Unselectable { error: a }, Step::Unselectable { error: b })
        | (Step::Failed { error: a }, Step::Failed { error: b }) => {
            a == b || without_numbers(a) == without_numbers(b)
        }
        (Step::Held { because: a, .. }, Step::Held { because: b, .. }) => {
            discriminant(a) == discriminant(b)
        }
        (Step::Limited { reason: a, .. }, Step::Limited { reason: b, .. }) => a == b,
        (Step::Stabilized { holder: a, .. }, Step::Stabilized { holder: b, .. }) => {
            a.map(|holder| holder.replicas) == b.map(|holder| holder.replicas)
        }
        (
            Step::HeldByHand {
                until, why, would, ..
            },
            Step::HeldByHand {
                until: until_b,
                why: why_b,
                would: would_b,
            },
        ) => (until, why, would) == (until_b, why_b, would_b),
        (
            Step::Settled { from, to },
            Step::Settled {
                from: from_b,
                to: to_b,
            },
        ) => (from, to) == (from_b, to_b),
        _ => true,
    }
}

fn held_by_hand(trace: &[Step], current: i32) -> Option<String> {
    let step = trace
        .iter()
        .rev()
        .find(|step| matches!(step, Step::HeldByHand { .. }))?;
    let Step::HeldByHand { would, .. } = step else {
        return None;
    };
    if *would == current {
        let held = step.sentence();
        let held = held.split(": would go to").next().unwrap_or(&held);
        return Some(format!("{held}: would stay at {}", replicas_of(current)));
    }
    Some(step.sentence())
}

/// Why the count moves: the deciding measurement and what cut the proposal.
fn cause(trace: &[Step]) -> Option<String> {
    let outside = trace.iter().find_map(|step| {
        let Step::OutsideRange { bound, .. } = step else {
            return None;
        };
        Some(*bound)
    });
    match outside {
        Some(Bound::Max) => return Some(": it was above the maximum".into()),
        Some(Bound::Min) => return Some(": it was below the minimum".into()),
        None => {}
    }
    let is_measurement = |step: &&Step| matches!(step, Step::Measured { .. } | Step::Total { .. });
    let measured = winner(trace).iter().find(is_measurement)?;
    let mut text = format!(": {}", measured.sentence());
    let cut = trace.iter().rev().find(|step| is_cut(step));
    if let Some(cut) = cut {
        text.push_str("; ");
        text.push_str(&cut.sentence());
    }
    Some(text)
}

fn stay(trace: &[Step], at: i32) -> String {
    let last_word = trace.iter().rev().find(|step| {
        is_cut(step)
            || matches!(
                step,
                Step::Disabled | Step::Unselectable { .. } | Step::Blocked { .. }
            )
    });
    let Some(last_word) = last_word else {
        return unmoved(trace, at);
    };
    if matches!(last_word, Step::Blocked { .. }) {
        let failed = trace
            .iter()
            .find(|step| matches!(step, Step::Failed { .. }));
        let why = failed.map(Step::sentence).unwrap_or_default();
        return format!("held at {at}: {why}");
    }
    let Step::Limited { wanted, reason, .. } = last_word else {
        return last_word.sentence();
    };
    match reason {
        Limit::TooManyReplicas => format!("held at {at}, the maximum: {wanted} are wanted"),
        Limit::TooFewReplicas => format!("held at {at}, the minimum: {wanted} are wanted"),
        Limit::DesiredWithinRange | Limit::ScaleUpLimit | Limit::ScaleDownLimit => {
            format!("held at {at}: {}", last_word.sentence())
        }
    }
}

/// Nothing stands in the way: the metric itself asks for what is there.
fn unmoved(trace: &[Step], at: i32) -> String {
    let winner = winner(trace);
    let held = winner.iter().find(|step| matches!(step, Step::Held { .. }));
    let proposed = winner
        .iter()
        .find(|step| matches!(step, Step::Proposed { .. }));
    match (held, proposed) {
        (Some(step), _) => step.sentence(),
        (None, Some(step)) => format!("stays at {at}: {}", step.sentence()),
        (None, None) => format!("stays at {}", replicas_of(at)),
    }
}

/// Whether the step changed what came into it.
fn is_cut(step: &Step) -> bool {
    if let Step::Limited {
        wanted, replicas, ..
    } = step
    {
        return wanted != replicas;
    }
    matches!(step, Step::Stabilized { holder, .. } if holder.is_some())
}

/// The steps of the first metric with the largest proposal; none without one.
fn winner(trace: &[Step]) -> &[Step] {
    let is_choice = |step: &&Step| matches!(step, Step::Chosen { .. });
    let Some(Step::Chosen {
        replicas: chosen, ..
    }) = trace.iter().find(is_choice)
    else {
        return &[];
    };
    let mut metrics = trace.split(|step| {
        matches!(
            step,
            Step::Metric { .. } | Step::Chosen { .. } | Step::Stabilized { .. }
        )
    });
    let proposes = |steps: &&[Step]| {
        steps.iter().any(|step| {
            matches!(step, Step::Held { replicas, .. } | Step::Proposed { replicas, .. }
                if replicas == chosen)
        })
    };
    metrics.find(proposes).unwrap_or_default()
}
