//! Settings as JSON, by the names of the flags, so that a client decides alike.

use plimsoll_engine::cluster::{Expander, GrowthOptions, Quota, ShrinkOptions, TaintRules};
use serde_json::{Value, json};

/// The flags that decisions rest on.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) removal: ShrinkOptions,
    pub(super) growth: GrowthOptions,
    pub(super) taints: TaintRules,
    pub(super) gpu_label: &'static str,
}

impl Settings {
    /// When a node counts as working.
    pub(super) fn readiness(&self) -> Value {
        json!({
            "startupTaints": self.taints.startup,
            "startupTaintPrefixes": self.taints.startup_prefixes,
            "gpuLabel": self.gpu_label,
        })
    }
}

/// Which nodes may go, and which pods keep them.
pub(super) fn removal(removal: &ShrinkOptions) -> Value {
    let options = &removal.drain;
    json!({
        "scaleDownUnreadyEnabled": removal.unready_enabled,
        "ignoreMirrorPodsUtilization": removal.ignore_mirror_pods_utilization,
        "skipNodesWithSystemPods": options.skip_system_pods,
        "skipNodesWithLocalStorage": options.skip_local_storage,
        "skipNodesWithCustomControllerPods": options.skip_custom_controllers,
        "minReplicaCount": options.min_replicas,
        "blockingSystemPodDisruptionTimeout": options.system_pod_timeout,
    })
}

/// How groups grow.
pub(super) fn growth(options: &GrowthOptions) -> Value {
    let names: Vec<&str> = options.expanders.iter().map(Expander::name).collect();
    let levels = options.expanders.iter().find_map(|expander| {
        if let Expander::Priority(levels) = expander {
            Some(levels)
        } else {
            None
        }
    });
    json!({
        "expander": names,
        "priorities": levels,
        "maxNodesTotal": options.max_nodes_total,
        "maxNodesPerScaleup": options.max_nodes_per_scaleup,
        "quotas": options.quotas.iter().map(quota).collect::<Vec<_>>(),
        "expendablePodsPriorityCutoff": options.expendable_below,
        "balanceSimilarNodeGroups": options.balance.is_some(),
        "similarity": options.balance.as_ref().map(|similarity| json!({
            "ignoredLabels": similarity.ignored_labels,
            "labels": similarity.labels,
            "memoryDifferenceRatio": similarity.memory_ratio,
            "maxAllocatableDifferenceRatio": similarity.allocatable_ratio,
            "maxFreeDifferenceRatio": similarity.free_ratio,
        })),
    })
}

/// A quota; amounts are in the engine's units.
fn quota(quota: &Quota) -> Value {
    let requirements = quota.selector.requirements.iter();
    let requirements = requirements.map(|wanted| {
        json!({
            "key": wanted.key, "operator": format!("{:?}", wanted.operator),
            "values": wanted.values,
        })
    });
    json!({
        "id": quota.id, "limits": quota.limits,
        "requirements": requirements.collect::<Vec<_>>(),
    })
}
