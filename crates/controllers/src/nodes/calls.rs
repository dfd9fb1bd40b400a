//! Orders for nodes: each group's runs beside the others', and a failure is known at once.

use futures::FutureExt;
use jiff::Timestamp;
use plimsoll_api::nodegroup::{ErrorClass, NodeProvider, ProviderError};
use plimsoll_engine::cluster::{GroupId, GrowthPlan, Resize};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How long a provider may go on telling a group's old size after it has taken an order.
const LAG: Duration = Duration::from_secs(90);

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
    /// The size that each group was last set to, and when.
    taken: BTreeMap<GroupId, (usize, Instant)>,
    last: u64,
}

impl Calls {
    /// The size a group has been ordered to have, while the order is under way.
    pub(super) fn ordered(&self, group: &str) -> Option<usize> {
        self.open.get(group).map(|(size, _)| *size)
    }

    /// Whether any order is under way.
    pub(super) fn any(&self) -> Option<&GroupId> {
        self.open.keys().next()
    }

    /// The size of a group that is said to have `told`: a provider that has just taken an order may
    /// take a while to say so, and must not be given it twice.
    pub(super) fn believed(&mut self, group: &str, told: usize) -> usize {
        match self.taken.get(group) {
            Some((size, at)) if told < *size && at.elapsed() < LAG => *size,
            Some(_) => {
                self.taken.remove(group);
                told
            }
            None => told,
        }
    }

    /// The group was made smaller since.
    pub(super) fn forget(&mut self, group: &str) {
        self.taken.remove(group);
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
                let order = order(&*provider, &resize, manner, timeout);
                let result = AssertUnwindSafe(order).catch_unwind().await;
                let result = result.unwrap_or_else(|_| Err(broken()));
                (resize, number, result)
            });
        }
    }

    /// Waits for the next order to end; for ever if there is none.
    pub(super) async fn next(&mut self) -> Ended {
        loop {
            match self.tasks.join_next().await {
                Some(Ok((resize, number, result))) => return self.end(resize, number, result),
                // Nobody cancels orders but the end, and panics are caught.
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
        if result.is_ok() {
            let taken = (resize.to, Instant::now());
            self.taken.insert(Arc::clone(&resize.group), taken);
        }
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
            Manner::AllOrNone => {
                let all = provider.increase_atomically(&resize.group, delta).await;
                match all {
                    // Parity: where that is not offered, an order is an order.
                    Err(error) if error.class == ErrorClass::Unsupported => {
                        provider.increase(&resize.group, delta).await
                    }
                    taken => taken,
                }
            }
        }
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(result) => result,
        Err(_) => Err(late(timeout)),
    }
}

/// The provider's code panicked, which has been told.
fn broken() -> ProviderError {
    ProviderError::new(ErrorClass::Other, "the provider's code failed")
}

/// The provider has not answered.
pub(super) fn late(timeout: Duration) -> ProviderError {
    let message = format!(
        "the provider has not answered within {} s",
        timeout.as_secs()
    );
    ProviderError::new(ErrorClass::Unreachable, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn plan() -> Arc<GrowthPlan> {
        Arc::new(GrowthPlan {
            outcome: plimsoll_engine::cluster::GrowthOutcome::Successful,
            resizes: Vec::new(),
            atomic: BTreeSet::new(),
            options: Vec::new(),
            groups: BTreeMap::new(),
            pods: BTreeMap::new(),
            trace: Vec::new(),
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_order_is_believed_before_the_provider_shows_it() {
        let mut calls = Calls::default();
        let resize = Resize {
            group: "g".into(),
            from: 1,
            to: 4,
            max: 9,
        };
        let batch = Batch {
            plan: plan(),
            open: 1,
            taken: Vec::new(),
        };
        calls.batches.insert(1, batch);
        let ended = calls.end(resize, 1, Ok(()));
        assert_eq!(ended.finished.unwrap().1.len(), 1);
        assert_eq!(calls.believed("g", 1), 4);
        tokio::time::sleep(LAG).await;
        assert_eq!(calls.believed("g", 1), 1, "it has had its time");
        assert_eq!(calls.believed("g", 4), 4);
    }
}
