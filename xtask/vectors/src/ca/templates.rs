//! Family `template`.

use super::{Scenario, wire};
use crate::differ::Outcome;
use plimsoll_engine::cluster::TaintRules;
use serde_json::Value;

pub(super) fn run(scenario: Scenario<'_>) -> Outcome {
    let texts = |key: &str| {
        let texts = scenario.list(key).iter().filter_map(Value::as_str);
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let rules = TaintRules {
        startup: texts("startupTaints"),
        status: texts("statusTaints"),
        status_prefixes: texts("statusTaintPrefixes"),
        ..TaintRules::default()
    };
    let taints = texts("nodeTaints");
    let kept = taints.iter().filter(|key| rules.is_lasting(key));
    let mut outcome = Outcome::default();
    let kept = wire::names(kept.map(String::as_str));
    outcome.check_given("kept", kept, scenario.expect);
    outcome
}
