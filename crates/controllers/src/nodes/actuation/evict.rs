//! Evicts pods through the eviction API, which asks their disruption budgets each time.

use super::Shared;
use super::signal::within;
use crate::pods::{PodView, PodWire};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// First pause between two attempts; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(30);
/// Grace period of a pod that names none, in seconds.
const GRACE: i64 = 30;

/// The grace period a pod gets: its own, and `limit` at most.
pub(super) fn grace(pod: &PodView, limit: Duration) -> Duration {
    let own = u64::try_from(pod.grace_seconds.unwrap_or(GRACE)).unwrap_or_default();
    Duration::from_secs(own).min(limit)
}

impl Shared {
    /// Evicts a pod, with new attempts until `end`.
    ///
    /// # Errors
    /// The last answer, in words.
    pub(super) async fn evict(
        &self,
        pod: &Arc<PodView>,
        limit: Duration,
        end: Instant,
    ) -> Result<(), String> {
        let grace = grace(pod, limit);
        if self.ends_by_itself(pod, grace) {
            return Ok(());
        }
        self.told.evicts(pod);
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match self.ask(pod, grace).await {
                Ok(()) => {
                    self.ledger.evicted(pod);
                    return Ok(());
                }
                Err(why) => why,
            };
            if within(pause) > end {
                return Err(why);
            }
            tokio::time::sleep(pause).await;
            pause = pause.saturating_mul(2).min(self.settings.evictions.retry);
        }
    }

    /// Whether a pod is on its way out already, and no later than it would be by an eviction.
    fn ends_by_itself(&self, pod: &PodView, grace: Duration) -> bool {
        let now = self.context.clock.now();
        pod.meta.deleting.is_some_and(|end| {
            let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
            left <= grace
        })
    }

    /// One attempt. A pod that is gone, or another by this name, is a success.
    async fn ask(&self, pod: &PodView, grace: Duration) -> Result<(), String> {
        let key = &pod.meta.key;
        let body = json!({
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": *key.name, "namespace": *key.namespace},
            "deleteOptions": {
                "gracePeriodSeconds": grace.as_secs(), "preconditions": {"uid": *pod.meta.uid},
            },
        });
        let writer = &self.context.writer;
        let asking = writer.post_subresource::<PodWire>(key, "eviction", &body);
        match tokio::time::timeout(REQUEST, asking).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) if error.is_not_found() || error.is_conflict() => Ok(()),
            Ok(Err(error)) => Err(error.message()),
            Err(_) => Err(format!("no answer within {REQUEST:?}")),
        }
    }
}
