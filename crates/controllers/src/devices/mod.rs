//! Dynamic resource allocation (`resource.k8s.io/v1`): what is known of devices, and the claims of
//! pods to them.
//!
//! ```text
//! pod with a template ──> claim (owned by the pod) ──scheduler──> allocation, reservedFor
//! pod ended or gone ──> reservation gone ──> allocation gone, claim deleted
//! ```
//!
//! Devices are published by drivers (ResourceSlices) and made ready by them on the nodes; none of
//! that happens here.

mod claims;
mod reservations;

pub use claims::{ClaimError, control};
pub(crate) use reservations::release;

use crate::runtime::{Cache, Cached, Full, Index};
use k8s_openapi::api::resource::v1::{
    DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
};
use kube::Client;
use std::sync::Arc;

/// A claim.
pub type ClaimObject = Full<ResourceClaim>;
/// A template of claims.
pub type TemplateObject = Full<ResourceClaimTemplate>;
/// A device class.
pub type ClassObject = Full<DeviceClass>;
/// A slice of a pool.
pub type SliceObject = Full<ResourceSlice>;

/// Protects a claim that has devices.
pub(crate) const FINALIZER: &str = "resource.kubernetes.io/delete-protection";

/// What is known of devices. Nobody waits for it where the kinds may not be served; they come when
/// they are.
#[derive(Debug, Clone)]
pub struct DeviceCaches {
    /// Claims.
    pub claims: Cache<ClaimObject>,
    /// Claims by the uid of their managing pod.
    pub claims_by_pod: Index<ClaimObject>,
    /// Templates of claims.
    pub templates: Cache<TemplateObject>,
    /// Classes.
    pub classes: Cache<ClassObject>,
    /// Slices.
    pub slices: Cache<SliceObject>,
}

impl DeviceCaches {
    /// Starts the watches.
    pub(crate) fn start(client: &Client, seed: u64) -> Self {
        Self::of(
            Cache::start(client.clone(), seed),
            Cache::start(client.clone(), seed ^ 1),
            Cache::start(client.clone(), seed ^ 2),
            Cache::start(client.clone(), seed ^ 3),
        )
    }

    /// Caches that stay empty and cost nothing.
    pub(crate) fn empty() -> Self {
        Self::of(
            Cache::empty(),
            Cache::empty(),
            Cache::empty(),
            Cache::empty(),
        )
    }

    fn of(
        claims: Cache<ClaimObject>,
        templates: Cache<TemplateObject>,
        classes: Cache<ClassObject>,
        slices: Cache<SliceObject>,
    ) -> Self {
        Self {
            claims_by_pod: claims.index(by_pod),
            claims,
            templates,
            classes,
            slices,
        }
    }

    /// Waits for the first lists.
    pub(crate) async fn ready(&self) {
        self.claims.ready().await;
        self.templates.ready().await;
        self.classes.ready().await;
        self.slices.ready().await;
    }
}

fn by_pod(claim: &ClaimObject) -> Vec<Arc<str>> {
    let owner = claim.meta().controller();
    let owner = owner.filter(|owner| &*owner.kind == "Pod");
    owner
        .map(|owner| Arc::clone(&owner.uid))
        .into_iter()
        .collect()
}
