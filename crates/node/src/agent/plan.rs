//! What to do next for a pod: pure, one step at a time.

use super::restart::{Verdict, verdict};
use super::state::{ContainerState, FailedAt, PodFailure, PodState, Run, later};
use super::view::{Container, Pod, Role};
use jiff::{SignedDuration, Timestamp};

/// How long a deleted pod is to be seen at least. `kubectl delete` gets the object, lists it and then
/// watches: a pod replaced by one of the same name between the first two steps would never go in
/// its eyes. Upstream's kubelet takes a second or more.
const LINGER: SignedDuration = SignedDuration::from_millis(500);

/// One step for the agent to take.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make the sandbox and the volumes.
    CreateSandbox,
    /// Prepare the image and start the container at this index.
    Start(usize),
    /// Hold the container back until a time, showing why.
    Hold {
        /// Which container.
        index: usize,
        /// When it may be tried.
        until: Timestamp,
    },
    /// Ask the container to end within a grace.
    Stop {
        /// Which container.
        index: usize,
        /// When SIGKILL follows.
        deadline: Timestamp,
    },
    /// SIGKILL.
    Kill(usize),
    /// Take down the sandbox; the pod is over.
    RemoveSandbox,
    /// The pod is over and wound down: delete it from the API.
    Finish,
    /// The node ends the pod.
    Fail(PodFailure),
    /// All containers of the pod are to start afresh: this one ended in a way that wants that.
    RestartAll(usize),
    /// Nothing to do before this time, unless something happens.
    Wait(Option<Timestamp>),
}

/// Decides the next step.
pub fn plan(pod: &Pod, state: &PodState, now: Timestamp) -> Action {
    let deleted = pod.metadata.deletion_timestamp.is_some();
    if state.over {
        return if deleted {
            finish(pod, state, now)
        } else {
            Action::Wait(None)
        };
    }
    if deleted || state.failed.is_some() || run_out(pod, state) {
        return wind_down(pod, state, now);
    }
    if deadline(pod, state).is_some_and(|d| d <= now) {
        return Action::Fail(PodFailure {
            reason: "DeadlineExceeded",
            message: "Pod was active on the node longer than the specified deadline".to_owned(),
            at: FailedAt::Life(None),
        });
    }
    let mut wake = Wake(deadline(pod, state));
    if let Some(action) = kill_overdue(state, now, &mut wake) {
        return action;
    }
    if !state.sandbox {
        return match state.sandbox_retry.filter(|at| *at > now) {
            Some(at) => Action::Wait(wake.at(at)),
            None => Action::CreateSandbox,
        };
    }
    advance(pod, state, now, wake)
}

/// Goes through the containers in order and starts what is due.
fn advance(pod: &Pod, state: &PodState, now: Timestamp, mut wake: Wake) -> Action {
    let numbered = || state.containers.iter().zip(pod.containers()).enumerate();
    // First those that look into the pod: they may be there to see why the others do not start.
    let ephemeral = numbered().filter(|(_, (c, _))| c.role == Role::Ephemeral);
    let others = numbered().filter(|(_, (c, _))| c.role != Role::Ephemeral);
    for (index, (container, (_, spec))) in ephemeral.chain(others) {
        if container.role != Role::Main || state.initialized() {
            match step((pod, spec), container, now) {
                Step::Fine => {}
                Step::Start => return Action::Start(index),
                Step::StartAll => return Action::RestartAll(index),
                Step::Hold(until) => return Action::Hold { index, until },
                Step::Wait(until) => wake.note(until),
            }
        }
        let blocks = match container.role {
            Role::Init => !container.succeeded(),
            Role::Sidecar => !container.started && !state.main_part,
            Role::Main | Role::Ephemeral => false,
        };
        if blocks {
            break;
        }
    }
    Action::Wait(wake.0)
}

enum Step {
    Fine,
    Start,
    StartAll,
    /// To be shown as held back until then.
    Hold(Timestamp),
    /// Shown so already.
    Wait(Timestamp),
}

fn step(of: (&Pod, &Container), container: &ContainerState, now: Timestamp) -> Step {
    match &container.run {
        Run::Waiting {
            until: Some(at), ..
        } if *at > now => Step::Wait(*at),
        Run::Waiting {
            reason: "ErrImagePull",
            ..
        } => match container.image_backoff.next().filter(|at| *at > now) {
            Some(at) => Step::Hold(at),
            None => Step::Start,
        },
        // It was shown for a moment; now for how long it is held back.
        Run::Waiting {
            reason: "RunContainerError",
            ..
        } => match crash_backoff(container).filter(|at| *at > now) {
            Some(at) => Step::Hold(at),
            None => Step::Start,
        },
        Run::Waiting { .. } => Step::Start,
        Run::Ended(ended) => match verdict(of.0, of.1, container, ended.code) {
            Verdict::Stay => Step::Fine,
            Verdict::RestartAll => Step::StartAll,
            Verdict::Restart => {
                match container
                    .backoff
                    .until(ended.finished)
                    .filter(|at| *at > now)
                {
                    Some(at) => Step::Hold(at),
                    None => Step::Start,
                }
            }
        },
        Run::Running(_) => Step::Fine,
    }
}

/// When a container whose last instance did not even start may be tried again.
fn crash_backoff(container: &ContainerState) -> Option<Timestamp> {
    container.backoff.until(container.last.as_ref()?.finished)
}

/// Whether every main container has ended for good, or an init container has failed for good.
fn run_out(pod: &Pod, state: &PodState) -> bool {
    let pairs = || state.containers.iter().zip(pod.containers());
    let over = |(c, (_, spec)): &(&ContainerState, (Role, &Container))| match &c.run {
        Run::Ended(ended) => verdict(pod, spec, c, ended.code) == Verdict::Stay,
        Run::Running(_) | Run::Waiting { .. } => false,
    };
    let init_failed =
        pairs().any(|pair| pair.0.role == Role::Init && over(&pair) && !pair.0.succeeded());
    let mut main = pairs().filter(|(c, _)| c.role == Role::Main).peekable();
    init_failed || (main.peek().is_some() && main.all(|pair| over(&pair)))
}

/// Stops main containers, then sidecars from the last to the first, then takes the sandbox down.
fn wind_down(pod: &Pod, state: &PodState, now: Timestamp) -> Action {
    let mut wake = Wake(None);
    if let Some(action) = kill_overdue(state, now, &mut wake) {
        return action;
    }
    let deadline = latest_end(pod, later(now, grace(pod, state)));
    let main_runs = state
        .containers
        .iter()
        .any(|c| c.role != Role::Sidecar && c.is_running());
    let mut candidates: Vec<(usize, &ContainerState)> = state
        .containers
        .iter()
        .enumerate()
        .filter(|(_, c)| c.is_running() && (c.role == Role::Sidecar) != main_runs)
        .collect();
    if !main_runs {
        candidates.reverse();
        candidates.truncate(1);
    }
    for (index, container) in candidates {
        match container.stop {
            None => return Action::Stop { index, deadline },
            // A second deletion may only shorten the grace.
            Some(stop) if stop.deadline > latest_end(pod, stop.deadline).max(stop.floor) => {
                return Action::Stop { index, deadline };
            }
            Some(_) => {}
        }
    }
    if state.any_running() {
        Action::Wait(wake.0)
    } else {
        Action::RemoveSandbox
    }
}

/// Lets the pod go, but not so soon that nobody could see it end. Who gave it no grace waits for
/// nothing.
fn finish(pod: &Pod, state: &PodState, now: Timestamp) -> Action {
    let seen = state.deletion_seen.filter(|_| pod.grace_seconds() > 0);
    let until = seen.and_then(|at| at.checked_add(LINGER).ok());
    match until.filter(|at| *at > now) {
        Some(at) => Action::Wait(Some(at)),
        None => Action::Finish,
    }
}

/// Seconds that containers get to end: less where the node gave the pod up in a hurry.
fn grace(pod: &Pod, state: &PodState) -> i64 {
    let own = pod.grace_seconds();
    match state.failed.as_ref().map(|failure| failure.at) {
        Some(FailedAt::Life(Some(seconds))) => own.min(seconds),
        Some(FailedAt::Life(None) | FailedAt::Admission) | None => own,
    }
}

/// The end a deletion allows: its own deadline where that is earlier.
fn latest_end(pod: &Pod, deadline: Timestamp) -> Timestamp {
    match pod.metadata.deletion_timestamp {
        // One second of slack: API times have whole seconds.
        Some(at) => deadline.min(later(at, 1)),
        None => deadline,
    }
}

/// SIGKILL for a container that has had its grace; `wake` takes note of those that have not.
pub(super) fn kill_overdue(state: &PodState, now: Timestamp, wake: &mut Wake) -> Option<Action> {
    for (index, container) in state.containers.iter().enumerate() {
        let Some(stop) = container
            .stop
            .filter(|s| container.is_running() && !s.killed)
        else {
            continue;
        };
        if stop.deadline <= now {
            return Some(Action::Kill(index));
        }
        wake.note(stop.deadline);
    }
    None
}

/// When the pod has been active for as long as it may.
pub(super) fn deadline(pod: &Pod, state: &PodState) -> Option<Timestamp> {
    pod.spec
        .active_deadline_seconds
        .map(|seconds| later(state.start_time, seconds))
}

/// The earliest of the times at which there may be something to do.
pub(super) struct Wake(pub(super) Option<Timestamp>);

impl Wake {
    fn note(&mut self, at: Timestamp) {
        self.0 = Some(self.0.map_or(at, |earlier| earlier.min(at)));
    }

    fn at(mut self, at: Timestamp) -> Option<Timestamp> {
        self.note(at);
        self.0
    }
}

#[cfg(test)]
mod tests;
