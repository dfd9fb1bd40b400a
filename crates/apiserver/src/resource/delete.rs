//! DELETE of one object and of collections.

use super::delete_options::{DeleteOptions, Dependents};
use super::encode;
use super::filter::Filter;
use super::metadata::{is_finished, whole_seconds};
use super::patch::Part;
use super::present::{self, ListMeta, parse};
use super::write::Writer;
use crate::admission::{self, Operation, Request};
use crate::call::{Call, Run, not_found, refused};
use crate::custom::{self, convert};
use crate::http::respond::{self, Response};
use crate::store::{Entry, Expect, Key, ListQuery, StoreError};
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::custom::accept;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Deletions are tried this often against concurrent writes.
const ATTEMPTS: usize = 5;
/// Seconds a pod gets when nothing says otherwise.
const POD_GRACE: i64 = 30;

/// What became of an object.
#[derive(Debug)]
pub(crate) struct Deleted {
    /// Its last or present state, in the stored version.
    pub(crate) json: Bytes,
    /// Its uid.
    pub(crate) uid: Arc<str>,
    /// Whether it is gone.
    pub(crate) gone: bool,
}

/// Deletes the object the path names.
pub(crate) async fn delete(call: &Call) -> Result<Response, ApiError> {
    let options = DeleteOptions::of(call)?;
    if call.kind.is("batch", "Job") && options.dependents.is_none() {
        let text = "child pods are preserved by default when jobs are deleted; set \
                    propagationPolicy=Background to remove them or set propagationPolicy=Orphan \
                    to suppress this warning";
        call.warn(vec![text.to_owned()]);
    }
    let writer = Writer::of(call, options.run);
    let deleted = writer.delete(&call.key(), &options).await?;
    if !deleted.gone || returns_object(&call.kind) {
        let code = if !deleted.gone && options.legacy_no_orphans {
            202
        } else {
            200
        };
        let json = convert::json(&call.server, &call.kind, deleted.json).await?;
        return call.object(code, &json);
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": details(&call.kind, call.name(), &deleted.uid),
    });
    Ok(respond::value(200, &call.wanted, &status))
}

/// Deletes what the selectors select.
pub(crate) async fn collection(call: &Call) -> Result<Response, ApiError> {
    if call.kind.namespaced && call.path.namespace.is_none() {
        return Err(ApiError::method_not_allowed());
    }
    let options = DeleteOptions::of(call)?;
    let filter = Filter::parse(call)?;
    let query = ListQuery {
        resource: Arc::clone(&call.kind.storage),
        namespace: call.path.namespace.as_deref().map(Into::into),
        ..ListQuery::default()
    };
    let page = call
        .server
        .store()
        .list(&query)
        .map_err(|e| refused(&call.kind, "", &e))?;
    let entries: Vec<Arc<Entry>> = page
        .entries
        .into_iter()
        .filter(|e| filter.matches(e))
        .collect();
    let writer = Writer::of(call, options.run);
    // All at once: the store's group commit turns them into few writes.
    let deletions = entries
        .iter()
        .map(|entry| writer.delete(&entry.key, &options));
    for outcome in futures::future::join_all(deletions).await {
        match outcome {
            Err(error) if error.code != 404 => return Err(error),
            Err(_) | Ok(_) => {}
        }
    }
    let entries = convert::entries(&call.server, &call.kind, entries).await?;
    let about = ListMeta {
        revision: call.server.store().revision(),
        ..ListMeta::default()
    };
    present::list(
        &call.kind,
        &call.wanted,
        &entries,
        &about,
        call.server.now(),
    )
    .await
}

/// What one attempt leads to.
enum Step {
    /// Nothing changes: deletion is under way already.
    Pending,
    /// The object stays, marked.
    Mark(Value),
    /// The object goes; this is its last state.
    Remove(Value),
}

impl Writer<'_> {
    /// Deletes the object at `key`, or marks it where something must happen first.
    pub(crate) async fn delete(
        &self,
        key: &Key,
        options: &DeleteOptions,
    ) -> Result<Deleted, ApiError> {
        let request = Request {
            writer: self,
            namespace: &key.namespace,
            name: &key.name,
            part: Part::Main,
            operation: Operation::Delete,
        };
        let mut attempt = 1;
        loop {
            let entry = self.server.store().get(key);
            let entry = entry.ok_or_else(|| not_found(self.kind, &key.name))?;
            check_preconditions(self.kind, &entry, options)?;
            // An entry was serialised by this server, so it parses.
            let old = parse(&entry.json).unwrap_or_default();
            admission::delete(&request, &old).await?;
            match self.delete_once(&entry, old, options).await {
                Err(StoreError::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(refused(self.kind, &key.name, &error)),
                Ok(deleted) => return Ok(deleted),
            }
        }
    }

    async fn delete_once(
        &self,
        entry: &Arc<Entry>,
        old: Value,
        options: &DeleteOptions,
    ) -> Result<Deleted, StoreError> {
        let uid = Arc::clone(&entry.uid);
        let step = next_step(self.kind, &old, options, self.server.now());
        let (new, gone) = match step {
            Step::Pending => {
                return Ok(Deleted {
                    json: entry.json.clone(),
                    uid,
                    gone: false,
                });
            }
            Step::Mark(new) => (new, false),
            Step::Remove(new) => (new, true),
        };
        if self.run == Run::Dry {
            return Ok(Deleted {
                json: present::bytes_of(&new),
                uid,
                gone,
            });
        }
        let draft = encode::draft(&self.stored_kind(), entry.key.clone(), &new);
        let expect = Expect::Revision(entry.revision);
        let store = self.server.store();
        let stored = if gone {
            let stored = store.delete(draft, expect).await?;
            self.server.0.allocator.release(self.kind, &old);
            stored
        } else {
            store.put(draft, expect).await?
        };
        custom::written(self.server, self.kind, &entry.key.name).await;
        Ok(Deleted {
            json: stored.json.clone(),
            uid,
            gone,
        })
    }
}

fn next_step(kind: &Kind, old: &Value, options: &DeleteOptions, now: Timestamp) -> Step {
    let mut new = old.clone();
    let was_deleting = meta::is_deleting(old);
    set_finalizers(kind, &mut new, options);
    let grace = match grace(kind, old, options) {
        Grace::Unchanged => None,
        Grace::Seconds(seconds) => Some(seconds),
    };
    if let Some(seconds) = grace {
        mark(&mut new, seconds, now);
    }
    if kind.is("", "Namespace") {
        meta::object_mut(&mut new, &["status"]).insert("phase".into(), "Terminating".into());
    }
    if custom::is_definition(kind) && !was_deleting {
        accept::begin_deletion(&mut new, &whole_seconds(now));
    }
    if is_finished(kind, &new) {
        return Step::Remove(new);
    }
    if new == *old {
        return Step::Pending;
    }
    if !was_deleting {
        bump_generation(&mut new);
    }
    Step::Mark(new)
}

fn bump_generation(object: &mut Value) {
    if let Some(generation) = meta::integer(object, &["metadata", "generation"]) {
        meta::object_mut(object, &["metadata"])
            .insert("generation".into(), generation.saturating_add(1).into());
    }
}

fn mark(object: &mut Value, seconds: i64, now: Timestamp) {
    let end = now
        .checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(now);
    let metadata = meta::object_mut(object, &["metadata"]);
    metadata.insert("deletionTimestamp".into(), whole_seconds(end).into());
    metadata.insert("deletionGracePeriodSeconds".into(), seconds.into());
}

/// What becomes of the deletion's end.
enum Grace {
    /// It stays as it is.
    Unchanged,
    /// It is this many seconds from now.
    Seconds(i64),
}

/// Only pods end gracefully; a second deletion may only shorten.
///
/// Departs: with grace 0 upstream marks the pod once more before it removes it; nobody learns
/// anything from that step.
fn grace(kind: &Kind, old: &Value, options: &DeleteOptions) -> Grace {
    let is_pod = kind.group.is_empty() && kind.kind == "Pod";
    let running = meta::integer(old, &["metadata", "deletionGracePeriodSeconds"]);
    if meta::is_deleting(old) {
        return match (running, options.grace) {
            (Some(left), Some(asked)) if is_pod && asked < left => Grace::Seconds(asked),
            (_, _) => Grace::Unchanged,
        };
    }
    if !is_pod {
        return Grace::Seconds(0);
    }
    let unscheduled = meta::text(old, &["spec", "nodeName"]).is_empty();
    let ended = matches!(
        meta::text(old, &["status", "phase"]),
        "Succeeded" | "Failed"
    );
    if unscheduled || ended {
        return Grace::Seconds(0);
    }
    let own = meta::integer(old, &["spec", "terminationGracePeriodSeconds"]);
    let seconds = options.grace.or(own).unwrap_or(POD_GRACE);
    Grace::Seconds(if seconds < 0 { 1 } else { seconds })
}

/// The two finalizers that the garbage collector answers to.
fn set_finalizers(kind: &Kind, object: &mut Value, options: &DeleteOptions) {
    let before = meta::list(object, &["metadata", "finalizers"]).to_vec();
    let wanted = match options.dependents_of(kind, &before) {
        Dependents::Background => None,
        Dependents::Foreground => Some("foregroundDeletion"),
        Dependents::Orphan => Some("orphan"),
    };
    let mut after: Vec<Value> = before
        .iter()
        .filter(|f| wanted == f.as_str() || (*f != "orphan" && *f != "foregroundDeletion"))
        .cloned()
        .collect();
    if let Some(name) = wanted
        && !after.iter().any(|f| f == name)
    {
        after.push(name.into());
    }
    if after == before {
        return;
    }
    let metadata = meta::object_mut(object, &["metadata"]);
    if after.is_empty() {
        metadata.shift_remove("finalizers");
    } else {
        metadata.insert("finalizers".into(), after.into());
    }
}

fn check_preconditions(
    kind: &Kind,
    entry: &Entry,
    options: &DeleteOptions,
) -> Result<(), ApiError> {
    let conflict = |why: String| {
        Err(ApiError::conflict(
            &kind.group,
            &kind.plural,
            &entry.key.name,
            &why,
        ))
    };
    match (&options.uid, &options.version) {
        (Some(uid), _) if **uid != *entry.uid => conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            entry.uid
        )),
        (_, Some(version)) if *version != entry.revision.to_string() => conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            entry.revision
        )),
        (_, _) => Ok(()),
    }
}

/// Kinds whose deletion answers the object instead of a Status.
fn returns_object(kind: &Kind) -> bool {
    let core = [
        "Pod",
        "PodTemplate",
        "Namespace",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "ResourceQuota",
        "Service",
        "ServiceAccount",
    ];
    kind.group == "storage.k8s.io" || (kind.group.is_empty() && core.contains(&kind.kind.as_ref()))
}

fn details(kind: &Kind, name: &str, uid: &str) -> Value {
    let mut details = json!({"name": name});
    let map = meta::as_object(&mut details);
    if !kind.group.is_empty() {
        map.insert("group".into(), kind.group.as_ref().into());
    }
    map.insert("kind".into(), kind.plural.as_ref().into());
    map.insert("uid".into(), uid.into());
    details
}
