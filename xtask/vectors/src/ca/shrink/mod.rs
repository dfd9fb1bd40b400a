//! Scenarios of removal: which nodes are not needed, and which of them go.

mod budget;
mod drain;
mod facts;
mod going;
mod planner;
mod utilization;

use crate::differ::Outcome;
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::Value;

/// One scenario.
#[derive(Clone, Copy)]
pub(super) struct Scenario<'a> {
    /// What there is.
    pub(super) given: &'a Value,
    /// What upstream made of it.
    pub(super) expect: &'a Value,
}

impl<'a> Scenario<'a> {
    fn of(raw: &'a Value) -> Result<Self> {
        Ok(Self {
            given: raw.get("given").context("no given")?,
            expect: raw.get("expect").context("no expect")?,
        })
    }

    fn get(self, key: &str) -> Option<&'a Value> {
        self.given.get(key).filter(|value| !value.is_null())
    }

    fn list(self, key: &str) -> impl Iterator<Item = &'a Value> {
        let list = self.get(key).and_then(Value::as_array);
        list.into_iter().flatten()
    }

    fn flag(self, key: &str, default: bool) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(default)
    }

    fn count(self, key: &str) -> usize {
        let count = self.get(key).and_then(Value::as_u64).unwrap_or(0);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// The time; any where none is given.
    fn now(self) -> Result<Timestamp> {
        let now = self.get("now").and_then(Value::as_str);
        Ok(now.unwrap_or("2026-01-01T12:00:00Z").parse()?)
    }
}

/// Runs one scenario, if its family is about removal.
pub(super) fn run(family: &str, scenario: &Value) -> Option<Result<Outcome>> {
    let run: fn(Scenario<'_>) -> Result<Outcome> = match family {
        "utilization" => utilization::share,
        "eligibility" => utilization::eligibility,
        "drain-rule" => drain::rule,
        "drain" => drain::node,
        "pdb" => drain::budgets,
        "deletion-budget" => |scenario| Ok(budget::crop(scenario)),
        "removable-at" => going::removable_at,
        "nodes-to-delete" => going::nodes_to_delete,
        "node-removal" => planner::removal,
        "planner" => planner::look,
        _ => return None,
    };
    Some(Scenario::of(scenario).and_then(run))
}
