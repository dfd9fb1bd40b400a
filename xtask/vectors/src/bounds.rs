//! Stabilisation, limits and the memory of changes, each on its own.

use crate::differ::Outcome;
use crate::input::Vector;
use anyhow::{Result, bail};
use plimsoll_engine::horizontal::limit::{self, Range};
use plimsoll_engine::horizontal::memory::change_within;
use plimsoll_engine::horizontal::{Step, render, stabilize};
use serde_json::{Value, json};

/// `clamp` and `rate-limit`: how far the count may move.
pub(crate) fn limited(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    let range = Range {
        min: vector.number("minReplicas")?,
        max: vector.number("maxReplicas")?,
    };
    let current = vector.number("currentReplicas")?;
    let wanted = vector.number("desiredReplicas")?;
    let step = match vector.behavior()? {
        None => limit::without_behavior(current, wanted, range),
        Some(behavior) => {
            let memory = vector.memory()?;
            let rules = (&behavior, &memory);
            limit::with_behavior(current, wanted, range, rules, vector.now()?)
        }
    };
    let Step::Limited {
        reason, replicas, ..
    } = &step
    else {
        bail!("a limit is a step of its own kind");
    };
    let (reason, replicas) = (reason.reason(), *replicas);
    let mut outcome = shown(step);
    outcome.check_given("desiredReplicas", replicas, vector.expected);
    outcome.check_given("reason", reason, vector.expected);
    Ok(outcome)
}

/// `stabilize-*`: what recent recommendations make of a new one.
pub(crate) fn stabilized(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    let mut memory = vector.memory()?;
    let (settings, now) = (vector.settings(), vector.now()?);
    let current = vector.number("currentReplicas")?;
    let wanted = vector.number("desiredReplicas")?;
    let step = match vector.behavior()? {
        None => stabilize::without_behavior(wanted, &mut memory, &settings, now),
        Some(behavior) => {
            let counts = (current, wanted);
            stabilize::with_behavior(counts, &mut memory, &behavior, &settings, now)
        }
    };
    let Step::Stabilized { replicas, .. } = step else {
        bail!("a stabilisation is a step of its own kind");
    };
    let mut outcome = shown(step);
    outcome.check_given("desiredReplicas", replicas, vector.expected);
    outcome.check_given("historyAfter", json!(memory), vector.expected);
    Ok(outcome)
}

/// `store-event`: what is remembered of a change.
pub(crate) fn stored(raw: &Value) -> Result<Outcome> {
    let vector = Vector::of(raw)?;
    let mut memory = vector.memory()?;
    let (from, to) = (
        vector.number("prevReplicas")?,
        vector.number("newReplicas")?,
    );
    let events = if to > from {
        &memory.scale_up_events
    } else {
        &memory.scale_down_events
    };
    let now = vector.now()?;
    let change = change_within(events, vector.number("periodSeconds")?, now);
    memory.record_scale(vector.behavior()?.as_ref(), from, to, now);
    let mut outcome = Outcome::default();
    outcome.check_given("historyAfter", json!(memory), vector.expected);
    outcome.check_given("changeInPeriod", change, vector.expected);
    Ok(outcome)
}

fn shown(step: Step) -> Outcome {
    Outcome {
        trace: render(&[step]),
        ..Outcome::default()
    }
}
