//! Logs, exec and attach for the API server.

use super::Agents;
use super::board::{ContainerEntry, PodEntry, Shown};
use crate::log;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use plimsoll_api::node::{
    Connection, ContainerRef, Destination, LogOptions, NodeBackend, Session, StreamOptions,
};
use plimsoll_api::status::ApiError;
use std::io;

impl Agents {
    fn find(&self, wanted: &ContainerRef) -> Result<(PodEntry, ContainerEntry), ApiError> {
        let ContainerRef {
            namespace,
            pod,
            container,
        } = wanted;
        let creating = || {
            ApiError::bad_request(format!(
                "container {container:?} in pod {pod:?} is waiting to start: ContainerCreating"
            ))
        };
        let entry = self.shared.board.get(namespace, pod).ok_or_else(creating)?;
        let found = entry
            .containers
            .iter()
            .find(|c| *c.name == **container)
            .cloned();
        let found = found.ok_or_else(|| {
            ApiError::bad_request(format!("container {container} is not valid for pod {pod}"))
        })?;
        Ok((entry, found))
    }

    fn running(&self, wanted: &ContainerRef) -> Result<(PodEntry, String), ApiError> {
        let (entry, container) = self.find(wanted)?;
        match container.shown {
            Shown::Running(id, _) => Ok((entry, id.to_string())),
            Shown::Waiting(_) | Shown::Ended => Err(ApiError::internal(format!(
                "unable to upgrade connection: container not found ({:?})",
                wanted.container
            ))),
        }
    }
}

/// The instance whose log is asked for.
fn instance(
    wanted: &ContainerRef,
    container: &ContainerEntry,
    previous: bool,
) -> Result<u32, ApiError> {
    let ContainerRef {
        pod,
        container: name,
        ..
    } = wanted;
    match (&container.shown, previous) {
        (Shown::Waiting(reason), false) if !container.has_previous => Err(ApiError::bad_request(
            format!("container {name:?} in pod {pod:?} is waiting to start: {reason}"),
        )),
        (_, true) if !container.has_previous => Err(ApiError::bad_request(format!(
            "previous terminated container {name:?} in pod {pod:?} not found"
        ))),
        // While it waits for its next start, its last instance is also its previous one.
        (Shown::Waiting(_), _) | (_, false) => Ok(container.attempt),
        (Shown::Running(..) | Shown::Ended, true) => Ok(container.attempt.saturating_sub(1)),
    }
}

#[async_trait]
impl NodeBackend for Agents {
    async fn logs(
        &self,
        container: ContainerRef,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Bytes>, ApiError> {
        let (entry, found) = self.find(&container)?;
        let attempt = instance(&container, &found, options.previous)?;
        if !entry.runtime.runs_processes() {
            let ContainerRef {
                namespace,
                pod,
                container,
            } = container;
            let line = format!("simulated container {container} of pod {namespace}/{pod}\n");
            return Ok(futures::stream::iter([Bytes::from(line)]).boxed());
        }
        let path = entry.logs.join(&*found.name).join(format!("{attempt}.log"));
        let board = self.shared.board.clone();
        let is_live = move || {
            let entry = board.get(&container.namespace, &container.pod);
            let found = entry.and_then(|e| {
                e.containers
                    .into_iter()
                    .find(|c| *c.name == *container.container)
            });
            found.is_some_and(|c| c.attempt == attempt && matches!(c.shown, Shown::Running(..)))
        };
        Ok(log::stream(path, options, is_live))
    }

    async fn exec(
        &self,
        container: ContainerRef,
        options: StreamOptions,
    ) -> Result<Session, ApiError> {
        let (entry, id) = self.running(&container)?;
        let session = entry
            .runtime
            .exec(&id, options.command, options.tty, options.stdin)
            .await;
        session
            .map_err(|e| ApiError::internal(format!("error executing command in container: {e}")))
    }

    async fn attach(
        &self,
        container: ContainerRef,
        options: StreamOptions,
    ) -> Result<Session, ApiError> {
        let (entry, id) = self.running(&container)?;
        let session = entry.runtime.attach(&id, options.stdin).await;
        session.map_err(|e| ApiError::internal(format!("error attaching to container: {e}")))
    }

    async fn connect(&self, to: Destination) -> io::Result<Connection> {
        self.dial(to).await
    }
}
