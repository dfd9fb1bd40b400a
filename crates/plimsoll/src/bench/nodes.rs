//! `plimsoll bench nodes`: how long a look at a cluster takes, how many nodes it asks for or
//! removes, and how both grow. The rules alone are measured: no API server, no provider. With
//! `--day`, everything is: a whole cluster over a day of load, in virtual time.
//!
//! Each case knows its exact number of nodes; another number is an error, and so is a look of more
//! than two seconds.

mod day;
mod growth;
mod shrink;
mod world;

use super::memory::Peak;
use crate::output::say;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use growth::{Growth, Size, Task};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{GrowthInput, GrowthOptions, grow};
use serde::Serialize;
use serde_json::{Value, json};
use shrink::{Shrink, ShrinkRun};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::time::Instant;

/// How long one look may take at most, in ms, whatever the size.
const MOST_MILLIS: f64 = 2_000.0;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodesArgs {
    /// Only cases whose name contains one of these words
    #[arg(long, value_delimiter = ',', value_name = "WORD,…")]
    only: Vec<String>,
    /// Measure each case at a tenth of its size too, and what ten times the pods, the nodes and the
    /// groups do
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    growth: bool,
    /// A tenth of everything: done in a second
    #[arg(long)]
    quick: bool,
    /// Instead, both autoscalers over a day of load in virtual time: pods and nodes hour by hour, what
    /// they cost, how long pods waited
    #[arg(long, conflicts_with_all = ["only", "quick"])]
    day: bool,
    /// What is random of the day
    #[arg(long, default_value_t = 1, requires = "day")]
    seed: u64,
    /// Write the results to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl NodesArgs {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|word| name.contains(word.as_str()))
    }
}

/// One look at pods that wait.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct GrowthRun {
    case: &'static str,
    pods: usize,
    nodes: usize,
    groups: usize,
    /// Nodes asked for.
    asked: usize,
    /// Nodes that are right.
    expected: usize,
    millis: f64,
    /// Memory that the look took from the system, beyond what this process had.
    peak_mebibytes: Option<f64>,
}

/// Everything measured.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    growing: Vec<GrowthRun>,
    shrinking: Vec<ShrinkRun>,
    /// What ten times something does to the time of a look.
    growth: Vec<(String, f64)>,
}

/// Measures and prints.
pub(crate) async fn run(args: NodesArgs) -> Result<()> {
    if args.day {
        let run = day::run(args.seed).await?;
        write(
            &args,
            || json!({ "benchmark": "nodes --day", "report": run }),
        )?;
        return run.verdict();
    }
    let mut report = Report::default();
    say("case                    pods  nodes groups   asked  expected        look   memory");
    for case in Growth::ALL
        .into_iter()
        .filter(|case| args.wants(case.name()))
    {
        for size in sizes(case.size(), &args) {
            report.grow(case, size)?;
            // Other tasks of the runtime (Ctrl-C) get their turn.
            tokio::task::yield_now().await;
        }
    }
    report.shrink_all(&args).await?;
    if args.growth && !args.quick {
        for case in [Growth::AnyGroup, Growth::OneANode] {
            report.series(case, &args)?;
            tokio::task::yield_now().await;
        }
    }
    let quick = args.quick;
    let results = || json!({ "benchmark": "nodes", "quick": quick, "report": report });
    write(&args, results)?;
    report.verdict()
}

/// Writes the results, if somebody wants them.
fn write(args: &NodesArgs, results: impl FnOnce() -> Value) -> Result<()> {
    let Some(file) = &args.json else {
        return Ok(());
    };
    std::fs::write(file, serde_json::to_vec_pretty(&results())?)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// A tenth, and the whole.
fn sizes(whole: Size, args: &NodesArgs) -> Vec<Size> {
    let tenth = Size {
        pods: whole.pods / 10,
        nodes: whole.nodes / 10,
        groups: whole.groups,
    };
    match (args.quick, args.growth) {
        (true, _) => vec![tenth],
        (false, true) => vec![tenth, whole],
        (false, false) => vec![whole],
    }
}

impl Report {
    /// Measures one case; returns how long the look took, in ms.
    fn grow(&mut self, case: Growth, size: Size) -> Result<f64> {
        let run = look(case, size)?;
        let peak = run.peak_mebibytes;
        let peak = peak.map_or_else(String::new, |peak| format!("{peak:.0} MiB"));
        say(format!(
            "{:<20} {size} {:>7} {:>9} {:>8.1} ms {peak:>8}",
            run.case, run.asked, run.expected, run.millis
        ));
        let millis = run.millis;
        self.growing.push(run);
        Ok(millis)
    }

    /// What ten times the pods, the nodes and the groups do to a look.
    fn series(&mut self, case: Growth, args: &NodesArgs) -> Result<()> {
        if !args.wants(case.name()) {
            return Ok(());
        }
        let base = Size {
            pods: 1_000,
            nodes: 100,
            groups: 2,
        };
        let steps = [
            (
                "pods",
                Size {
                    pods: 10_000,
                    ..base
                },
            ),
            (
                "nodes",
                Size {
                    nodes: 1_000,
                    ..base
                },
            ),
            ("groups", Size { groups: 20, ..base }),
        ];
        let before = self.grow(case, base)?;
        for (what, size) in steps {
            let factor = self.grow(case, size)? / before;
            say(format!(
                "  ten times the {what}: {factor:.1} times the time"
            ));
            self.growth
                .push((format!("{}, {what}", case.name()), factor));
        }
        Ok(())
    }

    /// Nodes that are not needed, at a tenth and whole.
    async fn shrink_all(&mut self, args: &NodesArgs) -> Result<()> {
        say("");
        say(
            "case                    pods  nodes removed  expected  first look   slowest    steady   memory",
        );
        let cases = Shrink::ALL.into_iter();
        for case in cases.filter(|case| args.wants(case.name())) {
            let whole = case.nodes();
            let parts: &[usize] = match (args.quick, args.growth) {
                (true, _) => &[10],
                (false, true) => &[10, 1],
                (false, false) => &[1],
            };
            for part in parts {
                let run = case.run(whole / part)?;
                say(describe(&run));
                self.shrinking.push(run);
                tokio::task::yield_now().await;
            }
        }
        say("");
        Ok(())
    }

    /// An error if a number is wrong, or a look too slow.
    fn verdict(&self) -> Result<()> {
        self.numbers()?;
        let slow = self.slow();
        if cfg!(debug_assertions) {
            say("this build is not optimized: how long looks take is not judged");
            return Ok(());
        }
        ensure!(
            slow.is_empty(),
            "looks that took more than {MOST_MILLIS} ms: {}",
            slow.join("; ")
        );
        Ok(())
    }

    /// Looks that took longer than one may.
    fn slow(&self) -> Vec<String> {
        let grown = self.growing.iter();
        let grown = grown.map(|run| (run.case, run.pods, run.millis));
        let shrunk = self.shrinking.iter();
        let shrunk = shrunk.map(|run| (run.case, run.pods, run.slowest_millis));
        grown
            .chain(shrunk)
            .filter(|(.., millis)| *millis > MOST_MILLIS)
            .map(|(case, pods, millis)| format!("{case} with {pods} pods: {millis:.0} ms"))
            .collect()
    }

    fn numbers(&self) -> Result<()> {
        let grown = self.growing.iter();
        let grown = grown.map(|run| (run.case, run.pods, run.asked, run.expected));
        let shrunk = self.shrinking.iter();
        let shrunk = shrunk.map(|run| (run.case, run.pods, run.removed, run.expected));
        let wrong: Vec<String> = grown
            .chain(shrunk)
            .filter(|(_, _, count, expected)| count != expected)
            .map(|(case, pods, count, expected)| {
                format!("{case} with {pods} pods: {count} nodes and not {expected}")
            })
            .collect();
        ensure!(
            wrong.is_empty(),
            "wrong numbers of nodes: {}",
            wrong.join("; ")
        );
        Ok(())
    }
}

fn describe(run: &ShrinkRun) -> String {
    let ShrinkRun {
        case,
        pods,
        nodes,
        removed,
        expected,
        ..
    } = run;
    let [first, slowest, steady] = [run.first_millis, run.slowest_millis, run.steady_millis]
        .map(|millis| format!("{millis:.1} ms"));
    let peak = run.peak_mebibytes;
    let peak = peak.map_or_else(String::new, |peak| format!("{peak:.0} MiB"));
    format!(
        "{case:<20} {pods:>7} {nodes:>6} {removed:>7} {expected:>9} {first:>11} {slowest:>9} {steady:>9} {peak:>8}"
    )
}

/// Lets one look at the cluster grow it.
fn look(case: Growth, size: Size) -> Result<GrowthRun> {
    ensure!(size.pods > 0 && size.groups > 0, "nothing to measure");
    let Task {
        mut world,
        expected,
    } = case.task(size);
    let defaults = GrowthOptions::default();
    let options = GrowthOptions {
        // Upstream's own benchmark of two kinds of pods has no such limit.
        max_nodes_per_scaleup: defaults
            .max_nodes_per_scaleup
            .filter(|most| expected <= *most),
        ..defaults
    };
    let now = world::START
        .checked_add(SignedDuration::from_mins(1))
        .context("a time within range")?;
    let peak = Peak::begin();
    let begun = Instant::now();
    let plan = grow(GrowthInput {
        snapshot: &mut world.snapshot,
        groups: &world.groups,
        pending: &world.pending,
        existing: &world.existing,
        upcoming: &BTreeMap::new(),
        skipped: &BTreeMap::new(),
        options: &options,
        now,
        tie: 0,
    });
    let millis = begun.elapsed().as_secs_f64() * 1e3;
    Ok(GrowthRun {
        case: case.name(),
        pods: size.pods,
        nodes: size.nodes,
        groups: size.groups,
        asked: plan
            .resizes
            .iter()
            .map(|resize| resize.to - resize.from)
            .sum(),
        expected,
        millis,
        peak_mebibytes: peak.and_then(Peak::end),
    })
}

#[cfg(test)]
mod tests {
    use super::growth::{Growth, Size};
    use super::shrink::Shrink;
    use super::{Report, look};

    #[test]
    fn a_slow_look_is_told() {
        let run = look(
            Growth::FromZero,
            Size {
                pods: 10,
                nodes: 1,
                groups: 1,
            },
        )
        .unwrap();
        let mut report = Report::default();
        report.growing.push(run);
        assert_eq!(report.slow(), Vec::<String>::new());
        report.growing[0].millis = 2_001.0;
        assert_eq!(report.slow().len(), 1);
    }

    #[test]
    fn every_cluster_loses_exactly_the_nodes_that_may_go() {
        for case in Shrink::ALL {
            let run = case.run(case.nodes() / 10).unwrap();
            assert_eq!(run.removed, run.expected, "{run:?}");
        }
    }

    #[test]
    fn every_case_asks_for_exactly_its_nodes() {
        for case in Growth::ALL {
            let whole = case.size();
            let size = Size {
                pods: whole.pods / 10,
                nodes: whole.nodes / 10,
                ..whole
            };
            let run = look(case, size).unwrap();
            assert_eq!(run.asked, run.expected, "{run:?}");
        }
    }

    #[test]
    fn known_numbers_are_those_of_the_reference() {
        let expected = |case: Growth| case.task(case.size()).expected;
        assert_eq!(expected(Growth::FromZero), 1_000);
        assert_eq!(expected(Growth::Burst), 300);
        assert_eq!(expected(Growth::NeverSchedulable), 1_000);
        assert_eq!(expected(Growth::TwoKinds), 2_595);
        assert_eq!(expected(Growth::ThreeSizes), 639);
    }
}
