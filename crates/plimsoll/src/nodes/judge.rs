//! What keeps a node, judged here and now by the node autoscaler's rules: everything that is in the
//! way, where the autoscaler itself stops at the first.

use super::picture::{Picture, any_group};
use plimsoll_engine::cluster::{
    BlockerReason, ClusterNode, DrainContext, DrainRule, Drainability, GroupFacts, GroupId,
    Ignored, KeepReason, Readiness, RemainingBudgets, RunningPod, Utilization, drainability,
    eligible, is_of_daemon_set, judge_all, utilization,
};
use plimsoll_engine::placement::{PodFacts, PodKey, RoomSearch, Snapshot};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Something in the way of a removal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Obstacle {
    /// What.
    pub(crate) reason: String,
    /// What would lift it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) lift: String,
}

/// What becomes of a pod when its node goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodReport {
    /// Namespace and name.
    pub(crate) pod: String,
    /// One word: `moves`, `stays`, `goes`, `waits`.
    pub(crate) fate: &'static str,
    /// The rule that decides, in words.
    pub(crate) rule: String,
    /// Upstream's name of the reason, where it keeps the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    /// What would lift that.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) lift: String,
    /// The node it would move to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Arc<str>>,
}

/// Shares of requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shares {
    /// CPU, 0–1.
    pub(crate) cpu: f64,
    /// Memory, 0–1.
    pub(crate) memory: f64,
    /// What counts, 0–1.
    pub(crate) decisive: f64,
}

/// Everything about one node.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeReport {
    /// Name.
    pub(crate) node: String,
    /// Its group.
    pub(crate) group: Option<Arc<str>>,
    /// Whether it works.
    pub(crate) ready: bool,
    /// One sentence.
    pub(crate) summary: String,
    /// Requests of all pods.
    pub(crate) utilization: Option<Shares>,
    /// Requests without the pods of DaemonSets.
    pub(crate) without_daemon_sets: Option<Shares>,
    /// Up to which share it may be removed, 0–1.
    pub(crate) threshold: f64,
    /// Price of an hour in US dollars.
    pub(crate) price_per_hour: Option<f64>,
    /// What is in the way.
    pub(crate) obstacles: Vec<Obstacle>,
    /// What becomes of each pod.
    pub(crate) pods: Vec<PodReport>,
    /// What the node autoscaler says, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) autoscaler: Option<Value>,
    /// What could not be read and is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unread: Vec<String>,
}

/// What the removals judged before leave to the next.
#[derive(Debug)]
pub(crate) struct Given {
    /// With what was moved.
    pub(crate) snapshot: Snapshot,
    search: RoomSearch,
    budgets: RemainingBudgets,
    /// Nodes by group.
    removed: BTreeMap<GroupId, usize>,
}

impl Given {
    /// Nothing is removed yet, and these nodes will be: none of them takes what another one loses.
    pub(crate) fn new(picture: &Picture, names: &[&str]) -> Self {
        let snapshot = picture.snapshot();
        let mut search = RoomSearch::default();
        for name in names {
            search.exclude(&snapshot, name);
        }
        Self {
            snapshot,
            search,
            budgets: RemainingBudgets::new(&picture.budgets),
            removed: BTreeMap::new(),
        }
    }
}

impl Given {
    /// Does something of which nothing remains.
    pub(crate) fn forgetting<T>(&mut self, what: impl FnOnce(&mut Self) -> T) -> T {
        let (search, budgets) = (self.search.clone(), self.budgets.clone());
        let removed = self.removed.clone();
        self.snapshot.fork();
        let told = what(self);
        self.snapshot.revert();
        (self.search, self.budgets, self.removed) = (search, budgets, removed);
        told
    }
}

/// Judges one node; `None` if there is no such node. What its removal moves, evicts and takes from
/// its group counts for the next.
pub(crate) fn judge(picture: &Picture, given: &mut Given, name: &str) -> Option<NodeReport> {
    let node = picture.nodes.get(name)?;
    let unknown = any_group();
    let group = picture.group_of(node).unwrap_or(&unknown);
    let here: Vec<&RunningPod> = match picture.pods.on(name) {
        Some(residents) => residents.pods().collect(),
        None => Vec::new(),
    };
    let gone = given.removed.entry(Arc::clone(&group.id)).or_insert(0);
    let mut obstacles = of_node(picture, node, (group, *gone), &here);
    *gone += 1;
    let mut pods = fates(picture, &given.budgets, &here);
    given.search.exclude(&given.snapshot, name);
    let leaving = leaving(&here, &pods);
    let homeless = settle(given, &leaving, &mut pods);
    let moved = pods
        .iter()
        .zip(&here)
        .filter(|(report, _)| report.fate == "moves");
    given.budgets.spend(moved.map(|(_, pod)| &pod.pod));
    for report in &pods {
        if report.fate == "stays" {
            obstacles.push(Obstacle {
                reason: format!("pod {} {}", report.pod, report.rule),
                lift: report.lift.clone(),
            });
        }
    }
    obstacles.extend(homeless);
    let share = |daemon_sets| {
        let ignored = Ignored {
            daemon_sets,
            mirrors: false,
        };
        let found = utilization(node, here.iter().copied(), ignored, picture.now);
        found.ok().map(|used| shares(&used))
    };
    let moving = pods.iter().filter(|pod| pod.fate == "moves").count();
    Some(NodeReport {
        node: name.to_owned(),
        group: node.group.clone(),
        ready: node.readiness == Readiness::Ready,
        summary: summary(&obstacles, moving),
        utilization: share(false),
        without_daemon_sets: share(true),
        threshold: threshold(node, group),
        price_per_hour: node.price_per_hour,
        obstacles,
        pods,
        autoscaler: picture.told.get(name).cloned(),
        unread: picture.lists.unread.clone(),
    })
}

fn threshold(node: &ClusterNode, group: &GroupFacts) -> f64 {
    if node.gpu.is_some() {
        group.options.scale_down_gpu_utilization_threshold
    } else {
        group.options.scale_down_utilization_threshold
    }
}

fn shares(used: &Utilization) -> Shares {
    Shares {
        cpu: used.cpu,
        memory: used.memory,
        decisive: used.share,
    }
}

/// What is in the way whatever its pods: flags, annotations, utilization, the group's size.
fn of_node(
    picture: &Picture,
    node: &ClusterNode,
    (group, gone): (&GroupFacts, usize),
    here: &[&RunningPod],
) -> Vec<Obstacle> {
    let obstacle = |reason: &KeepReason| {
        let answer = reason.answer(&node.name, picture.now);
        Obstacle {
            reason: answer.reason,
            lift: answer.lift,
        }
    };
    let mut found = Vec::new();
    if !picture.groups.is_empty() && node.group.is_none() {
        found.push(obstacle(&KeepReason::NotAutoscaled));
    }
    let pods = || here.iter().copied();
    let first = eligible(node, pods(), group, &picture.options, picture.now);
    if let Err(reason) = &first {
        found.push(obstacle(reason));
    }
    // What the first reason hides.
    let hidden = matches!(
        first,
        Err(KeepReason::ScaleDownDisabledAnnotation | KeepReason::CurrentlyBeingDeleted)
    );
    if hidden {
        let mut bare = node.clone();
        bare.annotations.clear();
        bare.being_deleted = None;
        let second = eligible(&bare, pods(), group, &picture.options, picture.now);
        found.extend(second.err().as_ref().map(obstacle));
    }
    if group.target.saturating_sub(gone) <= group.min {
        let min = group.min;
        found.push(obstacle(&KeepReason::NodeGroupMinSizeReached { min }));
    }
    found
}

/// What becomes of each pod, where it would go aside.
fn fates(picture: &Picture, budgets: &RemainingBudgets, here: &[&RunningPod]) -> Vec<PodReport> {
    let context = DrainContext {
        options: &picture.options.drain,
        budgets,
        now: picture.now,
    };
    here.iter().map(|pod| fate(pod, &context)).collect()
}

fn fate(pod: &RunningPod, context: &DrainContext<'_>) -> PodReport {
    let outcome = drainability(pod, context);
    let report = |fate, rule: &str| PodReport {
        pod: pod.pod.key().to_string(),
        fate,
        rule: rule.to_owned(),
        reason: None,
        lift: String::new(),
        to: None,
    };
    match outcome {
        Drainability::Blocked(reason) => blocked(pod, reason, context),
        Drainability::Skip if pod.mirror => {
            report("goes", "is a static pod: it goes with its node")
        }
        Drainability::Skip => report("goes", "should have ended already: it is not counted"),
        Drainability::Wait => PodReport {
            reason: Some(BlockerReason::OnCompletion.name()),
            lift: "wait until it is done".to_owned(),
            ..report("stays", BlockerReason::OnCompletion.phrase())
        },
        Drainability::Ok | Drainability::Undefined if is_of_daemon_set(pod) => {
            report("goes", "is of a DaemonSet: it goes with its node")
        }
        Drainability::Ok if pod.terminal => report("goes", "has ended"),
        Drainability::Ok => report("moves", why_ok(pod, context)),
        Drainability::Undefined => report("moves", "nothing keeps it"),
    }
}

/// The rule that lets a pod go whatever the others say.
fn why_ok(pod: &RunningPod, context: &DrainContext<'_>) -> &'static str {
    let mut rules = DrainRule::ORDER.into_iter();
    let rule = rules.find(|rule| rule.judge(pod, context) == Drainability::Ok);
    match rule {
        Some(DrainRule::SafeToEvict) => "is marked as safe to evict",
        Some(DrainRule::System) => "is of kube-system, and has been in the way for long enough",
        _ => "nothing keeps it",
    }
}

fn blocked(pod: &RunningPod, reason: BlockerReason, context: &DrainContext<'_>) -> PodReport {
    let blocker = judge_all([pod], context).err();
    PodReport {
        pod: pod.pod.key().to_string(),
        fate: "stays",
        rule: reason.phrase().to_owned(),
        reason: Some(reason.name()),
        lift: blocker.map(|blocker| blocker.remedy).unwrap_or_default(),
        to: None,
    }
}

/// The pods that need another place when the node goes: also those that keep it now, so that one
/// hears what would happen once that is lifted.
fn leaving(here: &[&RunningPod], reports: &[PodReport]) -> Vec<(usize, PodFacts)> {
    let pods = here.iter().zip(reports).enumerate();
    let pods = pods.filter(|(_, (_, report))| report.fate != "goes");
    let mut leaving: Vec<(usize, PodFacts)> =
        pods.map(|(at, (pod, _))| (at, pod.pod.clone())).collect();
    // The largest first, as the autoscaler does.
    leaving.sort_by_key(|(_, pod)| {
        let wanted = &pod.spec.requests;
        std::cmp::Reverse((wanted.cpu_milli, wanted.memory_bytes))
    });
    leaving
}

/// Moves pods to other nodes; answers for those that fit on none.
fn settle(
    given: &mut Given,
    leaving: &[(usize, PodFacts)],
    reports: &mut [PodReport],
) -> Vec<Obstacle> {
    let Given {
        snapshot, search, ..
    } = given;
    for (_, pod) in leaving {
        snapshot.displace(&pod.namespace, &pod.name);
    }
    let mut homeless = Vec::new();
    for (at, pod) in leaving {
        match snapshot.room_for(pod, search, None) {
            Ok(node) => {
                snapshot.place(&node, pod.clone());
                if let Some(report) = reports.get_mut(*at) {
                    report.to = Some(node);
                }
            }
            Err(failure) => homeless.push(no_place(&pod.key(), &failure.reasons())),
        }
    }
    homeless
}

fn no_place(pod: &PodKey, why: &str) -> Obstacle {
    let reason = KeepReason::NoPlaceToMovePods {
        pod: pod.clone(),
        why: why.to_owned(),
    };
    let answer = reason.answer("", jiff::Timestamp::UNIX_EPOCH);
    Obstacle {
        reason: answer.reason,
        lift: answer.lift,
    }
}

fn summary(obstacles: &[Obstacle], moving: usize) -> String {
    match (obstacles.len(), moving) {
        (0, 0) => "it could go: nothing on it needs another place".to_owned(),
        (0, 1) => "it could go: its one pod would fit elsewhere".to_owned(),
        (0, count) => format!("it could go: its {count} pods would fit elsewhere"),
        (1, _) => "one thing keeps it".to_owned(),
        (count, _) => format!("{count} things keep it"),
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
pub(crate) mod tests;
