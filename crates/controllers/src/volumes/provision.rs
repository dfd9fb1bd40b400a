//! The volumes that are made here: a directory of this machine each.
//!
//! Which nodes reach a volume is up to its class: parameter `topologyKeys` lists the node labels
//! whose values, on the node chosen for the first pod, become the volume's node affinity. With
//! `kubernetes.io/hostname` it behaves like a local disk; without the parameter like a network disk
//! of a zone, if the node has one.

use super::matching::Place;
use super::{FINALIZER, LOCAL, PROVISIONED_BY};
use crate::pods::{ClaimView, ClassView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// Names the labels that bind a volume to where it was made.
pub const TOPOLOGY_KEYS: &str = "topologyKeys";
/// What binds a volume whose class does not say.
const DEFAULT_KEYS: &str = "topology.kubernetes.io/zone";

/// The name of the volume for a claim.
pub fn name(claim: &ClaimView) -> String {
    format!("pvc-{}", claim.meta.uid)
}

/// The name of its directory: people look for the claim.
pub fn directory(claim: &ClaimView) -> String {
    let key = &claim.meta.key;
    format!("{}_{}_{}", name(claim), key.namespace, key.name)
}

/// The volume for a claim, in the directory at `path`.
pub fn body(claim: &ClaimView, class: &ClassView, place: Option<&Place>, path: &Path) -> Value {
    let key = &claim.meta.key;
    let modes: Vec<&str> = claim.modes.iter().map(|mode| mode.text()).collect();
    let mut spec = json!({
        "accessModes": modes,
        "capacity": {"storage": *claim.request_text},
        "claimRef": {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "namespace": *key.namespace, "name": *key.name,
            "uid": *claim.meta.uid, "resourceVersion": claim.meta.resource_version(),
        },
        "hostPath": {"path": path.display().to_string(), "type": "DirectoryOrCreate"},
        "persistentVolumeReclaimPolicy": *class.reclaim,
        "storageClassName": class.meta.name(),
        "volumeMode": "Filesystem",
    });
    if let Some(map) = spec.as_object_mut() {
        let mut put = |key: &str, value: Value| drop(map.insert(key.to_owned(), value));
        if !class.mount_options.is_empty() {
            put("mountOptions", json!(class.mount_options));
        }
        if !claim.attributes_class.is_empty() {
            put("volumeAttributesClassName", json!(*claim.attributes_class));
        }
        let reach = reach(class, place);
        if !reach.is_empty() {
            let terms = json!([{"matchExpressions": expressions(&reach)}]);
            put(
                "nodeAffinity",
                json!({"required": {"nodeSelectorTerms": terms}}),
            );
        }
    }
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name(claim),
            "annotations": {(PROVISIONED_BY): LOCAL},
            "finalizers": [FINALIZER],
        },
        "spec": spec,
    })
}

/// Labels a node must have to reach the volume, each with the values that will do.
fn reach(class: &ClassView, place: Option<&Place>) -> BTreeMap<String, Vec<String>> {
    let allowed = class.topologies.first();
    let allowed = allowed.and_then(|term| term.match_label_expressions.as_ref());
    let allowed = || allowed.into_iter().flatten();
    let Some(place) = place else {
        let pairs = allowed().map(|one| (one.key.clone(), one.values.clone()));
        return pairs.collect();
    };
    let keys = class.parameters.get(TOPOLOGY_KEYS);
    let keys = keys.map_or(DEFAULT_KEYS, String::as_str).split(',');
    let keys = keys.map(str::trim).filter(|key| !key.is_empty());
    keys.chain(allowed().map(|one| one.key.as_str()))
        .filter_map(|key| Some((key.to_owned(), vec![place.labels.get(key)?.clone()])))
        .collect()
}

fn expressions(reach: &BTreeMap<String, Vec<String>>) -> Vec<Value> {
    reach
        .iter()
        .map(|(key, values)| json!({"key": key, "operator": "In", "values": values}))
        .collect()
}
