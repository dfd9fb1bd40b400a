//! Pods whose deletion was asked for and that the watch does not yet show as ending.

use super::PodView;
use crate::runtime::{Cache, Change};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Uids of such pods. Clones share them; they take as many bytes as deletions are under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doomed(Arc<Mutex<BTreeSet<Arc<str>>>>);

impl Doomed {
    /// Forgets each pod as soon as the cache knows about its end.
    pub(crate) fn follow(cache: &Cache<PodView>) -> Self {
        let doomed = Self::default();
        let seen = doomed.clone();
        cache.on_change(move |change: &Change<PodView>| {
            let Some(old) = &change.old else { return };
            let same = change.new.as_ref();
            let same = same.filter(|new| new.meta.uid == old.meta.uid);
            if same.is_none_or(|pod| pod.meta.is_deleting()) {
                seen.0.lock().remove(&old.meta.uid);
            }
        });
        doomed
    }

    /// Notes that a pod's deletion is asked for. Must come before the request.
    pub(crate) fn add(&self, pod: &PodView) {
        self.0.lock().insert(Arc::clone(&pod.meta.uid));
    }

    /// Takes the note back: the deletion failed.
    pub(crate) fn spare(&self, pod: &PodView) {
        self.0.lock().remove(&pod.meta.uid);
    }

    /// Whether the pod ends: the server says so, or was asked to end it.
    pub(crate) fn ends(&self, pod: &PodView) -> bool {
        pod.meta.is_deleting() || self.0.lock().contains(&pod.meta.uid)
    }
}
