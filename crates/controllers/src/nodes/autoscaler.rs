//! Starting and stopping node autoscaling.

use super::explanation::Explanations;
use super::metrics::Metrics;
use super::options::Options;
use super::pulse::{Patience, Pulse};
use super::work::Work;
use crate::supervisor::Context;
use jiff::SignedDuration;
use plimsoll_api::nodegroup::NodeProvider;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long the end may take.
const LAST_STEPS: Duration = Duration::from_secs(15);

/// Where decisions are explained and counted.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Why each node and group is as it is.
    pub explanations: Explanations,
    /// What is counted.
    pub metrics: Metrics,
}

/// Running node autoscaling. Dropping it ends it where it is, as a crash would;
/// [`NodeAutoscaler::stop`] ends it in order.
#[derive(Debug)]
pub struct NodeAutoscaler {
    stop: watch::Sender<bool>,
    work: Option<JoinHandle<()>>,
    pulse: Pulse,
}

impl NodeAutoscaler {
    /// Adds and removes nodes through `provider` from now on. Must be called inside a runtime.
    ///
    /// The context's caches must be fed for nodes and what pods on them are judged by: all of them
    /// are in a cluster of our own, elsewhere see
    /// [`Caches::with_nodes`](crate::pods::Caches::with_nodes).
    pub fn start(
        context: &Context,
        provider: Arc<dyn NodeProvider>,
        options: Options,
        signals: Signals,
    ) -> Self {
        let report = &options.report;
        let signed = |duration| SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
        let patience = Patience {
            inactivity: signed(report.max_inactivity),
            failing: signed(report.max_failing),
            startup: signed(report.max_startup),
        };
        let pulse = Pulse::new(patience, context.clock.now());
        let stop = watch::Sender::new(false);
        let heard = stop.subscribe();
        let (context, beats) = (context.clone(), pulse.clone());
        let work = tokio::spawn(async move {
            let mut told = heard.clone();
            let prepare = Work::prepare(context, provider, options, (signals, beats));
            let work = tokio::select! {
                biased;
                _ = told.wait_for(|stop| *stop) => return,
                work = Box::pin(prepare) => work,
            };
            let work = Box::pin(work.run(heard)).await;
            Box::pin(work.end()).await;
        });
        Self {
            stop,
            work: Some(work),
            pulse,
        }
    }

    /// Whether looks are made; what a health check answers from.
    pub fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    /// Begins nothing more, releases nodes that no provider has been asked to remove, and saves
    /// what a restart must not forget; for at most 15 s.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let Some(mut work) = self.work.take() else {
            return;
        };
        if tokio::time::timeout(LAST_STEPS, &mut work).await.is_err() {
            work.abort();
            tracing::warn!("node autoscaling took too long to end and was ended");
        }
    }
}

impl Drop for NodeAutoscaler {
    fn drop(&mut self) {
        if let Some(work) = &self.work {
            work.abort();
        }
    }
}
