//! Random clusters, pods, failing bindings and vanishing nodes: nothing is over-committed, nobody is
//! forgotten, nobody is bound twice.

use crate::faults::{Fault, Faults};
use crate::rig::Rig;
use crate::scheduling::{add_node, node, pod};
use kube::api::{DeleteParams, DynamicObject};
use plimsoll_controllers::runtime::Writer;
use plimsoll_controllers::scheduler;
use plimsoll_controllers::supervisor::Context;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// CPU of each node, in millicores.
const NODE_CPU: u64 = 1000;

/// A scheduler of which every third write of a binding fails.
async fn start(seed: u64) -> Rig {
    let mut rig = Rig::start().await;
    let faults = Faults::none();
    let mut dice = StdRng::seed_from_u64(seed);
    faults.set(move |method, uri| {
        let binds = method == "POST" && uri.ends_with("/binding");
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": "etcdserver: request timed out", "reason": "InternalError", "code": 500});
        (binds && dice.random_range(0..3) == 0).then(|| Fault::Answer(500, status.to_string()))
    });
    let client = faults.client(rig.client.clone());
    let context = Context {
        writer: Writer::new(client),
        ..rig.context.clone()
    };
    drop(rig.tasks.spawn(scheduler::control(context)));
    let accounts = rig.core("default", "serviceaccounts", "ServiceAccount");
    rig.until("service account", async || rig.count(&accounts).await == 1)
        .await;
    rig
}

fn cpu(pod: &DynamicObject) -> u64 {
    let request = &pod.data["spec"]["containers"][0]["resources"]["requests"]["cpu"];
    let text = request.as_str().unwrap();
    text.strip_suffix('m').map_or_else(
        || text.parse::<u64>().unwrap() * 1000,
        |milli| milli.parse().unwrap(),
    )
}

/// CPU that pods ask for on each node.
async fn load(rig: &Rig) -> BTreeMap<String, u64> {
    let mut load = BTreeMap::new();
    for pod in rig.list(&rig.pods()).await {
        if let Some(node) = pod.data["spec"]["nodeName"].as_str() {
            *load.entry(node.to_owned()).or_insert(0) += cpu(&pod);
        }
    }
    load
}

async fn waiting(rig: &Rig) -> Vec<u64> {
    let pods = rig.list(&rig.pods()).await;
    let waits = |pod: &&DynamicObject| !pod.data["spec"]["nodeName"].is_string();
    pods.iter().filter(waits).map(cpu).collect()
}

async fn play(seed: u64) {
    let rig = start(seed).await;
    let mut dice = StdRng::seed_from_u64(seed);
    let nodes = rig.cluster("nodes", "Node");
    let mut names = Vec::new();
    for step in 0..40 {
        match dice.random_range(0..10) {
            0 | 1 => {
                let name = format!("n{step}");
                add_node(&rig, node(&name, "1")).await;
                names.push(name);
            }
            2 if names.len() > 1 => {
                let name = names.swap_remove(dice.random_range(0..names.len()));
                drop(nodes.delete(&name, &DeleteParams::default()).await.unwrap());
            }
            3 => {
                let pods = rig.list(&rig.pods()).await;
                if let Some(pod) = pods.get(dice.random_range(0..pods.len().max(1))) {
                    let name = pod.metadata.name.as_deref().unwrap();
                    let now = DeleteParams::default().grace_period(0);
                    drop(rig.pods().delete(name, &now).await);
                }
            }
            _ => {
                let request = format!("{}m", dice.random_range(1..=6) * 100);
                rig.create(&rig.pods(), pod(&format!("p{step}"), &request))
                    .await;
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..3000))).await;
        for (node, load) in load(&rig).await {
            assert!(
                load <= NODE_CPU,
                "seed {seed}: {node} is over-committed: {load}m"
            );
        }
    }
    // Longer than any back-off and than the flush.
    tokio::time::sleep(Duration::from_secs(400)).await;
    let load = load(&rig).await;
    let free = names
        .iter()
        .map(|name| NODE_CPU - load.get(name).copied().unwrap_or(0));
    let room = free.max().unwrap_or(0);
    let waiting = waiting(&rig).await;
    assert!(
        waiting.iter().all(|wanted| *wanted > room),
        "seed {seed}: {waiting:?} wait although {room}m are free"
    );
}

#[tokio::test(start_paused = true)]
async fn whatever_fails_nothing_is_over_committed_and_nobody_is_forgotten() {
    for seed in 0..6 {
        play(seed).await;
    }
}
