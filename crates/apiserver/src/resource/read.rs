//! GET of one object and of lists.

use super::filter::Filter;
use super::options::{self, ListOptions, Match};
use super::paging::Position;
use super::present::{self, ListMeta};
use crate::call::Call;
use crate::custom::convert;
use crate::http::negotiate::Shape;
use crate::http::respond::{self, Response};
use crate::store::{Entry, ListQuery, Page, StoreError};
use jiff::Timestamp;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long a read waits for a revision that has not happened yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers one object, no older than `resourceVersion`.
pub(crate) async fn get(call: &Call) -> Result<Response, ApiError> {
    let revision = options::revision(call.query.text("resourceVersion"))?;
    reached(call, revision).await?;
    let entry = call
        .server
        .store()
        .get(&call.key())
        .ok_or_else(|| call.not_found())?;
    call.stored(200, entry).await
}

/// Answers a list or a page of one.
pub(crate) async fn list(call: &Call) -> Result<Response, ApiError> {
    let filter = Filter::parse(call)?;
    let options = ListOptions::of(call)?;
    let mut query = start(call, &options).await?;
    // With a selector the store cannot know where a page ends.
    query.limit = if filter.is_everything() {
        options.limit
    } else {
        0
    };
    let now = call.server.now();
    if options.position.as_ref().is_some_and(|p| p.is_over(now)) {
        return Ok(expired(call, &query, "it is too long ago"));
    }
    let page = match call.server.store().list(&query) {
        Ok(page) => page,
        Err(error @ (StoreError::Compacted { .. } | StoreError::Future { .. })) => {
            return Ok(expired(call, &query, &error.to_string()));
        }
        Err(error) => return Err(crate::call::refused(&call.kind, "", &error)),
    };
    let (entries, about) = cut(page, &filter, options.limit, now);
    let entries = convert::entries(&call.server, &call.kind, entries).await?;
    present::list(
        &call.kind,
        &call.wanted,
        &entries,
        &about,
        call.server.now(),
    )
    .await
}

/// Selects, and ends the page at `limit`.
fn cut(page: Page, filter: &Filter, limit: usize, now: Timestamp) -> (Vec<Arc<Entry>>, ListMeta) {
    let mut about = ListMeta {
        revision: page.revision,
        ..ListMeta::default()
    };
    let mut more = page.remaining > 0;
    let mut entries = page.entries;
    if filter.is_everything() {
        about.remaining = (page.remaining > 0).then_some(page.remaining);
    } else {
        entries.retain(|entry| filter.matches(entry));
        if limit > 0 && entries.len() > limit {
            entries.truncate(limit);
            more = true;
        }
    }
    if let (true, Some(last)) = (more, entries.last()) {
        let after = (Arc::clone(&last.key.namespace), Arc::clone(&last.key.name));
        let position = Position {
            revision: Some(page.revision),
            after,
            issued: now.as_second(),
        };
        about.next = Some(position.encode());
    }
    (entries, about)
}

/// Where and when the list is read.
async fn start(call: &Call, options: &ListOptions) -> Result<ListQuery, ApiError> {
    let mut query = ListQuery {
        resource: Arc::clone(&call.kind.storage),
        namespace: call.path.namespace.as_deref().map(Into::into),
        ..ListQuery::default()
    };
    if let Some(position) = &options.position {
        query.revision = position.revision;
        query.after = Some(position.after.clone());
        return Ok(query);
    }
    if options.revision == 0 {
        return Ok(query);
    }
    reached(call, options.revision).await?;
    let paged = options.matching == Match::Unset && options.limit > 0;
    if options.matching == Match::Exact || paged {
        query.revision = Some(options.revision);
    }
    Ok(query)
}

/// Waits for a revision that a client has seen elsewhere; 504 if it does not come.
pub(crate) async fn reached(call: &Call, revision: u64) -> Result<(), ApiError> {
    let store = call.server.store();
    if store.revision() >= revision {
        return Ok(());
    }
    let progress = store.progress();
    if tokio::time::timeout(PATIENCE, progress.reached(revision))
        .await
        .is_ok()
    {
        return Ok(());
    }
    let text = format!(
        "Too large resource version: {revision}, current: {}",
        store.revision()
    );
    let mut error = ApiError::new(504, "Timeout", format!("Timeout: {text}"));
    error.details = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    Err(error)
}

/// 410 with a token that goes on at the newest revision instead.
fn expired(call: &Call, query: &ListQuery, why: &str) -> Response {
    let message = if query.after.is_some() {
        format!(
            "The provided continue parameter is too old to display a consistent list result \
             ({why}). Start a new list, or use the continue token of this answer to go on with \
             an inconsistent one."
        )
    } else {
        format!("The resourceVersion for the provided list is too old: {why}.")
    };
    let mut status = ApiError::expired(message).to_status();
    if let Some(after) = query.after.clone() {
        let position = Position {
            revision: None,
            after,
            issued: call.server.now().as_second(),
        };
        let token = position.encode();
        meta::object_mut(&mut status, &["metadata"]).insert("continue".into(), token.into());
    }
    let mut wanted = call.wanted.clone();
    wanted.shape = Shape::Object;
    respond::value(410, &wanted, &status)
}
