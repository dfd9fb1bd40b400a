//! What a look for nodes to remove needs to know.

use super::consolidate::ConsolidationOptions;
use super::group::{GroupFacts, GroupId};
use super::residents::PodsOnNodes;
use super::running::{ClusterNode, RunningPod};
use super::similar::Similarity;
use crate::placement::{BudgetFacts, PodFacts, Snapshot};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything one look is based on.
#[derive(Debug)]
pub struct ShrinkInput<'a> {
    /// Nodes and pods as placement knows them; left as it was. One planner is given the same one in
    /// every look, with what changed meanwhile.
    pub snapshot: &'a mut Snapshot,
    /// All nodes, in an order that stays.
    pub nodes: &'a [ClusterNode],
    /// What runs on them.
    pub pods: &'a PodsOnNodes,
    /// All groups.
    pub groups: &'a [GroupFacts],
    /// All disruption budgets.
    pub budgets: &'a [BudgetFacts],
    /// What is being removed.
    pub in_progress: &'a Deletions,
    /// Pods without a node yet, by the node that has room for them: that node is needed.
    pub expected: &'a BTreeMap<Arc<str>, Vec<PodFacts>>,
    /// Groups that must not grow now, not even for a replacement (see
    /// [`cannot_grow`](super::cannot_grow)).
    pub cannot_grow: &'a BTreeSet<GroupId>,
    /// Settings.
    pub options: &'a ShrinkOptions,
    /// Why nothing may be removed now whatever this look finds; timers run nevertheless. The delays
    /// after growth, removal and failure are the planner's own.
    pub cooldown: Option<String>,
    /// The time.
    pub now: Timestamp,
}

/// Removals under way.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deletions {
    /// By node.
    pub nodes: BTreeMap<Arc<str>, Deletion>,
    /// Pods evicted lately whose replacements may not exist yet: room is kept for them.
    pub evicted: Vec<EvictedPod>,
}

/// One removal under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The node's group.
    pub group: GroupId,
    /// Whether pods are being evicted from it.
    pub drains: bool,
    /// Since when.
    pub since: Timestamp,
}

/// A pod evicted lately.
#[derive(Debug, Clone, PartialEq)]
pub struct EvictedPod {
    /// The pod as it was.
    pub pod: RunningPod,
    /// By how much its controller is below its replicas now; `None` if that is not known, and then
    /// the pod is expected back.
    pub missing: Option<usize>,
}

impl Deletions {
    /// How many run in a group.
    pub fn in_group(&self, group: &str) -> usize {
        self.nodes.values().filter(|d| *d.group == *group).count()
    }

    /// How many evict pods.
    pub fn draining(&self) -> usize {
        self.nodes.values().filter(|d| d.drains).count()
    }
}

/// Settings of removal: upstream's flags with upstream's defaults (reference §16), beside those
/// that a group may have of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct ShrinkOptions {
    /// `--scale-down-unready-enabled`.
    pub unready_enabled: bool,
    /// `--ignore-mirror-pods-utilization`.
    pub ignore_mirror_pods_utilization: bool,
    /// `--expendable-pods-priority-cutoff`: pods below it are not seen.
    pub expendable_cutoff: i32,
    /// `--unremovable-node-recheck-timeout`.
    pub recheck: SignedDuration,
    /// `--max-scale-down-parallelism`, `--max-drain-parallelism`.
    pub parallelism: Parallelism,
    /// `--scale-down-delay-…`.
    pub delays: Delays,
    /// `--node-deletion-candidate-ttl`: how old a soft taint's time may be to count as the begin of
    /// a node's being unneeded; zero = never.
    pub candidate_ttl: SignedDuration,
    /// Which pods keep a node.
    pub drain: DrainOptions,
    /// Never less than this.
    pub floors: Vec<Floor>,
    /// Mark only as many nodes as can be removed in time; `None` = mark all.
    ///
    /// Departs: upstream always limits itself, since its what-ifs are expensive.
    pub pace: Option<Pace>,
    /// Take nodes from the largest of groups alike first (opt-in).
    pub balance: Option<Similarity>,
    /// Replace nodes by cheaper ones (opt-in).
    pub consolidation: Option<ConsolidationOptions>,
}

impl Default for ShrinkOptions {
    fn default() -> Self {
        Self {
            unready_enabled: true,
            ignore_mirror_pods_utilization: false,
            expendable_cutoff: -10,
            recheck: SignedDuration::from_mins(5),
            parallelism: Parallelism::default(),
            delays: Delays::default(),
            candidate_ttl: SignedDuration::ZERO,
            drain: DrainOptions::default(),
            floors: Vec::new(),
            pace: None,
            balance: None,
            consolidation: None,
        }
    }
}

/// How many removals may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallelism {
    /// `--max-scale-down-parallelism`: of all kinds.
    pub all: usize,
    /// `--max-drain-parallelism`: that evict pods.
    pub drains: usize,
}

impl Default for Parallelism {
    fn default() -> Self {
        Self { all: 10, drains: 1 }
    }
}

/// After what, and for how long, nothing is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// `--scale-down-delay-after-add`.
    pub after_add: SignedDuration,
    /// `--scale-down-delay-after-delete`.
    pub after_delete: SignedDuration,
    /// `--scale-down-delay-after-failure`.
    pub after_failure: SignedDuration,
    /// `--scale-down-delay-type-local`: only the group concerned waits.
    pub per_group: bool,
}

impl Delays {
    /// The same, except that growth makes nothing wait.
    pub(super) fn without_after_add(&self) -> Self {
        Self {
            after_add: SignedDuration::ZERO,
            ..*self
        }
    }
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            after_add: SignedDuration::from_mins(10),
            after_delete: SignedDuration::ZERO,
            after_failure: SignedDuration::from_mins(3),
            per_group: false,
        }
    }
}

/// Which pods keep their node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainOptions {
    /// `--skip-nodes-with-system-pods`.
    pub skip_system_pods: bool,
    /// `--skip-nodes-with-local-storage`.
    pub skip_local_storage: bool,
    /// `--skip-nodes-with-custom-controller-pods`.
    pub skip_custom_controllers: bool,
    /// `--min-replica-count`.
    pub min_replicas: usize,
    /// `--blocking-system-pod-distruption-timeout` (upstream's spelling).
    pub system_pod_timeout: SignedDuration,
}

impl Default for DrainOptions {
    fn default() -> Self {
        Self {
            skip_system_pods: true,
            skip_local_storage: true,
            skip_custom_controllers: true,
            min_replicas: 0,
            system_pod_timeout: SignedDuration::from_hours(1),
        }
    }
}

/// A lower limit on the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Floor {
    /// Its name; upstream's flags make the one named `cluster-wide`.
    pub name: Arc<str>,
    /// The least of each resource: `nodes`, `cpu` in cores, `memory` in bytes, others in units.
    pub least: BTreeMap<Arc<str>, i64>,
}

/// How fast nodes are looked at and may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// `--scan-interval`.
    pub scan_interval: SignedDuration,
    /// `--scale-down-unneeded-time`, of groups that have none of their own.
    pub unneeded_time: SignedDuration,
}

impl Pace {
    /// How many nodes may be unneeded after a look that began with so many (reference §12.3, E5).
    pub fn limit(&self, unneeded: usize, parallelism: usize) -> usize {
        let interval = self.scan_interval.as_millis().max(1);
        let looks = self.unneeded_time.as_millis().max(interval) / interval;
        let looks = usize::try_from(looks).unwrap_or(usize::MAX);
        let in_time = parallelism
            .saturating_mul(looks)
            .saturating_add(parallelism);
        in_time.min(unneeded.saturating_add(parallelism.saturating_mul(2)))
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use jiff::SignedDuration;
    use rstest::rstest;

    #[rstest]
    // Reference E5.
    #[case::first(0, 600, 20)]
    #[case::second(20, 600, 40)]
    #[case::at_the_bound(600, 600, 610)]
    #[case::shorter_than_a_scan(100, 1, 20)]
    fn the_pace_is_upstreams(#[case] unneeded: usize, #[case] seconds: i64, #[case] limit: usize) {
        let pace = Pace {
            scan_interval: SignedDuration::from_secs(10),
            unneeded_time: SignedDuration::from_secs(seconds),
        };
        assert_eq!(pace.limit(unneeded, 10), limit);
    }
}
