//! What the files hold, sorted by what it is good for.

use super::documents::{self, Document};
use anyhow::{Result, anyhow, bail};
use plimsoll_api::custom::Definition;
use plimsoll_api::decode::{self, FieldValidation};
use plimsoll_api::gates::FeatureGates;
use plimsoll_api::kind::{Kind, Kinds};
use plimsoll_api::status::ApiError;
use plimsoll_api::{kinds as built_in, pod_autoscaler, schema};
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Arc;

/// The documents by their part in a decision.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) autoscalers: Vec<Document>,
    /// Scales.
    pub(super) scales: Vec<Document>,
    /// What has pods: Deployments, ReplicaSets, StatefulSets, ReplicationControllers.
    pub(super) workloads: Vec<Document>,
    pub(super) pods: Vec<Document>,
    /// Of `metrics.k8s.io`.
    pub(super) usages: Vec<Document>,
    /// Of `custom.metrics.k8s.io`.
    pub(super) values: Vec<Document>,
    /// Of `external.metrics.k8s.io`.
    pub(super) series: Vec<Document>,
    /// Earlier explanations, for what they remember.
    pub(super) explanations: Vec<Document>,
    /// Everything else.
    pub(super) unused: Vec<Document>,
}

impl Files {
    /// Reads and sorts every document.
    ///
    /// # Errors
    /// Names the file, the document and the field.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut files = Self::default();
        for path in paths {
            for document in documents::read(path)? {
                files.sort(document);
            }
        }
        if files.autoscalers.is_empty() {
            let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
            bail!("there is no autoscaler in {}", names.join(", "));
        }
        Ok(files)
    }

    fn sort(&mut self, document: Document) {
        let into = match document.kind() {
            "HorizontalPodAutoscaler" | "PodAutoscaler" => &mut self.autoscalers,
            "Scale" => &mut self.scales,
            "Deployment" | "ReplicaSet" | "StatefulSet" | "ReplicationController" => {
                &mut self.workloads
            }
            "Pod" => &mut self.pods,
            "PodMetrics" => &mut self.usages,
            "MetricValue" => &mut self.values,
            "ExternalMetricValue" => &mut self.series,
            "Explanation" | "PodAutoscalerExplanation" => &mut self.explanations,
            _ => &mut self.unused,
        };
        into.push(document);
    }
}

/// Every kind that is known without a cluster: the built-in ones and our own.
pub(super) fn kinds(gates: FeatureGates) -> Kinds {
    let mut kinds = built_in::gated(gates);
    let mut definition = pod_autoscaler::definition();
    let definitions = kinds.find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    if let Some(definitions) = definitions {
        definitions.default(&mut definition);
    }
    for kind in Definition::parse(&definition).kinds(0) {
        kinds.insert(kind);
    }
    kinds
}

/// Decodes a document as the API server would, unknown fields refused, and fills its defaults in.
///
/// # Errors
/// What the API server would answer, with the document's place.
pub(super) fn decode(kinds: &Kinds, document: &Document) -> Result<(Arc<Kind>, Value)> {
    let (version, name) = (document.text("/apiVersion"), document.kind());
    let mut all = kinds.iter();
    let kind = all.find(|kind| kind.kind == name && kind.api_version() == version);
    let kind = kind.ok_or_else(|| {
        let place = &document.place;
        anyhow!("{place}: no matches for kind {name:?} in version {version:?}")
    })?;
    let decoded = kind.decode_value(document.value.clone(), FieldValidation::Strict);
    let mut object = decoded.map_err(|error| refused(document, &error))?.object;
    kind.default(&mut object);
    Ok((Arc::clone(kind), object))
}

/// A Scale, checked as the API server would.
///
/// # Errors
/// What the API server would answer, with the document's place.
pub(super) fn decode_scale(document: &Document) -> Result<Value> {
    let version = document.text("/apiVersion");
    let kind = schema::by_kind("autoscaling", "v1", "Scale");
    let Some(kind) = kind.filter(|_| version == "autoscaling/v1") else {
        let place = &document.place;
        bail!("{place}: no matches for kind \"Scale\" in version {version:?}");
    };
    let decoded = decode::value(kind, document.value.clone(), FieldValidation::Strict);
    Ok(decoded.map_err(|error| refused(document, &error))?.object)
}

/// An answer of the API server's rules, with the document's place.
pub(super) fn refused(document: &Document, error: &ApiError) -> anyhow::Error {
    anyhow!("{}: {}", document.place, error.message)
}
