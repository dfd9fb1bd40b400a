//! The pods of a Job as they are created.

use super::decide::NewPod;
use super::seen::{FAILURES, FINALIZER, IGNORED, INDEX};
use super::view::JobView;
use crate::pods::template_value;
use crate::runtime::Owner;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Longest prefix that the server makes a name from.
const LONGEST_PREFIX: usize = 58;
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";

/// The Job as owner of its pods.
pub(super) fn owner(job: &JobView) -> Owner {
    Owner {
        api_version: super::API_VERSION.into(),
        kind: super::KIND.into(),
        name: Arc::clone(&job.meta.key.name),
        uid: Arc::clone(&job.meta.uid),
        controller: true,
        block_owner_deletion: true,
    }
}

/// What all pods of a Job have in common; made once for a burst.
#[derive(Debug)]
pub(super) struct Pattern {
    job: Arc<JobView>,
    metadata: Map<String, Value>,
    spec: Value,
}

impl Pattern {
    /// Reads the Job's template.
    pub(super) fn of(job: &Arc<JobView>) -> Self {
        let mut template = template_value(&job.template);
        let mut part = |path: &str| {
            let found = template.pointer_mut(path);
            found.map(Value::take).unwrap_or_default()
        };
        let mut metadata = Map::new();
        for field in ["labels", "annotations"] {
            let value = part(&format!("/metadata/{field}"));
            if value.is_object() {
                metadata.insert(field.into(), value);
            }
        }
        let mut finalizers = part("/metadata/finalizers");
        match finalizers.as_array_mut() {
            Some(list) if list.iter().any(|name| name == FINALIZER) => {}
            Some(list) => list.push(FINALIZER.into()),
            None => finalizers = json!([FINALIZER]),
        }
        metadata.insert("finalizers".into(), finalizers);
        metadata.insert("ownerReferences".into(), json!([owner(job).to_reference()]));
        let mut spec = part("/spec");
        if job.is_indexed() {
            add_variable(&mut spec);
        }
        Self {
            job: Arc::clone(job),
            metadata,
            spec,
        }
    }

    /// One pod.
    pub(super) fn pod(&self, new: &NewPod) -> Value {
        let name = self.job.meta.name();
        let mut metadata = self.metadata.clone();
        let mut spec = self.spec.clone();
        let mut prefix = format!("{name}-");
        if let Some(index) = new.index {
            let text = index.to_string();
            let suffix = format!("-{text}-");
            let room = LONGEST_PREFIX.saturating_sub(suffix.len());
            prefix = name.chars().take(room).collect::<String>() + &suffix;
            set(&mut metadata, "labels", INDEX, &text);
            set(&mut metadata, "annotations", INDEX, &text);
            if let Some(spec) = spec.as_object_mut() {
                spec.insert("hostname".into(), format!("{name}-{text}").into());
            }
        }
        if let Some((counted, ignored)) = new.failures {
            set(&mut metadata, "annotations", FAILURES, &counted.to_string());
            if ignored > 0 {
                set(&mut metadata, "annotations", IGNORED, &ignored.to_string());
            }
        }
        metadata.insert("generateName".into(), prefix.into());
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    }
}

fn set(metadata: &mut Map<String, Value>, field: &str, key: &str, value: &str) {
    let map = metadata.entry(field).or_insert_with(|| json!({}));
    if let Some(map) = map.as_object_mut() {
        map.insert(key.into(), value.into());
    }
}

/// Tells every container its index, unless it has a variable of that name.
fn add_variable(spec: &mut Value) {
    let variable = json!({
        "name": INDEX_VARIABLE,
        "valueFrom": {"fieldRef": {
            "apiVersion": "v1", "fieldPath": format!("metadata.labels['{INDEX}']"),
        }},
    });
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        let containers = containers.into_iter().flatten();
        for container in containers.filter_map(Value::as_object_mut) {
            let variables = container.entry("env").or_insert(Value::Null);
            match variables.as_array_mut() {
                Some(list) if list.iter().any(|v| v.get("name") == variable.get("name")) => {}
                Some(list) => list.push(variable.clone()),
                None => *variables = json!([variable]),
            }
        }
    }
}
