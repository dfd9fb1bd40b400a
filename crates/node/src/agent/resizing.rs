//! What a worker does about a change of its pod's resources.

use super::demand;
use super::events::Severity;
use super::ledger::{Denial, Waiting};
use super::operate;
use super::resize::{Pending, Resize, Step};
use super::state::{Afterwards, later};
use super::view::Pod;
use super::worker::{Message, Worker};
use crate::runtime::RuntimeError;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// What could not be put into effect is tried again after so many seconds.
const RETRY_AFTER: i64 = 10;
/// After a restart of this program, the node's other pods are taken on within this.
const SETTLE: Duration = Duration::from_secs(5);

impl Worker {
    /// The spec has changed: maybe its resources have.
    pub(super) fn asked_for_resize(&mut self, before: &Pod) {
        let pod = Arc::clone(self.pod());
        let mut pairs = before.containers().zip(pod.containers());
        let changed = pairs.any(|((_, old), (_, new))| old.resources != new.resources);
        if !changed || self.state.failed.is_some() || self.state.over {
            return;
        }
        if self.state.resize.is_none() {
            self.state.resize = Some(Box::new(Resize::of(before)));
        }
        self.request_resize();
    }

    /// Goes on waiting for what was not granted before this program was restarted. What the node
    /// has is known only once its other pods are on again.
    pub(super) fn take_up_resize(&mut self, left: Option<Resize>) {
        let Some(mut resize) = left else { return };
        let wanted = demand::of_pod(self.pod());
        let fits = self.site.node.ledger.lock().may_ever_hold(wanted);
        resize.pending = Some(Pending {
            reason: if fits { "Deferred" } else { "Infeasible" },
            message: "the node is being taken up again".to_owned(),
        });
        self.state.resize = Some(Box::new(resize));
        let outbox = self.outbox.clone();
        tokio::spawn(async move {
            tokio::time::sleep(SETTLE).await;
            outbox.send(Message::Granted);
        });
    }

    /// Asks the node for what the spec says now.
    pub(super) fn request_resize(&mut self) {
        let pod = Arc::clone(self.pod());
        let Some(resize) = self.state.resize.as_mut() else {
            return;
        };
        self.report.dirty = true;
        let uid = &pod.metadata.uid;
        if !resize.differs_from(&pod) {
            // What was asked for was taken back.
            resize.pending = None;
            self.site.node.ledger.lock().stop_waiting(uid);
            // The node may have set it aside meanwhile; without room for it, nothing is to be done.
            drop(self.claim(&pod));
            return self.settle_resize();
        }
        match self.claim(&pod) {
            Ok(()) => self.granted(&pod),
            Err(denial) => self.denied(&pod, denial),
        }
    }

    /// Lets the pod hold what its spec says, if there is room, and passes on what it gives back.
    fn claim(&self, pod: &Pod) -> Result<(), Denial> {
        let (result, served) = {
            let mut ledger = self.site.node.ledger.lock();
            let result = ledger.change(&pod.metadata.uid, demand::of_pod(pod));
            (result, ledger.serve_waiting())
        };
        for outbox in served {
            outbox.send(Message::Granted);
        }
        result
    }

    fn granted(&mut self, pod: &Pod) {
        let Some(resize) = self.state.resize.as_mut() else {
            return;
        };
        resize.grant(pod);
        let summary = resize.summary(pod, None);
        let what = ("ResizeStarted", format!("Pod resize started: {summary}"));
        self.event(None, Severity::Normal, what);
    }

    fn denied(&mut self, pod: &Pod, denial: Denial) {
        let wanted = demand::of_pod(pod);
        let (reason, event, message) = match denial {
            Denial::Deferred(shortage) => ("Deferred", "ResizeDeferred", shortage.to_string()),
            Denial::Infeasible(shortage) => {
                let (resource, requested) = (shortage.resource, shortage.requested);
                let capacity = shortage.capacity;
                let message = format!(
                    "Node didn't have enough capacity: {resource}, requested: {requested}, \
                     capacity: {capacity}"
                );
                ("Infeasible", "ResizeInfeasible", message)
            }
        };
        let pending = Pending {
            reason,
            message: message.clone(),
        };
        let waiting = Waiting {
            wanted,
            priority: pod.spec.priority.unwrap_or(0),
            qos: demand::qos_rank(demand::qos(pod)),
            since: self.now().as_second(),
            tell: self.outbox.clone(),
        };
        {
            let mut ledger = self.site.node.ledger.lock();
            let uid = &pod.metadata.uid;
            if reason == "Deferred" {
                ledger.wait(uid, waiting);
            } else {
                ledger.stop_waiting(uid);
            }
        }
        let Some(resize) = self.state.resize.as_mut() else {
            return;
        };
        let known = resize.pending.as_ref().is_some_and(|p| p.reason == reason);
        resize.pending = Some(pending);
        if !known {
            let summary = resize.summary(pod, Some(&message));
            let what = (event, format!("Pod resize {reason}: {summary}"));
            self.event(None, Severity::Warning, what);
        }
    }

    /// When what failed is to be tried again.
    pub(super) fn resize_due(&self) -> Option<Timestamp> {
        let resize = self.state.resize.as_ref()?;
        resize.retry_at.filter(|_| resize.applying.is_none())
    }

    /// Puts into effect what was granted, one container at a time.
    pub(super) fn advance_resize(&mut self) {
        if self.state.resize.is_none() || self.state.over {
            return;
        }
        let pod = Arc::clone(self.pod());
        if pod.metadata.deletion_timestamp.is_some() || self.state.failed.is_some() {
            return;
        }
        let (now, busy) = (self.now(), self.is_busy());
        loop {
            let Some(resize) = self.state.resize.as_mut() else {
                return;
            };
            match resize.next(&pod, &self.state.containers, now) {
                None => return,
                // What is being started was given its bounds before.
                Some(Step::Note(_)) if busy => return,
                Some(Step::Note(index)) => {
                    resize.actuate(index);
                    self.settle_resize();
                }
                Some(Step::Restart(index)) => self.restart_for_resize(&pod, index, now),
                Some(Step::Apply(index)) => self.apply(&pod, index),
            }
        }
    }

    fn restart_for_resize(&mut self, pod: &Pod, index: usize, now: Timestamp) {
        let name = pod.container(index).map_or("", |c| c.name.as_str());
        let message = format!("Container {name} resize requires restart");
        self.event(Some(index), Severity::Normal, ("Killing", message));
        self.stop(index, later(now, pod.grace_seconds()));
        if let Some(container) = self.state.containers.get_mut(index) {
            container.afterwards = Afterwards::Again;
        }
    }

    fn apply(&mut self, pod: &Pod, index: usize) {
        let id = self.state.containers.get(index).and_then(|c| c.live());
        let id = id.map(|live| live.id.clone());
        let (Some(spec), Some(id)) = (pod.container(index), id) else {
            return;
        };
        let limits = operate::limits(self.state.allocated(index, spec));
        let Some(resize) = self.state.resize.as_mut() else {
            return;
        };
        resize.applying = Some(index);
        let outbox = self.outbox.clone();
        let runtime = Arc::clone(&self.site.node.runtime);
        tokio::spawn(async move {
            let result = runtime.resize(&id, limits).await;
            outbox.send(Message::Resized { index, result });
        });
    }

    /// The bounds of a container were changed, or not.
    pub(super) fn resized(&mut self, index: usize, result: Result<(), RuntimeError>) {
        let pod = Arc::clone(self.pod());
        let now = self.now();
        self.report.dirty = true;
        let Some(resize) = self.state.resize.as_mut() else {
            return;
        };
        resize.applying = None;
        match result {
            Ok(()) => {
                resize.actuate(index);
                self.settle_resize();
            }
            // It has ended meanwhile: its next start brings the new bounds.
            Err(RuntimeError::NotRunning(_)) => resize.retry_at = Some(later(now, 1)),
            Err(error) => {
                let name = pod.container(index).map_or("", |c| c.name.as_str());
                let why = if let RuntimeError::ResizeDeferred { limit, used } = error {
                    format!(
                        "attempting to set container {name:?} memory limit ({limit}) below \
                         current usage ({used})"
                    )
                } else {
                    error.to_string()
                };
                let known = resize.error.replace(why.clone()).is_some();
                resize.retry_at = Some(later(now, RETRY_AFTER));
                if !known {
                    let summary = resize.summary(&pod, Some(&why));
                    let what = ("ResizeError", format!("Pod resize error: {summary}"));
                    self.event(None, Severity::Warning, what);
                }
            }
        }
    }

    /// Forgets a resize that is through.
    fn settle_resize(&mut self) {
        self.report.dirty = true;
        let pod = Arc::clone(self.pod());
        let Some(resize) = self.state.resize.as_mut() else {
            return;
        };
        if resize.in_progress() {
            return;
        }
        resize.error = None;
        resize.retry_at = None;
        if !resize.is_done() {
            return;
        }
        let completed = resize.generation == pod.metadata.generation;
        let summary = resize.summary(&pod, None);
        self.state.resize = None;
        if completed {
            let what = (
                "ResizeCompleted",
                format!("Pod resize completed: {summary}"),
            );
            self.event(None, Severity::Normal, what);
        }
    }
}
