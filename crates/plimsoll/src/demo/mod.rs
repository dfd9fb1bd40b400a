//! `plimsoll demo`: a cluster, a workload, a real HTTP load that steps up and down, and an
//! autoscaler that follows it; ends by itself.

mod load;
mod observe;
mod script;
mod timeline;
mod view;

use crate::cluster::{Running, Settings};
use crate::output::say;
use crate::up::NodeArgs;
use anyhow::{Context, Result, bail};
use clap::Args;
use load::{Load, Tally};
use observe::Observer;
use plimsoll_api::gates::FeatureGates;
use script::Step;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use timeline::Timeline;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};
use view::View;

/// The manifest that is applied; also in `examples/`.
const MANIFEST: &str = include_str!("../../../../examples/scalable-app.yaml");
/// How often the cluster is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The workload must answer within this time.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Whatever happens, it ends by then.
const LIMIT: Duration = Duration::from_secs(175);

/// How to run the demonstration.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Leave the cluster running afterwards, until Ctrl-C
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    nodes: NodeArgs,
}

/// Runs the demonstration. Exit code 0 only if the workload really scaled out and in again and no
/// request failed.
pub(crate) fn run(args: DemoArgs) -> Result<ExitCode> {
    let dir = Scratch::new()?;
    crate::cluster::log_to(&crate::lifecycle::log_path(&dir.0))?;
    let runtime = crate::cluster::runtime()?;
    let code = runtime.block_on(Box::pin(show(args, &dir.0)));
    runtime.shutdown_background();
    code
}

/// A directory of our own that goes with us.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let name = format!("plimsoll-demo-{}", nix::unistd::getpid());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

async fn show(args: DemoArgs, dir: &Path) -> Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let settings = Settings {
        dir: dir.to_owned(),
        ephemeral: true,
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        nodes: args.nodes.clone(),
        node_groups: Vec::new(),
        node_groups_grpc: None,
        without: BTreeSet::new(),
        seed: crate::cluster::fresh_seed(),
        audit: None,
        gates: FeatureGates::default(),
        metric_sources: crate::metric_sources::MetricSourceArgs::default(),
        horizontal: plimsoll_controllers::horizontal::Options::default(),
        node_autoscaling: plimsoll_controllers::nodes::Options::default(),
    };
    if args.nodes.runtime == "simulated" {
        bail!("--runtime simulated runs no real pods, so there is nothing to load");
    }
    let running = Box::pin(Running::start(settings)).await?;
    say(format!(
        "A cluster of its own, ready in {:.2} s: {}",
        running.took, running.nodes
    ));
    say(format!("Pods run: {}", running.runtime));
    let outcome = tokio::select! {
        biased;
        _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
        outcome = Box::pin(play(&running)) => outcome,
    };
    let passed = match outcome {
        Ok(passed) => passed,
        Err(error) => {
            running.stop().await;
            return Err(error);
        }
    };
    suggest(&running, args.keep);
    if args.keep {
        interrupt.recv().await;
    }
    running.stop().await;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Deploys, loads, watches, sums up. Returns whether all went as promised.
async fn play(running: &Running) -> Result<bool> {
    let start = Instant::now();
    observe::apply(&running.client, MANIFEST).await?;
    let observer = Observer::new(running.client.clone(), start);
    let address = within(
        START_PATIENCE,
        "the workload to become Ready",
        observer.ready(),
    )
    .await?;
    say(format!(
        "Deployed examples/scalable-app.yaml: Deployment, Service {address}, HPA at 50 % of 200m, \
         1 to 10 pods."
    ));
    say("Scale-in waits 15 s here instead of Kubernetes' 300 s (stabilizationWindowSeconds).\n");
    let load = Load::start(Arc::clone(&running.network), address, "scalable-app".into());
    let mut timeline = Timeline::default();
    let mut view = View::new();
    let deadline = start + LIMIT;
    for step in script::STEPS {
        load.set_rate(step.rate);
        view.announce(step.say);
        follow(step, &load, &observer, (&mut timeline, &mut view), deadline).await?;
    }
    load.set_rate(0.0);
    let tally = load.finish().await;
    view.finish();
    Ok(sum_up(&timeline, &tally))
}

/// Watches until the step is over.
async fn follow(
    step: &Step,
    load: &Load,
    observer: &Observer,
    (timeline, view): (&mut Timeline, &mut View),
    deadline: Instant,
) -> Result<()> {
    let begun = Instant::now();
    loop {
        let mut moment = observer.look().await?;
        moment.rate = load.rate();
        (moment.served, moment.failed) = load.counts();
        let changed = timeline.push(moment);
        view.show(timeline, changed);
        let long_enough = begun.elapsed() >= step.at_least;
        let settled = step.until.is_none_or(|until| until(&moment));
        if long_enough && settled || Instant::now() >= deadline {
            return Ok(());
        }
        sleep_until(Instant::now() + LOOK).await;
    }
}

async fn within<T>(
    patience: Duration,
    what: &str,
    done: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        result = done => result,
        () = sleep(patience) => bail!("waited {} s for {what} in vain", patience.as_secs()),
    }
}

/// Prints the summary and says whether everything went as promised.
fn sum_up(timeline: &Timeline, tally: &Tally) -> bool {
    let (lines, passed) = view::summary(timeline, tally);
    for line in lines {
        say(line);
    }
    passed
}

fn suggest(running: &Running, keep: bool) {
    if keep {
        say("\nThe cluster runs until Ctrl-C. Try, in another terminal:\n");
        say(format!(
            "  export KUBECONFIG={}",
            running.admin_kubeconfig.display()
        ));
    } else {
        say("\nNext, with a cluster that stays (this one is gone now):\n");
        say("  plimsoll up --detach");
        say("  kubectl apply -f examples/scalable-app.yaml");
    }
    say("  kubectl get deploy,hpa,pods");
    say("  kubectl top pods");
    say("  kubectl run load -it --rm --image=busybox:1.28 --restart=Never -- \\");
    say("    /bin/sh -c 'while sleep 0.01; do wget -q -O- http://scalable-app; done'");
    say("  kubectl describe hpa scalable-app");
    say("  plimsoll explain hpa/scalable-app");
}
