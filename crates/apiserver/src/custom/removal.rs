//! Deleting a definition: its objects go first, then its finalizer.

use super::key;
use crate::resource::delete_options::DeleteOptions;
use crate::resource::metadata::whole_seconds;
use crate::resource::own::Own;
use crate::resource::patch::Part;
use crate::server::ApiServer;
use crate::store::ListQuery;
use plimsoll_api::custom::accept;
use plimsoll_api::kind::Kind;
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::sync::Arc;

/// Starts the removal of a definition's objects unless it runs already.
pub(super) fn start(server: &ApiServer, name: &str) {
    if !server.0.custom.removing.lock().insert(name.to_owned()) {
        return;
    }
    let (server, name) = (server.clone(), name.to_owned());
    tokio::spawn(async move {
        if let Err(error) = remove(&server, &name).await {
            tracing::warn!(%error, name, "a definition's objects could not be removed");
        }
        server.0.custom.removing.lock().remove(&name);
    });
}

async fn remove(server: &ApiServer, name: &str) -> Result<(), ApiError> {
    if let Some(kind) = server.0.custom.storage_kind(name) {
        remove_objects(server, &kind).await?;
    }
    let kind = server
        .stored_kind("apiextensions.k8s.io", "customresourcedefinitions")
        .ok_or_else(ApiError::no_such_resource)?;
    let now = whole_seconds(server.now());
    let step = |old: &Value| {
        let mut new = old.clone();
        accept::end_deletion(&mut new, &now);
        Ok(new)
    };
    let own = Own::new(&kind).untracked();
    let writer = own.writer(server);
    match writer.update(&key(name), Part::Other, &step).await {
        Err(error) if error.code == 404 => Ok(()),
        outcome => outcome.map(drop),
    }
}

/// Deletes every object and waits until the last one is gone.
async fn remove_objects(server: &ApiServer, kind: &Arc<Kind>) -> Result<(), ApiError> {
    let query = ListQuery {
        resource: Arc::clone(&kind.storage),
        ..ListQuery::default()
    };
    let own = Own::new(kind).untracked();
    let writer = own.writer(server);
    loop {
        let opened = server.store().list_and_watch(&query);
        let (page, mut watch) = opened.map_err(ApiError::internal)?;
        if page.entries.is_empty() {
            return Ok(());
        }
        let options = DeleteOptions::background();
        let deletions = page.entries.iter().map(|e| writer.delete(&e.key, &options));
        for outcome in futures::future::join_all(deletions).await {
            if let Err(error) = outcome
                && error.code != 404
            {
                tracing::debug!(%error, "an object of a definition that goes resists");
            }
        }
        // Its own deletions are events too: only what still stands after them is waited for.
        while let Ok(Some(_)) = watch.try_next() {}
        let left = server.store().list(&query).map_err(ApiError::internal)?;
        if !left.entries.is_empty() {
            watch.next().await.map_err(ApiError::internal)?;
        }
    }
}
