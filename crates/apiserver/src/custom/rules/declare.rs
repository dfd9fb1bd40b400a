//! Schemas as the types of expressions, with the largest sizes that objects may have.

use plimsoll_api::custom::{Limits, ListKind as SchemaList, Schema, Type as SchemaType};
use plimsoll_cel::{Decl, ListKind, ListType, Type};
use std::sync::Arc;

/// Bytes of the largest request.
pub(super) const REQUEST_BYTES: u64 = 3 << 20;

/// What of an object is there without being in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The whole object, or one embedded in it: `apiVersion`, `kind` and some metadata.
    Resource,
    /// Anything else.
    Inner,
}

/// The type of a schema's values; `None` for what expressions cannot look at.
pub(super) fn declare(schema: &Schema, place: Place) -> Option<Decl> {
    let limits = schema.limits.as_deref();
    if schema.int_or_string {
        return Some(Decl::sized(Type::Dyn, text_bytes(limits)));
    }
    Some(match schema.ty? {
        SchemaType::Boolean => Decl::sized(Type::Bool, 1),
        SchemaType::Integer => Decl::sized(Type::Int, 1),
        SchemaType::Number => Decl::sized(Type::Double, 1),
        SchemaType::String => text(limits),
        SchemaType::Array => {
            let element = declare(schema.items.as_deref()?, Place::Inner)?;
            let kind = match &schema.list {
                SchemaList::Atomic => ListKind::Atomic,
                SchemaList::Set => ListKind::Set,
                SchemaList::Map(keys) => ListKind::Map(keys.clone()),
            };
            let list = Type::List(Arc::new(ListType { element, kind }));
            Decl::sized(list, most_items(schema))
        }
        SchemaType::Object => object(schema, place)?,
    })
}

fn object(schema: &Schema, place: Place) -> Option<Decl> {
    if let Some(additional) = &schema.additional {
        let value = declare(additional, Place::Inner)?;
        return Some(Decl::sized(Type::map(value), most_properties(schema)));
    }
    let own = schema
        .properties
        .iter()
        .filter_map(|(name, below)| Some((name.clone(), declare(below, Place::Inner)?)));
    let mut fields: Vec<(String, Decl)> = own.collect();
    if schema.embedded || place == Place::Resource {
        let text = || Decl::sized(Type::String, 253);
        fields.retain(|(name, _)| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
        let known = ["name", "generateName"].map(|name| (name.to_owned(), text()));
        let metadata = Decl::sized(Type::object("object", known), 1);
        fields.push(("metadata".to_owned(), metadata));
        fields.push(("apiVersion".to_owned(), text()));
        fields.push(("kind".to_owned(), text()));
    }
    Some(Decl::sized(Type::object("object", fields), 1))
}

fn text(limits: Option<&Limits>) -> Decl {
    let format = limits.and_then(|limits| limits.format.as_deref());
    match format {
        Some("date" | "date-time") => Decl::sized(Type::Timestamp, 1),
        Some("duration") => Decl::sized(Type::Duration, 1),
        Some("byte") => Decl::sized(Type::Bytes, text_bytes(limits)),
        _ => Decl::sized(Type::String, text_bytes(limits)),
    }
}

/// A character takes up to four bytes.
fn text_bytes(limits: Option<&Limits>) -> u64 {
    let Some(limits) = limits else {
        return REQUEST_BYTES - 2;
    };
    if let Some(length) = limits.max_length {
        return length.saturating_mul(4);
    }
    let longest = limits
        .allowed
        .iter()
        .filter_map(|value| value.as_str())
        .map(str::len)
        .max();
    longest.map_or(REQUEST_BYTES - 2, |length| length as u64)
}

/// Items a list may have: as declared, else as many as a request has room for.
pub(super) fn most_items(schema: &Schema) -> u64 {
    let declared = schema.limits.as_ref().and_then(|limits| limits.max_items);
    let smallest = schema.items.as_deref().map_or(1, smallest);
    declared.unwrap_or((REQUEST_BYTES - 2) / (smallest + 1))
}

/// Entries a map may have, likewise.
pub(super) fn most_properties(schema: &Schema) -> u64 {
    let declared = schema
        .limits
        .as_ref()
        .and_then(|limits| limits.max_properties);
    let smallest = schema.additional.as_deref().map_or(1, smallest);
    declared.unwrap_or((REQUEST_BYTES - 2) / (smallest + 6))
}

/// Bytes of the smallest JSON a schema takes.
pub(super) fn smallest(schema: &Schema) -> u64 {
    match schema.ty {
        None | Some(SchemaType::Integer | SchemaType::Number) => 1,
        Some(SchemaType::Boolean) => 4,
        Some(SchemaType::String | SchemaType::Array) => 2,
        Some(SchemaType::Object) => {
            let required = schema.limits.iter().flat_map(|limits| &limits.required);
            let known = required.filter_map(|name| Some((name, schema.properties.get(name)?)));
            // A property takes its name in quotes, a colon, a comma and its value.
            let bytes = known.map(|(name, below)| name.len() as u64 + 4 + smallest(below));
            bytes.fold(2, u64::saturating_add)
        }
    }
}
