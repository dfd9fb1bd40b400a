//! Fewer nodes: who is not needed, and what became of removals.

use super::actuation::Phase;
use super::growing::compute;
use super::work::Work;
use crate::runtime::chain;
use jiff::Timestamp;
use plimsoll_engine::cluster::{
    ClusterHealth, Deletion, Deletions, GroupFacts, GrowthPlan, Happened, NodeVerdict, Resize,
    ShrinkInput, ShrinkPlan, in_words,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::time::Instant;

impl Work {
    /// Releases nodes that an earlier life had marked for removal.
    pub(super) async fn clean_up(&mut self) {
        if self.options.observe_only {
            self.unclean = false;
            return;
        }
        match self.actuator.clean_up_leftovers().await {
            Ok(released) => {
                self.unclean = false;
                if !released.is_empty() {
                    tracing::info!(?released, "released nodes that were to be removed");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "nodes that were to be removed are not released yet");
            }
        }
    }

    /// Decides which nodes are not needed, and begins to remove those that go now.
    pub(super) fn shrink(
        &mut self,
        groups: &[GroupFacts],
        known: (&ClusterHealth, Option<&GrowthPlan>),
        now: Timestamp,
    ) -> Option<Arc<ShrinkPlan>> {
        self.take_outcomes();
        let expected = std::mem::take(&mut self.expected);
        let cannot_grow = self.cannot_grow(groups, known, now);
        let options = self.options.shrink.as_ref()?;
        let began = Instant::now();
        let nodes = self.world.listed();
        let budgets = self.world.budgets();
        let in_progress = self.in_progress();
        // Parity: nothing is removed while nodes are being ordered.
        let growing = self.calls.any();
        let cooldown = growing.map(|group| format!("group {group} is being grown"));
        let (planner, snapshot, pods) = (
            &mut self.planner,
            &mut self.world.snapshot,
            &self.world.pods,
        );
        let (buffers, booked) = (&self.buffers.held, &self.provisioning.held);
        let plan = compute(|| {
            snapshot.fork();
            buffers.put(snapshot);
            booked.put(snapshot);
            let plan = planner.look(ShrinkInput {
                snapshot: &mut *snapshot,
                nodes: &nodes,
                pods,
                groups,
                budgets: &budgets,
                in_progress: &in_progress,
                expected: &expected,
                cannot_grow: &cannot_grow,
                options,
                cooldown,
                now,
            });
            snapshot.revert();
            plan
        });
        self.took("findUnneeded", began);
        for step in &plan.trace {
            tracing::debug!("{step}");
        }
        if !self.options.observe_only {
            Self::log_ages(&plan, now);
            self.replace(&plan, groups, now);
            self.actuator.start(&plan);
            self.mark(&plan, groups);
        }
        self.active("scaleDown", now);
        self.took("scaleDown", began);
        Some(Arc::new(plan))
    }

    /// Orders nodes that dearer ones go for once they are ready.
    fn replace(&mut self, plan: &ShrinkPlan, groups: &[GroupFacts], now: Timestamp) {
        let mut resizes = Vec::new();
        for replacement in &plan.replacements {
            let group = groups.iter().find(|group| group.id == replacement.group);
            let backed_off = self.registry.backoff.window(&replacement.group, now);
            let rests = backed_off.map(|window| window.until);
            let is_free = self.calls.ordered(&replacement.group).is_none();
            let has_room = |group: &&GroupFacts| group.target < group.max;
            let may = is_free && rests.is_none();
            let Some(group) = group.filter(has_room).filter(|_| may) else {
                let usual = now.checked_add(self.options.backoff.initial);
                let until = rests.or(usual.ok()).unwrap_or(Timestamp::MAX);
                self.planner.replacement_failed(&replacement.group, until);
                continue;
            };
            tracing::info!("Consolidation: {}", replacement.note);
            resizes.push(Resize {
                group: Arc::clone(&group.id),
                from: group.target,
                to: (group.target + replacement.nodes).min(group.max),
                max: group.max,
            });
        }
        self.order_alone(resizes, now);
    }

    /// The line that people look for in the log.
    fn log_ages(plan: &ShrinkPlan, now: Timestamp) {
        for removal in plan.empty.iter().chain(&plan.drain) {
            let age = now.duration_since(removal.since);
            tracing::info!("{} was unneeded for {}", removal.node, in_words(age));
        }
    }

    /// Lets soft taints say which nodes are not needed, in the background.
    fn mark(&mut self, plan: &ShrinkPlan, groups: &[GroupFacts]) {
        if self.soft.as_ref().is_some_and(|soft| !soft.is_finished()) {
            return;
        }
        let known: BTreeSet<&str> = groups.iter().map(|group| &*group.id).collect();
        let nodes = self.world.nodes.values();
        let ours: BTreeSet<Arc<str>> = nodes
            .filter(|node| node.group.as_ref().is_some_and(|g| known.contains(&**g)))
            .map(|node| Arc::clone(&node.name))
            .collect();
        let unneeded: BTreeMap<Arc<str>, Timestamp> = plan
            .nodes
            .iter()
            .filter_map(|(name, verdict)| match verdict {
                NodeVerdict::Unneeded { since, .. } => Some((Arc::clone(name), *since)),
                NodeVerdict::Kept(_) => None,
            })
            .collect();
        let marked = |node: &plimsoll_engine::cluster::ClusterNode| node.candidate.is_some();
        if unneeded.is_empty() && !self.world.nodes.values().any(marked) {
            return;
        }
        let actuator = Arc::clone(&self.actuator);
        self.soft = Some(tokio::spawn(async move {
            let is_ours = move |name: &str| ours.contains(name);
            actuator.mark_candidates(&unneeded, &is_ours).await;
        }));
    }

    /// Removals under way, and pods that will come back.
    fn in_progress(&self) -> Deletions {
        let running = self.going.iter();
        let running = running.filter(|one| one.phase != Phase::Leaving);
        let nodes = running.map(|one| {
            let deletion = Deletion {
                group: Arc::clone(&one.group),
                drains: one.drain,
                since: one.since,
            };
            (Arc::clone(&one.node), deletion)
        });
        let evicted = self.actuator.recently_evicted();
        Deletions {
            nodes: nodes.collect(),
            evicted: self.world.evicted(&evicted),
        }
    }

    /// What became of removals, whoever is interested.
    fn take_outcomes(&mut self) {
        for outcome in self.actuator.outcomes() {
            let happened = match &outcome.result {
                Ok(()) => Happened::Deleted,
                Err(_) => Happened::Failed,
            };
            self.planner.note(happened, &outcome.group, outcome.at);
            if outcome.result.is_ok() {
                self.calls.forget(&outcome.group);
                let reason = [("reason", outcome.reason.name())];
                let metrics = &self.signals.metrics;
                metrics.add("scaled_down_nodes_total", &reason, 1);
            } else {
                let metrics = &self.signals.metrics;
                metrics.add("errors_total", &[("type", "scaleDownError")], 1);
            }
            let group = self.groups.iter().find(|group| group.id == outcome.group);
            let Some(group) = group else {
                continue;
            };
            let resize = Resize {
                group: Arc::clone(&group.id),
                from: group.target,
                to: group.target.saturating_sub(1),
                max: group.max,
            };
            let why = format!("node {} is not needed", outcome.node);
            let told = outcome.result.as_ref().map_err(|error| chain(error));
            let told = told.copied();
            self.signals
                .explanations
                .resized(outcome.at, &resize, &why, told);
        }
    }

    /// The cluster is in no state to be judged.
    pub(super) fn unhealthy(&mut self) {
        self.take_outcomes();
        self.planner.forget_unneeded();
        self.told
            .trouble("ClusterUnhealthy", "Cluster is unhealthy".to_owned());
    }
}
