//! Counters of scraping, under metrics-server's names where it has them.

use jiff::Timestamp;
use parking_lot::Mutex;
use plimsoll_api::exposition::{Exposition, Histogram, Kind, Page};
use plimsoll_clock::Clock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds.
static BUCKETS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What has been counted so far. Clones share it.
#[derive(Debug, Clone)]
pub struct ScrapeStats(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    clock: Clock,
    succeeded: AtomicU64,
    failed: AtomicU64,
    took: Histogram<11>,
    malformed: AtomicU64,
    incomplete: AtomicU64,
    stale: AtomicU64,
    /// When each node last answered.
    last: Mutex<BTreeMap<Arc<str>, Timestamp>>,
}

impl ScrapeStats {
    /// Nothing counted yet; ages are told by `clock`.
    pub(super) fn new(clock: Clock) -> Self {
        Self(Arc::new(Counts {
            clock,
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            took: Histogram::new(&BUCKETS),
            malformed: AtomicU64::new(0),
            incomplete: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            last: Mutex::default(),
        }))
    }

    /// Counts a request that was answered now.
    pub(super) fn succeeded(&self, node: &Arc<str>, took: Duration) {
        self.0.succeeded.fetch_add(1, Ordering::Relaxed);
        self.0.took.observe(took);
        let now = self.0.clock.now();
        self.0.last.lock().insert(Arc::clone(node), now);
    }

    /// Counts a request that failed.
    pub(super) fn failed(&self, took: Duration) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
        self.0.took.observe(took);
    }

    /// Counts lines and pods that could not be used.
    pub(super) fn unusable(&self, lines: usize, pods: usize) {
        self.0.malformed.fetch_add(lines as u64, Ordering::Relaxed);
        self.0.incomplete.fetch_add(pods as u64, Ordering::Relaxed);
    }

    /// Counts a node whose samples became too old.
    pub(super) fn stale(&self) {
        self.0.stale.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets a node that is gone.
    pub(super) fn forget(&self, node: &str) {
        self.0.last.lock().remove(node);
    }

    /// Requests so far that were answered, and that failed.
    pub fn requests(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.0.succeeded), read(&self.0.failed))
    }
}

impl Exposition for ScrapeStats {
    fn expose(&self, page: &mut Page) {
        let counts = &*self.0;
        let (succeeded, failed) = self.requests();
        let name = "metrics_server_kubelet_request_total";
        page.family(name, Kind::Counter, "Requests sent to kubelets.");
        page.sample(name, &[("success", "false")], failed);
        page.sample(name, &[("success", "true")], succeeded);
        let name = "metrics_server_kubelet_request_duration_seconds";
        page.family(name, Kind::Histogram, "Duration of requests to kubelets.");
        page.histogram(name, &[], &counts.took);
        let last = counts.last.lock();
        let name = "metrics_server_kubelet_last_request_time_seconds";
        page.family(name, Kind::Gauge, "When a node last answered.");
        for (node, at) in last.iter() {
            page.sample(name, &[("node", node)], at.as_second());
        }
        let age = last.values().min().map_or(0.0, |at| {
            counts.clock.now().duration_since(*at).as_secs_f64()
        });
        let name = "plimsoll_scrape_age_seconds";
        page.gauge(
            name,
            "Time since the node that answered longest ago did.",
            age,
        );
        for (name, help, count) in [
            (
                "plimsoll_scrape_malformed_lines_total",
                "Lines of wanted series that could not be read.",
                &counts.malformed,
            ),
            (
                "plimsoll_scrape_incomplete_pods_total",
                "Readings of pods that lack a series.",
                &counts.incomplete,
            ),
            (
                "plimsoll_scrape_stale_nodes_total",
                "Nodes whose samples became too old to be served.",
                &counts.stale,
            ),
        ] {
            page.family(name, Kind::Counter, help);
            page.sample(name, &[], count.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn counters_have_metrics_servers_names() {
        let stats = ScrapeStats::new(Clock::starting_at(Timestamp::from_second(100).unwrap()));
        stats.succeeded(&"n1".into(), Duration::from_millis(20));
        stats.failed(Duration::from_secs(10));
        tokio::time::sleep(Duration::from_secs(7)).await;
        let mut page = Page::default();
        stats.expose(&mut page);
        let text = page.into_text();
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
