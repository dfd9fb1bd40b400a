//! The course of one removal, or of all removals of a group that goes as a whole.

use super::marker::EditError;
use super::outcome::{Failure, Outcome, Phase};
use super::signal::within;
use super::{Shared, taint};
use crate::pods::NodeView;
use futures::future::{join, join_all, try_join_all};
use plimsoll_api::nodegroup::NodeRef;
use plimsoll_engine::cluster::{Removal, RemovalCause};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How late a write may come that nobody waits for any more: API servers end requests after 60 s.
const LATE: Duration = Duration::from_secs(90);

/// One removal.
#[derive(Debug, Clone)]
pub(super) struct Course {
    pub(super) removal: Removal,
    pub(super) drain: bool,
    pub(super) reason: RemovalCause,
    /// Uid of the Node object that was judged.
    pub(super) uid: Arc<str>,
    pub(super) reference: NodeRef,
}

/// Why a course ended early.
struct Stopped {
    node: Arc<str>,
    failure: Failure,
}

impl Course {
    pub(super) fn of(removal: &Removal, drain: bool, node: &NodeView) -> Self {
        Self {
            removal: removal.clone(),
            drain,
            reason: removal.cause,
            uid: Arc::clone(&node.meta.uid),
            reference: reference(node),
        }
    }

    fn stopped(&self, failure: Failure) -> Stopped {
        Stopped {
            node: Arc::clone(&self.removal.node),
            failure,
        }
    }
}

/// A node as providers know it.
pub(super) fn reference(node: &NodeView) -> NodeRef {
    NodeRef {
        name: Arc::clone(&node.meta.key.name),
        provider_id: Arc::clone(&node.provider_id),
        labels: node.meta.labels.to_vec(),
        annotations: node.meta.annotations.to_vec(),
    }
}

impl Shared {
    /// Carries removals out to the end: all of them go, or all of them stay.
    pub(super) async fn carry_out(&self, batch: &[Course]) {
        let Err(stopped) = self.follow(batch).await else {
            return self.see_off(batch).await;
        };
        let (going, staying) = self.part(batch, &stopped).await;
        join(self.see_off(&going), self.give_up(&staying, &stopped)).await;
    }

    /// Parts the nodes whose machines go all the same, though the call failed, from the others.
    async fn part(&self, batch: &[Course], stopped: &Stopped) -> (Vec<Course>, Vec<Course>) {
        let mut leaving = BTreeSet::new();
        if matches!(stopped.failure, Failure::Provider(_)) {
            leaving = self.leaving().await.unwrap_or_default();
        }
        let goes = |course: &Course| leaving.contains(&course.reference.provider_id);
        batch.iter().cloned().partition(goes)
    }

    async fn follow(&self, batch: &[Course]) -> Result<(), Stopped> {
        // Not given up halfway: a write that is under way could succeed after it was undone.
        let marks = join_all(batch.iter().map(|course| self.mark(course))).await;
        let mut slowest = Duration::ZERO;
        for took in marks {
            slowest = slowest.max(took?);
        }
        for course in batch {
            self.ledger.phase(&course.removal.node, Phase::Settling);
        }
        let taints = &self.settings.taints;
        let delay = if taints.dynamic_delay {
            slowest.saturating_mul(2)
        } else {
            taints.delay
        };
        tokio::time::sleep(delay).await;
        let emptying = batch.iter().map(async |course| {
            let empty = Box::pin(self.empty(course)).await;
            empty.map_err(|failure| course.stopped(failure))
        });
        try_join_all(emptying).await?;
        self.delete(batch).await
    }

    /// Writes the taint; answers how long that took.
    async fn mark(&self, course: &Course) -> Result<Duration, Stopped> {
        let name = &course.removal.node;
        let gave_up = "the program ends".to_owned();
        let Ok(_turn) = self.marking.acquire().await else {
            return Err(course.stopped(Failure::Mark(gave_up)));
        };
        self.told.begins(&course.removal, course.drain);
        let (start, now) = (Instant::now(), self.context.clock.now());
        let cordon = self.settings.taints.cordon;
        let edit = |node: &NodeView| {
            if node.meta.uid != course.uid || node.meta.is_deleting() {
                return Err(EditError::Gone);
            }
            Ok(Some(taint::marked(node, cordon, now)))
        };
        match self.marker.edit(name, edit).await {
            Ok(node) => {
                self.told.marked(&node);
                Ok(start.elapsed())
            }
            Err(EditError::Gone) => Err(course.stopped(Failure::Gone)),
            Err(error) => Err(course.stopped(Failure::Mark(error.text()))),
        }
    }

    async fn delete(&self, batch: &[Course]) -> Result<(), Stopped> {
        let Some(first) = batch.first() else {
            return Ok(());
        };
        for course in batch {
            self.ledger.phase(&course.removal.node, Phase::Deleting);
        }
        let group = &first.removal.group;
        let deleted = if batch.len() == 1 {
            self.delete_one(group, first.reference.clone()).await
        } else {
            let nodes: Vec<_> = batch.iter().map(|c| c.reference.clone()).collect();
            self.delete_together(group, &nodes).await
        };
        deleted.map_err(|failure| first.stopped(failure))
    }

    /// The provider agreed: waits until the nodes are gone. One that is still there after a long
    /// time is released, for then its machine works on.
    async fn see_off(&self, batch: &[Course]) {
        for course in batch {
            let node = &course.removal.node;
            self.told.removed(node, course.drain);
            self.report(course, Ok(()));
            self.ledger.phase(node, Phase::Leaving);
        }
        join_all(batch.iter().map(|course| {
            let (node, uid) = (&course.removal.node, &course.uid);
            self.wait_for_end(node, uid)
        }))
        .await;
    }

    /// Waits until a node is gone whose machine is being removed.
    pub(super) async fn wait_for_end(&self, name: &Arc<str>, uid: &Arc<str>) {
        let limit = self.settings.leave_timeout;
        let end = within(limit);
        let mut listener = self.signal.listen();
        loop {
            let node = self.context.caches.nodes.find("", name);
            let node = node.filter(|node| node.meta.uid == *uid && taint::is_marked(node));
            let left = end.saturating_duration_since(Instant::now());
            if node.is_none() {
                break;
            }
            if left.is_zero() {
                self.told.failed(name, &Failure::Stayed(limit));
                self.release(name, uid).await;
                break;
            }
            listener.changed(left).await;
        }
        self.ledger.end(name);
    }

    /// Undoes what was done to the nodes.
    async fn give_up(&self, batch: &[Course], stopped: &Stopped) {
        for course in batch {
            let node = &course.removal.node;
            let failure = if *node == stopped.node {
                stopped.failure.clone()
            } else {
                Failure::Sibling(Arc::clone(&stopped.node))
            };
            self.told.failed(node, &failure);
            self.report(course, Err(failure));
            self.ledger.phase(node, Phase::RollingBack);
        }
        join_all(batch.iter().map(async |course| {
            let node = &course.removal.node;
            self.release(node, &course.uid).await;
            self.ledger.end(node);
            self.linger(node, &course.uid).await;
        }))
        .await;
    }

    /// Watches a released node for a while: a write that got no answer may come late.
    async fn linger(&self, name: &str, uid: &Arc<str>) {
        let end = within(LATE);
        let mut listener = self.signal.listen();
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.ledger.is_known(name) {
                return;
            }
            let node = self.context.caches.nodes.find("", name);
            let Some(node) = node.filter(|node| node.meta.uid == *uid) else {
                return;
            };
            if taint::is_marked(&node) {
                self.release(name, uid).await;
            }
            listener.changed(left).await;
        }
    }

    /// Takes taint and cordon from a node, however long that takes.
    pub(super) async fn release(&self, node: &str, uid: &Arc<str>) {
        let cordon = self.settings.taints.cordon;
        let edit = |node: &NodeView| {
            let same = node.meta.uid == *uid;
            same.then(|| taint::released(node, cordon)).flatten()
        };
        self.marker.insist(node, edit).await;
    }

    fn report(&self, course: &Course, result: Result<(), Failure>) {
        self.ledger.report(Outcome {
            node: Arc::clone(&course.removal.node),
            group: Arc::clone(&course.removal.group),
            reason: course.reason,
            at: self.context.clock.now(),
            result,
        });
    }
}
