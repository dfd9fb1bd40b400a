//! What becomes of a proposal: windows, limits, and what is remembered of it.

use super::{Outcome, chopped};
use jiff::{SignedDuration, Timestamp};
use plimsoll_engine::horizontal::memory::{Change, Recommendation};
use plimsoll_engine::horizontal::spec::{Behavior, Policy, PolicyKind, Rules, Select};
use plimsoll_engine::horizontal::{Memory, Observed};

pub(super) fn hold_plain(seen: &Observed, asked: i32, memory: &mut Memory) -> (i32, &'static str) {
    let cutoff = seen.now - seen.settings.downscale_stabilization;
    let mut held = asked;
    for record in &memory.recommendations {
        if record.time >= cutoff {
            held = held.max(record.replicas);
        }
    }
    remember(memory, asked, seen.now, cutoff);
    (
        held,
        if held == asked {
            "ReadyForNewScale"
        } else {
            "ScaleDownStabilized"
        },
    )
}

pub(super) fn hold_with(
    seen: &Observed,
    behavior: &Behavior,
    current: i32,
    asked: i32,
    memory: &mut Memory,
) -> (i32, &'static str) {
    let seconds =
        |s: Option<i32>, default| s.map_or(default, |s| SignedDuration::from_secs(s.into()));
    let up = seconds(
        behavior.scale_up.stabilization_window_seconds,
        SignedDuration::ZERO,
    );
    let flag = seen.settings.downscale_stabilization;
    let down = seconds(behavior.scale_down.stabilization_window_seconds, flag);
    let (up, down) = (seen.now - up, seen.now - down);
    let (mut low, mut high) = (asked, asked);
    for record in &memory.recommendations {
        if record.time > up {
            low = low.min(record.replicas);
        }
        if record.time > down {
            high = high.max(record.replicas);
        }
    }
    let mut held = current;
    if held < low {
        held = low;
    }
    if held > high {
        held = high;
    }
    remember(memory, asked, seen.now, up.min(down));
    let able = if held == asked {
        "ReadyForNewScale"
    } else if asked >= current {
        "ScaleUpStabilized"
    } else {
        "ScaleDownStabilized"
    };
    (held, able)
}

fn remember(memory: &mut Memory, replicas: i32, time: Timestamp, stale: Timestamp) {
    let record = Recommendation { replicas, time };
    match memory.recommendations.iter().rposition(|r| r.time < stale) {
        Some(place) => memory.recommendations[place] = record,
        None => memory.recommendations.push(record),
    }
}

pub(super) fn bound_plain(current: i32, held: i32, min: i32, max: i32) -> (i32, &'static str) {
    let limit = (2 * current).max(4);
    if held < min {
        return (min, "TooFewReplicas");
    }
    if held > max.min(limit) {
        let why = if max <= limit {
            "TooManyReplicas"
        } else {
            "ScaleUpLimit"
        };
        return (max.min(limit), why);
    }
    (held, "DesiredWithinRange")
}

pub(super) fn bound_with(
    seen: &Observed,
    behavior: &Behavior,
    memory: &Memory,
    (current, held, min, max): (i32, i32, i32, i32),
) -> (i32, &'static str) {
    let recent = |events: &[Change], policy: &Policy| -> i32 {
        let cutoff = seen.now - SignedDuration::from_secs(policy.period_seconds.into());
        let recent = events.iter().filter(|e| e.time > cutoff);
        recent.map(|e| e.change).sum()
    };
    let start = |policy: &Policy| {
        let added = recent(&memory.scale_up_events, policy);
        current - added + recent(&memory.scale_down_events, policy)
    };
    if held > current {
        let limit = choose(&behavior.scale_up, current, true, |policy| {
            match policy.kind {
                PolicyKind::Pods => start(policy) + policy.value,
                PolicyKind::Percent => {
                    chopped((f64::from(start(policy)) * share(1, policy)).ceil())
                }
            }
        });
        let limit = limit.max(current);
        if held > limit.min(max) {
            let why = if max > limit {
                "ScaleUpLimit"
            } else {
                "TooManyReplicas"
            };
            return (limit.min(max), why);
        }
    } else if held < current {
        let limit = choose(
            &behavior.scale_down,
            current,
            false,
            |policy| match policy.kind {
                PolicyKind::Pods => start(policy) - policy.value,
                PolicyKind::Percent => chopped(f64::from(start(policy)) * share(-1, policy)),
            },
        );
        let limit = limit.min(current);
        if held < limit.max(min) {
            let why = if min < limit {
                "ScaleDownLimit"
            } else {
                "TooFewReplicas"
            };
            return (limit.max(min), why);
        }
    }
    (held, "DesiredWithinRange")
}

fn share(sign: i32, policy: &Policy) -> f64 {
    1.0 + f64::from(sign) * (f64::from(policy.value) / 100.0)
}

fn choose(rules: &Rules, current: i32, up: bool, allowed: impl Fn(&Policy) -> i32) -> i32 {
    let each = rules.policies.iter().map(allowed);
    match (rules.select_policy, up) {
        (Some(Select::Disabled), _) => current,
        (Some(Select::Min), true) | (Some(Select::Max) | None, false) => each.min().unwrap(),
        (Some(Select::Min), false) | (Some(Select::Max) | None, true) => each.max().unwrap(),
    }
}

pub(super) fn remember_event(seen: &Observed, out: &mut Outcome, current: i32, wanted: i32) {
    let (Some(behavior), Some(memory)) = (&seen.spec.behavior, &mut out.memory) else {
        return;
    };
    let (rules, events) = if wanted > current {
        (&behavior.scale_up, &mut memory.scale_up_events)
    } else {
        (&behavior.scale_down, &mut memory.scale_down_events)
    };
    let longest = rules
        .policies
        .iter()
        .map(|p| p.period_seconds)
        .max()
        .unwrap_or(0);
    let cutoff = seen.now - SignedDuration::from_secs(longest.into());
    let event = Change {
        change: (wanted - current).abs(),
        time: seen.now,
    };
    match events.iter().rposition(|e| e.time < cutoff) {
        Some(place) => events[place] = event,
        None => events.push(event),
    }
}
