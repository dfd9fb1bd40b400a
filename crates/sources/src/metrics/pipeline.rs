//! One place through which every measurement passes.

use plimsoll_api::usage::{Samples, UsageStore};
use std::sync::Arc;
use tokio::sync::broadcast;

/// Rounds a slow subscriber may fall behind before it misses some. Missing is harmless: the newest
/// values are always in the store.
const BACKLOG: usize = 256;

/// Stores measurements and tells who waits for them. Clones share everything.
#[derive(Debug, Clone)]
pub struct Pipeline {
    /// The newest usage of every pod and node.
    pub usage: UsageStore,
    rounds: broadcast::Sender<Arc<Samples>>,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new()
    }
}

impl Pipeline {
    /// A pipeline with an empty store.
    pub fn new() -> Self {
        Self {
            usage: UsageStore::default(),
            rounds: broadcast::Sender::new(BACKLOG),
        }
    }

    /// Takes in one round of measurement: first the store, then the subscribers.
    pub fn publish(&self, samples: Samples) {
        self.usage.apply(&samples);
        // Nobody listening is fine.
        drop(self.rounds.send(Arc::new(samples)));
    }

    /// Says why nothing can be measured, or with `None` that it can be again. Subscribers hear of a
    /// change as of a round without samples.
    pub fn report_outage(&self, why: Option<&str>) {
        if self.usage.unavailable().as_deref() != why {
            self.usage.set_unavailable(why.map(Into::into));
            self.publish(Samples::default());
        }
    }

    /// Every round from now on. A receiver that lags loses rounds, not values.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Samples>> {
        self.rounds.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::Pipeline;
    use plimsoll_api::usage::{ContainerUsage, PodUsage, Samples};

    #[tokio::test]
    async fn a_round_is_stored_before_subscribers_hear_of_it() {
        let pipeline = Pipeline::new();
        let mut rounds = pipeline.subscribe();
        let name = ("default".into(), "web".into());
        let usage = PodUsage {
            timestamp: "2026-01-01T00:00:00Z".parse().unwrap(),
            window_ms: 1000,
            containers: [ContainerUsage {
                name: "c".into(),
                cpu_nano: 1,
                memory_bytes: 2,
            }]
            .into(),
        };
        let samples = Samples {
            pods: vec![(name, Some(usage))],
            nodes: Vec::new(),
        };
        pipeline.publish(samples);
        let round = rounds.recv().await.unwrap();
        assert!(pipeline.usage.pod(&round.pods[0].0).is_some());
    }
}
