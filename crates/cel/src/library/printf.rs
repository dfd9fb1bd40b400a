//! `text.format([…])`.

use super::convert::print_double;
use super::{Cost, Pat, Row, Size, method, time};
use crate::budget::{Meter, tenth};
use crate::error::EvalError;
use crate::value::{Value, go_duration};
use std::fmt::Write as _;

type Outcome<'a> = Result<Value<'a>, EvalError>;

pub(super) const TABLE: &[Row] = &[(
    "format",
    method(&[Pat::Text, Pat::List(&Pat::Any)], Pat::Text, format)
        .cost(Cost::Scan)
        .size(Size::Flat),
)];

fn format<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let [Value::Text(text), Value::List(values)] = args else {
        return super::mismatch();
    };
    let mut chars = text.as_str().chars().peekable();
    let mut out = String::new();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let mut precision = None;
        if chars.next_if_eq(&'.').is_some() {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            precision = digits.parse::<usize>().ok();
        }
        let verb = chars
            .next()
            .ok_or_else(|| EvalError::bad("unexpected end of format string"))?;
        let value = values.get(next)?;
        let value = value.ok_or_else(|| EvalError::bad(format!("index {next} out of range")))?;
        next += 1;
        let before = out.len();
        clause(&mut out, verb, (precision.unwrap_or(6).min(1000), &value))?;
        meter.charge(tenth((out.len() - before) as u64))?;
    }
    Ok(Value::text(out))
}

fn clause(
    out: &mut String,
    verb: char,
    (precision, value): (usize, &Value<'_>),
) -> Result<(), EvalError> {
    let refuse = || {
        let name = value.type_name();
        EvalError::bad(format!(
            "error during formatting: %{verb} does not take a value of type {name}"
        ))
    };
    // Writing to a String does not fail.
    let written = match (verb, value) {
        ('s', value) => return show(out, value),
        ('d', Value::Int(n)) => write!(out, "{n}"),
        ('d', Value::Uint(n)) => write!(out, "{n}"),
        ('d', Value::Double(d)) => write!(out, "{}", print_double(*d)),
        ('f', Value::Double(d)) => write!(out, "{d:.precision$}"),
        #[expect(
            clippy::cast_precision_loss,
            reason = "the nearest number is what is asked for"
        )]
        ('f', Value::Int(n)) => write!(out, "{:.precision$}", *n as f64),
        ('e', Value::Double(d)) => {
            let text = format!("{d:.precision$e}");
            match text.split_once('e') {
                Some((digits, exponent)) => {
                    let number: i32 = exponent.parse().unwrap_or_default();
                    let sign = if number < 0 { '-' } else { '+' };
                    write!(out, "{digits}e{sign}{:02}", number.abs())
                }
                None => write!(out, "{text}"),
            }
        }
        ('b', Value::Bool(b)) => write!(out, "{}", u8::from(*b)),
        ('b', Value::Int(n)) => write!(out, "{}{:b}", minus(*n), n.unsigned_abs()),
        ('b', Value::Uint(n)) => write!(out, "{n:b}"),
        ('o', Value::Int(n)) => write!(out, "{}{:o}", minus(*n), n.unsigned_abs()),
        ('o', Value::Uint(n)) => write!(out, "{n:o}"),
        ('x', Value::Int(n)) => write!(out, "{}{:x}", minus(*n), n.unsigned_abs()),
        ('X', Value::Int(n)) => write!(out, "{}{:X}", minus(*n), n.unsigned_abs()),
        ('x', Value::Uint(n)) => write!(out, "{n:x}"),
        ('X', Value::Uint(n)) => write!(out, "{n:X}"),
        ('x', Value::Text(text)) => text
            .as_str()
            .bytes()
            .try_for_each(|b| write!(out, "{b:02x}")),
        ('X', Value::Text(text)) => text
            .as_str()
            .bytes()
            .try_for_each(|b| write!(out, "{b:02X}")),
        ('x', Value::Bytes(bytes)) => bytes.iter().try_for_each(|b| write!(out, "{b:02x}")),
        ('X', Value::Bytes(bytes)) => bytes.iter().try_for_each(|b| write!(out, "{b:02X}")),
        ('d' | 'f' | 'e' | 'b' | 'o' | 'x' | 'X', _) => return Err(refuse()),
        (other, _) => {
            let message = format!("unrecognized formatting clause \"{other}\"");
            return Err(EvalError::bad(message));
        }
    };
    written.map_err(|_| refuse())
}

fn minus(n: i64) -> &'static str {
    if n < 0 { "-" } else { "" }
}

/// What `%s` prints.
fn show(out: &mut String, value: &Value<'_>) -> Result<(), EvalError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::Uint(n) => out.push_str(&n.to_string()),
        Value::Double(d) => out.push_str(&print_double(*d)),
        Value::Text(text) => out.push_str(text.as_str()),
        Value::Bytes(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
        Value::Timestamp(at) => out.push_str(&time::print(*at)),
        Value::Duration(span) => out.push_str(&go_duration(*span)),
        Value::Type(name) => out.push_str(name),
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                show(out, &item?)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (index, key) in map.keys().iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                out.push_str(&key.to_string());
                out.push_str(": ");
                show(out, &map.get(key)?.unwrap_or(Value::Null))?;
            }
            out.push('}');
        }
        Value::Optional(_) | Value::Opaque(_) => {
            let name = value.type_name();
            let why = "error during formatting: string clause can only be used on strings, bools, \
                       bytes, ints, doubles, maps, lists, types, durations, and timestamps";
            return Err(EvalError::bad(format!("{why}, was given {name}")));
        }
    }
    Ok(())
}
