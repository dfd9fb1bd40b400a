//! Writes taints and cordons.

use super::taint::Edit;
use crate::pods::NodeView;
use crate::runtime::{Cache, Cached, ObjectKey, WriteError, Writer, chain};
use kube::Api;
use std::sync::Arc;
use std::time::Duration;

/// How often a write is tried against concurrent ones.
const ATTEMPTS: u32 = 10;
/// Pause after the first lost race; grows with each.
const PAUSE: Duration = Duration::from_millis(20);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);
/// First and longest pause between attempts that have to succeed in the end.
const PERSISTENT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Why a node could not be changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum EditError {
    /// There is no such node.
    #[error("the node is gone")]
    Gone,
    /// The server refused.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It could not be read anew.
    #[error("cannot read the node")]
    Read(#[source] Box<kube::Error>),
    /// Others always came first.
    #[error("the node changes all the time")]
    Raced,
    /// The server does not answer.
    #[error("no answer within {REQUEST:?}")]
    Silent,
}

impl EditError {
    /// With its causes.
    pub(super) fn text(&self) -> String {
        if let Self::Write(error) = self {
            return error.message();
        }
        chain(self)
    }
}

/// Changes nodes.
#[derive(Debug, Clone)]
pub(super) struct Marker {
    writer: Writer,
    nodes: Cache<NodeView>,
}

impl Marker {
    pub(super) fn new(writer: &Writer, nodes: &Cache<NodeView>) -> Self {
        Self {
            writer: writer.managed_by("cluster-autoscaler"),
            nodes: nodes.clone(),
        }
    }

    /// Changes the node to what `edit` makes of it, however it changes meanwhile; answers the node
    /// as it is then. `None` from `edit` means that it is right as it is.
    pub(super) async fn edit(
        &self,
        name: &str,
        edit: impl Fn(&NodeView) -> Result<Option<Edit>, EditError> + Send + Sync,
    ) -> Result<Arc<NodeView>, EditError> {
        let node = self.nodes.find("", name).ok_or(EditError::Gone)?;
        self.edit_from(node, name, edit).await
    }

    async fn edit_from(
        &self,
        mut node: Arc<NodeView>,
        name: &str,
        edit: impl Fn(&NodeView) -> Result<Option<Edit>, EditError> + Send + Sync,
    ) -> Result<Arc<NodeView>, EditError> {
        for attempt in 1..=ATTEMPTS {
            let Some(change) = edit(&node)? else {
                return Ok(node);
            };
            let (key, patch) = (ObjectKey::new("", name), change.patch(&node));
            let writing = self.writer.patch(&self.nodes, &key, &patch);
            let written = tokio::time::timeout(REQUEST, writing).await;
            match written.map_err(|_| EditError::Silent)? {
                Ok(node) => return Ok(node),
                Err(error) if error.is_not_found() => return Err(EditError::Gone),
                Err(error) if error.is_conflict() => {}
                Err(error) => return Err(error.into()),
            }
            tokio::time::sleep(PAUSE * attempt).await;
            node = self.read(name).await?;
        }
        Err(EditError::Raced)
    }

    /// The same, until it succeeds or the node is gone. The node is read anew each time: what is
    /// cached may not show yet what has to be undone.
    pub(super) async fn insist(
        &self,
        name: &str,
        edit: impl Fn(&NodeView) -> Option<Edit> + Send + Sync,
    ) {
        let (mut pause, longest) = PERSISTENT;
        loop {
            let error = match self.read(name).await {
                Ok(node) => self
                    .edit_from(node, name, |node| Ok(edit(node)))
                    .await
                    .err(),
                Err(error) => Some(error),
            };
            let Some(error) = error.filter(|error| !matches!(error, EditError::Gone)) else {
                return;
            };
            tracing::warn!(node = name, error = error.text(), "node not released yet");
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    async fn read(&self, name: &str) -> Result<Arc<NodeView>, EditError> {
        let api: Api<<NodeView as Cached>::Wire> = Api::all(self.writer.client().clone());
        let reading = tokio::time::timeout(REQUEST, api.get_opt(name)).await;
        match reading.map_err(|_| EditError::Silent)? {
            Ok(Some(node)) => Ok(self.nodes.observe(node)),
            Ok(None) => Err(EditError::Gone),
            Err(error) => Err(EditError::Read(Box::new(error))),
        }
    }
}
