//! What growing comes to.

use super::GroupId;
use super::quota::ExceededQuota;
use crate::placement::{PodKey, Refusal};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One change of a group's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resize {
    /// Which group.
    pub group: GroupId,
    /// Target before.
    pub from: usize,
    /// Target after.
    pub to: usize,
    /// The group's maximum, for the sentence `{group 3->5 (max: 6)}`.
    pub max: usize,
}

impl std::fmt::Display for Resize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            group,
            from,
            to,
            max,
        } = self;
        write!(f, "{{{group} {from}->{to} (max: {max})}}")
    }
}

/// How a look at pending pods ended (upstream's names).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GrowthOutcome {
    /// Groups are to be resized.
    Successful,
    /// There are pods, and no group helps them.
    NoOptionsAvailable,
    /// No pod waits for a node.
    #[default]
    NotNeeded,
    /// Nothing was tried.
    NotTried,
    /// Every pod is too young.
    InCooldown,
    /// `--max-nodes-total` is reached.
    LimitedByMaxNodesTotal,
}

/// Why a group was not even considered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SkipReason {
    /// It failed to grow lately.
    Backoff {
        /// The provider's error code, where there was one.
        code: String,
        /// Its message.
        message: String,
        /// Until when, RFC 3339.
        until: String,
    },
    /// It is at its maximum.
    MaxSize,
    /// Too many of its nodes are unready.
    NotReady,
    /// Limits on the whole cluster, or quotas, would be exceeded.
    Quota(Vec<ExceededQuota>),
    /// It has all nodes or none, and all would be too many.
    AtomicAboveTotal,
    /// Nobody knows what its nodes will be.
    NoTemplate,
    /// Nobody knows which quotas there are.
    QuotasUnknown,
}

impl std::fmt::Display for SkipReason {
    /// Upstream's phrase (reference §8).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Backoff { .. } => f.write_str("in backoff after failed scale-up"),
            Self::MaxSize => f.write_str("max node group size reached"),
            Self::NotReady => f.write_str("not ready for scale-up"),
            Self::Quota(exceeded) => {
                let each: Vec<String> = exceeded.iter().map(ToString::to_string).collect();
                f.write_str(&each.join(", "))
            }
            Self::AtomicAboveTotal => {
                f.write_str("atomic scale-up exceeds cluster node count limit")
            }
            Self::NoTemplate => f.write_str("no node template"),
            Self::QuotasUnknown => f.write_str("capacity quotas cannot be read"),
        }
    }
}

/// What one group could do.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpansionOption {
    /// The group.
    pub group: GroupId,
    /// Groups alike, among which the nodes may be spread.
    pub similar: Vec<GroupId>,
    /// The choice it was weighed in, from 0 (see `GrowthOptions::rounds`).
    pub round: usize,
    /// How many new nodes.
    pub nodes: usize,
    /// The pods they would take.
    pub pods: Vec<PodKey>,
    /// Whether all expanders kept it; of several such options one is taken.
    pub kept: bool,
    /// What the expander made of it, in words (score, waste, price).
    pub note: String,
}

/// What became of one group in a look.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupVerdict {
    /// Not considered.
    Skipped(SkipReason),
    /// No pending pod fits one of its nodes.
    HelpsNobody,
    /// Considered, and another was better; the reason in words.
    Outvoted(String),
    /// It is grown.
    Grown(Resize),
    /// No pod is left for it.
    NotNeeded,
}

/// What became of one pod in a look.
#[derive(Debug, Clone, PartialEq)]
pub enum PodVerdict {
    /// New nodes of these groups are on their way for it.
    Triggered(Arc<[GroupId]>),
    /// No group helps: the reason of each group.
    Unschedulable(Arc<BTreeMap<GroupId, NoHelp>>),
    /// It fits a group that was not chosen, and is looked at again.
    AwaitsEvaluation,
    /// A node that is there or on its way has room for it.
    Fits(Arc<str>),
    /// It is too young (`--new-pod-scale-up-delay`, or its annotation).
    TooYoung {
        /// When it is looked at.
        until: Timestamp,
    },
    /// Its priority is below `--expendable-pods-priority-cutoff`.
    Expendable,
    /// A DaemonSet manages it, so a new node would not be for it.
    OfDaemonSet,
}

impl PodVerdict {
    /// Upstream's event message for a pod that no group helps, e.g. `pod didn't trigger scale-up: 2
    /// Insufficient cpu, 1 max node group size reached`; `None` for other verdicts.
    pub fn event_message(&self) -> Option<String> {
        let Self::Unschedulable(groups) = self else {
            return None;
        };
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for phrase in groups.values().flat_map(NoHelp::told) {
            *counts.entry(phrase).or_insert(0) += 1;
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let reasons: Vec<String> = counts
            .into_iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        let separator = if reasons.is_empty() { "" } else { " " };
        let reasons = reasons.join(", ");
        Some(format!("pod didn't trigger scale-up:{separator}{reasons}"))
    }
}

/// Why a group does not help a pod.
#[derive(Debug, Clone, PartialEq)]
pub enum NoHelp {
    /// The group was not considered.
    Skipped(SkipReason),
    /// A new node would refuse the pod.
    Refused {
        /// What the first rule that refuses says.
        reasons: Vec<Refusal>,
        /// How much is missing and what would help, in words.
        shortage: String,
    },
    /// A new node would take the pod, but no more of them may be added.
    NoMoreNodes {
        /// What bounds their number, in words.
        bound: String,
    },
}

impl NoHelp {
    /// The reasons as upstream's events count them.
    pub fn phrases(&self) -> Vec<String> {
        match self {
            Self::Skipped(SkipReason::Quota(exceeded)) => {
                exceeded.iter().map(ToString::to_string).collect()
            }
            Self::Skipped(reason) => vec![reason.to_string()],
            Self::Refused { reasons, .. } => reasons.iter().map(ToString::to_string).collect(),
            Self::NoMoreNodes { .. } => vec![SkipReason::MaxSize.to_string()],
        }
    }

    /// The reasons as events tell them: as upstream's, but with the figures of quotas, and by name
    /// what else bounds the number of nodes.
    pub fn told(&self) -> Vec<String> {
        match self {
            Self::Skipped(SkipReason::Quota(exceeded)) => {
                exceeded.iter().map(ExceededQuota::told).collect()
            }
            Self::NoMoreNodes { bound } => vec![bound.clone()],
            Self::Skipped(_) | Self::Refused { .. } => self.phrases(),
        }
    }
}

/// What to do about the pods that wait.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GrowthPlan {
    /// How it ended.
    pub outcome: GrowthOutcome,
    /// Sizes to be set, best first.
    pub resizes: Vec<Resize>,
    /// Groups of `resizes` of which new nodes come all at once or not at all.
    pub atomic: BTreeSet<GroupId>,
    /// What was weighed, in every round.
    pub options: Vec<ExpansionOption>,
    /// Every group.
    pub groups: BTreeMap<GroupId, GroupVerdict>,
    /// Every pod that was looked at.
    pub pods: BTreeMap<PodKey, PodVerdict>,
    /// What happened, one sentence a step, with the numbers.
    pub trace: Vec<String>,
}
