//! Single values: range checks and canonical forms.
//!
//! Each function answers `Ok(None)` when the type takes no such value at all.

use crate::schema::{self, FieldType, Item, Shape};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use jiff::Timestamp;
use plimsoll_quantity::Quantity;
use serde_json::Value;

/// Upstream wants the padding but does not look at trailing bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

fn shape(ty: FieldType) -> Option<Shape> {
    match ty {
        FieldType::One(Item::Type(id)) => Some(schema::get(id).shape),
        FieldType::One(_) | FieldType::List(_) | FieldType::Map(_) | FieldType::MapOfLists(_) => {
            None
        }
    }
}

pub(super) fn integer(ty: FieldType, value: i64) -> Result<Option<Value>, String> {
    let small = i32::try_from(value).is_ok();
    Ok(match ty {
        FieldType::One(Item::Int64 | Item::Double) => Some(Value::from(value)),
        FieldType::One(Item::Int32) => small.then(|| Value::from(value)),
        FieldType::One(_) if shape(ty) == Some(Shape::IntOrString) => {
            small.then(|| Value::from(value))
        }
        FieldType::One(_) | FieldType::List(_) | FieldType::Map(_) | FieldType::MapOfLists(_) => {
            return number(ty, &value.to_string(), Value::from(value));
        }
    })
}

/// A number that is no 64-bit integer, or goes where only its text counts.
pub(super) fn number(ty: FieldType, text: &str, value: Value) -> Result<Option<Value>, String> {
    if ty == FieldType::One(Item::Double) {
        return Ok(Some(value));
    }
    if shape(ty) == Some(Shape::Quantity) {
        quantity(text).map(Some)
    } else {
        Ok(None)
    }
}

pub(super) fn text(ty: FieldType, text: &str) -> Result<Option<Value>, String> {
    match (ty, shape(ty)) {
        (FieldType::One(Item::String), _) | (_, Some(Shape::IntOrString)) => {
            Ok(Some(Value::from(text)))
        }
        (FieldType::One(Item::Bytes), _) => bytes(text).map(Some),
        (_, Some(Shape::Quantity)) => quantity(text).map(Some),
        (_, Some(Shape::Time)) => timestamp(text).map(|t| Some(Value::from(whole_seconds(t)))),
        (_, Some(Shape::MicroTime)) => timestamp(text).map(|t| Some(Value::from(micros(t)))),
        _ => Ok(None),
    }
}

fn quantity(text: &str) -> Result<Value, String> {
    let quantity: Quantity = text.trim().parse().map_err(|e| format!("{e}"))?;
    Ok(Value::from(quantity.to_string()))
}

fn bytes(text: &str) -> Result<Value, String> {
    let clean: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match BASE64.decode(&clean) {
        Ok(bytes) => Ok(Value::from(
            base64::engine::general_purpose::STANDARD.encode(bytes),
        )),
        Err(error) => {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _)
                | base64::DecodeError::InvalidLastSymbol(at, _) => at,
                base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                    clean.len()
                }
            };
            Err(format!("illegal base64 data at input byte {at}"))
        }
    }
}

/// Parses RFC 3339, which is narrower than what the time library takes.
fn timestamp(text: &str) -> Result<Timestamp, String> {
    let form = "0000-00-00T00:00:00";
    let fits = text.len() > form.len()
        && text
            .bytes()
            .zip(form.bytes())
            .all(|(got, want)| match want {
                b'0' => got.is_ascii_digit(),
                other => got == other,
            })
        && !text.contains(['[', ',']);
    let refused = || {
        format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
        )
    };
    if !fits {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

/// `2026-01-02T03:04:05Z`.
pub(crate) fn whole_seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-01-02T03:04:05.678901Z`.
pub(crate) fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
