//! What is scaled: how many there are, how many there should be, and which pods are its own.

use super::autoscaler::Autoscaler;
use super::documents::Document;
use super::files::{Files, decode, decode_scale, refused};
use anyhow::Result;
use plimsoll_api::kind::Kinds;
use plimsoll_api::{kinds as built_in, meta};
use plimsoll_controllers::horizontal::wire;
use plimsoll_engine::horizontal::{Scale, Selection};
use serde_json::{Value, json};

/// The target of one autoscaler.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) scale: Scale,
    /// Whether the files say which pods it selects; else all of them are taken as its own.
    pub(super) selects: bool,
    /// The template of its pods, where one is in the files.
    pub(super) template: Option<Value>,
    /// What the files do not say.
    pub(super) assumed: Vec<String>,
}

impl Target {
    /// The target as far as the files describe it, the rest assumed.
    ///
    /// # Errors
    /// Names the document that cannot be read.
    pub(super) fn read(kinds: &Kinds, files: &Files, hpa: &Autoscaler) -> Result<Self> {
        let wanted = &hpa.spec.scale_target_ref;
        let here =
            |document: &&Document| document.name() == wanted.name && document.is_in(&hpa.namespace);
        let workload = files.workloads.iter().filter(here);
        let workload = workload
            .clone()
            .find(|document| document.kind() == wanted.kind);
        let template = workload
            .map(|workload| decode(kinds, workload))
            .transpose()?;
        let mut target = match (files.scales.iter().find(here), workload) {
            (Some(scale), _) => Self::of_scale(scale)?,
            (None, Some(workload)) => Self::of_workload(kinds, files, hpa, workload)?,
            (None, None) => Self::assumed(files, hpa),
        };
        target.template = template.and_then(|(_, workload)| {
            let template = meta::at(&workload, &["spec", "template"]);
            template.cloned()
        });
        Ok(target)
    }

    fn of_scale(document: &Document) -> Result<Self> {
        let object = decode_scale(document)?;
        let mut scale = wire::scale(&object);
        let mut assumed = Vec::new();
        let has_status = object.get("status").is_some();
        if !has_status {
            scale.status_replicas = scale.spec_replicas;
            assumed.push(format!("{} has a pod for every replica", document.label()));
            scale.selector = every_pod();
        }
        Ok(Self {
            scale,
            selects: has_status,
            template: None,
            assumed,
        })
    }

    fn of_workload(
        kinds: &Kinds,
        files: &Files,
        hpa: &Autoscaler,
        document: &Document,
    ) -> Result<Self> {
        let (kind, mut object) = decode(kinds, document)?;
        let label = document.label();
        let mut assumed = Vec::new();
        let written = document.value.pointer("/spec/replicas");
        if written.is_none_or(Value::is_null) {
            let (count, why) = count(files, hpa);
            assumed.push(format!("{label} has {count} replicas: {why}"));
            meta::object_mut(&mut object, &["spec"]).insert("replicas".into(), count.into());
        }
        let exist = document.value.pointer("/status/replicas");
        if exist.is_none_or(Value::is_null) {
            let wanted = object
                .pointer("/spec/replicas")
                .cloned()
                .unwrap_or_default();
            meta::object_mut(&mut object, &["status"]).insert("replicas".into(), wanted);
        }
        let scale = built_in::scale(&kind, &object).map_err(|error| refused(document, &error))?;
        Ok(Self {
            scale: wire::scale(&scale),
            selects: true,
            template: None,
            assumed,
        })
    }

    fn assumed(files: &Files, hpa: &Autoscaler) -> Self {
        let wanted = &hpa.spec.scale_target_ref;
        let (count, why) = count(files, hpa);
        let label = format!("{} {}", wanted.kind, wanted.name);
        Self {
            scale: Scale {
                spec_replicas: count,
                status_replicas: count,
                selector: every_pod(),
            },
            selects: false,
            template: None,
            assumed: vec![format!("{label} has {count} replicas: {why}")],
        }
    }
}

/// A selector nobody has written.
fn every_pod() -> Selection {
    Selection::Valid("every pod in the files".into())
}

/// How many replicas there are where no object says so, and what tells.
fn count(files: &Files, hpa: &Autoscaler) -> (i32, &'static str) {
    let of = |documents: &[Document]| {
        let own = documents
            .iter()
            .filter(|document| document.is_in(&hpa.namespace));
        i32::try_from(own.count()).unwrap_or(i32::MAX)
    };
    let told = [
        (
            hpa.status.current_replicas,
            "the autoscaler's status says so",
        ),
        (of(&files.pods), "that many pods are in the files"),
        (
            of(&files.usages),
            "that many pods are measured in the files",
        ),
    ];
    let found = told.into_iter().find(|(count, _)| *count > 0);
    found.unwrap_or((hpa.spec.min().max(1), "the files do not say how many"))
}

/// A pod made by a template, ready for long.
pub(super) fn made(name: &str, namespace: &str, template: &Value, since: &str) -> Value {
    let spec = template.get("spec").cloned().unwrap_or_else(|| json!({}));
    let labels = meta::at(template, &["metadata", "labels"]);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": spec,
        "status": {
            "phase": "Running", "startTime": since,
            "conditions": [{ "type": "Ready", "status": "True", "lastTransitionTime": since }],
        },
    })
}
