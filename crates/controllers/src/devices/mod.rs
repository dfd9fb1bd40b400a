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
pub(crate) use reservations::{deallocate, release};

use crate::runtime::{Cache, Cached, Full, Index};
use k8s_openapi::api::resource::v1::{
    DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice,
};
use kube::api::ListParams;
use kube::{Api, Client, Error, Resource};
use serde::de::DeserializeOwned;
use std::fmt::Debug;
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

/// What is known of devices. Node autoscaling does not wait for it.
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
    /// Whether anything can be known of devices. Where not, claims to them do not count.
    pub readable: bool,
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

    /// Starts the watches if all kinds are served and may be read: it is asked once, and said if not.
    pub(crate) async fn if_readable(client: &Client, seed: u64) -> Self {
        let refused = [
            refusal::<ResourceClaim>(client).await,
            refusal::<ResourceClaimTemplate>(client).await,
            refusal::<DeviceClass>(client).await,
            refusal::<ResourceSlice>(client).await,
        ];
        let refused: Vec<String> = refused.into_iter().flatten().collect();
        if refused.is_empty() {
            return Self::start(client, seed);
        }
        tracing::warn!(
            "claims to devices do not count (looked at again after a restart): {}",
            refused.join("; ")
        );
        Self::empty()
    }

    /// Caches that stay empty and cost nothing.
    pub(crate) fn empty() -> Self {
        Self::of(
            Cache::empty(),
            Cache::empty(),
            Cache::empty(),
            Cache::empty(),
        )
        .unreadable()
    }

    fn unreadable(mut self) -> Self {
        self.readable = false;
        self
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
            readable: true,
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

/// Why a kind cannot be read, if it never can: it is not served, or the right to it is missing.
async fn refusal<K>(client: &Client) -> Option<String>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = Api::all(client.clone());
    let kind = format!("{}.{}", K::plural(&()), K::group(&()));
    match api.list(&ListParams::default().limit(1)).await {
        Err(Error::Api(status)) if status.code == 404 => Some(format!(
            "{kind} is not served in version {}",
            K::version(&())
        )),
        Err(Error::Api(status)) if status.code == 403 => {
            Some(format!("the right to list and watch {kind} is missing"))
        }
        // What is wrong now may be right soon.
        _ => None,
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

#[cfg(test)]
mod tests {
    use super::DeviceCaches;
    use http::{Request, Response};
    use kube::Client;
    use kube::client::Body;
    use rstest::rstest;
    use serde_json::json;
    use std::convert::Infallible;

    /// An API server that has no claims, and answers lists of slices with `status`.
    fn server(status: u16) -> Client {
        Client::new(
            tower::service_fn(move |request: Request<Body>| async move {
                let list = json!({ "metadata": {}, "items": [] });
                let (status, body) = if request.uri().path().ends_with("slices") && status != 200 {
                    let body = json!({ "kind": "Status", "apiVersion": "v1", "code": status,
                        "status": "Failure", "message": "no", "reason": "no", "metadata": {} });
                    (status, body)
                } else {
                    (200, list)
                };
                let body = Body::from(body.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            }),
            "default",
        )
    }

    #[rstest]
    #[case::all(200, true)]
    #[case::not_served(404, false)]
    #[case::no_right(403, false)]
    #[case::trouble(500, true)]
    #[tokio::test(start_paused = true)]
    async fn devices_count_where_they_can_be_read(#[case] status: u16, #[case] readable: bool) {
        let caches = DeviceCaches::if_readable(&server(status), 0).await;
        assert_eq!(caches.readable, readable);
    }
}
