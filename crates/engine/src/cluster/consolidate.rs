//! Replacing nodes by cheaper ones (opt-in): what upstream's Cluster Autoscaler does not do and
//! Karpenter does (reference §17).

use super::drain::annotation;
use super::group::GroupId;
use super::running::RunningPod;
use jiff::SignedDuration;
use std::sync::Arc;

/// Settings of consolidation.
#[derive(Debug, Clone, PartialEq)]
pub struct ConsolidationOptions {
    /// What is worth the disruption.
    pub policy: ConsolidationPolicy,
    /// How long it must have been worth it.
    pub after: SignedDuration,
    /// How many nodes one replacement may remove.
    pub max_nodes: usize,
    /// How long a new node may take to be ready before the replacement is given up.
    pub patience: SignedDuration,
}

impl Default for ConsolidationOptions {
    fn default() -> Self {
        Self {
            policy: ConsolidationPolicy::Balanced { k: 2.0 },
            after: SignedDuration::from_mins(10),
            max_nodes: 100,
            patience: SignedDuration::from_mins(15),
        }
    }
}

/// What is worth the disruption.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ConsolidationPolicy {
    /// Anything that saves money.
    AnySaving,
    /// The share of money saved, against the share of pods disrupted, is at least 1/k.
    Balanced {
        /// Karpenter's constant, 2.
        k: f64,
    },
}

/// A group to grow so that dearer nodes can go once the new ones are ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Replacement {
    /// The group of the new nodes.
    pub group: GroupId,
    /// How many of them.
    pub nodes: usize,
    /// The nodes that go then.
    pub replaces: Vec<Arc<str>>,
    /// Dollars an hour.
    pub saving_per_hour: f64,
    /// (share of money saved) / (share of disruption).
    pub score: f64,
    /// The reckoning, one sentence.
    pub note: String,
}

/// `controller.kubernetes.io/pod-deletion-cost`.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// What it costs to move one pod: 1, more for dear and important ones (reference §17).
pub fn disruption_of_pod(pod: &RunningPod) -> f64 {
    let cost = annotation(pod, DELETION_COST).and_then(|cost| cost.parse::<i32>().ok());
    let cost = f64::from(cost.unwrap_or(0)) / f64::from(1 << 27);
    let priority = f64::from(pod.priority.unwrap_or(0)) / f64::from(1 << 25);
    (1.0 + cost + priority).clamp(-10.0, 10.0)
}

/// Money and disruption of some nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stake {
    /// Dollars an hour.
    pub price: f64,
    /// 1 a node, and what its pods cost to move.
    pub disruption: f64,
}

impl Stake {
    /// Adds another.
    pub(super) fn add(&mut self, other: Self) {
        self.price += other.price;
        self.disruption += other.disruption;
    }

    /// (share of the pool's money saved) / (share of its disruption); nothing to disturb is free.
    pub fn score(&self, pool: Self) -> f64 {
        if pool.price <= 0.0 || pool.disruption <= 0.0 {
            return 0.0;
        }
        if self.disruption <= 0.0 {
            return f64::MAX;
        }
        (self.price / pool.price) / (self.disruption / pool.disruption)
    }
}

impl ConsolidationPolicy {
    /// Whether saving this is worth disrupting it.
    pub fn accepts(self, stake: Stake, pool: Stake) -> bool {
        match self {
            Self::AnySaving => stake.price > 0.0,
            Self::Balanced { k } => stake.price > 0.0 && stake.score(pool) * k >= 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ConsolidationPolicy, Stake, disruption_of_pod};
    use crate::cluster::RunningPod;
    use rstest::rstest;

    #[rstest]
    // Reference E12.
    #[case::worth_it(0.192, 4.0, true)]
    #[case::not_worth_it(0.096, 7.0, false)]
    #[case::no_saving(0.0, 0.0, false)]
    fn balanced_weighs_money_against_pods(
        #[case] price: f64,
        #[case] disruption: f64,
        #[case] accepted: bool,
    ) {
        let pool = Stake {
            price: 3.84,
            disruption: 80.0,
        };
        let policy = ConsolidationPolicy::Balanced { k: 2.0 };
        assert_eq!(policy.accepts(Stake { price, disruption }, pool), accepted);
    }

    #[rstest]
    #[case::plain(None, 0, 1.0)]
    #[case::dear(Some("134217728"), 0, 2.0)]
    #[case::cheap(Some("-134217728"), 0, 0.0)]
    #[case::important(None, 1 << 25, 2.0)]
    #[case::bounded(None, i32::MAX, 10.0)]
    fn pods_cost_by_annotation_and_priority(
        #[case] cost: Option<&str>,
        #[case] priority: i32,
        #[case] want: f64,
    ) {
        let mut pod = RunningPod {
            priority: Some(priority),
            ..RunningPod::default()
        };
        let key = "controller.kubernetes.io/pod-deletion-cost";
        pod.annotations
            .extend(cost.map(|cost| (key.into(), cost.into())));
        assert!((disruption_of_pod(&pod) - want).abs() < 1e-9);
    }
}
