//! Maps and objects: JSON or entries made on the way.

use super::{Text, Value};
use crate::error::EvalError;
use crate::types::{Decl, MapType, ObjectType, Type};
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What may be a key.
#[derive(Debug, Clone)]
pub enum Key {
    /// `true` or `false`.
    Bool(bool),
    /// An integer of either sign.
    Number(i128),
    /// Text.
    Text(Arc<str>),
}

impl Key {
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
        }
    }

    /// The key a value makes; `None` for values that cannot be one.
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(n) => Self::Number((*n).into()),
            Value::Uint(n) => Self::Number((*n).into()),
            Value::Double(d) if d.fract() == 0.0 && d.abs() < 1e18 =>
            {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "checked to be whole and small"
                )]
                Self::Number(*d as i128)
            }
            Value::Text(text) => Self::Text(text.as_str().into()),
            _ => return None,
        })
    }

    /// The key as a value.
    pub(crate) fn value<'a>(&self) -> Value<'a> {
        match self {
            Self::Bool(b) => Value::Bool(*b),
            Self::Number(n) => match i64::try_from(*n) {
                Ok(n) => Value::Int(n),
                Err(_) => Value::Uint(u64::try_from(*n).unwrap_or_default()),
            },
            Self::Text(text) => Value::Text(Text::Shared(Arc::clone(text))),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Number(n) => write!(f, "{n}"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

/// What a JSON map is declared to be.
#[derive(Debug, Clone)]
pub enum Shape {
    /// Nothing is declared.
    Dyn,
    /// A map.
    Map(Arc<MapType>),
    /// An object with fields.
    Object(Arc<ObjectType>),
}

/// A map or an object.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// From the data.
    Json(&'a serde_json::Map<String, Json>, Shape),
    /// Made on the way; objects have the name of their type.
    Entries(Arc<BTreeMap<Key, Value<'a>>>, Option<Arc<str>>),
}

impl<'a> Map<'a> {
    /// How many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Entries(entries, _) => entries.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of the object's type; `None` for plain maps.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Json(_, Shape::Object(object)) => Some(&object.name),
            Self::Json(..) => None,
            Self::Entries(_, name) => name.as_deref(),
        }
    }

    /// The value at a key.
    ///
    /// # Errors
    /// [`EvalError::BadData`] if it is not what its schema declares.
    pub fn get(&self, key: &Key) -> Result<Option<Value<'a>>, EvalError> {
        match (self, key) {
            (Self::Entries(entries, _), key) => Ok(entries.get(key).cloned()),
            (Self::Json(..), Key::Text(name)) => self.field(name),
            (Self::Json(..), _) => Ok(None),
        }
    }

    /// The value of a field, by the name expressions use.
    ///
    /// # Errors
    /// As [`Map::get`].
    pub fn field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        let (map, shape) = match self {
            Self::Entries(entries, _) => return Ok(entries.get(&Key::Text(name.into())).cloned()),
            Self::Json(map, shape) => (map, shape),
        };
        let dynamic = Type::Dyn;
        let (json, ty) = match shape {
            Shape::Dyn => (name, &dynamic),
            Shape::Map(ty) => (name, &ty.value.ty),
            Shape::Object(ty) => match ty.fields.get(name) {
                Some(field) => (field.json.as_str(), &field.decl.ty),
                None if ty.open => (name, &dynamic),
                None => return Ok(None),
            },
        };
        map.get(json)
            .map(|value| Value::of_json(value, ty))
            .transpose()
    }

    /// The value of a property, by its name in JSON.
    pub(crate) fn json_field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Json(_, Shape::Object(_)) => self.field(&crate::escape(name)),
            Self::Json(..) | Self::Entries(..) => self.field(name),
        }
    }

    /// The keys. Properties that an object does not declare are not there.
    pub fn keys(&self) -> Vec<Key> {
        match self {
            Self::Entries(entries, _) => entries.keys().cloned().collect(),
            Self::Json(map, Shape::Object(ty)) if !ty.open => {
                let declared = |json: &String| {
                    let name = crate::escape(json);
                    ty.fields
                        .contains_key(&name)
                        .then(|| Key::Text(name.into()))
                };
                map.keys().filter_map(declared).collect()
            }
            Self::Json(map, _) => map
                .keys()
                .map(|key| Key::Text(key.as_str().into()))
                .collect(),
        }
    }

    /// A map with these entries.
    pub(crate) fn entries(entries: BTreeMap<Key, Value<'a>>) -> Self {
        Self::Entries(Arc::new(entries), None)
    }
}

impl Decl {
    /// The shape JSON maps of this type have.
    pub(crate) fn shape(ty: &Type) -> Option<Shape> {
        match ty {
            Type::Dyn => Some(Shape::Dyn),
            Type::Map(map) => Some(Shape::Map(Arc::clone(map))),
            Type::Object(object) => Some(Shape::Object(Arc::clone(object))),
            _ => None,
        }
    }
}
