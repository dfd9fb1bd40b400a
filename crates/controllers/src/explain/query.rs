//! What a read of explanations or decisions asks for.

use super::journal::Span;
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::kind::Column;
use plimsoll_api::local::LocalRequest;
use plimsoll_api::selector::FieldSelector;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::time::Duration;

/// The API group.
pub(crate) const GROUP: &str = "explain.plimsoll.dev";
/// Group and version.
pub(crate) const API_VERSION: &str = "explain.plimsoll.dev/v1alpha1";
/// Plural of decisions.
pub(crate) const DECISIONS: &str = "decisions";
/// The longest that a read may wait for something new.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Which decisions are asked for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) namespace: Option<String>,
    pub(crate) fields: FieldSelector,
    pub(crate) since: Option<Timestamp>,
    /// Only decisions with a greater id.
    pub(crate) after: u64,
}

/// What decisions are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl Wanted {
    /// Reads the parameters; "an hour ago" counts from `latest`.
    pub(crate) fn parse(request: &LocalRequest, latest: Timestamp) -> Result<Self, ApiError> {
        let since = request.parameter("since").filter(|text| !text.is_empty());
        let since = since.map(|text| time(text, latest)).transpose()?;
        Ok(Self {
            namespace: request.namespace.clone(),
            fields: FieldSelector::parse(&request.field_selector)?,
            since,
            after: number(request, "after")?.unwrap_or_default(),
        })
    }

    /// Whether a decision that was made then is wanted.
    pub(crate) fn has(&self, about: About<'_>, made: &Span) -> bool {
        made.id > self.after
            && self.since.is_none_or(|since| made.last >= since)
            && self.fields.matches(|field| match field {
                "involvedObject.kind" => about.kind,
                "involvedObject.name" => about.name,
                "involvedObject.namespace" | "metadata.namespace" => about.namespace,
                _ => "",
            })
    }
}

/// How long a read may wait for something new.
pub(crate) fn wait(request: &LocalRequest) -> Result<Duration, ApiError> {
    let wait = number(request, "timeoutSeconds")?.unwrap_or(0);
    Ok(Duration::from_secs(wait).min(LONGEST_WAIT))
}

/// The one decision with this name.
pub(crate) fn named(decisions: Vec<Value>, name: &str) -> Result<Value, ApiError> {
    let mut decisions = decisions.into_iter();
    let found = decisions.find(|decision| decision.pointer("/metadata/name") == Some(&json!(name)));
    found.ok_or_else(|| ApiError::not_found(GROUP, DECISIONS, name))
}

/// A time, or how long ago: `2026-01-01T12:00:00Z`, `1h`.
fn time(text: &str, latest: Timestamp) -> Result<Timestamp, ApiError> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let span: SignedDuration = text.parse().map_err(|_| {
        ApiError::bad_request(format!(
            "since is neither a time like 2026-01-31T12:00:00Z nor a duration like 1h: {text:?}"
        ))
    })?;
    Ok(latest.checked_sub(span.abs()).unwrap_or(Timestamp::MIN))
}

fn number(request: &LocalRequest, name: &str) -> Result<Option<u64>, ApiError> {
    let text = request.parameter(name).filter(|text| !text.is_empty());
    text.map(str::parse).transpose().map_err(|_| {
        let text = text.unwrap_or_default();
        ApiError::bad_request(format!("{name} is not a whole number: {text:?}"))
    })
}

/// A list object.
pub(crate) fn list(kind: &str, items: &[Value], version: &str) -> Value {
    json!({
        "kind": kind, "apiVersion": API_VERSION,
        "metadata": { "resourceVersion": version }, "items": items,
    })
}

/// Columns for `kubectl get`, by name and type.
pub(crate) fn columns(shown: &[(&'static str, &'static str)]) -> Vec<Column> {
    let column = |&(name, kind): &(&'static str, &'static str)| Column {
        name: name.into(),
        kind: kind.into(),
        format: if name == "Name" { "name" } else { "" }.into(),
        priority: 0,
        description: "".into(),
    };
    shown.iter().map(column).collect()
}

/// A part of an object for a cell; null if it is not there.
pub(crate) fn cell(object: &Value, pointer: &str) -> Value {
    object.pointer(pointer).cloned().unwrap_or_default()
}
