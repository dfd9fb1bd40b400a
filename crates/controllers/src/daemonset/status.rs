//! A DaemonSet's status from its nodes.

use super::eligible::Eligible;
use super::plan::Place;
use super::view::{DaemonSetStatus, DaemonSetView};

/// Counts nodes. Where a node has several pods, the oldest speaks for it.
pub(super) fn compute(set: &DaemonSetView, places: &[Place], collisions: i32) -> DaemonSetStatus {
    let mut status = DaemonSetStatus {
        observed_generation: set.meta.generation,
        collision_count: (collisions > 0).then_some(collisions),
        conditions: set.status.conditions.clone(),
        ..DaemonSetStatus::default()
    };
    for place in places {
        let oldest = place.daemons.first();
        if place.eligible != Eligible::Run {
            status.number_misscheduled += i32::from(oldest.is_some());
            continue;
        }
        let says = |claim: bool| i32::from(claim);
        status.desired_number_scheduled += 1;
        status.current_number_scheduled += says(oldest.is_some());
        if let Some(daemon) = oldest {
            status.number_ready += says(daemon.is_ready());
            status.number_available += says(daemon.is_available());
            status.updated_number_scheduled += says(daemon.current);
        }
    }
    status.number_unavailable = status
        .desired_number_scheduled
        .saturating_sub(status.number_available);
    status
}
