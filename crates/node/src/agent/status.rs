//! The status of a pod, as the API shows it.

pub use super::demand::qos;
use super::resize::{Resize, shown_resources};
use super::restart::{Verdict, verdict};
use super::state::{ContainerState, Ended, FailedAt, PodFailure, PodState, Run};
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

/// Holds while a resize is not granted.
const RESIZE_PENDING: &str = "PodResizePending";
/// Holds while what was granted is not in effect.
const RESIZE_IN_PROGRESS: &str = "PodResizeInProgress";

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

/// Whether the pod shows as ended.
pub fn is_terminal(pod: &Pod, state: &PodState) -> bool {
    matches!(phase(pod, state), "Succeeded" | "Failed")
}

/// The phase by the rules of the kubelet: what has not started yet keeps a pod Pending, and what
/// still runs keeps it from showing as ended.
pub fn phase(pod: &Pod, state: &PodState) -> &'static str {
    let phase = if state.failed.is_some() {
        "Failed"
    } else {
        reached(pod, state)
    };
    let ended = matches!(phase, "Succeeded" | "Failed");
    if ended && state.any_running() {
        let main = state.containers.iter().filter(|c| c.role == Role::Main);
        let begun = main.into_iter().any(|c| c.created);
        return if begun { "Running" } else { "Pending" };
    }
    phase
}

/// The phase that the containers have come to.
fn reached(pod: &Pod, state: &PodState) -> &'static str {
    let mut main = Counts::default();
    for (container, (_, spec)) in state.containers.iter().zip(pod.containers()) {
        match (&container.run, container.role) {
            (Run::Ended(ended), Role::Init) if ended.code != 0 => {
                if verdict(pod, spec, container, ended.code) == Verdict::Stay {
                    return "Failed";
                }
                return "Pending";
            }
            (Run::Ended(_), Role::Init) | (_, Role::Sidecar | Role::Ephemeral) => {}
            (Run::Running(_) | Run::Waiting { .. }, Role::Init) => return "Pending",
            (Run::Running(_), Role::Main) => main.alive += 1,
            (Run::Waiting { .. }, Role::Main) if container.last.is_some() => main.alive += 1,
            (Run::Waiting { .. }, Role::Main) => main.unborn += 1,
            (Run::Ended(ended), Role::Main) => {
                main.end(ended, verdict(pod, spec, container, ended.code));
            }
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
    fn end(&mut self, ended: &Ended, verdict: Verdict) {
        if verdict != Verdict::Stay {
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
    if let Some(failure) = state.failed.as_ref().filter(|_| phase == "Failed") {
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
    for (key, list) in container_statuses(pod, state) {
        put(key, list);
    }
    put("conditions", conditions(pod, state, phase, previous));
    Value::Object(status)
}

/// The three lists of containers; none for a pod that the node never took on.
fn container_statuses(pod: &Pod, state: &PodState) -> Vec<(&'static str, Value)> {
    let failed = state.failed.as_ref();
    if failed.is_some_and(|failure| failure.at == FailedAt::Admission) {
        return Vec::new();
    }
    let mut lists = [Vec::new(), Vec::new(), Vec::new()];
    let [init, main, ephemeral] = &mut lists;
    for (index, (role, container)) in pod.containers().enumerate().take(state.containers.len()) {
        let list = match role {
            Role::Init | Role::Sidecar => &mut *init,
            Role::Main => &mut *main,
            Role::Ephemeral => &mut *ephemeral,
        };
        list.extend(container_status(container, state, index));
    }
    let [init, main, ephemeral] = lists;
    let mut shown = vec![("containerStatuses", Value::Array(main))];
    for (key, list) in [
        ("initContainerStatuses", init),
        ("ephemeralContainerStatuses", ephemeral),
    ] {
        if !list.is_empty() {
            shown.push((key, Value::Array(list)));
        }
    }
    shown
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
    let own = CONDITIONS.map(|kind| (kind, claim(kind, pod, state, phase)));
    let others = passing(state).into_iter();
    let list = own.into_iter().chain(others).map(|(kind, claim)| {
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

/// The conditions that are there only while they hold.
fn passing(state: &PodState) -> Vec<(&'static str, Claim)> {
    let mut all = Vec::new();
    let mut hold = |kind, reason, message: &str| {
        let message = message.to_owned();
        let holds = true;
        all.push((
            kind,
            Claim {
                holds,
                reason,
                message,
            },
        ));
    };
    let resize = state.resize.as_deref();
    if let Some(pending) = resize.and_then(|resize| resize.pending.as_ref()) {
        hold(RESIZE_PENDING, pending.reason, &pending.message);
    }
    if let Some(resize) = resize.filter(|resize| Resize::in_progress(resize)) {
        match &resize.error {
            Some(why) => hold(RESIZE_IN_PROGRESS, "Error", why),
            None => hold(RESIZE_IN_PROGRESS, "", ""),
        }
    }
    let evicted = |f: &&PodFailure| f.reason == "Evicted" && f.at != FailedAt::Admission;
    if let Some(failure) = state.failed.as_ref().filter(evicted) {
        hold("DisruptionTarget", "TerminationByKubelet", &failure.message);
    }
    all
}

/// Which of the passing conditions that were shown before must be taken away.
pub fn passed(status: &Value, previous: &[SeenCondition]) -> Vec<&'static str> {
    let list = status.get("conditions").and_then(Value::as_array);
    let shown = |kind: &str| {
        list.into_iter()
            .flatten()
            .any(|c| c.get("type").is_some_and(|t| t == kind))
    };
    [RESIZE_PENDING, RESIZE_IN_PROGRESS]
        .into_iter()
        .filter(|kind| previous.iter().any(|c| c.kind == *kind) && !shown(kind))
        .collect()
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

fn container_status(container: &Container, pod: &PodState, index: usize) -> Option<Value> {
    let state = pod.containers.get(index)?;
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
    let map = out.as_object_mut()?;
    if !id.is_empty() {
        map.insert("containerID".into(), id.into());
    }
    // While a resize is under way also what does not run: it tells a later run of this program.
    let allocated = &pod.allocated(index, container).requests;
    if !allocated.is_empty() && (state.is_running() || pod.resize.is_some()) {
        map.insert("allocatedResources".into(), json!(allocated));
    }
    if state.is_running() {
        let actuated = shown_resources(pod.actuated(index, container));
        map.insert("resources".into(), actuated);
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
    Some(out)
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

#[cfg(test)]
mod tests;
