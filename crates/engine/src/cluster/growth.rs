//! What a look at pending pods is given.

use super::expander::Expander;
use super::group::{GroupFacts, GroupId};
use super::pending::PendingPod;
use super::plan::SkipReason;
use super::quota::Quota;
use super::running::ClusterNode;
use super::similar::Similarity;
use crate::placement::Snapshot;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// Settings of growth (upstream's flags; see the flag named at each).
#[derive(Debug, Clone, PartialEq)]
pub struct GrowthOptions {
    /// `--expander`: each keeps some options, the next chooses among those.
    pub expanders: Vec<Expander>,
    /// `--max-nodes-total`: the cluster never has more nodes; `None` = no such limit.
    pub max_nodes_total: Option<usize>,
    /// `--max-nodes-per-scaleup`: no more nodes of a group in one look; `None` = no such limit.
    pub max_nodes_per_scaleup: Option<usize>,
    /// `--expendable-pods-priority-cutoff`: pods below it ask for nothing.
    pub expendable_below: i32,
    /// `--new-pod-scale-up-delay`: younger pods wait.
    pub new_pod_delay: SignedDuration,
    /// `--balance-similar-node-groups`: how groups are compared; `None` = they are not.
    pub balance: Option<Similarity>,
    /// `--cores-total`, `--memory-total`, `--gpu-total` and quotas of objects.
    pub quotas: Vec<Quota>,
    /// How many times an expander chooses in one look at most; each choice is for the pods that the
    /// ones before left. `None` = as often as there are groups and once more, so that every group
    /// gets its turn.
    ///
    /// Departs: upstream chooses once and goes on in its next loop; so does 1.
    pub rounds: Option<usize>,
    /// `--scale-up-from-zero`: whether a cluster without nodes grows.
    pub from_zero: bool,
    /// All pods get nodes or none does (an all-or-nothing request).
    pub all_or_nothing: bool,
}

impl GrowthOptions {
    /// How many choices there are at most among so many groups.
    pub(super) fn choices(&self, groups: usize) -> usize {
        let rounds = self.rounds.unwrap_or_else(|| groups.saturating_add(1));
        rounds.max(1)
    }

    /// Whether what one choice leaves is looked at again.
    pub(super) fn chooses_again(&self) -> bool {
        self.rounds.is_none_or(|rounds| rounds > 1)
    }
}

impl Default for GrowthOptions {
    /// Upstream's flag defaults (reference §16), except for `rounds`.
    fn default() -> Self {
        Self {
            expanders: vec![Expander::LeastWaste],
            max_nodes_total: None,
            max_nodes_per_scaleup: Some(1000),
            expendable_below: -10,
            new_pod_delay: SignedDuration::ZERO,
            balance: None,
            quotas: Vec::new(),
            rounds: None,
            from_zero: true,
            all_or_nothing: false,
        }
    }
}

/// Everything a look at pending pods is decided from.
#[derive(Debug)]
pub struct GrowthInput<'a> {
    /// Nodes and what runs on them. Changed while deciding, and as it was afterwards.
    pub snapshot: &'a mut Snapshot,
    /// All groups.
    pub groups: &'a [GroupFacts],
    /// Pods without a node, in the order they are to be looked at among equals.
    pub pending: &'a [PendingPod],
    /// All nodes, of groups and of none.
    pub existing: &'a [ClusterNode],
    /// Nodes on their way by group (see [`GroupHealth::upcoming`](super::GroupHealth)).
    pub upcoming: &'a BTreeMap<GroupId, usize>,
    /// Groups that must not grow now.
    pub skipped: &'a BTreeMap<GroupId, SkipReason>,
    /// Settings.
    pub options: &'a GrowthOptions,
    /// Now.
    pub now: Timestamp,
    /// Chooses among equals where an expander says at random: any number from a seeded source.
    pub tie: u64,
}
