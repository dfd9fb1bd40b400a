//! Request bodies to objects: one pass over the bytes, led by the schema.
//!
//! Type errors are always refused. Unknown fields are dropped, and unknown and duplicate fields
//! are reported as the caller's [`FieldValidation`] says. Nulls disappear, quantities and times
//! come out in their canonical form.

pub(crate) mod node;
pub(crate) mod scalar;

use crate::schema::{self, FieldType, Item, TypeDef, TypeId};
use crate::status::ApiError;
use node::Node;
use serde::de::DeserializeSeed;
use serde_json::Value;

/// Deepest nesting of a body.
const MAX_DEPTH: usize = 127;

/// What happens to unknown and duplicate fields (`fieldValidation`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// They are errors.
    Strict,
    /// They are dropped with a warning.
    #[default]
    Warn,
    /// They are dropped.
    Ignore,
}

/// A decoded object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// The object, with `apiVersion` and `kind` first.
    pub object: Value,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Decodes a JSON body as the given type.
///
/// # Errors
///
/// 400 for malformed JSON, for a value of the wrong type and, when strict, for unknown or duplicate
/// fields. The message names the field.
pub fn json(ty: TypeId, body: &[u8], mode: FieldValidation) -> Result<Decoded, ApiError> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let mut context = Context::new();
    let node = Node::root(&mut context, FieldType::One(Item::Type(ty)));
    let result = node.deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    finish(ty, result, context, mode)
}

/// Checks a value that is parsed already (YAML, patched objects) like [`json`].
///
/// # Errors
///
/// 400 as for [`json`].
pub fn value(ty: TypeId, value: Value, mode: FieldValidation) -> Result<Decoded, ApiError> {
    let mut context = Context::new();
    if deeper_than(&value, MAX_DEPTH) {
        return Err(ApiError::bad_request("the object is nested too deeply"));
    }
    let result = Node::root(&mut context, FieldType::One(Item::Type(ty))).deserialize(value);
    finish(ty, result, context, mode)
}

/// Checks the `metadata` of an object that has no table of its own; unknown fields are dropped and
/// named in the second part.
///
/// # Errors
/// What has the wrong type.
pub(crate) fn metadata(value: Value) -> Result<(Value, Vec<String>), String> {
    let mut context = Context::new();
    let Some(ty) = schema::by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta") else {
        return Ok((value, Vec::new()));
    };
    context.path.push(Segment::Field("metadata"));
    let node = Node::root(&mut context, FieldType::One(Item::Type(ty)));
    match (node.deserialize(value), context.refusal) {
        (Ok(known), _) => {
            let known = known.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            Ok((known, context.problems))
        }
        (Err(_), Some(why)) => Err(why),
        (Err(error), None) => Err(error.to_string()),
    }
}

fn finish(
    ty: TypeId,
    result: Result<Option<Value>, serde_json::Error>,
    context: Context,
    mode: FieldValidation,
) -> Result<Decoded, ApiError> {
    let row = schema::get(ty);
    let mut object = match (result, context.refusal) {
        (Ok(value), _) => value.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
        (Err(_), Some(why)) => return Err(refuse(row, &why)),
        (Err(error), None) => return Err(malformed(row, &error)),
    };
    type_first(&mut object);
    let warnings = match mode {
        FieldValidation::Ignore => Vec::new(),
        FieldValidation::Warn => context.problems,
        FieldValidation::Strict if context.problems.is_empty() => Vec::new(),
        FieldValidation::Strict => {
            let list = context.problems.join(", ");
            return Err(refuse(row, &format!("strict decoding error: {list}")));
        }
    };
    Ok(Decoded { object, warnings })
}

fn refuse(row: &TypeDef, why: &str) -> ApiError {
    let (version, kind) = row.gvk.map_or(("", row.short_name()), |gvk| (gvk.1, gvk.2));
    ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
    ))
}

fn malformed(row: &TypeDef, error: &serde_json::Error) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): couldn't get version/kind; json parse error: {error}",
        row.short_name()
    ))
}

/// Moves `apiVersion` and `kind` to the front.
fn type_first(object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    for key in ["kind", "apiVersion"] {
        if let Some(value) = map.shift_remove(key) {
            map.shift_insert(0, key.to_owned(), value);
        }
    }
}

fn deeper_than(value: &Value, limit: usize) -> bool {
    let Some(limit) = limit.checked_sub(1) else {
        return true;
    };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper_than(item, limit)),
        Value::Object(map) => map.values().any(|item| deeper_than(item, limit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// One step from an object to a part of it.
enum Segment {
    Field(&'static str),
    Key(String),
    Index(usize),
}

/// Where the walk is and what it has found.
struct Context {
    path: Vec<Segment>,
    problems: Vec<String>,
    /// Why the body is refused; the deserializer's own error is then only a signal.
    refusal: Option<String>,
}

impl Context {
    fn new() -> Self {
        Self {
            path: Vec::new(),
            problems: Vec::new(),
            refusal: None,
        }
    }

    /// The path with list indexes, ending in `name`.
    fn path_to(&self, name: &str) -> String {
        let mut text = self.text(true);
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(name);
        text
    }

    fn text(&self, with_indexes: bool) -> String {
        let mut text = String::new();
        for segment in &self.path {
            let name = match segment {
                Segment::Field(name) => name,
                Segment::Key(key) => key.as_str(),
                Segment::Index(index) => {
                    if with_indexes {
                        text.push('[');
                        text.push_str(&index.to_string());
                        text.push(']');
                    }
                    continue;
                }
            };
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(name);
        }
        text
    }
}
