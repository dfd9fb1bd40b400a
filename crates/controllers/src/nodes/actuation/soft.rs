//! Soft taints: nodes that are not needed get new pods last.

use super::Shared;
use super::marker::EditError;
use super::signal::within;
use super::taint;
use crate::pods::NodeView;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::time::Instant;

/// What one look did with soft taints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SoftTaints {
    /// Taints set.
    pub set: usize,
    /// Taints removed.
    pub removed: usize,
    /// Changes that failed.
    pub failed: usize,
    /// Changes left for the next look.
    pub left: usize,
}

enum Step {
    Set(Arc<str>, Timestamp),
    Remove(Arc<str>),
}

impl Shared {
    /// Makes soft taints say what `unneeded` says (node → since when), as far as one look may.
    ///
    /// `is_ours` tells the nodes of the provider's groups; others are left alone.
    pub(super) async fn mark_candidates(
        &self,
        unneeded: &BTreeMap<Arc<str>, Timestamp>,
        is_ours: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> SoftTaints {
        let settings = &self.settings.taints;
        let mut done = SoftTaints::default();
        if settings.soft_count == 0 {
            return done;
        }
        let end = within(settings.soft_time);
        let mut steps = self.steps(unneeded, is_ours).into_iter();
        let mut count = settings.soft_count;
        for step in steps.by_ref() {
            if count == 0 || Instant::now() >= end {
                done.left += 1;
                break;
            }
            count -= 1;
            match self.take(&step).await {
                Ok(()) if matches!(step, Step::Set(..)) => done.set += 1,
                Ok(()) => done.removed += 1,
                Err(EditError::Gone) => {}
                Err(error) => {
                    tracing::warn!(error = error.text(), "soft taint not changed");
                    done.failed += 1;
                }
            }
        }
        done.left += steps.count();
        done
    }

    /// What is to be changed: wrong taints first, for they keep pods from nodes that are needed.
    fn steps(
        &self,
        unneeded: &BTreeMap<Arc<str>, Timestamp>,
        is_ours: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Vec<Step> {
        let nodes = &self.context.caches.nodes;
        let mut steps = Vec::new();
        nodes.for_each(|node| {
            let name = &node.meta.key.name;
            if taint::is_candidate(node) && !unneeded.contains_key(name) {
                steps.push(Step::Remove(Arc::clone(name)));
            }
        });
        // Outside of the cache's lock.
        steps.retain(|step| match step {
            Step::Remove(name) | Step::Set(name, _) => is_ours(name),
        });
        for (name, since) in unneeded {
            let node = nodes.find("", name);
            let lacks =
                node.is_some_and(|node| !taint::is_candidate(&node) && !taint::is_marked(&node));
            if lacks {
                steps.push(Step::Set(Arc::clone(name), *since));
            }
        }
        steps
    }

    async fn take(&self, step: &Step) -> Result<(), EditError> {
        match step {
            Step::Set(name, since) => {
                let edit = |node: &NodeView| Ok(taint::as_candidate(node, *since));
                self.marker.edit(name, edit).await.map(drop)
            }
            Step::Remove(name) => {
                let edit = |node: &NodeView| Ok(taint::not_candidate(node));
                self.marker.edit(name, edit).await.map(drop)
            }
        }
    }
}
