//! The Node objects and leases of the agents.

use super::events::Severity;
use super::pressure::Signal;
use super::status::time;
use super::{Agents, Node, Shared};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often leases are renewed.
const LEASE_PERIOD: Duration = Duration::from_secs(10);
/// How long a lease holds, in seconds.
const LEASE_SECONDS: i64 = 40;
/// Every so many lease rounds the node's status is written even if nothing has changed (5 min).
const STATUS_EVERY: u64 = 30;
/// The port of kubelets, where nothing listens on another.
const PORT: u16 = 10250;
/// The version this agent behaves like.
const KUBELET_VERSION: &str = "v1.36.2+plimsoll";

/// Registers a node, trying until it succeeds; a Node object that exists is kept.
pub(crate) async fn register(shared: Arc<Shared>, node: Arc<Node>) {
    let mut pause = Duration::from_millis(50);
    while let Err(error) = try_register(&shared, &node).await {
        tracing::debug!(node = %node.name, error = ?error, "node not registered yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
    let message = format!("Node {} status is now: NodeReady", node.name);
    shared
        .events
        .node(&node.name, (Severity::Normal, "NodeReady"), message);
    renew(&shared, &node).await;
    let why = node.runtime.breakdown().await;
    break_down(&shared, &node, why).await;
}

/// Shows that the node can run nothing any more.
async fn break_down(shared: &Shared, node: &Node, why: String) {
    tracing::error!(node = %node.name, %why, "the container runtime has broken down");
    let message = format!("Node {} status is now: NodeNotReady: {why}", node.name);
    drop(node.broken.set((shared.clock.now(), why)));
    shared
        .events
        .node(&node.name, (Severity::Normal, "NodeNotReady"), message);
    write_status(shared, node).await;
}

/// Writes the node's status, because it has changed.
pub(crate) async fn show(shared: Arc<Shared>, node: Arc<Node>) {
    write_status(&shared, &node).await;
}

async fn write_status(shared: &Shared, node: &Node) {
    let path = format!("/api/v1/nodes/{}/status", node.name);
    let write = async {
        loop {
            // As it is now, not as it was when the first attempt failed.
            let body = json!({ "status": status(shared, node) });
            match shared.cluster.merge(&path, &body).await {
                Ok(_) => return,
                // Whoever makes the Node object anew writes its status, too.
                Err(error) if error.code() == Some(404) => return,
                Err(error) => {
                    tracing::debug!(node = %node.name, error = ?error, "node status not written");
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    node.stop.run_until_cancelled(write).await;
}

async fn try_register(shared: &Shared, node: &Node) -> Result<(), super::ClusterError> {
    let status = status(shared, node);
    let mut object = object(node);
    if let Some(map) = object.as_object_mut() {
        map.insert("status".into(), status.clone());
    }
    let path = format!("/api/v1/nodes/{}", node.name);
    match shared.cluster.create("/api/v1/nodes", &object).await {
        Ok(created) if created.pointer("/status/conditions").is_some() => return Ok(()),
        Ok(_) => {}
        Err(error) if error.code() == Some(409) => {
            let labels = json!({"metadata": {"labels": object.pointer("/metadata/labels")}});
            shared.cluster.merge(&path, &labels).await?;
        }
        Err(error) => return Err(error),
    }
    let body = json!({ "status": status });
    shared
        .cluster
        .merge(&format!("{path}/status"), &body)
        .await
        .map(drop)
}

/// Deletes the Node object and its lease; absent is fine.
pub(crate) async fn deregister(shared: &Shared, name: &str) {
    for path in [format!("/api/v1/nodes/{name}"), lease_path(name)] {
        if let Err(error) = shared.cluster.delete(&path, &json!({})).await {
            tracing::debug!(%path, error = ?error, "not deleted");
        }
    }
}

/// Renews all leases, and now and then the statuses.
pub(crate) async fn keep_alive(agents: Agents) {
    let mut round: u64 = 0;
    loop {
        tokio::time::sleep(LEASE_PERIOD).await;
        round += 1;
        for node in agents.nodes() {
            renew(&agents.shared, &node).await;
            if round.is_multiple_of(STATUS_EVERY) {
                let path = format!("/api/v1/nodes/{}/status", node.name);
                let body = json!({ "status": status(&agents.shared, &node) });
                if let Err(error) = agents.shared.cluster.merge(&path, &body).await {
                    tracing::debug!(node = %node.name, error = ?error, "node status not written");
                    // A Node object that somebody deleted comes back, as upstream.
                    drop(try_register(&agents.shared, &node).await);
                }
            }
        }
    }
}

fn lease_path(node: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{node}")
}

async fn renew(shared: &Shared, node: &Node) {
    let now = shared
        .clock
        .now()
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string();
    let spec = json!({
        "holderIdentity": node.name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now,
    });
    let patch = json!({ "spec": spec });
    let Err(error) = shared.cluster.merge(&lease_path(&node.name), &patch).await else {
        return;
    };
    if error.code() != Some(404) {
        tracing::debug!(node = %node.name, error = ?error, "lease not renewed");
        return;
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": node.name, "namespace": "kube-node-lease"}, "spec": spec,
    });
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    if let Err(error) = shared.cluster.create(leases, &lease).await {
        tracing::debug!(node = %node.name, error = ?error, "lease not made");
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn object(node: &Node) -> Value {
    let mut labels = node.spec.labels.clone();
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        labels.insert(format!("{prefix}/arch"), architecture().to_owned());
        labels.insert(format!("{prefix}/os"), "linux".to_owned());
    }
    labels.insert("kubernetes.io/hostname".to_owned(), node.name.clone());
    let provider_id = match &node.spec.provider_id {
        Some(id) => id.clone(),
        None => format!("plimsoll://{}", node.name),
    };
    let mut spec = json!({
        "podCIDR": node.spec.pod_cidr, "podCIDRs": [node.spec.pod_cidr],
        "providerID": provider_id,
    });
    if let (false, Some(map)) = (node.spec.taints.is_empty(), spec.as_object_mut()) {
        map.insert("taints".into(), json!(node.spec.taints));
    }
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": node.name, "labels": labels,
            // How long a kubelet of a cluster of this size may keep what it has read.
            "annotations": {"node.alpha.kubernetes.io/ttl": "0"},
        },
        "spec": spec,
    })
}

/// The node's whole status.
fn status(shared: &Shared, node: &Node) -> Value {
    let now = time(shared.clock.now());
    let mut resources = json!({
        "cpu": cores(node.spec.cpu_milli),
        "memory": format!("{}Ki", node.spec.memory_bytes / 1024),
        "ephemeral-storage": "100Gi",
        "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        "pods": node.spec.pods.to_string(),
    });
    if let Some(map) = resources.as_object_mut() {
        let extended = node.spec.extended.iter();
        map.extend(extended.map(|(name, count)| (name.clone(), json!(count.to_string()))));
    }
    let (since, ready) = match node.broken.get() {
        None => (
            node.since,
            ["True", "KubeletReady", "kubelet is posting ready status"].map(str::to_owned),
        ),
        Some((at, why)) => {
            let message = format!("container runtime is down: {why}");
            (*at, ["False".into(), "KubeletNotReady".into(), message])
        }
    };
    let [holds, reason, message] = &ready;
    let condition = |kind: &str, since, holds: &str, (reason, message): (&str, &str)| {
        json!({
            "type": kind, "status": holds, "reason": reason, "message": message,
            "lastHeartbeatTime": now, "lastTransitionTime": time(since),
        })
    };
    let pressure = node.pressure.lock();
    let short = |signal: Signal| {
        let shows = pressure.shows(signal);
        let holds = if shows { "True" } else { "False" };
        let since = pressure.since(signal).unwrap_or(node.since);
        condition(signal.condition(), since, holds, signal.claim(shows))
    };
    let pids = (
        "KubeletHasSufficientPID",
        "kubelet has sufficient PID available",
    );
    json!({
        "capacity": resources, "allocatable": resources,
        "conditions": [
            short(Signal::Memory),
            short(Signal::Disk),
            condition("PIDPressure", node.since, "False", pids),
            condition("Ready", since, holds, (reason.as_str(), message.as_str())),
        ],
        "addresses": addresses(node),
        "daemonEndpoints": {
            "kubeletEndpoint": {"Port": node.spec.server.map_or(PORT, |at| at.port())},
        },
        "nodeInfo": node_info(node),
    })
}

fn addresses(node: &Node) -> Vec<Value> {
    let address = |kind: &str, address: String| json!({"type": kind, "address": address});
    let mut all = vec![
        address("InternalIP", node.address.to_string()),
        address("Hostname", node.name.clone()),
    ];
    // Departs: nodes here live in a network of their own; this is where tools on this machine
    // reach them.
    all.extend(
        node.spec
            .server
            .map(|at| address("ExternalIP", at.ip().to_string())),
    );
    all
}

fn cores(milli: u64) -> String {
    if milli.is_multiple_of(1000) {
        (milli / 1000).to_string()
    } else {
        format!("{milli}m")
    }
}

fn node_info(node: &Node) -> Value {
    let real = node.runtime.runs_processes();
    let os = if real {
        host_os()
    } else {
        "simulated".to_owned()
    };
    let kernel = if real {
        host_file("/proc/sys/kernel/osrelease")
    } else {
        "simulated".to_owned()
    };
    let (machine, boot) = if real {
        (
            host_file("/etc/machine-id"),
            host_file("/proc/sys/kernel/random/boot_id"),
        )
    } else {
        (node.name.clone(), node.name.clone())
    };
    json!({
        "machineID": machine, "systemUUID": machine, "bootID": boot,
        "kernelVersion": kernel, "osImage": os,
        "containerRuntimeVersion":
            format!("{}://{}", node.runtime.name(), env!("CARGO_PKG_VERSION")),
        "kubeletVersion": KUBELET_VERSION, "kubeProxyVersion": "",
        "operatingSystem": "linux", "architecture": architecture(),
    })
}

fn host_file(path: &str) -> String {
    std::fs::read_to_string(path)
        .map(|t| t.trim().to_owned())
        .unwrap_or_default()
}

fn host_os() -> String {
    let text = host_file("/etc/os-release");
    let line = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    line.map_or_else(
        || "Linux".to_owned(),
        |name| name.trim_matches('"').to_owned(),
    )
}
