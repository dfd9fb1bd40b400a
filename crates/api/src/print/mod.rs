//! `kubectl get` tables: columns and cells per kind, with upstream's wording.

mod autoscaling;
mod cluster;
mod describe;
mod duration;
mod network;
mod node;
mod platform;
mod pod;
mod selector;
mod storage;
mod workload;

pub(crate) use autoscaling::{reference as autoscaler_reference, targets as autoscaler_targets};
pub use describe::{column as column_description, row_conditions};
pub use duration::{duration, since};
pub use pod::qos as pod_qos;
pub use selector::{labels_text, selector_text};

use crate::kind::{Column, Table};
use crate::meta;
use jiff::Timestamp;
use serde_json::Value;
use std::borrow::Cow;

type Cells = fn(&Value, Timestamp) -> Vec<Value>;

/// The table of a built-in kind; Name and Age where it has no columns of its own.
pub(crate) fn table(group: &str, kind: &str) -> Table {
    let (columns, cells): (&'static [Column], Cells) = match (group, kind) {
        ("", "Pod") => (pod::COLUMNS, pod::cells),
        ("", "Node") => (node::COLUMNS, node::cells),
        ("", "Service") => (network::SERVICE, network::service),
        ("", "Endpoints") => (network::ENDPOINTS, network::endpoints),
        ("", "PersistentVolumeClaim") => (storage::CLAIM, storage::claim),
        ("", "PersistentVolume") => (storage::VOLUME, storage::volume),
        ("" | "events.k8s.io", "Event") => (cluster::EVENT, cluster::event),
        ("apps", "Deployment") => (workload::DEPLOYMENT, workload::deployment),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => {
            (workload::REPLICA_SET, workload::replica_set)
        }
        ("apps", "StatefulSet") => (workload::STATEFUL_SET, workload::stateful_set),
        ("apps", "DaemonSet") => (workload::DAEMON_SET, workload::daemon_set),
        ("apps", "ControllerRevision") => (workload::REVISION, workload::revision),
        ("batch", "Job") => (workload::JOB, workload::job),
        ("batch", "CronJob") => (workload::CRON_JOB, workload::cron_job),
        ("autoscaling", _) => (autoscaling::COLUMNS, autoscaling::cells),
        ("discovery.k8s.io", _) => (network::SLICE, network::slice),
        ("networking.k8s.io", "Ingress") => (network::INGRESS, network::ingress),
        ("networking.k8s.io", "NetworkPolicy") => (network::POLICY, network::policy),
        ("networking.k8s.io", "IngressClass") => (network::CLASS, network::class),
        ("storage.k8s.io", "StorageClass") => (storage::CLASS, storage::class),
        ("", _) => cluster::core(kind),
        _ => cluster::others(group, kind),
    };
    Table {
        columns: Cow::Borrowed(columns),
        cells,
    }
}

/// Name and Age only.
pub fn generic(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), age(object, now)]
}

/// The columns of [`generic`].
pub const GENERIC: &[Column] = &[NAME, AGE];

const fn column(name: &'static str, kind: &'static str, priority: i32) -> Column {
    Column {
        name: Cow::Borrowed(name),
        kind: Cow::Borrowed(kind),
        format: Cow::Borrowed(""),
        priority,
        description: Cow::Borrowed(""),
    }
}

/// A text column that is always shown.
const fn text(name: &'static str) -> Column {
    column(name, "string", 0)
}

/// A text column of `-o wide`.
const fn wide(name: &'static str) -> Column {
    column(name, "string", 1)
}

/// A number column that is always shown.
const fn number(name: &'static str) -> Column {
    column(name, "integer", 0)
}

const NAME: Column = Column {
    name: Cow::Borrowed("Name"),
    kind: Cow::Borrowed("string"),
    format: Cow::Borrowed("name"),
    priority: 0,
    description: Cow::Borrowed(""),
};
const AGE: Column = text("Age");

fn age(object: &Value, now: Timestamp) -> Value {
    since(meta::at(object, &["metadata", "creationTimestamp"]), now).into()
}

/// The integer at a path, 0 if absent.
fn count(object: &Value, path: &[&str]) -> i64 {
    meta::integer(object, path).unwrap_or_default()
}

/// The text, or `<none>` where it is empty.
fn or_none(text: &str) -> Value {
    if text.is_empty() {
        "<none>".into()
    } else {
        text.into()
    }
}

fn bool_text(object: &Value, path: &[&str]) -> &'static str {
    if meta::at(object, path) == Some(&Value::Bool(true)) {
        "true"
    } else {
        "false"
    }
}

/// Names and images of a pod template's containers, comma separated.
fn containers(spec: Option<&Value>) -> [Value; 2] {
    let list = spec.map_or(&[][..], |spec| meta::list(spec, &["containers"]));
    let join = |key: &str| {
        let texts: Vec<&str> = list
            .iter()
            .map(|container| meta::text(container, &[key]))
            .collect();
        Value::String(texts.join(","))
    };
    [join("name"), join("image")]
}
