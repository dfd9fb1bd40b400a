//! What the cases of `plimsoll bench nodes` came to, told while they are measured, and judged.

use super::growth::{Growth, Size};
use super::shrink::{Shrink, ShrinkRun};
use super::{NodesArgs, look};
use crate::output::say;
use anyhow::{Result, ensure};
use serde::Serialize;

/// How long one look may take at most, in ms, whatever the size.
const MOST_MILLIS: f64 = 2_000.0;

/// One look at pods that wait.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GrowthRun {
    pub(super) case: &'static str,
    pub(super) pods: usize,
    pub(super) nodes: usize,
    pub(super) groups: usize,
    /// Nodes asked for.
    pub(super) asked: usize,
    /// Nodes that are right.
    pub(super) expected: usize,
    pub(super) millis: f64,
    /// Memory that the look took from the system, beyond what this process had.
    pub(super) peak_mebibytes: Option<f64>,
}

/// Everything measured.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub(super) growing: Vec<GrowthRun>,
    pub(super) shrinking: Vec<ShrinkRun>,
    /// What ten times something does to the time of a look.
    pub(super) growth: Vec<(String, f64)>,
}

impl Report {
    /// Measures one case; returns how long the look took, in ms.
    pub(super) fn grow(&mut self, case: Growth, size: Size) -> Result<f64> {
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
    pub(super) fn series(&mut self, case: Growth, args: &NodesArgs) -> Result<()> {
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
    pub(super) async fn shrink_all(&mut self, args: &NodesArgs) -> Result<()> {
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
    pub(super) fn verdict(&self) -> Result<()> {
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
    pub(super) fn slow(&self) -> Vec<String> {
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
