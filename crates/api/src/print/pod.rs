//! Pods: the status word, readiness and restarts.

use super::duration::{duration, seconds_between};
use super::{AGE, NAME, age, or_none, text, wide};
use crate::kind::Column;
use crate::meta;
use jiff::Timestamp;
use plimsoll_quantity::Quantity;
use serde_json::Value;

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    text("Ready"),
    text("Status"),
    text("Restarts"),
    AGE,
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
];

pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let mut summary = Summary::default();
    let initializing = summary.init_containers(pod);
    if !initializing || condition(pod, "Initialized") {
        summary.containers(pod);
    }
    let reason = summary.status(pod, initializing);
    let total = meta::list(pod, &["spec", "containers"]).len() + sidecars(pod);
    vec![
        meta::name(pod).into(),
        format!("{}/{total}", summary.ready).into(),
        reason.into(),
        summary.restarts(now).into(),
        age(pod, now),
        or_none(meta::text(pod, &["status", "podIP"])),
        or_none(meta::text(pod, &["spec", "nodeName"])),
        or_none(meta::text(pod, &["status", "nominatedNodeName"])),
        gates(pod),
    ]
}

#[derive(Debug, Default)]
struct Summary {
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    sidecar_restarts: i64,
    reason: Option<String>,
    has_running: bool,
}

impl Summary {
    /// Goes through init containers; true while they are not done.
    fn init_containers(&mut self, pod: &Value) -> bool {
        let specs = meta::list(pod, &["spec", "initContainers"]);
        for (index, status) in meta::list(pod, &["status", "initContainerStatuses"])
            .iter()
            .enumerate()
        {
            let restarts = meta::integer(status, &["restartCount"]).unwrap_or_default();
            self.restarts += restarts;
            self.note_restart(status);
            let sidecar = is_sidecar(specs, meta::text(status, &["name"]));
            if sidecar {
                self.sidecar_restarts += restarts;
            }
            let started = status.get("started") == Some(&Value::Bool(true));
            if sidecar && started {
                self.ready += usize::from(status.get("ready") == Some(&Value::Bool(true)));
                continue;
            }
            let terminated = meta::at(status, &["state", "terminated"]);
            if !sidecar && terminated.is_some_and(|state| exit_code(state) == 0) {
                continue;
            }
            let waiting = meta::text(status, &["state", "waiting", "reason"]);
            self.reason = Some(match terminated {
                Some(state) => format!("Init:{}", ended(state)),
                None if !waiting.is_empty() && waiting != "PodInitializing" => {
                    format!("Init:{waiting}")
                }
                None => format!("Init:{index}/{}", specs.len()),
            });
            return true;
        }
        false
    }

    /// Goes through the containers, the last one first.
    fn containers(&mut self, pod: &Value) {
        self.restarts = self.sidecar_restarts;
        self.last_restart = None;
        let mut error = None;
        for status in meta::list(pod, &["status", "containerStatuses"])
            .iter()
            .rev()
        {
            self.restarts += meta::integer(status, &["restartCount"]).unwrap_or_default();
            self.note_restart(status);
            let waiting = meta::text(status, &["state", "waiting", "reason"]);
            let terminated = meta::at(status, &["state", "terminated"]);
            if !waiting.is_empty() {
                self.reason = Some(waiting.to_owned());
            } else if let Some(state) = terminated {
                let reason = ended(state);
                if reason != "Completed" {
                    error = Some(reason.clone());
                }
                self.reason = Some(reason);
            } else if status.get("ready") == Some(&Value::Bool(true))
                && meta::at(status, &["state", "running"]).is_some()
            {
                self.has_running = true;
                self.ready += 1;
            }
        }
        if self.reason.as_deref() == Some("Completed") && error.is_some() && !self.has_running {
            self.reason = error;
        } else if self.reason.as_deref() == Some("Completed") && self.has_running {
            let word = match (error, condition(pod, "Ready")) {
                (Some(reason), _) => reason,
                (None, true) => "Running".into(),
                (None, false) => "NotReady".into(),
            };
            self.reason = Some(word);
        }
    }

    fn status(&self, pod: &Value, initializing: bool) -> String {
        let node_lost = meta::text(pod, &["status", "reason"]) == "NodeLost";
        if meta::is_deleting(pod) && node_lost {
            return "Unknown".into();
        }
        let phase = meta::text(pod, &["status", "phase"]);
        if meta::is_deleting(pod) && !matches!(phase, "Failed" | "Succeeded") {
            return "Terminating".into();
        }
        if let Some(reason) = &self.reason {
            return reason.clone();
        }
        let gated = meta::list(pod, &["status", "conditions"])
            .iter()
            .any(|condition| {
                condition
                    .get("type")
                    .is_some_and(|kind| kind == "PodScheduled")
                    && condition
                        .get("reason")
                        .is_some_and(|reason| reason == "SchedulingGated")
            });
        if gated && !initializing {
            return "SchedulingGated".into();
        }
        let reason = meta::text(pod, &["status", "reason"]);
        if reason.is_empty() {
            phase.to_owned()
        } else {
            reason.to_owned()
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(then) if self.restarts > 0 => {
                format!(
                    "{} ({} ago)",
                    self.restarts,
                    duration(seconds_between(then, now))
                )
            }
            Some(_) | None => self.restarts.to_string(),
        }
    }

    fn note_restart(&mut self, status: &Value) {
        let finished = meta::text(status, &["lastState", "terminated", "finishedAt"]);
        if let Ok(time) = finished.parse::<Timestamp>() {
            self.last_restart = self.last_restart.max(Some(time));
        }
    }
}

fn exit_code(terminated: &Value) -> i64 {
    meta::integer(terminated, &["exitCode"]).unwrap_or_default()
}

fn ended(terminated: &Value) -> String {
    let reason = meta::text(terminated, &["reason"]);
    let signal = meta::integer(terminated, &["signal"]).unwrap_or_default();
    if !reason.is_empty() {
        reason.to_owned()
    } else if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!("ExitCode:{}", exit_code(terminated))
    }
}

fn condition(pod: &Value, kind: &str) -> bool {
    meta::list(pod, &["status", "conditions"])
        .iter()
        .any(|condition| {
            condition.get("type").is_some_and(|found| found == kind)
                && condition
                    .get("status")
                    .is_some_and(|status| status == "True")
        })
}

fn is_sidecar(specs: &[Value], name: &str) -> bool {
    specs.iter().any(|spec| {
        meta::text(spec, &["name"]) == name && meta::text(spec, &["restartPolicy"]) == "Always"
    })
}

fn sidecars(pod: &Value) -> usize {
    meta::list(pod, &["spec", "initContainers"])
        .iter()
        .filter(|spec| meta::text(spec, &["restartPolicy"]) == "Always")
        .count()
}

fn gates(pod: &Value) -> Value {
    let gates = meta::list(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates
        .iter()
        .filter(|gate| condition(pod, meta::text(gate, &["conditionType"])))
        .count();
    format!("{open}/{}", gates.len()).into()
}

/// The quality-of-service class: `Guaranteed` if every container's CPU and memory requests equal
/// its limits, `BestEffort` if nothing asks for either, else `Burstable`.
pub fn qos(pod: &Value) -> &'static str {
    let mut guaranteed = true;
    let mut asks = false;
    let pod_level = meta::at(pod, &["spec", "resources"]).filter(|resources| {
        ["requests", "limits"]
            .iter()
            .any(|key| !is_empty(resources.get(key)))
    });
    let lists = [
        meta::list(pod, &["spec", "initContainers"]),
        meta::list(pod, &["spec", "containers"]),
    ];
    let mut holders: Vec<Option<&Value>> = lists
        .into_iter()
        .flatten()
        .map(|container| container.get("resources"))
        .collect();
    if pod_level.is_some() {
        holders = vec![pod_level];
    }
    for resources in holders {
        for resource in ["cpu", "memory"] {
            let amount = |key: &str| {
                let text = resources.map_or("", |found| meta::text(found, &[key, resource]));
                text.parse::<Quantity>()
                    .ok()
                    .filter(|quantity| !quantity.is_zero())
            };
            let (request, limit) = (amount("requests"), amount("limits"));
            asks |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (asks, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn is_empty(map: Option<&Value>) -> bool {
    map.and_then(Value::as_object)
        .is_none_or(serde_json::Map::is_empty)
}
