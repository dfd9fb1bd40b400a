//! `plimsoll run`: the autoscalers on any Kubernetes API server.
//!
//! ```text
//! connect ─► caches ─► candidate ──lease──► leader: autoscalers ──SIGTERM──► finish, release, 0
//!                                              └──lease lost──► stop at once, 1
//! ```

pub(crate) mod builtin;
mod connect;
mod duty;
mod flags;
mod health;
mod ineffective;
mod log;
mod metrics;
mod parts;
mod requests;
mod serving;
mod stance;

pub(crate) use connect::connect;
pub(crate) use flags::{ConnectionArgs, HorizontalArgs, duration};

use crate::gates::GateArgs;
use crate::metric_sources::MetricSourceArgs;
use crate::node_autoscaling::{NodeAutoscalingArgs, ProviderArgs};
use anyhow::{Context as _, Result, bail};
use clap::Args;
use duty::{Duty, Plan};
use flags::{ElectionArgs, LoggingArgs, ScopeArgs, ServingArgs};
use health::{Endpoints, Health};
use kube::Client;
use metrics::MetricsArgs;
use parts::Parts;
use plimsoll_clock::Clock;
use plimsoll_controllers::runtime::election::{Elector, Lost, Settings};
use plimsoll_controllers::supervisor::Context;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Namespace of our own objects where nothing says otherwise.
pub(crate) const NAMESPACE: &str = "plimsoll-system";

/// How to run.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    scope: ScopeArgs,
    #[command(flatten)]
    horizontal: HorizontalArgs,
    #[command(flatten, next_help_heading = "Horizontal autoscaling")]
    gates: GateArgs,
    #[command(flatten)]
    metrics: MetricsArgs,
    #[command(flatten)]
    metric_sources: MetricSourceArgs,
    #[command(flatten)]
    provider: ProviderArgs,
    #[command(flatten)]
    nodes: NodeAutoscalingArgs,
    #[command(flatten)]
    election: ElectionArgs,
    #[command(flatten)]
    serving: ServingArgs,
    #[command(flatten)]
    logging: LoggingArgs,
}

/// Runs until told to stop (exit code 0) or until the lease is lost (1).
pub(crate) fn run(args: RunArgs) -> Result<ExitCode> {
    log::start(&args.logging)?;
    let runtime = crate::cluster::runtime()?;
    let code = runtime.block_on(Box::pin(stay(args)));
    runtime.shutdown_background();
    code
}

async fn stay(args: RunArgs) -> Result<ExitCode> {
    let stop = stop_on_signal()?;
    let process = Process::start(args).await?;
    tokio::select! {
        biased;
        () = stop.cancelled() => return process.leave(None).await,
        () = process.filled() => process.health.fine("caches", "filled"),
    }
    Box::pin(process.take_part(stop)).await
}

/// A token that the first SIGTERM or SIGINT cancels. The second ends the process at once.
fn stop_on_signal() -> Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    drop(tokio::spawn(async move {
        for _ in 0..2 {
            tokio::select! {
                biased;
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if token.is_cancelled() {
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).ok();
            }
            token.cancel();
        }
    }));
    Ok(stop)
}

/// Everything that runs whether this process leads or not.
struct Process {
    context: Context,
    parts: Parts,
    health: Health,
    plan: Plan,
    election: Option<Settings>,
    /// Endpoints.
    tasks: JoinSet<()>,
}

impl Process {
    async fn start(args: RunArgs) -> Result<Self> {
        // Every flag is checked before anything is asked or served.
        let timing = args.election.timing()?;
        let connection = connect(&args.connection).await?;
        let plan = Plan::new(&args, &connection)?;
        ineffective::warn(&args);
        let health = Health::default();
        let mut tasks = JoinSet::new();
        let parts = Parts::default();
        let requests = connection.requests.clone();
        parts.expositions.add(Arc::new(requests));
        serve(&mut tasks, &args, &health, &parts).await?;
        let seed = crate::cluster::fresh_seed();
        let election = (args.election.enabled && !args.scope.dry_run).then(|| Settings {
            namespace: own_namespace(&args, &connection),
            name: args.election.lease_name.clone(),
            identity: identity(seed),
            timing,
        });
        greet(&connection.server, &connection.client).await?;
        tracing::info!(namespaces = ?args.scope.namespaces(), selector = %args.scope.selector, "in scope");
        health.not_yet("caches", "waiting for the first lists");
        let (client, clock) = (connection.client, Clock::system());
        let context = if plan.autoscales_nodes() {
            Context::for_node_autoscaling(client, clock, seed).await
        } else {
            Context::for_autoscalers(client, clock, seed, plan.namespaces())
        };
        Ok(Self {
            context,
            parts,
            health,
            plan,
            election,
            tasks,
        })
    }

    /// Waits for the lease, acts, and ends well.
    async fn take_part(self, stop: CancellationToken) -> Result<ExitCode> {
        let Some(settings) = self.election.clone() else {
            return Box::pin(self.act_alone(stop)).await;
        };
        let mut elector = self.elector(settings);
        self.health.fine("leader-election", "standing by");
        tokio::select! {
            biased;
            () = stop.cancelled() => return self.leave(Some(elector)).await,
            () = elector.acquire() => {}
        }
        self.health.fine("leader-election", "leading");
        self.parts.leading.store(true, Ordering::Relaxed);
        let Some(mut duty) = begin(Some(&mut elector), &stop, self.duty()).await? else {
            return self.leave(Some(elector)).await;
        };
        tokio::select! {
            biased;
            lost = elector.hold() => return lose(duty, lost),
            () = stop.cancelled() => {}
            () = duty.tend() => {}
        }
        self.health.not_yet("shutdown", "stopping");
        tracing::info!("stopping: finishing what is under way");
        // The lease is renewed until the last write is done.
        tokio::select! {
            biased;
            lost = elector.hold() => tracing::warn!(%lost, "lost the lease while stopping"),
            () = duty.stop() => {}
        }
        self.leave(Some(elector)).await
    }

    /// Acts without an election.
    async fn act_alone(self, stop: CancellationToken) -> Result<ExitCode> {
        self.health.fine("leader-election", "switched off; acting");
        let Some(mut duty) = begin(None, &stop, self.duty()).await? else {
            return self.leave(None).await;
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = duty.tend() => {}
        }
        duty.stop().await;
        self.leave(None).await
    }

    /// Waits for the first lists of pods and targets.
    async fn filled(&self) {
        let caches = &self.context.caches;
        caches.pods.ready().await;
        caches.replica_sets.ready().await;
        caches.deployments.ready().await;
    }

    async fn duty(&self) -> Result<Duty<'_>> {
        Duty::start(&self.context, &self.parts, &self.health, &self.plan).await
    }

    fn elector(&self, settings: Settings) -> Elector {
        Elector::new(
            self.context.client.clone(),
            self.context.clock,
            self.context.recorder.clone(),
            settings,
            self.context.seed,
        )
    }

    /// Gives the lease back and ends.
    async fn leave(mut self, elector: Option<Elector>) -> Result<ExitCode> {
        if let Some(mut elector) = elector {
            give_back(&mut elector).await;
        }
        self.tasks.shutdown().await;
        tracing::info!("stopped");
        Ok(ExitCode::SUCCESS)
    }
}

/// Does `work`, however long it takes, while the lease is held and nobody stops the process; `None`
/// if somebody does.
async fn begin<T>(
    mut elector: Option<&mut Elector>,
    stop: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    let hold = async {
        match elector.as_deref_mut() {
            Some(elector) => elector.hold().await,
            None => std::future::pending().await,
        }
    };
    let begun = tokio::select! {
        biased;
        lost = hold => return Err(stopped(lost)),
        () = stop.cancelled() => return Ok(None),
        begun = work => begun,
    };
    // The next one need not wait for a lease that nobody uses.
    if let (Err(_), Some(elector)) = (&begun, elector) {
        give_back(elector).await;
    }
    begun.map(Some)
}

async fn give_back(elector: &mut Elector) {
    if let Err(error) = elector.release().await {
        tracing::warn!(%error, "the lease was not given back; it will run out");
    }
}

/// Parity: upstream's controllers exit, too, so that a new leader is never disturbed.
fn lose(duty: Duty<'_>, lost: Lost) -> Result<ExitCode> {
    drop(duty);
    Err(stopped(lost))
}

fn stopped(lost: Lost) -> anyhow::Error {
    anyhow::Error::new(lost).context("stopped: leadership is lost; start again to take part")
}

async fn serve(
    tasks: &mut JoinSet<()>,
    args: &RunArgs,
    health: &Health,
    parts: &Parts,
) -> Result<()> {
    parts.expose(&args.election.lease_name);
    let endpoints = Arc::new(Endpoints {
        health: health.clone(),
        expositions: parts.expositions.clone(),
        pulse: parts.pulse.clone(),
    });
    let args = &args.serving;
    let flags = [
        ("--health-bind-address", args.health_bind_address),
        ("--metrics-bind-address", args.metrics_bind_address),
    ];
    let mut bound = None;
    for (flag, bind) in flags {
        let Some(address) = bind.0.filter(|_| bound != bind.0) else {
            continue;
        };
        let served = health::serve(tasks, address, Arc::clone(&endpoints));
        let served = served.await.with_context(|| flag.to_owned())?;
        tracing::info!(address = %served, flag, "serving");
        bound = bind.0;
    }
    Ok(())
}

/// Where the lease and everything else of our own is.
fn own_namespace(args: &RunArgs, connection: &connect::Connection) -> String {
    match &args.election.lease_namespace {
        Some(named) => named.clone(),
        None if connection.in_cluster => connection.namespace.clone(),
        None => NAMESPACE.to_owned(),
    }
}

/// Unlike every other process's: the host's name and a random number, as client-go has it.
fn identity(seed: u64) -> String {
    let host = nix::unistd::gethostname().ok();
    let host = host.and_then(|name| name.into_string().ok());
    let host = host.unwrap_or_else(|| "unknown".to_owned());
    format!("{host}_{seed:016x}")
}

/// Fails early, with the server's name, where the server does not answer or refuses us.
async fn greet(server: &str, client: &Client) -> Result<()> {
    match client.apiserver_version().await {
        Ok(version) => {
            tracing::info!(%server, version = %version.git_version, "connected");
            Ok(())
        }
        Err(kube::Error::Api(status)) => bail!("{server} answers: {}", status.message),
        Err(error) => Err(error).with_context(|| format!("cannot reach {server}")),
    }
}

#[cfg(test)]
mod tests;
