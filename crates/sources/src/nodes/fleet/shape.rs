//! What the nodes of a group are.

use crate::nodes::catalog;
use k8s_openapi::api::core::v1::Taint;
use plimsoll_quantity::Quantity;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The label that says which group a node is of.
pub const GROUP_LABEL: &str = "plimsoll.dev/node-group";

/// The label of nodes with GPUs, with the GPU's model or maker.
pub const GPU_LABEL: &str = "plimsoll.dev/accelerator";
/// The label of a node's machine type.
const TYPE_LABEL: &str = "node.kubernetes.io/instance-type";

/// What the nodes of a group are. A node of the embedded cluster keeps nothing back, so allocatable
/// is capacity.
#[derive(Debug, Clone, PartialEq)]
pub struct Shape {
    /// Capacity in millicores.
    pub cpu_milli: u64,
    /// Capacity in bytes.
    pub memory_bytes: u64,
    /// Most pods.
    pub pods: u32,
    /// Further resources, e.g. `nvidia.com/gpu`, in whole units.
    pub extended: BTreeMap<String, u64>,
    /// Labels beside the well-known ones.
    pub labels: BTreeMap<String, String>,
    /// Taints that nodes register with.
    pub taints: Vec<Taint>,
    /// US dollars for one node and hour.
    pub price_per_hour: Option<f64>,
    /// Whether programs really run there.
    pub simulated: bool,
}

impl Default for Shape {
    /// One core, 1 GiB, and as many pods as a kubelet allows by default.
    fn default() -> Self {
        Self {
            cpu_milli: 1000,
            memory_bytes: 1 << 30,
            pods: 110,
            extended: BTreeMap::new(),
            labels: BTreeMap::new(),
            taints: Vec::new(),
            price_per_hour: None,
            simulated: false,
        }
    }
}

impl Shape {
    /// A machine of this type, with all of its memory for pods; `None` if the catalogue does not
    /// have it.
    pub fn of_type(name: &str) -> Option<Self> {
        let found = catalog::lookup(name)?;
        let mut shape = Self {
            cpu_milli: u64::from(found.vcpus) * 1000,
            memory_bytes: found.memory_mib << 20,
            pods: found.max_pods,
            price_per_hour: Some(found.price_per_hour),
            ..Self::default()
        };
        shape.labels.insert(TYPE_LABEL.into(), found.name.into());
        if let Some(resource) = found.gpu_resource {
            shape = shape.with_gpus(resource, found.gpus.into(), found.gpu_model);
        }
        Some(shape)
    }

    /// The same with GPUs: the extended resource, how many, and the value of [`GPU_LABEL`].
    #[must_use]
    pub fn with_gpus(mut self, resource: &str, count: u64, model: &str) -> Self {
        self.extended.insert(resource.to_owned(), count);
        self.labels.insert(GPU_LABEL.to_owned(), model.to_owned());
        self
    }

    /// The Node object that a machine of this shape registers.
    pub(super) fn node(&self, name: &str) -> Value {
        let resources = self.resources();
        let mut spec = Map::new();
        if !self.taints.is_empty() {
            spec.insert("taints".into(), json!(self.taints));
        }
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": self.labels(name)},
            "spec": spec,
            "status": {
                "capacity": resources, "allocatable": resources,
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        })
    }

    fn labels(&self, name: &str) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
            labels.insert(format!("{prefix}/arch"), architecture().to_owned());
            labels.insert(format!("{prefix}/os"), "linux".to_owned());
        }
        labels.insert("kubernetes.io/hostname".to_owned(), name.to_owned());
        labels
    }

    fn resources(&self) -> BTreeMap<String, String> {
        let cpu = i64::try_from(self.cpu_milli).unwrap_or(i64::MAX);
        let mut resources = BTreeMap::from([
            ("cpu".to_owned(), Quantity::from_milli(cpu).to_string()),
            (
                "memory".to_owned(),
                format!("{}Ki", self.memory_bytes / 1024),
            ),
            ("ephemeral-storage".to_owned(), "100Gi".to_owned()),
            ("hugepages-1Gi".to_owned(), "0".to_owned()),
            ("hugepages-2Mi".to_owned(), "0".to_owned()),
            ("pods".to_owned(), self.pods.to_string()),
        ]);
        for (name, amount) in &self.extended {
            resources.insert(name.clone(), amount.to_string());
        }
        resources
    }
}

/// The architecture of machines made here, in Kubernetes' words.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
