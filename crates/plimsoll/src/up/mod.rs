//! `plimsoll up`: a cluster in the foreground (or, with `--detach`, in the background).

mod detach;
mod node_groups;

pub(crate) use node_groups::NodeGroupArg;

use crate::args::Place;
use crate::cluster::{Running, Settings};
use crate::gates::GateArgs;
use crate::lifecycle::{self, Claim, RunFile};
use crate::metric_sources::MetricSourceArgs;
use crate::node_autoscaling::NodeAutoscalingArgs;
use crate::output::say;
use crate::run::HorizontalArgs;
use anyhow::{Context, Result, bail};
use clap::Args;
use plimsoll_apiserver::audit::{Audit, LogOptions, Policy};
use plimsoll_quantity::Quantity;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Parts that `--without` can leave to other programs.
pub(crate) const PARTS: [&str; 8] = [
    "controllers",
    "scheduler",
    "horizontal",
    "node-autoscaler",
    "nodes",
    "proxy",
    "dns",
    "metrics",
];

/// How to start a cluster.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    pub(crate) place: Place,
    /// Write the cluster's credentials to FILE instead of merging them into ~/.kube/config (or
    /// $KUBECONFIG) as context `plimsoll`
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Keep all objects in memory; nothing survives a stop
    #[arg(long)]
    ephemeral: bool,
    /// Port of the API server; 0 for any free one
    #[arg(long, default_value_t = 6443)]
    port: u16,
    /// Address of the API server; beyond loopback, anyone who reaches it may try to log in
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "IP")]
    bind: IpAddr,
    #[command(flatten)]
    pub(crate) nodes: NodeArgs,
    #[command(flatten)]
    node_groups: node_groups::NodeGroupArgs,
    /// Parts to leave to other programs: controllers, scheduler, horizontal, node-autoscaler, nodes,
    /// proxy, dns, metrics
    #[arg(long, value_name = "PART,…", value_delimiter = ',', value_parser = PARTS)]
    without: Vec<String>,
    /// Log every request to FILE, one JSON object a line; put aside as FILE.1 and so on at 100 MiB
    #[arg(long, value_name = "FILE")]
    audit_log: Option<PathBuf>,
    /// What goes into the audit log: a Policy of audit.k8s.io/v1 [default: the metadata of every
    /// request]
    #[arg(long, value_name = "FILE", requires = "audit_log")]
    audit_policy: Option<PathBuf>,
    #[command(flatten)]
    gates: GateArgs,
    #[command(flatten)]
    metric_sources: MetricSourceArgs,
    #[command(flatten)]
    horizontal: HorizontalArgs,
    #[command(flatten)]
    node_autoscaling: NodeAutoscalingArgs,
    /// Go on in the background; stop with `plimsoll down`
    #[arg(long)]
    detach: bool,
}

/// The cluster's nodes.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeArgs {
    /// How many nodes, beside those of node groups [default: 1, or none with node groups]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) nodes: Option<u16>,
    /// CPU of each node, e.g. 1 or 1500m [default: this machine's]
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) node_cpu: Option<Quantity>,
    /// Memory of each node, e.g. 1Gi [default: this machine's]
    #[arg(long, value_name = "QUANTITY")]
    pub(crate) node_memory: Option<Quantity>,
    /// What runs the pods
    #[arg(long, default_value = "auto", value_parser = ["auto", "builtin", "rootless", "process", "simulated"])]
    pub(crate) runtime: String,
}

impl UpArgs {
    /// The audit log, if one is wanted.
    fn audit(&self) -> Result<Option<Audit>> {
        let Some(path) = &self.audit_log else {
            return Ok(None);
        };
        let policy = match &self.audit_policy {
            None => Policy::metadata(),
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("reading {}", file.display()))?;
                Policy::parse(&text).with_context(|| file.display().to_string())?
            }
        };
        Ok(Some(Audit::open(policy, &LogOptions::at(path))?))
    }
}

/// Starts a cluster and stays until it is told to stop.
pub(crate) fn run(args: UpArgs) -> Result<ExitCode> {
    let dir = args.place.dir();
    if args.detach {
        return detach::run(&dir);
    }
    let claim = Claim::take(&dir)?;
    crate::cluster::log_to(&lifecycle::log_path(&dir))?;
    let runtime = crate::cluster::runtime()?;
    let code = runtime.block_on(Box::pin(stay(args, &dir, &claim)));
    runtime.shutdown_background();
    code
}

async fn stay(args: UpArgs, dir: &Path, claim: &Claim) -> Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    args.node_autoscaling.warn_in_cluster();
    let settings = Settings {
        dir: dir.to_owned(),
        ephemeral: args.ephemeral,
        address: SocketAddr::new(args.bind, args.port),
        nodes: args.nodes.clone(),
        node_groups: args.node_groups.checked(&args.without)?,
        node_groups_grpc: args.node_groups.served_at(),
        without: args.without.iter().cloned().collect(),
        seed: crate::cluster::fresh_seed(),
        audit: args.audit()?,
        gates: args.gates.gates,
        metric_sources: args.metric_sources.clone(),
        horizontal: args.horizontal.options()?,
        node_autoscaling: args.node_autoscaling.options()?,
    };
    let running = Box::pin(Running::start(settings)).await?;
    let kubeconfig = running.write_kubeconfig(args.kubeconfig.as_deref())?;
    claim.announce(&RunFile {
        pid: nix::unistd::getpid().as_raw(),
        server: running.server.clone(),
        kubeconfig: running.admin_kubeconfig.clone(),
        kubectl: kubeconfig.to_string(),
        started: running.clock.now(),
        runtime: running.runtime.clone(),
        ephemeral: args.ephemeral,
    })?;
    greet(&running, &kubeconfig);
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => say("\nstopping (once more Ctrl-C ends it at once)"),
    }
    tokio::select! {
        biased;
        _ = interrupt.recv() => bail!("ended before all was stopped"),
        () = running.stop() => {}
    }
    say("stopped");
    Ok(ExitCode::SUCCESS)
}

fn greet(running: &Running, kubeconfig: &crate::cluster::Written) {
    say(format!(
        "plimsoll {} is up in {:.2} s",
        env!("CARGO_PKG_VERSION"),
        running.took
    ));
    say(format!("  server     {}", running.server));
    say(format!("  nodes      {}", running.nodes));
    say(format!("  pods run   {}", running.runtime));
    say(format!("  data       {}", running.place));
    say(format!("  kubectl    {kubeconfig}"));
    say("Stop with Ctrl-C or `plimsoll down`.");
}
