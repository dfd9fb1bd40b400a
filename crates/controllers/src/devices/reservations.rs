//! Who has a claim: `status.reservedFor`. What nobody has loses its devices.

use super::{ClaimObject, FINALIZER};
use crate::runtime::{Cache, Cached, WriteError, Writer, null_if_empty};
use k8s_openapi::api::resource::v1::ResourceClaimConsumerReference;
use serde_json::{Value, json};
use std::sync::Arc;

/// Takes back the reservations for which `over` says so. Once nobody has the claim any more, its
/// devices are free, and nothing keeps it from being deleted.
///
/// # Errors
/// A write did not get through; in conflict if the claim changed meanwhile.
pub(crate) async fn release(
    writer: &Writer,
    cache: &Cache<ClaimObject>,
    claim: &Arc<ClaimObject>,
    over: impl Fn(&ResourceClaimConsumerReference) -> bool,
) -> Result<(), WriteError> {
    let (meta, status) = (claim.meta(), claim.object.status.as_ref());
    let reserved = status.and_then(|status| status.reserved_for.as_ref());
    let (gone, kept): (Vec<_>, Vec<_>) = reserved.into_iter().flatten().partition(|one| over(one));
    let nobodys = kept.is_empty() && (!gone.is_empty() || meta.is_deleting());
    let changes = !gone.is_empty() || (nobodys && is_allocated(claim));
    write(writer, cache, claim, &kept, (changes, nobodys)).await
}

/// Takes back all reservations of a claim, and its devices.
///
/// # Errors
/// See [`release`].
pub(crate) async fn deallocate(
    writer: &Writer,
    cache: &Cache<ClaimObject>,
    claim: &Arc<ClaimObject>,
) -> Result<(), WriteError> {
    write(writer, cache, claim, &[], (true, true)).await
}

fn is_allocated(claim: &ClaimObject) -> bool {
    let status = claim.object.status.as_ref();
    status.is_some_and(|status| status.allocation.is_some())
}

/// Writes who still has the claim where that `changes`, and gives up the devices and the protection
/// of one that is `nobodys`.
async fn write(
    writer: &Writer,
    cache: &Cache<ClaimObject>,
    claim: &Arc<ClaimObject>,
    kept: &[&ResourceClaimConsumerReference],
    (changes, nobodys): (bool, bool),
) -> Result<(), WriteError> {
    let meta = claim.meta();
    let mut claim = Arc::clone(claim);
    if changes {
        let mut patch = json!({
            "metadata": {"uid": *meta.uid, "resourceVersion": meta.resource_version()},
            "status": {"reservedFor": null_if_empty(kept)},
        });
        if let Some(status) = patch.pointer_mut("/status").and_then(Value::as_object_mut)
            && nobodys
        {
            status.insert("allocation".into(), Value::Null);
        }
        claim = writer
            .patch_subresource(cache, &meta.key, "status", &patch)
            .await?;
    }
    let protected = claim.meta().finalizers.iter();
    let (own, others): (Vec<_>, Vec<_>) = protected.partition(|name| &***name == FINALIZER);
    if nobodys && !own.is_empty() {
        let others: Vec<&str> = others.into_iter().map(|name| &**name).collect();
        let patch = json!({"metadata": {
            "uid": *meta.uid, "resourceVersion": claim.meta().resource_version(),
            "finalizers": null_if_empty(&others),
        }});
        writer.patch(cache, &meta.key, &patch).await?;
    }
    Ok(())
}
