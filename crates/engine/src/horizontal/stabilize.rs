//! Stabilisation: recent recommendations hold the count back.

use super::memory::{Memory, Recommendation, before};
use super::observed::Settings;
use super::spec::Behavior;
use super::trace::{Holder, Step};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Ordering;

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
    let lowest = recent.clone().map(|r| r.replicas).fold(proposal, i32::max);
    let blockers = recent.filter(|r| lowest > proposal && r.replicas >= lowest);
    let holder = newest(blockers, settings.downscale_stabilization);
    memory.recommend(proposal, now, cutoff);
    Step::Stabilized {
        start: proposal,
        lowest,
        highest: None,
        holder,
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
        seconds.map_or(default, |s| SignedDuration::from_secs(s.into()))
    };
    let up_window = window(
        behavior.scale_up.stabilization_window_seconds,
        SignedDuration::ZERO,
    );
    let down_window = window(
        behavior.scale_down.stabilization_window_seconds,
        settings.downscale_stabilization,
    );
    let (up, down) = (before(now, up_window), before(now, down_window));
    let newer = |cutoff: Timestamp| {
        memory
            .recommendations
            .iter()
            .filter(move |r| r.time > cutoff)
    };
    let lowest = newer(up).map(|r| r.replicas).fold(proposal, i32::min);
    let highest = newer(down).map(|r| r.replicas).fold(proposal, i32::max);
    let replicas = current.max(lowest).min(highest);
    let holder = match replicas.cmp(&proposal) {
        Ordering::Less => newest(newer(up).filter(|r| r.replicas <= replicas), up_window),
        Ordering::Greater => newest(newer(down).filter(|r| r.replicas >= replicas), down_window),
        Ordering::Equal => None,
    };
    memory.recommend(proposal, now, up.min(down));
    Step::Stabilized {
        start: current,
        lowest,
        highest: Some(highest),
        holder,
        replicas,
    }
}

/// The newest of the recommendations in the way: while it is in the window, nothing moves.
fn newest<'a>(
    blockers: impl Iterator<Item = &'a Recommendation>,
    window: SignedDuration,
) -> Option<Holder> {
    let newest = blockers.max_by_key(|r| r.time)?;
    Some(Holder {
        replicas: newest.replicas,
        time: newest.time,
        until: newest.time.checked_add(window).unwrap_or(Timestamp::MAX),
    })
}
