//! Jobs, as the controllers of Jobs, of CronJobs and of expired Jobs share them.

use super::JobView;
use crate::pods::label_key;
use crate::runtime::{Cache, Cached, Index};
use kube::Client;
use std::sync::Arc;

/// Jobs and ways to find them. Clones share them.
#[derive(Debug, Clone)]
pub struct JobCaches {
    /// Jobs.
    pub all: Cache<JobView>,
    /// Jobs by the uid of their managing controller.
    pub by_controller: Index<JobView>,
    /// Jobs by [`label_key`] of a label that every pod they select has; those without such a label
    /// by their namespace.
    pub by_anchor: Index<JobView>,
}

impl JobCaches {
    /// Starts the watch. Must be called inside a runtime; `seed` seeds its retry jitter.
    pub fn start(client: &Client, seed: u64) -> Self {
        Self::of(Cache::start(client.clone(), seed))
    }

    /// Without any Job, at no cost.
    pub fn empty() -> Self {
        Self::of(Cache::empty())
    }

    fn of(all: Cache<JobView>) -> Self {
        Self {
            by_controller: all.index(|job| {
                let owner = job.meta().controller();
                owner
                    .map(|owner| Arc::clone(&owner.uid))
                    .into_iter()
                    .collect()
            }),
            by_anchor: all.index(anchor),
            all,
        }
    }

    /// The unfinished Jobs whose selector selects what has these labels, in name order.
    pub fn selecting(&self, namespace: &str, labels: &[(Arc<str>, Arc<str>)]) -> Vec<Arc<JobView>> {
        let by_label = labels
            .iter()
            .flat_map(|(key, value)| self.by_anchor.get(&label_key(namespace, key, value)));
        let mut jobs: Vec<_> = by_label.chain(self.by_anchor.get(namespace)).collect();
        jobs.retain(|job| {
            let selector = job.selector.as_ref();
            !job.is_finished() && selector.is_some_and(|selector| selector.matches(labels))
        });
        jobs.sort_by(|a, b| a.meta.key.cmp(&b.meta.key));
        jobs
    }
}

fn anchor(job: &JobView) -> Vec<Arc<str>> {
    let Some(selector) = &job.selector else {
        return Vec::new();
    };
    let namespace = job.meta.namespace();
    let anchor = selector.anchor();
    let value = anchor.map(|(key, value)| label_key(namespace, key, value));
    vec![value.unwrap_or_else(|| namespace.to_owned()).into()]
}
