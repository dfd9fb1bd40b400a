//! What a worker makes of starts, exits and resizes.

use super::events::Severity;
use super::operate::{self, StartFailure};
use super::probing;
use super::state::{Ended, Live, Run, later};
use super::view::Pod;
use super::worker::{Message, Worker};
use crate::runtime::{Exit, RuntimeError, Started};
use futures::FutureExt;
use jiff::Timestamp;
use std::sync::Arc;

/// How long a failed pull shows as `ErrImagePull` before it shows as held back, in seconds.
const PULL_ERROR_SHOWN: i64 = 2;

impl Worker {
    /// Puts changed bounds into effect on running containers.
    pub(super) fn resize(&mut self, before: &Pod) {
        let after = Arc::clone(self.pod());
        for (index, state) in self.state.containers.iter().enumerate() {
            let (Some(old), Some(new)) = (before.container(index), after.container(index)) else {
                continue;
            };
            let limits = operate::limits(new);
            let Some(live) = state.live().filter(|_| operate::limits(old) != limits) else {
                continue;
            };
            let (id, outbox) = (live.id.clone(), self.outbox.clone());
            let runtime = Arc::clone(&self.site.node.runtime);
            tokio::spawn(async move {
                let result = runtime.resize(&id, limits).await;
                outbox.send(Message::Resized { index, result });
            });
        }
    }

    pub(super) fn resized(&mut self, index: usize, result: Result<(), RuntimeError>) {
        let name = self.pod().container(index).map_or("", |c| c.name.as_str());
        match result {
            Ok(()) => {
                let message = format!("Pod resize completed: container {name}");
                self.event(Some(index), Severity::Normal, ("ResizeCompleted", message));
            }
            Err(error @ RuntimeError::ResizeDeferred { .. }) => {
                let message = format!("Pod resize Deferred: container {name}: {error}");
                self.event(Some(index), Severity::Warning, ("ResizeDeferred", message));
            }
            Err(error) => {
                let message = format!("Pod resize failed: container {name}: {error}");
                self.event(Some(index), Severity::Warning, ("ResizeError", message));
            }
        }
        self.report.dirty = true;
    }

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
        container.image_backoff = super::state::Backoff::default();
        container.running(Live {
            id: container_id.clone(),
            image_id,
            since: now,
        });
        probing::arm(spec, container, now);
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

    pub(super) fn start_failed(&mut self, index: usize, failure: StartFailure, now: Timestamp) {
        let pod = Arc::clone(self.pod());
        let Some(spec) = pod.container(index) else {
            return;
        };
        let Some(container) = self.state.containers.get_mut(index) else {
            return;
        };
        let StartFailure { reason, message } = failure;
        let (pull, until) = match reason {
            "ErrImagePull" => {
                // Shown as such for a moment; the plan then shows it as held back.
                container.image_backoff.raise(now, now);
                (true, Some(later(now, PULL_ERROR_SHOWN)))
            }
            "InvalidImageName" | "ErrImageNeverPull" | "CreateContainerConfigError" => {
                (false, Some(later(now, 10)))
            }
            _ => {
                container.backoff.raise(now, now);
                (false, container.backoff.until(now))
            }
        };
        let image = &spec.image;
        container.run = Run::Waiting {
            reason,
            message: message.clone(),
            until,
        };
        if pull {
            let what = (
                "Failed",
                format!("Failed to pull image {image:?}: {message}"),
            );
            self.event(Some(index), Severity::Warning, what);
            self.event(
                Some(index),
                Severity::Warning,
                ("Failed", "Error: ErrImagePull".to_owned()),
            );
        } else {
            self.event(
                Some(index),
                Severity::Warning,
                ("Failed", format!("Error: {message}")),
            );
        }
    }
}
