//! One metric of the spec: its reading, its proposal, its names and its place in the status.

use super::milli::{self, Suffixes};
use super::observed::{Observed, Reading};
use super::per_pod::{Answer, Goal, Question};
use super::spec::{Metric, MetricId, Target, TargetKind};
use super::status::{Current, MetricBody};
use super::tolerance::Band;
use super::total;
use super::trace::Step;
use serde_json::{Map, Value};

/// A metric's proposal.
#[derive(Debug, Clone)]
pub(super) struct Proposal {
    pub(super) name: String,
    pub(super) replicas: i32,
    pub(super) status: Value,
}

/// Why a metric gives no proposal.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// Reason of the condition and of the event.
    pub(super) reason: &'static str,
    /// What went wrong.
    pub(super) error: String,
    /// The same with the metric named, as the pass reports it.
    pub(super) outer: String,
}

impl Metric {
    /// The name that messages and events use.
    pub fn proposal_name(&self) -> String {
        match self {
            Self::Resource {
                name,
                container,
                target,
            } if target.average_value.is_none() => {
                let of = if container.is_some() {
                    "container resource"
                } else {
                    "resource"
                };
                format!("{name} {of} utilization (percentage of request)")
            }
            Self::Resource { name, .. } => format!("{name} resource"),
            Self::Pods { metric, .. } => format!("pods metric {}", metric.name),
            Self::Object {
                metric,
                described,
                target,
            } => match target.kind {
                TargetKind::AverageValue => outside_name(metric),
                TargetKind::Value | TargetKind::Utilization | TargetKind::Unset => {
                    format!("{} metric {}", described.kind, metric.name)
                }
            },
            Self::External { metric, .. } => outside_name(metric),
            Self::Unknown { kind } => kind.clone(),
        }
    }

    /// The reason of a failure, for the condition and the event.
    pub fn failure_reason(&self) -> &'static str {
        match self {
            Self::Resource {
                container: None, ..
            } => "FailedGetResourceMetric",
            Self::Resource { .. } => "FailedGetContainerResourceMetric",
            Self::Pods { .. } => "FailedGetPodsMetric",
            Self::Object { .. } => "FailedGetObjectMetric",
            Self::External { .. } => "FailedGetExternalMetric",
            Self::Unknown { .. } => "InvalidMetricSourceType",
        }
    }

    fn target(&self) -> Option<&Target> {
        match self {
            Self::Resource { target, .. }
            | Self::Pods { target, .. }
            | Self::Object { target, .. }
            | Self::External { target, .. } => Some(target),
            Self::Unknown { .. } => None,
        }
    }

    fn outer(&self, error: &str) -> String {
        match self {
            Self::Resource {
                name,
                container: None,
                ..
            } => {
                format!("failed to get {name} resource metric value: {error}")
            }
            Self::Resource { name, .. } => {
                format!("failed to get {name} container metric value: {error}")
            }
            Self::Pods { .. } => format!("failed to get pods metric value: {error}"),
            Self::Object { .. } => format!("failed to get object metric value: {error}"),
            Self::External { metric, .. } => {
                format!(
                    "failed to get {} external metric value: {error}",
                    metric.name
                )
            }
            Self::Unknown { .. } => error.to_owned(),
        }
    }

    /// Computes the proposal of the metric at `index`.
    pub(super) fn propose(
        &self,
        index: usize,
        observed: &Observed,
        current: i32,
        trace: &mut Vec<Step>,
    ) -> Result<Proposal, Failure> {
        let name = self.proposal_name();
        trace.push(Step::Metric {
            index,
            name: name.clone(),
        });
        match self.answer(index, observed, current, trace) {
            Ok(answer) => {
                let status = self.status(&answer);
                Ok(Proposal {
                    name,
                    replicas: answer.replicas,
                    status,
                })
            }
            Err(error) => {
                trace.push(Step::Failed {
                    error: error.clone(),
                });
                let outer = self.outer(&error);
                Err(Failure {
                    reason: self.failure_reason(),
                    error,
                    outer,
                })
            }
        }
    }

    /// The metric's answer from the reading at `index`.
    pub(super) fn answer(
        &self,
        index: usize,
        observed: &Observed,
        current: i32,
        trace: &mut Vec<Step>,
    ) -> Result<Answer, String> {
        // Departs: the API refuses such targets, but what it stored once is read for ever.
        if self.target().is_some_and(Target::is_nonsense) {
            return Err("the target is not greater than zero".into());
        }
        let none = Err("no reading".to_owned());
        let reading = observed.readings.get(index).unwrap_or(&none);
        let band = Band::of(&observed.spec, &observed.settings);
        let ask = |goal| Question {
            observed,
            goal,
            band,
            current,
        };
        match self {
            Self::Resource {
                name,
                container,
                target,
            } => {
                let (goal, what) = resource_goal(name, container.as_deref(), target)?;
                per_pod(reading)
                    .map_err(|e| format!("unable to get metrics for resource {name}: {e}"))
                    .and_then(|samples| ask(goal).answer(samples, trace))
                    .map_err(|error| format!("failed to get {name} {what}: {error}"))
            }
            Self::Pods { metric, target } => {
                let milli = target
                    .average_value
                    .ok_or("no target average value was set")?;
                let samples = per_pod(reading)
                    .map_err(|e| format!("unable to get metric {}: {e}", metric.name))?;
                ask(Goal::Average {
                    resource: None,
                    milli,
                })
                .answer(samples, trace)
            }
            Self::Object {
                described,
                metric,
                target,
            } => {
                let value = single(reading).map_err(|e| {
                    let (kind, ns, of) = (&described.kind, &observed.namespace, &described.name);
                    format!(
                        "unable to get metric {}: {kind} on {ns} {of}/{e}",
                        metric.name
                    )
                })?;
                object_answer(value, target, &ask(NO_GOAL), trace)
            }
            Self::External { metric, target } => {
                let series = series(reading).map_err(|e| {
                    let (ns, name) = (&observed.namespace, &metric.name);
                    let selector = debug_selector(metric);
                    format!("unable to get external metric {ns}/{name}/{selector}: {e}")
                })?;
                external_answer(series, target, &ask(NO_GOAL), trace)
            }
            Self::Unknown { kind } => Err(format!("unknown metric source type {kind:?}")),
        }
    }

    fn status(&self, answer: &Answer) -> Value {
        let current = self.current(answer);
        let (key, kind, body) = match self {
            Self::Resource {
                name,
                container: None,
                ..
            } => (
                "resource",
                "Resource",
                body(Some(name), None, current, None),
            ),
            Self::Resource {
                name, container, ..
            } => {
                let body = body(Some(name), None, current, container.as_deref());
                ("containerResource", "ContainerResource", body)
            }
            Self::Pods { metric, .. } => ("pods", "Pods", body(None, Some(metric), current, None)),
            Self::Object {
                metric, described, ..
            } => {
                let body = body(None, Some(metric), current, None);
                (
                    "object",
                    "Object",
                    MetricBody {
                        described_object: Some(described),
                        ..body
                    },
                )
            }
            Self::External { metric, .. } => (
                "external",
                "External",
                body(None, Some(metric), current, None),
            ),
            Self::Unknown { .. } => return placeholder(),
        };
        let mut status = Map::new();
        status.insert("type".into(), kind.into());
        status.insert(key.into(), serde_json::to_value(body).unwrap_or_default());
        Value::Object(status)
    }

    /// What the metric shows: an average, with its percentage, or a total.
    fn current(&self, answer: &Answer) -> Current {
        let suffixes = match self {
            Self::Resource { name, .. } => Suffixes::of_resource(name),
            Self::Pods { .. }
            | Self::Object { .. }
            | Self::External { .. }
            | Self::Unknown { .. } => Suffixes::Decimal,
        };
        let shown = Some(milli::format(answer.value, suffixes));
        let is_total = match self {
            Self::Object { target, .. } => target.kind != TargetKind::AverageValue,
            Self::External { target, .. } => target.average_value.is_none(),
            Self::Resource { .. } | Self::Pods { .. } | Self::Unknown { .. } => false,
        };
        if is_total {
            return Current {
                value: shown,
                ..Current::default()
            };
        }
        Current {
            average_value: shown,
            average_utilization: answer.utilization,
            value: None,
        }
    }
}

/// Totals carry their target themselves.
const NO_GOAL: Goal<'static> = Goal::Average {
    resource: None,
    milli: 0,
};

fn object_answer(
    value: i64,
    target: &Target,
    question: &Question<'_>,
    trace: &mut Vec<Step>,
) -> Result<Answer, String> {
    match (target.kind, target.value, target.average_value) {
        (TargetKind::Value, Some(goal), _) => question.by_value(value, goal, trace),
        (TargetKind::AverageValue, _, Some(goal)) => Ok(question.by_average(value, goal, trace)),
        _ => Err(
            "invalid object metric source: neither a value target nor an average value \
                  target was set"
                .into(),
        ),
    }
}

fn external_answer(
    series: &[i64],
    target: &Target,
    question: &Question<'_>,
    trace: &mut Vec<Step>,
) -> Result<Answer, String> {
    match (target.average_value, target.value) {
        (Some(goal), _) => Ok(question.by_average(total::sum(series), goal, trace)),
        (None, Some(goal)) => question.by_value(total::capped_sum(series), goal, trace),
        (None, None) => Err(
            "invalid external metric source: neither a value target nor an \
                             average value target was set"
                .into(),
        ),
    }
}

/// What a metric that failed leaves in the status.
pub(super) fn placeholder() -> Value {
    serde_json::json!({ "type": "" })
}

fn body<'a>(
    name: Option<&'a str>,
    metric: Option<&'a MetricId>,
    current: Current,
    container: Option<&'a str>,
) -> MetricBody<'a> {
    MetricBody {
        name,
        metric,
        current,
        container,
        described_object: None,
    }
}

fn resource_goal<'a>(
    resource: &'a str,
    container: Option<&'a str>,
    target: &Target,
) -> Result<(Goal<'a>, &'static str), String> {
    if let Some(milli) = target.average_value {
        return Ok((
            Goal::Average {
                resource: Some(resource),
                milli,
            },
            "usage",
        ));
    }
    let percent = target.average_utilization.ok_or(
        "invalid resource metric source: neither an average utilization target nor an average \
         value (usage) target was set",
    )?;
    Ok((
        Goal::Utilization {
            resource,
            container,
            percent,
        },
        "utilization",
    ))
}

/// The values by pod. An answer without any item is an error of the reading; one whose items say
/// nothing of the metric is a list without samples.
fn per_pod(reading: &Result<Reading, String>) -> Result<&[super::observed::Sample], String> {
    match reading {
        Ok(Reading::PerPod(samples)) => Ok(samples),
        Ok(Reading::Single(_) | Reading::Series(_)) => Err("the reading is not per pod".into()),
        Err(error) => Err(error.clone()),
    }
}

fn single(reading: &Result<Reading, String>) -> Result<i64, String> {
    match reading {
        Ok(Reading::Single(value)) => Ok(*value),
        Ok(Reading::PerPod(_) | Reading::Series(_)) => {
            Err("the reading is not a single value".into())
        }
        Err(error) => Err(error.clone()),
    }
}

fn series(reading: &Result<Reading, String>) -> Result<&[i64], String> {
    match reading {
        Ok(Reading::Series(values)) if values.is_empty() => {
            Err("no metrics returned from external metrics API".into())
        }
        Ok(Reading::Series(values)) => Ok(values),
        Ok(Reading::PerPod(_) | Reading::Single(_)) => Err("the reading is not a series".into()),
        Err(error) => Err(error.clone()),
    }
}

fn outside_name(metric: &MetricId) -> String {
    format!(
        "external metric {}({})",
        metric.name,
        debug_selector(metric)
    )
}

/// The selector in the original's debug form; `nil` without one.
fn debug_selector(metric: &MetricId) -> String {
    let Some(selector) = metric.selector.as_ref().filter(|s| !s.is_null()) else {
        return "nil".into();
    };
    let labels: std::collections::BTreeMap<&str, &str> = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
        .collect();
    let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}: {v},")).collect();
    let labels = labels.concat();
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    let expressions: Vec<String> = expressions
        .into_iter()
        .flatten()
        .map(|requirement| {
            let text = |key| {
                requirement
                    .get(key)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
            };
            let values = requirement.get("values").and_then(Value::as_array);
            let values: Vec<&str> = values
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let (key, operator, values) = (text("key"), text("operator"), values.join(" "));
            format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
        })
        .collect();
    let expressions = expressions.concat();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
