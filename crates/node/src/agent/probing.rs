//! When probes are made and what their results mean for a container.

use super::events::Severity;
use super::state::{Afterwards, ContainerState, PodState, ProbeState, later};
use super::view::{Container, Role};
use super::worker::{Message, Worker};
use crate::probe::{self, Kind};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;
use std::sync::Arc;

const KINDS: [Kind; 3] = [Kind::Startup, Kind::Readiness, Kind::Liveness];

fn spec(container: &Container, kind: Kind) -> Option<&Probe> {
    match kind {
        Kind::Startup => container.startup_probe.as_deref(),
        Kind::Readiness => container.readiness_probe.as_deref(),
        Kind::Liveness => container.liveness_probe.as_deref(),
    }
}

fn slot(container: &mut ContainerState, kind: Kind) -> &mut ProbeState {
    let [startup, readiness, liveness] = &mut container.probes;
    match kind {
        Kind::Startup => startup,
        Kind::Readiness => readiness,
        Kind::Liveness => liveness,
    }
}

/// A container has just started: without probes it is ready at once.
pub(crate) fn arm(spec: &Container, state: &mut ContainerState, now: Timestamp) {
    state.probes = [ProbeState::default(); 3];
    state.started = false;
    state.ready = false;
    match &spec.startup_probe {
        Some(probe) => {
            let first = later(now, i64::from(probe.initial_delay_seconds.unwrap_or(0)));
            slot(state, Kind::Startup).next = Some(first);
        }
        None => begin(spec, state, now, now),
    }
}

/// The container has started up: the other probes begin.
fn begin(container: &Container, state: &mut ContainerState, since: Timestamp, now: Timestamp) {
    state.started = true;
    state.ready = container.readiness_probe.is_none() && state.role != Role::Init;
    for kind in [Kind::Readiness, Kind::Liveness] {
        if let Some(probe) = spec(container, kind) {
            let first = later(since, i64::from(probe.initial_delay_seconds.unwrap_or(0)));
            slot(state, kind).next = Some(first.max(now));
        }
    }
}

/// When the next probe is due.
pub(crate) fn due(state: &PodState) -> Option<Timestamp> {
    let running = state.containers.iter().filter(|c| c.is_running());
    running
        .flat_map(|c| &c.probes)
        .filter(|p| !p.in_flight)
        .filter_map(|p| p.next)
        .min()
}

/// Makes every probe that is due.
pub(crate) fn make_due(worker: &mut Worker) {
    let now = worker.now();
    let deleted = worker.pod().metadata.deletion_timestamp.is_some();
    let pod = Arc::clone(worker.pod());
    for index in 0..worker.state.containers.len() {
        let Some(container) = pod.container(index) else {
            continue;
        };
        for kind in KINDS {
            let Some(state) = worker.state.containers.get_mut(index) else {
                continue;
            };
            let Some(id) = state.live().map(|live| live.id.clone()) else {
                continue;
            };
            let stopping = deleted || state.stop.is_some();
            let attempt = state.restarts;
            let probe_state = slot(state, kind);
            if probe_state.in_flight || probe_state.next.is_none_or(|at| at > now) {
                continue;
            }
            // Readiness goes on while a pod ends; the others could only disturb it.
            let Some(probe) =
                spec(container, kind).filter(|_| kind == Kind::Readiness || !stopping)
            else {
                probe_state.next = None;
                continue;
            };
            let period = i64::from(probe.period_seconds.unwrap_or(10).max(1));
            probe_state.next = Some(later(now, period));
            probe_state.in_flight = true;
            launch(worker, (index, attempt), kind, id);
        }
    }
}

fn launch(worker: &mut Worker, (index, attempt): (usize, u32), kind: Kind, id: String) {
    let runtime = Arc::clone(&worker.node().runtime);
    if !runtime.runs_processes() {
        let healthy = runtime.simulated_health(&id).unwrap_or(false);
        let result = if healthy {
            Ok(())
        } else {
            Err("simulated failure".to_owned())
        };
        take_result(worker, (index, attempt), kind, result);
        return;
    }
    let (pod, outbox, ip) = (
        Arc::clone(worker.pod()),
        worker.outbox.clone(),
        worker.state.ip,
    );
    tokio::spawn(async move {
        let Some(container) = pod.container(index) else {
            return;
        };
        let Some(probe) = spec(container, kind) else {
            return;
        };
        let target = probe::Target {
            runtime: &runtime,
            ip,
            container,
            id: &id,
        };
        let result = probe::run(&target, probe).await;
        outbox.send(Message::Probed {
            index,
            attempt,
            kind,
            result,
        });
    });
}

/// Counts a result and acts when a threshold is crossed.
pub(crate) fn take_result(
    worker: &mut Worker,
    (index, attempt): (usize, u32),
    kind: Kind,
    result: Result<(), String>,
) {
    let now = worker.now();
    let pod = Arc::clone(worker.pod());
    let Some(container) = pod.container(index) else {
        return;
    };
    let Some(probe) = spec(container, kind) else {
        return;
    };
    let Some(state) = worker.state.containers.get_mut(index) else {
        return;
    };
    if state.restarts != attempt || !state.is_running() {
        return;
    }
    let verdict = count(slot(state, kind), probe, result.is_ok());
    worker.touch();
    let Some(state) = worker.state.containers.get_mut(index) else {
        return;
    };
    match (kind, verdict) {
        (_, Verdict::Undecided) | (Kind::Liveness, Verdict::Healthy) => {}
        (Kind::Startup, Verdict::Healthy) => {
            slot(state, Kind::Startup).next = None;
            let since = state.live().map_or(now, |live| live.since);
            begin(container, state, since, now);
        }
        (Kind::Readiness, Verdict::Healthy) => state.ready = true,
        (Kind::Readiness, Verdict::Unhealthy) => state.ready = false,
        (Kind::Startup | Kind::Liveness, Verdict::Unhealthy) => {
            if state.stop.is_none() {
                let own = probe.termination_grace_period_seconds;
                let grace = own.unwrap_or_else(|| pod.grace_seconds());
                let why = format!(
                    "Container {} failed {} probe, will be restarted",
                    container.name,
                    kind.name()
                );
                worker.event(Some(index), Severity::Normal, ("Killing", why));
                worker.stop(index, later(now, grace));
                if let Some(state) = worker.state.containers.get_mut(index) {
                    state.afterwards = Afterwards::Again;
                }
            }
        }
    }
    if let Err(why) = result {
        let mut name = kind.name().to_owned();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let what = ("Unhealthy", format!("{name} probe failed: {why}"));
        worker.event(Some(index), Severity::Warning, what);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Undecided,
    Healthy,
    Unhealthy,
}

fn count(state: &mut ProbeState, probe: &Probe, success: bool) -> Verdict {
    let threshold = |value: Option<i32>, default: u32| {
        value
            .and_then(|v| u32::try_from(v).ok())
            .filter(|v| *v > 0)
            .unwrap_or(default)
    };
    state.in_flight = false;
    if success {
        state.failures = 0;
        state.successes = state.successes.saturating_add(1);
        let enough = state.successes >= threshold(probe.success_threshold, 1);
        return if enough {
            Verdict::Healthy
        } else {
            Verdict::Undecided
        };
    }
    state.successes = 0;
    state.failures = state.failures.saturating_add(1);
    let enough = state.failures >= threshold(probe.failure_threshold, 3);
    if enough {
        Verdict::Unhealthy
    } else {
        Verdict::Undecided
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Healthy, Undecided, Unhealthy};
    use super::*;

    #[test]
    fn thresholds_count_results_in_a_row() {
        let probe = Probe {
            success_threshold: Some(2),
            failure_threshold: Some(3),
            ..Probe::default()
        };
        let mut state = ProbeState::default();
        let results = [true, true, false, false, true, false, false, false];
        let verdicts: Vec<Verdict> = results
            .iter()
            .map(|r| count(&mut state, &probe, *r))
            .collect();
        let want = [
            Undecided, Healthy, Undecided, Undecided, Undecided, Undecided, Undecided, Unhealthy,
        ];
        assert_eq!(verdicts, want);
    }
}
