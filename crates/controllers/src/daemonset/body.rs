//! The pods a DaemonSet makes.

use super::eligible::add_tolerations;
use super::view::DaemonSetView;
use crate::pods::template_value;
use crate::runtime::Owner;
use k8s_openapi::api::core::v1::Toleration;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) const API_VERSION: &str = "apps/v1";
pub(super) const KIND: &str = "DaemonSet";
/// Label of a pod with the hash of its template.
pub(super) const HASH_LABEL: &str = "controller-revision-hash";
const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn owner(set: &DaemonSetView) -> Owner {
    Owner {
        api_version: API_VERSION.into(),
        kind: KIND.into(),
        name: Arc::clone(&set.meta.key.name),
        uid: Arc::clone(&set.meta.uid),
        controller: true,
        block_owner_deletion: true,
    }
}

/// What all pods of the set have in common; [`pin`] makes it one node's.
pub(super) fn pod(set: &DaemonSetView, hash: &str) -> Value {
    let mut template = template_value(&set.template);
    let mut part = |path: &str| {
        let value = template.pointer_mut(path).map(Value::take);
        value.filter(Value::is_object).unwrap_or_else(|| json!({}))
    };
    let mut labels = part("/metadata/labels");
    let (annotations, mut spec) = (part("/metadata/annotations"), part("/spec"));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert(HASH_LABEL.into(), hash.into());
        if let Some(generation) = set.meta.annotation(GENERATION) {
            labels.insert(GENERATION_LABEL.into(), generation.into());
        }
    }
    let mut metadata = json!({
        "generateName": format!("{}-", set.meta.name()),
        "ownerReferences": [owner(set).to_reference()],
        "labels": labels, "annotations": annotations,
    });
    let finalizers = template
        .pointer_mut("/metadata/finalizers")
        .map(Value::take);
    if let (Some(map), Some(finalizers)) = (metadata.as_object_mut(), finalizers) {
        map.insert("finalizers".into(), finalizers);
    }
    if let Some(spec) = spec.as_object_mut() {
        tolerate(spec);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
}

fn tolerate(spec: &mut Map<String, Value>) {
    let known = spec.get("tolerations").cloned().unwrap_or_default();
    let known: Option<Vec<Toleration>> = serde_json::from_value(known).unwrap_or_default();
    let mut tolerations = known.unwrap_or_default();
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool);
    add_tolerations(&mut tolerations, host_network.unwrap_or_default());
    spec.insert("tolerations".into(), json!(tolerations));
}

/// Binds the pod to a node by its name. The set's own terms have been judged already, and the
/// scheduler would take any of them for enough, so the name takes their place.
pub(super) fn pin(mut pod: Value, node: &str) -> Value {
    let mut at = &mut pod;
    for key in ["spec", "affinity", "nodeAffinity"] {
        if !at.is_object() {
            *at = json!({});
        }
        let Some(map) = at.as_object_mut() else {
            return pod;
        };
        at = map.entry(key).or_insert_with(|| json!({}));
    }
    if !at.is_object() {
        *at = json!({});
    }
    if let Some(map) = at.as_object_mut() {
        let term = json!({"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": [node]}]});
        map.insert(
            "requiredDuringSchedulingIgnoredDuringExecution".into(),
            json!({"nodeSelectorTerms": [term]}),
        );
    }
    pod
}

/// The node a pod is pinned to, bound or not.
pub(super) fn target(affinity: &str) -> Option<String> {
    let affinity: Value = serde_json::from_str(affinity).ok()?;
    let path = "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = affinity.pointer(path)?.as_array()?;
    let fields = terms
        .iter()
        .filter_map(|term| term.get("matchFields")?.as_array())
        .flatten();
    let mut names = fields.filter_map(|field| {
        let named = field.get("key")? == "metadata.name" && field.get("operator")? == "In";
        let [name] = &field.get("values")?.as_array()?[..] else {
            return None;
        };
        named.then(|| name.as_str().map(str::to_owned))?
    });
    names.next()
}

#[cfg(test)]
mod tests {
    use super::{pin, pod, target};
    use crate::daemonset::view::DaemonSetView;
    use crate::runtime::Cached;
    use serde_json::{Value, json};

    fn set(spec: &Value) -> DaemonSetView {
        let object = json!({
            "metadata": {"name": "agent", "uid": "u",
                "annotations": {"deprecated.daemonset.template.generation": "3"}},
            "spec": {"template": {"metadata": {"labels": {"app": "agent"}}, "spec": spec}},
        });
        DaemonSetView::from_wire(serde_json::from_str(&object.to_string()).unwrap())
    }

    #[test]
    fn a_pod_is_pinned_and_keeps_what_else_it_wants() {
        let own = json!({
            "affinity": {
                "podAntiAffinity": {"x": 1},
                "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [1],
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [2]}},
            },
            "tolerations": [{"key": "team", "operator": "Exists"}],
        });
        let pinned = pin(pod(&set(&own), "h"), "n1");
        let affinity = &pinned["spec"]["affinity"];
        assert_eq!(affinity["podAntiAffinity"], json!({"x": 1}));
        let node = &affinity["nodeAffinity"];
        assert_eq!(
            node["preferredDuringSchedulingIgnoredDuringExecution"],
            json!([1])
        );
        assert_eq!(target(&affinity.to_string()).as_deref(), Some("n1"));
        assert_eq!(pinned["spec"]["tolerations"].as_array().unwrap().len(), 7);
        let labels = json!({"app": "agent", "controller-revision-hash": "h",
            "pod-template-generation": "3"});
        assert_eq!(pinned["metadata"]["labels"], labels);
        assert_eq!(pinned["metadata"]["generateName"], "agent-");
    }

    #[test]
    fn tolerations_are_added_once() {
        let once = pod(&set(&json!({"hostNetwork": true})), "h")["spec"]["tolerations"].clone();
        assert_eq!(once.as_array().unwrap().len(), 7);
        let again = json!({"hostNetwork": true, "tolerations": once});
        assert_eq!(pod(&set(&again), "h")["spec"]["tolerations"], once);
    }

    #[test]
    fn only_a_pin_names_a_target() {
        assert_eq!(target("{}"), None);
        assert_eq!(target("null"), None);
        let two = r#"{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["a","b"]}]}]}}}"#;
        assert_eq!(target(two), None);
    }
}
