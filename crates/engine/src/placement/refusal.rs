//! Why a node cannot take a pod.

use serde::Serialize;

/// One reason. `Display` gives the text users grep for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error, Serialize)]
#[serde(rename_all = "camelCase", tag = "reason", content = "of")]
pub enum Refusal {
    /// The node is cordoned.
    #[error("node(s) were unschedulable")]
    Unschedulable,
    /// The pod names another node.
    #[error("node(s) didn't match the requested node name")]
    OtherNodeNamed,
    /// A taint is not tolerated.
    #[error("node(s) had untolerated taint(s)")]
    UntoleratedTaint,
    /// The required affinity names its nodes, and this is none of them.
    #[error("node(s) didn't satisfy plugin(s) [NodeAffinity]")]
    NotNamed,
    /// The selector or the required affinity does not match.
    #[error("node(s) didn't match Pod's node affinity/selector")]
    NotSelected,
    /// A host port is taken.
    #[error("node(s) didn't have free ports for the requested pod ports")]
    PortTaken,
    /// The node runs as many pods as it may.
    #[error("Too many pods")]
    TooManyPods,
    /// Not enough of a resource is free.
    #[error("Insufficient {0}")]
    Insufficient(String),
    /// A claim that only one pod may use is used.
    #[error(
        "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    )]
    ClaimInUse,
    /// As many volumes of a driver are attached as the node can have.
    #[error("node(s) exceed max volume count")]
    TooManyVolumes,
    /// A bound volume cannot be reached from the node.
    #[error("node(s) didn't match PersistentVolume's node affinity")]
    VolumeElsewhere,
    /// No volume is available for an unbound claim, and none can be made here.
    #[error("node(s) didn't find available persistent volumes to bind")]
    NoVolumeToBind,
    /// A claim is bound to a volume that does not exist.
    #[error("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)")]
    VolumeMissing,
    /// A volume is in another zone.
    #[error("node(s) had no available volume zone")]
    OtherVolumeZone,
    /// A spread constraint needs a label the node lacks.
    #[error("node(s) didn't match pod topology spread constraints (missing required label)")]
    SpreadLabelMissing,
    /// The pods would spread too unevenly.
    #[error("node(s) didn't match pod topology spread constraints")]
    TooUneven,
    /// No pod the incoming one must be near.
    #[error("node(s) didn't match pod affinity rules")]
    NotNearRequiredPods,
    /// A pod the incoming one must not be near.
    #[error("node(s) didn't match pod anti-affinity rules")]
    NearAvoidedPods,
    /// A pod that must not be near the incoming one.
    #[error("node(s) didn't satisfy existing pods anti-affinity rules")]
    AvoidedByPods,
    /// A claim does not exist.
    #[error("persistentvolumeclaim {0:?} not found")]
    ClaimNotFound(String),
    /// A claim is being deleted.
    #[error("persistentvolumeclaim {0:?} is being deleted")]
    ClaimDeleted(String),
    /// A claim lost its volume.
    #[error("persistentvolumeclaim {claim:?} bound to non-existent persistentvolume {volume:?}")]
    ClaimLost {
        /// The claim.
        claim: String,
        /// The volume it names.
        volume: String,
    },
    /// A claim that does not wait for a pod is not bound yet.
    #[error("pod has unbound immediate PersistentVolumeClaims")]
    UnboundImmediateClaim,
    /// Not enough free devices satisfy the requests of the pod's claims.
    #[error("cannot allocate all claims")]
    NoDevices,
    /// A claim has devices that are not reached from the node.
    #[error("resourceclaim not available on the node")]
    DevicesElsewhere,
    /// There are too many ways to choose devices.
    #[error("timed out trying to allocate devices")]
    DevicesTooHard,
    /// A selector of devices cannot be evaluated.
    #[error("CEL selector of devices: {0}")]
    DeviceSelector(String),
    /// A claim to devices does not exist.
    #[error("resourceclaim.resource.k8s.io {0:?} not found")]
    DeviceClaimNotFound(String),
    /// A claim to devices is being deleted.
    #[error("resourceclaim {0:?} is being deleted")]
    DeviceClaimDeleted(String),
    /// A claim to devices is reserved for as many pods as it may be.
    #[error("resourceclaim in use")]
    DeviceClaimInUse,
    /// A request names a device class that does not exist.
    #[error("request {request}: device class {class} does not exist")]
    DeviceClassMissing {
        /// The request.
        request: String,
        /// The class.
        class: String,
    },
}

/// A node's refusal: the reasons of the first rule that refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// All reasons of that rule.
    pub reasons: Vec<Refusal>,
    /// Whether removing pods of lower priority could help.
    pub preemption_helps: bool,
}

impl Refused {
    /// Whatever is removed, the node cannot take the pod.
    pub(super) fn for_good(reason: Refusal) -> Self {
        Self {
            reasons: vec![reason],
            preemption_helps: false,
        }
    }

    /// Without some of its pods the node could take the pod.
    pub(super) fn for_now(reason: Refusal) -> Self {
        Self {
            reasons: vec![reason],
            preemption_helps: true,
        }
    }
}
