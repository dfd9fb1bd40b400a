//! A revision as it is cached, and the template it records.

use crate::pods::sorted;
use crate::runtime::{Cached, Meta, wire};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A recorded template: `{"spec":{"template":{…,"$patch":"replace"}}}` in one normal form, so that
/// equal templates have equal texts. As a strategic merge patch it brings the template back, which
/// is how `kubectl rollout undo` works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded(Arc<str>);

impl Recorded {
    /// Records a pod template.
    pub fn template(mut template: Value) -> Self {
        if let Some(fields) = template.as_object_mut() {
            fields.insert("$patch".into(), "replace".into());
        }
        Self::of(json!({"spec": {"template": template}}))
    }

    fn of(data: Value) -> Self {
        Self(sorted(data).to_string().into())
    }

    /// The text that is compared and hashed.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What a revision's `data` is.
    pub fn data(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// The pod template, without the mark of the patch.
    pub fn pod_template(&self) -> Value {
        let mut data = self.data();
        let template = data.pointer_mut("/spec/template").map(Value::take);
        let mut template = template.unwrap_or_default();
        if let Some(fields) = template.as_object_mut() {
            fields.remove("$patch");
        }
        template
    }

    /// The labels of the template.
    pub fn labels(&self) -> Map<String, Value> {
        let data = self.data();
        let labels = data.pointer("/spec/template/metadata/labels");
        labels
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    }
}

/// A ControllerRevision.
#[derive(Debug)]
pub struct RevisionView {
    /// Metadata.
    pub meta: Meta,
    /// `revision`: later ones are larger.
    pub revision: i64,
    /// `data`.
    pub recorded: Recorded,
}

impl Cached for RevisionView {
    type Wire = RevisionWire;

    fn from_wire(wire: RevisionWire) -> Self {
        let data = wire.data.as_deref().map(RawValue::get);
        let data = data.and_then(|text| serde_json::from_str(text).ok());
        Self {
            meta: wire.metadata.into(),
            revision: wire.revision,
            recorded: Recorded::of(data.unwrap_or_default()),
        }
    }

    fn meta(&self) -> &Meta {
        &self.meta
    }
}

/// What is decoded of a ControllerRevision.
#[derive(Debug, Clone, Deserialize)]
pub struct RevisionWire {
    #[serde(default)]
    metadata: ObjectMeta,
    #[serde(default)]
    revision: i64,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

wire!(
    RevisionWire,
    NamespaceResourceScope,
    "apps",
    "v1",
    "ControllerRevision",
    "controllerrevisions"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_templates_are_recorded_alike() {
        let one = json!({"metadata": {"labels": {"a": "1"}, "creationTimestamp": null}, "spec": {"b": 1, "a": []}});
        let other = json!({"spec": {"a": [], "b": 1}, "metadata": {"labels": {"a": "1"}}});
        let recorded = Recorded::template(one);
        assert_eq!(recorded, Recorded::template(other.clone()));
        assert_eq!(recorded.pod_template(), other);
        assert_eq!(recorded.labels()["a"], "1");
        let text = r#"{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"a":"1"}},"spec":{"a":[],"b":1}}}}"#;
        assert_eq!(recorded.text(), text);
    }

    #[test]
    fn a_revision_with_strange_data_is_of_no_template() {
        for data in [Value::Null, json!("text"), json!([1]), json!({"spec": 3})] {
            let wire = json!({"metadata": {"name": "r"}, "revision": 3, "data": data});
            let wire = serde_json::from_str(&wire.to_string()).unwrap();
            let view = RevisionView::from_wire(wire);
            assert_eq!(view.recorded.pod_template(), Value::Null, "{data}");
            assert!(view.recorded.labels().is_empty());
        }
    }
}
