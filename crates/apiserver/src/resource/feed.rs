//! Store events in the form one watcher asked for.

use super::filter::Filter;
use super::present::{Head, Rows, bytes_of, parse, partial, to_served};
use crate::http::negotiate::Shape;
use crate::server::ApiServer;
use crate::store::{Change, Entry, Event};
use bytes::Bytes;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Value, json};
use std::sync::Arc;

/// Turns events into lines of one watch.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) server: ApiServer,
    pub(crate) kind: Arc<Kind>,
    pub(crate) shape: Shape,
    pub(crate) filter: Filter,
    pub(crate) namespace: Option<Arc<str>>,
    /// Whether column definitions have been sent (tables only).
    pub(crate) head_sent: bool,
}

impl Feed {
    /// An object that was there when the watch began; `None` if it is not selected.
    pub(crate) fn initial(&mut self, entry: &Entry) -> Option<Bytes> {
        self.filter
            .matches(entry)
            .then(|| self.line("ADDED", &entry.json))
    }

    /// A step of history; `None` if this watcher does not see it.
    pub(crate) fn event(&mut self, event: &Event) -> Option<Bytes> {
        let in_scope = self
            .namespace
            .as_ref()
            .is_none_or(|n| *n == event.entry.key.namespace);
        if !in_scope {
            return None;
        }
        if self.filter.is_everything() {
            return Some(self.natural(event));
        }
        let before = event
            .previous
            .as_ref()
            .is_some_and(|entry| self.filter.matches(entry));
        match (event.change, before, self.filter.matches(&event.entry)) {
            (Change::Delete, true, _) | (Change::Put, true, true) => Some(self.natural(event)),
            (Change::Put, false, true) if event.previous.is_none() => Some(self.natural(event)),
            (Change::Put, false, true) => Some(self.line("ADDED", &event.entry.json)),
            (Change::Put, true, false) => self.left(event),
            (Change::Delete | Change::Put, false, _) => None,
        }
    }

    /// The object left the selection: to this watcher it is deleted, in its last selected state.
    fn left(&mut self, event: &Event) -> Option<Bytes> {
        let mut object = parse(&event.previous.as_ref()?.json).ok()?;
        meta::object_mut(&mut object, &["metadata"]).insert(
            "resourceVersion".into(),
            event.entry.revision.to_string().into(),
        );
        Some(self.line("DELETED", &bytes_of(&object)))
    }

    /// The event as it happened, from the frame all watchers share if the form allows.
    fn natural(&mut self, event: &Event) -> Bytes {
        let kind = match (event.change, &event.previous) {
            (Change::Delete, _) => "DELETED",
            (Change::Put, None) => "ADDED",
            (Change::Put, Some(_)) => "MODIFIED",
        };
        if self.shape == Shape::Object && self.kind.is_served_as_stored(&event.entry.json) {
            return event
                .frame
                .get_or_init(|| frame(kind, &event.entry.json))
                .clone();
        }
        self.line(kind, &event.entry.json)
    }

    fn line(&mut self, event: &str, json: &Bytes) -> Bytes {
        if self.shape == Shape::Object && self.kind.is_served_as_stored(json) {
            return frame(event, json);
        }
        let object = to_served(&self.kind, parse(json).unwrap_or_default());
        let object = match self.shape.clone() {
            Shape::Object | Shape::Discovery(_) => object,
            Shape::Metadata => partial(object),
            Shape::Table(version, include) => {
                let now = self.server.now();
                let rows = Rows {
                    kind: &self.kind,
                    version,
                    include,
                    now,
                };
                let head = if self.head_sent {
                    Head::Omitted
                } else {
                    Head::Shown
                };
                let about = meta::text(&object, &["metadata", "resourceVersion"]).to_owned();
                let table = rows.table(&json!({"resourceVersion": about}), vec![object], head);
                self.head_sent = true;
                table
            }
        };
        frame(event, &bytes_of(&object))
    }

    /// A bookmark at `revision`; `initial` marks the end of the initial events.
    pub(crate) fn bookmark(&self, revision: u64, initial: Initial) -> Bytes {
        let mut object = json!({
            "kind": self.kind.kind, "apiVersion": self.kind.api_version(),
            "metadata": {"resourceVersion": revision.to_string(), "creationTimestamp": null},
        });
        if initial == Initial::Ends {
            meta::object_mut(&mut object, &["metadata", "annotations"])
                .insert("k8s.io/initial-events-end".into(), "true".into());
        }
        let object = match self.shape {
            Shape::Object | Shape::Discovery(_) => object,
            Shape::Metadata => partial(object),
            Shape::Table(version, include) => {
                let now = self.server.now();
                Rows {
                    kind: &self.kind,
                    version,
                    include,
                    now,
                }
                .bookmark(object)
            }
        };
        frame("BOOKMARK", &bytes_of(&object))
    }
}

/// What a bookmark says about the initial events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initial {
    /// They end here.
    Ends,
    /// Nothing.
    Silent,
}

/// The last line of a watch that cannot go on.
pub(crate) fn failure(error: &ApiError) -> Bytes {
    let status: Value = error.to_status();
    frame("ERROR", &bytes_of(&status))
}

fn frame(event: &str, json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(json);
    out.extend_from_slice(b"}\n");
    out.into()
}
