//! What a volume needs next: pure.

use super::{BOUND_BY_CONTROLLER, LOCAL, PROVISIONED_BY};
use crate::pods::{ClaimView, VolumeView};

/// What to do about a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Only see that it shows this phase.
    Show(&'static str),
    /// Leave it: its claim comes next.
    Leave,
    /// Take its claim off it, wholly or but for the name that somebody set it aside for.
    Free {
        /// Whether the name stays.
        keep_name: bool,
    },
    /// Its claim is gone.
    Release,
}

/// Decides what a volume needs next; `claim` is the one it names, if there is one.
pub fn decide(volume: &VolumeView, claim: Option<&ClaimView>) -> Verdict {
    let Some(named) = &volume.claim else {
        return Verdict::Show("Available");
    };
    if named.uid.is_empty() {
        return Verdict::Show("Available");
    }
    let Some(claim) = claim.filter(|claim| *claim.meta.uid == *named.uid) else {
        return Verdict::Release;
    };
    match &claim.volume {
        None => Verdict::Leave,
        Some(name) if **name == *volume.meta.name() => Verdict::Show("Bound"),
        // The claim found another volume: one made for it is of no use to anybody else.
        Some(_) if is_provisioned(volume) && &*volume.reclaim == "Delete" => Verdict::Release,
        Some(_) => Verdict::Free {
            keep_name: volume.meta.annotation(BOUND_BY_CONTROLLER).is_none(),
        },
    }
}

fn is_provisioned(volume: &VolumeView) -> bool {
    volume.meta.annotation(PROVISIONED_BY).is_some()
}

/// Whether the volume was made here.
pub fn is_local(volume: &VolumeView) -> bool {
    volume.meta.annotation(PROVISIONED_BY) == Some(LOCAL)
}

/// What happens to a released volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reclaim {
    /// It and its data stay.
    Keep,
    /// It goes, with its data.
    Delete,
    /// Whoever made it takes care of it.
    Others,
    /// Nobody can do what is asked.
    Fail {
        /// Reason of the event.
        reason: &'static str,
        /// Words of the event and of the status.
        message: String,
    },
}

/// Decides what happens to a released volume.
pub fn reclaim(volume: &VolumeView) -> Reclaim {
    match &*volume.reclaim {
        "Retain" => Reclaim::Keep,
        "Delete" if is_local(volume) => Reclaim::Delete,
        "Delete" if is_provisioned(volume) || volume.driver.is_some() => Reclaim::Others,
        "Delete" => {
            let name = volume.meta.name();
            Reclaim::Fail {
                reason: "VolumeFailedDelete",
                message: format!(
                    "error getting deleter volume plugin for volume {name:?}: no deletable \
                     volume plugin matched"
                ),
            }
        }
        "Recycle" => Reclaim::Fail {
            reason: "VolumeFailedRecycle",
            message: "No recycler plugin found for the volume!".to_owned(),
        },
        _ => Reclaim::Fail {
            reason: "VolumeUnknownReclaimPolicy",
            message: "Volume has unrecognized PersistentVolumeReclaimPolicy".to_owned(),
        },
    }
}
