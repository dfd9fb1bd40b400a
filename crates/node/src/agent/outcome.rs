//! What a worker makes of starts, exits and resizes.

use super::events::Severity;
use super::operate::StartFailure;
use super::probing;
use super::restart::{Verdict, verdict};
use super::state::{Backoff, Ended, Live, Run, later};
use super::view::Container;
use super::worker::Worker;
use crate::runtime::{Exit, Started};
use futures::FutureExt;
use jiff::Timestamp;
use std::sync::Arc;

/// How long a failure shows as what it is before it shows as held back, in seconds.
const FAILURE_SHOWN: i64 = 2;
/// After how many seconds what the container needs is looked for again.
const CONFIG_RETRY: i64 = 10;
/// Exit code of an instance whose program could not be started.
const NEVER_STARTED: i32 = 128;

impl Worker {
    pub(super) fn exited(&mut self, index: usize, id: &str, exit: &Exit) {
        let now = self.now();
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let Some(live) = container.live().filter(|live| live.id == id) else {
            return;
        };
        let message = self.site.last_message(index, container.restarts, exit.code);
        let reason = match exit {
            Exit {
                oom_killed: true, ..
            } => "OOMKilled",
            Exit { code: 0, .. } => "Completed",
            Exit { .. } => "Error",
        };
        let ended = Ended {
            id: live.id.clone(),
            image_id: live.image_id.clone(),
            code: exit.code,
            reason,
            message,
            started: Some(live.since),
            finished: now,
        };
        container.ended(ended);
        self.report.dirty = true;
        let (runtime, id) = (Arc::clone(&self.site.node.runtime), id.to_owned());
        tokio::spawn(async move { drop(runtime.remove(&id).await) });
    }

    pub(super) fn started(&mut self, index: usize, started: Started, now: Timestamp) {
        let pod = Arc::clone(self.pod());
        let Some(spec) = pod.container(index) else {
            return;
        };
        self.state.born(index);
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let failed_at = container.last.as_ref().map(|ended| ended.finished);
        if container.created || container.last.is_some() {
            container.restarts += 1;
            container.backoff.raise(failed_at.unwrap_or(now), now);
        }
        let Started {
            container_id,
            image_id,
            mut exit,
        } = started;
        let present = match image_id
            .split_once('@')
            .map_or(image_id.as_str(), |(name, _)| name)
        {
            stand_in if stand_in.starts_with("built-in/") => format!(" ({stand_in})"),
            _ => String::new(),
        };
        container.image_backoff = Backoff::default();
        container.running(Live {
            id: container_id.clone(),
            image_id,
            since: now,
        });
        let hook = spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
        if hook.is_some() && self.site.node.runtime.runs_processes() {
            self.run_start_hook(index, container_id.clone());
        } else {
            probing::arm(spec, container, now);
        }
        self.exits.push(
            async move {
                let seen = exit
                    .wait_for(Option::is_some)
                    .await
                    .ok()
                    .and_then(|seen| (*seen).clone());
                // Without an exit the runtime is gone, and the container with it.
                let killed = Exit {
                    code: 137,
                    signal: Some(libc::SIGKILL),
                    oom_killed: false,
                };
                (index, container_id, seen.unwrap_or(killed))
            }
            .boxed(),
        );
        self.tell_of_start(index, spec, &present);
    }

    fn tell_of_start(&self, index: usize, spec: &Container, present: &str) {
        let (name, image) = (&spec.name, &spec.image);
        let pulled = format!("Container image {image:?} already present on machine{present}");
        for (reason, message) in [
            ("Pulled", pulled),
            ("Created", format!("Created container: {name}")),
            ("Started", format!("Started container {name}")),
        ] {
            self.event(Some(index), Severity::Normal, (reason, message));
        }
    }

    /// The start hook of a container is through: only now it counts as started. Without it, the
    /// container ends.
    pub(super) fn hooked(&mut self, index: usize, result: Result<(), String>, now: Timestamp) {
        let pod = Arc::clone(self.pod());
        let Some(spec) = pod.container(index) else {
            return;
        };
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let runs = container.is_running();
        match result {
            Ok(()) if runs => probing::arm(spec, container, now),
            Ok(()) => {}
            Err(why) => {
                let what = (
                    "FailedPostStartHook",
                    format!("PostStartHook failed: {why}"),
                );
                self.event(Some(index), Severity::Warning, what);
                if runs {
                    let what = ("Killing", "FailedPostStartHook".to_owned());
                    self.event(Some(index), Severity::Normal, what);
                    self.stop(index, later(now, pod.grace_seconds()));
                }
            }
        }
    }

    pub(super) fn start_failed(&mut self, index: usize, failure: StartFailure, now: Timestamp) {
        let pod = Arc::clone(self.pod());
        let Some(spec) = pod.container(index) else {
            return;
        };
        let StartFailure { reason, message } = failure;
        let shown = ("Failed", format!("Error: {reason}"));
        match reason {
            "ErrImagePull" => {
                let image = &spec.image;
                let what = format!("Failed to pull image {image:?}: {message}");
                self.event(Some(index), Severity::Warning, ("Failed", what));
                self.event(Some(index), Severity::Warning, shown);
            }
            "ErrImageNeverPull" => {
                let what = ("ErrImageNeverPull", message.clone());
                self.event(Some(index), Severity::Warning, what);
                self.event(Some(index), Severity::Warning, shown);
            }
            "InvalidImageName" => {
                self.event(
                    Some(index),
                    Severity::Warning,
                    ("InspectFailed", message.clone()),
                );
                self.event(Some(index), Severity::Warning, shown);
            }
            _ => {
                let what = ("Failed", format!("Error: {message}"));
                self.event(Some(index), Severity::Warning, what);
            }
        }
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let until = match reason {
            "ErrImagePull" => {
                // Shown as such for a moment; the plan then shows it as held back.
                container.image_backoff.raise(now, now);
                later(now, FAILURE_SHOWN)
            }
            "RunContainerError" => return self.born_dead(index, message, now),
            _ => later(now, CONFIG_RETRY),
        };
        container.run = Run::Waiting {
            reason,
            message,
            until: Some(until),
        };
    }

    /// The runtime made the container, but its program did not start: that counts as an instance.
    fn born_dead(&mut self, index: usize, message: String, now: Timestamp) {
        self.state.born(index);
        let pod = Arc::clone(self.pod());
        let (uid, runtime) = (&pod.metadata.uid, self.site.node.runtime.name());
        let (Some(spec), Some(container)) =
            (pod.container(index), self.state.containers.get_mut(index))
        else {
            return;
        };
        container.restarts += u32::from(container.created || container.last.is_some());
        let failed_at = container.last.as_ref().map_or(now, |ended| ended.finished);
        container.backoff.raise(failed_at, now);
        container.created = true;
        let ended = Ended {
            id: format!("{runtime}://{uid}-{}-{}", spec.name, container.restarts),
            image_id: String::new(),
            code: NEVER_STARTED,
            reason: "StartError",
            message: message.clone(),
            started: Some(Timestamp::UNIX_EPOCH),
            finished: now,
        };
        container.ended(ended.clone());
        if verdict(&pod, spec, container, NEVER_STARTED) == Verdict::Stay {
            return;
        }
        container.last = Some(Box::new(ended));
        container.run = Run::Waiting {
            reason: "RunContainerError",
            message,
            until: Some(later(now, FAILURE_SHOWN)),
        };
    }
}
