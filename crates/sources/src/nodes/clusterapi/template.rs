//! What new nodes will be, from annotations and from what the infrastructure's template says.

use super::Settings;
use super::annotations::{capacity, quantity, text};
use super::scalable::Scalable;
use plimsoll_quantity::Quantity;
use serde_json::{Map, Value, json};

/// Prefixes of labels that go from a MachineDeployment's template to nodes.
const PROPAGATED: [&str; 3] = [
    "node-role.kubernetes.io",
    "node-restriction.kubernetes.io",
    "node.cluster.x-k8s.io",
];
/// Pods of a node where nothing is said.
const PODS: i64 = 110;

/// An object that describes machines of some infrastructure.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    pub(super) group: String,
    /// Only older references name it.
    pub(super) version: Option<String>,
    pub(super) kind: String,
    pub(super) name: String,
}

/// What a group's machines are made from.
pub(super) fn infrastructure(object: &Value) -> Option<Reference> {
    let reference = object.pointer("/spec/template/spec/infrastructureRef")?;
    let (kind, name) = (text(reference, "/kind")?, text(reference, "/name")?);
    let (group, version) = match text(reference, "/apiVersion") {
        Some(both) => {
            let (group, version) = both.split_once('/')?;
            (group, Some(version.to_owned()))
        }
        None => (text(reference, "/apiGroup")?, None),
    };
    Some(Reference {
        group: group.to_owned(),
        version,
        kind: kind.to_owned(),
        name: name.to_owned(),
    })
}

/// The Node of a group, if CPU and memory are known. Annotations win over the infrastructure.
pub(super) fn node(group: &Scalable, status: Option<&Value>, settings: &Settings) -> Option<Value> {
    let object = &group.object;
    let known = |key: &str| {
        let known = status.and_then(|status| status.pointer("/capacity")?.get(key)?.as_str());
        known.and_then(|text| text.parse::<Quantity>().ok())
    };
    let amount = |note: &str, key: &str| quantity(object, note).or_else(|| known(key));
    let (cpu, memory) = (amount("cpu", "cpu")?, amount("memory", "memory")?);
    let mut resources = Map::new();
    let mut put = |key: &str, amount: Quantity| {
        resources.insert(key.to_owned(), json!(amount.to_string()));
    };
    put("cpu", cpu);
    put("memory", memory);
    let pods = amount("maxPods", "pods").unwrap_or(Quantity::from_value(PODS));
    put("pods", pods);
    if let Some(disk) = amount("ephemeral-disk", "ephemeral-storage") {
        put("ephemeral-storage", disk);
    }
    let (kind, count) = (capacity(object, "gpu-type"), quantity(object, "gpu-count"));
    if let Some(count) = count.filter(|count| !count.is_zero()) {
        put(kind.unwrap_or("nvidia.com/gpu"), count);
    }
    let name = format!("{}-template", group.source.name);
    let labels = labels(object, &name, (status, settings));
    let mut spec = Map::new();
    let taints = taints(object);
    if !taints.is_empty() {
        spec.insert("taints".to_owned(), Value::Array(taints));
    }
    Some(json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {
            "capacity": resources, "allocatable": resources,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }))
}

fn labels(
    object: &Value,
    name: &str,
    (status, settings): (Option<&Value>, &Settings),
) -> Map<String, Value> {
    let system =
        |key: &str| status.and_then(|status| status.pointer("/nodeInfo")?.get(key)?.as_str());
    let architecture = system("architecture").unwrap_or(&settings.architecture);
    let os = system("operatingSystem").unwrap_or("linux");
    let mut labels = Map::new();
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/arch"), json!(architecture));
        labels.insert(format!("{prefix}/os"), json!(os));
    }
    labels.insert("kubernetes.io/hostname".to_owned(), json!(name));
    let noted = capacity(object, "labels").unwrap_or_default();
    for pair in noted.split(',') {
        if let Some((key, value)) = pair.trim().split_once('=') {
            labels.insert(key.to_owned(), json!(value));
        }
    }
    let own = object.pointer("/spec/template/metadata/labels");
    for (key, value) in own.and_then(Value::as_object).into_iter().flatten() {
        let domain = key.split('/').next().unwrap_or_default();
        let below = |prefix: &&str| {
            let parent = domain.strip_suffix(*prefix);
            parent.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if key.contains('/') && PROPAGATED.iter().any(below) {
            labels.insert(key.clone(), value.clone());
        }
    }
    labels
}

/// `key1=value1:NoSchedule,key2:NoExecute`; nonsense is left out.
fn taints(object: &Value) -> Vec<Value> {
    let noted = capacity(object, "taints").unwrap_or_default();
    let taint = |text: &str| {
        let (pair, effect) = text.trim().rsplit_once(':')?;
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let sensible = ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect);
        (sensible && !key.is_empty()).then(|| json!({"key": key, "value": value, "effect": effect}))
    };
    noted.split(',').filter_map(taint).collect()
}
