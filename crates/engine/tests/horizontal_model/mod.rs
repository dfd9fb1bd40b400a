//! The same decision a second time, written straight down from the rules of the reference and
//! sharing nothing with the engine but its input.

mod after;

use after::{bound_plain, bound_with, hold_plain, hold_with, remember_event};
use plimsoll_engine::horizontal::memory::Recommendation;
use plimsoll_engine::horizontal::pod::{Container, Facts};
use plimsoll_engine::horizontal::spec::{Metric, Target, TargetKind};
use plimsoll_engine::horizontal::{Memory, Observed, Reading, Sample};
use std::collections::BTreeMap;

/// What of a decision is compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    pub(crate) replicas: i32,
    pub(crate) write: Option<i32>,
    pub(crate) able: &'static str,
    pub(crate) active: Option<&'static str>,
    pub(crate) limited: Option<&'static str>,
    pub(crate) failed: bool,
    pub(crate) phrase: String,
    pub(crate) memory: Option<Memory>,
}

/// Decides by the book.
pub(crate) fn decide(seen: &Observed) -> Outcome {
    let mut out = Outcome {
        replicas: seen.status.desired_replicas,
        memory: seen.memory.clone(),
        ..Outcome::default()
    };
    let Ok(scale) = &seen.scale else {
        out.able = "FailedGetScale";
        out.failed = true;
        return out;
    };
    out.able = "SucceededGetScale";
    let current = scale.spec_replicas;
    let first = Recommendation {
        replicas: current,
        time: seen.now,
    };
    out.memory.get_or_insert_with(|| Memory {
        recommendations: vec![first],
        ..Memory::default()
    });
    let (min, max) = (seen.spec.min_replicas.unwrap_or(1), seen.spec.max_replicas);
    let wake = current == 0 && wakes(seen, min);
    if current == 0 && !wake {
        out.active = Some("ScalingDisabled");
        out.replicas = 0;
        return out;
    }
    let wanted = if current > max {
        out.phrase = "Current number of replicas above Spec.MaxReplicas".into();
        max
    } else if current < min && !wake {
        out.phrase = "Current number of replicas below Spec.MinReplicas".into();
        min
    } else {
        let Some(wanted) = by_metrics(seen, current, (min, max), &mut out) else {
            out.replicas = current;
            return out;
        };
        wanted
    };
    out.replicas = wanted;
    if wanted != current {
        out.able = "SucceededRescale";
        out.write = Some(wanted);
        remember_event(seen, &mut out, current, wanted);
    }
    out
}

fn wakes(seen: &Observed, min: i32) -> bool {
    let outside = seen
        .spec
        .metrics
        .iter()
        .any(|m| matches!(m, Metric::Object { .. } | Metric::External { .. }));
    let mark =
        |c: &plimsoll_engine::horizontal::Condition| c.kind == "ScaledToZero" && c.status == "True";
    let marked = seen.status.conditions.iter().any(mark);
    seen.settings.scale_to_zero && marked && (min > 0 || outside)
}

fn by_metrics(
    seen: &Observed,
    current: i32,
    (min, max): (i32, i32),
    out: &mut Outcome,
) -> Option<i32> {
    if !seen.rivals.is_empty() {
        out.active = Some("AmbiguousSelector");
        out.failed = true;
        return None;
    }
    let mut best: i32 = 0;
    let mut best_name = String::new();
    let mut failures = Vec::new();
    for (metric, reading) in seen.spec.metrics.iter().zip(&seen.readings) {
        match proposal(seen, metric, reading, current) {
            Some(count) => {
                if best == 0 || count > best {
                    (best, best_name) = (count, metric.proposal_name());
                }
            }
            None => failures.push(reason(metric)),
        }
    }
    out.failed = !failures.is_empty();
    if failures.len() == seen.spec.metrics.len() || (!failures.is_empty() && best < current) {
        out.active = failures.first().copied();
        return None;
    }
    out.active = Some("ValidMetricFound");
    let asked = if best > 0 { best } else { 0 };
    if asked > current {
        out.phrase = format!("{best_name} above target");
    } else if asked < current {
        out.phrase = "All metrics below target".into();
    }
    let memory = out.memory.get_or_insert_with(Memory::default);
    let wanted = match &seen.spec.behavior {
        None => {
            let (held, able) = hold_plain(seen, asked, memory);
            out.able = able;
            let (wanted, limited) = bound_plain(current, held, min, max);
            out.limited = Some(limited);
            wanted
        }
        Some(behavior) => {
            let (held, able) = hold_with(seen, behavior, current, asked, memory);
            out.able = able;
            let (wanted, limited) = bound_with(seen, behavior, memory, (current, held, min, max));
            out.limited = Some(limited);
            wanted
        }
    };
    if current == 0 && wanted < min {
        return Some(min);
    }
    Some(wanted)
}

fn reason(metric: &Metric) -> &'static str {
    match metric {
        Metric::Resource { container, .. } if container.is_none() => "FailedGetResourceMetric",
        Metric::Resource { .. } => "FailedGetContainerResourceMetric",
        Metric::Pods { .. } => "FailedGetPodsMetric",
        Metric::Object { .. } => "FailedGetObjectMetric",
        Metric::External { .. } => "FailedGetExternalMetric",
        Metric::Unknown { .. } => "InvalidMetricSourceType",
    }
}

fn proposal(
    seen: &Observed,
    metric: &Metric,
    reading: &Result<Reading, String>,
    current: i32,
) -> Option<i32> {
    let reading = reading.as_ref().ok()?;
    match (metric, reading) {
        (
            Metric::Resource {
                name,
                container,
                target,
            },
            Reading::PerPod(samples),
        ) => {
            let goal = match (target.average_value, target.average_utilization) {
                (Some(value), _) => PerPodGoal {
                    target: value,
                    of_request: None,
                    cpu: &**name == "cpu",
                },
                (None, Some(percent)) => PerPodGoal {
                    target: i64::from(percent),
                    of_request: Some((name, container.as_deref())),
                    cpu: &**name == "cpu",
                },
                (None, None) => return None,
            };
            per_pod(seen, samples, &goal, current)
        }
        (Metric::Pods { target, .. }, Reading::PerPod(samples)) => {
            let goal = PerPodGoal {
                target: target.average_value?,
                of_request: None,
                cpu: false,
            };
            per_pod(seen, samples, &goal, current)
        }
        (Metric::Object { target, .. }, Reading::Single(total)) => match target.kind {
            TargetKind::Value => by_value(seen, *total, target.value?, current),
            TargetKind::AverageValue => Some(by_average(seen, *total, target.average_value?)),
            TargetKind::Utilization | TargetKind::Unset => None,
        },
        (Metric::External { target, .. }, Reading::Series(series)) => {
            external(seen, series, target, current)
        }
        _ => None,
    }
}

fn external(seen: &Observed, series: &[i64], target: &Target, current: i32) -> Option<i32> {
    if series.is_empty() {
        return None;
    }
    if let Some(goal) = target.average_value {
        let mut sum: i64 = 0;
        for value in series {
            sum = sum.wrapping_add(*value);
            if sum < 0 {
                sum = i64::MAX;
                break;
            }
        }
        return Some(by_average(seen, sum, goal));
    }
    let sum: i128 = series.iter().map(|v| i128::from(*v)).sum();
    let sum = i64::try_from(sum).unwrap_or(i64::MAX);
    by_value(seen, sum, target.value?, current)
}

fn within(seen: &Observed, ratio: f64) -> bool {
    let (mut up, mut down) = (seen.settings.tolerance, seen.settings.tolerance);
    if let (Some(behavior), true) = (&seen.spec.behavior, seen.settings.configurable_tolerance) {
        up = behavior.scale_up.tolerance.unwrap_or(up);
        down = behavior.scale_down.tolerance.unwrap_or(down);
    }
    1.0 - down <= ratio && ratio <= 1.0 + up
}

fn capped(value: f64) -> i32 {
    if value >= 2_147_483_647.0 {
        i32::MAX
    } else {
        chopped(value)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked just before")]
fn chopped(value: f64) -> i32 {
    let whole = value.trunc();
    if (-2_147_483_648.0..=2_147_483_647.0).contains(&whole) {
        whole as i32
    } else {
        i32::MIN
    }
}

#[expect(clippy::cast_precision_loss, reason = "the rules divide doubles")]
fn real(value: i64) -> f64 {
    value as f64
}

fn real_count(value: usize) -> f64 {
    real(i64::try_from(value).unwrap())
}

fn by_value(seen: &Observed, total: i64, target: i64, current: i32) -> Option<i32> {
    let ratio = real(total) / real(target);
    if current == 0 {
        return Some(capped(ratio.ceil()));
    }
    if within(seen, ratio) {
        return Some(current);
    }
    if seen.pods.is_empty() {
        return None;
    }
    let ready = seen.pods.iter().filter(|pod| {
        pod.status.phase.as_deref() == Some("Running") && ready_status(pod) == Some("True")
    });
    Some(capped((ratio * real_count(ready.count())).ceil()))
}

fn by_average(seen: &Observed, total: i64, target: i64) -> i32 {
    let existing = seen.scale.as_ref().map_or(0, |scale| scale.status_replicas);
    let ratio = real(total) / (real(target) * f64::from(existing));
    if within(seen, ratio) {
        return existing;
    }
    capped((real(total) / real(target)).ceil())
}

fn ready_status(pod: &Facts) -> Option<&str> {
    let ready = pod.status.conditions.iter().find(|c| c.kind == "Ready")?;
    Some(&ready.status)
}

struct PerPodGoal<'a> {
    target: i64,
    /// Resource and container whose request the usage is measured against.
    of_request: Option<(&'a str, Option<&'a str>)>,
    cpu: bool,
}

fn per_pod(
    seen: &Observed,
    samples: &[Sample],
    goal: &PerPodGoal<'_>,
    current: i32,
) -> Option<i32> {
    if samples.is_empty() || seen.pods.is_empty() {
        return None;
    }
    let mut values: BTreeMap<String, i64> = BTreeMap::new();
    let mut requests: BTreeMap<String, i64> = BTreeMap::new();
    for sample in samples {
        values.insert(sample.pod.to_string(), sample.value);
    }
    let (mut ready, mut missing, mut unready, mut dropped) =
        (0, Vec::new(), Vec::new(), Vec::new());
    for pod in &seen.pods {
        let name = pod.name.to_string();
        let sample = samples.iter().rev().find(|s| s.pod == pod.name);
        match class(seen, pod, sample, goal.cpu) {
            "ignored" => dropped.push(name),
            "unready" => unready.push(name),
            "missing" => missing.push(name),
            _ => ready += 1,
        }
    }
    if let Some((resource, container)) = goal.of_request {
        for pod in &seen.pods {
            requests.insert(
                pod.name.to_string(),
                request(seen, pod, resource, container)?,
            );
        }
    }
    for name in dropped.iter().chain(&unready) {
        values.remove(name);
    }
    if values.is_empty() {
        return None;
    }
    let by_request = goal.of_request.is_some().then_some(&requests);
    let ratio = ratio_of(&values, by_request, goal.target)?;
    if missing.is_empty() && (unready.is_empty() || ratio <= 1.0) {
        if within(seen, ratio) {
            return Some(current);
        }
        return Some(capped((ratio * real_count(ready)).ceil()));
    }
    assume(
        &mut values,
        (ratio, goal.target),
        by_request,
        (&missing, &unready),
    );
    let second = ratio_of(&values, by_request, goal.target)?;
    if within(seen, second) || (ratio < 1.0 && second > 1.0) || (ratio > 1.0 && second < 1.0) {
        return Some(current);
    }
    let count = capped((second * real_count(values.len())).ceil());
    if (second < 1.0 && count > current) || (second > 1.0 && count < current) {
        return Some(current);
    }
    Some(count)
}

fn assume(
    values: &mut BTreeMap<String, i64>,
    (ratio, target): (f64, i64),
    by_request: Option<&BTreeMap<String, i64>>,
    (missing, unready): (&[String], &[String]),
) {
    if ratio < 1.0 {
        for name in missing {
            let assumed = match by_request {
                Some(requests) => requests[name] * target.max(100) / 100,
                None => target,
            };
            values.insert(name.clone(), assumed);
        }
    } else if ratio > 1.0 {
        for name in missing.iter().chain(unready) {
            values.insert(name.clone(), 0);
        }
    }
}

fn ratio_of(
    values: &BTreeMap<String, i64>,
    requests: Option<&BTreeMap<String, i64>>,
    target: i64,
) -> Option<f64> {
    let Some(requests) = requests else {
        let sum: i64 = values.values().sum();
        let average = sum / i64::try_from(values.len()).unwrap();
        return Some(real(average) / real(target));
    };
    let (mut used, mut requested) = (0, 0);
    for (name, value) in values {
        if let Some(request) = requests.get(name) {
            used += value;
            requested += request;
        }
    }
    if requested == 0 {
        return None;
    }
    Some(real(used * 100 / requested) / real(target))
}

fn class(seen: &Observed, pod: &Facts, sample: Option<&Sample>, cpu: bool) -> &'static str {
    let phase = pod.status.phase.as_deref().unwrap_or("");
    if pod.deleting || phase == "Failed" {
        return "ignored";
    }
    if phase == "Pending" {
        return "unready";
    }
    let Some(sample) = sample else {
        return "missing";
    };
    if !cpu {
        return "ready";
    }
    let ready = pod.status.conditions.iter().find(|c| c.kind == "Ready");
    let (Some(ready), Some(start)) = (ready, pod.status.start_time) else {
        return "unready";
    };
    let flipped = ready.last_transition_time.unwrap();
    let starting = if start + seen.settings.cpu_initialization > seen.now {
        ready.status == "False" || sample.timestamp < flipped + sample.window
    } else {
        ready.status == "False" && start + seen.settings.readiness_delay > flipped
    };
    if starting { "unready" } else { "ready" }
}

fn request(seen: &Observed, pod: &Facts, resource: &str, container: Option<&str>) -> Option<i64> {
    let of = |c: &Container| {
        let found = c
            .resources
            .requests
            .0
            .iter()
            .find(|(name, _)| &**name == resource);
        found.map(|(_, amount)| *amount)
    };
    let sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
    let mut lasting: Vec<&Container> = pod.spec.containers.iter().collect();
    lasting.extend(pod.spec.init_containers.iter().filter(sidecar));
    if let Some(wanted) = container {
        return of(lasting.into_iter().find(|c| &*c.name == wanted)?);
    }
    let own = &pod.spec.resources.requests.0;
    if seen.settings.pod_level_resources && !own.is_empty() {
        let own = own
            .iter()
            .find(|(name, _)| &**name == resource)
            .map(|(_, amount)| *amount);
        return own.or_else(|| lasting.iter().filter_map(|c| of(c)).reduce(|a, b| a + b));
    }
    let each: Option<Vec<i64>> = lasting.into_iter().map(of).collect();
    Some(each?.into_iter().sum())
}
