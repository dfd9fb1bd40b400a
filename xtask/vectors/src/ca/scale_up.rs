//! Family `scale-up`: whole looks at pending pods.

use super::{Scenario, wire};
use crate::differ::Outcome;
use anyhow::{Context, Result};
use plimsoll_engine::cluster::{
    CLUSTER_WIDE, ClusterNode, Expander, GroupFacts, GrowthInput, GrowthOptions, GrowthOutcome,
    GrowthPlan, NoHelp, PodVerdict, Quota, Similarity, grow,
};
use plimsoll_engine::placement::{LabelSelector, NodeFacts, Operator, Requirement};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The label by which scenarios tell nodes of groups apart; no label of a machine.
const GROUP_LABEL: &str = "ng";

pub(super) fn run(scenario: Scenario<'_>) -> Result<Outcome> {
    let nodes = scenario.list("nodes");
    let mut snapshot = wire::snapshot(nodes, scenario.list("pods"))?;
    // The scenarios begin after the pods were tried on the nodes there are.
    let there: Vec<NodeFacts> = snapshot.nodes().map(|state| state.facts.clone()).collect();
    for facts in there {
        snapshot.set_node(NodeFacts {
            unschedulable: true,
            ..facts
        });
    }
    let groups = groups(scenario)?;
    let existing = existing(scenario)?;
    let pending = wire::all_pending(scenario.list("pendingPods"))?;
    let options = options(scenario)?;
    let plan = grow(GrowthInput {
        snapshot: &mut snapshot,
        groups: &groups,
        pending: &pending,
        existing: &existing,
        upcoming: &BTreeMap::new(),
        skipped: &BTreeMap::new(),
        options: &options,
        now: wire::now(scenario.given)?,
        tie: 0,
    });
    let mut outcome = Outcome::default();
    outcome.trace.clone_from(&plan.trace);
    compare(&mut outcome, &plan, scenario);
    compare_sizes(&mut outcome, &plan, (&groups, scenario));
    Ok(outcome)
}

fn groups(scenario: Scenario<'_>) -> Result<Vec<GroupFacts>> {
    let named = |name: &str| {
        let mut nodes = scenario.list("nodes").iter();
        nodes.find(|node| node.pointer("/metadata/name").and_then(Value::as_str) == Some(name))
    };
    let atomic = flag(scenario, "zeroOrMaxNodeScaling");
    let mut groups = Vec::new();
    for raw in scenario.list("nodeGroups") {
        let id = raw
            .get("id")
            .and_then(Value::as_str)
            .context("a group without id")?;
        let own = raw.get("template").filter(|template| !template.is_null());
        let labelled = || {
            let mut nodes = scenario.list("nodes").iter();
            nodes.find(|node| node.pointer("/metadata/labels/ng") == Some(&json!(id)))
        };
        let first = raw
            .pointer("/nodes/0")
            .and_then(Value::as_str)
            .and_then(named);
        let example = own.or(first).or_else(labelled);
        let template = example.map(|node| wire::template(node, &[])).transpose()?;
        let mut group = wire::group(raw, template)?;
        // Only groups made with options of their own, which are those made of a machine type.
        group.options.zero_or_max_node_scaling =
            atomic && scenario.get("machineTypes").get(id).is_some();
        groups.push(group);
    }
    Ok(groups)
}

fn existing(scenario: Scenario<'_>) -> Result<Vec<ClusterNode>> {
    let now = wire::now(scenario.given)?;
    let nodes = scenario.list("nodes").iter().map(|node| {
        let group = node.pointer("/metadata/labels/ng").and_then(Value::as_str);
        let facts = wire::cluster_node(node, group.unwrap_or_default(), now)?;
        Ok(wire::working(facts))
    });
    nodes.collect()
}

fn flag(scenario: Scenario<'_>, key: &str) -> bool {
    let flag = scenario.get("options").get(key).and_then(Value::as_bool);
    flag.unwrap_or_default()
}

fn options(scenario: Scenario<'_>) -> Result<GrowthOptions> {
    let given = scenario.get("options");
    let number = |key: &str| given.get(key).and_then(Value::as_i64);
    let mut quotas = Vec::new();
    let totals = [
        ("cpu", number("maxCoresTotal").map(|cores| cores * 1000)),
        ("memory", number("maxMemoryTotal")),
    ];
    let totals = totals
        .into_iter()
        .filter_map(|(name, most)| Some((name.to_owned(), most?)));
    quotas.push(Quota {
        id: CLUSTER_WIDE.to_owned(),
        selector: LabelSelector::default(),
        limits: totals.collect(),
    });
    for raw in scenario.list("quotas") {
        quotas.push(quota(raw)?);
    }
    let balance = flag(scenario, "balanceSimilarNodeGroups").then(|| {
        let mut similarity = Similarity::default();
        similarity.ignored_labels.insert(GROUP_LABEL.to_owned());
        similarity
    });
    let picked = scenario
        .get("expanderPicks")
        .get("group")
        .and_then(Value::as_str);
    let most = number("maxNodesTotal").filter(|most| *most > 0);
    Ok(GrowthOptions {
        expanders: match picked {
            Some(group) => vec![Expander::Chosen(vec![group.into()])],
            None => vec![Expander::LeastWaste],
        },
        max_nodes_total: most.map(usize::try_from).transpose()?,
        quotas,
        balance,
        rounds: Some(1),
        all_or_nothing: scenario.get("allOrNothing").as_bool().unwrap_or_default(),
        ..GrowthOptions::default()
    })
}

fn quota(raw: &Value) -> Result<Quota> {
    // One value, or a list of them.
    let requirement = |(key, value): (&String, &Value)| {
        let list = value.as_array().map(Vec::as_slice);
        let each = list.unwrap_or(std::slice::from_ref(value)).iter();
        Requirement {
            key: key.clone(),
            operator: Operator::In,
            values: each.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    };
    let selector = raw.get("selector").and_then(Value::as_object);
    let selector = selector.into_iter().flatten();
    let limits = raw
        .get("limits")
        .and_then(Value::as_object)
        .context("a quota without limits")?;
    let limit = |(name, most): (&String, &Value)| {
        let each = if name == "cpu" { 1000 } else { 1 };
        (name.clone(), most.as_i64().unwrap_or(0) * each)
    };
    let id = raw
        .get("id")
        .and_then(Value::as_str)
        .context("a quota without id")?;
    Ok(Quota {
        id: id.to_owned(),
        selector: LabelSelector {
            requirements: selector.map(requirement).collect(),
        },
        limits: limits.iter().map(limit).collect(),
    })
}

/// How many resizes the provider is asked for: one that fails ends the others, unless they run at
/// the same time.
fn attempts(plan: &GrowthPlan, scenario: Scenario<'_>) -> usize {
    let all = plan.resizes.len();
    if flag(scenario, "parallelScaleUp") {
        all
    } else {
        all.min(1)
    }
}

fn compare(outcome: &mut Outcome, plan: &GrowthPlan, scenario: Scenario<'_>) {
    let expect = scenario.expect;
    let fails = scenario.get("providerFails").is_string();
    let grows = plan.outcome == GrowthOutcome::Successful;
    let result = if grows && fails {
        "Error".to_owned()
    } else {
        format!("{:?}", plan.outcome)
    };
    outcome.check_given("result", result, expect);
    let of = |is: fn(&PodVerdict) -> bool| {
        let pods = plan.pods.iter().filter(|(_, verdict)| is(verdict));
        let mut names: Vec<&str> = pods.map(|(key, _)| &*key.name).collect();
        names.sort_unstable();
        names
    };
    let sorted = |key: &str| {
        let names = expect.get(key).and_then(Value::as_array);
        let mut names: Vec<&str> = names
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        names.sort_unstable();
        names
    };
    let triggered = of(|verdict| matches!(verdict, PodVerdict::Triggered(_)));
    let mut rest = of(|verdict| matches!(verdict, PodVerdict::Unschedulable(_)));
    if fails {
        rest.clone_from(&triggered);
        outcome.check_given("resizeAttempts", attempts(plan, scenario), expect);
    }
    let awaiting = of(|verdict| matches!(verdict, PodVerdict::AwaitsEvaluation));
    let lists = [
        ("podsTriggered", triggered),
        ("podsRemainUnschedulable", rest),
        ("podsAwaitEvaluation", awaiting),
    ];
    for (key, got) in &lists {
        if expect.get(key).is_some() {
            outcome.check(*key, json!(got), &json!(sorted(key)));
        }
    }
    if expect.get("reasonPhrases").is_some() {
        outcome.check(
            "reasonPhrases",
            json!(phrases(plan)),
            &json!(sorted("reasonPhrases")),
        );
    }
    let events = match (fails, grows) {
        (true, _) => json!([]),
        (false, true) => json!(["TriggeredScaleUp"]),
        (false, false) => json!(["NotTriggerScaleUp"]),
    };
    outcome.check_given("podEventReasons", events, expect);
}

fn phrases(plan: &GrowthPlan) -> Vec<String> {
    let mut phrases = BTreeSet::new();
    for verdict in plan.pods.values() {
        if let PodVerdict::Unschedulable(groups) = verdict {
            phrases.extend(groups.values().flat_map(NoHelp::phrases));
        }
    }
    phrases.into_iter().collect()
}

fn compare_sizes(outcome: &mut Outcome, plan: &GrowthPlan, of: (&[GroupFacts], Scenario<'_>)) {
    let (groups, scenario) = of;
    let expect = scenario.expect;
    let mut options: Vec<(&str, usize)> = plan
        .options
        .iter()
        .map(|option| (&*option.group, option.nodes))
        .collect();
    options.sort_unstable();
    let options = options
        .iter()
        .map(|(group, count)| json!({ "group": group, "count": count }));
    outcome.check_given("options", options.collect::<Value>(), expect);
    let changes = plan.resizes.iter();
    let changes = changes.map(|r| json!({ "group": &*r.group, "delta": r.to - r.from }));
    outcome.check_given("sizeChanges", changes.collect::<Value>(), expect);
    let target = |group: &GroupFacts| {
        let resize = plan.resizes.iter().find(|resize| resize.group == group.id);
        resize.map_or(group.target, |resize| resize.to)
    };
    let targets: Map<String, Value> = groups
        .iter()
        .map(|group| (group.id.to_string(), json!(target(group))))
        .collect();
    outcome.check_given("targetSizes", targets, expect);
}
