//! Node groups, from what the node autoscaler explains about them.

use super::limits::quotas;
use jiff::SignedDuration;
use plimsoll_controllers::facts;
use plimsoll_controllers::pods::NodeView;
use plimsoll_controllers::runtime::Cached;
use plimsoll_engine::cluster::{
    DrainOptions, Expander, GroupFacts, GroupOptions, GrowthOptions, NodeTemplate, PodPrices,
    Similarity, TaintRules, TemplateSource,
};
use plimsoll_engine::placement::{PodFacts, PodSpec, Resources};
use plimsoll_quantity::Quantity;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The `group` of an explanation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GroupWire {
    min: usize,
    max: usize,
    target: usize,
    exists: bool,
    options: OptionsWire,
    template: Option<TemplateWire>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionsWire {
    scale_down_utilization_threshold: f64,
    scale_down_gpu_utilization_threshold: f64,
    scale_down_unneeded_time: SignedDuration,
    scale_down_unready_time: SignedDuration,
    max_node_provision_time: SignedDuration,
    max_node_startup_time: SignedDuration,
    zero_or_max_node_scaling: bool,
    ignore_daemonsets_utilization: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateWire {
    node: Value,
    #[serde(default)]
    daemons: Vec<DaemonWire>,
    source: String,
    price_per_hour: Option<f64>,
    gpu: Option<Arc<str>>,
}

#[derive(Debug, Deserialize)]
struct DaemonWire {
    namespace: String,
    name: String,
    requests: BTreeMap<String, String>,
}

/// The group that an explanation is about; `None` if it is told in words we do not know.
pub(super) fn of_explanation(explanation: &Value) -> Option<GroupFacts> {
    let id = explanation.pointer("/metadata/name")?.as_str()?;
    let wire: GroupWire = serde_json::from_value(explanation.get("group")?.clone()).ok()?;
    let options = wire.options;
    Some(GroupFacts {
        id: id.into(),
        min: wire.min,
        max: wire.max,
        target: wire.target,
        exists: wire.exists,
        options: GroupOptions {
            scale_down_utilization_threshold: options.scale_down_utilization_threshold,
            scale_down_gpu_utilization_threshold: options.scale_down_gpu_utilization_threshold,
            scale_down_unneeded_time: options.scale_down_unneeded_time,
            scale_down_unready_time: options.scale_down_unready_time,
            max_node_provision_time: options.max_node_provision_time,
            max_node_startup_time: options.max_node_startup_time,
            zero_or_max_node_scaling: options.zero_or_max_node_scaling,
            ignore_daemonsets_utilization: options.ignore_daemonsets_utilization,
        },
        template: wire.template.and_then(template).map(Arc::new),
    })
}

fn template(wire: TemplateWire) -> Option<NodeTemplate> {
    let node = serde_json::from_value(wire.node).ok()?;
    let node = NodeView::from_wire(node);
    let capacity = facts::of_cluster_node(&node, "").capacity;
    let source = match wire.source.as_str() {
        "LiveNode" => TemplateSource::LiveNode,
        "Remembered" => TemplateSource::Remembered,
        "UnreadyNode" => TemplateSource::UnreadyNode,
        _ => TemplateSource::Provider,
    };
    Some(NodeTemplate {
        node: facts::of_node(&node, BTreeMap::new()),
        capacity,
        daemons: wire.daemons.iter().map(daemon).collect(),
        source,
        price_per_hour: wire.price_per_hour,
        gpu: wire.gpu,
    })
}

fn daemon(wire: &DaemonWire) -> PodFacts {
    let amount = |name: &str| {
        let found = wire.requests.get(name);
        found.and_then(|text| text.parse::<Quantity>().ok())
    };
    let mut requests = Resources::of(
        amount("cpu").map_or(0, |cpu| cpu.milli()),
        amount("memory").map_or(0, |memory| memory.value()),
    );
    requests.ephemeral_bytes = amount("ephemeral-storage").map_or(0, |bytes| bytes.value());
    for (name, text) in &wire.requests {
        if !["cpu", "memory", "ephemeral-storage"].contains(&name.as_str())
            && let Ok(quantity) = text.parse::<Quantity>()
        {
            requests.extended.insert(name.clone(), quantity.value());
        }
    }
    let spec = PodSpec {
        requests,
        ..PodSpec::default()
    };
    PodFacts::new(&wire.namespace, &wire.name, spec)
}

/// The flags about pods that keep nodes, as an explanation of a group tells them.
pub(super) fn drain_options(explanation: &Value) -> Option<DrainOptions> {
    let told = explanation.get("removal").filter(|told| told.is_object())?;
    let default = DrainOptions::default();
    let flag = |name: &str, otherwise: bool| {
        let found = told.get(name).and_then(Value::as_bool);
        found.unwrap_or(otherwise)
    };
    let timeout = told.get("blockingSystemPodDisruptionTimeout").cloned();
    let timeout = timeout.and_then(|text| serde_json::from_value(text).ok());
    let least = told.get("minReplicaCount").and_then(Value::as_u64);
    Some(DrainOptions {
        skip_system_pods: flag("skipNodesWithSystemPods", default.skip_system_pods),
        skip_local_storage: flag("skipNodesWithLocalStorage", default.skip_local_storage),
        skip_custom_controllers: flag(
            "skipNodesWithCustomControllerPods",
            default.skip_custom_controllers,
        ),
        min_replicas: least
            .and_then(|least| usize::try_from(least).ok())
            .unwrap_or(default.min_replicas),
        system_pod_timeout: timeout.unwrap_or(default.system_pod_timeout),
    })
}

/// A flag about removal, as an explanation of a group tells it.
pub(super) fn removal_flag(explanation: &Value, name: &str) -> Option<bool> {
    explanation.get("removal")?.get(name)?.as_bool()
}

/// When a node counts as working, as an explanation of a group tells it: taints that nodes shed, and
/// the label of nodes with GPUs.
pub(super) fn readiness(explanation: &Value) -> Option<(TaintRules, String)> {
    let told = explanation
        .get("readiness")
        .filter(|told| told.is_object())?;
    let rules = TaintRules {
        startup: texts(told, "startupTaints"),
        startup_prefixes: texts(told, "startupTaintPrefixes"),
        ..TaintRules::default()
    };
    let label = told.get("gpuLabel").and_then(Value::as_str);
    Some((rules, label.unwrap_or_default().to_owned()))
}

fn texts<T: FromIterator<String>>(told: &Value, name: &str) -> T {
    let texts = told.get(name).and_then(Value::as_array);
    let texts = texts.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// When groups count as alike, as told; upstream's defaults on AWS otherwise.
fn similarity(told: &Value) -> Similarity {
    let default = Similarity::default().on_aws();
    let Some(told) = told.get("similarity").filter(|told| told.is_object()) else {
        return default;
    };
    let ratio = |name: &str, otherwise: f64| {
        let found = told.get(name).and_then(Value::as_f64);
        found.unwrap_or(otherwise)
    };
    Similarity {
        ignored_labels: texts(told, "ignoredLabels"),
        labels: texts(told, "labels"),
        memory_ratio: ratio("memoryDifferenceRatio", default.memory_ratio),
        allocatable_ratio: ratio("maxAllocatableDifferenceRatio", default.allocatable_ratio),
        free_ratio: ratio("maxFreeDifferenceRatio", default.free_ratio),
    }
}

/// The flags about growth, as an explanation of a group tells them.
pub(super) fn growth_options(explanation: &Value) -> Option<GrowthOptions> {
    let told = explanation.get("growth").filter(|told| told.is_object())?;
    let count = |name: &str| {
        let found = told.get(name).and_then(Value::as_u64);
        found.and_then(|count| usize::try_from(count).ok())
    };
    let names = told.get("expander").and_then(Value::as_array);
    let names = names.into_iter().flatten().filter_map(Value::as_str);
    let cutoff = told.get("expendablePodsPriorityCutoff");
    let cutoff = cutoff.and_then(|cutoff| i32::try_from(cutoff.as_i64()?).ok());
    let balances = told
        .get("balanceSimilarNodeGroups")
        .and_then(Value::as_bool);
    let default = GrowthOptions::default();
    Some(GrowthOptions {
        expanders: names.filter_map(|name| expander(name, told)).collect(),
        max_nodes_total: count("maxNodesTotal"),
        max_nodes_per_scaleup: count("maxNodesPerScaleup"),
        expendable_below: cutoff.unwrap_or(default.expendable_below),
        balance: (balances == Some(true)).then(|| similarity(told)),
        quotas: quotas(told),
        ..default
    })
}

fn expander(name: &str, told: &Value) -> Option<Expander> {
    match name {
        "random" => Some(Expander::Random),
        "most-pods" => Some(Expander::MostPods),
        "least-nodes" => Some(Expander::LeastNodes),
        "least-waste" => Some(Expander::LeastWaste),
        "price" => Some(Expander::Price(PodPrices::default())),
        "priority" => {
            let levels = told.get("priorities")?.as_object()?.iter();
            let levels = levels
                .filter_map(|(group, level)| Some((Arc::from(group.as_str()), level.as_i64()?)));
            Some(Expander::Priority(levels.collect()))
        }
        _ => None,
    }
}

/// Labels by which clouds and tools name the group of a node.
const LABELS: [&str; 7] = [
    "plimsoll.dev/node-group",
    "eks.amazonaws.com/nodegroup",
    "alpha.eksctl.io/nodegroup-name",
    "kops.k8s.io/instancegroup",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
    "karpenter.sh/nodepool",
];

/// The group that a node's labels name.
pub(super) fn of_labels(node: &NodeView) -> Option<Arc<str>> {
    let mut named = LABELS.iter().filter_map(|label| node.meta.label(label));
    named.next().map(Arc::from)
}

#[cfg(test)]
mod tests {
    use super::{drain_options, growth_options, of_explanation, readiness, removal_flag};
    use jiff::SignedDuration;
    use plimsoll_engine::cluster::TemplateSource;
    use serde_json::json;

    #[test]
    fn a_group_is_read_as_it_was_told() {
        let told = json!({
            "metadata": {"name": "ng1"},
            "group": {
                "min": 1, "max": 4, "target": 2, "exists": true,
                "options": {
                    "scaleDownUtilizationThreshold": 0.4,
                    "scaleDownGpuUtilizationThreshold": 0.5,
                    "scaleDownUnneededTime": "PT1M", "scaleDownUnreadyTime": "PT20M",
                    "maxNodeProvisionTime": "PT15M", "maxNodeStartupTime": "PT15M",
                    "zeroOrMaxNodeScaling": false, "ignoreDaemonsetsUtilization": true,
                },
                "template": {
                    "node": {
                        "apiVersion": "v1", "kind": "Node",
                        "metadata": {"name": "t", "labels": {"a": "b"}},
                        "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
                        "status": {
                            "allocatable": {"cpu": "1930m", "memory": "3Gi", "pods": "17"},
                            "capacity": {"cpu": "2", "memory": "4Gi"},
                        },
                    },
                    "daemons": [{"namespace": "kube-system", "name": "proxy",
                        "requests": {"cpu": "100m", "memory": "0", "x.y/z": "1"}}],
                    "source": "Remembered", "pricePerHour": 0.05,
                },
            },
        });
        let group = of_explanation(&told).unwrap();
        assert_eq!(
            (&*group.id, group.min, group.max, group.target),
            ("ng1", 1, 4, 2)
        );
        let options = &group.options;
        assert_eq!(
            options.scale_down_unneeded_time,
            SignedDuration::from_mins(1)
        );
        let template = group.template.unwrap();
        assert_eq!(template.source, TemplateSource::Remembered);
        assert_eq!(template.node.allocatable.cpu_milli, 1930);
        assert_eq!(
            (template.node.max_pods, template.node.taints.len()),
            (17, 1)
        );
        assert_eq!(template.capacity.cpu_milli, 2000);
        let requests = &template.daemons[0].spec.requests;
        assert_eq!((requests.cpu_milli, requests.extended["x.y/z"]), (100, 1));
    }

    #[test]
    fn what_is_told_otherwise_is_no_group() {
        assert_eq!(of_explanation(&json!({"metadata": {"name": "x"}})), None);
        assert_eq!(drain_options(&json!({})), None);
        let told = json!({"removal": {"skipNodesWithSystemPods": false, "minReplicaCount": 2}});
        let options = drain_options(&told).unwrap();
        assert!(!options.skip_system_pods && options.skip_local_storage);
        assert_eq!(options.min_replicas, 2);
    }

    #[test]
    fn what_counts_as_working_and_alike_is_read_as_told() {
        let told = json!({
            "removal": {"scaleDownUnreadyEnabled": false},
            "readiness": {"startupTaints": ["a.b/c"], "startupTaintPrefixes": ["p/"],
                "gpuLabel": "example.com/gpu"},
            "growth": {"balanceSimilarNodeGroups": true, "similarity": {
                "ignoredLabels": ["zone"], "labels": [], "memoryDifferenceRatio": 0.25}},
        });
        assert_eq!(removal_flag(&told, "scaleDownUnreadyEnabled"), Some(false));
        assert_eq!(removal_flag(&told, "ignoreMirrorPodsUtilization"), None);
        let (rules, label) = readiness(&told).unwrap();
        assert!(rules.is_startup("a.b/c") && !rules.is_startup("d"));
        assert_eq!(label, "example.com/gpu");
        let alike = growth_options(&told).unwrap().balance.unwrap();
        assert!(alike.ignored_labels.iter().eq(["zone"]));
        assert!((alike.memory_ratio - 0.25).abs() < f64::EPSILON);
    }

    #[test]
    fn what_ifs_choose_as_the_autoscaler_does() {
        assert_eq!(growth_options(&json!({"growth": null})), None);
        let told = json!({"growth": {"expander": ["priority", "least-nodes"],
            "priorities": {"spot": 50}, "maxNodesTotal": 9, "maxNodesPerScaleup": null,
            "expendablePodsPriorityCutoff": -5, "balanceSimilarNodeGroups": true}});
        let options = growth_options(&told).unwrap();
        let names: Vec<&str> = options
            .expanders
            .iter()
            .map(plimsoll_engine::cluster::Expander::name)
            .collect();
        assert_eq!(names, ["priority", "least-nodes"]);
        assert_eq!(
            (options.max_nodes_total, options.expendable_below),
            (Some(9), -5)
        );
        assert!(options.balance.is_some() && options.max_nodes_per_scaleup.is_none());
    }
}
