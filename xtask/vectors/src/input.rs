//! The inputs of a vector as the engine's.

use anyhow::{Context, Result, bail};
use jiff::{SignedDuration, Timestamp};
use plimsoll_controllers::horizontal::wire::{self, WireError};
use plimsoll_controllers::pods::Selector;
use plimsoll_engine::horizontal::memory::Memory;
use plimsoll_engine::horizontal::pod::Facts;
use plimsoll_engine::horizontal::spec::{Behavior, Metric, MetricId};
use plimsoll_engine::horizontal::{Reading, Sample, Settings};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// Samples without a time are as old as the API's zero time.
const UNDATED: Timestamp = Timestamp::UNIX_EPOCH;

/// One vector.
#[derive(Clone, Copy)]
pub(crate) struct Vector<'a> {
    pub(crate) input: &'a Value,
    pub(crate) expected: &'a Value,
}

impl<'a> Vector<'a> {
    pub(crate) fn of(raw: &'a Value) -> Result<Self> {
        Ok(Self {
            input: raw.get("input").context("no input")?,
            expected: raw.get("expected").context("no expected")?,
        })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.input.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.get(key).and_then(Value::as_str)
    }

    pub(crate) fn number(&self, key: &str) -> Result<i32> {
        integer(self.get(key).unwrap_or(&json!(0))).with_context(|| key.to_owned())
    }

    pub(crate) fn now(&self) -> Result<Timestamp> {
        Ok(self.text("now").context("no now")?.parse()?)
    }

    /// What earlier passes remembered.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let mut history = self.get("history").cloned().unwrap_or_else(|| json!({}));
        if let Some(history) = history.as_object_mut() {
            history.retain(|_, value| !value.is_null());
        }
        read(history).context("history")
    }

    /// Whether the original had seen the target before.
    pub(crate) fn is_known(&self) -> bool {
        let recommendations = self.input.pointer("/history/recommendations");
        recommendations.is_some_and(|list| !list.is_null())
    }

    pub(crate) fn settings(&self) -> Settings {
        let default = Settings::default();
        let Some(flags) = self.get("controller") else {
            return default;
        };
        let seconds = |key: &str, default| {
            let seconds = flags.get(key).and_then(Value::as_i64);
            seconds.map_or(default, SignedDuration::from_secs)
        };
        let gate = |key: &str| {
            let gate = flags.get("featureGates").and_then(|gates| gates.get(key));
            gate.and_then(Value::as_bool).unwrap_or_default()
        };
        let tolerance = flags.get("tolerance").and_then(Value::as_f64);
        let (window, start, delay) = (
            default.downscale_stabilization,
            default.cpu_initialization,
            default.readiness_delay,
        );
        Settings {
            tolerance: tolerance.unwrap_or(default.tolerance),
            downscale_stabilization: seconds("downscaleStabilizationSeconds", window),
            cpu_initialization: seconds("cpuInitializationPeriodSeconds", start),
            readiness_delay: seconds("initialReadinessDelaySeconds", delay),
            scale_to_zero: gate("HPAScaleToZero"),
            configurable_tolerance: gate("HPAConfigurableTolerance"),
            pod_level_resources: gate("PodLevelResources"),
            ..default
        }
    }

    pub(crate) fn behavior(&self) -> Result<Option<Behavior>> {
        let behavior = self.get("behavior").cloned();
        behavior.map(read).transpose().context("behavior")
    }

    /// The pods a selector selects.
    pub(crate) fn pods(&self, selector: &str) -> Result<Vec<Arc<Facts>>> {
        let selector = Selector::parse(selector)?;
        let all = self.get("pods").and_then(Value::as_array);
        let mut selected = Vec::new();
        for raw in all.into_iter().flatten() {
            let pod = wire::pod(raw)?;
            if selector.matches(&pod.meta.labels) {
                selected.push(pod.facts);
            }
        }
        Ok(selected)
    }

    /// What the metrics APIs answer about a metric.
    pub(crate) fn reading(&self, metric: &Metric) -> Result<Reading, String> {
        let shown = |error: WireError| error.to_string();
        match metric {
            Metric::Resource {
                name, container, ..
            } => {
                let answer = self.answer("resource", None)?;
                let samples = wire::pod_metrics(answer, (name, container.as_deref()), UNDATED);
                samples.map(Reading::PerPod).map_err(shown)
            }
            Metric::Pods { metric, .. } => {
                let answer = self.answer("custom", Some(metric))?;
                let samples: Result<Vec<Sample>, _> = wire::metric_values(answer, UNDATED);
                samples.map(Reading::PerPod).map_err(shown)
            }
            Metric::Object { metric, .. } => {
                let answer = self.answer("custom", Some(metric))?;
                let value = wire::metric_value(answer, UNDATED);
                value
                    .map(|value| Reading::Single(value.milli))
                    .map_err(shown)
            }
            Metric::External { metric, .. } => {
                let answer = self.answer("external", Some(metric))?;
                let series = wire::external_values(answer, UNDATED).map_err(shown)?;
                let values = series.iter().map(|value| value.milli);
                Ok(Reading::Series(values.collect()))
            }
            Metric::Unknown { kind } => Err(format!("unknown metric source type {kind:?}")),
        }
    }

    /// The recorded answer of one of the three metrics APIs.
    fn answer(&self, api: &str, metric: Option<&MetricId>) -> Result<&'a Value, String> {
        let selector = metric.and_then(|metric| metric.selector.as_ref());
        if let Some(selector) = selector {
            check_selector(selector)?;
        }
        let apis = self.get("metrics").ok_or("no metrics are recorded")?;
        let answers = apis.get(api).ok_or("this API is not recorded")?;
        let answer = match metric {
            None => Some(answers),
            Some(metric) => {
                let named = |answer: &&Value| answer.get("metric") == Some(&json!(metric.name));
                answers.as_array().into_iter().flatten().find(named)
            }
        };
        let answer = answer.ok_or("this metric is not recorded")?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

/// The original turns a metric's selector into its text form before it asks.
fn check_selector(selector: &Value) -> Result<(), String> {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    let wire: LabelSelector =
        serde_json::from_value(selector.clone()).map_err(|error| error.to_string())?;
    Selector::try_from(&wire)
        .map(drop)
        .map_err(|error| error.to_string())
}

pub(crate) fn read<T: DeserializeOwned>(raw: Value) -> Result<T> {
    Ok(serde_json::from_value(raw)?)
}

pub(crate) fn integer(value: &Value) -> Result<i32> {
    match value.as_i64().map(i32::try_from) {
        Some(Ok(number)) => Ok(number),
        _ => bail!("{value} is no 32-bit integer"),
    }
}
