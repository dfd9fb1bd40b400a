//! Which volume serves a claim: pure.

use crate::pods::{AccessModes, ClaimView, VolumeView};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A node that a volume must reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name.
    pub name: Arc<str>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// Which volumes may be taken.
#[derive(Debug, Clone, Copy)]
pub enum Choice<'a> {
    /// Any that fits.
    Any,
    /// Any that fits and reaches this node.
    Reaching(&'a Place),
    /// Only one that somebody set aside for this very claim.
    SetAside,
}

/// The best volume for a claim: one set aside for it; else the smallest of those whose access modes
/// are exactly the claim's; else the smallest of those that can do more.
///
/// `volumes` may hold any volumes; those that are in use, of another class or too small are passed
/// over. Ties go to the first name.
pub fn best<'a>(
    claim: &ClaimView,
    volumes: &'a [Arc<VolumeView>],
    choice: Choice<'_>,
) -> Option<&'a Arc<VolumeView>> {
    let reaches = |volume: &VolumeView| match choice {
        Choice::Any | Choice::SetAside => true,
        Choice::Reaching(place) => volume.reaches(&place.name, &place.labels),
    };
    let usable = |volume: &&Arc<VolumeView>| {
        !volume.meta.is_deleting() && volume.capacity >= claim.request && reaches(volume)
    };
    let set_aside = |volume: &&Arc<VolumeView>| {
        is_set_aside(volume, claim) && unsuited(volume, claim).is_none()
    };
    if let Some(own) = volumes.iter().filter(usable).find(set_aside) {
        return Some(own);
    }
    if matches!(choice, Choice::SetAside) {
        return None;
    }
    let free = volumes.iter().filter(usable).filter(|volume| {
        volume.claim.is_none() && &*volume.phase == "Available" && unsuited(volume, claim).is_none()
    });
    let selected = free.filter(|volume| {
        let selector = claim.selector.as_ref();
        selector.is_none_or(|selector| selector.matches(&volume.meta.labels))
    });
    selected.min_by(|a, b| {
        let rank = |volume: &VolumeView| surplus(&volume.modes, &claim.modes);
        let order = rank(a).cmp(&rank(b));
        order
            .then_with(|| a.capacity.cmp(&b.capacity))
            .then_with(|| a.meta.key.cmp(&b.meta.key))
    })
}

/// How many more access modes there are than wanted.
fn surplus(offered: &AccessModes, wanted: &AccessModes) -> usize {
    offered.len().saturating_sub(wanted.len())
}

/// Whether the volume is bound to the claim, or was set aside for one of its name.
pub fn is_set_aside(volume: &VolumeView, claim: &ClaimView) -> bool {
    volume.claim.as_ref().is_some_and(|named| {
        named.key == claim.meta.key && (named.uid.is_empty() || *named.uid == *claim.meta.uid)
    })
}

/// Why a volume does not suit a claim that asks for it, in upstream's words.
pub fn unsuited(volume: &VolumeView, claim: &ClaimView) -> Option<&'static str> {
    if volume.capacity < claim.request {
        Some("requested PV is too small")
    } else if *volume.class != *claim.class_name() {
        Some("storageClassName does not match")
    } else if volume.is_block != claim.is_block {
        Some("incompatible volumeMode")
    } else if !claim.modes.is_subset(&volume.modes) {
        Some("incompatible accessMode")
    } else if volume.attributes_class != claim.attributes_class {
        Some("volumeAttributesClassName does not match")
    } else {
        None
    }
}
