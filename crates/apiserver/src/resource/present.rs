//! Stored objects in the form a client asked for.

use crate::http::negotiate::{Include, Shape, Wanted};
use crate::http::respond::{self, Response};
use crate::store::Entry;
use bytes::Bytes;
use jiff::Timestamp;
use plimsoll_api::kind::{Column, Kind};
use plimsoll_api::meta;
use plimsoll_api::status::ApiError;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The metadata of a list.
#[derive(Debug, Default)]
pub(crate) struct ListMeta {
    /// Revision the list is true at.
    pub(crate) revision: u64,
    /// Token of the next page.
    pub(crate) next: Option<String>,
    /// How many objects follow.
    pub(crate) remaining: Option<usize>,
}

impl ListMeta {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        map.insert("resourceVersion".into(), self.revision.to_string().into());
        if let Some(next) = &self.next {
            map.insert("continue".into(), next.as_str().into());
        }
        if let Some(remaining) = self.remaining {
            map.insert("remainingItemCount".into(), remaining.into());
        }
        Value::Object(map)
    }
}

/// Parses stored JSON.
pub(crate) fn parse(json: &[u8]) -> Result<Value, ApiError> {
    serde_json::from_slice(json).map_err(|e| ApiError::internal(format!("stored object: {e}")))
}

/// A stored object in the served version.
pub(crate) fn to_served(kind: &Kind, stored: Value) -> Value {
    kind.to_served(stored)
}

/// Stored bytes in the served version; the same bytes unless the kind converts.
pub(crate) fn served_bytes(kind: &Kind, json: &Bytes) -> Result<Bytes, ApiError> {
    if kind.is_served_as_stored(json) {
        return Ok(json.clone());
    }
    Ok(bytes_of(&to_served(kind, parse(json)?)))
}

/// Compact JSON.
pub(crate) fn bytes_of(value: &Value) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// One object as an answer.
pub(crate) fn object(
    code: u16,
    kind: &Kind,
    wanted: &Wanted,
    json: &Bytes,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let bytes = match &wanted.shape {
        Shape::Object | Shape::Discovery(_) => served_bytes(kind, json)?,
        Shape::Metadata => bytes_of(&partial(parse(json)?)),
        Shape::Table(version, include) => {
            let object = to_served(kind, parse(json)?);
            let meta =
                json!({"resourceVersion": meta::text(&object, &["metadata", "resourceVersion"])});
            let table = Rows {
                kind,
                version,
                include: *include,
                now,
            };
            bytes_of(&table.table(&meta, vec![object], Head::Shown))
        }
    };
    Ok(respond::json(code, wanted, bytes))
}

/// A list as an answer.
pub(crate) fn list(
    kind: &Kind,
    wanted: &Wanted,
    entries: &[Arc<Entry>],
    about: &ListMeta,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let each = |form: &dyn Fn(&Bytes) -> Result<Bytes, ApiError>| {
        let items = entries.iter().map(|entry| form(&entry.json));
        items.collect::<Result<Vec<Bytes>, ApiError>>()
    };
    let about = about.to_value();
    let (head, items) = match &wanted.shape {
        Shape::Object | Shape::Discovery(_) => {
            let name = kind.list_kind();
            let head = json!({"kind": name, "apiVersion": kind.api_version(), "metadata": about});
            (head, each(&|json| served_bytes(kind, json))?)
        }
        Shape::Metadata => {
            let head = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": about,
            });
            (head, each(&|json| Ok(bytes_of(&partial(parse(json)?))))?)
        }
        Shape::Table(version, include) => {
            let rows = Rows {
                kind,
                version,
                include: *include,
                now,
            };
            // One object at a time: only the finished rows are kept.
            let items = each(&|json| Ok(bytes_of(&rows.row(to_served(kind, parse(json)?)))))?;
            let mut head = rows.table(&about, Vec::new(), Head::Shown);
            meta::as_object(&mut head).shift_remove("rows");
            (head, items)
        }
    };
    let list = if matches!(wanted.shape, Shape::Table(..)) {
        "rows"
    } else {
        "items"
    };
    let mut open = serde_json::to_vec(&head).unwrap_or_default();
    open.pop();
    open.extend_from_slice(format!(",\"{list}\":[").as_bytes());
    Ok(respond::parts(wanted, open, items, b"]}"))
}

/// Only the metadata of an object.
pub(crate) fn partial(mut object: Value) -> Value {
    let metadata = object.get_mut("metadata").map_or(Value::Null, Value::take);
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// Whether a table carries its column definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// It does.
    Shown,
    /// A later event of the same watch: it does not.
    Omitted,
}

/// Prints objects as table rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// What the objects are.
    pub(crate) kind: &'a Kind,
    /// Version of the Table itself.
    pub(crate) version: &'a str,
    /// How much of the object a row carries.
    pub(crate) include: Include,
    /// Ages count from here.
    pub(crate) now: Timestamp,
}

impl Rows<'_> {
    /// A Table of `objects` (served version).
    pub(crate) fn table(&self, metadata: &Value, objects: Vec<Value>, head: Head) -> Value {
        let rows: Vec<Value> = objects.into_iter().map(|object| self.row(object)).collect();
        let columns = match head {
            Head::Shown => columns(&self.kind.table.columns),
            Head::Omitted => Value::Null,
        };
        table(self.version, metadata, &columns, &rows)
    }

    /// One row.
    fn row(&self, object: Value) -> Value {
        let cells = self.kind.cells(&object, self.now);
        row(&cells, object, self.include)
    }

    /// A Table whose only row is a bookmark.
    pub(crate) fn bookmark(&self, object: Value) -> Value {
        let version = meta::text(&object, &["metadata", "resourceVersion"]).to_owned();
        let rows = [json!({"cells": [], "object": partial(object)})];
        table(
            self.version,
            &json!({"resourceVersion": version}),
            &Value::Null,
            &rows,
        )
    }
}

/// Column definitions as a Table lists them.
pub(crate) fn columns(columns: &[Column]) -> Value {
    let definition = |c: &Column| {
        json!({
            "name": c.name, "type": c.kind, "format": c.format, "description": "",
            "priority": c.priority,
        })
    };
    Value::Array(columns.iter().map(definition).collect())
}

/// One row.
pub(crate) fn row(cells: &[Value], object: Value, include: Include) -> Value {
    let object = match include {
        Include::None => Value::Null,
        Include::Metadata => partial(object),
        Include::Object => object,
    };
    json!({"cells": cells, "object": object})
}

/// A Table of rows.
pub(crate) fn table(version: &str, metadata: &Value, columns: &Value, rows: &[Value]) -> Value {
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}
