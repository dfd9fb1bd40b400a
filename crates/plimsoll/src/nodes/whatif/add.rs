//! `whatif add pods N --like deploy/NAME`: which nodes would take them, which groups would grow.

use super::{AddArgs, like, print};
use crate::nodes::money;
use crate::nodes::picture::Picture;
use plimsoll_clock::Clock;
use plimsoll_controllers::facts;
use plimsoll_controllers::pods::PodView;
use plimsoll_engine::cluster::{
    ClusterNode, GroupFacts, GroupId, GrowthInput, GrowthPlan, PendingPod, PodVerdict, Resize,
    SkipReason, grow,
};
use plimsoll_engine::placement::{Decision, PodFacts, Snapshot, decide};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What comes out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Outcome {
    /// What the pods are like.
    like: String,
    /// How many.
    pods: usize,
    /// What each asks for.
    requests: BTreeMap<String, i64>,
    /// How many fit on each node that exists.
    placed: BTreeMap<String, usize>,
    /// How many find no node there is.
    without_node: usize,
    /// How many of those new nodes would take.
    on_new_nodes: usize,
    /// Groups that would grow.
    growth: Vec<Growth>,
    /// How many would still wait.
    waiting: usize,
    /// Why: each group's reason, and what would help.
    reasons: BTreeMap<String, Reason>,
    /// Dollars an hour, of the new nodes whose price is known.
    costs_per_hour: Option<f64>,
    /// Whether somebody tells node groups here.
    grows: bool,
}

/// A group that would grow.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Growth {
    group: String,
    from: usize,
    to: usize,
    max: usize,
    price_per_hour: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Reason {
    reason: String,
    lift: String,
}

pub(super) async fn run(args: &AddArgs) -> anyhow::Result<()> {
    let cluster = args.common.reach.cluster().await?;
    let pods = like::pods(&cluster, &args.like, args.count).await?;
    let picture = Picture::read(&cluster, Clock::system().now()).await?;
    let outcome = think(&picture, &args.like, &pods);
    print(&outcome, args.common.output, || lines(&outcome))
}

fn think(picture: &Picture, like: &str, pods: &[PodView]) -> Outcome {
    let mut snapshot = picture.snapshot();
    // Pods of one shape are decided from one ranking if they share their spec.
    let spec = pods.first().map(|pod| Arc::new(picture.lists.spec_of(pod)));
    let mut outcome = Outcome {
        like: like.to_owned(),
        pods: pods.len(),
        requests: spec
            .as_ref()
            .map(|spec| asked(&spec.requests))
            .unwrap_or_default(),
        placed: BTreeMap::new(),
        without_node: 0,
        on_new_nodes: 0,
        growth: Vec::new(),
        waiting: 0,
        reasons: BTreeMap::new(),
        costs_per_hour: None,
        grows: !picture.groups.is_empty(),
    };
    let mut pending = Vec::new();
    for (pod, spec) in pods.iter().zip(std::iter::repeat(spec).flatten()) {
        let wanted = facts::of_pod(pod, spec);
        match place(&mut snapshot, &wanted) {
            Some(node) => *outcome.placed.entry(node).or_default() += 1,
            None => pending.push(facts::of_pending(pod, wanted)),
        }
    }
    outcome.without_node = pending.len();
    outcome.waiting = pending.len();
    if !pending.is_empty() && outcome.grows {
        let plan = growth(picture, &mut snapshot, &pending);
        outcome.take_in(picture, &plan, &pending);
    }
    outcome
}

fn asked(requests: &plimsoll_engine::placement::Resources) -> BTreeMap<String, i64> {
    let amounts = requests.requested();
    amounts
        .map(|(name, amount)| (name.to_owned(), amount))
        .collect()
}

/// Puts a pod where the scheduler would.
fn place(snapshot: &mut Snapshot, pod: &PodFacts) -> Option<String> {
    match decide(snapshot, pod, 0) {
        Decision::Fits(choice) => {
            snapshot.place(&choice.node, pod.clone());
            Some(choice.node)
        }
        Decision::Nowhere(_) => None,
    }
}

fn growth(picture: &Picture, snapshot: &mut Snapshot, pending: &[PendingPod]) -> GrowthPlan {
    let groups: Vec<GroupFacts> = picture.groups.values().cloned().collect();
    let existing: Vec<ClusterNode> = picture.nodes.values().cloned().collect();
    let skipped = skipped(picture);
    grow(GrowthInput {
        snapshot,
        groups: &groups,
        pending,
        existing: &existing,
        upcoming: &BTreeMap::new(),
        skipped: &skipped,
        options: &picture.growth,
        now: picture.now,
        tie: 0,
    })
}

/// Groups that the node autoscaler leaves out for now, sizes aside.
fn skipped(picture: &Picture) -> BTreeMap<GroupId, SkipReason> {
    let told = picture.told_groups.iter().filter_map(|(name, told)| {
        let skip = told.pointer("/decision/skipped")?.as_str()?;
        let reason = match skip {
            "NotReady" => SkipReason::NotReady,
            "Backoff" => SkipReason::Backoff {
                code: String::new(),
                message: told.get("lift")?.as_str()?.to_owned(),
                until: String::new(),
            },
            _ => return None,
        };
        Some((Arc::from(name.as_str()), reason))
    });
    told.collect()
}

impl Outcome {
    fn take_in(&mut self, picture: &Picture, plan: &GrowthPlan, pending: &[PendingPod]) {
        for pod in pending {
            match plan.pods.get(&pod.pod.key()) {
                Some(PodVerdict::Triggered(_)) => self.on_new_nodes += 1,
                Some(PodVerdict::Unschedulable(groups)) => {
                    for (group, help) in groups.iter() {
                        let answer = help.answer();
                        let reason = Reason {
                            reason: answer.reason,
                            lift: answer.lift,
                        };
                        self.reasons.insert(group.to_string(), reason);
                    }
                }
                Some(PodVerdict::Fits(node)) => {
                    *self.placed.entry(node.to_string()).or_default() += 1;
                    self.without_node -= 1;
                }
                Some(verdict @ (PodVerdict::Expendable | PodVerdict::OfDaemonSet)) => {
                    let reason = Reason {
                        reason: verdict.summary(),
                        lift: String::new(),
                    };
                    self.reasons.insert("any".to_owned(), reason);
                }
                Some(PodVerdict::AwaitsEvaluation | PodVerdict::TooYoung { .. }) | None => {}
            }
        }
        self.waiting = self.without_node.saturating_sub(self.on_new_nodes);
        let price = |resize: &Resize| {
            let group = picture.groups.get(&resize.group)?;
            group.template.as_ref()?.price_per_hour
        };
        for resize in &plan.resizes {
            let new = resize.to.saturating_sub(resize.from);
            let each = price(resize);
            self.growth.push(Growth {
                group: resize.group.to_string(),
                from: resize.from,
                to: resize.to,
                max: resize.max,
                price_per_hour: each.map(|price| times(price, new)),
            });
        }
        let prices = self
            .growth
            .iter()
            .filter_map(|growth| growth.price_per_hour);
        self.costs_per_hour = prices.reduce(|sum, price| sum + price);
    }
}

fn times(price: f64, nodes: usize) -> f64 {
    price * f64::from(u32::try_from(nodes).unwrap_or(u32::MAX))
}

fn lines(outcome: &Outcome) -> Vec<String> {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let count = outcome.pods;
    let mut lines = vec![format!(
        "{count} more pod{} like {}, each asking for {}",
        plural(count),
        outcome.like,
        requests(&outcome.requests)
    )];
    let placed: usize = outcome.placed.values().sum();
    if placed > 0 {
        let mut nodes: Vec<(&String, &usize)> = outcome.placed.iter().collect();
        nodes.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), (*name).clone()));
        let named = nodes.iter().take(5);
        let named: Vec<String> = named.map(|(node, n)| format!("{n} on {node}")).collect();
        let more = nodes.len().saturating_sub(named.len());
        let more = if more > 0 {
            format!(" and on {more} more nodes")
        } else {
            String::new()
        };
        let verb = if placed == 1 { "fits" } else { "fit" };
        lines.push(format!(
            "  {placed} {verb} on nodes there are: {}{more}",
            named.join(", ")
        ));
    }
    lines.extend(growth_lines(outcome));
    lines
}

fn growth_lines(outcome: &Outcome) -> Vec<String> {
    let mut lines = Vec::new();
    if outcome.on_new_nodes > 0 {
        lines.push(format!(
            "  {} would run on new nodes:",
            outcome.on_new_nodes
        ));
    }
    for growth in &outcome.growth {
        let Growth {
            group,
            from,
            to,
            max,
            price_per_hour,
        } = growth;
        let price = price_per_hour.map(money::both);
        let price = price.map_or_else(String::new, |price| format!(", {price} more"));
        lines.push(format!("    {{{group} {from}->{to} (max: {max})}}{price}"));
    }
    if outcome.waiting > 0 {
        lines.push(format!("  {} would wait:", outcome.waiting));
    }
    if outcome.waiting > 0 && !outcome.grows {
        lines.push("    no node autoscaler tells its groups here".to_owned());
    }
    if outcome.waiting > 0 {
        for (group, Reason { reason, lift }) in &outcome.reasons {
            lines.push(format!("    {group}: {reason}"));
            if !lift.is_empty() {
                lines.push(format!("          {lift}"));
            }
        }
    }
    if outcome.without_node == 0 {
        lines.push("  no new node is needed".to_owned());
    }
    lines
}

fn requests(requests: &BTreeMap<String, i64>) -> String {
    use plimsoll_quantity::Quantity;
    let told = requests.iter().map(|(name, amount)| {
        let quantity = match name.as_str() {
            "cpu" => Quantity::from_milli(*amount),
            "memory" | "ephemeral-storage" => Quantity::from_bytes(*amount),
            _ => Quantity::from_value(*amount),
        };
        format!("{name} {quantity}")
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() {
        return "nothing".to_owned();
    }
    told.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{lines, think};
    use crate::nodes::judge::tests::{node, picture, pod};
    use serde_json::{Value, json};

    fn group(max: usize) -> Value {
        json!({"metadata": {"name": "ng1"}, "group": {
            "min": 1, "max": max, "target": 2, "exists": true,
            "options": {"scaleDownUtilizationThreshold": 0.5,
                "scaleDownGpuUtilizationThreshold": 0.5,
                "scaleDownUnneededTime": "PT10M", "scaleDownUnreadyTime": "PT20M",
                "maxNodeProvisionTime": "PT15M", "maxNodeStartupTime": "PT15M",
                "zeroOrMaxNodeScaling": false, "ignoreDaemonsetsUtilization": false},
            "template": {"source": "Provider", "pricePerHour": 0.1, "node": {
                "metadata": {"name": "t", "labels": {"kubernetes.io/hostname": "t"}},
                "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"},
                    "capacity": {"cpu": "2", "memory": "4Gi", "pods": "10"}}}}}})
    }

    fn copies(count: usize, cpu: &str) -> Vec<plimsoll_controllers::pods::PodView> {
        let pods = (0..count).map(|number| {
            let bare = json!({"spec": {"nodeName": null}});
            pod(&format!("web-{number}"), "", cpu, &bare)
        });
        pods.collect()
    }

    #[test]
    fn what_fits_needs_no_node() {
        let picture = picture(vec![node("a", &json!({}))], Vec::new());
        let outcome = think(&picture, "deploy/web", &copies(3, "500m"));
        assert_eq!(
            lines(&outcome),
            [
                "3 more pods like deploy/web, each asking for cpu 500m",
                "  3 fit on nodes there are: 3 on a",
                "  no new node is needed",
            ]
        );
    }

    #[test]
    fn what_does_not_fit_waits_where_nobody_adds_nodes() {
        let picture = picture(vec![node("a", &json!({}))], Vec::new());
        let outcome = think(&picture, "deploy/web", &copies(5, "500m"));
        assert_eq!(
            lines(&outcome)[1..],
            [
                "  4 fit on nodes there are: 4 on a",
                "  1 would wait:",
                "    no node autoscaler tells its groups here",
            ]
        );
    }

    #[test]
    fn groups_grow_up_to_their_maximum() {
        let nodes = vec![node("a", &json!({})), node("b", &json!({}))];
        let picture = picture(nodes, Vec::new()).with_told(Vec::new(), vec![group(3)]);
        let outcome = think(&picture, "deploy/web", &copies(14, "500m"));
        assert_eq!(
            lines(&outcome)[1..4],
            [
                "  8 fit on nodes there are: 4 on a, 4 on b",
                "  4 would run on new nodes:",
                "    {ng1 2->3 (max: 3)}, 0.1000 $/h, 73.00 $/month more",
            ]
        );
        assert_eq!((outcome.on_new_nodes, outcome.waiting), (4, 2));
        assert!(outcome.costs_per_hour.is_some());
    }
}
