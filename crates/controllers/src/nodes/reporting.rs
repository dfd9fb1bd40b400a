//! What each look leaves behind for people and for other programs.

use super::explanation::{GroupStanding, Look};
use super::metrics::figure;
use super::status::StatusInput;
use super::work::{Work, epoch_seconds};
use jiff::Timestamp;
use plimsoll_engine::cluster::{
    CLUSTER_WIDE, ClusterHealth, GroupFacts, GroupId, GrowthPlan, NodeVerdict, ShrinkOptions,
    ShrinkPlan,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the newest look decided, where it asked.
pub(super) type Decided = (Option<Arc<GrowthPlan>>, Option<Arc<ShrinkPlan>>);

/// Figures that only matter when they change.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pending: usize,
    evictions: super::actuation::Evictions,
}

impl Counted {
    /// Whether no pod was waiting at the last look.
    pub(super) fn is_idle(&mut self, pending: usize) -> bool {
        std::mem::replace(&mut self.pending, pending) == 0
    }
}

impl Work {
    /// Notes that a part of the loop ran.
    pub(super) fn active(&self, activity: &str, now: Timestamp) {
        let labels = [("activity", activity)];
        let metrics = &self.signals.metrics;
        metrics.set("last_activity", &labels, epoch_seconds(now));
    }

    /// Tells the status ConfigMap, the series and the explanations.
    pub(super) fn report(
        &mut self,
        groups: &[GroupFacts],
        health: &ClusterHealth,
        (growth, shrink): Decided,
        now: Timestamp,
    ) {
        let candidates = self.candidates(shrink.as_deref());
        let (registry, shown) = (&self.registry, groups);
        self.status.tell(&StatusInput {
            health,
            groups: shown,
            candidates: &candidates,
            growing: &|group| registry.requests.contains_key(group),
            backoff: &|group| registry.backoff.window(group, now).cloned(),
            now,
        });
        self.measure(groups, health, now);
        if let Some(plan) = &shrink {
            self.measure_removal(plan);
        }
        let members = self.world.nodes.values().filter_map(|node| {
            let group = node.group.as_ref()?;
            Some((Arc::clone(&node.name), Arc::clone(group)))
        });
        let usual = ShrinkOptions::default();
        let removal = self.options.shrink.as_ref().unwrap_or(&usual);
        let nodes = (&self.options.templates.taints, self.provider.gpu_label());
        let explanations = &self.signals.explanations;
        explanations.configure(removal, &self.options.growth, nodes);
        explanations.tell(Look {
            now,
            groups: groups.into(),
            standing: standing(health),
            growth,
            shrink,
            members: members.collect(),
        });
    }

    /// How many nodes of each group are not needed.
    fn candidates(&self, plan: Option<&ShrinkPlan>) -> BTreeMap<GroupId, usize> {
        let mut candidates = BTreeMap::new();
        let verdicts = plan.into_iter().flat_map(|plan| &plan.nodes);
        for (name, _) in verdicts.filter(|(_, v)| matches!(v, NodeVerdict::Unneeded { .. })) {
            let node = self.world.nodes.get(name);
            if let Some(group) = node.and_then(|node| node.group.as_ref()) {
                *candidates.entry(Arc::clone(group)).or_default() += 1;
            }
        }
        candidates
    }

    fn measure(&mut self, groups: &[GroupFacts], health: &ClusterHealth, now: Timestamp) {
        let metrics = &self.signals.metrics;
        let safe = figure(usize::from(health.healthy));
        metrics.set("cluster_safe_to_autoscale", &[], safe);
        let counts = &health.counts;
        for (state, count) in [
            ("ready", counts.ready),
            ("unready", counts.unready),
            ("notStarted", counts.not_started),
            ("longUnregistered", counts.long_unregistered),
            ("unregistered", counts.unregistered),
        ] {
            metrics.set("nodes_count", &[("state", state)], figure(count));
        }
        let kind = [("node_group_type", "manual")];
        metrics.set("node_groups_count", &kind, figure(groups.len()));
        let most: usize = groups.iter().map(|group| group.max).sum();
        metrics.set("max_nodes_count", &[], figure(most));
        let pending = [("type", "unschedulable")];
        let waiting = figure(self.world.pending.len());
        metrics.set("unschedulable_pods_count", &pending, waiting);
        self.measure_capacity();
        if self.options.report.per_group_metrics {
            self.measure_groups(groups, health, now);
        }
        let evictions = self.actuator.evictions();
        let before = std::mem::replace(&mut self.counted.evictions, evictions);
        for (result, count, known) in [
            ("succeeded", evictions.succeeded, before.succeeded),
            ("failed", evictions.failed, before.failed),
        ] {
            let more = usize::try_from(count.saturating_sub(known)).unwrap_or(0);
            if more > 0 {
                let labels = [("eviction_result", result)];
                self.signals
                    .metrics
                    .add("evicted_pods_total", &labels, more);
            }
        }
        let running = figure(self.actuator.running().len());
        self.signals
            .metrics
            .set("pending_node_deletions", &[], running);
    }

    fn measure_capacity(&self) {
        let (mut milli, mut bytes) = (0_i64, 0_i64);
        let (mut hard, mut soft) = (0, 0);
        for node in self.world.nodes.values() {
            milli = milli.saturating_add(node.capacity.cpu_milli);
            bytes = bytes.saturating_add(node.capacity.memory_bytes);
            hard += usize::from(node.being_deleted.is_some());
            soft += usize::from(node.candidate.is_some());
        }
        let metrics = &self.signals.metrics;
        let positive = |amount: i64| figure(usize::try_from(amount).unwrap_or(0));
        metrics.set("cluster_cpu_current_cores", &[], positive(milli / 1000));
        metrics.set("cluster_memory_current_bytes", &[], positive(bytes));
        self.measure_limits();
        // What never happens here.
        for name in [
            "skipped_pods_count",
            "overflowing_controllers_count",
            "max_node_skip_eval_duration_seconds",
            "nap_enabled",
        ] {
            metrics.set(name, &[], 0.0);
        }
        let kinds = [("to-be-deleted", hard), ("deletion-candidate", soft)];
        for (kind, count) in kinds {
            metrics.set("node_taints_count", &[("type", kind)], figure(count));
        }
    }

    /// `--cores-total` and `--memory-total`.
    fn measure_limits(&self) {
        let metrics = &self.signals.metrics;
        let quotas = &self.options.growth.quotas;
        let whole = quotas.iter().find(|quota| quota.id == CLUSTER_WIDE);
        let floors = self.options.shrink.iter().flat_map(|shrink| &shrink.floors);
        let floor = floors
            .into_iter()
            .find(|floor| *floor.name == *CLUSTER_WIDE);
        for (name, resource, unit) in [
            ("cpu_limits_cores", "cpu", 1000),
            ("memory_limits_bytes", "memory", 1),
        ] {
            let least = floor.and_then(|floor| floor.least.get(resource).copied());
            let most = whole.and_then(|whole| whole.limits.get(resource));
            let limits = [
                ("minimum", Some(least.unwrap_or(0))),
                ("maximum", most.map(|most| most / unit)),
            ];
            for (direction, amount) in limits {
                if let Some(amount) = amount {
                    let amount = figure(usize::try_from(amount).unwrap_or(0));
                    metrics.set(name, &[("direction", direction)], amount);
                }
            }
        }
    }

    fn measure_groups(&self, groups: &[GroupFacts], health: &ClusterHealth, now: Timestamp) {
        let metrics = &self.signals.metrics;
        for name in [
            "node_group_min_count",
            "node_group_max_count",
            "node_group_target_count",
            "node_group_healthiness",
            "node_group_backoff_status",
        ] {
            metrics.clear(name);
        }
        for group in groups {
            let labels = [("node_group", &*group.id)];
            metrics.set("node_group_min_count", &labels, figure(group.min));
            metrics.set("node_group_max_count", &labels, figure(group.max));
            metrics.set("node_group_target_count", &labels, figure(group.target));
            let healthy = health.groups.get(&group.id).is_some_and(|h| h.healthy);
            let healthy = figure(usize::from(healthy));
            metrics.set("node_group_healthiness", &labels, healthy);
            if let Some(window) = self.registry.backoff.window(&group.id, now) {
                let labels = [("node_group", &*group.id), ("reason", &*window.code)];
                metrics.set("node_group_backoff_status", &labels, 1.0);
            }
        }
    }

    fn measure_removal(&self, plan: &ShrinkPlan) {
        let mut unneeded = 0_usize;
        let mut kept: BTreeMap<&'static str, usize> = BTreeMap::new();
        for verdict in plan.nodes.values() {
            match verdict {
                NodeVerdict::Unneeded { .. } => unneeded += 1,
                NodeVerdict::Kept(reason) => *kept.entry(reason.name()).or_default() += 1,
            }
        }
        let metrics = &self.signals.metrics;
        metrics.set("unneeded_nodes_count", &[], figure(unneeded));
        metrics.clear("unremovable_nodes_count");
        for (reason, count) in kept {
            let labels = [("reason", reason)];
            metrics.set("unremovable_nodes_count", &labels, figure(count));
        }
        let cooldown = figure(usize::from(plan.cooldown.is_some()));
        metrics.set("scale_down_in_cooldown", &[], cooldown);
    }
}

fn standing(health: &ClusterHealth) -> BTreeMap<GroupId, GroupStanding> {
    let groups = health.groups.iter();
    groups
        .map(|(id, group)| {
            let counts = &group.counts;
            let standing = GroupStanding {
                healthy: group.healthy,
                ready: counts.ready,
                unready: counts.unready,
                not_started: counts.not_started,
                unregistered: counts.unregistered,
                long_unregistered: counts.long_unregistered,
                upcoming: group.upcoming,
                being_deleted: counts.being_deleted,
            };
            (Arc::clone(id), standing)
        })
        .collect()
}
