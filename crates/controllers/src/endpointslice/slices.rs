//! Slices as they are read and written.

use super::plan::{Endpoint, Group, Plan};
use crate::endpointslice::members::EndpointPort;
use crate::runtime::{
    Cache, Cached, Change, Deletion, Meta, ObjectKey, Owner, Queue, WriteError, Writer, wire,
};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Label: the service that a slice belongs to.
pub(super) const SERVICE: &str = "kubernetes.io/service-name";
/// Label: who keeps a slice.
pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// A slice.
#[derive(Debug)]
pub(super) struct SliceView {
    pub(super) meta: Meta,
    pub(super) group: Group,
    pub(super) endpoints: Vec<Endpoint>,
}

impl Cached for SliceView {
    type Wire = SliceWire;

    fn from_wire(wire: SliceWire) -> Self {
        let mut ports = wire.ports.unwrap_or_default();
        ports.sort();
        Self {
            meta: wire.metadata.into(),
            group: (wire.address_type, ports),
            endpoints: wire.endpoints.unwrap_or_default(),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SliceWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    address_type: String,
    #[serde(default)]
    ports: Option<Vec<EndpointPort>>,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
}

wire!(
    SliceWire,
    NamespaceResourceScope,
    "discovery.k8s.io",
    "v1",
    "EndpointSlice",
    "endpointslices"
);

/// Value of the index over [`service_of`].
pub(super) fn service_of(slice: &SliceView) -> Vec<Arc<str>> {
    let name = slice.meta.label(SERVICE);
    name.map(|name| format!("{}/{name}", slice.meta.namespace()).into())
        .into_iter()
        .collect()
}

/// Queues the service of each slice that changes.
pub(super) fn watch(slices: &Cache<SliceView>, queue: &Queue<ObjectKey>) {
    let add = queue.clone();
    slices.on_change(move |change: &Change<SliceView>| {
        let both = [change.old.as_ref(), change.new.as_ref()];
        for slice in both.into_iter().flatten() {
            if let Some(name) = slice.meta.label(SERVICE) {
                add.add(ObjectKey::new(slice.meta.namespace(), name));
            }
        }
    });
}

/// What all slices of a service have in common.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) owner: Owner,
    pub(super) labels: BTreeMap<String, String>,
    /// Annotations to set; `None` removes one, others stay.
    pub(super) annotations: BTreeMap<String, Option<String>>,
}

impl Head {
    /// Whether a slice's labels are other ones, or its owner is: a service that is gone may have
    /// had the same name.
    pub(super) fn differs(&self, slice: &SliceView) -> bool {
        let labels = slice.meta.labels.iter();
        !self.owns(slice)
            || !labels
                .map(|(key, value)| (&**key, &**value))
                .eq(self.labels.iter().map(|(key, value)| (&**key, &**value)))
    }

    fn owns(&self, slice: &SliceView) -> bool {
        let mut owners = slice.meta.owners.iter();
        owners.any(|owner| owner.uid == self.owner.uid)
    }

    fn labels_patch(&self, slice: &SliceView) -> Value {
        let gone = slice.meta.labels.iter().map(|(key, _)| &**key);
        let gone = gone.filter(|key| !self.labels.contains_key(*key));
        let mut patch: Map<String, Value> = gone.map(|key| (key.into(), Value::Null)).collect();
        for (key, value) in &self.labels {
            patch.insert(key.clone(), value.clone().into());
        }
        Value::Object(patch)
    }

    fn body(&self, (family, ports): &Group, endpoints: &[Endpoint]) -> Value {
        let annotations = self.annotations.iter();
        let annotations: BTreeMap<_, _> = annotations
            .filter_map(|(key, value)| Some((key, value.as_ref()?)))
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "generateName": format!("{}-", self.owner.name),
                "labels": self.labels, "annotations": annotations,
                "ownerReferences": [self.owner.to_reference()],
            },
            "addressType": family, "ports": ports, "endpoints": endpoints,
        })
    }
}

/// Makes the writes of a plan in a namespace. Changes come first, so that no endpoint is missing in
/// between.
pub(super) async fn apply(
    writer: &Writer,
    cache: &Cache<SliceView>,
    namespace: &str,
    head: &Head,
    plan: Plan,
) -> Result<(), WriteError> {
    for (key, (_, ports), endpoints) in plan.update {
        let Some(slice) = cache.get(&key) else {
            continue;
        };
        let labels = head.labels_patch(&slice);
        let mut patch = json!({
            "metadata": {
                "uid": *slice.meta.uid, "labels": labels, "annotations": head.annotations,
            },
            "ports": ports, "endpoints": endpoints,
        });
        if !head.owns(&slice)
            && let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut)
        {
            let owners = json!([head.owner.to_reference()]);
            metadata.insert("ownerReferences".into(), owners);
        }
        match writer.patch(cache, &key, &patch).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    for (group, endpoints) in plan.create {
        let body = head.body(&group, &endpoints);
        match writer.create(cache, namespace, &body).await {
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
    }
    for key in plan.delete {
        writer
            .delete::<SliceWire>(&key, &Deletion::default())
            .await?;
    }
    Ok(())
}
