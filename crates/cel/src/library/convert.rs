//! Conversions between types, `type`, `dyn` and `size`.

use super::{Cost, Pat, Row, Size, global, method, take, time};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::{Opaque, Value, go_duration};
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const LIST: Pat = Pat::List(&Pat::A);
const MAP: Pat = Pat::Map(&Pat::A, &Pat::B);

pub(super) const TABLE: &[Row] = &[
    ("int", global(&[Pat::Int], Pat::Int, int)),
    ("int", global(&[Pat::Uint], Pat::Int, int)),
    ("int", global(&[Pat::Double], Pat::Int, int)),
    ("int", global(&[Pat::Text], Pat::Int, int).cost(Cost::Scan)),
    ("int", global(&[Pat::Time], Pat::Int, int)),
    ("uint", global(&[Pat::Uint], Pat::Uint, uint)),
    ("uint", global(&[Pat::Int], Pat::Uint, uint)),
    ("uint", global(&[Pat::Double], Pat::Uint, uint)),
    (
        "uint",
        global(&[Pat::Text], Pat::Uint, uint).cost(Cost::Scan),
    ),
    ("double", global(&[Pat::Double], Pat::Double, double)),
    ("double", global(&[Pat::Int], Pat::Double, double)),
    ("double", global(&[Pat::Uint], Pat::Double, double)),
    (
        "double",
        global(&[Pat::Text], Pat::Double, double).cost(Cost::Scan),
    ),
    ("bool", global(&[Pat::Bool], Pat::Bool, boolean)),
    ("bool", global(&[Pat::Text], Pat::Bool, boolean)),
    (
        "string",
        global(&[Pat::Text], Pat::Text, string).size(Size::First),
    ),
    (
        "string",
        global(&[Pat::Bool], Pat::Text, string).size(Size::Most(5)),
    ),
    (
        "string",
        global(&[Pat::Int], Pat::Text, string).size(Size::Most(20)),
    ),
    (
        "string",
        global(&[Pat::Uint], Pat::Text, string).size(Size::Most(20)),
    ),
    (
        "string",
        global(&[Pat::Double], Pat::Text, string).size(Size::Most(24)),
    ),
    (
        "string",
        global(&[Pat::Bytes], Pat::Text, string)
            .cost(Cost::Scan)
            .size(Size::First),
    ),
    (
        "string",
        global(&[Pat::Time], Pat::Text, string).size(Size::Most(35)),
    ),
    (
        "string",
        global(&[Pat::Span], Pat::Text, string).size(Size::Most(30)),
    ),
    (
        "string",
        global(&[Pat::Lib(crate::types::OpaqueType::Ip)], Pat::Text, string).size(Size::Most(45)),
    ),
    (
        "string",
        global(
            &[Pat::Lib(crate::types::OpaqueType::Cidr)],
            Pat::Text,
            string,
        )
        .size(Size::Most(49)),
    ),
    (
        "bytes",
        global(&[Pat::Bytes], Pat::Bytes, bytes).size(Size::First),
    ),
    (
        "bytes",
        global(&[Pat::Text], Pat::Bytes, bytes)
            .cost(Cost::Scan)
            .size(Size::First),
    ),
    ("dyn", global(&[Pat::A], Pat::Any, same)),
    ("type", global(&[Pat::A], Pat::Type, type_of)),
    ("size", global(&[Pat::Text], Pat::Int, size)),
    ("size", global(&[Pat::Bytes], Pat::Int, size)),
    ("size", global(&[LIST], Pat::Int, size)),
    ("size", global(&[MAP], Pat::Int, size)),
    ("size", method(&[Pat::Text], Pat::Int, size)),
    ("size", method(&[Pat::Bytes], Pat::Int, size)),
    ("size", method(&[LIST], Pat::Int, size)),
    ("size", method(&[MAP], Pat::Int, size)),
];

/// A length as a value.
pub(super) fn length<'a>(length: usize) -> Value<'a> {
    Value::Int(i64::try_from(length).unwrap_or(i64::MAX))
}

fn size<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    Ok(length(match args {
        [Value::Text(text)] => {
            // Counting characters is fast, but not free.
            meter.charge_tenths(text.as_str().len() as u64 / 64)?;
            text.as_str().chars().count()
        }
        [Value::Bytes(bytes)] => bytes.len(),
        [Value::List(list)] => list.len(),
        [Value::Map(map)] => map.len(),
        _ => return super::mismatch(),
    }))
}

fn same<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [value] => Ok(value.clone()))
}

fn type_of<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [value] => Ok(Value::Type(Arc::from(value.type_name()))))
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
fn int<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let overflow = EvalError::Overflow("integer");
    match args {
        [Value::Int(n)] => Ok(Value::Int(*n)),
        [Value::Uint(n)] => i64::try_from(*n).map(Value::Int).map_err(|_| overflow),
        [Value::Double(d)] if d.abs() < 9_223_372_036_854_775_807.0 => Ok(Value::Int(*d as i64)),
        [Value::Double(_)] => Err(overflow),
        [Value::Text(text)] => text.as_str().parse().map(Value::Int).map_err(|_| {
            let text = text.as_str();
            EvalError::bad(format!(
                "type conversion error from 'string' to 'int': {text:?}"
            ))
        }),
        [Value::Timestamp(at)] => Ok(Value::Int(at.as_second())),
        _ => super::mismatch(),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be in range"
)]
fn uint<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let overflow = EvalError::Overflow("unsigned integer");
    match args {
        [Value::Uint(n)] => Ok(Value::Uint(*n)),
        [Value::Int(n)] => u64::try_from(*n).map(Value::Uint).map_err(|_| overflow),
        [Value::Double(d)] if *d >= 0.0 && *d < 1.844_674_407_370_955e19 => {
            Ok(Value::Uint(*d as u64))
        }
        [Value::Double(_)] => Err(overflow),
        [Value::Text(text)] => text.as_str().parse().map(Value::Uint).map_err(|_| {
            let text = text.as_str();
            EvalError::bad(format!(
                "type conversion error from 'string' to 'uint': {text:?}"
            ))
        }),
        _ => super::mismatch(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the nearest number is what is asked for"
)]
fn double<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Double(d)] => Ok(Value::Double(*d)),
        [Value::Int(n)] => Ok(Value::Double(*n as f64)),
        [Value::Uint(n)] => Ok(Value::Double(*n as f64)),
        [Value::Text(text)] => text.as_str().parse().map(Value::Double).map_err(|_| {
            let text = text.as_str();
            EvalError::bad(format!(
                "type conversion error from 'string' to 'double': {text:?}"
            ))
        }),
        _ => super::mismatch(),
    }
}

fn boolean<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Bool(b)] => Ok(Value::Bool(*b)),
        [Value::Text(text)] => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            other => Err(EvalError::bad(format!(
                "type conversion error from 'string' to 'bool': {other:?}"
            ))),
        },
        _ => super::mismatch(),
    }
}

/// A floating point number as Go prints it, shortest form.
pub(super) fn print_double(d: f64) -> String {
    let size = d.abs();
    if d.is_nan() {
        return "NaN".to_owned();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if size == 0.0 || (1e-4..1e21).contains(&size) {
        return format!("{d}");
    }
    let text = format!("{d:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, digits_of) = match exponent.strip_prefix('-') {
                Some(rest) => ('-', rest),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{digits_of:0>2}")
        }
        None => text,
    }
}

fn string<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    Ok(Value::text(match args {
        [text @ Value::Text(_)] => return Ok(text.clone()),
        [Value::Bool(b)] => b.to_string(),
        [Value::Int(n)] => n.to_string(),
        [Value::Uint(n)] => n.to_string(),
        [Value::Double(d)] => print_double(*d),
        [Value::Bytes(bytes)] => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                return Err(EvalError::bad(
                    "invalid UTF-8 in bytes, cannot convert to string",
                ));
            }
        },
        [Value::Timestamp(at)] => time::print(*at),
        [Value::Duration(span)] => go_duration(*span),
        [Value::Opaque(Opaque::Ip(ip))] => ip.to_string(),
        [Value::Opaque(Opaque::Cidr(cidr))] => cidr.to_string(),
        _ => return super::mismatch(),
    }))
}

fn bytes<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Bytes(bytes)] => Ok(Value::Bytes(Arc::clone(bytes))),
        [Value::Text(text)] => Ok(Value::Bytes(text.as_str().as_bytes().into())),
        _ => super::mismatch(),
    }
}
