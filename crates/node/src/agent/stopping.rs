//! How a worker holds containers back, stops and kills them.

use super::events::Severity;
use super::state::{Run, Stop};
use super::view::Role;
use super::worker::{Message, Worker};
use crate::runtime::RuntimeError;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

impl Worker {
    pub(super) fn stop_of(&mut self, index: usize) -> Option<&mut Stop> {
        self.state.containers.get_mut(index)?.stop.as_mut()
    }

    /// Shows a container that crashed, or whose image is missing, as held back.
    pub(super) fn hold(&mut self, index: usize, until: Timestamp) {
        if let Some(container) = self.state.containers.get_mut(index)
            && let Run::Waiting {
                message,
                reason: "ErrImagePull",
                ..
            } = &container.run
        {
            let cause = message.clone();
            return self.hold_pull(index, until, &cause);
        }
        let pod = Arc::clone(self.pod());
        let name = pod.container(index).map_or("", |c| c.name.as_str());
        let full = pod.full_name();
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        if let Run::Ended(ended) = &container.run {
            container.last = Some(ended.clone());
        }
        let seconds = container.backoff.seconds;
        let message = format!(
            "back-off {} restarting failed container={name} pod={full}",
            go_duration(seconds)
        );
        container.run = Run::Waiting {
            reason: "CrashLoopBackOff",
            message,
            until: Some(until),
        };
        self.report.dirty = true;
        let message = format!("Back-off restarting failed container {name} in pod {full}");
        self.event(Some(index), Severity::Warning, ("BackOff", message));
    }

    fn hold_pull(&mut self, index: usize, until: Timestamp, cause: &str) {
        let pod = Arc::clone(self.pod());
        let image = pod.container(index).map_or("", |c| c.image.as_str());
        let what = format!("Back-off pulling image {image:?}");
        if let Some(container) = self.state.containers.get_mut(index) {
            container.run = Run::Waiting {
                reason: "ImagePullBackOff",
                message: format!("{what}: ErrImagePull: {cause}"),
                until: Some(until),
            };
        }
        self.report.dirty = true;
        self.event(Some(index), Severity::Normal, ("BackOff", what.clone()));
        let failed = ("Failed", "Error: ImagePullBackOff".to_owned());
        self.event(Some(index), Severity::Warning, failed);
    }

    /// Asks a container to end; SIGKILL follows at the deadline.
    pub(super) fn stop(&mut self, index: usize, deadline: Timestamp) {
        let now = self.now();
        let ip = self.state.ip;
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let Some(live) = container.live() else { return };
        let id = live.id.clone();
        let stop = Stop::new(now, deadline);
        container.stop = Some(stop);
        let grace = Duration::try_from(stop.deadline.duration_since(now)).unwrap_or_default();
        let (site, outbox) = (self.site.clone(), self.outbox.clone());
        tokio::spawn(async move {
            if site.stop(index, &id, grace, ip).await {
                outbox.send(Message::Asked { index, id });
            }
        });
    }

    /// Takes note that a container was asked to end only after its hook.
    pub(super) fn asked(&mut self, index: usize, id: &str) {
        let now = self.now();
        let container = self.state.containers.get_mut(index);
        let same = container.filter(|c| c.live().is_some_and(|live| live.id == id));
        if let Some(stop) = same.and_then(|c| c.stop.as_mut()) {
            stop.asked(now);
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, index: usize) {
        if let Some(stop) = self.stop_of(index) {
            stop.killed = true;
        }
        let container = self.state.containers.get(index);
        let Some(id) = container.and_then(|c| c.live()).map(|l| l.id.clone()) else {
            return;
        };
        let (runtime, outbox) = (Arc::clone(&self.site.node.runtime), self.outbox.clone());
        tokio::spawn(async move {
            let sent = runtime.signal(&id, libc::SIGKILL).await;
            if let Err(RuntimeError::NotRunning(_)) = sent {
                outbox.send(Message::Lost { index, id });
            }
        });
    }

    /// Kills whatever runs and lets all containers begin anew, because one of them wants that.
    pub(super) fn restart_all(&mut self, index: usize, now: Timestamp) {
        let pod = Arc::clone(self.pod());
        let name = pod.container(index).map_or("", |c| c.name.as_str());
        let message = format!("Container {name} exited and wants all containers restarted");
        self.event(
            Some(index),
            Severity::Normal,
            ("RestartAllContainers", message),
        );
        let all = self.state.containers.iter();
        let running = all.filter(|c| c.role != Role::Ephemeral);
        let running = running.filter_map(|c| c.live());
        let ids: Vec<String> = running.map(|live| live.id.clone()).collect();
        let runtime = Arc::clone(&self.site.node.runtime);
        // Nothing starts before the old instances are gone.
        self.wait_for(async move {
            for id in ids {
                // Gone already is fine.
                drop(runtime.signal(&id, libc::SIGKILL).await);
                drop(runtime.remove(&id).await);
            }
        });
        let until = self.state.containers.get(index).and_then(|c| match &c.run {
            Run::Ended(ended) => c.backoff.until(ended.finished),
            Run::Running(_) | Run::Waiting { .. } => None,
        });
        self.state.restart_all(now, until);
        self.report.dirty = true;
    }
}

/// Seconds as Go prints durations: `10s`, `1m20s`, `5m0s`.
fn go_duration(seconds: u32) -> String {
    match (seconds / 60, seconds % 60) {
        (0, s) => format!("{s}s"),
        (m, s) => format!("{m}m{s}s"),
    }
}
