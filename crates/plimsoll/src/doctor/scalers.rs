//! The checks of the autoscalers there are.

use super::checks::{distinct, some};
use super::facts::{Facts, Workload};
use super::finding::Finding;
use serde_json::Value;
use std::collections::BTreeMap;

const CHECK: &str = "autoscalers";

/// Findings on the autoscalers.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let (scalers, workloads) = match (&facts.autoscalers, &facts.workloads) {
        (Ok(scalers), Ok(workloads)) => (scalers, workloads),
        (Err(why), _) | (_, Err(why)) => {
            let text = format!("cannot be checked: {why}");
            return vec![Finding::warn(CHECK, text, "run this as an administrator")];
        }
    };
    let scalers: Vec<Scaler<'_>> = scalers
        .iter()
        .map(|hpa| Scaler::of(hpa, workloads))
        .collect();
    let mut findings: Vec<Finding> = [
        missing_targets(&scalers),
        shared_targets(&scalers),
        missing_requests(&scalers),
        foreign_pods(&scalers, workloads),
    ]
    .into_iter()
    .flatten()
    .collect();
    if findings.is_empty() {
        let count = scalers.len();
        findings.push(Finding::ok(
            CHECK,
            format!("{count} found, nothing to object to"),
        ));
    }
    findings
}

/// An autoscaler with its target.
struct Scaler<'a> {
    /// `NAMESPACE/NAME`.
    key: String,
    /// `NAMESPACE/KIND/NAME` of the target.
    target: String,
    /// The target, if it is there; `None` also for kinds that are not looked at.
    workload: Option<&'a Workload>,
    /// Whether the target's kind is looked at.
    known_kind: bool,
    spec: &'a Value,
}

impl<'a> Scaler<'a> {
    fn of(hpa: &'a Value, workloads: &'a [Workload]) -> Self {
        let namespace = text(hpa, "/metadata/namespace");
        let kind = text(hpa, "/spec/scaleTargetRef/kind");
        let name = text(hpa, "/spec/scaleTargetRef/name");
        let workload = workloads
            .iter()
            .find(|w| w.kind == kind && w.name == name && w.namespace == namespace);
        Self {
            key: format!("{namespace}/{}", text(hpa, "/metadata/name")),
            target: format!("{namespace}/{kind}/{name}"),
            workload,
            known_kind: matches!(kind, "Deployment" | "StatefulSet" | "ReplicaSet"),
            spec: hpa.get("spec").unwrap_or(&Value::Null),
        }
    }

    /// Resources of whose requests a share is the target, with the container if only one counts.
    fn shares(&self) -> Vec<(&'a str, Option<&'a str>)> {
        let metrics = self.spec.get("metrics").and_then(Value::as_array);
        let shares = metrics.into_iter().flatten().filter_map(|metric| {
            let (source, container) = match text(metric, "/type") {
                "Resource" => (metric.get("resource")?, None),
                "ContainerResource" => {
                    let source = metric.get("containerResource")?;
                    (source, source.get("container").and_then(Value::as_str))
                }
                _ => return None,
            };
            let share = source.pointer("/target/averageUtilization").is_some();
            share.then(|| (text(source, "/name"), container))
        });
        shares.collect()
    }
}

fn missing_targets(scalers: &[Scaler<'_>]) -> Option<Finding> {
    let missing = scalers
        .iter()
        .filter(|scaler| scaler.known_kind && scaler.workload.is_none())
        .map(|scaler| format!("{} ({})", scaler.key, scaler.target));
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| {
        Finding::warn(
            CHECK,
            format!("have no target: {}", some(&missing)),
            "delete them, or correct scaleTargetRef",
        )
    })
}

fn shared_targets(scalers: &[Scaler<'_>]) -> Option<Finding> {
    let mut by_target: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for scaler in scalers {
        by_target
            .entry(&scaler.target)
            .or_default()
            .push(&scaler.key);
    }
    by_target.retain(|_, keys| keys.len() > 1);
    let shared = by_target
        .iter()
        .map(|(target, keys)| format!("{target} ({})", keys.join(", ")));
    let shared: Vec<String> = shared.collect();
    (!shared.is_empty()).then(|| {
        Finding::warn(
            CHECK,
            format!("several scale one target: {}", some(&shared)),
            "keep one for each target, with several metrics if need be",
        )
    })
}

fn missing_requests(scalers: &[Scaler<'_>]) -> Option<Finding> {
    let missing = scalers.iter().flat_map(|scaler| {
        let shares = scaler.shares().into_iter();
        shares.flat_map(move |(resource, only)| {
            let template = scaler.workload.map(|workload| &workload.template);
            let without = template.map(|template| without_request(template, resource, only));
            let without = without.unwrap_or_default().into_iter();
            without.map(move |container| format!("{} ({resource} of {container})", scaler.key))
        })
    });
    let missing = distinct(missing);
    (!missing.is_empty()).then(|| {
        Finding::warn(
            CHECK,
            format!(
                "aim at a share of requests that are missing: {}",
                some(&missing)
            ),
            "add the request to the container, or aim at an average value or at one container",
        )
    })
}

/// Containers that do not request the resource, unless the pod as a whole does.
fn without_request(template: &Value, resource: &str, only: Option<&str>) -> Vec<String> {
    let requests = |place: &Value| {
        let has = |list: &str| {
            place
                .pointer(&format!("/resources/{list}/{resource}"))
                .is_some()
        };
        // A limit alone is a request, too.
        has("requests") || has("limits")
    };
    let spec = template.get("spec").unwrap_or(&Value::Null);
    if only.is_none() && requests(spec) {
        return Vec::new();
    }
    let list = |name: &str| {
        spec.get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let sidecars = list("initContainers").filter(|c| text(c, "/restartPolicy") == "Always");
    list("containers")
        .chain(sidecars)
        .filter(|container| only.is_none_or(|only| text(container, "/name") == only))
        .filter(|container| !requests(container))
        .map(|container| text(container, "/name").to_owned())
        .collect()
}

/// Pods of one workload that another's autoscaler would count, too.
fn foreign_pods(scalers: &[Scaler<'_>], workloads: &[Workload]) -> Option<Finding> {
    let caught = scalers.iter().flat_map(|scaler| {
        let own = scaler.workload;
        let others = workloads.iter().filter(move |other| {
            own.is_some_and(|own| {
                own.namespace == other.namespace
                    && (own.kind, &own.name) != (other.kind, &other.name)
                    && selects(&own.selector, &other.template)
            })
        });
        others.map(|other| format!("{} (pods of {}/{})", scaler.key, other.kind, other.name))
    });
    let caught = distinct(caught);
    (!caught.is_empty()).then(|| {
        Finding::warn(
            CHECK,
            format!("count pods that are not their target's: {}", some(&caught)),
            "give the workloads labels of their own; pods are chosen by the target's selector",
        )
    })
}

/// Whether a workload's selector selects the pods of a template. One without requirements selects
/// nothing here, because no workload may have it.
fn selects(selector: &Value, template: &Value) -> bool {
    let label = |key: &str| {
        let labels = template.pointer("/metadata/labels");
        labels
            .and_then(|labels| labels.get(key))
            .and_then(Value::as_str)
    };
    let exact = selector.get("matchLabels").and_then(Value::as_object);
    let exact = exact
        .map(|map| map.iter().collect::<Vec<_>>())
        .unwrap_or_default();
    let terms = selector.get("matchExpressions").and_then(Value::as_array);
    let terms = terms.cloned().unwrap_or_default();
    if exact.is_empty() && terms.is_empty() {
        return false;
    }
    let matches = |term: &Value| {
        let found = label(text(term, "/key"));
        let values = term.get("values").and_then(Value::as_array);
        let listed = found.is_some_and(|found| {
            let mut values = values.into_iter().flatten();
            values.any(|value| value == found)
        });
        match text(term, "/operator") {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => found.is_some(),
            "DoesNotExist" => found.is_none(),
            _ => false,
        }
    };
    exact
        .iter()
        .all(|(key, value)| label(key).is_some_and(|found| **value == found))
        && terms.iter().all(matches)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}
