//! Stabilisation: recent recommendations hold the count back.

use super::memory::{Memory, before};
use super::observed::Settings;
use super::spec::Behavior;
use super::trace::Step;
use jiff::{SignedDuration, Timestamp};

/// Without a behavior: the largest recommendation of the window, however far from the current
/// count. Remembers the proposal.
pub fn without_behavior(
    proposal: i32,
    memory: &mut Memory,
    settings: &Settings,
    now: Timestamp,
) -> Step {
    let cutoff = before(now, settings.downscale_stabilization);
    let recent = memory.recommendations.iter().filter(|r| r.time >= cutoff);
    let lowest = recent.map(|r| r.replicas).fold(proposal, i32::max);
    memory.recommend(proposal, now, cutoff);
    Step::Stabilized {
        start: proposal,
        lowest,
        highest: None,
        replicas: lowest,
    }
}

/// With a behavior: the current count, moved into the range that both windows allow. Remembers
/// the proposal.
pub fn with_behavior(
    (current, proposal): (i32, i32),
    memory: &mut Memory,
    behavior: &Behavior,
    settings: &Settings,
    now: Timestamp,
) -> Step {
    let window = |seconds: Option<i32>, default: SignedDuration| {
        before(
            now,
            seconds.map_or(default, |s| SignedDuration::from_secs(s.into())),
        )
    };
    let up = window(
        behavior.scale_up.stabilization_window_seconds,
        SignedDuration::ZERO,
    );
    let down = window(
        behavior.scale_down.stabilization_window_seconds,
        settings.downscale_stabilization,
    );
    let newer = |cutoff: Timestamp| {
        memory
            .recommendations
            .iter()
            .filter(move |r| r.time > cutoff)
    };
    let lowest = newer(up).map(|r| r.replicas).fold(proposal, i32::min);
    let highest = newer(down).map(|r| r.replicas).fold(proposal, i32::max);
    let replicas = current.max(lowest).min(highest);
    memory.recommend(proposal, now, up.min(down));
    Step::Stabilized {
        start: current,
        lowest,
        highest: Some(highest),
        replicas,
    }
}
