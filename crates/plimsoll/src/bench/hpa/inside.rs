//! The autoscaler of this program with an API server in the same process.

use super::objects::{MetricType, Shape};
use super::process::{own_cpu_seconds, rss_mebibytes};
use super::{HpaArgs, Latency};
use crate::output::say;
use anyhow::{Result, bail, ensure};
use plimsoll_api::usage::{ContainerUsage, PodName, PodUsage, Samples};
use plimsoll_apiserver::ClusterSettings;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options as StoreOptions, Store};
use plimsoll_clock::Clock;
use plimsoll_cluster::{ControlPlane, Parts};
use plimsoll_controllers::horizontal::{Explanations, Horizontal, Metrics, Options, Signals};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The longest a round may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Workloads whose load changes when the reaction is measured.
const CHANGED: usize = 100;
/// Nanocores of a pod at its target.
const AT_TARGET: u64 = 250_000_000;

/// The result of one run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Run {
    autoscalers: usize,
    pods_each: usize,
    other_pods: usize,
    decisions_per_second: f64,
    /// CPU of the whole process per decision: measuring, finding, deciding, comparing.
    cpu_micros_per_decision: f64,
    /// From publishing the samples of all pods to the last decision.
    seconds_per_round: f64,
    /// Resident memory of the whole process, with server and objects.
    rss_mebibytes: f64,
    /// What the autoscaler added to it.
    autoscaler_mebibytes: f64,
    /// From publishing samples of some workloads under more load to their written scales.
    reaction: Option<Latency>,
}

/// Measures every size and prints a table.
pub(super) async fn run(args: &HpaArgs) -> Result<Vec<Run>> {
    let others = [0, args.other_pods];
    let others = if args.other_pods == 0 {
        others.get(..1)
    } else {
        others.get(..)
    };
    say(
        "autoscalers  pods each  other pods  decisions/s  CPU/decision  all of them in      RSS  \
         autoscaler",
    );
    let mut runs = Vec::new();
    for &autoscalers in &args.autoscalers {
        for &others in others.unwrap_or_default() {
            let shape = Shape {
                namespace: "bench".into(),
                autoscalers,
                pods: args.pods,
                others,
                types: vec![MetricType::Resource],
            };
            let run = Box::pin(measure(&shape, args.rounds)).await?;
            say(format!(
                "{:>11}  {:>9}  {:>10}  {:>11.0}  {:>9.1} µs  {:>12.3} s  {:>5.0} MiB  {:>6.0} MiB",
                run.autoscalers,
                run.pods_each,
                run.other_pods,
                run.decisions_per_second,
                run.cpu_micros_per_decision,
                run.seconds_per_round,
                run.rss_mebibytes,
                run.autoscaler_mebibytes,
            ));
            if let Some(reaction) = run.reaction {
                reaction.say("  changed metric to written scale");
            }
            runs.push(run);
        }
    }
    if let Some(growth) = growth(&runs) {
        say(format!(
            "growth of the CPU per decision from the first to the last run: {growth:.2}x"
        ));
    }
    Ok(runs)
}

/// How many times more the last run's decisions cost than the first's.
pub(super) fn growth(runs: &[Run]) -> Option<f64> {
    let (first, last) = (runs.first()?, runs.last()?);
    (runs.len() > 1).then(|| last.cpu_micros_per_decision / first.cpu_micros_per_decision)
}

async fn measure(shape: &Shape, rounds: u32) -> Result<Run> {
    let plane = plane().await?;
    shape.make(plane.client()).await?;
    let options = Options {
        shortest_interval: Duration::ZERO,
        sync_period: Duration::from_secs(3600),
        ..Options::default()
    };
    let signals = Signals {
        usage: plane.pipeline.usage.clone(),
        rounds: plane.pipeline.subscribe(),
        explanations: Explanations::default(),
        metrics: Metrics::default(),
    };
    let names = pod_names(shape);
    // What the samples themselves take is not the autoscaler's.
    plane.pipeline.publish(samples(&plane, &names, AT_TARGET));
    let rss_before = rss_mebibytes()?;
    let horizontal = Horizontal::start(&plane.context, signals, options);
    let wanted = u64::try_from(shape.autoscalers)?;
    // The first passes read everything and write every status; they are not measured.
    decided(&horizontal, wanted).await?;
    let before = horizontal.evaluations();
    plane.pipeline.publish(samples(&plane, &names, AT_TARGET));
    decided(&horizontal, before + wanted).await?;
    quiet(&horizontal).await;
    let (begun, cpu) = (Instant::now(), own_cpu_seconds()?);
    for _ in 0..rounds {
        let before = horizontal.evaluations();
        plane.pipeline.publish(samples(&plane, &names, AT_TARGET));
        decided(&horizontal, before + wanted).await?;
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), own_cpu_seconds()? - cpu);
    let rss = rss_mebibytes()?;
    let reaction = react(&plane, shape).await?;
    let rounds = f64::from(rounds.max(1));
    let decisions = rounds * f64::from(u32::try_from(shape.autoscalers)?);
    Ok(Run {
        autoscalers: shape.autoscalers,
        pods_each: shape.pods,
        other_pods: shape.others,
        decisions_per_second: decisions / seconds,
        cpu_micros_per_decision: cpu * 1e6 / decisions,
        seconds_per_round: seconds / rounds,
        rss_mebibytes: rss,
        autoscaler_mebibytes: rss - rss_before,
        reaction: Latency::of(reaction),
    })
}

/// Doubles the load of some workloads, all at once; answers how long each scale took.
async fn react(plane: &ControlPlane, shape: &Shape) -> Result<Vec<Duration>> {
    let changed = shape.autoscalers.min(CHANGED);
    let (sender, mut written) = tokio::sync::mpsc::unbounded_channel();
    let before = i32::try_from(shape.pods)?;
    plane.context.caches.deployments.on_change(move |change| {
        if change.new.as_ref().is_some_and(|new| new.replicas > before) {
            drop(sender.send(change.key.clone()));
        }
    });
    let few = Shape {
        autoscalers: changed,
        others: 0,
        ..shape.clone()
    };
    let samples = samples(plane, &pod_names(&few), 2 * AT_TARGET);
    let begun = Instant::now();
    plane.pipeline.publish(samples);
    let mut taken = std::collections::BTreeMap::new();
    while taken.len() < changed {
        let Ok(Some(key)) = tokio::time::timeout(PATIENCE, written.recv()).await else {
            bail!("only {} of {changed} scales were written", taken.len());
        };
        taken.entry(key).or_insert_with(|| begun.elapsed());
    }
    ensure!(
        taken.keys().all(|key| key.name.starts_with("app-")),
        "a workload that nobody loaded was scaled"
    );
    Ok(taken.into_values().collect())
}

async fn plane() -> Result<ControlPlane> {
    let without = ["controllers", "scheduler", "horizontal", "metrics"];
    let parts = Parts {
        store: Store::open(StoreOptions::ephemeral())?,
        clock: Clock::system(),
        seed: 1,
        kinds: plimsoll_api::kinds::built_in(),
        settings: ClusterSettings::default(),
        token_key: Pki::ephemeral(&[])?.token_key(),
        without: without.into_iter().map(str::to_owned).collect(),
        controllers: plimsoll_controllers::supervisor::Options::default(),
        horizontal: Options::default(),
    };
    Ok(ControlPlane::start(parts).await?)
}

async fn decided(horizontal: &Horizontal, wanted: u64) -> Result<()> {
    let begun = Instant::now();
    while horizontal.evaluations() < wanted {
        if begun.elapsed() > PATIENCE {
            let (seen, limit) = (horizontal.evaluations(), PATIENCE.as_secs());
            bail!("only {seen} of {wanted} decisions within {limit} s");
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

/// Waits until no pass has run for a while.
async fn quiet(horizontal: &Horizontal) {
    let mut seen = u64::MAX;
    while horizontal.evaluations() != seen {
        seen = horizontal.evaluations();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The pods as samples name them: each namespace's text once.
fn pod_names(shape: &Shape) -> Vec<PodName> {
    let mut namespaces = std::collections::BTreeMap::new();
    let shared = |(namespace, name): (String, String)| {
        let shared = namespaces
            .entry(namespace)
            .or_insert_with_key(|text| Arc::<str>::from(text.as_str()));
        (Arc::clone(shared), name.into())
    };
    shape.pod_names().map(shared).collect()
}

/// Every pod under the same load.
fn samples(plane: &ControlPlane, names: &[PodName], cpu_nano: u64) -> Samples {
    let timestamp = plane.context.clock.now();
    let container: Arc<str> = "app".into();
    let usage = || PodUsage {
        timestamp,
        window_ms: 1000,
        containers: [ContainerUsage {
            name: Arc::clone(&container),
            cpu_nano,
            memory_bytes: 64 << 20,
        }]
        .into(),
    };
    Samples {
        pods: names
            .iter()
            .map(|name| (name.clone(), Some(usage())))
            .collect(),
        nodes: Vec::new(),
    }
}
