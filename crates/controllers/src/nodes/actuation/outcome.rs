//! What became of removals.

use crate::runtime::ObjectKey;
use jiff::Timestamp;
use plimsoll_api::nodegroup::ProviderError;
use plimsoll_engine::cluster::{GroupId, RemovalCause};
use std::fmt;
use std::sync::Arc;

/// How far a removal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its taint is written.
    Marking,
    /// Schedulers get time to see the taint.
    Settling,
    /// Its pods leave.
    Draining,
    /// Annotations hold it back, or deletions are gathered.
    Waiting,
    /// The provider is asked.
    Deleting,
    /// It failed, and what was done to the node is undone.
    RollingBack,
    /// The provider agreed; the node has not disappeared yet. No deletion is in progress any more.
    Leaving,
}

/// A removal under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Node.
    pub node: Arc<str>,
    /// Its group.
    pub group: GroupId,
    /// Whether pods have to be moved.
    pub drain: bool,
    /// How far it is.
    pub phase: Phase,
    /// When it began.
    pub since: Timestamp,
    /// When the phase began.
    pub phase_since: Timestamp,
}

/// How one removal ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Node.
    pub node: Arc<str>,
    /// Its group.
    pub group: GroupId,
    /// Why it was to go.
    pub reason: RemovalCause,
    /// When it ended.
    pub at: Timestamp,
    /// `Ok` once the provider agreed.
    pub result: Result<(), Failure>,
}

/// Why a node stays after all.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Failure {
    /// Its taint could not be written.
    #[error("failed to mark the node as toBeDeleted/unschedulable: {0}")]
    Mark(String),
    /// The Node object was gone before anything was done.
    #[error("the node is gone")]
    Gone,
    /// It was empty and is not any more.
    #[error("failed to delete empty node: new pods scheduled: {}", List(.0))]
    NotEmpty(Vec<ObjectKey>),
    /// A pod must not be moved, or somebody wants to keep the node.
    #[error("{0}")]
    Blocked(String),
    /// Evictions were refused until the time was up: the pods with the last answer to each.
    #[error("failed to drain the node: {}", Refusals(.0))]
    Evict(Vec<(ObjectKey, String)>),
    /// Evicted pods have not ended in time.
    #[error("failed to drain the node: pods remaining after timeout: {}", List(.0))]
    Remaining(Vec<ObjectKey>),
    /// The provider refused.
    #[error("failed to delete the node: {0}")]
    Provider(ProviderError),
    /// Its group goes as a whole, and another node of it stays.
    #[error("the group goes as a whole, and node {0} stays")]
    Sibling(Arc<str>),
    /// The provider agreed, but the node is still there.
    #[error("the provider agreed to remove the node, but it is still there after {0:?}")]
    Stayed(std::time::Duration),
}

struct List<'a>(&'a [ObjectKey]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, key) in self.0.iter().enumerate() {
            write!(f, "{}{key}", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

struct Refusals<'a>(&'a [(ObjectKey, String)]);

impl fmt::Display for Refusals<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (key, why)) in self.0.iter().enumerate() {
            write!(f, "{}{key}: {why}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use crate::runtime::ObjectKey;

    #[test]
    fn a_failure_names_the_pods() {
        let pods = vec![ObjectKey::new("a", "x"), ObjectKey::new("b", "y")];
        let text = Failure::Remaining(pods).to_string();
        assert_eq!(
            text,
            "failed to drain the node: pods remaining after timeout: a/x, b/y"
        );
        let refusals = vec![(ObjectKey::new("a", "x"), "no".to_owned())];
        let text = Failure::Evict(refusals).to_string();
        assert_eq!(text, "failed to drain the node: a/x: no");
    }
}
