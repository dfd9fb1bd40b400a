//! Objects to messages. Fails with the name of a field whose value does not fit.

use super::wire::{put_bytes, put_double, put_integer};
use crate::schema::{self, FieldDef, FieldType, Item, Shape, TypeDef, TypeId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

type Written = Result<(), &'static str>;

/// Encodes a value of a type of the table.
pub(super) fn message(ty: TypeId, value: &Value) -> Result<Vec<u8>, &'static str> {
    let row = schema::get(ty);
    let name = row.short_name();
    let mut out = Vec::new();
    match row.shape {
        Shape::Object => fields(row, &[], value.as_object().ok_or(name)?, &mut out)?,
        Shape::Quantity => put_bytes(&mut out, 1, value.as_str().ok_or(name)?.as_bytes()),
        Shape::IntOrString => int_or_string(value, &mut out).ok_or(name)?,
        Shape::Time | Shape::MicroTime => {
            let time: Timestamp = value.as_str().and_then(|t| t.parse().ok()).ok_or(name)?;
            put_integer(&mut out, 1, time.as_second());
            put_integer(&mut out, 2, i64::from(time.subsec_nanosecond()));
        }
        Shape::RawExtension | Shape::FieldsV1 | Shape::Json => {
            put_bytes(&mut out, 1, value.to_string().as_bytes());
        }
        Shape::JsonSchemaOrArray | Shape::JsonSchemaOrBool | Shape::JsonSchemaOrStrings => {
            schema_or(row.shape, value, &mut out)?;
        }
    }
    Ok(out)
}

/// Writes the fields that live in the message `prefix` leads to.
fn fields(
    row: &'static TypeDef,
    prefix: &[u16],
    map: &Map<String, Value>,
    out: &mut Vec<u8>,
) -> Written {
    let mut inner = BTreeSet::new();
    for field in row.fields {
        let Some(value) = map.get(field.name).filter(|v| !v.is_null()) else {
            continue;
        };
        if field.number == 0 {
            continue;
        }
        if field.embedded() == prefix {
            field_value(field, value, out)?;
        } else if let Some([next, ..]) = field.embedded().strip_prefix(prefix) {
            inner.insert(*next);
        }
    }
    for number in inner {
        let mut path = prefix.to_vec();
        path.push(number);
        let mut message = Vec::new();
        fields(row, &path, map, &mut message)?;
        put_bytes(out, number, &message);
    }
    Ok(())
}

fn field_value(field: &FieldDef, value: &Value, out: &mut Vec<u8>) -> Written {
    let (name, number) = (field.name, field.number);
    match field.ty {
        FieldType::One(ty) => item(ty, number, value, out).map_err(|_| name),
        FieldType::List(ty) => {
            let list = value.as_array().ok_or(name)?;
            list.iter()
                .try_for_each(|element| item(ty, number, element, out))
        }
        FieldType::Map(ty) => {
            for (key, value) in value.as_object().ok_or(name)? {
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                item(ty, 2, value, &mut entry)?;
                put_bytes(out, number, &entry);
            }
            Ok(())
        }
        FieldType::MapOfLists(ty) => {
            for (key, value) in value.as_object().ok_or(name)? {
                let mut list = Vec::new();
                for element in value.as_array().ok_or(name)? {
                    item(ty, 1, element, &mut list)?;
                }
                let mut entry = Vec::new();
                put_bytes(&mut entry, 1, key.as_bytes());
                put_bytes(&mut entry, 2, &list);
                put_bytes(out, number, &entry);
            }
            Ok(())
        }
    }
}

fn item(ty: Item, number: u16, value: &Value, out: &mut Vec<u8>) -> Written {
    match ty {
        Item::String => put_bytes(out, number, value.as_str().ok_or("string")?.as_bytes()),
        Item::Bytes => {
            let text = value.as_str().ok_or("bytes")?;
            put_bytes(out, number, &STANDARD.decode(text).map_err(|_| "bytes")?);
        }
        Item::Int32 | Item::Int64 => put_integer(out, number, value.as_i64().ok_or("integer")?),
        Item::Bool => put_integer(out, number, i64::from(value.as_bool().ok_or("boolean")?)),
        Item::Double => put_double(out, number, value.as_f64().ok_or("number")?),
        Item::Type(id) => put_bytes(out, number, &message(id, value)?),
    }
    Ok(())
}

fn int_or_string(value: &Value, out: &mut Vec<u8>) -> Option<()> {
    let (kind, number, text) = match value.as_str() {
        Some(text) => (1, 0, text),
        None => (0, value.as_i64()?, ""),
    };
    put_integer(out, 1, kind);
    put_integer(out, 2, number);
    put_bytes(out, 3, text.as_bytes());
    Some(())
}

fn schema_or(shape: Shape, value: &Value, out: &mut Vec<u8>) -> Written {
    let name = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let ty = schema::by_name(name).ok_or("JSONSchemaProps")?;
    let schema_number = if shape == Shape::JsonSchemaOrBool {
        2
    } else {
        1
    };
    match value {
        Value::Object(_) => put_bytes(out, schema_number, &message(ty, value)?),
        Value::Bool(allows) => put_integer(out, 1, i64::from(*allows)),
        Value::Array(list) => {
            for element in list {
                match element.as_str() {
                    Some(text) => put_bytes(out, 2, text.as_bytes()),
                    None => put_bytes(out, 2, &message(ty, element)?),
                }
            }
        }
        Value::Null | Value::Number(_) | Value::String(_) => return Err("JSONSchemaProps"),
    }
    Ok(())
}
