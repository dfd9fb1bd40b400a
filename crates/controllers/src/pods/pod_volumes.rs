//! The volumes of a pod: claims, and what lives on its node.

use serde::Deserialize;
use serde::de::IgnoredAny;
use std::sync::Arc;

/// A claim that a pod mounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodClaim {
    /// Name of the claim.
    pub name: Arc<str>,
    /// Whether the claim is made for the pod and goes with it (`POD-VOLUME`).
    pub ephemeral: bool,
}

/// Claims in their order, and names of what lives on the node.
pub(super) fn volumes(pod: &str, volumes: Vec<VolumeWire>) -> (Box<[PodClaim]>, Box<[Arc<str>]>) {
    let local = local(&volumes);
    (claims(pod, volumes), local)
}

fn local(volumes: &[VolumeWire]) -> Box<[Arc<str>]> {
    let on_disk = |dir: &EmptyDirWire| dir.medium.as_deref() != Some("Memory");
    let local = volumes.iter().filter(|volume| {
        volume.host_path.is_some() || volume.empty_dir.as_ref().is_some_and(on_disk)
    });
    local.map(|volume| volume.name.as_str().into()).collect()
}

fn claims(pod: &str, volumes: Vec<VolumeWire>) -> Box<[PodClaim]> {
    let claim = |volume: VolumeWire| match (volume.persistent_volume_claim, volume.ephemeral) {
        (Some(source), _) => Some(PodClaim {
            name: source.claim_name.into(),
            ephemeral: false,
        }),
        (None, Some(_)) => Some(PodClaim {
            name: format!("{pod}-{}", volume.name).into(),
            ephemeral: true,
        }),
        (None, None) => None,
    };
    volumes.into_iter().filter_map(claim).collect()
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct VolumeWire {
    name: String,
    persistent_volume_claim: Option<ClaimSourceWire>,
    ephemeral: Option<IgnoredAny>,
    host_path: Option<IgnoredAny>,
    empty_dir: Option<EmptyDirWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EmptyDirWire {
    medium: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ClaimSourceWire {
    claim_name: String,
}
