//! What a leader does: it measures, finds out whether HorizontalPodAutoscalers are its own to obey,
//! and obeys them.

use super::builtin::{self, Verdict};
use super::connect::Connection;
use super::health::Health;
use super::parts::Parts;
use super::{RunArgs, own_namespace};
use anyhow::{Context as _, Result};
use jiff::SignedDuration;
use kube::Config;
use plimsoll_controllers::horizontal::{Horizontal, MemoryPlace, Options, STALENESS, Scope};
use plimsoll_controllers::runtime::Reference;
use plimsoll_controllers::supervisor::Context;
use plimsoll_sources::metrics::kubelet::{ScrapeOptions, Scraper, ScraperConfig, kubelet_client};
use std::time::Duration;
use tokio::task::JoinSet;

/// While acting: how often to look for traces of another controller.
const LOOK: Duration = Duration::from_secs(60);
/// While standing back: how often to try whether the other controller is gone.
const TRY: Duration = Duration::from_secs(300);
/// Name of the part in `/readyz`.
const PART: &str = "horizontal-pod-autoscalers";

/// Everything a leader needs, checked before it leads.
pub(super) struct Plan {
    options: Options,
    scraping: ScrapeOptions,
    config: Config,
    namespace: String,
    /// Whether the whole cluster is in scope.
    everywhere: bool,
    take_over: bool,
}

impl Plan {
    /// Checks the flags.
    pub(super) fn new(args: &RunArgs, connection: &Connection) -> Result<Self> {
        let namespace = own_namespace(args, connection);
        let scraping = args.metrics.scraping();
        let mut options = args.horizontal.options()?.gated(args.gates.gates);
        options.observe_only = args.scope.dry_run;
        options.memory = (!args.scope.dry_run).then(|| MemoryPlace::in_namespace(&namespace));
        options.scope = Scope {
            namespaces: args
                .scope
                .namespaces()
                .into_iter()
                .map(Into::into)
                .collect(),
            selector: args.scope.selector.clone(),
        };
        let stale = SignedDuration::try_from(scraping.freshness()).unwrap_or(STALENESS);
        options.settings.staleness = Some(stale.max(STALENESS));
        Ok(Self {
            options,
            scraping,
            config: connection.config.clone(),
            namespace,
            everywhere: args.scope.namespaces().is_empty(),
            take_over: args.scope.take_over,
        })
    }
}

/// A leader's work. Dropping it ends it at once.
pub(super) struct Duty<'a> {
    context: &'a Context,
    parts: &'a Parts,
    health: &'a Health,
    plan: &'a Plan,
    horizontal: Option<Horizontal>,
    measuring: JoinSet<()>,
}

impl<'a> Duty<'a> {
    /// Starts to measure. Nothing is scaled before [`Duty::tend`] has found out what may be.
    pub(super) fn start(
        context: &'a Context,
        parts: &'a Parts,
        health: &'a Health,
        plan: &'a Plan,
    ) -> Result<Self> {
        let mut measuring = JoinSet::new();
        if plan.everywhere {
            measuring.spawn(scraper(context, parts, plan)?.run());
        }
        Ok(Self {
            context,
            parts,
            health,
            plan,
            horizontal: None,
            measuring,
        })
    }

    /// Acts, or stands back while another controller acts; for ever.
    pub(super) async fn tend(&mut self) {
        loop {
            let verdict = self.look().await;
            self.heed(verdict);
            let pause = if self.horizontal.is_some() { LOOK } else { TRY };
            tokio::time::sleep(pause).await;
        }
    }

    async fn look(&self) -> Verdict {
        let (client, clock) = (&self.context.client, self.context.clock);
        let (all, namespace) = (self.plan.everywhere, &self.plan.namespace);
        if self.plan.take_over {
            return Verdict::Absent("--take-over says so".to_owned());
        }
        if self.plan.options.observe_only {
            return Verdict::Absent("nothing is written (--dry-run)".to_owned());
        }
        if self.horizontal.is_some() {
            // The other one would leave traces beside ours.
            return builtin::see(client, all).await.judge(clock.now());
        }
        builtin::find_out(client, clock, namespace, all).await
    }

    fn heed(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Absent(why) if self.horizontal.is_none() => {
                tracing::info!(%why, "obeying HorizontalPodAutoscalers: no other controller does");
                self.health.fine(PART, format!("obeyed; {why}"));
                let (signals, options) = (self.parts.signals(), self.plan.options.clone());
                let started = Horizontal::start(self.context, signals, options);
                self.horizontal = Some(started);
            }
            Verdict::Active(why) => {
                let choices = builtin::CHOICES;
                tracing::warn!(%why, "leaving HorizontalPodAutoscalers alone: {choices}");
                self.health
                    .fine(PART, format!("left alone; {why}; {choices}"));
                self.tell(&format!(
                    "HorizontalPodAutoscalers are left to another controller: {why}; {choices}"
                ));
                self.horizontal = None;
            }
            Verdict::Unknown(why) if self.horizontal.is_none() => {
                tracing::warn!(%why, "leaving HorizontalPodAutoscalers alone until it is known that no other controller obeys them");
                self.health.fine(PART, format!("left alone; {why}"));
            }
            Verdict::Absent(_) | Verdict::Unknown(_) => {}
        }
    }

    /// An event beside those of the election, where people look when nothing is scaled.
    fn tell(&self, message: &str) {
        let about = Reference {
            api_version: "v1".into(),
            kind: "Namespace".into(),
            namespace: self.plan.namespace.as_str().into(),
            name: self.plan.namespace.as_str().into(),
            uid: "".into(),
            revision: 0,
            field_path: "".into(),
        };
        let recorder = self.context.recorder.component("plimsoll");
        recorder.warning(&about, "AnotherControllerActive", message.to_owned());
    }

    /// Takes no more work and finishes what is under way.
    pub(super) async fn stop(mut self) {
        if let Some(horizontal) = self.horizontal.take() {
            horizontal.stop().await;
        }
        self.measuring.shutdown().await;
        builtin::tidy(&self.context.client, &self.plan.namespace).await;
    }
}

fn scraper(context: &Context, parts: &Parts, plan: &Plan) -> Result<Scraper> {
    let kubelets = if plan.scraping.reach.through_apiserver {
        context.client.clone()
    } else {
        kubelet_client(&plan.config, &plan.scraping.tls).context("reaching kubelets")?
    };
    Ok(Scraper::new(ScraperConfig {
        api: context.client.clone(),
        kubelets,
        clock: context.clock,
        seed: context.seed,
        options: plan.scraping.clone(),
        pipeline: parts.pipeline.clone(),
    }))
}
