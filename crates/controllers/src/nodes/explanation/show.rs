//! Explanations of nodes, groups and pods as JSON.

use super::{GroupStanding, Inner, Look};
use super::{settings, template};
use crate::explain::journal::created;
use crate::explain::query::API_VERSION;
use jiff::Timestamp;
use plimsoll_engine::cluster::{
    BUFFER_POD_PREFIX, ExpansionOption, GroupFacts, GroupOptions, GroupVerdict, GrowthPlan,
    NodeVerdict, PROVISIONING_POD_PREFIX, PodVerdict, Removal, quota_amount,
};
use plimsoll_engine::placement::PodKey;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Steps of a look that an explanation shows.
const STEPS: usize = 40;

fn head(kind: &str, (namespace, name): (&str, &str), now: Timestamp) -> Map<String, Value> {
    let mut shown = Map::new();
    let mut metadata = Map::new();
    let mut involved = Map::new();
    involved.insert("kind".into(), json!(kind));
    for about in [&mut metadata, &mut involved] {
        about.insert("name".into(), json!(name));
        if !namespace.is_empty() {
            about.insert("namespace".into(), json!(namespace));
        }
    }
    metadata.insert("creationTimestamp".into(), created(now).into());
    shown.insert("kind".into(), json!(format!("{kind}Explanation")));
    shown.insert("apiVersion".into(), json!(API_VERSION));
    shown.insert("metadata".into(), metadata.into());
    shown.insert("involvedObject".into(), involved.into());
    shown.insert("time".into(), json!(now));
    shown
}

impl Inner {
    /// What is thought of a node.
    pub(super) fn node(&self, name: &str) -> Option<Value> {
        let look = self.look.as_ref()?;
        let verdict = look.nodes().get(name)?;
        let mut shown = head("Node", ("", name), look.now);
        if let Some(span) = self.nodes.get(name) {
            shown.insert("since".into(), json!(span.first));
            shown.insert("passes".into(), json!(span.passes));
        }
        let group = look.members.get(name);
        let answer = verdict.answer(name, look.now);
        shown.insert("group".into(), json!(group));
        shown.insert("decision".into(), decision_of(verdict));
        shown.insert("summary".into(), json!(answer.reason));
        shown.insert("lift".into(), json!(answer.lift));
        shown.insert("utilization".into(), look.utilization(name));
        if let Some(plan) = &look.shrink {
            shown.insert("cooldown".into(), json!(plan.cooldown));
        }
        if let Some(removal) = look.removal(name) {
            shown.insert("removal".into(), removal_of(removal));
        }
        Some(Value::Object(shown))
    }

    /// What is known of a group and what came of it.
    pub(super) fn group(&self, name: &str) -> Option<Value> {
        let look = self.look.as_ref()?;
        let facts = look.groups.iter().find(|group| &*group.id == name)?;
        let mut shown = head("NodeGroup", ("", name), look.now);
        if let Some(span) = self.groups.get(name) {
            shown.insert("since".into(), json!(span.first));
            shown.insert("passes".into(), json!(span.passes));
        }
        let standing = look.standing.get(name);
        let verdict = look.verdict(name);
        let answer = verdict.answer();
        shown.insert("group".into(), facts_of(facts));
        shown.insert("standing".into(), json!(standing));
        shown.insert("decision".into(), group_decision(verdict));
        shown.insert(
            "removal".into(),
            json!(
                self.settings
                    .as_ref()
                    .map(|all| settings::removal(&all.removal))
            ),
        );
        shown.insert(
            "growth".into(),
            json!(
                self.settings
                    .as_ref()
                    .map(|all| settings::growth(&all.growth))
            ),
        );
        let readiness = self.settings.as_ref().map(settings::Settings::readiness);
        shown.insert("readiness".into(), json!(readiness));
        shown.insert("summary".into(), json!(summary(facts, &answer.reason)));
        shown.insert("lift".into(), json!(answer.lift));
        let mut lines = sentences(facts, standing);
        lines.extend(self.quotas_of(facts));
        shown.insert("sentences".into(), json!(lines));
        if let Some((time, plan)) = &self.wanted {
            shown.insert("lastGrowth".into(), growth_of(*time, plan, facts));
        }
        if let Some((time, plan)) = &self.ordered {
            shown.insert("lastOrder".into(), growth_of(*time, plan, facts));
        }
        let changes = self.changes.get(name);
        let changes: Vec<Value> = changes.into_iter().flatten().map(|c| json!(c)).collect();
        shown.insert("changes".into(), changes.into());
        Some(Value::Object(shown))
    }

    /// The quotas that new nodes of a group would count for, one sentence each.
    fn quotas_of(&self, facts: &GroupFacts) -> Vec<String> {
        let Some(template) = &facts.template else {
            return Vec::new();
        };
        let concerned = self.quotas.iter();
        let concerned = concerned.filter(|(quota, _)| quota.selects(&template.node.labels));
        let sentences = concerned.map(|(quota, used)| {
            let amounts = quota.limits.iter().map(|(name, most)| {
                let used = used.get(name).copied().unwrap_or(0);
                let (used, most) = (quota_amount(name, used), quota_amount(name, *most));
                format!("{name} {used} of {most}")
            });
            let amounts: Vec<String> = amounts.collect();
            format!("{} limits it: {} used", quota.id, amounts.join(", "))
        });
        sentences.collect()
    }

    /// Which groups could grow for a pod that was looked at last.
    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<Value> {
        let look = self.look.as_ref()?;
        let plan = look.growth.as_ref()?;
        let verdict = plan.pods.get(&PodKey::new(namespace, name))?;
        Some(pod_of(look.now, (namespace, name), verdict))
    }

    /// Every pod that was looked at last.
    pub(super) fn pods(&self, namespace: Option<&str>) -> Vec<Value> {
        let Some((look, plan)) = self
            .look
            .as_ref()
            .and_then(|l| Some((l, l.growth.as_ref()?)))
        else {
            return Vec::new();
        };
        let within = |key: &PodKey| namespace.is_none_or(|wanted| *key.namespace == *wanted);
        let pods = plan.pods.iter().filter(|(key, _)| within(key));
        pods.map(|(key, verdict)| pod_of(look.now, (&key.namespace, &key.name), verdict))
            .collect()
    }
}

impl Look {
    fn utilization(&self, node: &str) -> Value {
        let plan = self.shrink.as_ref();
        let found = plan.and_then(|plan| plan.utilization.get(node));
        found.map_or(Value::Null, |used| {
            json!({
                "share": used.share, "resource": used.resource,
                "cpu": used.cpu, "memory": used.memory,
            })
        })
    }

    fn removal(&self, node: &str) -> Option<&Removal> {
        let plan = self.shrink.as_ref()?;
        let mut all = plan.empty.iter().chain(&plan.drain);
        all.find(|removal| &*removal.node == node)
    }
}

fn decision_of(verdict: &NodeVerdict) -> Value {
    match verdict {
        NodeVerdict::Kept(reason) => json!({ "verdict": "Kept", "reason": reason.name() }),
        NodeVerdict::Unneeded { since, waiting } => json!({
            "verdict": "Unneeded",
            "unneededSince": since,
            "reason": waiting.as_ref().map(plimsoll_engine::cluster::KeepReason::name),
        }),
    }
}

fn group_decision(verdict: &GroupVerdict) -> Value {
    let skipped = if let GroupVerdict::Skipped(reason) = verdict {
        Some(reason.name())
    } else {
        None
    };
    json!({ "verdict": verdict.name(), "skipped": skipped })
}

fn removal_of(removal: &Removal) -> Value {
    let moves: Vec<Value> = removal
        .moves
        .iter()
        .map(|(pod, node)| json!({ "pod": pod.to_string(), "node": node }))
        .collect();
    let daemons: Vec<String> = removal
        .daemon_pods
        .iter()
        .map(ToString::to_string)
        .collect();
    json!({
        "group": removal.group, "utilization": removal.utilization, "moves": moves,
        "daemonPods": daemons, "atomic": removal.atomic,
    })
}

/// A group with everything that decisions about it rest on.
fn facts_of(facts: &GroupFacts) -> Value {
    json!({
        "min": facts.min, "max": facts.max, "target": facts.target, "exists": facts.exists,
        "options": options_of(&facts.options),
        "template": facts.template.as_deref().map(template::shown),
    })
}

fn options_of(options: &GroupOptions) -> Value {
    json!({
        "scaleDownUtilizationThreshold": options.scale_down_utilization_threshold,
        "scaleDownGpuUtilizationThreshold": options.scale_down_gpu_utilization_threshold,
        "scaleDownUnneededTime": options.scale_down_unneeded_time,
        "scaleDownUnreadyTime": options.scale_down_unready_time,
        "maxNodeProvisionTime": options.max_node_provision_time,
        "maxNodeStartupTime": options.max_node_startup_time,
        "zeroOrMaxNodeScaling": options.zero_or_max_node_scaling,
        "ignoreDaemonsetsUtilization": options.ignore_daemonsets_utilization,
    })
}

fn summary(facts: &GroupFacts, verdict: &str) -> String {
    format!(
        "{} of {} to {} nodes; {verdict}",
        facts.target, facts.min, facts.max
    )
}

fn sentences(facts: &GroupFacts, standing: Option<&GroupStanding>) -> Vec<String> {
    let mut lines = vec![format!(
        "{} nodes are asked for, {} to {} allowed",
        facts.target, facts.min, facts.max
    )];
    if !facts.exists {
        lines.push("it does not exist at the provider yet; growing it makes it".into());
    }
    lines.extend(standing.map(health));
    lines.push(match &facts.template {
        Some(template) => template::sentence(template),
        None => "nobody knows what a new node of it will be".into(),
    });
    lines
}

fn health(standing: &GroupStanding) -> String {
    let counts = [
        (standing.ready, "ready"),
        (standing.unready, "unready"),
        (standing.not_started, "starting"),
        (standing.upcoming, "on their way"),
        (standing.unregistered, "instances without a node"),
        (
            standing.long_unregistered,
            "instances without a node for too long",
        ),
        (standing.being_deleted, "being removed"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let state = if standing.healthy {
        "healthy"
    } else {
        "unhealthy"
    };
    if counts.is_empty() {
        return format!("{state}: it has no nodes");
    }
    format!("{state}: {}", counts.join(", "))
}

/// A look at pods that waited, as far as it is about this group.
fn growth_of(time: Timestamp, plan: &GrowthPlan, facts: &GroupFacts) -> Value {
    let verdict = plan.groups.get(&facts.id);
    let verdict = verdict.unwrap_or(&GroupVerdict::NotNeeded);
    let answer = verdict.answer();
    let option = plan.options.iter().find(|option| option.group == facts.id);
    let steps: Vec<&String> = plan.trace.iter().take(STEPS).collect();
    json!({
        "time": time, "pods": plan.pods.len(), "verdict": verdict.name(),
        "summary": answer.reason, "lift": answer.lift, "option": option.map(option_of),
        "trace": steps,
    })
}

fn option_of(option: &ExpansionOption) -> Value {
    json!({
        "nodes": option.nodes, "pods": option.pods.len(), "similar": option.similar,
        "note": option.note,
    })
}

fn pod_of(now: Timestamp, (namespace, name): (&str, &str), verdict: &PodVerdict) -> Value {
    let mut shown = head("Pod", (namespace, name), now);
    shown.insert("decision".into(), json!({ "verdict": verdict.name() }));
    shown.insert("summary".into(), json!(verdict.summary()));
    if let Some(numbered) = name.strip_prefix(BUFFER_POD_PREFIX) {
        let buffer = numbered
            .rsplit_once('-')
            .map_or(numbered, |(buffer, _)| buffer);
        shown.insert("capacityBuffer".into(), json!(buffer));
    }
    if let Some(numbered) = name.strip_prefix(PROVISIONING_POD_PREFIX) {
        let request = numbered.rsplitn(3, '-').nth(2).unwrap_or(numbered);
        shown.insert("provisioningRequest".into(), json!(request));
    }
    if let PodVerdict::Unschedulable(groups) = verdict {
        let groups = groups.iter().map(|(group, help)| {
            let answer = help.answer();
            json!({ "group": Arc::clone(group), "reason": answer.reason, "lift": answer.lift })
        });
        shown.insert("groups".into(), groups.collect());
    }
    Value::Object(shown)
}
