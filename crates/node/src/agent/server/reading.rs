//! What a node and its containers use at a moment.

use super::super::board::{PodEntry, PodName, Shown};
use super::super::{Agents, Node};
use crate::runtime::{Counters, RuntimeCounters};
use jiff::Timestamp;
use std::sync::Arc;

/// One container.
#[derive(Debug, Clone)]
pub(super) struct Used {
    pub(super) name: Arc<str>,
    pub(super) id: Arc<str>,
    pub(super) since: Timestamp,
    pub(super) counters: Counters,
}

/// One pod with its running containers.
#[derive(Debug, Clone)]
pub(super) struct UsedByPod {
    pub(super) name: PodName,
    pub(super) uid: Arc<str>,
    pub(super) containers: Vec<Used>,
}

/// All of a node.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    pub(super) node: String,
    pub(super) at: Timestamp,
    /// Since when the node is run.
    pub(super) since: Timestamp,
    pub(super) cpu_milli: u64,
    pub(super) memory_bytes: u64,
    pub(super) total: Counters,
    pub(super) pods: Vec<UsedByPod>,
    /// Whether the runtime could not be asked.
    pub(super) failed: bool,
}

impl Reading {
    /// Asks the node's runtime.
    pub(super) async fn take(agents: &Agents, node: &Node) -> Self {
        let counted = node.runtime.counters().await;
        let failed = counted.is_err();
        let counted = counted.unwrap_or_default();
        let pods = agents.shared.board.of_node(&node.name);
        Self {
            node: node.name.clone(),
            at: agents.shared.clock.now(),
            since: node.since,
            cpu_milli: node.spec.cpu_milli,
            memory_bytes: node.spec.memory_bytes,
            total: counted.nodes.get(&node.name).copied().unwrap_or_default(),
            pods: pods
                .into_iter()
                .map(|(name, entry)| pod(name, entry, &counted))
                .collect(),
            failed,
        }
    }
}

fn pod(name: PodName, entry: PodEntry, counted: &RuntimeCounters) -> UsedByPod {
    let running = entry.containers.into_iter().filter_map(|container| {
        let Shown::Running(id, since) = container.shown else {
            return None;
        };
        let counters = counted.containers.get(&*id).copied()?;
        Some(Used {
            name: container.name,
            id,
            since,
            counters,
        })
    });
    UsedByPod {
        name,
        uid: entry.uid,
        containers: running.collect(),
    }
}

impl UsedByPod {
    /// The sum of its containers.
    pub(super) fn total(&self) -> Counters {
        let mut total = Counters::default();
        for used in &self.containers {
            total.cpu_nanos = total.cpu_nanos.saturating_add(used.counters.cpu_nanos);
            total.memory_bytes = total
                .memory_bytes
                .saturating_add(used.counters.memory_bytes);
        }
        total
    }
}

/// Mean use since a start, in nanocores.
pub(super) fn mean(cpu_nanos: u64, since: Timestamp, at: Timestamp) -> u64 {
    let elapsed = u128::try_from(at.duration_since(since).as_nanos()).unwrap_or_default();
    let used = u128::from(cpu_nanos) * 1_000_000_000;
    u64::try_from(used.checked_div(elapsed).unwrap_or_default()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_time_used_over_time_passed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(mean(5_000_000_000, at(0), at(10)), 500_000_000);
        assert_eq!(mean(5, at(10), at(10)), 0);
    }
}
