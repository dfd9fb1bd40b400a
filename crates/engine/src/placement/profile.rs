//! What a scheduler's configuration decides: weights and the way resources score.

use super::resources::Resources;

/// How free and used resources score.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScoringStrategy {
    /// The emptier the better.
    LeastAllocated,
    /// The fuller the better.
    MostAllocated,
    /// By a shape: pairs of utilization (0–100) and score (0–10), ascending, with straight lines
    /// between them.
    RequestedToCapacityRatio(Vec<(i64, i64)>),
}

impl ScoringStrategy {
    /// 0–100 for one resource of which `requested` of `capacity` (> 0) would be used.
    pub(super) fn score(&self, requested: i64, capacity: i64) -> i64 {
        match self {
            Self::LeastAllocated if requested > capacity => 0,
            Self::LeastAllocated => percent(capacity.saturating_sub(requested), capacity),
            Self::MostAllocated => percent(requested.min(capacity), capacity),
            Self::RequestedToCapacityRatio(shape) => {
                let utilization = if requested > capacity {
                    100
                } else {
                    percent(requested, capacity)
                };
                on_shape(shape, utilization)
            }
        }
    }
}

/// `part` of `whole` in percent, rounded down.
fn percent(part: i64, whole: i64) -> i64 {
    let exact = i128::from(part) * 100 / i128::from(whole.max(1));
    i64::try_from(exact).unwrap_or(100)
}

/// The shape's score at a utilization, in 0–100. Parity: `BuildBrokenLinearFunction`.
fn on_shape(shape: &[(i64, i64)], utilization: i64) -> i64 {
    let Some(next) = shape.iter().position(|(at, _)| utilization <= *at) else {
        return shape
            .last()
            .map_or(0, |(_, score)| score.saturating_mul(10));
    };
    let Some(&(to, high)) = shape.get(next) else {
        return 0;
    };
    match next.checked_sub(1).and_then(|before| shape.get(before)) {
        None => high.saturating_mul(10),
        Some(&(from, low)) => {
            let (low, high) = (low.saturating_mul(10), high.saturating_mul(10));
            let step = (high - low).saturating_mul(utilization - from);
            low.saturating_add(step.checked_div(to - from).unwrap_or(0))
        }
    }
}

/// Weights of the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weights {
    /// TaintToleration.
    pub taints: i64,
    /// NodeAffinity.
    pub node_affinity: i64,
    /// PodTopologySpread.
    pub spread: i64,
    /// InterPodAffinity.
    pub pod_affinity: i64,
    /// NodeResourcesFit.
    pub fit: i64,
    /// NodeResourcesBalancedAllocation.
    pub balanced: i64,
    /// ImageLocality.
    pub images: i64,
}

/// A scheduler's configuration, as far as placement is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Weights of the scores.
    pub weights: Weights,
    /// How resources score.
    pub strategy: ScoringStrategy,
    /// Resources that score, with their weights.
    pub resources: Vec<(String, i64)>,
    /// Resources that should be used evenly.
    pub balanced: Vec<String>,
    /// What the required affinity of a running pod towards the incoming one adds.
    pub hard_pod_affinity_weight: i64,
}

impl Default for Profile {
    /// `default-scheduler` (reference/embedded-cluster.md §16).
    fn default() -> Self {
        Self {
            weights: Weights {
                taints: 3,
                node_affinity: 2,
                spread: 2,
                pod_affinity: 2,
                fit: 1,
                balanced: 1,
                images: 1,
            },
            strategy: ScoringStrategy::LeastAllocated,
            resources: vec![("cpu".to_owned(), 1), ("memory".to_owned(), 1)],
            balanced: vec!["cpu".to_owned(), "memory".to_owned()],
            hard_pod_affinity_weight: 1,
        }
    }
}

impl Profile {
    /// NodeResourcesFit: weighted mean over the resources the node has, 0–100.
    pub(super) fn fit(&self, wanted: &Resources, used: &Load<'_>, has: &Resources) -> i64 {
        let (mut sum, mut weights) = (0i64, 0i64);
        for (name, weight) in &self.resources {
            let capacity = has.amount(name);
            let amount = score_amount(wanted, name);
            // A resource the pod does not ask for scores only if it is cpu or memory.
            if capacity <= 0 || (amount == 0 && !is_core(name)) {
                continue;
            }
            let requested = used.for_score(name).saturating_add(amount);
            let score = self.strategy.score(requested, capacity);
            sum = sum.saturating_add(score.saturating_mul(*weight));
            weights = weights.saturating_add(*weight);
        }
        sum.checked_div(weights).unwrap_or(0)
    }

    /// NodeResourcesBalancedAllocation, 50–100: how much evener the node's use becomes; 0 for a
    /// pod without requests, which changes nothing.
    pub(super) fn evenness(&self, wanted: &Resources, used: &Resources, has: &Resources) -> i64 {
        if wanted.is_zero() {
            return 0;
        }
        let spread = |extra: &dyn Fn(&str) -> i64| {
            let shares = self.balanced.iter().filter_map(|name| {
                let capacity = has.amount(name);
                (capacity > 0 && (is_core(name) || wanted.amount(name) > 0))
                    .then(|| share(used.amount(name).saturating_add(extra(name)), capacity))
            });
            percent_even(shares)
        };
        let after = spread(&|name| wanted.amount(name));
        let before = spread(&|_| 0);
        50 + (50 + after - before) / 2
    }
}

/// What a node's pods use.
pub(super) struct Load<'a> {
    pub(super) used: &'a Resources,
    pub(super) used_for_score: &'a Resources,
}

impl Load<'_> {
    fn for_score(&self, name: &str) -> i64 {
        if is_core(name) {
            self.used_for_score.amount(name)
        } else {
            self.used.amount(name)
        }
    }
}

fn is_core(name: &str) -> bool {
    name == "cpu" || name == "memory"
}

fn score_amount(wanted: &Resources, name: &str) -> i64 {
    match (name, wanted.amount(name)) {
        ("cpu", 0) => 100,
        ("memory", 0) => 200 << 20,
        (_, amount) => amount,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share, wanted roughly")]
fn share(used: i64, capacity: i64) -> f64 {
    (used as f64 / capacity as f64).min(1.0)
}

/// 100 × (1 − standard deviation of the shares), rounded down.
#[expect(
    clippy::cast_possible_truncation,
    reason = "few shares, and a result between 0 and 100"
)]
fn percent_even(shares: impl Iterator<Item = f64>) -> i64 {
    let (mut count, mut sum, mut squares) = (0.0f64, 0.0, 0.0);
    let (mut first, mut last) = (None, 0.0);
    for share in shares {
        count += 1.0;
        sum += share;
        squares += share * share;
        first = first.or(Some(share));
        last = share;
    }
    let deviation = match (first, count as i64) {
        // Parity: for two, half their distance, which the general formula only approaches.
        (Some(first), 2) => ((first - last) / 2.0).abs(),
        (Some(_), 3..) => (squares / count - (sum / count).powi(2)).max(0.0).sqrt(),
        _ => 0.0,
    };
    ((1.0 - deviation) * 100.0) as i64
}

#[cfg(test)]
mod tests {
    use super::{Load, Profile, ScoringStrategy};
    use crate::placement::Resources;
    use rstest::rstest;

    const GIB: i64 = 1 << 30;

    #[rstest]
    #[case::an_empty_node_is_best(ScoringStrategy::LeastAllocated, 0, 100)]
    #[case::a_quarter_used(ScoringStrategy::LeastAllocated, 250, 75)]
    #[case::more_than_there_is(ScoringStrategy::LeastAllocated, 1001, 0)]
    #[case::a_full_node_is_best(ScoringStrategy::MostAllocated, 1000, 100)]
    #[case::over_full_counts_as_full(ScoringStrategy::MostAllocated, 2000, 100)]
    #[case::first_point(ScoringStrategy::RequestedToCapacityRatio(vec![(0, 0), (100, 10)]), 0, 0)]
    #[case::between_points(ScoringStrategy::RequestedToCapacityRatio(vec![(0, 0), (100, 10)]), 505, 50)]
    #[case::falling(ScoringStrategy::RequestedToCapacityRatio(vec![(0, 10), (50, 2), (100, 0)]), 250, 60)]
    #[case::past_the_last(ScoringStrategy::RequestedToCapacityRatio(vec![(0, 0), (50, 7)]), 900, 70)]
    #[case::no_points(ScoringStrategy::RequestedToCapacityRatio(vec![]), 900, 0)]
    fn strategies(#[case] strategy: ScoringStrategy, #[case] requested: i64, #[case] score: i64) {
        assert_eq!(strategy.score(requested, 1000), score);
    }

    #[rstest]
    // 0.5 and 0.5 used; nothing gets more uneven: 50 + (50 + 100 - 100) / 2.
    #[case::stays_even(Resources::of(250, GIB / 4), Resources::of(500, GIB / 2), 75)]
    // From even to 0.5 against 0: deviation 0.25, so 50 + (50 + 75 - 100) / 2.
    #[case::becomes_uneven(Resources::of(500, 0), Resources::of(0, 0), 62)]
    // From 0.5 against 0 to even: 50 + (50 + 100 - 75) / 2.
    #[case::becomes_even(Resources::of(0, GIB / 2), Resources::of(500, 0), 87)]
    #[case::best_effort_is_not_judged(Resources::default(), Resources::of(500, 0), 0)]
    fn evenness(#[case] wanted: Resources, #[case] used: Resources, #[case] score: i64) {
        let has = Resources::of(1000, GIB);
        assert_eq!(Profile::default().evenness(&wanted, &used, &has), score);
    }

    #[test]
    fn a_pod_without_requests_still_counts_a_little() {
        let (none, has) = (Resources::default(), Resources::of(1000, 1000 << 20));
        let load = Load {
            used: &none,
            used_for_score: &none,
        };
        // 100m of 1000m and 200 MiB of 1000 MiB: 90 and 80.
        assert_eq!(Profile::default().fit(&none, &load, &has), 85);
    }
}
