//! Store events in the form one watcher asked for.

use super::filter::Filter;
use super::present::{
    Head, Rows, bytes_of, parse, partial_bytes, protobuf_object, served_bytes, to_served,
};
use crate::http::negotiate::{Encoding, Shape};
use crate::http::respond;
use crate::server::ApiServer;
use crate::store::{Change, Entry, Event};
use bytes::Bytes;
use plimsoll_api::kind::Kind;
use plimsoll_api::status::ApiError;
use plimsoll_api::{meta, protobuf};
use serde_json::json;
use std::sync::Arc;

/// Turns events into lines of one watch.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) server: ApiServer,
    pub(crate) kind: Arc<Kind>,
    pub(crate) shape: Shape,
    pub(crate) encoding: Encoding,
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
            .then(|| self.own("ADDED", &entry.json))
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
            (Change::Put, false, true) => Some(self.own("ADDED", &event.entry.json)),
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
        Some(self.own("DELETED", &bytes_of(&object)))
    }

    /// The event as it happened, from the frame all watchers share if the form allows.
    fn natural(&mut self, event: &Event) -> Bytes {
        let kind = match (event.change, &event.previous) {
            (Change::Delete, _) => "DELETED",
            (Change::Put, None) => "ADDED",
            (Change::Put, Some(_)) => "MODIFIED",
        };
        if self.shape == Shape::Object && self.kind.is_served_as_stored(&event.entry.json) {
            let shared = match self.encoding {
                Encoding::Json | Encoding::Yaml => &event.frame,
                Encoding::Protobuf => &event.protobuf,
            };
            return shared.get_or_make(|| self.line(kind, &event.entry.json));
        }
        self.own(kind, &event.entry.json)
    }

    /// A line for this watcher alone.
    fn own(&mut self, event: &str, json: &Bytes) -> Bytes {
        let line = self.line(event, json);
        self.head_sent = true;
        line
    }

    fn line(&self, event: &str, json: &Bytes) -> Bytes {
        match self.body(json) {
            Ok(body) => frame(self.encoding, event, &body),
            // Stored objects fit their schema; if one does not, the client hears of it.
            Err(error) => failure(&error, self.encoding),
        }
    }

    fn body(&self, json: &Bytes) -> Result<Bytes, ApiError> {
        if self.encoding == Encoding::Protobuf {
            return protobuf_object(&self.kind, &self.shape, json);
        }
        match self.shape.clone() {
            Shape::Object | Shape::Discovery(_) => served_bytes(&self.kind, json),
            Shape::Metadata(version) => partial_bytes(version, json),
            Shape::Table(version, include) => {
                let object = to_served(&self.kind, parse(json)?);
                let rows = Rows {
                    kind: &self.kind,
                    version,
                    include,
                    now: self.server.now(),
                };
                let head = if self.head_sent {
                    Head::Omitted
                } else {
                    Head::Shown
                };
                let about = meta::text(&object, &["metadata", "resourceVersion"]).to_owned();
                let about = json!({"resourceVersion": about});
                Ok(bytes_of(&rows.table(&about, vec![object], head)))
            }
        }
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
        if let Shape::Table(version, include) = self.shape {
            let rows = Rows {
                kind: &self.kind,
                version,
                include,
                now: self.server.now(),
            };
            return frame(self.encoding, "BOOKMARK", &bytes_of(&rows.bookmark(object)));
        }
        if self.shape == Shape::Object && self.encoding != Encoding::Protobuf {
            return frame(self.encoding, "BOOKMARK", &bytes_of(&object));
        }
        self.line("BOOKMARK", &bytes_of(&object))
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
pub(crate) fn failure(error: &ApiError, encoding: Encoding) -> Bytes {
    let status = bytes_of(&error.to_status());
    let body = match encoding {
        Encoding::Json | Encoding::Yaml => status,
        Encoding::Protobuf => respond::protobuf_of(&status).unwrap_or_default().into(),
    };
    frame(encoding, "ERROR", &body)
}

fn frame(encoding: Encoding, event: &str, body: &[u8]) -> Bytes {
    if encoding == Encoding::Protobuf {
        return protobuf::watch_frame(event, body).into();
    }
    let mut out = Vec::with_capacity(body.len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(body);
    out.extend_from_slice(b"}\n");
    out.into()
}
