//! An autoscaler that works on some server, measured by what it asks for and writes.

use super::fake::{self, Fake};
use super::objects::{Shape, TARGET};
use super::process::{cpu_seconds, rss_of};
use super::{Foreign, HpaArgs, Latency};
use crate::output::say;
use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use kube::api::{DeleteParams, ListParams};
use kube::config::{AuthInfo, Cluster, KubeConfigOptions, Kubeconfig, NamedAuthInfo, NamedCluster};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};
use plimsoll_clock::Clock;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;
use tokio::time::Instant;

/// The longest to wait for the first passes, and for all scales to be written.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pause between looks at the statuses.
const LOOK: Duration = Duration::from_secs(1);

/// What was seen from outside.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    autoscalers: usize,
    pods_each: usize,
    other_pods: usize,
    metric_types: Vec<super::MetricType>,
    /// Until every autoscaler had read its metric for the first time.
    seconds_to_first_status: f64,
    /// Requests for metrics a second, while nothing changed.
    metric_requests_per_second: f64,
    /// Share of a core that the autoscaler's process took meanwhile.
    cores: Option<f64>,
    /// CPU per request for metrics: for an autoscaler that asks once a pass, per decision.
    cpu_micros_per_request: Option<f64>,
    /// Its resident memory.
    rss_mebibytes: Option<f64>,
    /// From a doubled load of everything to each written scale.
    reaction: Option<Latency>,
}

/// Measures each number of autoscalers in turn.
pub(super) async fn run(args: &HpaArgs) -> Result<Vec<Report>> {
    let client = connect(&args.foreign).await?;
    let mut reports = Vec::new();
    for &autoscalers in &args.autoscalers {
        let suffix = Clock::system().now().as_second() % 1_000_000;
        let shape = Shape {
            namespace: format!("plimsoll-bench-{suffix}"),
            autoscalers,
            pods: args.pods,
            others: args.other_pods,
            types: args.foreign.metric_types.clone(),
        };
        let measured = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
            report = Box::pin(measure(&client, &shape, &args.foreign)) => report,
        };
        say(format!("removing namespace {}", shape.namespace));
        Box::pin(clean_up(&client, &shape)).await;
        reports.push(measured?);
    }
    Ok(reports)
}

async fn connect(foreign: &Foreign) -> Result<Client> {
    let kubeconfig = match (&foreign.kubeconfig, &foreign.server) {
        (Some(file), _) => {
            Kubeconfig::read_from(file).with_context(|| format!("cannot use {}", file.display()))?
        }
        (None, Some(server)) => by_token(foreign, server)?,
        (None, None) => bail!("no server is named"),
    };
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    Ok(Client::try_from(config)?)
}

fn by_token(foreign: &Foreign, server: &str) -> Result<Kubeconfig> {
    let authority = foreign.certificate_authority.as_ref();
    let authority = authority.map(|file| {
        let absolute = std::path::absolute(file);
        absolute.map(|file| file.display().to_string())
    });
    let cluster = Cluster {
        server: Some(server.to_owned()),
        insecure_skip_tls_verify: Some(foreign.insecure_skip_tls_verify),
        certificate_authority: authority.transpose()?,
        ..Cluster::default()
    };
    let user: AuthInfo = serde_json::from_value(json!({ "token": foreign.token }))?;
    let context = serde_json::from_value(json!({ "name": "bench",
        "context": { "cluster": "bench", "user": "bench" } }))?;
    Ok(Kubeconfig {
        clusters: vec![NamedCluster {
            name: "bench".into(),
            cluster: Some(cluster),
            ..NamedCluster::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: "bench".into(),
            auth_info: Some(user),
            ..NamedAuthInfo::default()
        }],
        contexts: vec![context],
        current_context: Some("bench".into()),
        ..Kubeconfig::default()
    })
}

async fn measure(client: &Client, shape: &Shape, foreign: &Foreign) -> Result<Report> {
    let fake = Fake::start(shape.clone(), &foreign.advertise, TARGET).await?;
    say(format!(
        "{} autoscalers of {} pods each in namespace {}, {} other pods",
        shape.autoscalers, shape.pods, shape.namespace, shape.others
    ));
    shape.make(client).await?;
    fake::register(client, shape, &foreign.advertise, fake.port()).await?;
    let begun = Instant::now();
    settled(client, shape).await?;
    let seconds_to_first_status = begun.elapsed().as_secs_f64();
    say(format!(
        "all have read their metrics after {seconds_to_first_status:.1} s"
    ));
    let cpu = || foreign.pid.map(cpu_seconds).transpose();
    let (before, asked, begun) = (cpu()?, fake.asked(), Instant::now());
    tokio::time::sleep(Duration::from_secs(foreign.seconds)).await;
    let seconds = begun.elapsed().as_secs_f64();
    let used = before.zip(cpu()?).map(|(before, after)| after - before);
    let asked = f64::from(u32::try_from(fake.asked() - asked)?);
    let rss = foreign.pid.map(|pid| rss_of(&pid.to_string()));
    let reaction = Latency::of(react(client, shape, &fake).await?);
    let report = Report {
        autoscalers: shape.autoscalers,
        pods_each: shape.pods,
        other_pods: shape.others,
        metric_types: shape.types.clone(),
        seconds_to_first_status,
        metric_requests_per_second: asked / seconds,
        cores: used.map(|used| used / seconds),
        cpu_micros_per_request: used.filter(|_| asked > 0.0).map(|used| used * 1e6 / asked),
        rss_mebibytes: rss.transpose()?,
        reaction,
    };
    report.say();
    Ok(report)
}

impl Report {
    fn say(&self) {
        let per_second = self.metric_requests_per_second;
        say(format!(
            "at rest: {per_second:.1} requests for metrics a second"
        ));
        if let (Some(cores), Some(rss)) = (self.cores, self.rss_mebibytes) {
            say(format!("its process: {cores:.3} cores, {rss:.0} MiB"));
        }
        if let Some(micros) = self.cpu_micros_per_request {
            say(format!("CPU per request for metrics: {micros:.1} µs"));
        }
        if let Some(reaction) = self.reaction {
            reaction.say("doubled load to written scale");
        }
    }
}

/// Waits until every autoscaler shows its metric.
async fn settled(client: &Client, shape: &Shape) -> Result<()> {
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(client.clone(), &shape.namespace);
    let begun = Instant::now();
    loop {
        let list = hpas.list(&ListParams::default()).await?;
        let shows = |hpa: &&HorizontalPodAutoscaler| {
            let status = hpa.status.as_ref();
            let metrics = status.and_then(|status| status.current_metrics.as_ref());
            metrics.is_some_and(|metrics| metrics.iter().all(|metric| !metric.type_.is_empty()))
        };
        let ready = list.iter().filter(shows).count();
        if ready == shape.autoscalers {
            return Ok(());
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "only {ready} of {} autoscalers have read their metric: does one work on this server?",
            shape.autoscalers
        );
        tokio::time::sleep(LOOK).await;
    }
}

/// Doubles the load of everything; answers how long each scale took.
async fn react(client: &Client, shape: &Shape, fake: &Fake) -> Result<Vec<Duration>> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &shape.namespace);
    let mut events = pin!(watcher(deployments, watcher::Config::default()));
    while let Some(event) = events.next().await {
        if matches!(event, Ok(Event::InitDone)) {
            break;
        }
    }
    let before = i32::try_from(shape.pods)?;
    let begun = Instant::now();
    fake.load(2 * TARGET);
    let mut taken: BTreeMap<String, Duration> = BTreeMap::new();
    while taken.len() < shape.autoscalers {
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let Ok(Some(event)) = tokio::time::timeout(left, events.next()).await else {
            bail!(
                "only {} of {} scales were written",
                taken.len(),
                shape.autoscalers
            );
        };
        let Ok(Event::Apply(seen) | Event::InitApply(seen)) = event else {
            continue;
        };
        let replicas = seen.spec.as_ref().and_then(|spec| spec.replicas);
        if replicas.is_some_and(|replicas| replicas > before) {
            let name = seen.metadata.name.unwrap_or_default();
            taken.entry(name).or_insert_with(|| begun.elapsed());
        }
    }
    Ok(taken.into_values().collect())
}

/// Removes everything that was made, also on servers where nobody empties namespaces.
async fn clean_up(client: &Client, shape: &Shape) {
    fake::unregister(client, shape).await;
    for namespace in [shape.namespace.clone(), shape.elsewhere()] {
        empty::<HorizontalPodAutoscaler>(client, &namespace).await;
        empty::<Deployment>(client, &namespace).await;
        empty::<Pod>(client, &namespace).await;
        empty::<Service>(client, &namespace).await;
        let namespaces: Api<Namespace> = Api::all(client.clone());
        drop(
            namespaces
                .delete(&namespace, &DeleteParams::default())
                .await,
        );
    }
}

async fn empty<K>(client: &Client, namespace: &str)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let at_once = DeleteParams::default().grace_period(0);
    if api
        .delete_collection(&at_once, &ListParams::default())
        .await
        .is_ok()
    {
        return;
    }
    // Services cannot be deleted as a collection everywhere.
    let Ok(list) = api.list_metadata(&ListParams::default()).await else {
        return;
    };
    let names = list.items.into_iter().filter_map(|item| item.metadata.name);
    let deleted = futures::stream::iter(names.map(Ok::<_, kube::Error>));
    let each = deleted.try_for_each_concurrent(16, |name| {
        let (api, at_once) = (api.clone(), at_once.clone());
        async move { api.delete(&name, &at_once).await.map(drop) }
    });
    drop(each.await);
}
