//! Objects whose deletion was asked for and that the watch does not yet show as ending.

use super::{Cache, Cached, Change, Meta};
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Uids of such objects. Clones share them; they take as many bytes as deletions are under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doomed(Arc<Mutex<BTreeSet<Arc<str>>>>);

impl Doomed {
    /// Forgets each object as soon as the cache knows about its end.
    pub(crate) fn follow<V: Cached>(cache: &Cache<V>) -> Self {
        let doomed = Self::default();
        let seen = doomed.clone();
        cache.on_change(move |change: &Change<V>| {
            let Some(old) = &change.old else { return };
            let uid = &old.meta().uid;
            let same = change.new.as_ref().map(|new| new.meta());
            let same = same.filter(|new| new.uid == *uid);
            if same.is_none_or(Meta::is_deleting) {
                seen.0.lock().remove(uid);
            }
        });
        doomed
    }

    /// Notes that the deletion of the object with this uid is asked for. Must come before the
    /// request.
    pub(crate) fn add(&self, uid: &Arc<str>) {
        self.0.lock().insert(Arc::clone(uid));
    }

    /// Takes the note back: the deletion failed.
    pub(crate) fn spare(&self, uid: &Arc<str>) {
        self.0.lock().remove(uid);
    }

    /// Whether its deletion was asked for, and the cache does not show it yet.
    pub(crate) fn contains(&self, uid: &Arc<str>) -> bool {
        self.0.lock().contains(uid)
    }

    /// Whether the object ends: the server says so, or was asked to end it.
    pub(crate) fn ends(&self, object: &Meta) -> bool {
        object.is_deleting() || self.contains(&object.uid)
    }
}
