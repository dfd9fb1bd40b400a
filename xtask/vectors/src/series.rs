//! Passes one after another, each seeing what the last one left.

use crate::differ::Outcome;
use crate::input::{Vector, integer};
use crate::pass::{conditions, observed};
use anyhow::{Context, Result};
use jiff::SignedDuration;
use plimsoll_controllers::horizontal::wire;
use plimsoll_engine::horizontal::{Observed, Reading, Sample, Status, decide, render};
use serde_json::{Value, json};
use std::sync::Arc;

/// `trace`: a load that changes, with as many ready pods as the last pass asked for.
pub(crate) fn run(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    let mut hpa = vector.get("hpa").context("no hpa")?.clone();
    let scale = vector.input.pointer("/scale/object").context("no scale")?;
    let mut scale = wire::scale(scale);
    let mut memory = None;
    let mut outcome = Outcome::default();
    let steps = vector
        .get("steps")
        .and_then(Value::as_array)
        .context("no steps")?;
    let wanted = vector.expected.get("steps").and_then(Value::as_array);
    for (step, wanted) in steps.iter().zip(wanted.context("no expected steps")?) {
        let mut seen = observed(&vector, &hpa, scale.clone())?;
        let at = step.get("at").and_then(Value::as_i64).context("no time")?;
        seen.now += SignedDuration::from_secs(at);
        seen.memory = memory;
        let total = step.get("totalUsageMilli").and_then(Value::as_i64);
        add_pods(&mut seen, request(&vector)?, total.context("no usage")?)?;
        let decision = decide(&seen);
        outcome.trace.push(format!("at {at} s:"));
        outcome.trace.extend(render(&decision.trace));
        let status = &decision.status;
        let remembered = decision.memory.iter().flat_map(|m| &m.recommendations);
        let got = json!({
            "at": at,
            "currentReplicas": status.current_replicas,
            "desiredReplicas": status.desired_replicas,
            "utilizationPercent": utilization(status),
            "conditions": conditions(status, &seen.status),
            "recommendations": remembered.map(|r| r.replicas).collect::<Vec<i32>>(),
        });
        outcome.check_tree(&format!("at {at} s"), &got, wanted);
        if let Some(map) = hpa.as_object_mut() {
            map.insert("status".into(), json!(status));
        }
        scale.spec_replicas = decision.replicas;
        scale.status_replicas = decision.replicas;
        memory = decision.memory;
    }
    Ok(outcome)
}

fn request(vector: &Vector) -> Result<i64> {
    let request = vector
        .get("podRequestMilli")
        .context("no podRequestMilli")?;
    Ok(integer(request)?.into())
}

fn utilization(status: &Status) -> Value {
    let first = status.current_metrics.iter().flatten().next();
    let percent = first.and_then(|m| m.pointer("/resource/current/averageUtilization"));
    percent.cloned().unwrap_or_default()
}

/// Ready pods that share the load evenly.
fn add_pods(seen: &mut Observed, request: i64, total: i64) -> Result<()> {
    let count = seen.scale.as_ref().map_or(0, |scale| scale.spec_replicas);
    let long_ago = "1970-01-01T00:00:00Z";
    let mut samples = Vec::new();
    for index in 0..count {
        let name = format!("p{index}");
        let pod = wire::pod(&json!({
            "metadata": { "name": name },
            "spec": { "containers": [
                { "name": "c", "resources": { "requests": { "cpu": format!("{request}m") } } },
            ] },
            "status": { "phase": "Running", "startTime": long_ago, "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": long_ago },
            ] },
        }))?;
        samples.push(Sample {
            pod: Arc::clone(&pod.facts.name),
            value: total / i64::from(count),
            timestamp: seen.now,
            window: SignedDuration::from_secs(30),
        });
        seen.pods.push(pod.facts);
    }
    seen.readings = vec![Ok(Reading::PerPod(samples))];
    Ok(())
}
