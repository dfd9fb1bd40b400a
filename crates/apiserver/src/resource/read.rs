//! GET of one object and of lists.

use super::filter::Filter;
use super::paging::Position;
use super::present::{self, ListMeta};
use crate::call::Call;
use crate::http::respond::{self, Response};
use crate::store::{Entry, ListQuery, Page, StoreError};
use plimsoll_api::status::{ApiError, FieldError};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a read waits for a revision that has not happened yet.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers one object.
pub(crate) fn get(call: &Call) -> Result<Response, ApiError> {
    let entry = call
        .server
        .store()
        .get(&call.key())
        .ok_or_else(|| call.not_found())?;
    call.object(200, &entry.json)
}

/// Answers a list or a page of one.
pub(crate) async fn list(call: &Call) -> Result<Response, ApiError> {
    let filter = Filter::parse(call)?;
    if call.query.get("sendInitialEvents").is_some() {
        let why = "sendInitialEvents is forbidden for list";
        return Err(invalid_options(FieldError::forbidden(
            "sendInitialEvents",
            why,
        )));
    }
    let limit: usize = call.query.number("limit").unwrap_or(0);
    let mut query = start(call, limit).await?;
    // With a selector the store cannot know where a page ends.
    query.limit = if filter.is_everything() { limit } else { 0 };
    let page = match call.server.store().list(&query) {
        Ok(page) => page,
        Err(error @ StoreError::Compacted { .. }) => return Ok(expired(&query, &error)),
        Err(error) => return Err(crate::call::refused(&call.kind, "", &error)),
    };
    let (entries, about) = cut(page, &filter, limit);
    present::list(
        &call.kind,
        &call.wanted,
        &entries,
        &about,
        call.server.now(),
    )
}

/// Selects, and ends the page at `limit`.
fn cut(page: Page, filter: &Filter, limit: usize) -> (Vec<Arc<Entry>>, ListMeta) {
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
        about.next = Some(
            Position {
                revision: Some(page.revision),
                after,
            }
            .encode(),
        );
    }
    (entries, about)
}

/// Where and when the list is read, from continue, resourceVersion and resourceVersionMatch.
async fn start(call: &Call, limit: usize) -> Result<ListQuery, ApiError> {
    let mut query = ListQuery {
        resource: Arc::clone(&call.kind.storage),
        namespace: call.path.namespace.as_deref().map(Into::into),
        ..ListQuery::default()
    };
    let version = call.query.text("resourceVersion");
    let matching = call.query.text("resourceVersionMatch");
    if let Some(token) = call.query.get("continue").filter(|token| !token.is_empty()) {
        if !version.is_empty() && version != "0" {
            let message = "specifying resource version is not allowed when using continue";
            return Err(ApiError::bad_request(message));
        }
        let position = Position::decode(token)?;
        (query.revision, query.after) = (position.revision, Some(position.after));
        return Ok(query);
    }
    check_match(version, matching)?;
    let revision = revision(version)?;
    if revision == 0 {
        return Ok(query);
    }
    reached(call, revision).await?;
    if matching == "Exact" || (matching.is_empty() && limit > 0) {
        query.revision = Some(revision);
    }
    Ok(query)
}

fn check_match(version: &str, matching: &str) -> Result<(), ApiError> {
    let field = "resourceVersionMatch";
    match matching {
        "Exact" | "NotOlderThan" if version.is_empty() => {
            Err(invalid_options(FieldError::forbidden(
                field,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            )))
        }
        "Exact" if version == "0" => Err(invalid_options(FieldError::forbidden(
            field,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        ))),
        "" | "Exact" | "NotOlderThan" => Ok(()),
        other => {
            let allowed = ["Exact", "NotOlderThan"];
            Err(invalid_options(FieldError::not_supported(
                field,
                &json!(other),
                &allowed,
            )))
        }
    }
}

/// A refusal of list or watch options.
pub(crate) fn invalid_options(error: FieldError) -> ApiError {
    ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error])
}

/// A resourceVersion as a number; 0 when unset.
pub(crate) fn revision(text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let why = "resource version must be a number";
        invalid_options(FieldError::invalid("resourceVersion", &json!(text), why))
    })
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
fn expired(query: &ListQuery, error: &StoreError) -> Response {
    let failure = ApiError::expired(format!(
        "The provided continue parameter is too old to display a consistent list result ({error}). \
         Start a new list, or use the continue token of this answer to go on with an inconsistent one."
    ));
    let mut status = failure.to_status();
    if let Some(after) = query.after.clone() {
        let token = Position {
            revision: None,
            after,
        }
        .encode();
        plimsoll_api::meta::object_mut(&mut status, &["metadata"])
            .insert("continue".into(), Value::String(token));
    }
    respond::plain(410, "application/json", present::bytes_of(&status))
}
