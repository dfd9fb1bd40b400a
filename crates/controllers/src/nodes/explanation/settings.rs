//! Settings as JSON, by the names of the flags, so that a client decides alike.

use plimsoll_engine::cluster::{DrainOptions, Expander, GrowthOptions};
use serde_json::{Value, json};

/// Which pods keep their node.
pub(super) fn drain(options: &DrainOptions) -> Value {
    json!({
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
        "expendablePodsPriorityCutoff": options.expendable_below,
        "balanceSimilarNodeGroups": options.balance.is_some(),
    })
}
