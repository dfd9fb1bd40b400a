//! The arithmetic of rolling updates and proportional scaling: numbers in, numbers out.

use crate::pods::Strategy;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Bounds of a rollout in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// `spec.replicas`.
    pub(super) desired: i32,
    /// Pods allowed above `desired`.
    pub(super) surge: i32,
    /// Pods that may be missing to `desired`.
    pub(super) unavailable: i32,
}

impl Bounds {
    /// Percentages are of `desired`; surge rounds up and unavailable down. If both come to 0, one
    /// pod may be unavailable, for otherwise nothing could ever move.
    pub(super) fn of(strategy: &Strategy, desired: i32) -> Self {
        let Strategy::RollingUpdate(rolling) = strategy else {
            return Self {
                desired,
                surge: 0,
                unavailable: 0,
            };
        };
        let surge = resolve(&rolling.max_surge, desired, Rounding::Up);
        let unavailable = resolve(&rolling.max_unavailable, desired, Rounding::Down);
        let unavailable = if surge == 0 && unavailable == 0 {
            1
        } else {
            unavailable
        };
        Self {
            desired,
            surge,
            unavailable: unavailable.min(desired),
        }
    }

    /// Fewest pods that must stay available.
    pub(super) fn min_available(self) -> i32 {
        self.desired.saturating_sub(self.unavailable)
    }

    /// Most pods there may be.
    pub(super) fn max_total(self) -> i32 {
        self.desired.saturating_add(self.surge)
    }
}

/// What happens to a fraction of a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rounding {
    /// It counts as one.
    Up,
    /// It does not count.
    Down,
}

/// A number of pods, or a percentage of `total`; what is neither counts as 0.
pub(crate) fn resolve(value: &IntOrString, total: i32, rounding: Rounding) -> i32 {
    match value {
        IntOrString::Int(count) => (*count).max(0),
        IntOrString::String(text) => {
            let percent = text
                .strip_suffix('%')
                .and_then(|n| n.parse::<i64>().ok())
                .unwrap_or(0);
            let scaled = percent.saturating_mul(total.into());
            let rounded = match rounding {
                Rounding::Up => scaled.saturating_add(99).div_euclid(100),
                Rounding::Down => scaled.div_euclid(100),
            };
            i32::try_from(rounded.max(0)).unwrap_or(i32::MAX)
        }
    }
}

/// What the arithmetic knows of one ReplicaSet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// `spec.replicas`.
    pub(super) spec: i32,
    /// `status.availableReplicas`.
    pub(super) available: i32,
}

impl Size {
    /// Available pods that remain for sure: a status that has not caught up with a scale-down
    /// still counts pods that are going.
    fn surely_available(self) -> i32 {
        self.available.clamp(0, self.spec.max(0))
    }
}

fn total_spec(sizes: &[Size]) -> i32 {
    sizes
        .iter()
        .fold(0, |sum, size| sum.saturating_add(size.spec))
}

/// How many pods the new ReplicaSet should have while `total` pods are wanted in all sets and
/// `new` of them in it.
pub(super) fn new_size(strategy: &Strategy, bounds: Bounds, total: i32, new: i32) -> i32 {
    match strategy {
        Strategy::Recreate => bounds.desired,
        Strategy::RollingUpdate(_) if new > bounds.desired => bounds.desired,
        Strategy::RollingUpdate(_) => {
            let room = bounds.max_total().saturating_sub(total).max(0);
            new.saturating_add(room.min(bounds.desired.saturating_sub(new)))
        }
    }
}

/// New sizes of the old ReplicaSets (oldest first), beside `new`.
///
/// Pods that are not available go first, as they cost nothing; then as many as the pods available
/// elsewhere make dispensable.
pub(super) fn shrink_old(bounds: Bounds, old: &[Size], new: Size) -> Vec<i32> {
    let mut sizes = old.to_vec();
    let new_missing = new.spec.saturating_sub(new.available).max(0);
    let total = total_spec(old).saturating_add(new.spec);
    let spare = total
        .saturating_sub(bounds.min_available())
        .saturating_sub(new_missing);
    if spare > 0 {
        remove_unhealthy(&mut sizes, spare);
        let available = sizes.iter().chain([&new]).fold(0_i32, |sum, size| {
            sum.saturating_add(size.surely_available())
        });
        remove_available(&mut sizes, available.saturating_sub(bounds.min_available()));
    }
    sizes.iter().map(|size| size.spec).collect()
}

fn remove_unhealthy(sizes: &mut [Size], mut spare: i32) {
    for size in sizes {
        let unhealthy = size
            .spec
            .saturating_sub(size.available)
            .clamp(0, spare.max(0));
        size.spec -= unhealthy;
        spare -= unhealthy;
    }
}

fn remove_available(sizes: &mut [Size], mut spare: i32) {
    for size in sizes {
        let removed = size.spec.clamp(0, spare.max(0));
        size.spec -= removed;
        spare -= removed;
    }
}

/// A ReplicaSet that takes part in proportional scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// `spec.replicas`.
    pub(super) spec: i32,
    /// Annotation `deployment.kubernetes.io/max-replicas`; `status.replicas` of the Deployment if
    /// it is missing.
    pub(super) max_before: i32,
}

/// New sizes when `desired` changes during a rollout: every set grows or shrinks in proportion,
/// and the first takes what rounding leaves. `shares` must be sorted by size, largest first (ties:
/// newer first when growing, older first when shrinking).
pub(super) fn scale_in_proportion(bounds: Bounds, shares: &[Share]) -> Vec<i32> {
    let total = shares
        .iter()
        .fold(0_i32, |sum, share| sum.saturating_add(share.spec));
    let allowed = if bounds.desired > 0 {
        bounds.max_total()
    } else {
        0
    };
    let to_add = allowed.saturating_sub(total);
    let mut added = 0_i32;
    let mut sizes: Vec<i32> = Vec::with_capacity(shares.len());
    for share in shares {
        let part = proportion(bounds, *share, to_add, added);
        added = added.saturating_add(part);
        sizes.push(share.spec.saturating_add(part));
    }
    if let Some(first) = sizes.first_mut() {
        *first = first.saturating_add(to_add.saturating_sub(added)).max(0);
    }
    sizes
}

fn proportion(bounds: Bounds, share: Share, to_add: i32, added: i32) -> i32 {
    if share.spec == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let part = if bounds.desired == 0 {
        share.spec.saturating_neg()
    } else if share.max_before <= 0 {
        0
    } else {
        let scaled = f64::from(share.spec) * f64::from(bounds.max_total());
        #[expect(
            clippy::cast_possible_truncation,
            reason = "float to int casts saturate"
        )]
        let size = (scaled / f64::from(share.max_before)).round() as i32;
        size.saturating_sub(share.spec)
    };
    let allowed = to_add.saturating_sub(added);
    if to_add > 0 {
        part.min(allowed)
    } else {
        part.max(allowed)
    }
}

#[cfg(test)]
#[path = "rolling_tests.rs"]
mod tests;
