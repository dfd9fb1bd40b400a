//! Runs a scenario.

use crate::autoscaling;
use crate::error::SimError;
use crate::journal::Journal;
use crate::ledger::{Ledger, Standings};
use crate::machines::Ground;
use crate::node_report::NodeReport;
use crate::objects;
use crate::report::{Report, Sample, Summary};
use crate::scenario::Scenario;
use crate::traffic::{Reading, Traffic};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher;
use kube::{Api, Client};
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
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

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
    let runtime: Arc<dyn Runtime> =
        Arc::new(Simulated::new(clock, Arc::<Traffic>::clone(&traffic)));
    let agents = nodes(scenario, clock, &mut plane, &runtime).await?;
    let servers = direct(scenario, plane.client(), &traffic);
    let (caches, client) = (plane.context.caches.clone(), plane.client().clone());
    let (journal, explaining) = Journal::start(&caches.deployments, client.clone(), clock);
    plane.keep(explaining);
    let groups = &scenario.node_groups;
    let (ledger, explaining) = Ledger::start(groups, &caches, client, clock);
    plane.keep(explaining);
    let ground = Ground::new(agents.clone(), runtime, Arc::clone(&traffic));
    let counted = autoscaling::start(scenario, &mut plane, ground, &ledger).await?;
    objects::create(&plane, scenario).await?;
    let noted = Noted { journal, ledger };
    let (timeline, totals) = watch(scenario, clock, &traffic, &noted).await;
    let evictions = counted.total("evicted_pods_total", ("eviction_result", "succeeded"));
    let nodes = noted.ledger.take(scenario.length, evictions);
    agents.shutdown().await;
    drop((servers, plane));
    let report = report(scenario, &noted.journal, timeline, totals);
    Ok(Report { nodes, ..report })
}

/// Who writes down what happens.
struct Noted {
    journal: Journal,
    ledger: Ledger,
}

async fn control_plane(scenario: &Scenario, clock: Clock) -> Result<ControlPlane, SimError> {
    // The key signs, but nothing that is decided depends on it.
    let token_key = Pki::ephemeral(&[]).map_err(SimError::Key)?.token_key();
    let parts = Parts {
        store: Store::open(Options::ephemeral()).map_err(SimError::Store)?,
        clock,
        seed: scenario.seed,
        kinds: objects::kinds(scenario),
        settings: ClusterSettings::default(),
        token_key,
        without: BTreeSet::new(),
        controllers: supervisor::Options {
            // Nodes without heartbeats: renewing leases would be most of a day's work.
            node_grace: None,
            // Its kind is not served, and whoever watches it would ask again all day.
            without: BTreeSet::from(["ipaddress".to_owned()]),
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

async fn nodes(
    scenario: &Scenario,
    clock: Clock,
    plane: &mut ControlPlane,
    runtime: &Arc<dyn Runtime>,
) -> Result<Agents, SimError> {
    let (samples, mut rounds) = mpsc::channel(4);
    let pipeline = plane.pipeline.clone();
    plane.keep(async move {
        while let Some(round) = rounds.recv().await {
            pipeline.publish(round);
        }
    });
    let nodes = (1..=scenario.nodes.count).map(|number| NodeSpec {
        name: format!("node-{number}"),
        cpu_milli: scenario.nodes.cpu_milli,
        memory_bytes: scenario.nodes.memory_bytes,
        pods: PODS_PER_NODE,
        extended: BTreeMap::new(),
        provider_id: None,
        labels: BTreeMap::new(),
        taints: Vec::new(),
        runtime: Arc::clone(runtime),
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

/// Lets the time pass, with a look around once a period.
async fn watch(
    scenario: &Scenario,
    clock: Clock,
    traffic: &Traffic,
    noted: &Noted,
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
        let replicas = noted.journal.replicas(&scenario.target.namespace);
        let sample = sample((clock.now(), period.as_secs_f64()), replicas, &reading);
        let Standings {
            nodes,
            pending,
            rate,
        } = noted.ledger.standings();
        timeline.push(Sample {
            nodes,
            pending,
            machines: rate.machines,
            dollars_per_hour: rate.dollars,
            ..sample
        });
    }
    (timeline, totals)
}

fn sample((time, seconds): (Timestamp, f64), replicas: i32, reading: &Reading) -> Sample {
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
        nodes: 0,
        pending: 0,
        machines: 0,
        dollars_per_hour: 0.0,
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
        nodes: NodeReport::default(),
    }
}
