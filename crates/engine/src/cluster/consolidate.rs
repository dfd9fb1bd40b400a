//! Replacing nodes by cheaper ones (opt-in): what upstream's Cluster Autoscaler does not do and
//! Karpenter does (reference §17).

use super::group::GroupId;
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
