//! `plimsoll bench hpa`: what a decision costs, and how the cost grows with the number of
//! autoscalers.

use crate::output::say;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod, ServiceAccount};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use nix::sys::resource::{UsageWho, getrusage};
use plimsoll_api::usage::{ContainerUsage, PodName, PodUsage, Samples};
use plimsoll_apiserver::ClusterSettings;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options as StoreOptions, Store};
use plimsoll_clock::Clock;
use plimsoll_cluster::{ControlPlane, Parts};
use plimsoll_controllers::horizontal::{Explanations, Horizontal, Metrics, Options, Signals};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const NAMESPACE: &str = "bench";
/// Requests in flight while the objects are made.
const IN_FLIGHT: usize = 64;
/// The longest a round may take before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct HpaArgs {
    /// Numbers of autoscalers to measure, one run each
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
    autoscalers: Vec<usize>,
    /// Pods per autoscaler
    #[arg(long, default_value_t = 10)]
    pods: usize,
    /// Rounds of samples per run
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Write the results to FILE as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The result of one run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    autoscalers: usize,
    pods_each: usize,
    decisions_per_second: f64,
    /// CPU of the whole process per decision.
    cpu_micros_per_decision: f64,
    /// From publishing the samples of all pods to the last decision.
    seconds_per_round: f64,
    /// Resident memory of the whole process, with server and objects.
    rss_mebibytes: f64,
}

/// Measures every size and prints a table.
pub(crate) async fn run(args: HpaArgs) -> Result<()> {
    say("autoscalers  pods each  decisions/s  CPU/decision  all of them in      RSS");
    let mut runs: Vec<Run> = Vec::new();
    for &autoscalers in &args.autoscalers {
        let run = Box::pin(measure(autoscalers, args.pods, args.rounds)).await?;
        say(format!(
            "{:>11}  {:>9}  {:>11.0}  {:>9.1} µs  {:>12.3} s  {:>5.0} MiB",
            run.autoscalers,
            run.pods_each,
            run.decisions_per_second,
            run.cpu_micros_per_decision,
            run.seconds_per_round,
            run.rss_mebibytes,
        ));
        runs.push(run);
    }
    let growth = growth(&runs);
    if let Some(growth) = growth {
        say(format!(
            "growth of the CPU per decision from the first to the last run: {growth:.2}x"
        ));
    }
    if let Some(file) = &args.json {
        let results = json!({ "benchmark": "hpa", "runs": runs, "growth": growth });
        std::fs::write(file, serde_json::to_vec_pretty(&results)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn growth(runs: &[Run]) -> Option<f64> {
    let (first, last) = (runs.first()?, runs.last()?);
    (runs.len() > 1).then(|| last.cpu_micros_per_decision / first.cpu_micros_per_decision)
}

async fn measure(autoscalers: usize, pods: usize, rounds: u32) -> Result<Run> {
    let plane = plane().await?;
    populate(plane.client(), autoscalers, pods).await?;
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
    let horizontal = Horizontal::start(&plane.context, signals, options);
    let wanted = u64::try_from(autoscalers)?;
    let names = pod_names(autoscalers, pods);
    // The first pass finds no samples, the second writes every status; neither is measured.
    decided(&horizontal, wanted).await?;
    let before = horizontal.evaluations();
    plane.pipeline.publish(samples(&plane, &names));
    decided(&horizontal, before + wanted).await?;
    quiet(&horizontal).await;
    let (begun, cpu) = (Instant::now(), cpu_seconds()?);
    for _ in 0..rounds {
        let before = horizontal.evaluations();
        plane.pipeline.publish(samples(&plane, &names));
        decided(&horizontal, before + wanted).await?;
    }
    let (seconds, cpu) = (begun.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let rounds = f64::from(rounds.max(1));
    let decisions = rounds * f64::from(u32::try_from(autoscalers)?);
    Ok(Run {
        autoscalers,
        pods_each: pods,
        decisions_per_second: decisions / seconds,
        cpu_micros_per_decision: cpu * 1e6 / decisions,
        seconds_per_round: seconds / rounds,
        rss_mebibytes: rss_mebibytes()?,
    })
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

fn app(index: usize) -> String {
    format!("app-{index}")
}

fn pod_name(index: usize, pod: usize) -> String {
    format!("app-{index}-{pod}")
}

/// Makes the workloads, their ready pods and their autoscalers.
async fn populate(client: &Client, autoscalers: usize, pods: usize) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = object(json!({ "metadata": { "name": NAMESPACE } }))?;
    namespaces
        .create(&PostParams::default(), &namespace)
        .await?;
    // No controller runs that would make it, and pods are refused without.
    make::<ServiceAccount>(client, json!({ "metadata": { "name": "default" } })).await?;
    stream::iter(0..autoscalers)
        .map(|index| async move {
            make::<Deployment>(client, deployment(index, pods)).await?;
            for pod in 0..pods {
                make_pod(client, index, pod).await?;
            }
            make::<HorizontalPodAutoscaler>(client, autoscaler(index)).await
        })
        .buffer_unordered(IN_FLIGHT)
        .try_collect::<()>()
        .await
}

fn object<K: DeserializeOwned>(value: Value) -> Result<K> {
    Ok(serde_json::from_value(value)?)
}

async fn make<K>(client: &Client, value: Value) -> Result<()>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &object(value)?).await?;
    Ok(())
}

async fn make_pod(client: &Client, index: usize, pod: usize) -> Result<()> {
    let name = pod_name(index, pod);
    let value = json!({
        "metadata": { "name": name, "labels": { "app": app(index) } },
        "spec": template_spec(),
    });
    make::<Pod>(client, value).await?;
    let status = json!({ "status": {
        "phase": "Running", "startTime": "2026-01-01T00:00:00Z",
        "conditions": [{ "type": "Ready", "status": "True",
                         "lastTransitionTime": "2026-01-01T00:00:10Z" }],
    } });
    let api: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    api.patch_status(&name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

fn template_spec() -> Value {
    json!({ "containers": [{ "name": "app", "image": "app",
        "resources": { "requests": { "cpu": "500m" } } }] })
}

fn deployment(index: usize, pods: usize) -> Value {
    let labels = json!({ "app": app(index) });
    json!({
        "metadata": { "name": app(index) },
        "spec": {
            "replicas": pods,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": template_spec() },
        },
    })
}

fn autoscaler(index: usize) -> Value {
    json!({
        "metadata": { "name": app(index) },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": app(index) },
            "minReplicas": 1,
            "maxReplicas": 100,
            "metrics": [{ "type": "Resource", "resource": { "name": "cpu",
                "target": { "type": "Utilization", "averageUtilization": 50 } } }],
        },
    })
}

fn pod_names(autoscalers: usize, pods: usize) -> Vec<PodName> {
    let namespace: Arc<str> = NAMESPACE.into();
    let names = (0..autoscalers).flat_map(|index| (0..pods).map(move |pod| pod_name(index, pod)));
    names
        .map(|name| (Arc::clone(&namespace), name.into()))
        .collect()
}

/// Every pod at exactly its target.
fn samples(plane: &ControlPlane, names: &[PodName]) -> Samples {
    let timestamp = plane.context.clock.now();
    let container: Arc<str> = "app".into();
    let usage = || PodUsage {
        timestamp,
        window_ms: 1000,
        containers: [ContainerUsage {
            name: Arc::clone(&container),
            cpu_nano: 250_000_000,
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

fn cpu_seconds() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| -> Result<f64> {
        let micros = u32::try_from(time.tv_usec()).unwrap_or_default();
        Ok(f64::from(u32::try_from(time.tv_sec())?) + f64::from(micros) / 1e6)
    };
    Ok(seconds(usage.user_time())? + seconds(usage.system_time())?)
}

pub(super) fn rss_mebibytes() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    Ok(f64::from(kibibytes.context("no VmRSS in /proc/self/status")?) / 1024.0)
}
