//! What the horizontal autoscaler tells of itself, under the series names of the original where it
//! has them and with `plimsoll_` for the rest.
//!
//! Counting a pass takes a few atomic additions and no lock. Gauges are computed when somebody asks.

use crate::runtime::QueueStats;
use parking_lot::RwLock;
use plimsoll_api::exposition::{Exposition, Histogram, Kind, Labels, Page};
use plimsoll_engine::horizontal::spec::Metric;
use plimsoll_engine::horizontal::{Condition, Decision, Observed, Reading, Status, Step};
use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The original's buckets: 1 ms, doubled fifteen times.
static PASS: [f64; 15] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384,
];
/// From a microsecond on: deciding is arithmetic.
static DECIDE: [f64; 10] = [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 5e-4, 1e-3, 1e-2];
/// From a tenth of a second on: what people notice.
static AGE: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0,
];

const PREFIX: &str = "horizontal_pod_autoscaler_controller_";
/// Name of the queue in `workqueue_` series; the original's.
const QUEUE: &str = "horizontalpodautoscaler";
const ACTIONS: [&str; 3] = ["scale_up", "scale_down", "none"];
const ERRORS: [&str; 3] = ["none", "spec", "internal"];
const TYPES: [&str; 6] = [
    "Resource",
    "ContainerResource",
    "Pods",
    "Object",
    "External",
    "",
];

/// Histograms by action and error, both in the order of their names above.
type Table = [[Histogram<15>; 3]; 3];

/// The counters of one horizontal autoscaler. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    passes: Table,
    computations: [Table; 6],
    decide: Histogram<10>,
    sample_age: Histogram<12>,
    reaction: Histogram<12>,
    held_blind: AtomicU64,
    live: RwLock<Option<Weak<dyn Live>>>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            passes: table(),
            computations: std::array::from_fn(|_| table()),
            decide: Histogram::new(&DECIDE),
            sample_age: Histogram::new(&AGE),
            reaction: Histogram::new(&AGE),
            held_blind: AtomicU64::new(0),
            live: RwLock::default(),
        }
    }
}

fn table() -> Table {
    std::array::from_fn(|_| std::array::from_fn(|_| Histogram::new(&PASS)))
}

/// What is true at the moment of asking.
#[derive(Debug, Default)]
pub(super) struct Present {
    /// Autoscalers by state: how many, by the name of the state.
    pub(super) states: Vec<(&'static str, usize)>,
    /// Namespace, name and desired count of each.
    pub(super) desired: Vec<(Arc<str>, Arc<str>, i32)>,
    /// The queue.
    pub(super) queue: QueueStats,
}

/// Who knows what is true now.
pub(super) trait Live: Send + Sync + Debug {
    fn present(&self) -> Present;
}

/// One pass, for counting.
#[derive(Debug)]
pub struct Pass<'a> {
    /// What it saw.
    pub observed: &'a Observed,
    /// What it decided.
    pub decision: &'a Decision,
    /// Whether the scale was written.
    pub wrote: bool,
    /// The whole pass.
    pub took: Duration,
    /// Deciding alone.
    pub decided_in: Duration,
    /// Reading each metric of the spec, in order; fewer where reading takes no time.
    pub read_in: &'a [Duration],
    /// From the pass's one clock reading to now, when it is over.
    pub since_observed: Duration,
}

impl Metrics {
    /// Asks `live` for gauges from now on, as long as it lives.
    pub(super) fn attach(&self, live: Weak<dyn Live>) {
        *self.0.live.write() = Some(live);
    }

    /// Counts a pass that was never decided: its spec cannot be read.
    pub(super) fn unreadable(&self, took: Duration) {
        observe(&self.0.passes, 2, 1, took);
    }

    /// Counts a pass.
    pub fn passed(&self, pass: &Pass<'_>) {
        let Pass {
            observed, decision, ..
        } = *pass;
        let action = match decision.write.filter(|_| pass.wrote) {
            Some(to) => direction(to, decision.status.current_replicas),
            None => direction(0, 0),
        };
        let error = error_of(decision);
        observe(&self.0.passes, action, error, pass.took);
        self.0.decide.observe(pass.decided_in);
        self.computed(pass);
        if let Some(age) = newest_age(observed) {
            self.0.sample_age.observe(age);
            if pass.wrote {
                self.0.reaction.observe(age + pass.since_observed);
            }
        }
        let blocked = |step: &Step| matches!(step, Step::Blocked { .. });
        if decision.trace.iter().any(blocked) {
            self.0.held_blind.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts each metric of a pass by its proposal against the count shown before.
    fn computed(&self, pass: &Pass<'_>) {
        let before = pass.observed.status.current_replicas;
        let deciding = pass.decided_in;
        let mut current = None;
        for step in &pass.decision.trace {
            if let Step::Metric { index, .. } = step {
                current = Some(*index);
                continue;
            }
            let (action, failed) =
                if let Step::Held { replicas, .. } | Step::Proposed { replicas, .. } = step {
                    (direction(*replicas, before), false)
                } else if let Step::Failed { .. } = step {
                    (direction(0, 0), true)
                } else {
                    continue;
                };
            let Some(index) = current.take() else {
                continue;
            };
            let Some(metric) = pass.observed.spec.metrics.get(index) else {
                continue;
            };
            let kind = kind_of(metric);
            let error = match (failed, metric) {
                (false, _) => 0,
                (true, Metric::Unknown { .. }) => 1,
                (true, _) => 2,
            };
            let read = pass.read_in.get(index).copied().unwrap_or_default();
            if let Some(table) = self.0.computations.get(kind) {
                observe(table, action, error, read + deciding);
            }
        }
    }

    fn expose_original(&self, page: &mut Page) {
        let passes = [("", &self.0.passes)];
        let what = "reconciliation";
        expose_table(
            page,
            (what, "reconciliations_total", "Passes over an autoscaler"),
            &passes,
        );
        let by_type = TYPES.into_iter().zip(&self.0.computations);
        let by_type: Vec<(&str, &Table)> = by_type.collect();
        let total = "metric_computation_total";
        expose_table(
            page,
            ("metric_computation", total, "Proposals of single metrics"),
            &by_type,
        );
    }

    fn expose_present(&self, page: &mut Page) {
        let live = self.0.live.read().as_ref().and_then(Weak::upgrade);
        let present = live.map(|live| live.present()).unwrap_or_default();
        let number: usize = present.states.iter().map(|(_, count)| count).sum();
        page.gauge(
            &format!("{PREFIX}num_horizontal_pod_autoscalers"),
            "Autoscalers there are.",
            number,
        );
        let name = format!("{PREFIX}desired_replicas");
        page.family(
            &name,
            Kind::Gauge,
            "What each autoscaler wants its target to have.",
        );
        for (namespace, hpa, replicas) in &present.desired {
            let labels: Labels<'_> = &[("namespace", namespace), ("hpa_name", hpa)];
            page.sample(&name, labels, replicas);
        }
        let name = "plimsoll_hpa_autoscalers";
        page.family(name, Kind::Gauge, "Autoscalers by what they are doing.");
        for (state, count) in &present.states {
            page.sample(name, &[("state", state)], count);
        }
        let queue: Labels<'_> = &[("name", QUEUE)];
        for (name, kind, help, value) in [
            (
                "workqueue_depth",
                Kind::Gauge,
                "Keys that wait to be worked on.",
                present.queue.waiting as u64,
            ),
            (
                "workqueue_adds_total",
                Kind::Counter,
                "Keys added so far.",
                present.queue.added,
            ),
            (
                "workqueue_retries_total",
                Kind::Counter,
                "Keys added again after a failure.",
                present.queue.retried,
            ),
        ] {
            page.family(name, kind, help);
            page.sample(name, queue, value);
        }
    }
}

impl Exposition for Metrics {
    fn expose(&self, page: &mut Page) {
        self.expose_original(page);
        self.expose_present(page);
        let durations: [(&str, &str, &Histogram<12>); 2] = [
            (
                "plimsoll_hpa_sample_age_seconds",
                "Age of the newest sample when a pass decided.",
                &self.0.sample_age,
            ),
            (
                "plimsoll_hpa_reaction_seconds",
                "From the newest sample to the written scale.",
                &self.0.reaction,
            ),
        ];
        let name = "plimsoll_hpa_decide_duration_seconds";
        page.family(
            name,
            Kind::Histogram,
            "Deciding alone, without reading and writing.",
        );
        page.histogram(name, &[], &self.0.decide);
        for (name, help, histogram) in durations {
            page.family(name, Kind::Histogram, help);
            page.histogram(name, &[], histogram);
        }
        let name = "plimsoll_hpa_held_blind_total";
        page.family(
            name,
            Kind::Counter,
            "Passes that held because too little could be read.",
        );
        page.sample(name, &[], self.0.held_blind.load(Ordering::Relaxed));
    }
}

fn expose_table(
    page: &mut Page,
    (what, total, help): (&str, &str, &str),
    tables: &[(&str, &Table)],
) {
    let total = format!("{PREFIX}{total}");
    page.family(&total, Kind::Counter, &format!("{help}, by result."));
    each_series(tables, |labels, histogram| {
        page.sample(&total, labels, histogram.count());
    });
    let name = format!("{PREFIX}{what}_duration_seconds");
    page.family(&name, Kind::Histogram, &format!("{help}, by duration."));
    each_series(tables, |labels, histogram| {
        page.histogram(&name, labels, histogram);
    });
}

/// Visits every series that has been counted at all.
fn each_series(tables: &[(&str, &Table)], mut visit: impl FnMut(Labels<'_>, &Histogram<15>)) {
    for (kind, table) in tables {
        let rows = ACTIONS.into_iter().zip(table.iter());
        let cells = rows.flat_map(|(action, row)| {
            ERRORS
                .into_iter()
                .zip(row)
                .map(move |(error, cell)| (action, error, cell))
        });
        for (action, error, cell) in cells.filter(|(.., cell)| cell.count() > 0) {
            let labels = [("action", action), ("error", error), ("metric_type", kind)];
            let shown = if tables.len() > 1 { 3 } else { 2 };
            visit(labels.get(..shown).unwrap_or_default(), cell);
        }
    }
}

fn observe(table: &Table, action: usize, error: usize, took: Duration) {
    if let Some(cell) = table.get(action).and_then(|row| row.get(error)) {
        cell.observe(took);
    }
}

/// Place in [`ACTIONS`].
fn direction(to: i32, from: i32) -> usize {
    match to.cmp(&from) {
        std::cmp::Ordering::Greater => 0,
        std::cmp::Ordering::Less => 1,
        std::cmp::Ordering::Equal => 2,
    }
}

/// Place in [`ERRORS`].
fn error_of(decision: &Decision) -> usize {
    match decision.error.as_deref() {
        None => 0,
        Some(error) if error.starts_with("invalid API version in scale target reference") => 1,
        Some(_) => 2,
    }
}

/// Place in [`TYPES`].
fn kind_of(metric: &Metric) -> usize {
    match metric {
        Metric::Resource {
            container: None, ..
        } => 0,
        Metric::Resource { .. } => 1,
        Metric::Pods { .. } => 2,
        Metric::Object { .. } => 3,
        Metric::External { .. } => 4,
        Metric::Unknown { .. } => 5,
    }
}

/// What an autoscaler is doing, by its conditions.
pub(super) fn state_of(status: &Status) -> &'static str {
    let condition = |kind: &str| status.conditions.iter().find(|c| c.kind == kind);
    let is = |kind: &str, value: &str| condition(kind).is_some_and(|c| c.status == value);
    let disabled = |c: &Condition| c.reason == "ScalingDisabled";
    if condition("ScalingActive").is_some_and(disabled) {
        "disabled"
    } else if is("AbleToScale", "False") || is("ScalingActive", "False") {
        "failing"
    } else if condition("ScalingActive").is_none() {
        "new"
    } else if is("ScalingLimited", "True") {
        "limited"
    } else {
        "active"
    }
}

/// How old the newest sample was at the pass's clock reading.
fn newest_age(observed: &Observed) -> Option<Duration> {
    let readings = observed
        .readings
        .iter()
        .filter_map(|reading| match reading {
            Ok(Reading::PerPod(samples)) => samples.iter().map(|sample| sample.timestamp).max(),
            Ok(Reading::Single(_) | Reading::Series(_)) | Err(_) => None,
        });
    let newest = readings.max()?;
    Some(Duration::try_from(observed.now.duration_since(newest)).unwrap_or_default())
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
