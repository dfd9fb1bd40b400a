//! The part of `metadata` that controllers use, a few hundred bytes an object.

use super::ObjectKey;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One owner reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// `apps/v1`.
    pub api_version: Arc<str>,
    /// `ReplicaSet`.
    pub kind: Arc<str>,
    /// Name.
    pub name: Arc<str>,
    /// Uid.
    pub uid: Arc<str>,
    /// Whether the owner is the managing controller.
    pub controller: bool,
    /// Whether foreground deletion of the owner waits for this object.
    pub block_owner_deletion: bool,
}

impl From<OwnerReference> for Owner {
    fn from(owner: OwnerReference) -> Self {
        Self {
            api_version: owner.api_version.into(),
            kind: owner.kind.into(),
            name: owner.name.into(),
            uid: owner.uid.into(),
            controller: owner.controller.unwrap_or_default(),
            block_owner_deletion: owner.block_owner_deletion.unwrap_or_default(),
        }
    }
}

impl Owner {
    /// The wire form.
    pub fn to_reference(&self) -> OwnerReference {
        OwnerReference {
            api_version: self.api_version.to_string(),
            kind: self.kind.to_string(),
            name: self.name.to_string(),
            uid: self.uid.to_string(),
            controller: self.controller.then_some(true),
            block_owner_deletion: self.block_owner_deletion.then_some(true),
        }
    }
}

/// Sorted key-value pairs: labels or annotations.
type Pairs = Box<[(Arc<str>, Arc<str>)]>;

/// Metadata of a cached object. Managed fields are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion` as a number; 0 if the server's is not numeric.
    pub revision: u64,
    /// `metadata.generation`; 0 where the kind has none.
    pub generation: i64,
    /// `metadata.creationTimestamp`.
    pub created: Option<Timestamp>,
    /// `metadata.deletionTimestamp`: deletion has begun and ends by then.
    pub deleting: Option<Timestamp>,
    /// Labels, sorted by key.
    pub labels: Pairs,
    /// Annotations, sorted by key.
    pub annotations: Pairs,
    /// Owner references, in the object's order.
    pub owners: Box<[Owner]>,
    /// Finalizers, in the object's order.
    pub finalizers: Box<[Arc<str>]>,
}

impl Meta {
    /// The namespace; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        find(&self.annotations, key)
    }

    /// The owner that manages the object.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller)
    }

    /// Whether deletion has begun.
    pub fn is_deleting(&self) -> bool {
        self.deleting.is_some()
    }

    /// `metadata.resourceVersion` for a guarded write.
    pub fn resource_version(&self) -> String {
        self.revision.to_string()
    }
}

fn find<'a>(pairs: &'a Pairs, key: &str) -> Option<&'a str> {
    let at = pairs.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
    pairs.get(at).map(|(_, value)| &**value)
}

fn pairs(map: Option<BTreeMap<String, String>>) -> Pairs {
    map.unwrap_or_default()
        .into_iter()
        .map(|(k, v)| (k.into(), v.into()))
        .collect()
}

/// An annotation that only `kubectl apply` reads; dropped, for it holds the whole manifest.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl From<ObjectMeta> for Meta {
    fn from(mut meta: ObjectMeta) -> Self {
        if let Some(annotations) = &mut meta.annotations {
            annotations.remove(LAST_APPLIED);
        }
        Self {
            key: ObjectKey::new(
                meta.namespace.as_deref().unwrap_or_default(),
                meta.name.as_deref().unwrap_or_default(),
            ),
            uid: meta.uid.unwrap_or_default().into(),
            revision: revision(meta.resource_version.as_deref()),
            generation: meta.generation.unwrap_or_default(),
            created: meta.creation_timestamp.map(|time| time.0),
            deleting: meta.deletion_timestamp.map(|time| time.0),
            labels: pairs(meta.labels),
            annotations: pairs(meta.annotations),
            owners: meta
                .owner_references
                .unwrap_or_default()
                .into_iter()
                .map(Owner::from)
                .collect(),
            finalizers: meta
                .finalizers
                .unwrap_or_default()
                .into_iter()
                .map(Arc::from)
                .collect(),
        }
    }
}

/// A resourceVersion as a number; 0 if it is none.
pub(crate) fn revision(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Implements `kube::Resource` for a struct with a `metadata: ObjectMeta` that decodes part of a
/// served kind: `wire!(PodWire, NamespaceResourceScope, "", "v1", "Pod", "pods")`.
macro_rules! wire {
    ($type:ty, $scope:ty, $group:literal, $version:literal, $kind:literal, $plural:literal) => {
        impl kube::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(
                &mut self,
            ) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use wire;
