//! Starting and stopping the autoscaler, and what wakes it.

use super::explanation::Explanations;
use super::key::{ScalerKey, ScalerKind};
use super::metrics::{Live, Metrics};
use super::options::Options;
use super::shell::Shell;
use crate::runtime;
use crate::supervisor::Context;
use plimsoll_api::usage::{Samples, UsageStore};
use plimsoll_engine::horizontal::Memory;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long passes under way may take to end once the autoscaler is told to stop.
const LAST_PASSES: Duration = Duration::from_secs(8);

/// How long saving what autoscalers remember may take after that.
const LAST_SAVE: Duration = Duration::from_secs(2);

/// Workers for each of `--concurrent-horizontal-pod-autoscaler-syncs`.
///
/// Departs: a worker costs next to nothing here, and most of them only wait for an API to answer.
const WAITING: usize = 8;

/// Where an autoscaler's signals come from and where its reasons go.
#[derive(Debug)]
pub struct Signals {
    /// The newest usage of pods.
    pub usage: UsageStore,
    /// Each round of measurement.
    pub rounds: Receiver<Arc<Samples>>,
    /// Where decisions are explained.
    pub explanations: Explanations,
    /// Where passes are counted.
    pub metrics: Metrics,
}

/// Runs the horizontal autoscaler until the future is dropped.
pub async fn control(context: Context, signals: Signals, options: Options) {
    let running = Horizontal::start(&context, signals, options);
    std::future::pending::<()>().await;
    drop(running);
}

/// The running horizontal autoscaler. Dropping it ends it at once; [`Horizontal::stop`] lets it
/// end what it has begun.
#[derive(Debug)]
pub struct Horizontal {
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
    ears: JoinHandle<()>,
    shell: Arc<Shell>,
}

impl Horizontal {
    /// Starts the watches and the workers. Must be called inside a runtime.
    pub fn start(context: &Context, signals: Signals, options: Options) -> Self {
        let (shell, rounds) = Shell::new(context, signals, options);
        let shell = Arc::new(shell);
        let live: Arc<dyn Live> = Arc::<Shell>::clone(&shell);
        shell.metrics.attach(Arc::downgrade(&live));
        let stop = watch::Sender::new(false);
        let work = tokio::spawn(begin(Arc::clone(&shell), stop.subscribe()));
        let ears = tokio::spawn(follow(Arc::downgrade(&shell), rounds));
        Self {
            stop,
            work,
            ears,
            shell,
        }
    }

    /// Begins no further pass, lets those under way end their writes (for at most 8 s), saves what
    /// autoscalers remember (for at most 2 s), and returns when nothing will be done any more.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        self.ears.abort();
        if tokio::time::timeout(LAST_PASSES, &mut self.work)
            .await
            .is_err()
        {
            self.work.abort();
            // Whether it was cancelled or has ended in between: it is over.
            drop((&mut self.work).await);
            tracing::warn!("the horizontal autoscaler's last passes took too long and were ended");
        }
        let Some(persisted) = &self.shell.persisted else {
            return;
        };
        let saved = tokio::time::timeout(LAST_SAVE, persisted.save_all()).await;
        let saved = saved.unwrap_or_else(|_| Err("it took too long".into()));
        if let Err(error) = saved {
            tracing::warn!(%error, "the last of what autoscalers remember was not saved");
        }
    }

    /// How many passes there have been.
    pub fn evaluations(&self) -> u64 {
        self.shell.evaluations()
    }

    /// What an autoscaler remembers between passes.
    pub fn memory_of(&self, scaler: &ScalerKey) -> Option<Memory> {
        self.shell
            .recall
            .get(scaler, |known| known.memory.clone())
            .flatten()
    }

    /// What a `HorizontalPodAutoscaler` (namespace, name) remembers between passes.
    pub fn memory(&self, namespace: &str, name: &str) -> Option<Memory> {
        let object = runtime::ObjectKey::new(namespace, name);
        self.memory_of(&ScalerKey::horizontal(object))
    }
}

impl Drop for Horizontal {
    fn drop(&mut self) {
        self.work.abort();
        self.ears.abort();
    }
}

/// Waits for the first lists, then connects the watches to the queue and works until told to stop.
async fn begin(shell: Arc<Shell>, mut stop: watch::Receiver<bool>) {
    let prepared = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => false,
        () = prepare(&shell) => true,
    };
    if !prepared {
        return;
    }
    connect(&shell);
    let workers = (0..shell.options.concurrent_syncs.clamp(1, 10_000) * WAITING)
        .map(|_| runtime::run_until(Arc::clone(&shell), shell.queue.clone(), stop.clone()));
    tokio::select! {
        biased;
        _ = futures::future::join_all(workers) => {}
        () = shell.follow_verticals() => {}
        () = shell.keep_memory() => {}
    }
}

async fn prepare(shell: &Shell) {
    shell.caches.deployments.ready().await;
    shell.caches.replica_sets.ready().await;
    shell.caches.pods.ready().await;
    shell.hpas.ready().await;
    let all_known = shell.pod_autoscalers_ready().await;
    if let Some(persisted) = &shell.persisted {
        persisted.load().await;
        shell.sweep(persisted, all_known);
    }
}

fn connect(shell: &Arc<Shell>) {
    let weak = Arc::downgrade(shell);
    shell.hpas.on_change(move |change| {
        if let Some(shell) = weak.upgrade() {
            let scaler = |view: &Option<Arc<super::view::HpaView>>| {
                view.as_ref().map(|view| Arc::clone(&view.0))
            };
            let key = ScalerKey::horizontal(change.key.clone());
            shell.on_scaler(key, scaler(&change.old), scaler(&change.new));
        }
    });
    let weak = Arc::downgrade(shell);
    shell.pas.on_change(move |change| {
        if let Some(shell) = weak.upgrade() {
            let scaler = |view: &Option<Arc<super::pod_autoscaler::PaView>>| {
                view.as_ref().map(|view| Arc::clone(&view.0))
            };
            let key = ScalerKey {
                kind: ScalerKind::Pod,
                object: change.key.clone(),
            };
            shell.on_scaler(key, scaler(&change.old), scaler(&change.new));
        }
    });
    let weak = Arc::downgrade(shell);
    shell.caches.pods.on_change(move |change| {
        if let Some(shell) = weak.upgrade() {
            shell.on_pod(change);
        }
    });
    let weak = Arc::downgrade(shell);
    shell.caches.deployments.on_change(move |change| {
        let figures = |view: &Option<_>| deployment_figures(view.as_deref());
        if figures(&change.old) != figures(&change.new)
            && let Some(shell) = weak.upgrade()
        {
            shell.on_target("Deployment", &change.key);
        }
    });
    let weak = Arc::downgrade(shell);
    shell.caches.replica_sets.on_change(move |change| {
        let figures = |view: &Option<_>| replica_set_figures(view.as_deref());
        if figures(&change.old) != figures(&change.new)
            && let Some(shell) = weak.upgrade()
        {
            shell.on_target("ReplicaSet", &change.key);
        }
    });
}

fn deployment_figures(view: Option<&crate::pods::DeploymentView>) -> Option<(i32, i32)> {
    view.map(|view| (view.replicas, view.status.replicas))
}

fn replica_set_figures(view: Option<&crate::pods::ReplicaSetView>) -> Option<(i32, i32)> {
    view.map(|view| (view.replicas, view.status.replicas))
}

/// Looks at the autoscalers of freshly measured pods, for ever.
async fn follow(shell: Weak<Shell>, mut rounds: Receiver<Arc<Samples>>) {
    loop {
        let round = match rounds.recv().await {
            Ok(round) => round,
            // What was missed is in the store; the next round leads to it.
            Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        let Some(shell) = shell.upgrade() else { return };
        shell.on_samples(&round);
    }
}
