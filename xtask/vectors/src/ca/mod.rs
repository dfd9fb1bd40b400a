//! Scenarios of the cluster autoscaler: one file holds one family.

mod filters;
mod health;
mod options;
mod packing;
mod scale_up;
mod shrink;
mod similar;
mod spread;
mod templates;
pub(crate) mod wire;

use crate::differ::Outcome;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// One scenario: what is given, and what the original made of it.
#[derive(Clone, Copy)]
pub(crate) struct Scenario<'a> {
    pub(crate) given: &'a Value,
    pub(crate) expect: &'a Value,
}

impl<'a> Scenario<'a> {
    /// A field of what is given; null where it is absent.
    pub(crate) fn get(&self, key: &str) -> &'a Value {
        self.given.get(key).unwrap_or(&Value::Null)
    }

    /// The entries of a list that is given; none where it is absent.
    pub(crate) fn list(&self, key: &str) -> &'a [Value] {
        self.get(key).as_array().map_or(&[], Vec::as_slice)
    }

    /// Seconds or a count that is given.
    pub(crate) fn number(&self, key: &str) -> i64 {
        self.get(key).as_i64().unwrap_or(0)
    }
}

/// Runs one scenario of a family.
///
/// # Errors
/// Nobody knows the family, or the scenario cannot be read.
pub(crate) fn run(family: &str, raw: &Value) -> Result<Outcome> {
    let scenario = Scenario {
        given: raw.get("given").context("no given")?,
        expect: raw.get("expect").context("no expect")?,
    };
    match family {
        "balance" => spread::balance(scenario),
        "balance-quota" => spread::with_quota(scenario),
        "binpacking" => packing::estimate(scenario),
        "cluster-health" => health::run(scenario),
        "equivalence" => packing::equivalence(scenario),
        "estimate-limit" => packing::limit(scenario),
        "expander-least-nodes"
        | "expander-least-waste"
        | "expander-most-pods"
        | "expander-priority" => options::chain(family, scenario),
        "expander-price" => options::price(scenario),
        "fastpath" => packing::by_number(scenario),
        "pod-filter" => filters::run(scenario),
        "pod-order" => packing::order(scenario),
        "scale-up" => scale_up::run(scenario),
        "similar" => similar::run(scenario),
        "template" => Ok(templates::run(scenario)),
        other => match shrink::run(other, raw) {
            Some(outcome) => outcome,
            None => bail!("nobody plays the family {other:?}"),
        },
    }
}
