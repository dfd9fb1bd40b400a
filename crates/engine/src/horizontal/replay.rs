//! The answer, recomputed from the steps alone.

use super::milli::{self, cap32, cut32};
use super::trace::{Rounding, Step};

/// Recomputes the replica count that `trace` led to; `None` where the target's scale was unread.
pub fn replay(trace: &[Step]) -> Option<i32> {
    let mut current = None;
    let mut proposals: Vec<i32> = Vec::new();
    let mut answer = None;
    for step in trace {
        match step {
            Step::Found { current: found, .. } => current = Some(*found),
            Step::Disabled => answer = Some(0),
            Step::OutsideRange { replicas, .. } => answer = Some(*replicas),
            Step::Held { replicas, .. } => proposals.push(*replicas),
            Step::Proposed {
                ratio,
                counted,
                rounding,
                ..
            } => {
                let product = (ratio * milli::count(*counted)).ceil();
                proposals.push(match rounding {
                    Rounding::Wrapping => cut32(product),
                    Rounding::Saturating => cap32(product),
                });
            }
            Step::Chosen { .. } => answer = proposals.iter().max().map(|&most| most.max(0)),
            Step::Unselectable { .. } | Step::Blocked { .. } | Step::HeldByHand { .. } => {
                answer = current;
            }
            Step::Stabilized {
                start,
                lowest,
                highest,
                ..
            } => {
                let raised = (*start).max(*lowest);
                answer = Some(highest.map_or(raised, |highest| raised.min(highest)));
            }
            Step::Limited { floor, ceiling, .. } => {
                let capped = answer.map(|n| ceiling.map_or(n, |ceiling| n.min(ceiling)));
                answer = capped.map(|n| floor.map_or(n, |floor| n.max(floor)));
            }
            Step::Unreadable { .. }
            | Step::Scheduled { .. }
            | Step::Unscheduled { .. }
            | Step::Failed { .. }
            | Step::Metric { .. }
            | Step::Stale { .. }
            | Step::Uncounted { .. }
            | Step::Measured { .. }
            | Step::Total { .. }
            | Step::Assumed { .. }
            | Step::Settled { .. } => {}
        }
    }
    answer
}
