//! The status of a pod, as the API shows it.

use super::plan::restarts;
use super::state::{ContainerState, Ended, PodState, Run};
use super::view::{Container, Pod, Role, SeenCondition};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// The conditions a node agent owns, in the order it writes them.
const CONDITIONS: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// Whether and why a condition holds.
struct Claim {
    holds: bool,
    reason: &'static str,
    message: String,
}

/// RFC 3339 with whole seconds, as API times are.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The phase by the rules of the kubelet: what has not started yet keeps a pod Pending.
pub fn phase(pod: &Pod, state: &PodState) -> &'static str {
    if state.failed.is_some() {
        return "Failed";
    }
    let mut main = Counts::default();
    for container in &state.containers {
        match (&container.run, container.role) {
            (Run::Ended(ended), Role::Init) if ended.code != 0 => {
                if !restarts(pod, Role::Init, ended.code) {
                    return "Failed";
                }
                return "Pending";
            }
            (Run::Ended(_), Role::Init) | (_, Role::Sidecar | Role::Ephemeral) => {}
            (Run::Running(_) | Run::Waiting { .. }, Role::Init) => return "Pending",
            (Run::Running(_), Role::Main) => main.alive += 1,
            (Run::Waiting { .. }, Role::Main) if container.last.is_some() => main.alive += 1,
            (Run::Waiting { .. }, Role::Main) => main.unborn += 1,
            (Run::Ended(ended), Role::Main) => main.end(ended, pod),
        }
    }
    let deleted = pod.metadata.deletion_timestamp.is_some();
    match main {
        Counts { unborn, .. } if unborn > 0 && !(deleted && state.over) => "Pending",
        Counts { alive, .. } if alive > 0 => "Running",
        Counts { restarting, .. } if restarting > 0 && !deleted => "Running",
        Counts {
            failed: 0,
            unborn: 0,
            ..
        } => "Succeeded",
        Counts { .. } => "Failed",
    }
}

#[derive(Default)]
struct Counts {
    unborn: usize,
    alive: usize,
    restarting: usize,
    failed: usize,
}

impl Counts {
    fn end(&mut self, ended: &Ended, pod: &Pod) {
        if restarts(pod, Role::Main, ended.code) {
            self.restarting += 1;
        }
        if ended.code != 0 {
            self.failed += 1;
        }
    }
}

/// The whole `status` of a pod on a node with this address.
pub fn status(pod: &Pod, state: &PodState, host: IpAddr, previous: &[SeenCondition]) -> Value {
    let phase = phase(pod, state);
    let mut status = Map::new();
    let mut put = |key: &str, value: Value| drop(status.insert(key.to_owned(), value));
    if let Some(generation) = pod.metadata.generation {
        put("observedGeneration", generation.into());
    }
    put("phase", phase.into());
    if let Some(failure) = &state.failed {
        put("reason", failure.reason.into());
        put("message", failure.message.as_str().into());
    }
    put("conditions", Value::Null);
    put("hostIP", host.to_string().into());
    put("hostIPs", json!([{ "ip": host.to_string() }]));
    if let Some(ip) = state
        .ip
        .filter(|_| !pod.spec.host_network)
        .or(Some(host))
        .filter(|_| shown(state))
    {
        put("podIP", ip.to_string().into());
        put("podIPs", json!([{ "ip": ip.to_string() }]));
    }
    put("startTime", time(state.start_time).into());
    put("qosClass", qos(pod).into());
    let mut lists = [Vec::new(), Vec::new(), Vec::new()];
    let [init, main, ephemeral] = &mut lists;
    for (state, (role, container)) in state.containers.iter().zip(pod.containers()) {
        let list = match role {
            Role::Init | Role::Sidecar => &mut *init,
            Role::Main => &mut *main,
            Role::Ephemeral => &mut *ephemeral,
        };
        list.push(container_status(container, state));
    }
    let [init, main, ephemeral] = lists;
    if !init.is_empty() {
        put("initContainerStatuses", Value::Array(init));
    }
    put("containerStatuses", Value::Array(main));
    if !ephemeral.is_empty() {
        put("ephemeralContainerStatuses", Value::Array(ephemeral));
    }
    put("conditions", conditions(pod, state, phase, previous));
    Value::Object(status)
}

fn shown(state: &PodState) -> bool {
    state.ip.is_some()
}

/// The conditions of a status as [`status`] wrote them.
pub fn seen_conditions(status: &Value) -> Vec<SeenCondition> {
    let list = status.get("conditions").cloned().unwrap_or_default();
    serde_json::from_value(list).unwrap_or_default()
}

fn conditions(pod: &Pod, state: &PodState, phase: &str, previous: &[SeenCondition]) -> Value {
    let list = CONDITIONS.iter().map(|kind| {
        let claim = claim(kind, pod, state, phase);
        let status = if claim.holds { "True" } else { "False" };
        let before = previous
            .iter()
            .find(|c| c.kind == *kind && c.status == status);
        let since = before.and_then(|c| c.last_transition_time);
        let mut condition = json!({
            "type": kind, "status": status, "lastProbeTime": null,
            "lastTransitionTime": since.map(time),
        });
        if let Some(map) = condition.as_object_mut() {
            if let Some(generation) = pod.metadata.generation {
                map.insert("observedGeneration".into(), generation.into());
            }
            if !claim.reason.is_empty() {
                map.insert("reason".into(), claim.reason.into());
            }
            if !claim.message.is_empty() {
                map.insert("message".into(), claim.message.into());
            }
        }
        condition
    });
    Value::Array(list.collect())
}

/// Fills the transition times that [`status`] left open: those of conditions that just changed.
pub fn stamp(status: &mut Value, now: Timestamp) {
    let Some(list) = status.get_mut("conditions").and_then(Value::as_array_mut) else {
        return;
    };
    for condition in list {
        if let Some(at) = condition
            .get_mut("lastTransitionTime")
            .filter(|at| at.is_null())
        {
            *at = time(now).into();
        }
    }
}

fn claim(kind: &str, pod: &Pod, state: &PodState, phase: &str) -> Claim {
    let yes = || Claim {
        holds: true,
        reason: "",
        message: String::new(),
    };
    let no = |reason, message| Claim {
        holds: false,
        reason,
        message,
    };
    match kind {
        "PodReadyToStartContainers" if !state.sandbox => no("", String::new()),
        "Initialized" if phase != "Succeeded" && !state.initialized() => {
            let left = names(pod, state, |c| match c.role {
                Role::Init => !c.succeeded(),
                Role::Sidecar => !c.started,
                Role::Main | Role::Ephemeral => false,
            });
            no(
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{left}]"),
            )
        }
        "Initialized" if phase == "Succeeded" => Claim {
            holds: true,
            reason: "PodCompleted",
            message: String::new(),
        },
        "Ready" | "ContainersReady" if phase == "Succeeded" => no("PodCompleted", String::new()),
        "Ready" | "ContainersReady" if phase == "Failed" => no("PodFailed", String::new()),
        "Ready" | "ContainersReady" => {
            let counts = |role| !matches!(role, Role::Init | Role::Ephemeral);
            let unready = names(pod, state, |c| counts(c.role) && !c.ready);
            if unready.is_empty() {
                return if kind == "Ready" { gates(pod) } else { yes() };
            }
            no(
                "ContainersNotReady",
                format!("containers with unready status: [{unready}]"),
            )
        }
        _ => yes(),
    }
}

fn gates(pod: &Pod) -> Claim {
    let holds = |gate: &str| {
        pod.status
            .conditions
            .iter()
            .any(|c| c.kind == gate && c.status == "True")
    };
    let missing = pod
        .spec
        .readiness_gates
        .iter()
        .find(|g| !holds(&g.condition_type));
    match missing {
        None => Claim {
            holds: true,
            reason: "",
            message: String::new(),
        },
        Some(gate) => Claim {
            holds: false,
            reason: "ReadinessGatesNotReady",
            message: format!(
                "the status of pod readiness gate {:?} is not \"True\", but False",
                gate.condition_type
            ),
        },
    }
}

fn names(pod: &Pod, state: &PodState, wanted: impl Fn(&ContainerState) -> bool) -> String {
    let pairs = pod.containers().zip(&state.containers);
    let names: Vec<&str> = pairs
        .filter(|(_, s)| wanted(s))
        .map(|((_, c), _)| c.name.as_str())
        .collect();
    names.join(" ")
}

fn container_status(container: &Container, state: &ContainerState) -> Value {
    let (image_id, id) = match &state.run {
        Run::Running(live) => (live.image_id.as_str(), live.id.as_str()),
        Run::Ended(ended) => (ended.image_id.as_str(), ended.id.as_str()),
        Run::Waiting { .. } => match &state.last {
            Some(last) => (last.image_id.as_str(), last.id.as_str()),
            None => ("", ""),
        },
    };
    let mut out = json!({
        "name": container.name,
        "state": run_state(&state.run),
        "lastState": state.last.as_ref().map_or_else(|| json!({}), |e| ended_state(e)),
        "ready": if state.role == Role::Init { state.succeeded() } else { state.ready },
        "restartCount": state.restarts,
        "image": container.image,
        "imageID": image_id,
        "started": state.started,
    });
    let Some(map) = out.as_object_mut() else {
        return out;
    };
    if !id.is_empty() {
        map.insert("containerID".into(), id.into());
    }
    if state.is_running() {
        let resources = &container.resources;
        let mut shown = Map::new();
        if !resources.limits.is_empty() {
            shown.insert("limits".into(), json!(resources.limits));
        }
        if !resources.requests.is_empty() {
            map.insert("allocatedResources".into(), json!(resources.requests));
            shown.insert("requests".into(), json!(resources.requests));
        }
        map.insert("resources".into(), Value::Object(shown));
    }
    if !container.volume_mounts.is_empty() {
        let mounts = container.volume_mounts.iter().map(|m| {
            let mut mount = json!({"name": m.name, "mountPath": m.mount_path});
            if let (Some(true), Some(map)) = (m.read_only, mount.as_object_mut()) {
                map.insert("readOnly".into(), true.into());
                map.insert("recursiveReadOnly".into(), "Disabled".into());
            }
            mount
        });
        map.insert("volumeMounts".into(), mounts.collect());
    }
    out
}

fn run_state(run: &Run) -> Value {
    match run {
        Run::Waiting {
            reason, message, ..
        } if message.is_empty() => {
            json!({"waiting": {"reason": reason}})
        }
        Run::Waiting {
            reason, message, ..
        } => {
            json!({"waiting": {"reason": reason, "message": message}})
        }
        Run::Running(live) => json!({"running": {"startedAt": time(live.since)}}),
        Run::Ended(ended) => ended_state(ended),
    }
}

fn ended_state(ended: &Ended) -> Value {
    let mut inner = json!({
        "exitCode": ended.code,
        "reason": ended.reason,
        "startedAt": ended.started.map(time),
        "finishedAt": time(ended.finished),
    });
    if let Some(map) = inner.as_object_mut() {
        if !ended.id.is_empty() {
            map.insert("containerID".into(), ended.id.as_str().into());
        }
        if !ended.message.is_empty() {
            map.insert("message".into(), ended.message.as_str().into());
        }
    }
    json!({ "terminated": inner })
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the requests and limits of all containers.
pub fn qos(pod: &Pod) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    let counted = pod
        .containers()
        .filter(|(role, _)| *role != Role::Ephemeral);
    for (_, container) in counted {
        for resource in ["cpu", "memory"] {
            let limit = container.resources.limits.get(resource);
            let request = container.resources.requests.get(resource);
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && request.is_none_or(|r| Some(r) == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests;
