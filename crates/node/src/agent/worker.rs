//! The thin shell around [`plan`]: one task a pod. It performs one slow step at a time and otherwise
//! waits for changes of the pod, exits, probe results and the next due time.

use super::board::{PodEntry, PodName};
use super::mailbox::{Inbox, Outbox, mailbox};
use super::operate::{self, Birth, Site, StartFailure};
use super::plan::{self, Action, plan};
use super::probing;
use super::report::Report;
use super::state::{PodFailure, PodState, Run, later};
use super::view::Pod;
use super::{Node, Shared, events::Severity};
use crate::probe::Kind;
use crate::runtime::{Exit, RuntimeError, Started};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// The pod has changed.
    Pod(Arc<Pod>),
    /// The pod is no longer in the API, or its node is removed.
    Gone,
    /// A probe of a container's instance was made.
    Probed {
        index: usize,
        attempt: u32,
        kind: Kind,
        result: Result<(), String>,
    },
    /// The runtime does not know a container that should run.
    Lost { index: usize, id: String },
    /// The bounds of a running container were changed, or not.
    Resized {
        index: usize,
        result: Result<(), RuntimeError>,
    },
    /// The node has set aside what the pod waited for.
    Granted,
    /// The node gives the pod up.
    Evict(PodFailure),
    /// A container was asked to end, after its hook.
    Asked { index: usize, id: String },
}

enum Done {
    Sandbox(Result<(), StartFailure>),
    Started(usize, Result<Started, StartFailure>),
    /// The start hook of a container is through.
    Hooked(usize, Result<(), String>),
    /// Old instances are gone.
    Cleared,
    Removed,
    Deleted(Result<(), super::ClusterError>),
}

/// The present slow step.
struct Operation {
    /// Whether it may be dropped when the pod is deleted meanwhile.
    can_stop: bool,
    /// Whether it belongs to the end of the pod, whose last status is worth waiting for.
    last: bool,
    run: BoxFuture<'static, Done>,
}

/// Which container's instance ended, and how.
pub(super) type ExitSeen = BoxFuture<'static, (usize, String, Exit)>;

pub(crate) struct Worker {
    pub(super) site: Site,
    pub(super) state: PodState,
    pub(super) outbox: Outbox<Message>,
    name: PodName,
    inbox: Inbox<Message>,
    pub(super) exits: FuturesUnordered<ExitSeen>,
    operation: Option<Operation>,
    pub(super) report: Report,
    gone: bool,
}

impl Worker {
    /// A worker for a pod, and the way to tell it things.
    pub(crate) fn new(
        shared: Arc<Shared>,
        node: Arc<Node>,
        pod: Arc<Pod>,
    ) -> (Self, Outbox<Message>) {
        let (outbox, inbox) = mailbox();
        let now = shared.clock.now();
        let name = (
            pod.metadata.namespace.as_str().into(),
            pod.metadata.name.as_str().into(),
        );
        let mut state = PodState::new(&pod, now);
        // A pod that ended under an earlier run of this program stays ended.
        state.over = matches!(pod.status.phase.as_str(), "Succeeded" | "Failed");
        let report = Report::new(&pod, now);
        let worker = Self {
            site: Site { shared, node, pod },
            state,
            outbox: outbox.clone(),
            name,
            inbox,
            exits: FuturesUnordered::new(),
            operation: None,
            report,
            gone: false,
        };
        (worker, outbox)
    }

    /// Runs until the pod is gone. In a box, because a future has room for its arguments twice.
    pub(crate) async fn run(mut self: Box<Self>) {
        self.report.silent = self.state.over;
        self.admit();
        loop {
            let wake = self.settle();
            if self.gone {
                break;
            }
            let now = self.now();
            let wakes = [probing::due(&self.state), self.resize_due()];
            let wake = [wake, self.report_due(now)].into_iter().chain(wakes);
            let wake = wake.flatten().min();
            self.wait(wake).await;
        }
        self.wind_up().await;
    }

    /// The node is short of something, and this pod has to go.
    fn evict(&mut self, failure: PodFailure) {
        if self.state.failed.is_none() && !self.state.over {
            let what = (failure.reason, failure.message.clone());
            self.event(None, Severity::Warning, what);
            self.report.dirty = true;
            self.state.failed = Some(failure);
        }
    }

    /// Gives back what the node has set aside for the pod, and passes it on.
    fn release(&self) {
        let served = {
            let mut ledger = self.site.node.ledger.lock();
            ledger.release(&self.pod().metadata.uid);
            ledger.serve_waiting()
        };
        for outbox in served {
            outbox.send(Message::Granted);
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.site.shared.clock.now()
    }

    pub(super) fn pod(&self) -> &Arc<Pod> {
        &self.site.pod
    }

    pub(super) fn event(
        &self,
        index: Option<usize>,
        severity: Severity,
        what: (&'static str, String),
    ) {
        let pod = self.pod();
        let container = index
            .and_then(|i| pod.container(i))
            .map(|c| c.name.as_str());
        self.site.shared.events.pod(pod, container, severity, what);
    }

    /// Takes every step that is due; returns when the next one may be.
    fn settle(&mut self) -> Option<Timestamp> {
        probing::make_due(self);
        self.advance_resize();
        if self.is_cut_short() && self.operation.as_ref().is_some_and(|o| o.can_stop) {
            self.operation = None;
        }
        let mut wake = None;
        while self.operation.is_none() {
            let now = self.now();
            match plan(self.pod(), &self.state, now) {
                Action::Wait(until) => {
                    wake = until;
                    break;
                }
                Action::Finish => {
                    if !self
                        .report
                        .is_clean(self.pod(), &self.state, &self.site.node)
                    {
                        break;
                    }
                    self.finish();
                }
                action @ (Action::CreateSandbox
                | Action::Start(_)
                | Action::Hold { .. }
                | Action::Stop { .. }
                | Action::Kill(_)
                | Action::RemoveSandbox
                | Action::RestartAll(_)
                | Action::Fail(_)) => self.take(action, now),
            }
        }
        wake.or_else(|| self.kill_while_busy())
    }

    /// Whether what is under way for the pod is in vain: it has to end.
    fn is_cut_short(&self) -> bool {
        self.pod().metadata.deletion_timestamp.is_some()
            || self.state.failed.is_some()
            || plan::deadline(self.pod(), &self.state).is_some_and(|at| at <= self.now())
    }

    /// Kills what has had its grace, also while a slow step is under way; returns when there may be
    /// more to do about that step.
    fn kill_while_busy(&mut self) -> Option<Timestamp> {
        let operation = self.operation.as_ref()?;
        let until = plan::deadline(self.pod(), &self.state);
        let until = until.filter(|_| operation.can_stop && !self.is_cut_short());
        loop {
            let mut wake = plan::Wake(until);
            match plan::kill_overdue(&self.state, self.now(), &mut wake) {
                Some(Action::Kill(index)) => self.kill(index),
                _ => return wake.0,
            }
        }
    }

    fn take(&mut self, action: Action, now: Timestamp) {
        match action {
            Action::CreateSandbox => self.create_sandbox(now),
            Action::Start(index) => self.start(index),
            Action::Hold { index, until } => self.hold(index, until),
            Action::Stop { index, deadline } => {
                let name = self.pod().container(index).map_or("", |c| c.name.as_str());
                let message = format!("Stopping container {name}");
                if self
                    .state
                    .containers
                    .get(index)
                    .is_some_and(|c| c.stop.is_none())
                {
                    self.event(Some(index), Severity::Normal, ("Killing", message));
                    self.stop(index, deadline);
                } else if let Some(stop) = self.stop_of(index) {
                    stop.hurry(deadline);
                }
            }
            Action::Kill(index) => self.kill(index),
            Action::RestartAll(index) => self.restart_all(index, now),
            Action::RemoveSandbox => {
                let run = self
                    .site
                    .clone()
                    .remove_sandbox()
                    .map(|()| Done::Removed)
                    .boxed();
                self.operation = Some(Operation {
                    can_stop: false,
                    last: true,
                    run,
                });
            }
            Action::Fail(failure) => {
                let what = (failure.reason, failure.message.clone());
                self.event(None, Severity::Normal, what);
                self.report.dirty = true;
                self.state.failed = Some(failure);
            }
            Action::Finish | Action::Wait(_) => {}
        }
    }

    fn create_sandbox(&mut self, now: Timestamp) {
        if self.state.ip.is_none() && !self.pod().spec.host_network {
            self.state.ip = self.site.node.pool.lock().take();
        }
        let Some(ip) = operate::address(self.pod(), &self.state, &self.site.node) else {
            let message = format!("node {} has no free pod address", self.site.node.name);
            self.sandbox_failed(
                StartFailure {
                    reason: "FailedCreatePodSandBox",
                    message,
                },
                now,
            );
            return;
        };
        self.state.ip = Some(ip);
        let run = self
            .site
            .clone()
            .create_sandbox(ip)
            .map(Done::Sandbox)
            .boxed();
        self.operation = Some(Operation {
            can_stop: true,
            last: false,
            run,
        });
    }

    fn sandbox_failed(&mut self, failure: StartFailure, now: Timestamp) {
        self.event(None, Severity::Warning, (failure.reason, failure.message));
        self.state.sandbox_failures += 1;
        let wait = 1_i64 << self.state.sandbox_failures.min(7).saturating_sub(1);
        self.state.sandbox_retry = Some(later(now, wait));
    }

    fn start(&mut self, index: usize) {
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        if let Run::Ended(ended) = &container.run {
            container.last = Some(ended.clone());
        }
        let attempt = container.restarts + u32::from(container.created);
        let pod = Arc::clone(self.pod());
        let limits = pod
            .container(index)
            .map(|spec| operate::limits(self.state.allocated(index, spec)));
        let birth = Birth {
            index,
            attempt,
            ip: self.state.ip,
            target: self.target_of(index),
            limits: limits.unwrap_or_default(),
        };
        let start = self.site.clone().start(birth);
        let run = start
            .map(move |result| Done::Started(index, result))
            .boxed();
        self.operation = Some(Operation {
            can_stop: true,
            last: false,
            run,
        });
    }

    /// Runs the start hook of a container that has just started; nothing else of the pod starts
    /// meanwhile.
    pub(super) fn run_start_hook(&mut self, index: usize, id: String) {
        let hook = self.site.clone().post_start(index, id, self.state.ip);
        let run = hook.map(move |result| Done::Hooked(index, result)).boxed();
        self.operation = Some(Operation {
            can_stop: true,
            last: false,
            run,
        });
    }

    /// The running container whose processes the one at `index` is to see.
    fn target_of(&self, index: usize) -> Option<String> {
        let pod = self.pod();
        let wanted = &pod.container(index)?.target_container_name;
        let place = pod.containers().position(|(_, c)| c.name == *wanted)?;
        let live = self.state.containers.get(place)?.live()?;
        Some(live.id.clone())
    }

    fn finish(&mut self) {
        let site = self.site.clone();
        let run = async move {
            let options = json!({
                "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
                "preconditions": {"uid": site.pod.metadata.uid},
            });
            let deleted = site.shared.cluster.delete(&site.pod.path(), &options).await;
            let deleted = match deleted {
                // Gone already, or another pod has its name: the same to us.
                Err(e) if matches!(e.code(), Some(404 | 409)) => Ok(()),
                other => other.map(drop),
            };
            if deleted.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            Done::Deleted(deleted)
        };
        self.operation = Some(Operation {
            can_stop: false,
            last: true,
            run: run.boxed(),
        });
    }

    /// When the status is to be written; starts the write if that is now.
    fn report_due(&mut self, now: Timestamp) -> Option<Timestamp> {
        if self.operation.as_ref().is_some_and(|o| o.last) {
            return None;
        }
        if self.report.dirty && super::status::is_terminal(self.pod(), &self.state) {
            // Whoever sees the pod end may fill its place at once.
            self.release();
        }
        let due = self.report.start_if_due(&self.site, &self.state, now);
        let entry = PodEntry {
            uid: self.pod().metadata.uid.as_str().into(),
            node: Arc::clone(&self.site.node),
            address: operate::address(self.pod(), &self.state, &self.site.node),
            runtime: Arc::clone(&self.site.node.runtime),
            containers: Vec::new(),
            logs: self.site.logs(),
        };
        self.site
            .shared
            .board
            .show(&self.name, self.pod(), &self.state, entry);
        due
    }

    async fn wait(&mut self, wake: Option<Timestamp>) {
        let now = self.now();
        let timer = async {
            match wake {
                Some(at) => {
                    let left = Duration::try_from(at.duration_since(now)).unwrap_or_default();
                    // The timer has whole milliseconds: never wake a moment too early.
                    tokio::time::sleep(left + Duration::from_millis(1)).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            message = self.inbox.receive() => self.receive(message),
            Some((index, id, exit)) = self.exits.next() => self.exited(index, &id, &exit),
            done = finished(&mut self.operation) => {
                self.operation = None;
                self.done(done);
            }
            gone = self.report.written(now) => self.gone |= gone,
            () = timer => {}
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Gone => self.gone = true,
            Message::Pod(pod) => {
                let before = std::mem::replace(&mut self.site.pod, pod);
                self.refresh_volumes(&before);
                self.state.grow(&self.site.pod);
                self.state.note_deletion(&self.site.pod, self.now());
                if before.metadata.generation != self.site.pod.metadata.generation {
                    self.asked_for_resize(&before);
                }
                self.report.dirty = true;
            }
            Message::Probed {
                index,
                attempt,
                kind,
                result,
            } => {
                probing::take_result(self, (index, attempt), kind, result);
            }
            Message::Lost { index, id } => {
                let exit = Exit {
                    code: 137,
                    signal: Some(libc::SIGKILL),
                    oom_killed: false,
                };
                self.exited(index, &id, &exit);
            }
            Message::Resized { index, result } => self.resized(index, result),
            Message::Granted => self.request_resize(),
            Message::Evict(failure) => self.evict(failure),
            Message::Asked { index, id } => self.asked(index, &id),
        }
    }

    /// Lets files made of the pod's own fields follow it.
    fn refresh_volumes(&self, before: &Pod) {
        let (old, new) = (&before.metadata, &self.pod().metadata);
        let same = old.labels == new.labels
            && old.annotations == new.annotations
            && old.generation == new.generation;
        if !same {
            self.site.shared.refresher.pod_changed(&self.site);
        }
    }

    fn done(&mut self, done: Done) {
        let now = self.now();
        self.report.dirty = true;
        match done {
            Done::Sandbox(Ok(())) => self.state.sandbox = true,
            Done::Sandbox(Err(failure)) => self.sandbox_failed(failure, now),
            Done::Started(index, Ok(started)) => self.started(index, started, now),
            Done::Started(index, Err(failure)) => self.start_failed(index, failure, now),
            Done::Hooked(index, result) => self.hooked(index, result, now),
            Done::Cleared => {}
            Done::Removed => {
                self.state.sandbox = false;
                self.state.over = true;
                self.free_address();
                self.release();
            }
            Done::Deleted(Ok(())) => self.gone = true,
            Done::Deleted(Err(error)) => {
                tracing::warn!(pod = %self.pod().full_name(), error = ?error, "pod not deleted");
            }
        }
    }

    fn free_address(&mut self) {
        if let Some(ip) = self.state.ip.filter(|_| !self.pod().spec.host_network) {
            // The status keeps showing it; the flag in the state says it is no longer held.
            self.site.node.pool.lock().free(ip);
        }
    }

    /// Ends what is left of a pod that is gone from the API.
    async fn wind_up(&mut self) {
        self.operation = None;
        self.release();
        if !self.state.over {
            self.site.clone().remove_sandbox().await;
            self.free_address();
        }
        if self.site.node.runtime.runs_processes() {
            crate::log::remove(&self.site.logs());
        }
        self.site
            .shared
            .board
            .forget(&self.name, &self.pod().metadata.uid);
    }
}

async fn finished(operation: &mut Option<Operation>) -> Done {
    match operation {
        Some(operation) => (&mut operation.run).await,
        None => std::future::pending().await,
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("pod", &self.name)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// Takes note that the status may have changed.
    pub(super) fn touch(&mut self) {
        self.report.dirty = true;
    }

    /// Makes something the present slow step: short, and not to be dropped.
    pub(super) fn wait_for(&mut self, step: impl Future<Output = ()> + Send + 'static) {
        self.operation = Some(Operation {
            can_stop: false,
            last: false,
            run: step.map(|()| Done::Cleared).boxed(),
        });
    }

    /// Whether a slow step is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.operation.is_some()
    }

    /// The node the pod is on.
    pub(super) fn node(&self) -> &Arc<Node> {
        &self.site.node
    }
}
