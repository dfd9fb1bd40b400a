//! `plimsoll bench nodes --day`: both autoscalers over a day of load in virtual time.

use crate::output::say;
use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use plimsoll_sim::{BOOT, BOOT_SPREAD, NodeSummary, Report, Sample, Scenario, day_on_two_groups};
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// Samples of an hour.
const SAMPLES: usize = 3600 / 15;
/// What pods may wait beyond the slowest boot, in seconds.
const SLACK: f64 = 2.0;
/// How soon a node that was taken out is missed if it is.
const SOON: SignedDuration = SignedDuration::from_mins(10);

/// A day and its price.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DayRun {
    seed: u64,
    /// How long the day took to compute.
    wall_seconds: f64,
    /// Virtual seconds per second.
    speed: f64,
    pod_hours: f64,
    /// Share of the requests that nobody served.
    unserved: f64,
    /// Nodes that were taken out, and more were ordered within ten minutes.
    regretted: usize,
    nodes: NodeSummary,
}

/// Runs the day and prints its table.
pub(super) async fn run(seed: u64) -> Result<DayRun> {
    let begun = Instant::now();
    let report = simulate(day_on_two_groups(seed)).await?;
    let took = begun.elapsed();
    table(&report).into_iter().for_each(say);
    let run = DayRun::of(seed, &report, took);
    run.lines().into_iter().for_each(say);
    Ok(run)
}

/// A scenario has a runtime of its own, so it needs a thread of its own.
async fn simulate(scenario: Scenario) -> Result<Report> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // Nobody waits for it any more once the program is to end.
    let work = move || drop(sender.send(plimsoll_sim::run(&scenario)));
    std::thread::Builder::new()
        .name("day".to_owned())
        .spawn(work)
        .context("no thread for the day")?;
    let report = receiver.await.context("the day ended early")?;
    Ok(report?)
}

fn table(report: &Report) -> Vec<String> {
    let head = "hour  requests/s   pods  nodes     $/h  no node yet".to_owned();
    let hours = report.timeline.chunks(SAMPLES);
    let rows = hours.enumerate().map(|(hour, samples)| row(hour, samples));
    let end = String::new();
    std::iter::once(head).chain(rows).chain([end]).collect()
}

/// An hour: the load on average, pods and nodes and price at its end, and the most pods at a time
/// that had no node.
fn row(hour: usize, samples: &[Sample]) -> String {
    let loads = samples.iter().map(|sample| sample.requests_per_second);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
    let load = loads.sum::<f64>() / samples.len().max(1) as f64;
    let pending = samples.iter().map(|sample| sample.pending).max();
    let (pods, nodes, price) = samples.last().map_or((0, 0, 0.0), |last| {
        (last.pods, last.nodes, last.dollars_per_hour)
    });
    let pending = pending.unwrap_or_default();
    format!("{hour:>4} {load:>11.0} {pods:>6} {nodes:>6} {price:>7.3} {pending:>12}")
}

impl DayRun {
    fn of(seed: u64, report: &Report, took: Duration) -> Self {
        let summary = &report.summary;
        Self {
            seed,
            wall_seconds: took.as_secs_f64(),
            speed: summary.speed(took),
            pod_hours: summary.pod_hours,
            unserved: summary.unserved / summary.requests.max(1.0),
            regretted: report.nodes.regretted(SOON),
            nodes: report.nodes.summary,
        }
    }

    fn lines(&self) -> Vec<String> {
        let nodes = &self.nodes;
        let share = 100.0 * nodes.cost / nodes.static_cost.max(f64::MIN_POSITIVE);
        vec![
            format!(
                "{:.1} node-hours for {:.2} $, {share:.0} % of {:.2} $ for the peak all day; {} to {} nodes",
                nodes.node_hours, nodes.cost, nodes.static_cost, nodes.fewest, nodes.most
            ),
            format!(
                "{} of {} pods found no node at once: they waited {:.1} s (median), {:.1} s (p99), {:.1} s (longest)",
                nodes.waited, nodes.placed, nodes.wait_median, nodes.wait_p99, nodes.wait_longest
            ),
            format!(
                "{} nodes ordered; {} emptied with {} evictions, after {} of them more were ordered within 10 min",
                nodes.ordered, nodes.emptied, nodes.evictions, self.regretted
            ),
            format!(
                "{:.1} pod-hours; {:.3} % of the requests not served",
                self.pod_hours,
                100.0 * self.unserved
            ),
            format!(
                "computed in {:.2} s: {:.0} times as fast as the clock (seed {})",
                self.wall_seconds, self.speed, self.seed
            ),
        ]
    }

    /// Whether the day went as it should.
    ///
    /// # Errors
    /// What did not.
    pub(super) fn verdict(&self) -> Result<()> {
        let nodes = &self.nodes;
        let most = BOOT.as_secs_f64() * (1.0 + BOOT_SPREAD) + SLACK;
        ensure!(
            nodes.wait_p99 <= most,
            "pods waited {:.1} s (p99) for a node; a boot takes at most {most:.1} s",
            nodes.wait_p99
        );
        ensure!(
            nodes.cost < nodes.static_cost,
            "it costs {:.2} $, no less than the peak all day ({:.2} $)",
            nodes.cost,
            nodes.static_cost
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{DayRun, row, simulate, table};
    use jiff::Timestamp;
    use plimsoll_sim::{NodeSummary, Sample, Scenario, day_on_two_groups};
    use std::time::Duration;

    fn sample(requests_per_second: f64, nodes: usize, pending: usize) -> Sample {
        Sample {
            time: Timestamp::UNIX_EPOCH,
            requests_per_second,
            replicas: 0,
            pods: 7,
            ready: 7,
            utilization: None,
            wait_seconds: 0.0,
            unserved: 0.0,
            nodes,
            pending,
            machines: nodes,
            dollars_per_hour: 0.17,
        }
    }

    #[test]
    fn an_hour_is_a_line() {
        let line = row(3, &[sample(100.0, 1, 4), sample(200.0, 2, 0)]);
        assert_eq!(line, "   3         150      7      2   0.170            4");
    }

    #[test]
    fn pods_that_wait_too_long_are_an_error() {
        let nodes = NodeSummary {
            wait_p99: 74.1,
            static_cost: 1.0,
            ..NodeSummary::default()
        };
        let run = |wait_p99| DayRun {
            seed: 1,
            wall_seconds: 1.0,
            speed: 1.0,
            pod_hours: 1.0,
            unserved: 0.0,
            regretted: 0,
            nodes: NodeSummary { wait_p99, ..nodes },
        };
        assert!(run(74.0).verdict().is_ok());
        let error = run(74.1).verdict().unwrap_err().to_string();
        assert_eq!(
            error,
            "pods waited 74.1 s (p99) for a node; a boot takes at most 74.0 s"
        );
    }

    #[tokio::test]
    async fn the_first_hours_of_the_day_fill_the_table() {
        let scenario = Scenario {
            length: Duration::from_secs(2 * 3600),
            ..day_on_two_groups(2)
        };
        let report = simulate(scenario).await.unwrap();
        let rows = table(&report);
        assert_eq!(rows.len(), 1 + 2 + 1, "{rows:?}");
        let lines = DayRun::of(2, &report, Duration::from_secs(2)).lines();
        assert!(lines[0].contains(" node-hours for "), "{lines:?}");
        assert!(lines[4].contains("3600 times as fast"), "{lines:?}");
    }
}
