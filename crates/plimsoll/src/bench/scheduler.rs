//! `plimsoll bench scheduler`: how many pods a second find their node, and how that grows with the
//! cluster. The rules alone are measured: no API server, no writes.

mod workload;

use crate::output::say;
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use plimsoll_engine::placement::{
    Decision, PodFacts, Preemption, Snapshot, Victim, decide, preempt,
};
use serde::Serialize;
use serde_json::json;
use std::path::PathBuf;
use tokio::time::Instant;
use workload::Workload;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct SchedulerArgs {
    /// Nodes
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    /// Pending pods
    #[arg(long, default_value_t = 10_000)]
    pods: usize,
    /// What the pods ask for, in turns
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Workload::ALL)]
    workloads: Vec<Workload>,
    /// Measure a cluster of a tenth of the size first, to see how the cost grows
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    growth: bool,
    /// Write the results to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The result of one run.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    workload: Workload,
    nodes: usize,
    pods: usize,
    placed: usize,
    /// Pods removed to make room.
    victims: usize,
    pods_per_second: f64,
    micros_per_pod: f64,
}

/// Measures and prints.
pub(crate) async fn run(args: SchedulerArgs) -> Result<()> {
    say("workload         nodes    pods  placed  victims     pods/s     per pod");
    let mut runs = Vec::new();
    let parts: &[usize] = if args.growth { &[10, 1] } else { &[1] };
    for &workload in &args.workloads {
        let mut before = None;
        // A tenth of a small cluster is none.
        let whole = |part: &&usize| **part == 1 || args.nodes.min(args.pods) >= **part;
        for part in parts.iter().filter(whole) {
            let run = measure(workload, args.nodes / part, args.pods / part)?;
            run.say();
            if let Some(before) = before.replace(run.micros_per_pod) {
                let growth = run.micros_per_pod / before;
                say(format!(
                    "  ten times the cluster: {growth:.1} times the time per pod"
                ));
            }
            runs.push(run);
            // Other tasks of the runtime (Ctrl-C) get their turn.
            tokio::task::yield_now().await;
        }
    }
    if let Some(file) = &args.json {
        let results = json!({ "benchmark": "scheduler", "runs": runs });
        std::fs::write(file, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

impl Run {
    fn say(&self) {
        say(format!(
            "{:<13}  {:>7}  {:>6}  {:>6}  {:>7}  {:>9.0}  {:>7.1} µs",
            self.workload.name(),
            self.nodes,
            self.pods,
            self.placed,
            self.victims,
            self.pods_per_second,
            self.micros_per_pod,
        ));
    }
}

fn measure(workload: Workload, nodes: usize, pods: usize) -> Result<Run> {
    ensure!(nodes > 0 && pods > 0, "nothing to measure");
    let mut snapshot = workload.cluster(nodes);
    let pending = workload.pods(pods);
    let (mut placed, mut victims) = (0, 0);
    let begun = Instant::now();
    for (tie, pod) in (0u64..).zip(pending) {
        let removed = schedule(&mut snapshot, pod, tie.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        placed += usize::from(removed.is_some());
        victims += removed.unwrap_or_default();
    }
    let seconds = begun.elapsed().as_secs_f64();
    let count = f64::from(u32::try_from(pods)?);
    Ok(Run {
        workload,
        nodes,
        pods,
        placed,
        victims,
        pods_per_second: count / seconds,
        micros_per_pod: seconds * 1e6 / count,
    })
}

/// Finds a node, or makes room. Returns how many pods were removed; `None` if nothing helps.
fn schedule(snapshot: &mut Snapshot, pod: PodFacts, tie: u64) -> Option<usize> {
    match decide(snapshot, &pod, tie) {
        Decision::Fits(choice) => {
            snapshot.place(&choice.node, pod);
            Some(0)
        }
        Decision::Nowhere(failure) => {
            let Preemption::Helps(plan) = preempt(snapshot, &pod, &failure, &[], tie) else {
                return None;
            };
            for Victim { pod, .. } in &plan.victims {
                snapshot.displace(&pod.namespace, &pod.name);
            }
            snapshot.place(&plan.node, pod);
            Some(plan.victims.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Workload, measure};

    #[test]
    fn every_workload_is_placed_whole() {
        for workload in Workload::ALL {
            let run = measure(workload, 100, 120).unwrap();
            assert_eq!(
                (run.nodes, run.pods, run.placed),
                (100, 120, 120),
                "{workload:?}"
            );
            assert_eq!(run.victims > 0, workload == Workload::Preemption);
        }
        assert!(measure(Workload::Plain, 0, 1).is_err());
    }
}
