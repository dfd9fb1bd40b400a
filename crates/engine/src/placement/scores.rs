//! Soft rules that look at one node alone.
//!
//! Weights and formulas: reference/embedded-cluster.md §16.

use super::node::NodeState;
use super::pod::PodSpec;
use super::profile::{Load, Profile, Weights};
use super::snapshot::Images;
use super::taints::disliked;

/// An image smaller than this is pulled about as fast as it is found.
const SMALL_IMAGE: i64 = 23 << 20;
/// What images larger than this save per container is not worth more.
const LARGE_IMAGE: i64 = 1000 << 20;

/// What one node scores by itself. The last two are compared with other nodes before they count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OwnScores {
    /// NodeResourcesFit, 0–100.
    pub(super) fit: i64,
    /// NodeResourcesBalancedAllocation, 0–100.
    pub(super) balanced: i64,
    /// ImageLocality, 0–100.
    pub(super) images: i64,
    /// How many soft taints are not tolerated.
    pub(super) taints: i64,
    /// Sum of the weights of preferred terms that match.
    pub(super) liked: i64,
}

impl OwnScores {
    /// The weighted sum of the scores that need no comparison.
    pub(super) fn weighted(&self, weights: &Weights) -> i32 {
        let sum = weights.fit * self.fit
            + weights.balanced * self.balanced
            + weights.images * self.images;
        i32::try_from(sum.max(0)).unwrap_or(i32::MAX)
    }
}

/// Scores a node that fits.
pub(super) fn own_scores(
    spec: &PodSpec,
    node: &NodeState,
    world: (&Profile, &Images, usize),
) -> OwnScores {
    let (profile, images, nodes) = world;
    let has = &node.facts.allocatable;
    let load = Load {
        used: &node.used,
        used_for_score: &node.used_for_score,
    };
    OwnScores {
        fit: profile.fit(&spec.requests, &load, has),
        balanced: profile.evenness(&spec.requests, &node.used, has),
        images: locality(spec, node, images, nodes),
        taints: i64::try_from(disliked(&spec.tolerations, &node.facts.taints)).unwrap_or(i64::MAX),
        liked: preferred(spec, node),
    }
}

fn preferred(spec: &PodSpec, node: &NodeState) -> i64 {
    let matching = spec
        .affinity
        .preferred
        .iter()
        .filter(|p| p.term.matches(&node.facts.name, &node.facts.labels));
    matching.fold(0i64, |sum, p| sum.saturating_add(p.weight))
}

/// Bytes that need not be pulled, less the more an image is on few nodes only (so that pods do not
/// all follow the first).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "sizes of images, wanted roughly"
)]
fn locality(spec: &PodSpec, node: &NodeState, images: &Images, nodes: usize) -> i64 {
    if node.facts.images.is_empty() || spec.images.is_empty() {
        return 0;
    }
    let scaled = |image: &String| {
        let size = *node.facts.images.get(image)?;
        let on = images.nodes.get(image).copied().unwrap_or(0);
        Some((size as f64 * (on as f64 / nodes.max(1) as f64)) as i64)
    };
    let sum = spec
        .images
        .iter()
        .filter_map(scaled)
        .fold(0, i64::saturating_add);
    let containers = i64::try_from(spec.images.len()).unwrap_or(i64::MAX);
    let most = LARGE_IMAGE.saturating_mul(containers);
    100 * (sum.clamp(SMALL_IMAGE, most) - SMALL_IMAGE) / (most - SMALL_IMAGE)
}

/// The largest becomes 100; if all are 0, they stay.
pub(super) fn up(raw: i64, max: i64) -> i64 {
    if max > 0 { raw * 100 / max } else { 0 }
}

/// The largest becomes 0, zero becomes 100.
pub(super) fn down(raw: i64, max: i64) -> i64 {
    if max > 0 { 100 - raw * 100 / max } else { 100 }
}
