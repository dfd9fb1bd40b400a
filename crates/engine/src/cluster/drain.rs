//! Which pods keep their node: upstream's rules in upstream's order (reference §12.5).

use super::disruption::RemainingBudgets;
use super::remedy;
use super::removal::{Blocker, BlockerReason};
use super::running::{OwnerKind, RunningPod};
use super::shrink::DrainOptions;
use crate::placement::PodKey;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// `safe-to-evict`: `true`, `false` or `on-completion`.
pub const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";
/// Names of volumes whose data may be lost, separated by commas.
pub const SAFE_LOCAL_VOLUMES: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
/// `true` makes a pod count as a DaemonSet's.
pub const DAEMON_SET_POD: &str = "cluster-autoscaler.kubernetes.io/daemonset-pod";
/// The namespace of system pods.
pub const SYSTEM_NAMESPACE: &str = "kube-system";
/// How long after its grace period a pod that is still there counts as gone.
const EXTRA_GRACE: SignedDuration = SignedDuration::from_secs(30);

/// What a rule says of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drainability {
    /// Nothing: the next rule is asked.
    Undefined,
    /// It may be moved, whatever the rules below say.
    Ok,
    /// It is not counted.
    Skip,
    /// It is waited for.
    Wait,
    /// It keeps the node.
    Blocked(BlockerReason),
}

/// The rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainRule {
    /// Mirrors of static pods go with the node.
    Mirror,
    /// Pods that should be gone already.
    LongTerminating,
    /// The controller exists and has enough replicas.
    ReplicaCount,
    /// Pods of DaemonSets go with the node.
    DaemonSet,
    /// `safe-to-evict: "true"`.
    SafeToEvict,
    /// Pods that are done.
    Terminal,
    /// `safe-to-evict: "on-completion"`.
    OnCompletion,
    /// Something would replace it.
    Replicated,
    /// Pods of kube-system need a disruption budget.
    System,
    /// `safe-to-evict: "false"`.
    NotSafeToEvict,
    /// Data on the node.
    LocalStorage,
    /// Disruption budgets.
    DisruptionBudget,
}

/// What the rules look at beside the pod.
#[derive(Debug, Clone, Copy)]
pub struct DrainContext<'a> {
    /// Settings.
    pub options: &'a DrainOptions,
    /// What budgets allow.
    pub budgets: &'a RemainingBudgets,
    /// The time.
    pub now: Timestamp,
}

impl DrainRule {
    /// The rules, in the order they are asked.
    pub const ORDER: [Self; 12] = [
        Self::Mirror,
        Self::LongTerminating,
        Self::ReplicaCount,
        Self::DaemonSet,
        Self::SafeToEvict,
        Self::Terminal,
        Self::OnCompletion,
        Self::Replicated,
        Self::System,
        Self::NotSafeToEvict,
        Self::LocalStorage,
        Self::DisruptionBudget,
    ];

    /// What this rule says, whether it is switched on or not.
    pub fn judge(self, pod: &RunningPod, context: &DrainContext<'_>) -> Drainability {
        use Drainability::{Blocked, Ok, Skip, Undefined, Wait};
        let options = context.options;
        let when = |holds: bool, then: Drainability| if holds { then } else { Undefined };
        let evict = annotation(pod, SAFE_TO_EVICT);
        match self {
            Self::Mirror => when(pod.mirror, Skip),
            Self::LongTerminating => when(is_long_terminating(pod, context.now), Skip),
            Self::ReplicaCount => replica_count(pod, options.min_replicas),
            Self::DaemonSet => when(is_of_daemon_set(pod), Ok),
            Self::SafeToEvict => when(evict == Some("true"), Ok),
            Self::Terminal => when(pod.terminal, Ok),
            Self::OnCompletion => when(evict == Some("on-completion"), Wait),
            Self::Replicated => {
                let replicated = is_replicated(pod, options.skip_custom_controllers);
                when(!replicated, Blocked(BlockerReason::NotReplicated))
            }
            Self::System => system(pod, context),
            Self::NotSafeToEvict => {
                let reason = BlockerReason::NotSafeToEvictAnnotation;
                when(evict == Some("false"), Blocked(reason))
            }
            Self::LocalStorage => {
                let reason = BlockerReason::LocalStorageRequested;
                when(unsafe_volume(pod).is_some(), Blocked(reason))
            }
            Self::DisruptionBudget => {
                let empty = context.budgets.exhausted(&pod.pod).is_some();
                when(empty, Blocked(BlockerReason::NotEnoughPdb))
            }
        }
    }

    /// Whether the flags switch the rule on.
    fn is_on(self, options: &DrainOptions) -> bool {
        match self {
            Self::ReplicaCount => options.skip_custom_controllers,
            Self::System => options.skip_system_pods,
            Self::LocalStorage => options.skip_local_storage,
            Self::Mirror
            | Self::LongTerminating
            | Self::DaemonSet
            | Self::SafeToEvict
            | Self::Terminal
            | Self::OnCompletion
            | Self::Replicated
            | Self::NotSafeToEvict
            | Self::DisruptionBudget => true,
        }
    }
}

/// What the first decisive rule says; [`Drainability::Undefined`] means that the pod may be moved.
pub fn drainability(pod: &RunningPod, context: &DrainContext<'_>) -> Drainability {
    let rules = DrainRule::ORDER.into_iter();
    let mut answers = rules
        .filter(|rule| rule.is_on(context.options))
        .map(|rule| rule.judge(pod, context));
    let decisive = answers.find(|answer| *answer != Drainability::Undefined);
    decisive.unwrap_or(Drainability::Undefined)
}

/// The pods of a node, by what becomes of them when it goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement<'a> {
    /// To be moved.
    pub moves: Vec<&'a RunningPod>,
    /// Of DaemonSets.
    pub daemons: Vec<&'a RunningPod>,
    /// Waited for.
    pub on_completion: Vec<&'a RunningPod>,
}

/// Sorts the pods of a node.
///
/// # Errors
/// The first pod that keeps the node.
pub fn judge_all<'a>(
    pods: impl IntoIterator<Item = &'a RunningPod>,
    context: &DrainContext<'_>,
) -> Result<Judgement<'a>, Blocker> {
    let mut all = Judgement::default();
    for pod in pods {
        match drainability(pod, context) {
            Drainability::Ok | Drainability::Undefined if is_of_daemon_set(pod) => {
                all.daemons.push(pod);
            }
            Drainability::Ok | Drainability::Undefined => all.moves.push(pod),
            Drainability::Skip => {}
            Drainability::Wait => all.on_completion.push(pod),
            Drainability::Blocked(reason) => return Err(blocker(pod, reason, context)),
        }
    }
    Ok(all)
}

/// The blocker with what would lift it.
pub(super) fn blocker(
    pod: &RunningPod,
    reason: BlockerReason,
    context: &DrainContext<'_>,
) -> Blocker {
    Blocker {
        pod: pod.pod.key(),
        reason,
        remedy: remedy::of_blocker(pod, reason, context),
    }
}

/// The pod that is waited for, as a blocker.
pub(super) fn awaited(pod: &PodKey) -> Blocker {
    Blocker {
        pod: pod.clone(),
        reason: BlockerReason::OnCompletion,
        remedy: remedy::of_awaited(pod),
    }
}

/// An annotation's value.
pub(super) fn annotation<'a>(pod: &'a RunningPod, key: &str) -> Option<&'a str> {
    pod.annotations.get(key).map(|value| &**value)
}

/// Whether a pod goes with its node and comes with every other.
pub fn is_of_daemon_set(pod: &RunningPod) -> bool {
    let owned = pod.owner.as_ref();
    owned.is_some_and(|owner| owner.kind == OwnerKind::DaemonSet)
        || annotation(pod, DAEMON_SET_POD) == Some("true")
}

/// When a pod that is being deleted should have been gone for a while.
pub(super) fn overdue_at(pod: &RunningPod) -> Option<Timestamp> {
    let grace = SignedDuration::from_secs(pod.grace_seconds);
    let late = grace.saturating_add(EXTRA_GRACE);
    pod.deletion?.saturating_add(late).ok()
}

/// Whether a pod should have been gone for a while.
pub fn is_long_terminating(pod: &RunningPod, now: Timestamp) -> bool {
    overdue_at(pod).is_some_and(|then| then < now)
}

fn replica_count(pod: &RunningPod, min: usize) -> Drainability {
    let Some(owner) = &pod.owner else {
        return Drainability::Undefined;
    };
    let counted = matches!(
        owner.kind,
        OwnerKind::ReplicaSet | OwnerKind::ReplicationController
    );
    if owner.kind == OwnerKind::Other {
        return Drainability::Undefined;
    }
    match owner.exists {
        Some(false) => Drainability::Blocked(BlockerReason::ControllerNotFound),
        Some(true) if counted && owner.replicas.is_some_and(|replicas| replicas < min) => {
            Drainability::Blocked(BlockerReason::MinReplicasReached)
        }
        Some(true) | None => Drainability::Undefined,
    }
}

fn is_replicated(pod: &RunningPod, known_kinds_only: bool) -> bool {
    pod.owner.as_ref().is_some_and(|owner| match owner.kind {
        OwnerKind::ReplicaSet
        | OwnerKind::ReplicationController
        | OwnerKind::StatefulSet
        | OwnerKind::Job => true,
        OwnerKind::DaemonSet | OwnerKind::Other => !known_kinds_only,
    })
}

fn system(pod: &RunningPod, context: &DrainContext<'_>) -> Drainability {
    if &*pod.pod.namespace != SYSTEM_NAMESPACE || context.budgets.protects(&pod.pod) {
        return Drainability::Undefined;
    }
    let old = old_at(pod, context.options).is_some_and(|then| then < context.now);
    if old {
        // Parity: an answer, so the rules below are not asked.
        Drainability::Ok
    } else {
        Drainability::Blocked(BlockerReason::UnmovableKubeSystemPod)
    }
}

/// When a system pod no longer keeps its node.
pub(super) fn old_at(pod: &RunningPod, options: &DrainOptions) -> Option<Timestamp> {
    pod.created?.saturating_add(options.system_pod_timeout).ok()
}

/// A volume with data on the node that nobody declared safe to lose.
pub(super) fn unsafe_volume(pod: &RunningPod) -> Option<&Arc<str>> {
    let safe = annotation(pod, SAFE_LOCAL_VOLUMES).unwrap_or_default();
    let is_safe = |volume: &str| safe.split(',').any(|name| name.trim() == volume);
    pod.local_volumes.iter().find(|volume| !is_safe(volume))
}
