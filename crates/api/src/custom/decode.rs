//! Request bodies of custom resources: JSON with a watch for duplicates, then metadata and pruning.

use super::Custom;
use super::prune;
use super::schema::Schema;
use crate::decode::{self, Decoded, FieldValidation};
use crate::kind::Kind;
use crate::status::ApiError;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// Decodes a JSON body.
///
/// # Errors
/// 400 for malformed JSON and, when strict, for unknown or duplicate fields.
pub(crate) fn json(
    kind: &Kind,
    custom: &Custom,
    body: &[u8],
    mode: FieldValidation,
) -> Result<Decoded, ApiError> {
    let mut duplicates = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut path = Vec::new();
    let read = Read {
        path: &mut path,
        duplicates: &mut duplicates,
    };
    let parsed = read.deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    let object = parsed.map_err(|error| {
        ApiError::bad_request(format!(
            "error decoding {}: json parse error: {error}",
            kind.kind
        ))
    })?;
    finish(kind, custom, object, (mode, duplicates))
}

/// Checks a value that is parsed already.
///
/// # Errors
/// 400 as for [`json`].
pub(crate) fn value(
    kind: &Kind,
    custom: &Custom,
    object: Value,
    mode: FieldValidation,
) -> Result<Decoded, ApiError> {
    finish(kind, custom, object, (mode, Vec::new()))
}

fn finish(
    kind: &Kind,
    custom: &Custom,
    mut object: Value,
    (mode, mut found): (FieldValidation, Vec<String>),
) -> Result<Decoded, ApiError> {
    let refuse = |why: &str| {
        let (name, version) = (&kind.kind, &kind.version);
        ApiError::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {name}: {why}"
        ))
    };
    let Value::Object(map) = &mut object else {
        return Err(refuse("the request body must be an object"));
    };
    if let Some(metadata) = map.get_mut("metadata") {
        let (clean, unknown) = decode::metadata(metadata.take()).map_err(|why| refuse(&why))?;
        *metadata = clean;
        found.extend(unknown);
    }
    let unknown = prune(&custom.schema, &mut object);
    found.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    embedded_metadata(&custom.schema, &mut object);
    let warnings = match mode {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => found,
        FieldValidation::Strict if found.is_empty() => found,
        FieldValidation::Strict => {
            let list = found.join(", ");
            return Err(refuse(&format!("strict decoding error: {list}")));
        }
    };
    Ok(Decoded { object, warnings })
}

/// Unknown fields of the metadata of embedded objects go; malformed metadata stays for validation.
fn embedded_metadata(schema: &Schema, value: &mut Value) {
    match value {
        Value::Object(map) => {
            if schema.embedded
                && let Some(metadata) = map.get_mut("metadata")
                && let Ok((known, _)) = decode::metadata(metadata.clone())
            {
                *metadata = known;
            }
            for (key, value) in map {
                if let Some(below) = schema.key(key) {
                    embedded_metadata(below, value);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = &schema.items {
                for item in items {
                    embedded_metadata(below, item);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Reads any JSON value and notes keys that come twice; the last one counts.
struct Read<'r> {
    path: &'r mut Vec<String>,
    duplicates: &'r mut Vec<String>,
}

impl Read<'_> {
    fn below(&mut self) -> Read<'_> {
        Read {
            path: self.path,
            duplicates: self.duplicates,
        }
    }

    fn here(&self) -> String {
        let mut text = String::new();
        for part in self.path.iter() {
            if !text.is_empty() && !part.starts_with('[') {
                text.push('.');
            }
            text.push_str(part);
        }
        text
    }
}

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.path.push(format!("[{}]", items.len()));
            let next = access.next_element_seed(self.below())?;
            self.path.pop();
            let Some(item) = next else { break };
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            self.path.push(key);
            let value = access.next_value_seed(self.below())?;
            let path = self.here();
            let key = self.path.pop().unwrap_or_default();
            if map.insert(key, value).is_some() {
                self.duplicates.push(format!("duplicate field {path:?}"));
            }
        }
        Ok(Value::Object(map))
    }
}
