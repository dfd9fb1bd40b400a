//! Values from JSON by their declared types, and back.

use super::{List, Map, Opaque, Text, Value};
use crate::error::EvalError;
use crate::library::time;
use crate::types::{Decl, Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};
use std::sync::Arc;

impl<'a> Value<'a> {
    /// JSON as a value of a declared type; only one level is looked at.
    ///
    /// # Errors
    /// [`EvalError::BadData`] if the JSON is not of the type.
    pub fn of_json(json: &'a Json, ty: &Type) -> Result<Self, EvalError> {
        match (json, ty) {
            (Json::Null, _) => Ok(Self::Null),
            (Json::Bool(b), Type::Bool | Type::Dyn) => Ok(Self::Bool(*b)),
            (Json::Number(n), _) => number(n, ty),
            (Json::String(text), _) => of_text(text, ty),
            (Json::Array(items), Type::List(list)) => {
                Ok(Self::List(List::Json(items, Some(Arc::clone(list)))))
            }
            (Json::Array(items), Type::Dyn) => Ok(Self::List(List::Json(items, None))),
            (Json::Object(map), ty) => match Decl::shape(ty) {
                Some(shape) => Ok(Self::Map(Map::Json(map, shape))),
                None => Err(bad(json, ty)),
            },
            (json, ty) => Err(bad(json, ty)),
        }
    }

    /// JSON without a declared type.
    pub fn dynamic(json: &'a Json) -> Self {
        Self::of_json(json, &Type::Dyn).unwrap_or(Self::Null)
    }

    /// The value as JSON; times and durations as text, bytes in base64. Absent optional values
    /// and values of the libraries have no JSON form.
    ///
    /// # Errors
    /// [`EvalError::BadArgument`] for those.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(b) => json!(b),
            Self::Int(n) => json!(n),
            Self::Uint(n) => json!(n),
            Self::Double(d) => json!(d),
            Self::Text(text) => json!(text.as_str()),
            Self::Bytes(bytes) => json!(STANDARD.encode(bytes)),
            Self::Timestamp(at) => json!(at.to_string()),
            Self::Duration(span) => json!(go_duration(*span)),
            Self::List(List::Json(items, _)) => Json::Array(items.to_vec()),
            Self::List(list) => Json::Array(
                list.iter()
                    .map(|item| item?.to_json())
                    .collect::<Result<_, _>>()?,
            ),
            Self::Map(Map::Json(map, _)) => Json::Object((*map).clone()),
            Self::Map(map) => {
                let mut out = serde_json::Map::new();
                for key in map.keys() {
                    if let Some(value) = map.get(&key)? {
                        out.insert(key.to_string(), value.to_json()?);
                    }
                }
                Json::Object(out)
            }
            Self::Optional(Some(inner)) => inner.to_json()?,
            Self::Opaque(Opaque::Quantity(quantity)) => json!(quantity.to_string()),
            Self::Type(_) | Self::Optional(None) | Self::Opaque(_) => {
                let name = self.type_name();
                return Err(EvalError::bad(format!("type '{name}' has no JSON form")));
            }
        })
    }
}

fn bad(json: &Json, ty: &Type) -> EvalError {
    let found = match json {
        Json::Null => "null",
        Json::Bool(_) => "boolean",
        Json::Number(_) => "number",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    };
    EvalError::BadData(format!("invalid data, expected {ty}, got {found}"))
}

fn number<'a>(number: &serde_json::Number, ty: &Type) -> Result<Value<'a>, EvalError> {
    let real = number.as_f64().unwrap_or_default();
    match ty {
        Type::Double => Ok(Value::Double(real)),
        Type::Int | Type::Dyn => match number.as_i64() {
            Some(n) => Ok(Value::Int(n)),
            None if *ty == Type::Dyn => Ok(Value::Double(real)),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "checked to be whole and small"
            )]
            None if real.fract() == 0.0 && real.abs() < 9.2e18 => Ok(Value::Int(real as i64)),
            None => Err(bad(&json!(0), ty)),
        },
        ty => Err(bad(&json!(0), ty)),
    }
}

fn of_text<'a>(text: &'a str, ty: &Type) -> Result<Value<'a>, EvalError> {
    match ty {
        Type::String | Type::Dyn => Ok(Value::Text(Text::Borrowed(text))),
        Type::Timestamp => time::timestamp(text).map(Value::Timestamp).ok_or_else(|| {
            EvalError::BadData(format!("Invalid date format: {text:?} is no RFC 3339 time"))
        }),
        Type::Duration => time::duration(text)
            .map(Value::Duration)
            .ok_or_else(|| EvalError::BadData(format!("Invalid duration format: {text:?}"))),
        Type::Bytes => STANDARD
            .decode(text)
            .map(|bytes| Value::Bytes(bytes.into()))
            .map_err(|_| {
                EvalError::BadData("Invalid byte format: the text is no base64".to_owned())
            }),
        ty => Err(bad(&json!(""), ty)),
    }
}

/// A duration as CEL prints it: seconds with a decimal fraction, `5400s`, `1.5s`.
pub(crate) fn go_duration(span: SignedDuration) -> String {
    let nanos = span.subsec_nanos().unsigned_abs();
    let sign = if span.is_negative() { "-" } else { "" };
    let seconds = span.as_secs().unsigned_abs();
    if nanos == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{nanos:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}
