//! Requests that are answered at once: creates, reads, lists, deletions.

use super::client::Connection;
use super::server::Target;
use anyhow::{Context as _, Result};
use http::Method;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// Where the benchmark works.
pub(super) const NAMESPACE: &str = "plimsoll-bench";
/// The longest one measurement may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a ConfigMap's content.
const PAYLOAD: usize = 256;

/// The table's head.
pub(super) const HEAD: &str =
    "                                        count       per s    p50 ms    p99 ms  server CPU";

/// One line of the results.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) what: String,
    /// Requests, or events delivered.
    pub(super) count: usize,
    pub(super) per_second: f64,
    /// Milliseconds that half of them stayed under.
    #[serde(rename = "p50Millis")]
    pub(super) p50: Option<f64>,
    /// Milliseconds that 99 of 100 stayed under.
    #[serde(rename = "p99Millis")]
    pub(super) p99: Option<f64>,
    /// CPU of the server per request or event, in microseconds.
    pub(super) server_cpu_micros: Option<f64>,
    /// Anything else worth knowing.
    pub(super) note: String,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.2}"));
        let cpu = self
            .server_cpu_micros
            .map_or("-".to_owned(), |v| format!("{v:.1} µs"));
        write!(
            f,
            "{:<36} {:>8}  {:>10.0}  {:>8}  {:>8}  {cpu:>10}  {}",
            self.what,
            self.count,
            self.per_second,
            millis(self.p50),
            millis(self.p99),
            self.note,
        )
    }
}

/// Latencies and duration of many requests, as a row.
pub(super) struct Taken {
    begun: Instant,
    cpu: Option<f64>,
}

impl Taken {
    pub(super) fn begin(target: &Target) -> Result<Self> {
        let cpu = target.cpu()?;
        let begun = Instant::now();
        Ok(Self { begun, cpu })
    }

    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub(super) fn row(
        &self,
        target: &Target,
        (what, count): (String, usize),
        mut millis: Vec<f64>,
    ) -> Result<Row> {
        let seconds = self.begun.elapsed().as_secs_f64();
        let cpu = target.cpu()?.zip(self.cpu).map(|(now, then)| now - then);
        millis.sort_by(f64::total_cmp);
        Ok(Row {
            what,
            count,
            per_second: count as f64 / seconds,
            p50: share(&millis, 50),
            p99: share(&millis, 99),
            server_cpu_micros: cpu.map(|cpu| cpu * 1e6 / count.max(1) as f64),
            note: String::new(),
        })
    }
}

/// The value that `percent` of the sorted ones stay under.
fn share(sorted: &[f64], percent: usize) -> Option<f64> {
    sorted
        .get(sorted.len().saturating_sub(1) * percent / 100)
        .copied()
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bodies {
    /// ConfigMaps of 256 bytes.
    ConfigMaps,
    /// Pods as a Deployment makes them, for a scheduler that does not exist.
    Pods,
}

impl Bodies {
    fn plural(self) -> &'static str {
        match self {
            Self::ConfigMaps => "configmaps",
            Self::Pods => "pods",
        }
    }

    pub(super) fn path(self) -> String {
        format!("/api/v1/namespaces/{NAMESPACE}/{}", self.plural())
    }

    fn name(self, index: usize) -> String {
        match self {
            Self::ConfigMaps => format!("config-{index}"),
            Self::Pods => format!("pod-{index}"),
        }
    }

    fn body(self, index: usize) -> String {
        let name = self.name(index);
        match self {
            Self::ConfigMaps => json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name },
                "data": { "payload": "x".repeat(PAYLOAD) },
            }),
            Self::Pods => pod(&name, index),
        }
        .to_string()
    }
}

fn pod(name: &str, index: usize) -> Value {
    let app = format!("app-{}", index / 10);
    let probe = json!({ "httpGet": { "path": "/healthz", "port": 8080 }, "periodSeconds": 5 });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name,
            "labels": { "app": app, "tier": "web", "pod-template-hash": "5d8c7b9f44" } },
        "spec": {
            "schedulerName": "nobody",
            "containers": [{
                "name": "app", "image": "registry.example/app:1.0",
                "ports": [{ "containerPort": 8080 }],
                "env": [{ "name": "MODE", "value": "production" },
                        { "name": "LOG_LEVEL", "value": "info" }],
                "resources": { "requests": { "cpu": "100m", "memory": "64Mi" },
                               "limits": { "cpu": "500m", "memory": "128Mi" } },
                "readinessProbe": probe,
            }],
        },
    })
}

/// What a client asks, once per index.
#[derive(Debug, Clone, Copy)]
enum Ask {
    /// Make the object of the index.
    Create(Bodies),
    /// Read one of so many objects.
    Get(Bodies, usize),
}

impl Ask {
    async fn send(self, connection: &mut Connection, index: usize) -> Result<usize> {
        match self {
            Self::Create(bodies) => {
                let body = bodies.body(index);
                connection.count(Method::POST, &bodies.path(), body).await
            }
            Self::Get(bodies, stored) => {
                let path = format!("{}/{}", bodies.path(), bodies.name(index % stored.max(1)));
                connection.count(Method::GET, &path, "").await
            }
        }
    }
}

/// Asks once per index, spread over clients; the milliseconds of each answer.
async fn ask(target: &Target, clients: usize, indexes: Range<usize>, ask: Ask) -> Result<Vec<f64>> {
    let next = Arc::new(AtomicUsize::new(indexes.start));
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(Connection::open(target).await?);
    }
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let (next, end) = (Arc::clone(&next), indexes.end);
        tasks.spawn(async move {
            let mut millis = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= end {
                    return anyhow::Ok(millis);
                }
                let begun = Instant::now();
                ask.send(&mut connection, index).await?;
                millis.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        });
    }
    let mut all = Vec::new();
    while let Some(done) = tasks.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}

async fn timed(
    target: &Target,
    clients: usize,
    what: String,
    asked: (Range<usize>, Ask),
) -> Result<Row> {
    let (indexes, kind) = asked;
    let taken = Taken::begin(target)?;
    let asking = timeout(PATIENCE, ask(target, clients, indexes, kind)).await;
    let millis = asking.with_context(|| format!("{what}: not done in time"))??;
    taken.row(target, (what, millis.len()), millis)
}

fn by(clients: usize) -> String {
    match clients {
        1 => "1 client".to_owned(),
        many => format!("{many} clients"),
    }
}

/// Makes the objects of these indexes.
pub(super) async fn creates(
    target: &Target,
    bodies: Bodies,
    indexes: Range<usize>,
    clients: usize,
) -> Result<Row> {
    let what = match bodies {
        Bodies::ConfigMaps => format!("create ConfigMaps, {}", by(clients)),
        Bodies::Pods => format!("create pods to {}, {}", indexes.end, by(clients)),
    };
    timed(target, clients, what, (indexes, Ask::Create(bodies))).await
}

/// Reads single objects, of which so many are stored.
pub(super) async fn gets(
    target: &Target,
    (bodies, stored): (Bodies, usize),
    count: usize,
    clients: usize,
) -> Result<Row> {
    let what = match bodies {
        Bodies::ConfigMaps => format!("get a ConfigMap, {}", by(clients)),
        Bodies::Pods => format!("get a pod of {stored}, {}", by(clients)),
    };
    timed(target, clients, what, (0..count, Ask::Get(bodies, stored))).await
}

/// Reads the list of all pods, of which there are `pods`.
pub(super) async fn lists(target: &Target, pods: usize, times: usize) -> Result<Row> {
    let mut connection = Connection::open(target).await?;
    let taken = Taken::begin(target)?;
    let mut millis = Vec::new();
    let mut bytes = 0;
    for _ in 0..times {
        let begun = Instant::now();
        bytes = connection
            .count(Method::GET, &Bodies::Pods.path(), "")
            .await?;
        millis.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let mut row = taken.row(target, (format!("list {pods} pods"), millis.len()), millis)?;
    row.note = format!("{:.1} MB", f64::from(u32::try_from(bytes)?) / 1e6);
    Ok(row)
}

/// Deletes every object with one request; the count is of those that were there.
pub(super) async fn clear(target: &Target, bodies: Bodies) -> Result<Row> {
    let mut connection = Connection::open(target).await?;
    let taken = Taken::begin(target)?;
    let path = bodies.path();
    let begun = Instant::now();
    let answer = timeout(PATIENCE, connection.read(Method::DELETE, &path, "")).await??;
    let millis = begun.elapsed().as_secs_f64() * 1e3;
    let answer: Value = serde_json::from_slice(&answer)?;
    let count = answer
        .get("items")
        .and_then(Value::as_array)
        .map_or(0, Vec::len);
    let what = format!("delete a collection of {count}");
    taken.row(target, (what, count), vec![millis])
}

/// Makes the benchmark's namespace and waits until pods may be made in it.
pub(super) async fn namespace(target: &Target) -> Result<()> {
    let mut connection = Connection::open(target).await?;
    let body = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE },
    });
    connection
        .read(Method::POST, "/api/v1/namespaces", body.to_string())
        .await?;
    let accounts = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts");
    if !target.has_controllers() {
        let body = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" },
        });
        let made = connection.read(Method::POST, &accounts, body.to_string());
        return made.await.map(drop);
    }
    let account = format!("{accounts}/default");
    let begun = Instant::now();
    while let Err(error) = connection.read(Method::GET, &account, "").await {
        if begun.elapsed() > PATIENCE {
            return Err(error.context("the namespace gets no service account"));
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Removes the namespace, and with it whatever is left.
pub(super) async fn clean(target: &Target) -> Result<()> {
    let mut connection = Connection::open(target).await?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}");
    connection.read(Method::DELETE, &path, "").await?;
    Ok(())
}

/// A thousand watchers need two thousand connections' ends.
pub(super) fn allow_many_files() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Without it the watchers that find no file descriptor say so themselves.
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).ok();
    }
}
