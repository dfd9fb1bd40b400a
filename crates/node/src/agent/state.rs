//! What a node agent knows about one of its pods.

use super::resize::Resize;
use super::view::{Container, Pod, Resources, Role};
use jiff::{SignedDuration, Timestamp};
use std::net::IpAddr;

/// First restart back-off, in seconds; doubled each time.
const BACKOFF_FIRST: u32 = 10;
/// Longest restart back-off, in seconds.
const BACKOFF_MAX: u32 = 300;
/// Seconds that every program gets to end after it was asked to.
const SHORTEST_GRACE: i64 = 2;
/// A container that lived this long starts over with its back-off, in seconds.
const BACKOFF_RESET: i64 = 600;

/// One pod on its node.
#[derive(Debug, Clone)]
pub struct PodState {
    /// Its address, once assigned.
    pub ip: Option<IpAddr>,
    /// Whether its sandbox stands.
    pub sandbox: bool,
    /// Not before then may the sandbox be tried again.
    pub sandbox_retry: Option<Timestamp>,
    /// Failures of the sandbox or of its volumes in a row.
    pub sandbox_failures: u32,
    /// When this node took the pod on.
    pub start_time: Timestamp,
    /// One a container, in the order of [`Pod::containers`].
    pub containers: Vec<ContainerState>,
    /// Set when the node itself ended the pod (deadline, eviction) or never took it on.
    pub failed: Option<PodFailure>,
    /// A change of its resources that is under way.
    pub resize: Option<Box<Resize>>,
    /// Whether it has come as far as its main containers since it last began. Then its sidecars hold
    /// nothing back any more.
    pub main_part: bool,
    /// Whether the pod has been wound down: nothing runs, nothing will.
    pub over: bool,
    /// When this node first saw that the pod is deleted.
    pub deletion_seen: Option<Timestamp>,
}

/// Why a node ended a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFailure {
    /// `DeadlineExceeded`, `Evicted`, …
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// How far the pod had come.
    pub at: FailedAt,
}

/// When a node gave a pod up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedAt {
    /// It never took it on.
    Admission,
    /// While it was active; with that many seconds of grace, or those of the pod.
    Life(Option<i64>),
}

/// One container of a pod.
#[derive(Debug, Clone)]
pub struct ContainerState {
    /// What it is for.
    pub role: Role,
    /// What it does now.
    pub run: Run,
    /// How its previous instance ended.
    pub last: Option<Box<Ended>>,
    /// Instances before the present one.
    pub restarts: u32,
    /// Whether any instance was created.
    pub created: bool,
    /// What follows the end of the present instance.
    pub afterwards: Afterwards,
    /// Whether its startup probe has succeeded (or it has none and runs).
    pub started: bool,
    /// Whether its readiness probe succeeds (or it has none and runs).
    pub ready: bool,
    /// Set while it is being stopped.
    pub stop: Option<Stop>,
    /// Restart back-off.
    pub backoff: Backoff,
    /// Image back-off.
    pub image_backoff: Backoff,
    /// Startup, readiness and liveness probes.
    pub probes: [ProbeState; 3],
}

/// What decides whether an instance is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// The restart policy, by the exit code.
    ByPolicy,
    /// Its node stops it for a probe or a resize: the next one, unless none may ever follow.
    Again,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    /// It does not run yet, or not again yet.
    Waiting {
        /// `ContainerCreating`, `CrashLoopBackOff`, …
        reason: &'static str,
        /// For people.
        message: String,
        /// When it is tried again; `None` = as soon as its turn comes.
        until: Option<Timestamp>,
    },
    /// It runs.
    Running(Live),
    /// It has ended.
    Ended(Box<Ended>),
}

/// A running container.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// `RUNTIME://ID`.
    pub id: String,
    /// What really runs.
    pub image_id: String,
    /// Since when.
    pub since: Timestamp,
}

/// An ended container.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// `RUNTIME://ID`; empty if it never ran.
    pub id: String,
    /// What really ran.
    pub image_id: String,
    /// Exit code.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, …
    pub reason: &'static str,
    /// Termination message.
    pub message: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
}

/// A container on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// When SIGKILL is due.
    pub deadline: Timestamp,
    /// Not before then: a program gets two seconds after it was asked to end, whatever its grace.
    pub floor: Timestamp,
    /// Whether SIGKILL has been sent.
    pub killed: bool,
}

impl Stop {
    /// A container that is asked to end now, by this time if its grace is longer than the least.
    pub fn new(now: Timestamp, deadline: Timestamp) -> Self {
        let floor = later(now, SHORTEST_GRACE);
        Self {
            deadline: deadline.max(floor),
            floor,
            killed: false,
        }
    }

    /// Takes note that it was asked only now, after its hook.
    pub fn asked(&mut self, now: Timestamp) {
        self.floor = later(now, SHORTEST_GRACE);
        self.deadline = self.deadline.max(self.floor);
    }

    /// Makes its end earlier.
    pub fn hurry(&mut self, deadline: Timestamp) {
        self.deadline = self.deadline.min(deadline.max(self.floor));
    }
}

/// How long to wait before the next attempt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Seconds; 0 = the next attempt is immediate.
    pub seconds: u32,
    /// When it was last raised.
    pub raised: Option<Timestamp>,
}

impl Backoff {
    /// When an attempt is allowed after a failure at `failed`; `None` = at once.
    pub fn until(&self, failed: Timestamp) -> Option<Timestamp> {
        (self.seconds > 0 && !self.stale(failed)).then(|| later(failed, i64::from(self.seconds)))
    }

    /// When an attempt is allowed after the failure that raised this last.
    pub fn next(&self) -> Option<Timestamp> {
        self.raised
            .map(|raised| later(raised, i64::from(self.seconds)))
    }

    /// Counts one more attempt after a failure at `failed`.
    pub fn raise(&mut self, failed: Timestamp, now: Timestamp) {
        self.seconds = if self.seconds == 0 || self.stale(failed) {
            BACKOFF_FIRST
        } else {
            self.seconds.saturating_mul(2).min(BACKOFF_MAX)
        };
        self.raised = Some(now);
    }

    fn stale(&self, failed: Timestamp) -> bool {
        self.raised
            .is_some_and(|raised| failed.duration_since(raised).as_secs() > BACKOFF_RESET)
    }
}

/// Where one probe of one container stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProbeState {
    /// When it is due; `None` = not armed.
    pub next: Option<Timestamp>,
    /// Successes in a row.
    pub successes: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Whether one is being made.
    pub in_flight: bool,
}

/// `at` plus seconds, at most the end of time.
pub fn later(at: Timestamp, seconds: i64) -> Timestamp {
    at.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}

impl PodState {
    /// A pod that has just been bound to the node, or was before this program restarted.
    pub fn new(pod: &Pod, now: Timestamp) -> Self {
        let many = pod.spec.init_containers.is_empty();
        let containers = pod
            .containers()
            .map(|(role, c)| ContainerState::new(pod, role, c, many))
            .collect();
        Self {
            ip: None,
            sandbox: false,
            sandbox_retry: None,
            sandbox_failures: 0,
            start_time: pod.status.start_time.unwrap_or(now),
            containers,
            failed: None,
            resize: None,
            main_part: false,
            over: false,
            deletion_seen: pod.metadata.deletion_timestamp.map(|_| now),
        }
    }

    /// Takes note of the pod's deletion.
    pub fn note_deletion(&mut self, pod: &Pod, now: Timestamp) {
        if pod.metadata.deletion_timestamp.is_some() {
            self.deletion_seen.get_or_insert(now);
        }
    }

    /// Lets every container begin anew, but not before `until`. Those that still ran have been
    /// killed and show as ended.
    pub fn restart_all(&mut self, now: Timestamp, until: Option<Timestamp>) {
        self.main_part = false;
        let all = self.containers.iter_mut();
        for container in all.filter(|c| c.role != Role::Ephemeral) {
            if let Some(live) = container.live().cloned() {
                container.ended(Ended {
                    id: live.id,
                    image_id: live.image_id,
                    code: 137,
                    reason: "Error",
                    message: String::new(),
                    started: Some(live.since),
                    finished: now,
                });
            }
            if let Run::Ended(ended) = &container.run {
                container.last = Some(ended.clone());
                container.run = Run::Waiting {
                    reason: "PodInitializing",
                    message: String::new(),
                    until,
                };
            }
        }
    }

    /// Takes note of containers that were added to the pod.
    pub fn grow(&mut self, pod: &Pod) {
        let added = pod.containers().skip(self.containers.len());
        let added = added.map(|(role, c)| ContainerState::new(pod, role, c, true));
        self.containers.extend(added);
    }

    /// The resources that the container at an index is to have: what the node has granted.
    pub fn allocated<'a>(&'a self, index: usize, spec: &'a Container) -> &'a Resources {
        let granted = self.resize.as_ref().and_then(|r| r.allocated.get(index));
        granted.unwrap_or(&spec.resources)
    }

    /// The resources that the container at an index has.
    pub fn actuated<'a>(&'a self, index: usize, spec: &'a Container) -> &'a Resources {
        let has = self.resize.as_ref().and_then(|r| r.actuated.get(index));
        has.unwrap_or(&spec.resources)
    }

    /// Whether any container runs.
    pub fn any_running(&self) -> bool {
        self.containers.iter().any(ContainerState::is_running)
    }

    /// Takes note that an instance of the container at an index is made.
    pub fn born(&mut self, index: usize) {
        let container = self.containers.get(index);
        self.main_part |= container.is_some_and(|c| c.role == Role::Main);
    }

    /// Whether every init container has done its part.
    pub fn initialized(&self) -> bool {
        self.main_part
            || self.containers.iter().all(|c| match c.role {
                Role::Init => c.succeeded(),
                Role::Sidecar => c.started,
                Role::Main | Role::Ephemeral => true,
            })
    }
}

impl ContainerState {
    fn new(pod: &Pod, role: Role, container: &Container, without_init: bool) -> Self {
        let reason = if role == Role::Ephemeral || (role == Role::Main && without_init) {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let seen = pod
            .status
            .container_statuses
            .iter()
            .chain(&pod.status.init_container_statuses)
            .chain(&pod.status.ephemeral_container_statuses);
        let before = seen
            .filter(|s| s.name == container.name)
            .max_by_key(|s| s.restart_count);
        Self {
            role,
            run: Run::Waiting {
                reason,
                message: String::new(),
                until: None,
            },
            last: None,
            restarts: before.map_or(0, |s| s.restart_count),
            // An instance that an earlier run of this program started died with it.
            created: before.is_some_and(|s| !s.container_id.is_empty()),
            afterwards: Afterwards::ByPolicy,
            started: false,
            ready: false,
            stop: None,
            backoff: Backoff::default(),
            image_backoff: Backoff::default(),
            probes: [ProbeState::default(); 3],
        }
    }

    /// Whether it runs (perhaps on its way out).
    pub fn is_running(&self) -> bool {
        matches!(self.run, Run::Running(_))
    }

    /// Whether it has ended with exit code 0.
    pub fn succeeded(&self) -> bool {
        matches!(&self.run, Run::Ended(ended) if ended.code == 0)
    }

    /// The running instance.
    pub fn live(&self) -> Option<&Live> {
        match &self.run {
            Run::Running(live) => Some(live),
            Run::Waiting { .. } | Run::Ended(_) => None,
        }
    }

    /// Takes note that the running instance has ended.
    pub fn ended(&mut self, ended: Ended) {
        self.run = Run::Ended(Box::new(ended));
        self.stop = None;
        self.started = false;
        self.ready = false;
        self.probes = [ProbeState::default(); 3];
    }

    /// Takes note that a new instance runs.
    pub fn running(&mut self, live: Live) {
        self.run = Run::Running(live);
        self.created = true;
        self.afterwards = Afterwards::ByPolicy;
        self.stop = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_and_then_the_wait_doubles_to_five_minutes() {
        let mut backoff = Backoff::default();
        let mut waits = Vec::new();
        let mut now = at(0);
        for _ in 0..9 {
            let next = backoff.until(now);
            waits.push(next.map_or(0, |n| n.duration_since(now).as_secs()));
            let start = next.unwrap_or(now);
            backoff.raise(now, start);
            now = start;
        }
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn ten_minutes_of_life_forgive_earlier_crashes() {
        let mut backoff = Backoff {
            seconds: 160,
            raised: Some(at(0)),
        };
        assert_eq!(backoff.until(at(601)), None);
        backoff.raise(at(601), at(601));
        assert_eq!(backoff.seconds, 10);
    }
}
