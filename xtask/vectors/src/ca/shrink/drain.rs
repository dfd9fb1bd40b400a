//! Families `drain-rule`, `drain` and `pdb`.

use super::{Scenario, facts};
use crate::differ::Outcome;
use anyhow::{Context, Result, bail};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{
    DrainContext, DrainOptions, DrainRule, Drainability, Evictable, RemainingBudgets, RunningPod,
    judge_all,
};
use serde_json::{Value, json};

/// Options as scenarios write them; what they leave out is off.
pub(super) fn options(set: &Value) -> DrainOptions {
    let flag = |key: &str| set.get(key).and_then(Value::as_bool).unwrap_or(false);
    let number = |key: &str| set.get(key).and_then(Value::as_i64);
    let timeout = number("blockingSystemPodDisruptionTimeoutSec");
    let default = DrainOptions::default();
    DrainOptions {
        skip_system_pods: flag("skipNodesWithSystemPods"),
        skip_local_storage: flag("skipNodesWithLocalStorage"),
        skip_custom_controllers: flag("skipNodesWithCustomControllerPods"),
        min_replicas: number("minReplicaCount")
            .and_then(|least| usize::try_from(least).ok())
            .unwrap_or(0),
        system_pod_timeout: timeout.map_or(default.system_pod_timeout, SignedDuration::from_secs),
    }
}

fn rule_named(name: &str) -> Result<DrainRule> {
    Ok(match name {
        "mirror" => DrainRule::Mirror,
        "longterminating" => DrainRule::LongTerminating,
        "replicacount" => DrainRule::ReplicaCount,
        "daemonset" => DrainRule::DaemonSet,
        "safetoevict" => DrainRule::SafeToEvict,
        "terminal" => DrainRule::Terminal,
        "oncompletion" => DrainRule::OnCompletion,
        "replicated" => DrainRule::Replicated,
        "system" => DrainRule::System,
        "notsafetoevict" => DrainRule::NotSafeToEvict,
        "localstorage" => DrainRule::LocalStorage,
        "pdb" => DrainRule::DisruptionBudget,
        other => bail!("nobody knows the rule {other:?}"),
    })
}

pub(super) fn rule(scenario: Scenario<'_>) -> Result<Outcome> {
    let name = scenario.get("rule").and_then(Value::as_str);
    let rule = rule_named(name.context("no rule")?)?;
    let raw = scenario.get("pod").context("no pod")?;
    let pod = facts::pod(raw, scenario.get("controllers"))?;
    let budgets = RemainingBudgets::new(&facts::budgets(scenario)?);
    let context = DrainContext {
        options: &options(scenario.given),
        budgets: &budgets,
        now: scenario.now()?,
    };
    let (answer, reason) = match rule.judge(&pod, &context) {
        Drainability::Undefined => ("Undefined", None),
        Drainability::Ok => ("DrainOk", None),
        Drainability::Skip => ("SkipDrain", None),
        Drainability::Wait => ("WaitForCompletion", None),
        Drainability::Blocked(reason) => ("BlockDrain", Some(reason.name())),
    };
    let mut outcome = Outcome::default();
    outcome.check_given("outcome", answer, scenario.expect);
    outcome.check_given("reason", reason, scenario.expect);
    Ok(outcome)
}

pub(super) fn node(scenario: Scenario<'_>) -> Result<Outcome> {
    let pods = facts::pods(scenario, "pods")?;
    let budgets = RemainingBudgets::new(&facts::budgets(scenario)?);
    let context = DrainContext {
        options: &options(scenario.get("options").unwrap_or(&Value::Null)),
        budgets: &budgets,
        now: scenario.now()?,
    };
    let mut outcome = Outcome::default();
    let names = |pods: &[&RunningPod]| pods.iter().map(|pod| json!(&*pod.pod.name)).collect();
    match judge_all(&pods, &context) {
        Ok(judged) => {
            outcome.check_given("blockedBy", Value::Null, scenario.expect);
            outcome.check_list("podsToMove", names(&judged.moves), scenario.expect);
            outcome.check_list("daemonSetPods", names(&judged.daemons), scenario.expect);
            let awaited = names(&judged.on_completion);
            outcome.check_list("onCompletionPods", awaited, scenario.expect);
        }
        Err(blocker) => {
            let found = json!({ "pod": &*blocker.pod.name, "reason": blocker.reason.name() });
            outcome.check_given("blockedBy", found, scenario.expect);
            outcome.trace.push(blocker.remedy);
        }
    }
    Ok(outcome)
}

pub(super) fn budgets(scenario: Scenario<'_>) -> Result<Outcome> {
    let pods = facts::pods(scenario, "pods")?;
    let budgets = RemainingBudgets::new(&facts::budgets(scenario)?);
    let found = budgets.evictable(pods.iter().map(|pod| &pod.pod));
    let mut outcome = Outcome::default();
    outcome.check_given("canRemove", found.is_ok(), scenario.expect);
    let parallel = found == Ok(Evictable::AtOnce);
    outcome.check_given("inParallel", parallel, scenario.expect);
    Ok(outcome)
}
