//! What node autoscaling tells of itself, under upstream's series names (reference §15).

use parking_lot::Mutex;
use plimsoll_api::exposition::{Exposition, Histogram, Kind, Page};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What every name begins with.
const PREFIX: &str = "cluster_autoscaler_";

/// Series with their kinds and helps, in the order they are shown.
const FAMILIES: [(&str, Kind, &str); 38] = [
    (
        "cluster_safe_to_autoscale",
        Kind::Gauge,
        "1 while the cluster is healthy enough to be changed.",
    ),
    ("nodes_count", Kind::Gauge, "Nodes by state."),
    ("node_groups_count", Kind::Gauge, "Node groups by type."),
    (
        "unschedulable_pods_count",
        Kind::Gauge,
        "Pods that no node can take.",
    ),
    (
        "max_nodes_count",
        Kind::Gauge,
        "Most nodes in all groups together.",
    ),
    (
        "cluster_cpu_current_cores",
        Kind::Gauge,
        "Cores of all nodes.",
    ),
    (
        "cpu_limits_cores",
        Kind::Gauge,
        "Least and most cores of all nodes.",
    ),
    (
        "cluster_memory_current_bytes",
        Kind::Gauge,
        "Memory of all nodes.",
    ),
    (
        "memory_limits_bytes",
        Kind::Gauge,
        "Least and most memory of all nodes.",
    ),
    (
        "last_activity",
        Kind::Gauge,
        "When a part of the loop last ran, in seconds since 1970.",
    ),
    ("errors_total", Kind::Counter, "Looks that failed, by type."),
    ("scaled_up_nodes_total", Kind::Counter, "Nodes added."),
    (
        "scaled_up_gpu_nodes_total",
        Kind::Counter,
        "Nodes with GPUs added.",
    ),
    (
        "scaled_down_nodes_total",
        Kind::Counter,
        "Nodes removed, by reason.",
    ),
    (
        "scaled_down_gpu_nodes_total",
        Kind::Counter,
        "Nodes with GPUs removed, by reason.",
    ),
    (
        "failed_scale_ups_total",
        Kind::Counter,
        "Attempts to add nodes that failed, by reason.",
    ),
    (
        "failed_gpu_scale_ups_total",
        Kind::Counter,
        "The same for nodes with GPUs.",
    ),
    (
        "failed_node_creations_total",
        Kind::Counter,
        "Instances the provider could not make.",
    ),
    (
        "evicted_pods_total",
        Kind::Counter,
        "Pods evicted, by result.",
    ),
    (
        "unneeded_nodes_count",
        Kind::Gauge,
        "Nodes that are not needed now.",
    ),
    (
        "unremovable_nodes_count",
        Kind::Gauge,
        "Nodes that stay, by reason.",
    ),
    (
        "scale_down_in_cooldown",
        Kind::Gauge,
        "1 while nothing is removed because of a delay.",
    ),
    (
        "old_unregistered_nodes_removed_count",
        Kind::Counter,
        "Instances removed that never became nodes.",
    ),
    (
        "overflowing_controllers_count",
        Kind::Gauge,
        "Controllers with too many kinds of pods; always 0.",
    ),
    (
        "skipped_scale_events_count",
        Kind::Counter,
        "Changes not made because of a limit.",
    ),
    (
        "skipped_pods_count",
        Kind::Gauge,
        "Waiting pods that were not looked at.",
    ),
    ("node_taints_count", Kind::Gauge, "Taints by type."),
    ("pending_node_deletions", Kind::Gauge, "Removals under way."),
    (
        "created_node_groups_total",
        Kind::Counter,
        "Groups created; always 0.",
    ),
    (
        "deleted_node_groups_total",
        Kind::Counter,
        "Groups deleted; always 0.",
    ),
    (
        "nap_enabled",
        Kind::Gauge,
        "1 if groups are created; always 0.",
    ),
    (
        "max_node_skip_eval_duration_seconds",
        Kind::Gauge,
        "Longest time a node was not looked at.",
    ),
    (
        "node_group_min_count",
        Kind::Gauge,
        "Smallest size of a group.",
    ),
    (
        "node_group_max_count",
        Kind::Gauge,
        "Largest size of a group.",
    ),
    (
        "node_group_target_count",
        Kind::Gauge,
        "Nodes a group was asked to have.",
    ),
    (
        "node_group_healthiness",
        Kind::Gauge,
        "1 while a group is healthy.",
    ),
    (
        "node_group_backoff_status",
        Kind::Gauge,
        "1 while a group is left alone after a failure, by reason.",
    ),
    (
        "plimsoll_pending_to_resize_seconds",
        Kind::Gauge,
        "Age of the oldest pod at the last resize for it.",
    ),
];

/// Upstream's buckets, thinned out.
static BOUNDS: [f64; 14] = [
    0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 60.0, 120.0,
];

/// Parts of the loop whose durations are counted (label `function`).
const FUNCTIONS: [&str; 9] = [
    "main",
    "cloudProviderRefresh",
    "updateClusterState",
    "filterOutSchedulable",
    "scaleUp",
    "findUnneeded",
    "scaleDown",
    "poll",
    "autoscaling",
];

/// Labels and their values.
type Series = Vec<(&'static str, String)>;

/// Counters and gauges. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    values: Mutex<BTreeMap<&'static str, BTreeMap<Series, f64>>>,
    durations: [Histogram<14>; 9],
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Inner {
            values: Mutex::default(),
            durations: std::array::from_fn(|_| Histogram::new(&BOUNDS)),
        }))
    }
}

impl Metrics {
    /// Sets a gauge.
    pub(super) fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let mut values = self.0.values.lock();
        values
            .entry(name)
            .or_default()
            .insert(series(labels), value);
    }

    /// Adds to a counter.
    pub(super) fn add(&self, name: &'static str, labels: &[(&'static str, &str)], count: usize) {
        let mut values = self.0.values.lock();
        let value = values.entry(name).or_default().entry(series(labels));
        *value.or_default() += figure(count);
    }

    /// Forgets all series of a name, before they are set anew.
    pub(super) fn clear(&self, name: &'static str) {
        self.0.values.lock().remove(name);
    }

    /// What a counter has come to, over all its series with this label.
    pub fn total(&self, name: &str, (label, value): (&str, &str)) -> usize {
        let values = self.0.values.lock();
        let series = values.get(name).into_iter().flatten();
        let wanted = series.filter(|(labels, _)| {
            let mut labels = labels.iter();
            labels.any(|(known, is)| *known == label && is == value)
        });
        let sum: f64 = wanted.map(|(_, count)| count).sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters are counts, far below 2^53"
        )]
        let count = sum as usize;
        count
    }

    /// Counts how long a part of the loop took.
    pub(super) fn took(&self, function: &str, duration: Duration) {
        let at = FUNCTIONS.iter().position(|name| *name == function);
        if let Some(histogram) = at.and_then(|at| self.0.durations.get(at)) {
            histogram.observe(duration);
        }
    }
}

fn series(labels: &[(&'static str, &str)]) -> Series {
    let labels = labels.iter();
    labels
        .map(|(label, value)| (*label, (*value).to_owned()))
        .collect()
}

/// A count as a value of a series.
#[expect(
    clippy::cast_precision_loss,
    reason = "series are floating-point numbers, exact far beyond any count of nodes"
)]
pub(super) fn figure(count: usize) -> f64 {
    count as f64
}

impl Exposition for Metrics {
    fn expose(&self, page: &mut Page) {
        let values = self.0.values.lock().clone();
        for (name, kind, help) in FAMILIES {
            let Some(all) = values.get(name) else {
                continue;
            };
            let name = if name.starts_with("plimsoll_") {
                name.to_owned()
            } else {
                format!("{PREFIX}{name}")
            };
            page.family(&name, kind, help);
            for (labels, value) in all {
                let labels = labels.iter();
                let labels: Vec<(&str, &str)> =
                    labels.map(|(label, value)| (*label, &**value)).collect();
                page.sample(&name, &labels, value);
            }
        }
        let name = format!("{PREFIX}function_duration_seconds");
        let help = "How long parts of the loop take.";
        page.family(&name, Kind::Histogram, help);
        for (function, histogram) in FUNCTIONS.iter().zip(&self.0.durations) {
            if histogram.count() > 0 {
                page.histogram(&name, &[("function", function)], histogram);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_shown_under_upstreams_names() {
        let metrics = Metrics::default();
        metrics.set("nodes_count", &[("state", "ready")], 3.0);
        metrics.add("scaled_up_nodes_total", &[], 2);
        metrics.add("scaled_up_nodes_total", &[], 3);
        metrics.took("main", Duration::from_millis(2));
        let mut page = Page::default();
        metrics.expose(&mut page);
        let text = page.into_text();
        for line in [
            "cluster_autoscaler_nodes_count{state=\"ready\"} 3\n",
            "# TYPE cluster_autoscaler_scaled_up_nodes_total counter\n",
            "cluster_autoscaler_scaled_up_nodes_total 5\n",
            "cluster_autoscaler_function_duration_seconds_count{function=\"main\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let result = "eviction_result";
        metrics.add("evicted_pods_total", &[(result, "succeeded")], 4);
        metrics.add("evicted_pods_total", &[(result, "failed")], 1);
        assert_eq!(
            metrics.total("evicted_pods_total", (result, "succeeded")),
            4
        );
        assert_eq!(metrics.total("evicted_pods_total", (result, "none")), 0);
        metrics.clear("nodes_count");
        let mut page = Page::default();
        metrics.expose(&mut page);
        assert!(!page.into_text().contains("nodes_count"));
    }
}
