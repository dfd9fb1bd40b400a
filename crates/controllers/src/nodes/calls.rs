//! Orders for nodes: each group's runs beside the others', and a failure is known at once.

use jiff::Timestamp;
use plimsoll_api::nodegroup::{ErrorClass, NodeProvider, ProviderError};
use plimsoll_engine::cluster::{GroupId, GrowthPlan, Resize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How an order ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) resize: Resize,
    pub(super) result: Result<(), ProviderError>,
    /// The plan and those of its orders that were taken, when this was its last.
    pub(super) finished: Option<(Arc<GrowthPlan>, Vec<Resize>)>,
}

#[derive(Debug)]
struct Batch {
    plan: Arc<GrowthPlan>,
    open: usize,
    taken: Vec<Resize>,
}

/// Whether a group takes all nodes or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    AsManyAsThereAre,
    AllOrNone,
}

/// Orders under way.
#[derive(Debug, Default)]
pub(super) struct Calls {
    tasks: JoinSet<(Resize, u64, Result<(), ProviderError>)>,
    batches: BTreeMap<u64, Batch>,
    /// The size that each group has been ordered to have, and when.
    open: BTreeMap<GroupId, (usize, Timestamp)>,
    last: u64,
}

impl Calls {
    /// The size a group has been ordered to have, while the order is under way.
    pub(super) fn ordered(&self, group: &str) -> Option<usize> {
        self.open.get(group).map(|(size, _)| *size)
    }

    /// Begins the orders of a plan. None of the groups may have one under way.
    pub(super) fn begin(
        &mut self,
        plan: &Arc<GrowthPlan>,
        orders: Vec<(Resize, Manner)>,
        provider: &Arc<dyn NodeProvider>,
        (timeout, now): (Duration, Timestamp),
    ) {
        if orders.is_empty() {
            return;
        }
        self.last += 1;
        let number = self.last;
        let batch = Batch {
            plan: Arc::clone(plan),
            open: orders.len(),
            taken: Vec::new(),
        };
        self.batches.insert(number, batch);
        for (resize, manner) in orders {
            self.open
                .insert(Arc::clone(&resize.group), (resize.to, now));
            let provider = Arc::clone(provider);
            self.tasks.spawn(async move {
                let result = order(&*provider, &resize, manner, timeout).await;
                (resize, number, result)
            });
        }
    }

    /// Waits for the next order to end; for ever if there is none.
    pub(super) async fn next(&mut self) -> Ended {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((resize, number, result))) => return self.end(resize, number, result),
                // Nobody cancels orders but the end, and a panic has been told.
                Some(Err(_)) => {
                    if self.tasks.is_empty() {
                        self.open.clear();
                        self.batches.clear();
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    fn end(&mut self, resize: Resize, number: u64, result: Result<(), ProviderError>) -> Ended {
        self.open.remove(&resize.group);
        let mut finished = None;
        if let Some(batch) = self.batches.get_mut(&number) {
            batch.open = batch.open.saturating_sub(1);
            if result.is_ok() {
                batch.taken.push(resize.clone());
            }
            if batch.open == 0
                && let Some(batch) = self.batches.remove(&number)
            {
                finished = Some((batch.plan, batch.taken));
            }
        }
        Ended {
            resize,
            result,
            finished,
        }
    }
}

async fn order(
    provider: &dyn NodeProvider,
    resize: &Resize,
    manner: Manner,
    timeout: Duration,
) -> Result<(), ProviderError> {
    let delta = resize.to.saturating_sub(resize.from);
    let work = async {
        match manner {
            Manner::AsManyAsThereAre => provider.increase(&resize.group, delta).await,
            Manner::AllOrNone => provider.increase_atomically(&resize.group, delta).await,
        }
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(late(timeout)),
    }
}

/// The provider has not answered.
pub(super) fn late(timeout: Duration) -> ProviderError {
    let message = format!(
        "the provider has not answered within {} s",
        timeout.as_secs()
    );
    ProviderError::new(ErrorClass::Unreachable, message)
}
