//! What a StatefulSet's pods and claims look like.

use crate::pods::{Retention, StatefulSetView};
use crate::runtime::{Meta, Owner};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Label with the pod's name.
pub(super) const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
/// Label with the pod's number.
pub(super) const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
/// Label with the name of the revision the pod was made from.
pub(super) const REVISION_LABEL: &str = "controller-revision-hash";

pub(super) const API_VERSION: &str = "apps/v1";
pub(super) const KIND: &str = "StatefulSet";

/// The number of a pod of this set; `None` if the name is none of the set's.
pub(super) fn ordinal(set: &str, pod: &str) -> Option<i32> {
    let (parent, digits) = pod.rsplit_once('-')?;
    let number: i32 = digits.parse().ok().filter(|number| *number >= 0)?;
    // One number has one name: no sign, no leading zero.
    (parent == set && number.to_string() == digits).then_some(number)
}

/// The reference of what belongs to the set.
pub(super) fn owner(set: &StatefulSetView) -> Owner {
    controlled_by(API_VERSION, KIND, &set.meta)
}

fn controlled_by(api_version: &str, kind: &str, meta: &Meta) -> Owner {
    Owner {
        api_version: api_version.into(),
        kind: kind.into(),
        name: Arc::clone(&meta.key.name),
        uid: Arc::clone(&meta.uid),
        controller: true,
        block_owner_deletion: true,
    }
}

/// The labels that only this pod has.
pub(super) fn identity(name: &str, ordinal: i32) -> [(&'static str, String); 2] {
    [
        (NAME_LABEL, name.to_owned()),
        (INDEX_LABEL, ordinal.to_string()),
    ]
}

/// Name of the claim that a template makes for a pod.
pub(super) fn claim_name(template: &Value, set: &StatefulSetView, ordinal: i32) -> String {
    let name = template.pointer("/metadata/name").and_then(Value::as_str);
    format!("{}-{}-{ordinal}", name.unwrap_or_default(), set.meta.name())
}

/// A pod from a template.
pub(super) fn pod_body(
    set: &StatefulSetView,
    ordinal: i32,
    mut template: Value,
    revision: &str,
) -> Value {
    let name = set.pod_name(ordinal);
    let mut part = |path: &str| {
        template
            .pointer_mut(path)
            .map(Value::take)
            .unwrap_or_default()
    };
    let mut metadata = json!({
        "name": name, "namespace": set.meta.namespace(),
        "ownerReferences": [owner(set).to_reference()],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = part(&format!("/metadata/{field}"));
        if let Some(map) = metadata.as_object_mut().filter(|_| !value.is_null()) {
            map.insert(field.into(), value);
        }
    }
    let labels = plimsoll_api::meta::object_mut(&mut metadata, &["labels"]);
    for (key, value) in identity(&name, ordinal) {
        labels.insert(key.into(), value.into());
    }
    labels.insert(REVISION_LABEL.into(), revision.into());
    let mut spec = part("/spec");
    let fields = plimsoll_api::meta::object_mut(&mut spec, &[]);
    fields.insert("hostname".into(), name.into());
    fields.insert("subdomain".into(), (*set.service_name).into());
    mount_claims(set, ordinal, fields);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

/// A claim takes the place of a volume of the same name.
fn mount_claims(set: &StatefulSetView, ordinal: i32, spec: &mut Map<String, Value>) {
    let templates = set.claims();
    if templates.is_empty() {
        return;
    }
    let name = |template: &Value| template.pointer("/metadata/name").cloned();
    let mut volumes: Vec<Value> = templates
        .iter()
        .map(|template| {
            let claim = json!({"claimName": claim_name(template, set, ordinal)});
            json!({"name": name(template), "persistentVolumeClaim": claim})
        })
        .collect();
    let own = spec.remove("volumes").unwrap_or_default();
    let own = own.as_array().cloned().unwrap_or_default();
    let is_claim = |volume: &Value| {
        let mut templates = templates.iter();
        templates.any(|template| name(template).as_ref() == volume.get("name"))
    };
    volumes.extend(own.into_iter().filter(|volume| !is_claim(volume)));
    spec.insert("volumes".into(), volumes.into());
}

/// The claim that a template makes for a pod.
pub(super) fn claim_body(set: &StatefulSetView, ordinal: i32, template: &Value) -> Value {
    let part = |path: &str| template.pointer(path).cloned().unwrap_or_default();
    let mut labels = part("/metadata/labels");
    let fields = plimsoll_api::meta::object_mut(&mut labels, &[]);
    for (key, value) in &set.match_labels {
        fields.insert(key.clone(), value.as_str().into());
    }
    let mut metadata = json!({
        "name": claim_name(template, set, ordinal), "namespace": set.meta.namespace(),
        "labels": labels,
    });
    let annotations = part("/metadata/annotations");
    if let Some(map) = metadata.as_object_mut().filter(|_| !annotations.is_null()) {
        map.insert("annotations".into(), annotations);
    }
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": metadata, "spec": part("/spec"),
    })
}

/// The owners a claim should have. `wanted` says whether the set still counts the pod.
pub(super) fn claim_owners(
    claim: &Meta,
    set: &StatefulSetView,
    pod: &Meta,
    wanted: bool,
) -> Vec<Owner> {
    let ours = |owner: &Owner| {
        let named = |kind: &str, meta: &Meta| *owner.kind == *kind && owner.name == meta.key.name;
        owner.uid == set.meta.uid
            || owner.uid == pod.uid
            || named(KIND, &set.meta)
            || named("Pod", pod)
    };
    let mut owners: Vec<Owner> = claim.owners.to_vec();
    owners.retain(|owner| !ours(owner));
    if owners.iter().any(|owner| owner.controller) {
        // Somebody else manages it.
        return owners;
    }
    if !wanted && set.retention.when_scaled == Retention::Delete {
        owners.push(controlled_by("v1", "Pod", pod));
    } else if set.retention.when_deleted == Retention::Delete {
        owners.push(owner(set));
    }
    owners
}

/// Whether a claim goes with a pod of this name that is gone.
pub(super) fn goes_with(claim: &Meta, pod: &str) -> bool {
    let mut owners = claim.owners.iter();
    owners.any(|owner| &*owner.kind == "Pod" && &*owner.name == pod)
}

#[cfg(test)]
#[path = "pod_tests.rs"]
mod tests;
