//! Verdicts in words: what is thought of a node, a group or a pod, and what would change it.

use super::{
    Blocker, BlockerReason, ExceededQuota, GroupVerdict, KeepReason, NoHelp, NodeVerdict,
    PodVerdict, SkipReason, is_upcoming,
};
use jiff::{SignedDuration, Timestamp};

/// A verdict with what would change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What is so, one sentence.
    pub reason: String,
    /// What would change it: the object, flag or annotation; empty where nothing has to.
    pub lift: String,
}

impl Answer {
    fn new(reason: impl Into<String>, lift: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            lift: lift.into(),
        }
    }
}

impl NodeVerdict {
    /// Upstream's name of the reason, or `Unneeded`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kept(reason) => reason.name(),
            Self::Unneeded { waiting, .. } => waiting.as_ref().map_or("Unneeded", KeepReason::name),
        }
    }

    /// What is thought of node `node`, as of `now`.
    pub fn answer(&self, node: &str, now: Timestamp) -> Answer {
        match self {
            Self::Kept(reason) => {
                let Answer { reason, lift } = reason.answer(node, now);
                Answer::new(format!("it stays: {reason}"), lift)
            }
            Self::Unneeded {
                since,
                waiting: None,
            } => {
                let long = in_words(now.duration_since(*since));
                let reason = format!("it goes now: nobody has needed it for {long}");
                Answer::new(reason, "")
            }
            Self::Unneeded {
                waiting: Some(reason),
                ..
            } => {
                let Answer { reason, lift } = reason.answer(node, now);
                Answer::new(format!("it is not needed, and waits: {reason}"), lift)
            }
        }
    }
}

impl KeepReason {
    /// Why `node` stays, as of `now`.
    pub fn answer(&self, node: &str, now: Timestamp) -> Answer {
        match self {
            Self::NotUnneededLongEnough { since, needed } => waits(
                ("unneeded", "--scale-down-unneeded-time"),
                *since,
                *needed,
                now,
            ),
            Self::NotUnreadyLongEnough { since, needed } => waits(
                ("unready and unneeded", "--scale-down-unready-time"),
                *since,
                *needed,
                now,
            ),
            Self::NotUnderutilized {
                utilization,
                threshold,
                resource,
            } => over(*utilization, *threshold, resource),
            Self::RecentlyUnremovable { why, until } => {
                let Answer { reason, lift } = why.answer(node, now);
                let left = in_words(until.duration_since(now));
                Answer::new(format!("{reason} (judged again in {left})"), lift)
            }
            Self::NoPlaceToMovePods { pod, why } => Answer::new(
                format!("pod {pod} would fit on no other node: {why}"),
                "room for it elsewhere: a smaller request, another replica less, or a larger node",
            ),
            Self::BlockedByPod(blocker) | Self::BlockedByOnCompletionPod(blocker) => {
                blocker.answer()
            }
            Self::ScaleDownDisabledAnnotation
            | Self::ScaleDownUnreadyDisabled
            | Self::NotAutoscaled
            | Self::NodeGroupMinSizeReached { .. }
            | Self::NodeGroupMaxDeletionCountReached
            | Self::AtomicScaleDownFailed
            | Self::MinimalResourceLimitExceeded { .. }
            | Self::CurrentlyBeingDeleted
            | Self::NotUnneededOtherReason(_)
            | Self::NoNodeInfo
            | Self::UnexpectedError(_) => self.plain(node),
        }
    }

    /// The reasons that come without a time and without a pod.
    fn plain(&self, node: &str) -> Answer {
        match self {
            Self::ScaleDownDisabledAnnotation => Answer::new(
                "its annotation cluster-autoscaler.kubernetes.io/scale-down-disabled is \"true\"",
                format!(
                    "kubectl annotate node {node} \
                     cluster-autoscaler.kubernetes.io/scale-down-disabled-"
                ),
            ),
            Self::ScaleDownUnreadyDisabled => Answer::new(
                "it is not ready, and unready nodes are left alone",
                "--scale-down-unready-enabled=true",
            ),
            Self::NotAutoscaled => Answer::new(
                "it belongs to no node group",
                "name its group (--nodes, --node-group-auto-discovery), or remove the node by hand",
            ),
            Self::NodeGroupMinSizeReached { min } => Answer::new(
                format!("its group is at its minimum of {min}"),
                "a smaller minimum of the group",
            ),
            Self::NodeGroupMaxDeletionCountReached => Answer::new(
                "as many nodes of its group are being removed as may be at once",
                "it follows when those are gone",
            ),
            Self::AtomicScaleDownFailed => Answer::new(
                "its group goes as a whole or not at all, and another node of it is needed",
                "see the other nodes of the group",
            ),
            Self::MinimalResourceLimitExceeded { resources } => Answer::new(
                format!(
                    "the cluster would fall below its minimum of {}",
                    resources.join(" and ")
                ),
                "a smaller minimum in --cores-total, --memory-total or --gpu-total",
            ),
            Self::CurrentlyBeingDeleted => Answer::new("it is being removed", ""),
            Self::NotUnneededOtherReason(why) => Answer::new(why.clone(), ""),
            Self::NoNodeInfo => Answer::new(
                "nothing is known of it yet",
                "it is judged as soon as it has registered",
            ),
            Self::UnexpectedError(why) => Answer::new(format!("it could not be judged: {why}"), ""),
            Self::NotUnneededLongEnough { .. }
            | Self::NotUnreadyLongEnough { .. }
            | Self::NotUnderutilized { .. }
            | Self::RecentlyUnremovable { .. }
            | Self::NoPlaceToMovePods { .. }
            | Self::BlockedByPod(_)
            | Self::BlockedByOnCompletionPod(_) => Answer::new(self.name(), ""),
        }
    }
}

impl Blocker {
    /// Which pod keeps its node, why, and what would lift it.
    pub fn answer(&self) -> Answer {
        Answer::new(
            format!("pod {} {}", self.pod, self.reason.phrase()),
            self.remedy.clone(),
        )
    }
}

impl BlockerReason {
    /// What a sentence about the pod goes on with.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::ControllerNotFound => "has a controller that does not exist",
            Self::MinReplicasReached => "has a controller with too few replicas",
            Self::NotReplicated => "has no controller that would replace it",
            Self::NotSafeToEvictAnnotation => "is marked as not safe to evict",
            Self::UnmovableKubeSystemPod => "is of kube-system and has no disruption budget",
            Self::LocalStorageRequested => "has data on the node",
            Self::NotEnoughPdb => "has a disruption budget that allows no eviction now",
            Self::OnCompletion => "asked to be left alone until it is done",
            Self::UnexpectedError => "could not be judged",
        }
    }
}

/// A timer that runs.
fn waits(
    (state, flag): (&str, &str),
    since: Timestamp,
    needed: SignedDuration,
    now: Timestamp,
) -> Answer {
    let past = now.duration_since(since);
    let left = needed.saturating_sub(past).max(SignedDuration::ZERO);
    Answer::new(
        format!(
            "it has been {state} for {} of {}, {} are left",
            in_words(past),
            in_words(needed),
            in_words(left)
        ),
        format!("a shorter {flag}"),
    )
}

/// A node that is used too much.
fn over(utilization: f64, threshold: f64, resource: &str) -> Answer {
    Answer::new(
        format!(
            "its pods request {} of its {resource}, more than {}",
            percent(utilization),
            percent(threshold)
        ),
        "fewer or smaller requests on it, or a higher --scale-down-utilization-threshold \
         (--ignore-daemonsets-utilization leaves DaemonSets out)",
    )
}

/// A share of one as people write it.
fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A span of time in whole seconds, as upstream's lines have it: `10m2s`.
pub fn in_words(duration: SignedDuration) -> String {
    let whole = SignedDuration::from_secs(duration.as_secs().max(0));
    format!("{whole:#}").replace(' ', "")
}

impl SkipReason {
    /// The phrase, with the figures of quotas.
    pub fn told(&self) -> String {
        if let Self::Quota(exceeded) = self {
            let each: Vec<String> = exceeded.iter().map(ExceededQuota::told).collect();
            return each.join(", ");
        }
        self.to_string()
    }

    /// `Backoff`, `MaxSize`, `NotReady`, `Quota`, `AtomicAboveTotal`, `NoTemplate`,
    /// `QuotasUnknown`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Backoff { .. } => "Backoff",
            Self::MaxSize => "MaxSize",
            Self::NotReady => "NotReady",
            Self::Quota(_) => "Quota",
            Self::AtomicAboveTotal => "AtomicAboveTotal",
            Self::NoTemplate => "NoTemplate",
            Self::QuotasUnknown => "QuotasUnknown",
        }
    }

    /// What would let the group be considered again.
    pub fn lift(&self) -> String {
        match self {
            Self::Backoff {
                code,
                message,
                until,
            } => {
                let code = if code.is_empty() { "" } else { code.as_str() };
                let gap = if code.is_empty() { "" } else { ": " };
                format!("the provider answered {code}{gap}{message}; tried again at {until}")
            }
            Self::MaxSize => "a larger maximum of the group".into(),
            Self::NotReady => "its unready nodes: kubectl get nodes, kubectl describe node".into(),
            Self::Quota(exceeded) => {
                let lifts: Vec<String> = exceeded.iter().map(ExceededQuota::lift).collect();
                lifts.join("; ")
            }
            Self::AtomicAboveTotal => "a larger --max-nodes-total".into(),
            Self::QuotasUnknown => {
                "the right to get, list and watch capacityquotas.autoscaling.x-k8s.io".into()
            }
            Self::NoTemplate => {
                "labels, taints and resources of its nodes, by tags of the group, or one live node"
                    .into()
            }
        }
    }
}

impl GroupVerdict {
    /// `Skipped`, `HelpsNobody`, `Outvoted`, `Grown`, `NotNeeded`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Skipped(_) => "Skipped",
            Self::HelpsNobody => "HelpsNobody",
            Self::Outvoted(_) => "Outvoted",
            Self::Grown(_) => "Grown",
            Self::NotNeeded => "NotNeeded",
        }
    }

    /// What came of the group, and what would change it.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Skipped(reason) => {
                Answer::new(format!("not considered: {}", reason.told()), reason.lift())
            }
            Self::HelpsNobody => Answer::new(
                "no pending pod fits one of its nodes",
                "plimsoll explain pod/NAME says what each pod lacks",
            ),
            Self::Outvoted(why) => Answer::new(format!("another group was better: {why}"), ""),
            Self::Grown(resize) => Answer::new(format!("grown: {resize}"), ""),
            Self::NotNeeded => Answer::new("not needed: no pod waits for a node of it", ""),
        }
    }
}

impl PodVerdict {
    /// `Triggered`, `Unschedulable`, `AwaitsEvaluation`, `Fits`, `TooYoung`, `Expendable`,
    /// `OfDaemonSet`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Triggered(_) => "Triggered",
            Self::Unschedulable(_) => "Unschedulable",
            Self::AwaitsEvaluation => "AwaitsEvaluation",
            Self::Fits(_) => "Fits",
            Self::TooYoung { .. } => "TooYoung",
            Self::Expendable => "Expendable",
            Self::OfDaemonSet => "OfDaemonSet",
        }
    }

    /// One sentence.
    pub fn summary(&self) -> String {
        match self {
            Self::Triggered(groups) if groups.is_empty() => {
                "new nodes are on their way for it".into()
            }
            Self::Triggered(groups) => {
                format!("new nodes of {} are on their way for it", groups.join(", "))
            }
            Self::Fits(node) if is_upcoming(node) => "a node on its way has room for it".into(),
            Self::Fits(node) => format!("node {node} has room for it"),
            Self::TooYoung { until } => {
                format!("it is too young: nodes are added for it from {until} on")
            }
            Self::Expendable => {
                "its priority is below --expendable-pods-priority-cutoff: no nodes are added for it"
                    .into()
            }
            Self::OfDaemonSet => "a DaemonSet manages it: a new node would not be for it".into(),
            Self::Unschedulable(groups) => match groups.len() {
                0 => "there is no node group that could grow for it".into(),
                1 => "the one node group there is does not help it".into(),
                count => format!("none of {count} node groups helps it"),
            },
            Self::AwaitsEvaluation => {
                "it fits a group that was not chosen, and is looked at again".into()
            }
        }
    }
}

impl NoHelp {
    /// Why a group does not help, and what would.
    pub fn answer(&self) -> Answer {
        match self {
            Self::Skipped(reason) => Answer::new(reason.told(), reason.lift()),
            Self::Refused { shortage, .. } => {
                Answer::new(self.phrases().join(", "), shortage.clone())
            }
            Self::NoMoreNodes { bound } => Answer::new(bound.clone(), ""),
        }
    }
}

#[cfg(test)]
#[path = "explain_tests.rs"]
mod tests;
