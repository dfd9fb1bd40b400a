//! Promises that are not kept: instances that fail, that never become nodes, sizes that nothing
//! stands behind (reference §11).

use super::actuation::{Floor, Unwanted};
use super::calls::late;
use super::registry::{Failed, code};
use super::work::Work;
use jiff::Timestamp;
use plimsoll_api::nodegroup::{NodeGroup, ProviderError};
use plimsoll_engine::cluster::{ClusterHealth, GroupFacts, GroupId};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Work {
    /// Closes requests that were kept, and those whose time is up. Returns whether there were any
    /// of the latter: what they promised is to be judged anew.
    pub(super) fn settle(
        &mut self,
        groups: &[GroupFacts],
        health: &ClusterHealth,
        now: Timestamp,
    ) -> bool {
        for group in groups {
            let Some(health) = health.groups.get(&group.id) else {
                continue;
            };
            let counts = &health.counts;
            let there = counts.ready + counts.unready + counts.suspended;
            let is_ordered = self.calls.ordered(&group.id).is_some();
            let all = there + counts.long_unregistered >= group.target;
            if all && !is_ordered && self.registry.fulfilled(&group.id) {
                tracing::info!(group = %group.id, size = there, "all nodes that were asked for are there");
            }
        }
        let expired = self.registry.expired(now);
        let any = !expired.is_empty();
        for (group, request) in expired {
            let patience = self.provision_time(&group);
            self.told.trouble(
                "ScaleUpTimedOut",
                format!("Nodes added to group {group} failed to register within {patience:#}"),
            );
            let why = ("timeout", "nodes did not come in time");
            let options = &self.options.backoff;
            self.registry.backoff.fail(&group, now, why, options);
            // What it lacks has been awaited for long enough.
            self.registry
                .short_since
                .insert(Arc::clone(&group), request.since);
            self.signals
                .metrics
                .add("failed_scale_ups_total", &[("reason", "timeout")], 1);
        }
        any
    }

    /// Removes instances that are none, and lowers sizes that nothing stands behind. Returns
    /// whether a size was lowered, so that the sizes that are known hold no more.
    pub(super) async fn repair(
        &mut self,
        groups: &[GroupFacts],
        health: &ClusterHealth,
        failed: Vec<Failed>,
    ) -> bool {
        let now = self.context.clock.now();
        if self.options.observe_only {
            return false;
        }
        let mut gone = 0;
        let mut by_group: BTreeMap<GroupId, Vec<Arc<str>>> = BTreeMap::new();
        for one in failed {
            by_group.entry(one.group).or_default().push(one.instance);
        }
        let floor = floor(self.options.repair.force_delete_failed);
        for (group, ids) in by_group {
            gone += self.discard(&group, &ids, (Unwanted::Failed, floor)).await;
        }
        let floor = self::floor(self.options.repair.force_delete_unregistered);
        for (group, health) in &health.groups {
            let ids = &health.long_unregistered;
            if !ids.is_empty() {
                let old = self
                    .discard(group, ids, (Unwanted::Unregistered, floor))
                    .await;
                let metrics = &self.signals.metrics;
                metrics.add("old_unregistered_nodes_removed_count", &[], old);
                gone += old;
            }
        }
        let lowered = self.revert(groups, health, now).await;
        if gone > 0 || lowered {
            // What is there now is known a little later.
            self.look_within(self.options.pace.calm);
        }
        lowered
    }

    /// Groups whose instances could not be made are left alone for a while.
    pub(super) fn blame(&mut self, failed: &[Failed], now: Timestamp) {
        let mut new: BTreeMap<GroupId, Vec<&Failed>> = BTreeMap::new();
        for one in failed.iter().filter(|one| one.is_new) {
            new.entry(Arc::clone(&one.group)).or_default().push(one);
        }
        for (group, failures) in new {
            let count = failures.len();
            let Some(first) = failures.first() else {
                continue;
            };
            let problem = &first.problem;
            let code = code(problem.class, &problem.code);
            self.registry.gave_up(&group, count);
            let why = (&*code, &*problem.message);
            let options = &self.options.backoff;
            self.registry.backoff.fail(&group, now, why, options);
            self.told.trouble(
                "ScaleUpFailed",
                format!(
                    "Failed adding {count} nodes to group {group} due to {code}: {}",
                    problem.message
                ),
            );
            let metrics = &self.signals.metrics;
            metrics.add("failed_scale_ups_total", &[("reason", &code)], 1);
            metrics.add("failed_node_creations_total", &[("reason", &code)], count);
        }
    }

    /// Removes instances of a group. Returns how many went.
    async fn discard(&mut self, id: &str, ids: &[Arc<str>], how: (Unwanted, Floor)) -> usize {
        let Some(group) = self.group(id) else {
            return 0;
        };
        let ids = self.registry.newly_unwanted(ids, self.context.clock.now());
        if ids.is_empty() {
            return 0;
        }
        self.calls.forget(id);
        let timeout = self.options.pace.provider_timeout;
        let work = self.actuator.delete_instances(&group, &ids, how);
        let gone = tokio::time::timeout(timeout, work).await;
        gone.unwrap_or_else(|_| Err(late(timeout)))
            .unwrap_or_else(|error: ProviderError| {
                tracing::warn!(group = id, %error, "instances that are no nodes are still there");
                0
            })
    }

    /// Lowers the sizes of groups that lack nodes for too long.
    async fn revert(
        &mut self,
        groups: &[GroupFacts],
        health: &ClusterHealth,
        now: Timestamp,
    ) -> bool {
        let mut changed = false;
        for facts in groups {
            let Some(health) = health.groups.get(&facts.id) else {
                continue;
            };
            let short = health.overstated_by > 0 && self.calls.ordered(&facts.id).is_none();
            let Some(since) = self.registry.is_short(&facts.id, short, now) else {
                continue;
            };
            if now.duration_since(since) < facts.options.max_node_provision_time {
                continue;
            }
            let Some(group) = self.group(&facts.id) else {
                continue;
            };
            let existing = facts.target.saturating_sub(health.overstated_by);
            changed |= self.lower(&group, existing).await;
        }
        changed
    }

    async fn lower(&mut self, group: &NodeGroup, existing: usize) -> bool {
        self.calls.forget(&group.id);
        let timeout = self.options.pace.provider_timeout;
        let work = self.actuator.revert_target(group, existing);
        let done = tokio::time::timeout(timeout, work).await;
        match done.unwrap_or_else(|_| Err(late(timeout))) {
            Ok(by) => {
                tracing::info!(group = %group.id, by, "lowered the size to what there is");
                self.registry.short_since.remove(&group.id);
                by > 0
            }
            Err(error) => {
                tracing::warn!(group = %group.id, %error, "the size could not be lowered");
                false
            }
        }
    }

    fn group(&self, id: &str) -> Option<NodeGroup> {
        let group = self.groups.iter().find(|group| *group.id == *id);
        group.cloned()
    }
}

fn floor(forced: bool) -> Floor {
    if forced { Floor::Ignore } else { Floor::Keep }
}
