//! Whether a node that is unneeded may go now.

use super::eligibility::{is_disabled, is_ready};
use super::floors::FloorsLeft;
use super::group::GroupFacts;
use super::removal::KeepReason;
use super::running::ClusterNode;
use jiff::Timestamp;

/// Whether a node that is unneeded since then may go, if its group has so many nodes now.
/// `size` is the target less what is going already.
///
/// # Errors
/// Why it stays. Nothing is counted then.
pub fn removable_at(
    node: &ClusterNode,
    group: Option<&GroupFacts>,
    (since, now): (Timestamp, Timestamp),
    size: usize,
    floors: &mut FloorsLeft,
) -> Result<(), KeepReason> {
    if is_disabled(node) {
        return Err(KeepReason::ScaleDownDisabledAnnotation);
    }
    let group = group.ok_or(KeepReason::NotAutoscaled)?;
    let ready = is_ready(node);
    let needed = if ready {
        group.options.scale_down_unneeded_time
    } else {
        group.options.scale_down_unready_time
    };
    // Parity: the end has to be strictly past.
    let over = since.saturating_add(needed).is_ok_and(|end| end < now);
    if !over && ready {
        return Err(KeepReason::NotUnneededLongEnough { since, needed });
    }
    if !over {
        return Err(KeepReason::NotUnreadyLongEnough { since, needed });
    }
    if size <= group.min {
        return Err(KeepReason::NodeGroupMinSizeReached { min: group.min });
    }
    floors
        .take(node)
        .map_err(|resources| KeepReason::MinimalResourceLimitExceeded { resources })
}
