//! Names, conditions and serving: what follows a write of a definition.

use super::{STORAGE, key, removal};
use crate::resource::encode;
use crate::resource::metadata::whole_seconds;
use crate::server::ApiServer;
use crate::store::{Expect, ListQuery, StoreError};
use plimsoll_api::custom::accept;
use plimsoll_api::kind::Kinds;
use plimsoll_api::meta;
use serde_json::Value;

/// Statuses are written this often against concurrent writes.
const ATTEMPTS: usize = 10;

/// Settles a definition after a write of it. Runs on even if the caller stops waiting.
pub(crate) async fn observe(server: &ApiServer, name: &str) {
    let (server, name) = (server.clone(), name.to_owned());
    let task = tokio::spawn(async move {
        let registry = &server.0.custom;
        let _turn = registry.turn.lock().await;
        let group = registry.group(&name);
        settle(&server, &name).await;
        let group = registry.group(&name).or(group).unwrap_or_default();
        for other in registry.waiting(&group) {
            if other != name {
                settle(&server, &other).await;
            }
        }
    });
    if let Err(error) = task.await {
        tracing::error!(%error, "a custom resource definition could not be settled");
    }
}

/// Serves the definitions a store was opened with.
pub(crate) fn load(server: &ApiServer) {
    let mut kinds = Kinds::clone(&server.kinds());
    for (object, revision) in stored(server) {
        let status = object.get("status").cloned().unwrap_or_default();
        server
            .0
            .custom
            .enter(&mut kinds, &object, &status, revision);
    }
    *server.0.kinds.write() = std::sync::Arc::new(kinds);
}

/// Goes on where an earlier run of the server stopped: unsettled names, unfinished deletions.
pub(crate) async fn resume(server: &ApiServer) {
    for (object, _) in stored(server) {
        if meta::is_deleting(&object) || !accept::holds(&object, "Established") {
            observe(server, meta::name(&object)).await;
        }
    }
}

fn stored(server: &ApiServer) -> Vec<(Value, u64)> {
    let query = ListQuery {
        resource: STORAGE.into(),
        ..ListQuery::default()
    };
    let page = server.store().list(&query);
    let entries = page.map(|page| page.entries).unwrap_or_default();
    let objects = entries.iter().filter_map(|entry| {
        let object = serde_json::from_slice(&entry.json).ok()?;
        Some((object, entry.revision))
    });
    objects.collect()
}

async fn settle(server: &ApiServer, name: &str) {
    for _ in 0..ATTEMPTS {
        match settle_once(server, name).await {
            Ok(()) => return,
            Err(StoreError::Conflict(_)) => {}
            Err(StoreError::Missing) => return server.0.custom.forget(server, name),
            Err(error) => {
                tracing::warn!(%error, name, "the status of a definition could not be written");
                return;
            }
        }
    }
}

async fn settle_once(server: &ApiServer, name: &str) -> Result<(), StoreError> {
    let registry = &server.0.custom;
    let entry = server.store().get(&key(name)).ok_or(StoreError::Missing)?;
    // An entry was serialised by this server, so it parses.
    let mut object: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
    let taken = registry.taken(name, meta::text(&object, &["spec", "group"]));
    let now = whole_seconds(server.now());
    let status = accept::status(&object, &taken, &now);
    registry.serve(server, &object, &status, entry.revision);
    if meta::is_deleting(&object) {
        removal::start(server, name);
    }
    if object.get("status") == Some(&status) {
        return Ok(());
    }
    meta::as_object(&mut object).insert("status".into(), status);
    let Some(kind) = server.stored_kind("apiextensions.k8s.io", "customresourcedefinitions") else {
        return Ok(());
    };
    let draft = encode::draft(&kind, entry.key.clone(), &object);
    let expect = Expect::Revision(entry.revision);
    server.store().put(draft, expect).await.map(drop)
}
