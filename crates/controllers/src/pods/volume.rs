//! Claims, volumes and storage classes.

use super::node_terms::node_term;
use super::pod::null_as_empty;
use super::selector::Selector;
use crate::runtime::{Cached, Meta, ObjectKey, wire};
use k8s_openapi::api::core::v1::{TopologySelectorTerm, VolumeNodeAffinity};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use plimsoll_engine::placement::NodeTerm;
use plimsoll_quantity::Quantity;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Older than `spec.storageClassName`; where it is set, it wins.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
/// Marks the class of claims that name none.
const DEFAULT_CLASS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

/// How a volume may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum AccessMode {
    /// Read and written on one node.
    ReadWriteOnce,
    /// Read on many nodes.
    ReadOnlyMany,
    /// Read and written on many nodes.
    ReadWriteMany,
    /// Read and written by one pod.
    ReadWriteOncePod,
}

impl AccessMode {
    /// As it is written.
    pub fn text(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadOnlyMany => "ReadOnlyMany",
            Self::ReadWriteMany => "ReadWriteMany",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
        }
    }
}

/// Access modes, each once.
pub type AccessModes = BTreeSet<AccessMode>;

/// A condition of a claim, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ClaimCondition {
    /// `Resizing`, `FileSystemResizePending`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
}

/// A claim.
#[derive(Debug)]
pub struct ClaimView {
    /// Metadata.
    pub meta: Meta,
    /// The class it names: empty for "none at all", absent until admission or the binder fills it.
    pub class: Option<Arc<str>>,
    /// `spec.accessModes`.
    pub modes: AccessModes,
    /// `spec.resources.requests.storage`.
    pub request: Quantity,
    /// The same as written.
    pub request_text: Box<str>,
    /// `spec.selector`.
    pub selector: Option<Selector>,
    /// Whether it wants a raw device (`spec.volumeMode: Block`).
    pub is_block: bool,
    /// `spec.volumeName`.
    pub volume: Option<Arc<str>>,
    /// `spec.volumeAttributesClassName`; empty for none.
    pub attributes_class: Box<str>,
    /// What the volume is to be filled from (`Kind name`), if anything.
    pub source: Option<Box<str>>,
    /// `status.phase`.
    pub phase: Box<str>,
    /// `status.capacity.storage`.
    pub capacity: Option<Box<str>>,
    /// `status.accessModes`.
    pub status_modes: AccessModes,
    /// `status.conditions`.
    pub conditions: Box<[ClaimCondition]>,
}

impl ClaimView {
    /// Whether the binder has finished with it.
    pub fn is_bound(&self) -> bool {
        &*self.phase == "Bound"
    }

    /// The class, empty if it names none.
    pub fn class_name(&self) -> &str {
        self.class.as_deref().unwrap_or_default()
    }
}

impl Cached for ClaimView {
    type Wire = ClaimWire;

    fn from_wire(wire: ClaimWire) -> Self {
        let ClaimWire {
            metadata,
            spec,
            status,
        } = wire;
        let meta = Meta::from(metadata);
        let annotated = meta.annotation(CLASS_ANNOTATION).map(Arc::from);
        let request = spec.resources.unwrap_or_default().requests;
        let request = request.and_then(|mut all| all.remove("storage"));
        let request = request.unwrap_or_default();
        let source = spec.data_source_ref.or(spec.data_source);
        Self {
            class: annotated.or_else(|| spec.storage_class_name.map(Arc::from)),
            meta,
            modes: spec.access_modes.into_iter().collect(),
            request: request.parse().unwrap_or_default(),
            request_text: request.into(),
            selector: spec.selector.map(|selector| {
                // What the API server lets through can be read; else nothing may match.
                Selector::try_from(&selector).unwrap_or_else(|_| nothing())
            }),
            is_block: spec.volume_mode.as_deref() == Some("Block"),
            volume: spec
                .volume_name
                .filter(|name| !name.is_empty())
                .map(Arc::from),
            attributes_class: spec.volume_attributes_class_name.unwrap_or_default().into(),
            source: source.map(|source| format!("{} {}", source.kind, source.name).into()),
            phase: status.phase.unwrap_or_default().into(),
            capacity: status
                .capacity
                .and_then(|mut all| all.remove("storage"))
                .map(Into::into),
            status_modes: status.access_modes.into_iter().collect(),
            conditions: status.conditions.into(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// A selector that matches nothing.
fn nothing() -> Selector {
    Selector {
        requirements: [super::selector::Requirement::In("".into(), [].into())].into(),
    }
}

/// What is decoded of a claim.
#[derive(Debug, Clone, Deserialize)]
pub struct ClaimWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ClaimSpecWire,
    #[serde(default)]
    status: ClaimStatusWire,
}

wire!(
    ClaimWire,
    NamespaceResourceScope,
    "",
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimSpecWire {
    storage_class_name: Option<String>,
    #[serde(deserialize_with = "null_as_empty")]
    access_modes: Vec<AccessMode>,
    resources: Option<ResourcesWire>,
    selector: Option<LabelSelector>,
    volume_mode: Option<String>,
    volume_name: Option<String>,
    volume_attributes_class_name: Option<String>,
    data_source: Option<SourceWire>,
    data_source_ref: Option<SourceWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct SourceWire {
    kind: String,
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ResourcesWire {
    requests: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClaimStatusWire {
    phase: Option<String>,
    capacity: Option<BTreeMap<String, String>>,
    #[serde(deserialize_with = "null_as_empty")]
    access_modes: Vec<AccessMode>,
    #[serde(deserialize_with = "null_as_empty")]
    conditions: Vec<ClaimCondition>,
}

/// The claim a volume is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRef {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Uid; empty where somebody set the volume aside for a claim of that name.
    pub uid: Box<str>,
}

/// A volume.
#[derive(Debug)]
pub struct VolumeView {
    /// Metadata.
    pub meta: Meta,
    /// `spec.storageClassName`; empty for none.
    pub class: Arc<str>,
    /// `spec.accessModes`.
    pub modes: AccessModes,
    /// `spec.capacity.storage`.
    pub capacity: Quantity,
    /// The same as written.
    pub capacity_text: Box<str>,
    /// Whether it is a raw device.
    pub is_block: bool,
    /// `spec.volumeAttributesClassName`; empty for none.
    pub attributes_class: Box<str>,
    /// `spec.claimRef`.
    pub claim: Option<ClaimRef>,
    /// `spec.nodeAffinity.required`: one of the terms must match; absent for "any node".
    pub affinity: Option<Box<[NodeTerm]>>,
    /// `spec.persistentVolumeReclaimPolicy`.
    pub reclaim: Box<str>,
    /// `spec.hostPath.path` or `spec.local.path`.
    pub path: Option<Box<str>>,
    /// `spec.csi.driver`.
    pub driver: Option<Arc<str>>,
    /// `status.phase`.
    pub phase: Box<str>,
}

impl VolumeView {
    /// Whether the volume can be used on a node.
    pub fn reaches(&self, node: &str, labels: &BTreeMap<String, String>) -> bool {
        let terms = self.affinity.as_ref();
        terms.is_none_or(|terms| terms.iter().any(|term| term.matches(node, labels)))
    }
}

impl Cached for VolumeView {
    type Wire = VolumeWire;

    fn from_wire(wire: VolumeWire) -> Self {
        let VolumeWire {
            metadata,
            spec,
            status,
        } = wire;
        let meta = Meta::from(metadata);
        let annotated = meta.annotation(CLASS_ANNOTATION).map(Arc::from);
        let capacity = spec.capacity.and_then(|mut all| all.remove("storage"));
        let capacity = capacity.unwrap_or_default();
        let path = spec.host_path.or(spec.local);
        Self {
            class: annotated.unwrap_or_else(|| spec.storage_class_name.unwrap_or_default().into()),
            meta,
            modes: spec.access_modes.into_iter().collect(),
            capacity: capacity.parse().unwrap_or_default(),
            capacity_text: capacity.into(),
            is_block: spec.volume_mode.as_deref() == Some("Block"),
            attributes_class: spec.volume_attributes_class_name.unwrap_or_default().into(),
            claim: spec.claim_ref.map(|claim| ClaimRef {
                key: ObjectKey::new(&claim.namespace, &claim.name),
                uid: claim.uid.into(),
            }),
            affinity: spec
                .node_affinity
                .and_then(|affinity| affinity.required)
                .map(|required| {
                    required
                        .node_selector_terms
                        .into_iter()
                        .map(node_term)
                        .collect()
                }),
            reclaim: spec
                .persistent_volume_reclaim_policy
                .unwrap_or_default()
                .into(),
            path: path.map(|path| path.path.into()),
            driver: spec.csi.map(|csi| csi.driver.into()),
            phase: status.phase.unwrap_or_default().into(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a volume.
#[derive(Debug, Clone, Deserialize)]
pub struct VolumeWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: VolumeSpecWire,
    #[serde(default)]
    status: VolumeStatusWire,
}

wire!(
    VolumeWire,
    ClusterResourceScope,
    "",
    "v1",
    "PersistentVolume",
    "persistentvolumes"
);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct VolumeSpecWire {
    storage_class_name: Option<String>,
    #[serde(deserialize_with = "null_as_empty")]
    access_modes: Vec<AccessMode>,
    capacity: Option<BTreeMap<String, String>>,
    volume_mode: Option<String>,
    volume_attributes_class_name: Option<String>,
    claim_ref: Option<ClaimRefWire>,
    node_affinity: Option<VolumeNodeAffinity>,
    persistent_volume_reclaim_policy: Option<String>,
    host_path: Option<PathWire>,
    local: Option<PathWire>,
    csi: Option<CsiWire>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ClaimRefWire {
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct PathWire {
    path: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct CsiWire {
    driver: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct VolumeStatusWire {
    phase: Option<String>,
}

/// A storage class.
#[derive(Debug)]
pub struct ClassView {
    /// Metadata.
    pub meta: Meta,
    /// Who makes its volumes.
    pub provisioner: Arc<str>,
    /// Whether claims wait until a pod is to use them.
    pub waits_for_consumer: bool,
    /// `reclaimPolicy`.
    pub reclaim: Box<str>,
    /// Whether claims may grow.
    pub expands: bool,
    /// `parameters`.
    pub parameters: BTreeMap<String, String>,
    /// `mountOptions`.
    pub mount_options: Vec<String>,
    /// `allowedTopologies`: one of the terms, each a list of label keys with allowed values.
    pub topologies: Vec<TopologySelectorTerm>,
    /// Whether it is the class of claims that name none.
    pub is_default: bool,
}

impl Cached for ClassView {
    type Wire = ClassWire;

    fn from_wire(wire: ClassWire) -> Self {
        let meta = Meta::from(wire.metadata);
        let marked = |key: &str| meta.annotation(key) == Some("true");
        Self {
            is_default: DEFAULT_CLASS.iter().any(|key| marked(key)),
            meta,
            provisioner: wire.provisioner.into(),
            waits_for_consumer: wire.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"),
            reclaim: wire.reclaim_policy.as_deref().unwrap_or("Delete").into(),
            expands: wire.allow_volume_expansion.unwrap_or_default(),
            parameters: wire.parameters.unwrap_or_default(),
            mount_options: wire.mount_options.unwrap_or_default(),
            topologies: wire.allowed_topologies.unwrap_or_default(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a storage class.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    provisioner: String,
    volume_binding_mode: Option<String>,
    reclaim_policy: Option<String>,
    allow_volume_expansion: Option<bool>,
    parameters: Option<BTreeMap<String, String>>,
    mount_options: Option<Vec<String>>,
    allowed_topologies: Option<Vec<TopologySelectorTerm>>,
}

wire!(
    ClassWire,
    ClusterResourceScope,
    "storage.k8s.io",
    "v1",
    "StorageClass",
    "storageclasses"
);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_claim_is_decoded_with_the_annotated_class_first() {
        let wire: ClaimWire = serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "n",
                "annotations": {"volume.beta.kubernetes.io/storage-class": "old"}},
            "spec": {"storageClassName": "new", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1G"}}, "volumeName": ""},
            "status": {"phase": "Pending", "conditions": null},
        }))
        .unwrap();
        let claim = ClaimView::from_wire(wire);
        assert_eq!(claim.class_name(), "old");
        assert_eq!(
            (claim.request.value(), &*claim.request_text),
            (1_000_000_000, "1G")
        );
        assert!(claim.volume.is_none() && !claim.is_bound() && !claim.is_block);
    }

    #[test]
    fn a_volume_reaches_the_nodes_of_its_affinity() {
        let wire: VolumeWire = serde_json::from_value(json!({
            "metadata": {"name": "v"},
            "spec": {"capacity": {"storage": "1Gi"}, "nodeAffinity": {"required": {
                "nodeSelectorTerms": [{"matchExpressions":
                    [{"key": "zone", "operator": "In", "values": ["a"]}]}]}}},
        }))
        .unwrap();
        let volume = VolumeView::from_wire(wire);
        let labels = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        assert!(volume.reaches("n", &labels("a")));
        assert!(!volume.reaches("n", &labels("b")));
    }
}
