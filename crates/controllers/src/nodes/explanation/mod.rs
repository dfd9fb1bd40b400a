//! Why each node stays or goes, and why each group grew or did not: the newest look at them, and a
//! bounded log of what was decided before.
//!
//! Told once a look by [`Explanations::tell`], which takes shared plans and compares verdicts;
//! sentences are made when somebody reads, or when a verdict changes.

mod api;
mod journal;
mod settings;
mod show;
mod template;

use crate::explain::board::{Board, Told};
use crate::explain::journal::{Ids, Journal, Span};
use crate::explain::query::{About, Wanted};
use jiff::Timestamp;
use journal::Entry;
use plimsoll_engine::cluster::{
    GroupFacts, GroupId, GroupVerdict, GrowthOptions, GrowthOutcome, GrowthPlan, NodeVerdict,
    Quota, Resize, ShrinkOptions, ShrinkPlan, TaintRules,
};
use serde::Serialize;
use serde_json::Value;
use settings::Settings;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub use api::explains;

/// Changes of size remembered per group.
const CHANGES: usize = 32;

/// How the nodes of a group are, beside its sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStanding {
    /// Whether it may grow: not too many of its nodes are unready.
    pub healthy: bool,
    /// Nodes that work.
    pub ready: usize,
    /// Nodes that do not.
    pub unready: usize,
    /// Registered nodes that are not ready yet.
    pub not_started: usize,
    /// Instances without a Node.
    pub unregistered: usize,
    /// Instances that have been without one for too long.
    pub long_unregistered: usize,
    /// Nodes that were asked for and are not there yet.
    pub upcoming: usize,
    /// Nodes that are being removed.
    pub being_deleted: usize,
}

/// What one look came to.
#[derive(Debug, Clone)]
pub struct Look {
    /// When.
    pub now: Timestamp,
    /// The groups as they were.
    pub groups: Arc<[GroupFacts]>,
    /// How their nodes are.
    pub standing: BTreeMap<GroupId, GroupStanding>,
    /// What was decided about pending pods; `None` if this look did not ask.
    pub growth: Option<Arc<GrowthPlan>>,
    /// What was decided about nodes; `None` if this look did not ask.
    pub shrink: Option<Arc<ShrinkPlan>>,
    /// The group of each node that has one.
    pub members: BTreeMap<Arc<str>, GroupId>,
}

/// A change of a group's size that was tried.
#[derive(Debug, Clone, Serialize)]
struct SizeChange {
    time: Timestamp,
    from: usize,
    to: usize,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The steps that led to it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<String>,
}

/// What the node autoscaler tells. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Explanations(Board<Inner>);

#[derive(Debug, Default)]
struct Inner {
    look: Option<Look>,
    /// The last look that found pods waiting, and when it was.
    wanted: Option<(Timestamp, Arc<GrowthPlan>)>,
    /// The last look that ordered nodes, or, before any did, the last that would have if it could.
    ordered: Option<(Timestamp, Arc<GrowthPlan>)>,
    nodes: BTreeMap<Arc<str>, Span>,
    groups: BTreeMap<GroupId, Span>,
    changes: BTreeMap<GroupId, VecDeque<SizeChange>>,
    journal: Journal<Entry>,
    ids: Ids,
    /// The flags that decisions rest on.
    settings: Option<Settings>,
    /// Quotas of objects, with what there is of each limited resource.
    quotas: Vec<(Quota, BTreeMap<String, i64>)>,
}

impl Explanations {
    /// Takes over what a look came to.
    pub fn tell(&self, look: Look) {
        self.0.tell(|inner| inner.tell(look));
    }

    /// Notes the settings, so that what-ifs decide alike: of removal, of growth, of taints that nodes
    /// shed, and the label of nodes with GPUs. To be told again when they change.
    pub fn configure(
        &self,
        removal: &ShrinkOptions,
        growth: &GrowthOptions,
        (taints, gpu_label): (&TaintRules, &'static str),
    ) {
        self.0.tell(|inner| {
            let known = inner.settings.as_ref().is_some_and(|known| {
                (&known.removal, &known.growth) == (removal, growth)
                    && (&known.taints, known.gpu_label) == (taints, gpu_label)
            });
            if !known {
                inner.settings = Some(Settings {
                    removal: removal.clone(),
                    growth: growth.clone(),
                    taints: taints.clone(),
                    gpu_label,
                });
            }
        });
    }

    /// Notes the quotas of objects, with what there is of each limited resource.
    pub fn quotas(&self, quotas: Vec<(Quota, BTreeMap<String, i64>)>) {
        self.0.tell(|inner| inner.quotas = quotas);
    }

    /// Notes that a group's size was set, or that this failed, and the steps that led to it.
    pub fn resized(
        &self,
        now: Timestamp,
        resize: &Resize,
        reason: &str,
        outcome: Result<(), String>,
    ) {
        let change = SizeChange {
            time: now,
            from: resize.from,
            to: resize.to,
            reason: reason.to_owned(),
            error: outcome.err(),
            trace: Vec::new(),
        };
        self.0.tell(|inner| inner.resized(&resize.group, change));
    }
}

impl Told for Inner {
    fn newest(&self) -> u64 {
        self.ids.newest()
    }

    fn latest(&self) -> Timestamp {
        self.look.as_ref().map(|look| look.now).unwrap_or_default()
    }

    fn wanted(&self, wanted: &Wanted) -> Vec<(u64, Value)> {
        let current = self.current();
        let all = self.journal.entries().chain(&current);
        let found = all.filter(|entry| {
            let about = About {
                kind: entry.kind,
                namespace: "",
                name: &entry.name,
            };
            wanted.has(about, &entry.span)
        });
        found.map(|entry| (entry.span.id, entry.shown())).collect()
    }
}

impl Inner {
    fn tell(&mut self, mut look: Look) {
        if let Some(plan) = &look.growth
            && !plan.pods.is_empty()
        {
            self.wanted = Some((look.now, Arc::clone(plan)));
            self.note_order(look.now, plan);
        }
        if let Some(old) = self.look.take() {
            look.growth = look.growth.or_else(|| old.growth.clone());
            look.shrink = look.shrink.or_else(|| old.shrink.clone());
            self.compare(&old, &look);
        } else {
            self.begin(&look);
        }
        self.look = Some(look);
    }

    fn resized(&mut self, group: &GroupId, mut change: SizeChange) {
        // Orders for a minimum or a replacement are of no look for pods.
        if let Some((_, plan)) = &self.ordered
            && plan
                .resizes
                .iter()
                .any(|one| one.group == *group && (one.from, one.to) == (change.from, change.to))
        {
            change.trace.clone_from(&plan.trace);
        }
        let changes = self.changes.entry(Arc::clone(group)).or_default();
        changes.push_back(change);
        if changes.len() > CHANGES {
            changes.pop_front();
        }
    }

    /// Looks that find room on nodes to come must not hide the one that ordered these.
    fn note_order(&mut self, now: Timestamp, plan: &Arc<GrowthPlan>) {
        let has_ordered = |(_, plan): &(Timestamp, Arc<GrowthPlan>)| !plan.resizes.is_empty();
        let tried = plan.outcome != GrowthOutcome::NotNeeded;
        let none_yet = !self.ordered.as_ref().is_some_and(has_ordered);
        if !plan.resizes.is_empty() || (tried && none_yet) {
            self.ordered = Some((now, Arc::clone(plan)));
        }
    }

    fn begin(&mut self, look: &Look) {
        for name in look.nodes().keys() {
            let span = self.ids.begin(look.now);
            self.nodes.insert(Arc::clone(name), span);
        }
        for group in look.groups.iter() {
            let span = self.ids.begin(look.now);
            self.groups.insert(Arc::clone(&group.id), span);
        }
    }

    /// Counts what is decided as before; logs what is not.
    fn compare(&mut self, old: &Look, new: &Look) {
        for (name, verdict) in old.nodes() {
            let now = new.nodes().get(name);
            if now.is_some_and(|now| journal::is_repeated(verdict, now)) {
                continue;
            }
            if let Some(span) = self.nodes.remove(name) {
                self.journal.push(Entry::of_node(span, name, verdict));
            }
        }
        for name in new.nodes().keys() {
            if let Some(span) = self.nodes.get_mut(name) {
                span.again(new.now);
            } else {
                let span = self.ids.begin(new.now);
                self.nodes.insert(Arc::clone(name), span);
            }
        }
        self.compare_groups(old, new);
    }

    fn compare_groups(&mut self, old: &Look, new: &Look) {
        let is_new = !same_plan(old.growth.as_ref(), new.growth.as_ref());
        for group in old.groups.iter() {
            let stays = new.groups.iter().any(|other| other.id == group.id);
            let (was, is) = (old.verdict(&group.id), new.verdict(&group.id));
            let grown = is_new && matches!(is, GroupVerdict::Grown(_));
            if stays && !grown && journal::is_alike(was, is) {
                continue;
            }
            if let Some(span) = self.groups.remove(&group.id) {
                self.journal.push(Entry::of_group(span, group, was));
            }
        }
        for group in new.groups.iter() {
            if let Some(span) = self.groups.get_mut(&group.id) {
                span.again(new.now);
            } else {
                let span = self.ids.begin(new.now);
                self.groups.insert(Arc::clone(&group.id), span);
            }
        }
        let known = |id: &GroupId| new.groups.iter().any(|group| group.id == *id);
        self.changes.retain(|id, _| known(id));
    }

    /// The decisions in force.
    fn current(&self) -> Vec<Entry> {
        let Some(look) = &self.look else {
            return Vec::new();
        };
        let nodes = self.nodes.iter().filter_map(|(name, span)| {
            let verdict = look.nodes().get(name)?;
            Some(Entry::of_node(*span, name, verdict))
        });
        let groups = look.groups.iter().filter_map(|group| {
            let span = self.groups.get(&group.id)?;
            Some(Entry::of_group(*span, group, look.verdict(&group.id)))
        });
        nodes.chain(groups).collect()
    }
}

impl Look {
    /// What is thought of each node.
    fn nodes(&self) -> &BTreeMap<Arc<str>, NodeVerdict> {
        static NONE: BTreeMap<Arc<str>, NodeVerdict> = BTreeMap::new();
        self.shrink.as_ref().map_or(&NONE, |plan| &plan.nodes)
    }

    /// What came of a group; where no pod waited, it was not needed.
    fn verdict(&self, group: &str) -> &GroupVerdict {
        let plan = self.growth.as_ref();
        let verdict = plan.and_then(|plan| plan.groups.get(group));
        verdict.unwrap_or(&GroupVerdict::NotNeeded)
    }
}

fn same_plan(one: Option<&Arc<GrowthPlan>>, other: Option<&Arc<GrowthPlan>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
