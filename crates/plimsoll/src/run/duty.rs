//! What a leader does: it measures, finds out whether HorizontalPodAutoscalers are its own to obey,
//! and obeys them.

use super::builtin::{self, Verdict};
use super::connect::Connection;
use super::health::Health;
use super::parts::Parts;
use super::serving::{Served, Serving};
use super::stance::{News, Role, Stance};
use super::{RunArgs, own_namespace};
use crate::node_autoscaling::ProviderArgs;
use anyhow::{Context as _, Result, ensure};
use jiff::SignedDuration;
use kube::Config;
use plimsoll_api::nodegroup::NodeProvider;
use plimsoll_controllers::horizontal::{Horizontal, MemoryPlace, Options, STALENESS, Scope};
use plimsoll_controllers::nodes::{self, NodeAutoscaler};
use plimsoll_controllers::runtime::Reference;
use plimsoll_controllers::supervisor::Context;
use plimsoll_sources::metrics::kubelet::{ScrapeOptions, ScraperConfig, kubelet_client};
use plimsoll_sources::metrics::poll::PollOptions;
use plimsoll_sources::metrics::source::{self, SourceChoice, SourceConfig};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Name of the part in `/readyz`.
const PART: &str = "horizontal-pod-autoscalers";

/// Everything a leader needs, checked before it leads.
pub(super) struct Plan {
    options: Options,
    source: SourceChoice,
    scraping: ScrapeOptions,
    polling: PollOptions,
    config: Config,
    serving: Option<Serving>,
    namespace: String,
    take_over: bool,
    nodes: nodes::Options,
    provider: ProviderArgs,
}

impl Plan {
    /// Checks the flags.
    pub(super) fn new(args: &RunArgs, connection: &Connection) -> Result<Self> {
        let namespace = own_namespace(args, connection);
        let everywhere = args.scope.namespaces().is_empty();
        ensure!(
            everywhere || !args.provider.is_given(),
            "--cloud-provider: nodes are of the whole cluster; leave out --namespace"
        );
        args.provider.check()?;
        let mut nodes = args.nodes.options()?;
        nodes.observe_only = args.scope.dry_run;
        args.nodes.warn();
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
            source: args.metrics.source(everywhere),
            scraping,
            polling: args.metrics.polling(&args.scope.namespaces()),
            serving: Serving::new(args, &namespace).filter(|_| everywhere),
            config: connection.config.clone(),
            namespace,
            take_over: args.scope.take_over,
            nodes,
            provider: args.provider.clone(),
        })
    }
}

impl Plan {
    /// The namespaces in scope; none for all.
    pub(super) fn namespaces(&self) -> &[Arc<str>] {
        &self.options.scope.namespaces
    }

    /// Whether nodes are added and removed.
    pub(super) fn autoscales_nodes(&self) -> bool {
        self.provider.is_given()
    }
}

/// A leader's work. Dropping it ends it at once.
pub(super) struct Duty<'a> {
    context: &'a Context,
    parts: &'a Parts,
    health: &'a Health,
    plan: &'a Plan,
    horizontal: Option<Horizontal>,
    nodes: Option<(NodeAutoscaler, Arc<dyn NodeProvider>)>,
    stance: Stance,
    measuring: JoinSet<()>,
    served: Option<Served>,
}

impl<'a> Duty<'a> {
    /// Starts to measure. Nothing is scaled before [`Duty::tend`] has found out what may be.
    pub(super) async fn start(
        context: &'a Context,
        parts: &'a Parts,
        health: &'a Health,
        plan: &'a Plan,
    ) -> Result<Self> {
        let mut measuring = JoinSet::new();
        let (source, stats) = source::run(measurement(context, parts, plan)?);
        measuring.spawn(source);
        parts.expositions.add(Arc::new(stats));
        let served = match plan.serving.as_ref().filter(|_| !plan.options.observe_only) {
            Some(serving) => Some(serving.start(context, parts).await?),
            None => None,
        };
        let nodes = Box::pin(autoscale_nodes(context, parts, plan)).await?;
        Ok(Self {
            context,
            parts,
            health,
            plan,
            horizontal: None,
            nodes,
            stance: Stance::default(),
            measuring,
            served,
        })
    }

    /// Obeys autoscalers; HorizontalPodAutoscalers only while no other controller does. For ever.
    pub(super) async fn tend(&mut self) {
        let first = match self.decreed() {
            Some(verdict) => verdict,
            None => builtin::see(&self.context.client, self.plan.namespaces())
                .await
                .judge(self.context.clock.now()),
        };
        // PodAutoscalers need not wait for what trying out shows.
        let undecided = matches!(first, Verdict::Unknown(_));
        match first {
            Verdict::Unknown(why) => self.try_out(&why),
            known @ (Verdict::Active(_) | Verdict::Absent(_)) => self.heed(known),
        }
        let (signals, options) = (self.parts.signals(), self.plan.options.clone());
        self.horizontal = Some(Horizontal::start(self.context, signals, options));
        if undecided {
            let verdict = self.look().await;
            self.heed(verdict);
        }
        loop {
            tokio::time::sleep(self.stance.rest()).await;
            let verdict = self.look().await;
            self.heed(verdict);
        }
    }

    /// What needs no looking.
    fn decreed(&self) -> Option<Verdict> {
        let why = if self.plan.take_over {
            "--take-over says so"
        } else if self.plan.options.observe_only {
            "nothing is written (--dry-run)"
        } else {
            return None;
        };
        Some(Verdict::Absent(why.to_owned()))
    }

    async fn look(&self) -> Verdict {
        if let Some(verdict) = self.decreed() {
            return verdict;
        }
        let (client, clock) = (&self.context.client, self.context.clock);
        let (scope, namespace) = (self.plan.namespaces(), &self.plan.namespace);
        if self.stance.role() == Role::Acts {
            // The other one would leave traces beside ours.
            return builtin::see(client, scope).await.judge(clock.now());
        }
        builtin::find_out(client, clock, namespace, scope).await
    }

    /// What was seen does not say, so it will be tried out.
    fn try_out(&self, why: &str) {
        self.plan.options.elsewhere.set(true);
        tracing::info!(%why, "leaving HorizontalPodAutoscalers alone until it is known whether another controller obeys them");
        self.health.fine(PART, waiting(why));
    }

    fn heed(&mut self, verdict: Verdict) {
        let changed = self.stance.take(&verdict) == News::Changed;
        let role = self.stance.role();
        self.plan.options.elsewhere.set(role != Role::Acts);
        let choices = builtin::CHOICES;
        match verdict {
            Verdict::Absent(why) if changed => {
                tracing::info!(%why, "obeying HorizontalPodAutoscalers: no other controller does");
                self.health.fine(PART, format!("obeyed; {why}"));
            }
            Verdict::Active(why) if changed => {
                tracing::warn!(%why, "leaving HorizontalPodAutoscalers alone: {choices}");
                self.health
                    .fine(PART, format!("left alone; {why}; {choices}"));
                self.tell(&format!(
                    "HorizontalPodAutoscalers are left to another controller: {why}; {choices}"
                ));
            }
            Verdict::Unknown(why) if role == Role::Waits => {
                if changed {
                    tracing::warn!(%why, "leaving HorizontalPodAutoscalers alone: it cannot be found out whether another controller obeys them; trying again every few seconds");
                } else {
                    tracing::debug!(%why, "trying again to find out whether another controller obeys HorizontalPodAutoscalers");
                }
                self.health.fine(PART, waiting(&why));
            }
            Verdict::Absent(_) | Verdict::Active(_) | Verdict::Unknown(_) => {}
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
        let (horizontal, nodes) = (self.horizontal.take(), self.nodes.take());
        let ending = async {
            if let Some(horizontal) = horizontal {
                horizontal.stop().await;
            }
        };
        let leaving = async {
            if let Some((autoscaler, provider)) = nodes {
                autoscaler.stop().await;
                provider.close().await;
            }
        };
        tokio::join!(ending, leaving);
        if let Some(served) = self.served.take() {
            served.stop().await;
        }
        self.measuring.shutdown().await;
        builtin::tidy(&self.context.client, &self.plan.namespace).await;
    }
}

/// Begins to add and remove nodes, if a provider is named.
async fn autoscale_nodes(
    context: &Context,
    parts: &Parts,
    plan: &Plan,
) -> Result<Option<(NodeAutoscaler, Arc<dyn NodeProvider>)>> {
    let usual = &plan.nodes.group;
    let provider = plan
        .provider
        .provider(&context.client, usual, context.clock);
    let Some(provider) = provider.await? else {
        return Ok(None);
    };
    let signals = nodes::Signals {
        explanations: parts.explanations.nodes.clone(),
        metrics: nodes::Metrics::default(),
    };
    parts.expositions.add(Arc::new(signals.metrics.clone()));
    tracing::info!(provider = provider.name(), "adding and removing nodes");
    let machines = Arc::clone(&provider);
    let started = NodeAutoscaler::start(context, machines, plan.nodes.clone(), signals);
    parts.pulse.set(started.pulse().clone(), context.clock);
    Ok(Some((started, provider)))
}

/// What `/readyz` says while it is not known who obeys HorizontalPodAutoscalers.
fn waiting(why: &str) -> String {
    format!("waits, left alone until it is known whether another controller obeys them; {why}")
}

fn measurement(context: &Context, parts: &Parts, plan: &Plan) -> Result<SourceConfig> {
    let kubelets = if plan.scraping.reach.through_apiserver {
        context.client.clone()
    } else {
        kubelet_client(&plan.config, &plan.scraping.tls).context("reaching kubelets")?
    };
    Ok(SourceConfig {
        choice: plan.source,
        service: Some((plan.namespace.clone(), "plimsoll".to_owned())),
        poll: plan.polling.clone(),
        scraper: ScraperConfig {
            api: context.client.clone(),
            kubelets,
            clock: context.clock,
            seed: context.seed,
            options: plan.scraping.clone(),
            pipeline: parts.pipeline.clone(),
        },
    })
}
