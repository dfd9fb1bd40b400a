//! Counters of scraping, under metrics-server's names where it has them.

use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What has been counted so far. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct ScrapeStats(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    succeeded: u64,
    failed: u64,
    buckets: [u64; BUCKETS.len()],
    seconds: f64,
    malformed: u64,
    incomplete: u64,
    stale: u64,
    /// When each node last answered.
    last: BTreeMap<Arc<str>, Timestamp>,
}

impl ScrapeStats {
    /// Counts a request that was answered at `now`.
    pub(super) fn succeeded(&self, node: &Arc<str>, now: Timestamp, took: Duration) {
        let mut counts = self.0.lock();
        counts.succeeded += 1;
        counts.took(took);
        counts.last.insert(Arc::clone(node), now);
    }

    /// Counts a request that failed.
    pub(super) fn failed(&self, took: Duration) {
        let mut counts = self.0.lock();
        counts.failed += 1;
        counts.took(took);
    }

    /// Counts lines and pods that could not be used.
    pub(super) fn unusable(&self, lines: usize, pods: usize) {
        let mut counts = self.0.lock();
        counts.malformed += lines as u64;
        counts.incomplete += pods as u64;
    }

    /// Counts a node whose samples became too old.
    pub(super) fn stale(&self) {
        self.0.lock().stale += 1;
    }

    /// Forgets a node that is gone.
    pub(super) fn forget(&self, node: &str) {
        self.0.lock().last.remove(node);
    }

    /// Requests so far that were answered, and that failed.
    pub fn requests(&self) -> (u64, u64) {
        let counts = self.0.lock();
        (counts.succeeded, counts.failed)
    }

    /// The counters in Prometheus' text form; ages are as of `now`.
    pub fn render(&self, now: Timestamp) -> String {
        let counts = self.0.lock();
        let mut text = String::new();
        // Writing to a string does not fail.
        counts.write(&mut text, now).unwrap_or_default();
        text
    }
}

impl Counts {
    fn took(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        self.seconds += seconds;
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    fn write(&self, out: &mut String, now: Timestamp) -> std::fmt::Result {
        let name = "metrics_server_kubelet_request_total";
        head(out, name, "counter", "Requests sent to kubelets.")?;
        writeln!(out, "{name}{{success=\"false\"}} {}", self.failed)?;
        writeln!(out, "{name}{{success=\"true\"}} {}", self.succeeded)?;
        let name = "metrics_server_kubelet_request_duration_seconds";
        head(out, name, "histogram", "Duration of requests to kubelets.")?;
        for (count, bound) in self.buckets.iter().zip(BUCKETS) {
            writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {count}")?;
        }
        let total = self.succeeded + self.failed;
        writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {total}")?;
        writeln!(out, "{name}_sum {}\n{name}_count {total}", self.seconds)?;
        let name = "metrics_server_kubelet_last_request_time_seconds";
        head(out, name, "gauge", "When a node last answered.")?;
        for (node, at) in &self.last {
            writeln!(out, "{name}{{node=\"{node}\"}} {}", at.as_second())?;
        }
        let name = "plimsoll_scrape_age_seconds";
        head(
            out,
            name,
            "gauge",
            "Time since the node that answered longest ago did.",
        )?;
        let oldest = self.last.values().min();
        let age = oldest.map_or(0.0, |at| now.duration_since(*at).as_secs_f64());
        writeln!(out, "{name} {age}")?;
        for (name, help, count) in [
            (
                "plimsoll_scrape_malformed_lines_total",
                "Lines of wanted series that could not be read.",
                self.malformed,
            ),
            (
                "plimsoll_scrape_incomplete_pods_total",
                "Readings of pods that lack a series.",
                self.incomplete,
            ),
            (
                "plimsoll_scrape_stale_nodes_total",
                "Nodes whose samples became too old to be served.",
                self.stale,
            ),
        ] {
            head(out, name, "counter", help)?;
            writeln!(out, "{name} {count}")?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_metrics_servers_names() {
        let stats = ScrapeStats::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        stats.succeeded(&"n1".into(), at(100), Duration::from_millis(20));
        stats.failed(Duration::from_secs(10));
        let text = stats.render(at(107));
        for line in [
            "metrics_server_kubelet_request_total{success=\"true\"} 1",
            "metrics_server_kubelet_request_duration_seconds_bucket{le=\"0.025\"} 1",
            "metrics_server_kubelet_request_duration_seconds_count 2",
            "metrics_server_kubelet_last_request_time_seconds{node=\"n1\"} 100",
            "plimsoll_scrape_age_seconds 7",
        ] {
            assert!(
                text.lines().any(|one| one == line),
                "{line} is not in {text}"
            );
        }
    }
}
