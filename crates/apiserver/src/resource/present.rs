//! Stored objects in the form a client asked for.

use crate::http::negotiate::{Encoding, Include, Shape, Wanted};
use crate::http::respond::{self, Response};
use crate::store::Entry;
use bytes::Bytes;
use jiff::Timestamp;
use plimsoll_api::kind::{Column, Kind};
use plimsoll_api::schema::{self, TypeId};
use plimsoll_api::status::ApiError;
use plimsoll_api::{meta, print, protobuf};
use serde_json::value::RawValue;
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

/// The protobuf type of a kind; `None` for custom kinds, which have none.
pub(crate) fn protobuf_type(kind: &Kind) -> Option<TypeId> {
    if kind.custom.is_some() {
        return None;
    }
    schema::by_kind(&kind.group, &kind.version, &kind.kind).filter(|ty| *ty == kind.schema)
}

/// One object as an answer.
pub(crate) fn object(
    code: u16,
    kind: &Kind,
    wanted: &Wanted,
    json: &Bytes,
    now: Timestamp,
) -> Result<Response, ApiError> {
    if wanted.encoding == Encoding::Protobuf {
        let body = protobuf_object(kind, &wanted.shape, json)?;
        let media = wanted.encoding.media_type();
        return Ok(respond::whole(code, wanted, media, body));
    }
    let bytes = match &wanted.shape {
        Shape::Object | Shape::Discovery(_) => served_bytes(kind, json)?,
        Shape::Metadata(version) => partial_bytes(version, json)?,
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

/// One object as a protobuf body.
pub(crate) fn protobuf_object(kind: &Kind, shape: &Shape, json: &Bytes) -> Result<Bytes, ApiError> {
    let mut raw = Vec::with_capacity(json.len() / 2);
    put_protobuf(kind, shape, json, &mut raw)?;
    let body = if let Shape::Metadata(version) = shape {
        let api_version = format!("meta.k8s.io/{version}");
        protobuf::encode_envelope(&api_version, "PartialObjectMetadata", &raw)
    } else {
        protobuf::encode_envelope(&kind.api_version(), &kind.kind, &raw)
    };
    Ok(body.into())
}

fn put_protobuf(
    kind: &Kind,
    shape: &Shape,
    json: &Bytes,
    out: &mut Vec<u8>,
) -> Result<(), ApiError> {
    if matches!(shape, Shape::Metadata(_)) {
        return protobuf::transcode_metadata(json, out);
    }
    protobuf::transcode(kind.schema, &served_bytes(kind, json)?, out)
}

/// After this many items of a long list other requests get their turn.
const TURN: usize = 250;

/// Every entry in some form.
async fn each(
    entries: &[Arc<Entry>],
    form: impl Fn(&Bytes) -> Result<Bytes, ApiError> + Send,
) -> Result<Vec<Bytes>, ApiError> {
    let mut items = Vec::with_capacity(entries.len());
    for turn in entries.chunks(TURN) {
        if !items.is_empty() {
            tokio::task::yield_now().await;
        }
        for entry in turn {
            items.push(form(&entry.json)?);
        }
    }
    Ok(items)
}

/// A list as an answer.
pub(crate) async fn list(
    kind: &Kind,
    wanted: &Wanted,
    entries: &[Arc<Entry>],
    about: &ListMeta,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let about = about.to_value();
    if wanted.encoding == Encoding::Protobuf {
        return protobuf_list(kind, wanted, entries, &about).await;
    }
    let (head, items) = match &wanted.shape {
        Shape::Object | Shape::Discovery(_) => {
            let name = kind.list_kind();
            let head = json!({"kind": name, "apiVersion": kind.api_version(), "metadata": about});
            (head, each(entries, |json| served_bytes(kind, json)).await?)
        }
        Shape::Metadata(version) => {
            let head = json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": format!("meta.k8s.io/{version}"), "metadata": about,
            });
            let items = each(entries, |json| partial_bytes(version, json)).await?;
            (head, items)
        }
        Shape::Table(version, include) => {
            let rows = Rows {
                kind,
                version,
                include: *include,
                now,
            };
            // One object at a time: only the finished rows are kept.
            let row = |json: &Bytes| Ok(bytes_of(&rows.row(to_served(kind, parse(json)?))));
            let items = each(entries, row).await?;
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

/// Items of a protobuf list are gathered into chunks of about this many bytes.
const CHUNK: usize = 256 * 1024;

/// The entries as items of a protobuf list, in chunks.
async fn protobuf_items(
    kind: &Kind,
    shape: &Shape,
    entries: &[Arc<Entry>],
) -> Result<Vec<Bytes>, ApiError> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    for (index, turn) in entries.chunks(TURN).enumerate() {
        if index > 0 {
            tokio::task::yield_now().await;
        }
        for entry in turn {
            protobuf::put_item(&mut chunk, |out| {
                put_protobuf(kind, shape, &entry.json, out)
            })?;
        }
        if chunk.len() >= CHUNK {
            chunks.push(Bytes::from(std::mem::take(&mut chunk)));
            chunk.reserve(CHUNK * 2);
        }
    }
    chunks.push(chunk.into());
    Ok(chunks)
}

async fn protobuf_list(
    kind: &Kind,
    wanted: &Wanted,
    entries: &[Arc<Entry>],
    about: &Value,
) -> Result<Response, ApiError> {
    let chunks = protobuf_items(kind, &wanted.shape, entries).await?;
    let (api_version, name) = if let Shape::Metadata(version) = &wanted.shape {
        (
            format!("meta.k8s.io/{version}"),
            "PartialObjectMetadataList".to_owned(),
        )
    } else {
        (kind.api_version(), format!("{}List", kind.kind))
    };
    let meta_type = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
    let meta_type = meta_type.ok_or_else(|| ApiError::internal("no schema for ListMeta"))?;
    let metadata = protobuf::encode(meta_type, about)?;
    let length = chunks.iter().map(Bytes::len).sum();
    let (head, tail) = protobuf::list_envelope(&api_version, &name, &metadata, length);
    let length = length + head.len() + tail.len();
    let parts = std::iter::once(Bytes::from(head))
        .chain(chunks)
        .chain(std::iter::once(Bytes::from_static(tail)));
    let media = wanted.encoding.media_type();
    Ok(respond::chunks(wanted, media, length, parts))
}

/// The JSON of an object's metadata alone, without reading the rest into memory.
pub(crate) fn partial_bytes(version: &str, json: &[u8]) -> Result<Bytes, ApiError> {
    #[derive(serde::Deserialize)]
    struct Object<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let object: Object<'_> = serde_json::from_slice(json)
        .map_err(|e| ApiError::internal(format!("stored object: {e}")))?;
    let head = format!(
        "{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":"
    );
    Ok([head.as_bytes(), object.metadata.get().as_bytes(), b"}"]
        .concat()
        .into())
}

/// Only the metadata of an object.
fn partial(version: &str, mut object: Value) -> Value {
    let metadata = object.get_mut("metadata").map_or(Value::Null, Value::take);
    let api_version = format!("meta.k8s.io/{version}");
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": metadata})
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
        let conditions = if self.kind.is("", "Pod") {
            print::row_conditions("Pod", &object)
        } else {
            None
        };
        let mut row = row(self.version, &cells, object, self.include);
        if let Some(conditions) = conditions {
            meta::as_object(&mut row).insert("conditions".into(), conditions);
        }
        row
    }

    /// A Table whose only row is a bookmark.
    pub(crate) fn bookmark(&self, object: Value) -> Value {
        let version = meta::text(&object, &["metadata", "resourceVersion"]).to_owned();
        let rows = [json!({"cells": [], "object": partial(self.version, object)})];
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
        let description = match c.description.as_ref() {
            "" => print::column_description(&c.name),
            said => said,
        };
        json!({
            "name": c.name, "type": c.kind, "format": c.format,
            "description": description, "priority": c.priority,
        })
    };
    Value::Array(columns.iter().map(definition).collect())
}

/// One row.
pub(crate) fn row(version: &str, cells: &[Value], object: Value, include: Include) -> Value {
    let object = match include {
        Include::None => Value::Null,
        Include::Metadata => partial(version, object),
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
