//! Claims that ask for more than they have: pure.

use super::volume::is_local;
use crate::pods::{ClaimView, VolumeView};
use plimsoll_quantity::Quantity;

/// What to do about a bound claim's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// Nothing: it has what it asks for.
    None,
    /// Somebody else must make its volume larger.
    External,
    /// The volume becomes as large as is asked for.
    Grow,
}

/// Decides about the size of a bound claim.
///
/// Departs: a directory has no size of its own, so a volume made here grows at once, without its
/// node; its capacity is a record, not a limit.
pub(super) fn decide(claim: &ClaimView, volume: &VolumeView) -> Growth {
    let has: Quantity = claim
        .capacity
        .as_deref()
        .and_then(|text| text.parse().ok())
        .unwrap_or(volume.capacity);
    if claim.request <= has || claim.meta.is_deleting() {
        Growth::None
    } else if is_local(volume) {
        Growth::Grow
    } else {
        Growth::External
    }
}
