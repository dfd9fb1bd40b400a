//! Empties a node: its pods leave in waves, lowest priority first.

use super::evict::grace;
use super::outcome::{Failure, Phase};
use super::recheck::{Judge, Kind, Residents};
use super::signal::{Listener, within};
use super::{Course, Shared, priorities};
use crate::pods::PodView;
use crate::runtime::ObjectKey;
use futures::StreamExt;
use futures::stream;
use jiff::SignedDuration;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Evictions asked for at once, a node.
const AT_ONCE: usize = 32;
/// How long pods that only may leave are waited for.
const SPARE: Duration = Duration::from_secs(30);
/// Annotations of a node with this prefix hold its deletion back.
const DELAY: &str = "delay-deletion.cluster-autoscaler.kubernetes.io/";

impl Shared {
    /// Looks at the node once more, and makes its pods leave.
    pub(super) async fn empty(&self, course: &Course) -> Result<(), Failure> {
        let name = &course.removal.node;
        let Some(node) = self.context.caches.nodes.find("", name) else {
            // Whoever deleted the Node object: its machine has to go all the same.
            return Ok(());
        };
        if super::taint::mark(&node).is_none() {
            let why = "somebody removed the taint ToBeDeletedByClusterAutoscaler";
            return Err(Failure::Blocked(why.to_owned()));
        }
        let kind = if course.drain {
            Kind::Drain
        } else {
            Kind::Empty
        };
        let pods = self.context.caches.pods_by_node.get(name);
        let (settings, caches) = (&self.settings.evictions, &self.context.caches);
        let judge = Judge::new(settings, caches, self.context.clock.now());
        let residents = judge.look(&node, &pods, kind)?;
        if course.drain {
            self.ledger.phase(name, Phase::Draining);
        }
        let mut listener = self.signal.listen();
        self.drain(name, residents, &mut listener).await?;
        self.ledger.phase(name, Phase::Waiting);
        self.wait_for_delays(name, &mut listener).await;
        Ok(())
    }

    async fn drain(
        &self,
        node: &str,
        residents: Residents,
        listener: &mut Listener,
    ) -> Result<(), Failure> {
        let must = residents.must.into_iter().map(|pod| (pod, true));
        let may = residents.may.into_iter().map(|pod| (pod, false));
        let waves = &self.settings.evictions.waves;
        let waves = priorities::sort(waves, must.chain(may), |(pod, _)| pod.priority);
        for (wave, pods) in waves {
            let (must, may): (Vec<_>, Vec<_>) = pods.into_iter().partition(|(_, must)| *must);
            let plain = |pods: Vec<(Arc<PodView>, bool)>| -> Vec<Arc<PodView>> {
                pods.into_iter().map(|(pod, _)| pod).collect()
            };
            self.evict_all(&plain(must), wave.grace, node, listener)
                .await?;
            self.spare(&plain(may), wave.grace, node, listener).await;
        }
        Ok(())
    }

    /// Evicts pods and waits until they are gone.
    async fn evict_all(
        &self,
        pods: &[Arc<PodView>],
        limit: Duration,
        node: &str,
        listener: &mut Listener,
    ) -> Result<(), Failure> {
        let settings = &self.settings.evictions;
        let end = within(settings.max_time);
        let answers = self.evict_each(pods, limit, end).await;
        if !answers.is_empty() {
            self.say_refused(pods, &answers);
            return Err(Failure::Evict(answers));
        }
        let longest = pods.iter().map(|pod| grace(pod, limit)).max();
        let end = within(
            longest
                .unwrap_or_default()
                .saturating_add(settings.headroom),
        );
        let remaining = self.wait_until_gone(pods, node, end, listener).await;
        if remaining.is_empty() {
            Ok(())
        } else {
            Err(Failure::Remaining(remaining))
        }
    }

    fn say_refused(&self, pods: &[Arc<PodView>], refused: &[(ObjectKey, String)]) {
        for pod in pods {
            if refused.iter().any(|(key, _)| *key == pod.meta.key) {
                self.ledger.not_evicted();
                self.told.not_evicted(pod);
            }
        }
    }

    /// Evicts pods that may as well go down with the node, with one attempt each.
    async fn spare(
        &self,
        pods: &[Arc<PodView>],
        limit: Duration,
        node: &str,
        listener: &mut Listener,
    ) {
        let limit = limit.min(SPARE);
        let end = within(limit);
        let refused = self.evict_each(pods, limit, Instant::now()).await;
        let is_refused = |pod: &Arc<PodView>| refused.iter().any(|(key, _)| *key == pod.meta.key);
        let gone: Vec<_> = pods
            .iter()
            .filter(|pod| !is_refused(pod))
            .cloned()
            .collect();
        let remaining = self.wait_until_gone(&gone, node, end, listener).await;
        for (pod, why) in refused {
            tracing::debug!(%pod, node, why, "goes down with its node");
        }
        for pod in remaining {
            tracing::debug!(%pod, node, "goes down with its node");
        }
    }

    /// Evicts pods at once; answers those that did not go, and why.
    async fn evict_each(
        &self,
        pods: &[Arc<PodView>],
        limit: Duration,
        end: Instant,
    ) -> Vec<(ObjectKey, String)> {
        let asking = stream::iter(pods.iter().cloned()).map(|pod| async move {
            let answer = self.evict(&pod, limit, end).await;
            answer.err().map(|why| (pod.meta.key.clone(), why))
        });
        let mut answers: Vec<_> = asking
            .buffer_unordered(AT_ONCE)
            .filter_map(futures::future::ready)
            .collect()
            .await;
        answers.sort();
        answers
    }

    /// Waits until these pods have left, or the time is up; answers those that are still there.
    async fn wait_until_gone(
        &self,
        pods: &[Arc<PodView>],
        node: &str,
        end: Instant,
        listener: &mut Listener,
    ) -> Vec<ObjectKey> {
        loop {
            let here = pods.iter().filter(|pod| self.is_there(pod, node));
            let here: Vec<_> = here.map(|pod| pod.meta.key.clone()).collect();
            let left = end.saturating_duration_since(Instant::now());
            if here.is_empty() || left.is_zero() {
                return here;
            }
            listener.changed(left).await;
        }
    }

    /// Whether a pod has to be waited for. On a node that does not work nobody will tell that it
    /// has ended: there its time counts, as it does where the node is gone.
    fn is_there(&self, pod: &PodView, node: &str) -> bool {
        let caches = &self.context.caches;
        let now = caches.pods.get(&pod.meta.key);
        let Some(now) = now.filter(|now| now.meta.uid == pod.meta.uid) else {
            return false;
        };
        if now.phase.is_terminal() && now.meta.is_deleting() {
            return false;
        }
        match caches.nodes.find("", node) {
            Some(node) if node.is_ready() => true,
            Some(_) => !self.is_overdue(&now),
            None => false,
        }
    }

    fn is_overdue(&self, pod: &PodView) -> bool {
        let now = self.context.clock.now();
        let headroom = SignedDuration::try_from(self.settings.evictions.headroom);
        let headroom = headroom.unwrap_or(SignedDuration::MAX);
        let due = |end| now.duration_since(end) + SignedDuration::from_secs(1) >= headroom;
        pod.meta.deleting.is_some_and(due)
    }

    /// Waits while annotations hold the deletion back, but not for ever.
    async fn wait_for_delays(&self, node: &str, listener: &mut Listener) {
        let end = within(self.settings.delay_timeout);
        loop {
            let held = self.context.caches.nodes.find("", node);
            let held = held.is_some_and(|node| {
                let mut names = node.meta.annotations.iter();
                names.any(|(name, _)| name.starts_with(DELAY))
            });
            let left = end.saturating_duration_since(Instant::now());
            if !held {
                return;
            }
            if left.is_zero() {
                return tracing::warn!(node, "Delay node deletion timed out");
            }
            listener.changed(left).await;
        }
    }
}
