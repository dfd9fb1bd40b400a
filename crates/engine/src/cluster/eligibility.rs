//! Which nodes are looked at more closely (reference §12.2).

use super::group::GroupFacts;
use super::removal::KeepReason;
use super::running::{ClusterNode, Readiness, RunningPod};
use super::shrink::ShrinkOptions;
use super::utilization::{Ignored, Utilization, UtilizationError, utilization};
use jiff::{SignedDuration, Timestamp};

/// `true` keeps a node.
pub const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
/// How long a deletion may take before its taint counts as left over.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// Whether a node's removal has begun.
pub fn is_being_deleted(node: &ClusterNode, now: Timestamp) -> bool {
    let end = node
        .being_deleted
        .map(|since| since.saturating_add(DELETION_TIMEOUT));
    end.is_some_and(|end| end.is_ok_and(|end| end > now))
}

/// Whether a node is to be left alone.
pub fn is_disabled(node: &ClusterNode) -> bool {
    let value = node.annotations.get(SCALE_DOWN_DISABLED);
    value.is_some_and(|value| &**value == "true")
}

/// Whether a node works, as removal sees it.
pub fn is_ready(node: &ClusterNode) -> bool {
    node.readiness == Readiness::Ready
}

/// Whose requests do not count on nodes of a group.
pub(super) fn ignored(group: &GroupFacts, options: &ShrinkOptions) -> Ignored {
    Ignored {
        daemon_sets: group.options.ignore_daemonsets_utilization,
        mirrors: options.ignore_mirror_pods_utilization,
    }
}

/// Whether a node of a group may be looked at, with its utilization.
///
/// # Errors
/// Why it stays.
pub fn eligible<'a>(
    node: &ClusterNode,
    pods: impl IntoIterator<Item = &'a RunningPod>,
    group: &GroupFacts,
    options: &ShrinkOptions,
    now: Timestamp,
) -> Result<Utilization, KeepReason> {
    let used = || utilization(node, pods, ignored(group, options), now);
    judge(node, (group, options, now), used)
}

/// [`eligible`] with the utilization from elsewhere, asked for only if it matters.
pub(super) fn judge(
    node: &ClusterNode,
    (group, options, now): (&GroupFacts, &ShrinkOptions, Timestamp),
    used: impl FnOnce() -> Result<Utilization, UtilizationError>,
) -> Result<Utilization, KeepReason> {
    if is_being_deleted(node, now) {
        return Err(KeepReason::CurrentlyBeingDeleted);
    }
    if is_disabled(node) {
        return Err(KeepReason::ScaleDownDisabledAnnotation);
    }
    let used = used().map_err(|error| KeepReason::UnexpectedError(error.to_string()))?;
    if !options.unready_enabled && !is_ready(node) {
        return Err(KeepReason::ScaleDownUnreadyDisabled);
    }
    let threshold = if node.gpu.is_some() {
        group.options.scale_down_gpu_utilization_threshold
    } else {
        group.options.scale_down_utilization_threshold
    };
    if used.share > threshold {
        return Err(KeepReason::NotUnderutilized {
            utilization: used.share,
            threshold,
            resource: used.resource,
        });
    }
    Ok(used)
}
