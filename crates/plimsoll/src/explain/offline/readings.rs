//! What the metrics APIs would answer, from the values in the files.

use super::autoscaler::Autoscaler;
use super::documents::Document;
use super::files::Files;
use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use plimsoll_controllers::horizontal::wire::{self, Dated};
use plimsoll_controllers::pods::{PodView, Selector};
use plimsoll_engine::horizontal::spec::{Metric, MetricId, TargetRef};
use plimsoll_engine::horizontal::{Reading, Sample};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The values of one autoscaler's metrics.
pub(super) struct Source<'a> {
    pub(super) files: &'a Files,
    pub(super) hpa: &'a Autoscaler,
    pub(super) pods: &'a [Arc<PodView>],
    /// Values without a time are of now.
    pub(super) now: Timestamp,
}

impl Source<'_> {
    /// One reading per metric, in order; a metric without values fails as it would in a cluster.
    ///
    /// # Errors
    /// Names the document that cannot be read.
    pub(super) fn readings(&self) -> Result<Vec<Result<Reading, String>>> {
        let metrics = self.hpa.spec.metrics.iter();
        metrics.map(|metric| self.reading(metric)).collect()
    }

    fn reading(&self, metric: &Metric) -> Result<Result<Reading, String>> {
        let selector = match metric {
            Metric::Pods { metric, .. }
            | Metric::Object { metric, .. }
            | Metric::External { metric, .. } => selector(metric),
            Metric::Resource { .. } | Metric::Unknown { .. } => Ok(Selector::default()),
        };
        // The API server stores any selector; asking with a bad one fails.
        let selector = match selector {
            Ok(selector) => selector,
            Err(why) => return Ok(Err(why)),
        };
        match metric {
            Metric::Resource {
                name, container, ..
            } => self.usages(name, container.as_deref()).map(Ok),
            Metric::Pods { metric, .. } => self.values(metric, &selector).map(Ok),
            Metric::Object {
                described, metric, ..
            } => self.value(described, metric, &selector),
            Metric::External { metric, .. } => self.series(metric, &selector).map(Ok),
            Metric::Unknown { kind } => Ok(Err(format!("unknown metric source type {kind:?}"))),
        }
    }

    fn is_selected(&self, pod: &str) -> bool {
        self.pods
            .iter()
            .any(|selected| *selected.meta.key.name == *pod)
    }

    fn usages(&self, resource: &str, container: Option<&str>) -> Result<Reading> {
        let mut samples: Vec<Sample> = Vec::new();
        for usage in self
            .files
            .usages
            .iter()
            .filter(|u| u.is_in(&self.hpa.namespace))
        {
            let sample = wire::pod_sample(&usage.value, (resource, container), self.now);
            let sample = sample.with_context(|| usage.place.to_string())?;
            samples.extend(sample.filter(|sample| self.is_selected(&sample.pod)));
        }
        Ok(Reading::PerPod(samples))
    }

    fn values(&self, metric: &MetricId, selector: &Selector) -> Result<Reading> {
        let mut samples = Vec::new();
        for value in self.of(metric, selector) {
            if value.text("/describedObject/kind") != "Pod" {
                continue;
            }
            let one = json!({ "items": [value.value] });
            let read = wire::metric_values(&one, self.now);
            samples.extend(read.with_context(|| value.place.to_string())?);
        }
        samples.retain(|sample| self.is_selected(&sample.pod));
        Ok(Reading::PerPod(samples))
    }

    /// The custom values of a metric in the autoscaler's namespace.
    fn of<'a>(
        &'a self,
        metric: &'a MetricId,
        selector: &'a Selector,
    ) -> impl Iterator<Item = &'a Document> {
        self.files.values.iter().filter(move |value| {
            let namespace = value.text("/describedObject/namespace");
            // v1beta2 and v1beta1 name the metric in two ways.
            let names = [value.text("/metric/name"), value.text("/metricName")];
            let labels = value.value.pointer("/metric/selector/matchLabels");
            names.contains(&metric.name.as_str())
                && (namespace.is_empty() || namespace == self.hpa.namespace)
                && carries(labels, selector)
        })
    }

    fn value(
        &self,
        described: &TargetRef,
        metric: &MetricId,
        selector: &Selector,
    ) -> Result<Result<Reading, String>> {
        let about = |value: &&Document| {
            value.text("/describedObject/kind") == described.kind
                && value.text("/describedObject/name") == described.name
        };
        let found: Vec<&Document> = self.of(metric, selector).filter(about).collect();
        let items: Vec<&Value> = found.iter().map(|document| &document.value).collect();
        let read = wire::metric_value(&json!({ "items": items }), self.now);
        match (found.as_slice(), read) {
            (_, Ok(value)) => Ok(Ok(Reading::Single(value.milli))),
            ([document], Err(error)) => Err(error).with_context(|| document.place.to_string()),
            (_, Err(error)) => Ok(Err(error.to_string())),
        }
    }

    fn series(&self, metric: &MetricId, selector: &Selector) -> Result<Reading> {
        let mut values: Vec<Dated> = Vec::new();
        for series in &self.files.series {
            let labels = series.value.get("metricLabels");
            if series.text("/metricName") != metric.name || !carries(labels, selector) {
                continue;
            }
            let one = json!({ "items": [series.value] });
            let read = wire::external_values(&one, self.now);
            values.extend(read.with_context(|| series.place.to_string())?);
        }
        Ok(Reading::Series(
            values.iter().map(|value| value.milli).collect(),
        ))
    }

    /// What is in the files and told nobody anything.
    pub(super) fn unused(&self) -> Vec<String> {
        let usages = self
            .files
            .usages
            .iter()
            .filter(|u| u.is_in(&self.hpa.namespace));
        let strangers = usages.filter(|usage| !self.is_selected(usage.name()));
        let strangers: BTreeSet<String> = strangers.map(|usage| usage.name().to_owned()).collect();
        let strangers: Vec<String> = strangers.into_iter().collect();
        if strangers.is_empty() {
            return Vec::new();
        }
        let named = super::pods::listed(&strangers);
        vec![format!(
            "no selected pod has the name of these measured ones: {named}"
        )]
    }
}

fn selector(metric: &MetricId) -> Result<Selector, String> {
    let Some(raw) = metric.selector.as_ref().filter(|raw| !raw.is_null()) else {
        return Ok(Selector::default());
    };
    let wire: LabelSelector =
        serde_json::from_value(raw.clone()).map_err(|error| error.to_string())?;
    Selector::try_from(&wire).map_err(|error| error.to_string())
}

/// Whether a value is of the series asked for; one without labels is of every series.
fn carries(labels: Option<&Value>, selector: &Selector) -> bool {
    let Some(map) = labels
        .and_then(Value::as_object)
        .filter(|map| !map.is_empty())
    else {
        return true;
    };
    let mut labels: Vec<(Arc<str>, Arc<str>)> = map
        .iter()
        .filter_map(|(key, value)| Some((key.as_str().into(), value.as_str()?.into())))
        .collect();
    labels.sort();
    selector.matches(&labels)
}

/// The newest time in the files, if any value has one.
pub(super) fn newest(files: &Files) -> Option<Timestamp> {
    let all = files
        .usages
        .iter()
        .chain(&files.values)
        .chain(&files.series);
    let times = all.filter_map(|document| document.text("/timestamp").parse().ok());
    times.max()
}
