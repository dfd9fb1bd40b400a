//! `/stats/summary`: a node and its pods in one document.

use super::super::status::time;
use super::reading::{Reading, Used, UsedByPod, mean};
use crate::runtime::Counters;
use jiff::Timestamp;
use serde_json::{Value, json};

/// The document.
pub(super) fn summary(reading: &Reading) -> Value {
    let mut node = usage(reading.total, reading.since, reading.at);
    if let Some(memory) = node.get_mut("memory").and_then(Value::as_object_mut) {
        let free = reading
            .memory_bytes
            .saturating_sub(reading.total.memory_bytes);
        memory.insert("availableBytes".into(), free.into());
    }
    put(&mut node, "nodeName", reading.node.as_str().into());
    put(&mut node, "startTime", time(reading.since).into());
    let pods: Vec<Value> = reading
        .pods
        .iter()
        .map(|pod| of_pod(pod, reading))
        .collect();
    json!({"node": node, "pods": pods})
}

fn of_pod(pod: &UsedByPod, reading: &Reading) -> Value {
    let started = pod.containers.iter().map(|used| used.since).min();
    let started = started.unwrap_or(reading.at);
    let mut value = usage(pod.total(), started, reading.at);
    let (namespace, name) = &pod.name;
    let reference = json!({"name": &**name, "namespace": &**namespace, "uid": &*pod.uid});
    put(&mut value, "podRef", reference);
    put(&mut value, "startTime", time(started).into());
    let containers = pod
        .containers
        .iter()
        .map(|used| of_container(used, reading.at));
    put(&mut value, "containers", containers.collect());
    value
}

fn of_container(used: &Used, at: Timestamp) -> Value {
    let mut value = usage(used.counters, used.since, at);
    put(&mut value, "name", (*used.name).into());
    put(&mut value, "startTime", time(used.since).into());
    value
}

fn usage(counters: Counters, since: Timestamp, at: Timestamp) -> Value {
    let Counters {
        cpu_nanos,
        memory_bytes,
    } = counters;
    json!({
        "cpu": {
            "time": time(at),
            "usageNanoCores": mean(cpu_nanos, since, at),
            "usageCoreNanoSeconds": cpu_nanos,
        },
        "memory": {
            "time": time(at),
            "usageBytes": memory_bytes,
            "workingSetBytes": memory_bytes,
            "rssBytes": memory_bytes,
        },
    })
}

fn put(value: &mut Value, key: &str, what: Value) {
    if let Some(map) = value.as_object_mut() {
        map.insert(key.to_owned(), what);
    }
}
