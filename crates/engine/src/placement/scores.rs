//! Soft rules: which of the fitting nodes is liked best.
//!
//! Weights and formulas: reference/embedded-cluster.md §16.

use super::filters::Effect;
use super::resources::Resources;
use super::snapshot::{NodeState, PodFacts, score_requests};

/// The weighted sum for every fitting node, in the order given.
pub(super) fn score(pod: &PodFacts, nodes: &[&NodeState]) -> Vec<i64> {
    let wanted = score_requests(&pod.requests);
    let taints = normalised_down(nodes.iter().map(|n| disliked_taints(pod, n)).collect());
    let affinity = normalised_up(nodes.iter().map(|n| preferred(pod, n)).collect());
    let spread = normalised_down(nodes.iter().map(|n| siblings(pod, n)).collect());
    nodes
        .iter()
        .zip(taints.iter().zip(affinity.iter().zip(&spread)))
        .map(|(node, (taint, (liked, apart)))| {
            3 * taint
                + 2 * liked
                + 2 * apart
                + least_allocated(&wanted, node)
                + balanced(&wanted, node)
        })
        .collect()
}

fn disliked_taints(pod: &PodFacts, node: &NodeState) -> i64 {
    let disliked = node
        .facts
        .taints
        .iter()
        .filter(|t| t.effect == Effect::PreferNoSchedule)
        .filter(|taint| !pod.tolerations.iter().any(|t| t.covers(taint)))
        .count();
    i64::try_from(disliked).unwrap_or(i64::MAX)
}

fn preferred(pod: &PodFacts, node: &NodeState) -> i64 {
    pod.affinity
        .preferred
        .iter()
        .filter(|p| p.term.matches(&node.facts.name, &node.facts.labels))
        .map(|p| p.weight)
        .sum()
}

fn siblings(pod: &PodFacts, node: &NodeState) -> i64 {
    let count = pod
        .group
        .as_ref()
        .and_then(|group| node.groups.get(group))
        .copied()
        .unwrap_or(0);
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The largest becomes 100.
fn normalised_up(raw: Vec<i64>) -> Vec<i64> {
    let max = raw.iter().copied().max().unwrap_or(0);
    raw.into_iter()
        .map(|v| if max > 0 { v * 100 / max } else { 0 })
        .collect()
}

/// The largest becomes 0, zero becomes 100.
fn normalised_down(raw: Vec<i64>) -> Vec<i64> {
    let max = raw.iter().copied().max().unwrap_or(0);
    raw.into_iter()
        .map(|v| if max > 0 { 100 - v * 100 / max } else { 100 })
        .collect()
}

/// Mean over cpu and memory of the free share after placing, 0–100.
fn least_allocated(wanted: &Resources, node: &NodeState) -> i64 {
    let free = |name: &str| {
        let capacity = node.facts.allocatable.amount(name);
        let used = node
            .used_for_score
            .amount(name)
            .saturating_add(wanted.amount(name));
        if capacity <= 0 || used > capacity {
            0
        } else {
            (capacity - used) * 100 / capacity
        }
    };
    i64::midpoint(free("cpu"), free("memory"))
}

/// 50 + half of how much evener the node's cpu and memory use becomes.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a score 0–100"
)]
fn balanced(wanted: &Resources, node: &NodeState) -> i64 {
    let share = |extra: i64, name: &str| {
        let capacity = node.facts.allocatable.amount(name).max(1) as f64;
        let used = node.used_for_score.amount(name).saturating_add(extra) as f64;
        (used / capacity).min(1.0)
    };
    // With two resources the standard deviation is half their distance.
    let evenness = |cpu: f64, memory: f64| (1.0 - (cpu - memory).abs() / 2.0) * 100.0;
    let before = evenness(share(0, "cpu"), share(0, "memory"));
    let after = evenness(
        share(wanted.cpu_milli, "cpu"),
        share(wanted.memory_bytes, "memory"),
    );
    50 + f64::midpoint(0.0, 50.0 + after - before) as i64
}
