//! The claims of a pod to devices (dynamic resource allocation).

use serde::Deserialize;
use std::sync::Arc;

/// A claim of a pod to devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodDeviceClaim {
    /// Name in the pod.
    pub name: Arc<str>,
    /// The ResourceClaim; `None` until one is made from the template.
    pub claim: Option<Arc<str>>,
    /// The ResourceClaimTemplate it is made from, if it is.
    pub template: Option<Arc<str>>,
}

/// The claims in their order. One that the status says is not needed is none.
pub(super) fn device_claims(
    spec: Vec<DeviceClaimWire>,
    status: &[DeviceClaimStatusWire],
) -> Box<[PodDeviceClaim]> {
    let claim = |wire: DeviceClaimWire| {
        let made = status.iter().find(|made| made.name == wire.name);
        let (claim, template) = match (wire.resource_claim_name, wire.resource_claim_template_name)
        {
            (Some(claim), _) => (Some(claim), None),
            (None, Some(template)) => match made {
                Some(made) => (Some(made.resource_claim_name.clone()?), Some(template)),
                None => (None, Some(template)),
            },
            (None, None) => return None,
        };
        Some(PodDeviceClaim {
            name: wire.name.into(),
            claim: claim.map(Into::into),
            template: template.map(Into::into),
        })
    };
    spec.into_iter().filter_map(claim).collect()
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeviceClaimWire {
    name: String,
    resource_claim_name: Option<String>,
    resource_claim_template_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DeviceClaimStatusWire {
    name: String,
    resource_claim_name: Option<String>,
}
