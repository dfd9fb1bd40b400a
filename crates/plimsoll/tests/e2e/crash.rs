//! kill -9 in the middle of a stream of writes: nothing acknowledged is lost, nothing is half
//! there, and a watch from before resumes or is told that it is too old.

use crate::cluster::Cluster;
use crate::{Outcome, check};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, PostParams, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

const ROUNDS: usize = 6;
const WRITERS: usize = 8;
/// Longer than any round takes.
const LONGEST: Duration = Duration::from_secs(120);
/// Acknowledged writes before the kill.
const ENOUGH: usize = 150;
const PAYLOAD: usize = 700;

/// Acknowledged names, and the newest revision among them.
type Acknowledged = Arc<Mutex<(BTreeSet<String>, u64)>>;

pub(crate) fn loses_nothing() -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let dir = tempfile::tempdir()?;
    let acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        let cluster = Cluster::start_in(dir.path(), &["--nodes", "0", "--without", "nodes"])?;
        let before = acknowledged.lock().expect("no panic holds it").1;
        let round = async {
            let api = configmaps(&cluster.kubeconfig()).await?;
            audit(&api, &acknowledged).await?;
            if before > 0 {
                watch_from(&api, before).await?;
            }
            let mut writers = JoinSet::new();
            for writer in 0..WRITERS {
                let name = format!("r{round}-w{writer}");
                writers.spawn(write(api.clone(), name, Arc::clone(&acknowledged)));
            }
            let target = acknowledged.lock().expect("no panic holds it").0.len() + ENOUGH;
            let reached = || acknowledged.lock().expect("no panic holds it").0.len() >= target;
            while !reached() && !writers.is_empty() {
                tokio::task::yield_now().await;
            }
            check!(reached(), "the writers ended early");
            cluster.kill_hard();
            while writers.join_next().await.is_some() {}
            Ok::<(), libtest_mimic::Failed>(())
        };
        runtime.block_on(async { tokio::time::timeout(LONGEST, round).await })??;
    }
    let last = Cluster::start_in(dir.path(), &["--nodes", "0", "--without", "nodes"])?;
    let whole = async { audit(&configmaps(&last.kubeconfig()).await?, &acknowledged).await };
    runtime.block_on(async { tokio::time::timeout(LONGEST, whole).await })?
}

async fn configmaps(kubeconfig: &Path) -> Result<Api<ConfigMap>, libtest_mimic::Failed> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Ok(Api::namespaced(Client::try_from(config)?, "default"))
}

/// Creates objects until the server is gone; only what was answered counts.
async fn write(api: Api<ConfigMap>, prefix: String, acknowledged: Acknowledged) {
    for number in 0.. {
        let name = format!("{prefix}-{number}");
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.clone());
        object.data = Some(BTreeMap::from([("payload".to_owned(), payload(&name))]));
        let Ok(created) = api.create(&PostParams::default(), &object).await else {
            return;
        };
        let revision = created
            .metadata
            .resource_version
            .and_then(|v| v.parse().ok())
            .unwrap_or(0);
        let mut known = acknowledged.lock().expect("no panic holds it");
        known.0.insert(name);
        known.1 = known.1.max(revision);
    }
}

fn payload(name: &str) -> String {
    name.chars().cycle().take(PAYLOAD).collect()
}

/// Every acknowledged object is there, and every object there is whole.
async fn audit(api: &Api<ConfigMap>, acknowledged: &Acknowledged) -> Outcome {
    let mut there = BTreeSet::new();
    for object in api.list(&ListParams::default()).await?.items {
        let name = object.metadata.name.unwrap_or_default();
        if !name.starts_with('r') {
            continue;
        }
        let data = object.data.unwrap_or_default();
        check!(
            data.get("payload") == Some(&payload(&name)),
            "{name} is damaged"
        );
        there.insert(name);
    }
    let known = acknowledged.lock().expect("no panic holds it");
    let lost: Vec<&String> = known.0.difference(&there).collect();
    check!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    Ok(())
}

/// A watch from a revision before the kill resumes, or is told that it is too old.
async fn watch_from(api: &Api<ConfigMap>, revision: u64) -> Outcome {
    // A write after the revision, so that there is something to see.
    let mut marker = ConfigMap::default();
    marker.metadata.generate_name = Some("marker-".to_owned());
    api.create(&PostParams::default(), &marker).await?;
    let events = api
        .watch(&WatchParams::default().timeout(5), &revision.to_string())
        .await?;
    let mut events = pin!(events);
    let first = tokio::time::timeout(Duration::from_secs(10), events.next()).await?;
    match first.transpose() {
        Ok(Some(WatchEvent::Error(status))) if status.code == 410 => Ok(()),
        Ok(Some(WatchEvent::Error(status))) => Err(format!("the watch failed: {status:?}").into()),
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err("the watch ended without an event".into()),
        Err(error) => Err(format!("the watch failed: {error}").into()),
    }
}
