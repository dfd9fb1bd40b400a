//! Which nodes a cheaper one could replace (opt-in; reference §17).
//!
//! ```text
//! no node is unneeded ─▶ best replacement, worth it for long enough ─▶ group grows by one
//!   ─▶ the new node is ready ─▶ the dearer ones are drained ─▶ done (or given up in time)
//! ```

use super::consolidate::{ConsolidationOptions, Replacement, Stake};
use super::eligibility::{is_being_deleted, is_disabled, is_ready};
use super::group::{GroupFacts, GroupId, NodeTemplate};
use super::planner::{Candidate, Scene};
use super::removal::KeepReason;
use super::running::ClusterNode;
use super::simulate::Simulation;
use crate::placement::PodFacts;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many times as long as a new node may take to be ready, the whole replacement may take.
const DRAIN_PATIENCE: i32 = 4;

/// A replacement under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnderWay {
    /// The group that grows.
    pub group: GroupId,
    /// The nodes that go then.
    pub replaces: BTreeSet<Arc<str>>,
    /// The nodes the group had before.
    before: BTreeSet<Arc<str>>,
    /// The new node, once it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new: Option<Arc<str>>,
    /// When the new node was asked for.
    pub asked: Timestamp,
}

impl UnderWay {
    /// Whether a node is the new one.
    pub(super) fn brings(&self, node: &ClusterNode) -> bool {
        self.new.as_ref() == Some(&node.name)
    }

    /// Finds the new node: the first by name of those the group did not have, and then that one for
    /// as long as it is there. Others are like any node.
    fn find_new(&mut self, nodes: &[ClusterNode]) {
        if self.new.is_some() && nodes.iter().any(|node| self.brings(node)) {
            return;
        }
        let mine = nodes.iter().filter(|node| {
            node.group.as_ref() == Some(&self.group) && !self.before.contains(&node.name)
        });
        self.new = mine.map(|node| Arc::clone(&node.name)).min();
    }
}

/// What is remembered of replacements.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replacements {
    /// The one under way: there is one at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under_way: Option<UnderWay>,
    /// Since when some replacement has been worth it.
    #[serde(skip_serializing_if = "Option::is_none")]
    worth_since: Option<Timestamp>,
    /// Until when none is tried, since one did not come about.
    #[serde(skip_serializing_if = "Option::is_none")]
    rest_until: Option<Timestamp>,
}

impl Replacements {
    /// Gives the replacement under way up, if it is in this group, and rests for a while.
    pub fn give_up(&mut self, group: &str, until: Timestamp) {
        let mine = self.under_way.take_if(|way| *way.group == *group);
        if mine.is_some() {
            self.rest_until = Some(until);
        }
    }

    /// Ends what is done, and gives up what takes too long. Returns what happened, in words.
    pub(super) fn advance(&mut self, scene: Scene<'_>) -> Option<String> {
        let Some(options) = &scene.options.consolidation else {
            let way = self.under_way.take()?;
            let group = way.group;
            return Some(format!(
                "replacement by a node of {group} is dropped: it is off"
            ));
        };
        let way = self.under_way.as_mut()?;
        way.find_new(scene.nodes);
        way.replaces
            .retain(|name| scene.nodes.iter().any(|node| node.name == *name));
        if way.replaces.is_empty() {
            let words = format!("replacement by a node of {} is done", way.group);
            self.under_way = None;
            return Some(words);
        }
        let patience = options.patience;
        let ready = scene
            .nodes
            .iter()
            .any(|node| way.brings(node) && is_ready(node));
        let (asked, group) = (way.asked, GroupId::clone(&way.group));
        let late = |times: i32| {
            let end = asked.saturating_add(patience.saturating_mul(times));
            end.is_ok_and(|end| end < scene.now)
        };
        let why = if ready && late(DRAIN_PATIENCE) {
            "the nodes it replaces did not go in time"
        } else if !ready && late(1) {
            "it did not become ready in time"
        } else {
            return None;
        };
        let rest = scene.now.saturating_add(patience).unwrap_or(Timestamp::MAX);
        self.give_up(&group, rest);
        Some(format!(
            "replacement by a node of {group} is given up: {why}"
        ))
    }

    /// Begins the best replacement once one has been worth it for long enough.
    pub(super) fn begin(
        &mut self,
        scene: Scene<'_>,
        options: &ConsolidationOptions,
        best: Option<Replacement>,
    ) -> Option<Replacement> {
        let Some(best) = best else {
            self.worth_since = None;
            return None;
        };
        let since = *self.worth_since.get_or_insert(scene.now);
        if since
            .saturating_add(options.after)
            .is_ok_and(|end| end > scene.now)
        {
            return None;
        }
        self.worth_since = None;
        let mine = |node: &&ClusterNode| node.group.as_ref() == Some(&best.group);
        let before = scene
            .nodes
            .iter()
            .filter(mine)
            .map(|node| Arc::clone(&node.name));
        self.under_way = Some(UnderWay {
            group: Arc::clone(&best.group),
            replaces: best.replaces.iter().cloned().collect(),
            before: before.collect(),
            new: None,
            asked: scene.now,
        });
        Some(best)
    }

    /// Whether a node is to go because something cheaper stands ready.
    ///
    /// # Errors
    /// It stays because of a replacement.
    pub(super) fn role_of(&self, node: &ClusterNode, scene: Scene<'_>) -> Result<bool, KeepReason> {
        let Some(way) = &self.under_way else {
            return Ok(false);
        };
        let stays = |why: String| Err(KeepReason::NotUnneededOtherReason(why));
        if way.brings(node) {
            let names: Vec<&str> = way.replaces.iter().map(|name| &**name).collect();
            return stays(format!("takes the place of {}", names.join(", ")));
        }
        if !way.replaces.contains(&node.name) {
            return Ok(false);
        }
        if scene
            .nodes
            .iter()
            .any(|node| way.brings(node) && is_ready(node))
        {
            return Ok(true);
        }
        stays(format!(
            "is replaced once a new node of {} is ready",
            way.group
        ))
    }

    /// Whether a replacement may be looked for.
    pub(super) fn may_search(&self, now: Timestamp) -> bool {
        self.under_way.is_none() && self.rest_until.is_none_or(|until| until <= now)
    }
}

/// Whether a node may be replaced at all.
pub(super) fn is_replaceable(node: &ClusterNode, group: &GroupFacts, now: Timestamp) -> bool {
    is_ready(node)
        && !is_disabled(node)
        && !is_being_deleted(node, now)
        && !group.options.zero_or_max_node_scaling
        && node.price_per_hour.is_some()
}

/// What a node is worth, and what its removal disturbs.
pub(super) fn stake(candidate: &Candidate<'_>) -> Stake {
    Stake {
        price: candidate.node.price_per_hour.unwrap_or(0.0),
        disruption: 1.0 + candidate.judged.disruption,
    }
}

/// The search for the best replacement.
pub(super) struct Search<'s, 'a> {
    pub(super) scene: Scene<'a>,
    pub(super) options: &'s ConsolidationOptions,
    /// All nodes that could be replaced, with their groups.
    pub(super) pool: Stake,
}

impl Search<'_, '_> {
    /// The best replacement of some of these nodes: as many as possible by one, else a single one.
    pub(super) fn best(
        &self,
        world: &mut Simulation<'_>,
        mut nodes: Vec<Candidate<'_>>,
    ) -> Option<Replacement> {
        nodes.sort_by(|one, other| {
            let worth = |candidate: &Candidate<'_>| stake(candidate).score(self.pool);
            let order = worth(other).total_cmp(&worth(one));
            order.then_with(|| one.node.name.cmp(&other.node.name))
        });
        let nodes: Vec<&Candidate<'_>> = nodes.iter().collect();
        self.longest(world, &nodes)
            .or_else(|| nodes.iter().find_map(|node| self.replace(world, &[*node])))
    }

    /// The longest row of nodes that one can replace, by halving.
    fn longest(&self, world: &mut Simulation<'_>, nodes: &[&Candidate<'_>]) -> Option<Replacement> {
        let (mut known, mut low) = (None, 1);
        let mut high = nodes.len().min(self.options.max_nodes);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let row = nodes.get(..middle)?;
            match self.replace(world, row) {
                Some(found) => (known, low) = (Some(found), middle),
                None => high = middle - 1,
            }
        }
        known
    }

    /// The cheapest group of which one node can replace these.
    fn replace(&self, world: &mut Simulation<'_>, nodes: &[&Candidate<'_>]) -> Option<Replacement> {
        let mut whole = Stake::default();
        for node in nodes {
            whole.add(stake(node));
        }
        if !self.leaves_minimum(nodes) {
            return None;
        }
        for (group, template, price) in self.groups_below(whole.price) {
            let saved = Stake {
                price: whole.price - price,
                ..whole
            };
            if !self.options.policy.accepts(saved, self.pool) {
                // Dearer ones save less.
                return None;
            }
            let rows = nodes
                .iter()
                .map(|node| (&node.node.name, &*node.judged.moves));
            let rows: Vec<(&Arc<str>, &[PodFacts])> = rows.collect();
            if world.could_replace(&rows, template) {
                return Some(self.replacement(group, nodes, saved));
            }
        }
        None
    }

    /// Whether no group would fall below its minimum.
    fn leaves_minimum(&self, nodes: &[&Candidate<'_>]) -> bool {
        let mut lost: BTreeMap<&str, usize> = BTreeMap::new();
        for node in nodes {
            *lost.entry(&*node.group.id).or_insert(0) += 1;
        }
        nodes.iter().all(|node| {
            let lost = lost.get(&*node.group.id).copied().unwrap_or(0);
            self.scene.size_of(node.group) >= node.group.min.saturating_add(lost)
        })
    }

    /// Groups that can grow, with nodes cheaper than this; the cheapest first.
    fn groups_below(&self, price: f64) -> Vec<(&GroupFacts, &NodeTemplate, f64)> {
        let groups = self.scene.groups.values().filter_map(|group| {
            let template = group.template.as_deref()?;
            let asked = template.price_per_hour?;
            let grows =
                group.exists && group.target < group.max && !group.options.zero_or_max_node_scaling;
            let grows = grows && !self.scene.cannot_grow.contains(&group.id);
            (grows && asked < price).then_some((*group, template, asked))
        });
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by(|one, other| one.2.total_cmp(&other.2).then(one.0.id.cmp(&other.0.id)));
        groups
    }

    fn replacement(
        &self,
        group: &GroupFacts,
        nodes: &[&Candidate<'_>],
        saved: Stake,
    ) -> Replacement {
        let names: Vec<Arc<str>> = nodes
            .iter()
            .map(|node| Arc::clone(&node.node.name))
            .collect();
        let score = saved.score(self.pool);
        let note = format!(
            "one node of {} in place of {} saves {:.4} $ an hour of {:.4}, and disturbs {:.2} of {:.2}: \
             score {score:.2}",
            group.id,
            names.join(", "),
            saved.price,
            self.pool.price,
            saved.disruption,
            self.pool.disruption,
        );
        Replacement {
            group: Arc::clone(&group.id),
            nodes: 1,
            replaces: names,
            saving_per_hour: saved.price,
            score,
            note,
        }
    }
}
