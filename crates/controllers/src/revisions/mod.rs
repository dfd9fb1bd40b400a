//! ControllerRevisions: the recorded templates that StatefulSets and DaemonSets go back to.
//!
//! ```text
//! template ─> Recorded (one text per template) ─> history::choose ─> keep | renumber | create
//! ```
//! Which revision counts is decided by the pure functions of [`history`]; [`Revisions`] writes.

mod history;
mod view;

pub use history::{Choice, choose, surplus};
pub use view::{Recorded, RevisionView};

use crate::pods::{Caches, Selector, hash};
use crate::runtime::{Cached, Deletion, Meta, ObjectKey, Owner, WriteError, Writer};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Label of a revision with the hash of its template.
pub const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// Longest part of an owner's name that is kept in the names of its revisions.
const NAME_LIMIT: usize = 223;

/// How many taken names are passed over in one reconcile.
const ATTEMPTS: usize = 16;

/// Why the revision of a template could not be had.
#[derive(Debug, thiserror::Error)]
pub enum RevisionError {
    /// A write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The name is taken by a revision that the cache does not show yet.
    #[error("revision {0} is not in the cache yet")]
    Unseen(String),
}

/// Who owns revisions.
#[derive(Debug)]
pub struct Holder<'a> {
    /// Metadata of the object.
    pub meta: &'a Meta,
    /// The reference to it.
    pub owner: Owner,
    /// Its selector: orphaned revisions with such labels are adopted.
    pub selector: &'a Selector,
    /// Its `status.collisionCount`.
    pub collisions: i32,
}

/// The revision of a template.
#[derive(Debug)]
pub struct Found {
    /// The revision.
    pub revision: Arc<RevisionView>,
    /// `status.collisionCount` from now on.
    pub collisions: i32,
}

/// Reads and writes revisions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Revisions {
    writer: Writer,
    caches: Caches,
}

impl Revisions {
    /// Over the shared cache.
    pub fn new(writer: Writer, caches: Caches) -> Self {
        Self { writer, caches }
    }

    /// The revisions of an owner, oldest first.
    pub fn of(&self, meta: &Meta) -> Vec<Arc<RevisionView>> {
        let mut revisions = self.caches.revisions_by_controller.get(&meta.uid);
        history::sort(&mut revisions);
        revisions
    }

    /// Adopts orphans whose labels are selected.
    ///
    /// # Errors
    /// [`WriteError`] if one could not be written.
    pub async fn adopt(&self, holder: &Holder<'_>) -> Result<(), WriteError> {
        let orphans = self.caches.orphaned_revisions.get(holder.meta.namespace());
        for revision in orphans {
            let meta = &revision.meta;
            if !holder.selector.matches(&meta.labels) || meta.is_deleting() {
                continue;
            }
            let mut owners = meta.owners.to_vec();
            owners.retain(|owner| owner.uid != holder.meta.uid);
            owners.push(holder.owner.clone());
            self.writer
                .set_owners(&self.caches.revisions, meta, &owners)
                .await?;
        }
        Ok(())
    }

    /// The revision of a template: the newest one if it is the same, an older one that gets the
    /// next number, or a new one.
    ///
    /// # Errors
    /// [`RevisionError`] if it could not be written; nothing is half done then.
    pub async fn record(
        &self,
        holder: &Holder<'_>,
        recorded: &Recorded,
    ) -> Result<Found, RevisionError> {
        let revisions = self.of(holder.meta);
        match choose(&revisions, recorded) {
            Choice::Keep(revision) => Ok(Found {
                revision,
                collisions: holder.collisions,
            }),
            Choice::Renumber(revision, number) => {
                let meta = &revision.meta;
                let patch = json!({"metadata": {"uid": *meta.uid}, "revision": number});
                let cache = &self.caches.revisions;
                Ok(Found {
                    revision: self.writer.patch(cache, &meta.key, &patch).await?,
                    collisions: holder.collisions,
                })
            }
            Choice::Create(number) => self.create(holder, recorded, number).await,
        }
    }

    async fn create(
        &self,
        holder: &Holder<'_>,
        recorded: &Recorded,
        number: i64,
    ) -> Result<Found, RevisionError> {
        let (mut collisions, namespace) = (holder.collisions, holder.meta.namespace());
        let mut name = String::new();
        for _ in 0..ATTEMPTS {
            let hash = hash(recorded.text(), Some(collisions));
            name = name_of(holder.meta.name(), &hash);
            let body = body(holder, recorded, (&name, &hash, number));
            let cache = &self.caches.revisions;
            match self.writer.create(cache, namespace, &body).await {
                Ok(revision) => {
                    return Ok(Found {
                        revision,
                        collisions,
                    });
                }
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error.into()),
            }
            let Some(taken) = cache.get(&ObjectKey::new(namespace, &name)) else {
                return Err(RevisionError::Unseen(name));
            };
            if taken.recorded == *recorded {
                return Ok(Found {
                    revision: taken,
                    collisions,
                });
            }
            collisions = collisions.saturating_add(1);
        }
        Err(RevisionError::Unseen(name))
    }

    /// Deletes the oldest revisions beyond `limit` (all stay if it is negative) that are not
    /// `live`: names of the current and the update revision, and of those that pods have.
    ///
    /// # Errors
    /// [`WriteError`] if one could not be deleted.
    pub async fn truncate(
        &self,
        meta: &Meta,
        live: &BTreeSet<Arc<str>>,
        limit: i32,
    ) -> Result<(), WriteError> {
        for revision in surplus(self.of(meta), live, limit) {
            let deletion = Deletion::of(&revision.meta.uid);
            self.writer
                .delete::<<RevisionView as Cached>::Wire>(&revision.meta.key, &deletion)
                .await?;
        }
        Ok(())
    }
}

fn name_of(owner: &str, hash: &str) -> String {
    let prefix: String = owner.chars().take(NAME_LIMIT).collect();
    format!("{prefix}-{hash}")
}

fn body(holder: &Holder<'_>, recorded: &Recorded, of: (&str, &str, i64)) -> Value {
    let (name, hash, number) = of;
    let mut labels = recorded.labels();
    labels.insert(HASH_LABEL.into(), hash.into());
    let annotations: Map<String, Value> = holder
        .meta
        .annotations
        .iter()
        .map(|(key, value)| (key.to_string(), (**value).into()))
        .collect();
    json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": name, "namespace": holder.meta.namespace(), "labels": labels,
            "annotations": annotations, "ownerReferences": [holder.owner.to_reference()],
        },
        "data": recorded.data(), "revision": number,
    })
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn long_names_are_cut_before_the_hash() {
        assert_eq!(name_of("db", "6d4cf56db6"), "db-6d4cf56db6");
        let name = name_of(&"a".repeat(250), "6d4cf56db6");
        assert_eq!(name.len(), 223 + 11);
        assert!(name.ends_with("a-6d4cf56db6"), "{name}");
    }
}
