//! What a `HorizontalPodAutoscaler` asks for, in the form of `autoscaling/v2`.

use super::limit::Range;
use super::milli;
use super::schedule::Schedule;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// The `spec` of an autoscaler, after the API server's defaulting.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// What is scaled.
    pub scale_target_ref: TargetRef,
    /// Lower bound; absent means 1.
    #[serde(default)]
    pub min_replicas: Option<i32>,
    /// Upper bound.
    pub max_replicas: i32,
    /// What is measured, in order.
    #[serde(default, deserialize_with = "null_as_default")]
    pub metrics: Vec<Metric>,
    /// How fast it may move. Absent and empty are different controllers.
    #[serde(default)]
    pub behavior: Option<Behavior>,
    /// When other bounds are in force; only a `PodAutoscaler` has any.
    #[serde(default, deserialize_with = "null_as_default")]
    pub schedules: Vec<Schedule>,
}

impl Spec {
    /// The bounds without any schedule.
    pub fn bounds(&self) -> Range {
        Range {
            min: self.min(),
            max: self.max_replicas,
        }
    }

    /// The lower bound.
    pub fn min(&self) -> i32 {
        self.min_replicas.unwrap_or(1)
    }

    /// Whether any metric can be read while no pod runs.
    pub fn has_outside_metric(&self) -> bool {
        self.metrics
            .iter()
            .any(|metric| matches!(metric, Metric::Object { .. } | Metric::External { .. }))
    }
}

/// A reference to a scalable object, or to the object a metric describes.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// `Deployment`.
    pub kind: String,
    /// `web`.
    pub name: String,
    /// `apps/v1`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
}

/// A named metric of the custom or external metrics API.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct MetricId {
    /// The metric's name.
    pub name: String,
    /// The label selector as written; not validated by the API server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<Value>,
}

/// Which number of a target counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum TargetKind {
    /// A percentage of the request.
    Utilization,
    /// A total.
    Value,
    /// An average per pod.
    AverageValue,
    /// None, or one nobody knows.
    #[default]
    #[serde(other)]
    Unset,
}

/// The number to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// The declared kind; not cross-checked against the numbers by the API server.
    #[serde(rename = "type", default)]
    pub kind: TargetKind,
    /// Percent of the request.
    #[serde(default)]
    pub average_utilization: Option<i32>,
    /// Thousandths per pod.
    #[serde(default, deserialize_with = "milli::deserialize_optional")]
    pub average_value: Option<i64>,
    /// Thousandths in total.
    #[serde(default, deserialize_with = "milli::deserialize_optional")]
    pub value: Option<i64>,
}

impl Target {
    /// Whether a number is set that nothing can be held at.
    pub(super) fn is_nonsense(&self) -> bool {
        let percent = self.average_utilization.map(i64::from);
        [percent, self.average_value, self.value]
            .into_iter()
            .flatten()
            .any(|number| number <= 0)
    }
}

/// One measured thing.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Value")]
pub enum Metric {
    /// A resource of the pods, or of one container in each.
    Resource {
        /// `cpu`, `memory` or an extended resource.
        name: Arc<str>,
        /// The container of a `ContainerResource` metric.
        container: Option<Arc<str>>,
        /// What to hold.
        target: Target,
    },
    /// A custom metric of each pod.
    Pods {
        /// Which metric.
        metric: MetricId,
        /// What to hold.
        target: Target,
    },
    /// A custom metric of one object.
    Object {
        /// Which object.
        described: TargetRef,
        /// Which metric.
        metric: MetricId,
        /// What to hold.
        target: Target,
    },
    /// A metric from outside the cluster.
    External {
        /// Which metric.
        metric: MetricId,
        /// What to hold.
        target: Target,
    },
    /// A source type nobody knows.
    Unknown {
        /// The type as written.
        kind: String,
    },
}

#[derive(Deserialize)]
struct PerPod {
    name: String,
    container: Option<String>,
    #[serde(default)]
    target: Target,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    #[serde(default)]
    metric: MetricId,
    #[serde(default)]
    described_object: TargetRef,
    #[serde(default)]
    target: Target,
}

impl TryFrom<Value> for Metric {
    type Error = serde_json::Error;

    fn try_from(raw: Value) -> Result<Self, serde_json::Error> {
        let kind = raw
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let body = |key: &str| raw.get(key).cloned().unwrap_or_default();
        Ok(match kind.as_str() {
            "Resource" | "ContainerResource" => {
                let key = if kind == "Resource" {
                    "resource"
                } else {
                    "containerResource"
                };
                let source: PerPod = serde_json::from_value(body(key))?;
                let container = if kind == "Resource" {
                    None
                } else {
                    source.container
                };
                Self::Resource {
                    name: source.name.into(),
                    container: container.map(Into::into),
                    target: source.target,
                }
            }
            "Pods" => {
                let source: Named = serde_json::from_value(body("pods"))?;
                Self::Pods {
                    metric: source.metric,
                    target: source.target,
                }
            }
            "Object" => {
                let source: Named = serde_json::from_value(body("object"))?;
                let described = source.described_object;
                Self::Object {
                    described,
                    metric: source.metric,
                    target: source.target,
                }
            }
            "External" => {
                let source: Named = serde_json::from_value(body("external"))?;
                Self::External {
                    metric: source.metric,
                    target: source.target,
                }
            }
            _ => Self::Unknown { kind },
        })
    }
}

/// How fast the replica count may move, per direction.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Behavior {
    /// Rules for growing.
    #[serde(default, deserialize_with = "null_as_default")]
    pub scale_up: Rules,
    /// Rules for shrinking.
    #[serde(default, deserialize_with = "null_as_default")]
    pub scale_down: Rules,
}

/// The rules of one direction.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rules {
    /// How far back recommendations are looked at, in seconds.
    #[serde(default)]
    pub stabilization_window_seconds: Option<i32>,
    /// Which policy wins.
    #[serde(default)]
    pub select_policy: Option<Select>,
    /// The policies.
    #[serde(default, deserialize_with = "null_as_default")]
    pub policies: Vec<Policy>,
    /// The tolerance in this direction, e.g. 0.1.
    #[serde(default, deserialize_with = "milli::deserialize_fraction")]
    pub tolerance: Option<f64>,
}

/// Which of several policies counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Select {
    /// The one that allows most.
    Max,
    /// The one that allows least.
    Min,
    /// None: no movement in this direction.
    Disabled,
}

/// The unit of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, Deserialize)]
pub enum PolicyKind {
    /// Pods.
    Pods,
    /// Percent of the count at the period's start.
    Percent,
}

/// `value` pods or percent per `period_seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The unit.
    #[serde(rename = "type")]
    pub kind: PolicyKind,
    /// How many.
    pub value: i32,
    /// Length of the sliding period, in seconds.
    pub period_seconds: i32,
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
