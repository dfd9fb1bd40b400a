//! Asks the provider to remove machines, those of one group that come at once in one call.

use super::Shared;
use super::outcome::Failure;
use parking_lot::Mutex;
use plimsoll_api::nodegroup::{ErrorClass, NodeRef, ProviderError};
use plimsoll_engine::cluster::GroupId;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// Deletions this close together share one call.
const TOGETHER: Duration = Duration::from_millis(50);

type Answer = Result<(), ProviderError>;

#[derive(Debug)]
struct Waiting {
    node: NodeRef,
    answer: oneshot::Sender<Answer>,
}

/// Deletions that are being gathered, by group. The first of a group makes the call for all.
#[derive(Debug, Default)]
pub(super) struct Batches(Mutex<BTreeMap<GroupId, Vec<Waiting>>>);

impl Shared {
    /// Removes these machines together or not at all, as far as the provider can.
    pub(super) async fn delete_together(
        &self,
        group: &GroupId,
        nodes: &[NodeRef],
    ) -> Result<(), Failure> {
        self.call_delete(group, nodes)
            .await
            .map_err(Failure::Provider)
    }

    /// Removes one machine, together with others of its group that come at about the same time.
    pub(super) async fn delete_one(&self, group: &GroupId, node: NodeRef) -> Result<(), Failure> {
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting {
            node,
            answer: sender,
        };
        if self.gather(group, waiting) {
            tokio::time::sleep(self.settings.batch_interval.max(TOGETHER)).await;
            let gathered = self.batches.0.lock().remove(group).unwrap_or_default();
            self.delete_gathered(group, gathered).await;
        }
        let lost = || ProviderError::new(ErrorClass::Other, "the deletion was given up");
        let answer = receiver.await.unwrap_or_else(|_| Err(lost()));
        answer.map_err(Failure::Provider)
    }

    /// Adds to a group's batch; answers whether it is the first.
    fn gather(&self, group: &GroupId, waiting: Waiting) -> bool {
        let mut batches = self.batches.0.lock();
        let batch = batches.entry(GroupId::clone(group)).or_default();
        batch.push(waiting);
        batch.len() == 1
    }

    /// One call for all; if it fails, one for each, so that one bad machine keeps no other.
    async fn delete_gathered(&self, group: &GroupId, gathered: Vec<Waiting>) {
        let nodes: Vec<NodeRef> = gathered.iter().map(|one| one.node.clone()).collect();
        let answer = self.call_delete(group, &nodes).await;
        if answer.is_ok() || nodes.len() < 2 {
            for one in gathered {
                drop(one.answer.send(answer.clone()));
            }
            return;
        }
        for one in gathered {
            let answer = self.call_delete(group, std::slice::from_ref(&one.node));
            drop(one.answer.send(answer.await));
        }
    }

    /// The call itself, which may not take for ever.
    pub(super) async fn call_delete(&self, group: &str, nodes: &[NodeRef]) -> Answer {
        let limit = self.settings.provider_timeout;
        let call = self.provider.delete(group, nodes);
        let answer = tokio::time::timeout(limit, call).await;
        answer.unwrap_or_else(|_| Err(silent(limit)))
    }
}

/// The provider has not answered.
pub(super) fn silent(limit: Duration) -> ProviderError {
    let message = format!("the provider did not answer within {limit:?}");
    ProviderError::new(ErrorClass::Unreachable, message)
}
