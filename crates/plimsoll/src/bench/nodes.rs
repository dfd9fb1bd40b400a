//! `plimsoll bench nodes`: how long a look at a cluster takes, how many nodes it asks for or
//! removes, and how both grow. The rules alone are measured: no API server, no provider. With
//! `--day`, everything is: a whole cluster over a day of load, in virtual time.
//!
//! Each case knows its exact number of nodes; another number is an error, and so is a look of more
//! than two seconds.

mod day;
mod growth;
mod report;
mod shrink;
mod world;

use super::memory::Peak;
use crate::output::say;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use growth::{Growth, Size, Task};
use jiff::SignedDuration;
use plimsoll_engine::cluster::{GrowthInput, GrowthOptions, grow};
use report::{GrowthRun, Report};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tokio::time::Instant;

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
    use super::look;
    use super::report::Report;
    use super::shrink::Shrink;

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
