//! Families of expanders.

use super::{Scenario, wire};
use crate::differ::Outcome;
use anyhow::{Context, Result, bail};
use plimsoll_controllers::nodes::priorities;
use plimsoll_engine::cluster::{
    Candidate, Expander, ExpanderContext, GroupFacts, Preference, PriceInput, kept_by, price_score,
};
use plimsoll_engine::placement::Resources;
use serde_json::{Value, json};

/// An option of a scenario.
struct Known {
    group: GroupFacts,
    nodes: usize,
    pods: usize,
    requests: Resources,
}

fn known(scenario: Scenario<'_>) -> Result<Vec<Known>> {
    let read = |raw: &Value| {
        let number = |key: &str| {
            let number = raw.get(key).and_then(Value::as_u64).unwrap_or(0);
            usize::try_from(number)
        };
        let template = raw.get("template").filter(|template| !template.is_null());
        let template = template
            .map(|template| wire::template(template, &[]))
            .transpose()?;
        let mut group = wire::group(raw, template)?;
        group.exists = raw.get("exists").and_then(Value::as_bool).unwrap_or(true);
        let mut requests = Resources::default();
        let pods = raw.get("pods").and_then(Value::as_array);
        for pod in pods.into_iter().flatten() {
            requests.add(&wire::pod(pod)?.spec.requests);
        }
        Ok(Known {
            group,
            nodes: number("nodeCount")?,
            pods: number("podCount")?,
            requests,
        })
    };
    scenario.list("options").iter().map(read).collect()
}

pub(super) fn chain(family: &str, scenario: Scenario<'_>) -> Result<Outcome> {
    let known = known(scenario)?;
    let expander = match family {
        "expander-least-nodes" => Expander::LeastNodes,
        "expander-least-waste" => Expander::LeastWaste,
        "expander-most-pods" => Expander::MostPods,
        "expander-priority" => {
            let text = scenario.get("priorities").as_str().unwrap_or_default();
            let groups = known.iter().map(|option| &option.group.id);
            // A list that cannot be read names no group.
            let levels = priorities::parse(text).map(|list| priorities::levels(&list, groups));
            Expander::Priority(levels.unwrap_or_default())
        }
        other => bail!("nobody knows the expander of {other:?}"),
    };
    let options: Vec<Candidate<'_>> = known
        .iter()
        .map(|option| Candidate {
            group: &option.group,
            nodes: option.nodes,
            pods: option.pods,
            requests: &option.requests,
        })
        .collect();
    let (kept, notes) = kept_by(&expander, &options, ExpanderContext::default());
    let best = kept.into_iter().filter_map(|at| known.get(at));
    let mut outcome = Outcome {
        trace: notes,
        ..Outcome::default()
    };
    let best = wire::names(best.map(|option| &*option.group.id));
    outcome.check_given("best", best, scenario.expect);
    Ok(outcome)
}

/// The scenarios bring their own prices, by object.
pub(super) fn price(scenario: Scenario<'_>) -> Result<Outcome> {
    let priced = |list: &str, name: &str| {
        let price = scenario.get(list).get(name).and_then(Value::as_f64);
        price.with_context(|| format!("no {list} of {name}"))
    };
    let preferred = wire::template(scenario.get("preferredNode"), &[])?;
    let mut scored = Vec::new();
    for (option, raw) in known(scenario)?.iter().zip(scenario.list("options")) {
        let template = option.group.template.as_ref().context("no template")?;
        let mut pods = 0.0;
        for pod in raw
            .get("pods")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            pods += priced("podPrice", &wire::pod(pod)?.name)?;
        }
        let price = PriceInput {
            node: priced("nodePrice", &template.node.name)?,
            nodes: option.nodes,
            pods,
            stabilizer: priced("podPrice", "stabilize")?,
        };
        let preference = Preference {
            preferred_cpu: preferred.capacity.cpu_milli,
            cpu: template.capacity.cpu_milli,
            gpu: false,
            exists: option.group.exists,
        };
        scored.push((
            option.group.id.to_string(),
            price_score(&price, &preference),
        ));
    }
    let least = scored
        .iter()
        .map(|(_, score)| *score)
        .min_by(f64::total_cmp);
    let best = scored
        .iter()
        .filter(|(_, score)| least.is_some_and(|l| score.total_cmp(&l).is_eq()));
    let best: Vec<Value> = best.map(|(id, _)| json!(id)).collect();
    let trace = scored.iter().map(|(id, score)| format!("{id}: {score}"));
    let mut outcome = Outcome {
        trace: trace.collect(),
        ..Outcome::default()
    };
    outcome.check_given("best", best, scenario.expect);
    Ok(outcome)
}
