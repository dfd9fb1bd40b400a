//! Runs a scenario.

use crate::error::SimError;
use crate::journal::Journal;
use crate::report::{Report, Sample, Summary};
use crate::scenario::Scenario;
use crate::traffic::{Reading, Traffic};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Api, Client};
use plimsoll_api::kind::{Kind, Kinds};
use plimsoll_apiserver::ClusterSettings;
use plimsoll_apiserver::pki::Pki;
use plimsoll_apiserver::store::{Options, Store};
use plimsoll_clock::Clock;
use plimsoll_cluster::{ControlPlane, Parts};
use plimsoll_controllers::horizontal::Options as HorizontalOptions;
use plimsoll_controllers::runtime::{Cache, Full};
use plimsoll_controllers::supervisor;
use plimsoll_node::agent::{self, Agents, NodeSpec};
use plimsoll_node::proxy::table::{Directory, Table};
use plimsoll_node::runtime::Runtime;
use plimsoll_node::runtime::simulated::Simulated;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What is served whatever the manifests are. Every further kind would cost the garbage collector
/// a watch, and thousands of reconnections and bookmarks a day.
const SERVED: [&str; 25] = [
    "apps/controllerrevisions",
    "apps/daemonsets",
    "apps/deployments",
    "apps/replicasets",
    "apps/statefulsets",
    "autoscaling/horizontalpodautoscalers",
    "batch/cronjobs",
    "batch/jobs",
    "configmaps",
    "coordination.k8s.io/leases",
    "discovery.k8s.io/endpointslices",
    "endpoints",
    "events",
    "namespaces",
    "nodes",
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "policy/poddisruptionbudgets",
    "replicationcontrollers",
    "scheduling.k8s.io/priorityclasses",
    "serviceaccounts",
    "services",
    "storage.k8s.io/csinodes",
    "storage.k8s.io/storageclasses",
];
/// Least time between two writes of an autoscaler's measured numbers.
const STATUS_INTERVAL: Duration = Duration::from_secs(300);
/// Most pods of a node, as upstream.
const PODS_PER_NODE: u32 = 110;

/// Runs a scenario to its end and tells what happened.
///
/// The cluster lives on its own single-threaded runtime, whose clock leaps to the next event
/// whenever nothing is left to do. No sockets, no threads, no files.
///
/// # Errors
/// The scenario makes no sense, or the cluster does not take its objects. Must not be called inside
/// an asynchronous runtime.
pub fn run(scenario: &Scenario) -> Result<Report, SimError> {
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err(SimError::Nested);
    }
    scenario.selector()?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime
        .map_err(SimError::Runtime)?
        .block_on(Box::pin(play(scenario)))
}

async fn play(scenario: &Scenario) -> Result<Report, SimError> {
    let clock = Clock::starting_at(scenario.start);
    let traffic = Arc::new(Traffic::new(scenario, clock));
    let mut plane = control_plane(scenario, clock).await?;
    let agents = nodes(scenario, clock, &mut plane, Arc::clone(&traffic)).await?;
    let servers = direct(scenario, plane.client(), &traffic);
    let (deployments, client) = (&plane.context.caches.deployments, plane.client().clone());
    let (journal, explaining) = Journal::start(deployments, client, clock);
    plane.keep(explaining);
    create(&plane, scenario).await?;
    let (timeline, totals) = watch(scenario, clock, &traffic, &journal).await;
    agents.shutdown().await;
    drop((servers, plane));
    Ok(report(scenario, &journal, timeline, totals))
}

async fn control_plane(scenario: &Scenario, clock: Clock) -> Result<ControlPlane, SimError> {
    // The key signs, but nothing that is decided depends on it.
    let token_key = Pki::ephemeral(&[]).map_err(SimError::Key)?.token_key();
    let parts = Parts {
        store: Store::open(Options::ephemeral()).map_err(SimError::Store)?,
        clock,
        seed: scenario.seed,
        kinds: kinds(scenario),
        settings: ClusterSettings::default(),
        token_key,
        without: BTreeSet::new(),
        controllers: supervisor::Options {
            // Nodes without heartbeats: renewing leases would be most of a day's work.
            node_grace: None,
            ..supervisor::Options::default()
        },
        horizontal: horizontal(scenario),
    };
    ControlPlane::start(parts).await.map_err(SimError::Start)
}

/// The autoscaler's flags, with two periods stretched that would only cost time.
fn horizontal(scenario: &Scenario) -> HorizontalOptions {
    let flags = scenario.horizontal.clone();
    // Each round of measurement causes a pass; one more at the same moment would see old samples.
    let beyond = scenario
        .sample_period
        .saturating_add(Duration::from_secs(1));
    HorizontalOptions {
        sync_period: flags.sync_period.max(beyond),
        // Nobody reads the numbers between two decisions.
        status_interval: flags.status_interval.max(STATUS_INTERVAL),
        ..flags
    }
}

/// The kinds that something here works with, and those of the manifests.
fn kinds(scenario: &Scenario) -> Kinds {
    let mut kinds = plimsoll_api::kinds::built_in();
    kinds.retain(|kind| {
        let mut manifests = scenario.manifests.iter();
        SERVED.contains(&&*kind.storage) || manifests.any(|manifest| is_of(manifest, kind))
    });
    kinds
}

async fn nodes(
    scenario: &Scenario,
    clock: Clock,
    plane: &mut ControlPlane,
    traffic: Arc<Traffic>,
) -> Result<Agents, SimError> {
    let (samples, mut rounds) = mpsc::channel(4);
    let pipeline = plane.pipeline.clone();
    plane.keep(async move {
        while let Some(round) = rounds.recv().await {
            pipeline.publish(round);
        }
    });
    let runtime: Arc<dyn Runtime> = Arc::new(Simulated::new(clock, traffic));
    let nodes = (1..=scenario.nodes.count).map(|number| NodeSpec {
        name: format!("node-{number}"),
        cpu_milli: scenario.nodes.cpu_milli,
        memory_bytes: scenario.nodes.memory_bytes,
        pods: PODS_PER_NODE,
        extended: BTreeMap::new(),
        provider_id: None,
        labels: BTreeMap::new(),
        taints: Vec::new(),
        runtime: Arc::clone(&runtime),
        pod_cidr: format!("10.244.{number}.0/24"),
        address: None,
        server: None,
    });
    let config = agent::Config {
        client: plane.client().clone(),
        clock,
        seed: scenario.seed,
        nodes: nodes.collect(),
        samples,
        // Simulated pods look nothing up.
        services: Directory::fixed(Table::default()),
        cluster_dns: IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)),
        cluster_domain: "cluster.local".to_owned(),
        state_dir: "unused".into(),
        sample_period: scenario.sample_period,
    };
    Agents::start_silent(config).await.map_err(SimError::Nodes)
}

/// Leads the load to the pods of the target, as they come and go.
fn direct(scenario: &Scenario, client: &Client, traffic: &Arc<Traffic>) -> Cache<Full<Pod>> {
    let target = &scenario.target;
    let api = Api::namespaced(client.clone(), &target.namespace);
    let selected = watcher::Config::default().labels(&target.selector);
    let servers: Cache<Full<Pod>> = Cache::start_in(api, scenario.seed, selected);
    let traffic = Arc::clone(traffic);
    servers.on_change(move |change| match &change.new {
        Some(pod) => traffic.set(&change.key.name, &pod.object),
        None => traffic.remove(&change.key.name),
    });
    servers
}

async fn create(plane: &ControlPlane, scenario: &Scenario) -> Result<(), SimError> {
    let kinds = plane.server.kinds();
    for (index, manifest) in scenario.manifests.iter().enumerate() {
        let bad = |why: String| SimError::Manifest { index, why };
        let kind = kind_of(&kinds, manifest).map_err(bad)?;
        let resource = GroupVersionKind::gvk(&kind.group, &kind.version, &kind.kind);
        let resource = ApiResource::from_gvk_with_plural(&resource, &kind.plural);
        let object: DynamicObject =
            serde_json::from_value(manifest.clone()).map_err(|error| bad(error.to_string()))?;
        let client = plane.client().clone();
        let api: Api<DynamicObject> = if kind.namespaced {
            let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
            Api::namespaced_with(client, namespace, &resource)
        } else {
            Api::all_with(client, &resource)
        };
        let created = api.create(&PostParams::default(), &object).await;
        created.map_err(|source| SimError::Refused { index, source })?;
    }
    Ok(())
}

fn kind_of(kinds: &Kinds, manifest: &Value) -> Result<Arc<Kind>, String> {
    let mut found = kinds.iter().filter(|kind| is_of(manifest, kind));
    let missing = || {
        let (version, kind) = (text(manifest, "apiVersion"), text(manifest, "kind"));
        format!("there is no kind {kind:?} of version {version:?}")
    };
    found.next().map(Arc::clone).ok_or_else(missing)
}

fn is_of(manifest: &Value, kind: &Kind) -> bool {
    text(manifest, "kind") == kind.kind && text(manifest, "apiVersion") == kind.api_version()
}

fn text<'a>(manifest: &'a Value, field: &str) -> &'a str {
    let text = manifest.get(field).and_then(Value::as_str);
    text.unwrap_or_default()
}

/// Lets the time pass, with a look around once a period.
async fn watch(
    scenario: &Scenario,
    clock: Clock,
    traffic: &Traffic,
    journal: &Journal,
) -> (Vec<Sample>, Reading) {
    let origin = tokio::time::Instant::now();
    let mut timeline = Vec::new();
    let mut totals = Reading::default();
    let mut passed = Duration::ZERO;
    while passed < scenario.length {
        let period = scenario
            .sample_period
            .min(scenario.length.saturating_sub(passed));
        passed += period;
        tokio::time::sleep_until(origin + passed).await;
        let reading = traffic.read();
        totals.requests += reading.requests;
        totals.unserved += reading.unserved;
        totals.pod_seconds += reading.pod_seconds;
        let replicas = journal.replicas(&scenario.target.namespace);
        timeline.push(sample(
            clock.now(),
            period.as_secs_f64(),
            replicas,
            &reading,
        ));
    }
    (timeline, totals)
}

fn sample(time: Timestamp, seconds: f64, replicas: i32, reading: &Reading) -> Sample {
    let used = 100.0 * reading.used / reading.requested;
    Sample {
        time,
        requests_per_second: reading.requests / seconds,
        replicas,
        pods: reading.pods,
        ready: reading.ready,
        utilization: (reading.requested > 0.0).then_some(used),
        wait_seconds: reading.wait_seconds,
        unserved: reading.unserved,
    }
}

fn report(
    scenario: &Scenario,
    journal: &Journal,
    timeline: Vec<Sample>,
    totals: Reading,
) -> Report {
    let (changes, (min, peak)) = journal.take();
    let decisions = changes
        .iter()
        .filter_map(|change| serde_json::to_string(change).ok());
    let summary = Summary {
        length: scenario.length,
        pod_hours: totals.pod_seconds / 3600.0,
        peak,
        min,
        scale_outs: changes
            .iter()
            .filter(|change| change.desired > change.current)
            .count(),
        scale_ins: changes
            .iter()
            .filter(|change| change.desired < change.current)
            .count(),
        requests: totals.requests,
        unserved: totals.unserved,
    };
    Report {
        decisions: decisions.collect(),
        changes,
        timeline,
        summary,
    }
}
