//! What would lift a blocker, in one sentence: the object, and its flag or annotation.

use super::drain::{self, DrainContext, SAFE_LOCAL_VOLUMES, SAFE_TO_EVICT};
use super::removal::BlockerReason;
use super::running::{OwnerKind, PodOwner, RunningPod};
use crate::placement::PodKey;

impl OwnerKind {
    /// The kind as users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReplicaSet => "replicaset",
            Self::ReplicationController => "replicationcontroller",
            Self::StatefulSet => "statefulset",
            Self::Job => "job",
            Self::DaemonSet => "daemonset",
            Self::Other => "controller",
        }
    }
}

fn owner(pod: &RunningPod) -> String {
    let named = |owner: &PodOwner| format!("{}/{}", owner.kind.name(), owner.name);
    pod.owner
        .as_ref()
        .map_or_else(|| "no controller".to_owned(), named)
}

/// The sentence for one pod.
pub(super) fn of_blocker(
    pod: &RunningPod,
    reason: BlockerReason,
    context: &DrainContext<'_>,
) -> String {
    let key = pod.pod.key();
    let evict = format!("annotate pod {key} with {SAFE_TO_EVICT}=true");
    match reason {
        BlockerReason::ControllerNotFound => format!(
            "{} of pod {key} does not exist: delete the pod, or {evict}",
            owner(pod)
        ),
        BlockerReason::MinReplicasReached => {
            let min = context.options.min_replicas;
            let owner = owner(pod);
            format!("scale {owner} to at least {min} replicas, or lower --min-replica-count={min}")
        }
        BlockerReason::NotReplicated if pod.owner.is_none() => {
            format!("pod {key} has no controller that would replace it: {evict}, or delete it")
        }
        BlockerReason::NotReplicated => format!(
            "pod {key} belongs to {}, whose kind is not known to replace pods: {evict}, or set \
             --skip-nodes-with-custom-controller-pods=false",
            owner(pod)
        ),
        BlockerReason::NotSafeToEvictAnnotation => {
            format!("remove the annotation {SAFE_TO_EVICT}=false from pod {key}")
        }
        BlockerReason::UnmovableKubeSystemPod => {
            let hours = context.options.system_pod_timeout;
            let until = drain::old_at(pod, context.options);
            let wait = until.map(|then| format!(", or wait until {then}"));
            format!(
                "create a PodDisruptionBudget in kube-system that selects pod {key}, or {evict}, or \
                 set --skip-nodes-with-system-pods=false{} \
                 (--blocking-system-pod-distruption-timeout={hours:#})",
                wait.unwrap_or_default()
            )
        }
        BlockerReason::LocalStorageRequested => {
            let volume = drain::unsafe_volume(pod).map_or("", |name| &**name);
            format!(
                "volume {volume} of pod {key} is on the node: annotate the pod with \
                 {SAFE_LOCAL_VOLUMES}={volume}, or set --skip-nodes-with-local-storage=false"
            )
        }
        BlockerReason::NotEnoughPdb => {
            let budget = context.budgets.exhausted(&pod.pod);
            let name = budget.map_or("", |budget| budget.name.as_str());
            of_budget(&key, name)
        }
        BlockerReason::OnCompletion => of_awaited(&key),
        BlockerReason::UnexpectedError => format!("see the log about pod {key}"),
    }
}

/// The sentence for a budget that allows nothing.
pub(super) fn of_budget(pod: &PodKey, budget: &str) -> String {
    let PodKey { namespace, name } = pod;
    format!(
        "poddisruptionbudget {namespace}/{budget} allows no disruption of pod {name} now: wait until \
         its pods are healthy, add replicas, or relax its minAvailable or maxUnavailable"
    )
}

/// The sentence for a pod that is waited for.
pub(super) fn of_awaited(pod: &PodKey) -> String {
    format!("wait until pod {pod} is done, or change its annotation {SAFE_TO_EVICT}=on-completion")
}
