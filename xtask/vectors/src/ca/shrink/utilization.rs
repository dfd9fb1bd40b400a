//! Families `utilization` and `eligibility`.

use super::{Scenario, facts};
use crate::differ::Outcome;
use anyhow::{Context, Result};
use plimsoll_engine::cluster::{
    DevicePool, Ignored, RunningPod, ShrinkOptions, eligible, utilization,
};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Shares count as equal up to this.
const TOLERANCE: f64 = 1e-9;

pub(super) fn share(scenario: Scenario<'_>) -> Result<Outcome> {
    let gpu = scenario.get("gpu");
    let label = gpu.and_then(|gpu| gpu.get("label")).and_then(Value::as_str);
    let raw = scenario.get("node").context("no node")?;
    let (mut node, _) = facts::node(raw, label.unwrap_or_default())?;
    let resource = gpu
        .and_then(|gpu| gpu.get("resource"))
        .and_then(Value::as_str);
    node.gpu = node.gpu.map(|known| resource.map_or(known, Into::into));
    if scenario.flag("draEnabled", false) {
        node.device_pools = pools(scenario);
    }
    let ignored = Ignored {
        daemon_sets: scenario.flag("ignoreDaemonSets", false),
        mirrors: scenario.flag("ignoreMirrorPods", false),
    };
    let pods = facts::pods(scenario, "pods")?;
    let found = utilization(&node, &pods, ignored, scenario.now()?);
    let mut outcome = Outcome::default();
    outcome.trace.push(format!("{found:?}"));
    let expect = scenario.expect;
    let error = expect
        .get("error")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    outcome.check("error", found.is_err(), &json!(error));
    let Ok(found) = found else {
        return Ok(outcome);
    };
    if let Some(resource) = expect.get("resource") {
        outcome.check("resource", &*found.resource, resource);
    }
    let shares = [
        ("utilization", found.share),
        ("cpu", found.cpu),
        ("memory", found.memory),
        ("gpu", found.gpu),
        ("dra", found.devices),
    ];
    for (field, got) in shares {
        let Some(wanted) = expect.get(field) else {
            continue;
        };
        let close = wanted
            .as_f64()
            .is_some_and(|wanted| (wanted - got).abs() < TOLERANCE);
        if !close {
            outcome.check(field, got, wanted);
        }
    }
    Ok(outcome)
}

/// The pools of devices on the node, with what its pods' claims hold of them.
fn pools(scenario: Scenario<'_>) -> Vec<DevicePool> {
    struct Pool<'a> {
        devices: BTreeSet<&'a str>,
        slices: u64,
        wanted: u64,
    }
    let mut pools: BTreeMap<String, Pool<'_>> = BTreeMap::new();
    for slice in scenario.list("resourceSlices") {
        let text = |path| {
            slice
                .pointer(path)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let name = format!("{}/{}", text("/spec/driver"), text("/spec/pool/name"));
        let wanted = slice
            .pointer("/spec/pool/resourceSliceCount")
            .and_then(Value::as_u64);
        let pool = pools.entry(name).or_insert(Pool {
            devices: BTreeSet::new(),
            slices: 0,
            wanted: wanted.unwrap_or(0),
        });
        pool.slices += 1;
        let devices = slice.pointer("/spec/devices").and_then(Value::as_array);
        let names = devices
            .into_iter()
            .flatten()
            .filter_map(|device| device.get("name")?.as_str());
        pool.devices.extend(names);
    }
    let mut held: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for claim in scenario.list("claims") {
        let results = claim.pointer("/claim/status/allocation/devices/results");
        for result in results.and_then(Value::as_array).into_iter().flatten() {
            let text = |key| result.get(key).and_then(Value::as_str).unwrap_or_default();
            let pool = format!("{}/{}", text("driver"), text("pool"));
            held.entry(pool).or_default().insert(text("device"));
        }
    }
    let pools = pools.into_iter().map(|(name, pool)| DevicePool {
        devices: pool.devices.len(),
        allocated: held.get(&name).map_or(0, BTreeSet::len),
        complete: pool.slices == pool.wanted,
        name: name.into(),
    });
    pools.collect()
}

pub(super) fn eligibility(scenario: Scenario<'_>) -> Result<Outcome> {
    let raw = scenario.list("nodeGroups").next().context("no group")?;
    let mut group = facts::group(raw);
    let set = scenario.get("options").context("no options")?;
    let flag = |key: &str| set.get(key).and_then(Value::as_bool).unwrap_or(false);
    let threshold = |key: &str| set.get(key).and_then(Value::as_f64).unwrap_or(0.5);
    group.options.ignore_daemonsets_utilization = flag("ignoreDaemonSetsUtilization");
    group.options.scale_down_utilization_threshold = threshold("scaleDownUtilizationThreshold");
    group.options.scale_down_gpu_utilization_threshold =
        threshold("scaleDownGpuUtilizationThreshold");
    let options = ShrinkOptions {
        unready_enabled: flag("scaleDownUnreadyEnabled"),
        ignore_mirror_pods_utilization: flag("ignoreMirrorPodsUtilization"),
        ..ShrinkOptions::default()
    };
    let pods = facts::pods(scenario, "pods")?;
    let (mut candidates, mut unremovable) = (Vec::new(), Map::new());
    for raw in scenario.list("nodes") {
        let (node, _) = facts::node(raw, "")?;
        let on: Vec<&RunningPod> = pods.iter().filter(|pod| pod.node == node.name).collect();
        match eligible(&node, on, &group, &options, scenario.now()?) {
            Ok(_) => candidates.push(json!(&*node.name)),
            Err(why) => {
                unremovable.insert(node.name.to_string(), json!(why.name()));
            }
        }
    }
    let mut outcome = Outcome::default();
    outcome.check_list("candidates", candidates, scenario.expect);
    outcome.check_given("unremovable", unremovable, scenario.expect);
    Ok(outcome)
}
