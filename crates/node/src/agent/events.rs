//! Events about pods and nodes; repeats are counted on one object instead of stored again.

use super::cluster::Cluster;
use super::status::time;
use super::view::Pod;
use plimsoll_clock::Clock;
use serde_json::json;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// Repeats are recognised among this many recent events.
const REMEMBERED: usize = 4096;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    kind: &'static str,
    namespace: String,
    name: String,
    uid: String,
    field_path: String,
    node: String,
    severity: &'static str,
    reason: &'static str,
    message: String,
}

/// Hands events to the writer; never waits.
#[derive(Debug, Clone)]
pub(crate) struct Recorder(mpsc::UnboundedSender<Event>);

/// How much an event should worry people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

impl Recorder {
    /// Starts the writer; it ends when every recorder is dropped.
    pub(crate) fn start(cluster: Cluster, clock: Clock) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(write(cluster, clock, receiver));
        Self(sender)
    }

    /// About a pod, or one container of it.
    pub(crate) fn pod(
        &self,
        pod: &Pod,
        container: Option<&str>,
        severity: Severity,
        (reason, message): (&'static str, String),
    ) {
        let init = |name: &str| pod.spec.init_containers.iter().any(|c| c.name == name);
        let ephemeral = |name: &str| pod.spec.ephemeral_containers.iter().any(|c| c.name == name);
        let field_path = match container {
            Some(name) if init(name) => format!("spec.initContainers{{{name}}}"),
            Some(name) if ephemeral(name) => format!("spec.ephemeralContainers{{{name}}}"),
            Some(name) => format!("spec.containers{{{name}}}"),
            None => String::new(),
        };
        drop(self.0.send(Event {
            kind: "Pod",
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            field_path,
            node: pod.spec.node_name.clone(),
            severity: severity.name(),
            reason,
            message,
        }));
    }

    /// About a node.
    pub(crate) fn node(
        &self,
        node: &str,
        (severity, reason): (Severity, &'static str),
        message: String,
    ) {
        drop(self.0.send(Event {
            kind: "Node",
            namespace: "default".to_owned(),
            name: node.to_owned(),
            uid: node.to_owned(),
            field_path: String::new(),
            node: node.to_owned(),
            severity: severity.name(),
            reason,
            message,
        }));
    }
}

async fn write(cluster: Cluster, clock: Clock, mut events: mpsc::UnboundedReceiver<Event>) {
    let mut known: BTreeMap<Event, (String, u64)> = BTreeMap::new();
    let mut serial: u64 = u64::try_from(clock.now().as_microsecond()).unwrap_or(0);
    while let Some(event) = events.recv().await {
        let path = format!("/api/v1/namespaces/{}/events", event.namespace);
        let now = time(clock.now());
        if let Some((name, count)) = known.get_mut(&event) {
            *count += 1;
            let repeat = json!({"count": *count, "lastTimestamp": now});
            if cluster
                .merge(&format!("{path}/{name}"), &repeat)
                .await
                .is_ok()
            {
                continue;
            }
        }
        serial = serial.wrapping_add(1);
        let name = format!("{}.{serial:x}", event.name);
        match cluster.create(&path, &object(&event, &name, &now)).await {
            Ok(_) => {
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(event, (name, 1));
            }
            Err(error) => tracing::debug!(%path, error = ?error, "event not written"),
        }
    }
}

fn object(event: &Event, name: &str, now: &str) -> serde_json::Value {
    let mut involved = json!({
        "kind": event.kind, "apiVersion": "v1", "name": event.name, "uid": event.uid,
    });
    if let Some(map) = involved.as_object_mut() {
        if event.kind == "Pod" {
            map.insert("namespace".into(), event.namespace.as_str().into());
        }
        if !event.field_path.is_empty() {
            map.insert("fieldPath".into(), event.field_path.as_str().into());
        }
    }
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": event.namespace},
        "involvedObject": involved,
        "type": event.severity, "reason": event.reason, "message": event.message,
        "source": {"component": "kubelet", "host": event.node},
        "reportingComponent": "kubelet", "reportingInstance": event.node,
        "count": 1, "firstTimestamp": now, "lastTimestamp": now,
    })
}
