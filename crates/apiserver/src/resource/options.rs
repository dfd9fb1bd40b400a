//! The options of lists and watches, and which of them go together.

use super::paging::Position;
use crate::call::Call;
use crate::http::query::Query;
use plimsoll_api::status::{ApiError, FieldError};
use serde_json::json;

/// What `resourceVersion` means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Match {
    /// Not said.
    Unset,
    /// The state at exactly this revision.
    Exact,
    /// That state or a newer one.
    NotOlderThan,
}

/// The options of a LIST.
#[derive(Debug)]
pub(crate) struct ListOptions {
    /// `resourceVersion`; 0 when unset or zero.
    pub(crate) revision: u64,
    /// `resourceVersionMatch`.
    pub(crate) matching: Match,
    /// `limit`; 0 for none.
    pub(crate) limit: usize,
    /// `continue`.
    pub(crate) position: Option<Position>,
}

/// The options of a WATCH.
#[derive(Debug)]
pub(crate) struct WatchOptions {
    /// `resourceVersion`; 0 when unset or zero.
    pub(crate) revision: u64,
    /// `sendInitialEvents`.
    pub(crate) initial_events: Option<bool>,
    /// `allowWatchBookmarks`.
    pub(crate) bookmarks: bool,
    /// `timeoutSeconds`, if positive.
    pub(crate) timeout_seconds: Option<u32>,
}

const MATCH: &str = "resourceVersionMatch";

impl ListOptions {
    /// Reads and checks the options of a LIST.
    ///
    /// # Errors
    ///
    /// 400 for numbers that are none and tokens that nobody issued, 422 for combinations that mean
    /// nothing.
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        let query = &call.query;
        let version = query.text("resourceVersion");
        let token = query.text("continue");
        check_list(query)?;
        let limit: i64 = number(query, "limit")?.unwrap_or(0);
        number::<i64>(query, "timeoutSeconds")?;
        if !token.is_empty() && !matches!(version, "" | "0") {
            let message = "specifying resource version is not allowed when using continue";
            return Err(ApiError::bad_request(message));
        }
        let position = (!token.is_empty()).then(|| Position::decode(token));
        Ok(Self {
            revision: revision(version)?,
            matching: match query.text(MATCH) {
                "Exact" => Match::Exact,
                "NotOlderThan" => Match::NotOlderThan,
                _ => Match::Unset,
            },
            // Upstream takes a negative limit for none.
            limit: usize::try_from(limit).unwrap_or(0),
            position: position.transpose()?,
        })
    }
}

impl WatchOptions {
    /// Whether the watch begins with the objects that are there. Clients that do not say get them
    /// where they name no revision to go on from.
    pub(crate) fn with_state(&self) -> bool {
        self.initial_events.unwrap_or(self.revision == 0)
    }

    /// Reads and checks the options of a WATCH.
    ///
    /// # Errors
    ///
    /// As [`ListOptions::of`].
    pub(crate) fn of(call: &Call) -> Result<Self, ApiError> {
        let query = &call.query;
        let initial_events = query.get("sendInitialEvents");
        check_watch(query)?;
        let timeout: Option<i64> = number(query, "timeoutSeconds")?;
        let timeout = timeout.map(|seconds| u32::try_from(seconds.max(0)).unwrap_or(u32::MAX));
        Ok(Self {
            revision: revision(query.text("resourceVersion"))?,
            initial_events: initial_events.map(|_| query.flag("sendInitialEvents")),
            bookmarks: query.flag("allowWatchBookmarks"),
            timeout_seconds: timeout.filter(|seconds| *seconds > 0),
        })
    }
}

fn check_list(query: &Query) -> Result<(), ApiError> {
    let version = query.text("resourceVersion");
    let matching = query.text(MATCH);
    let mut errors = Vec::new();
    if !matching.is_empty() {
        if version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.push(FieldError::forbidden(MATCH, why));
        }
        errors.extend(with_continue(query));
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let allowed = ["Exact", "NotOlderThan", ""];
            errors.push(FieldError::not_supported(MATCH, &json!(matching), &allowed));
        }
        if matching == "Exact" && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.push(FieldError::forbidden(MATCH, why));
        }
    }
    if query.get("sendInitialEvents").is_some() {
        let why = "sendInitialEvents is forbidden for list";
        errors.push(FieldError::forbidden("sendInitialEvents", why));
    }
    unless_empty(&errors)
}

fn check_watch(query: &Query) -> Result<(), ApiError> {
    let matching = query.text(MATCH);
    let initial = query.get("sendInitialEvents").is_some();
    let mut errors = Vec::new();
    if initial && matching != "NotOlderThan" {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.push(FieldError::forbidden(MATCH, why));
    }
    if !matching.is_empty() {
        if !initial {
            let why =
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            errors.push(FieldError::forbidden(MATCH, why));
        }
        if matching != "NotOlderThan" {
            let allowed = ["NotOlderThan"];
            errors.push(FieldError::not_supported(MATCH, &json!(matching), &allowed));
        }
        errors.extend(with_continue(query));
    }
    unless_empty(&errors)
}

fn with_continue(query: &Query) -> Option<FieldError> {
    let why = "resourceVersionMatch is forbidden when continue is provided";
    (!query.text("continue").is_empty()).then(|| FieldError::forbidden(MATCH, why))
}

fn unless_empty(errors: &[FieldError]) -> Result<(), ApiError> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", errors))
}

/// A resourceVersion as a number; 0 when unset.
pub(crate) fn revision(text: &str) -> Result<u64, ApiError> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
        let error = FieldError::invalid("resourceVersion", &json!(text), why);
        ApiError::invalid("meta.k8s.io", "ListOptions", "", &[error])
    })
}

/// The number under `key`; 400 for text that is none.
fn number<T: std::str::FromStr>(query: &Query, key: &str) -> Result<Option<T>, ApiError> {
    let text = query.text(key);
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(format!(
            "strconv.ParseInt: parsing {text:?}: invalid syntax"
        ))
    })
}
