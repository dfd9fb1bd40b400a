//! `optional.…` and the methods of optional values.

use super::{Pat, Row, global, method, take};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::Value;
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const OPT: Pat = Pat::Opt(&Pat::A);

pub(super) const TABLE: &[Row] = &[
    ("optional.none", global(&[], OPT, none)),
    ("optional.of", global(&[Pat::A], OPT, of)),
    (
        "optional.ofNonZeroValue",
        global(&[Pat::A], OPT, of_non_zero),
    ),
    (
        "optional.unwrap",
        global(&[Pat::List(&OPT)], Pat::List(&Pat::A), unwrap),
    ),
    (
        "unwrapOpt",
        method(&[Pat::List(&OPT)], Pat::List(&Pat::A), unwrap),
    ),
    ("hasValue", method(&[OPT], Pat::Bool, has_value)),
    ("value", method(&[OPT], Pat::A, value)),
    ("or", method(&[OPT, OPT], OPT, or)),
    ("orValue", method(&[OPT, Pat::A], Pat::A, or_value)),
];

fn none<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [] => Ok(Value::Optional(None)))
}

fn of<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [value] => Ok(Value::Optional(Some(Arc::new(value.clone())))))
}

fn of_non_zero<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let zero = match args {
        [Value::Null | Value::Bool(false) | Value::Int(0) | Value::Uint(0)] => true,
        [Value::Double(d)] => *d == 0.0,
        [Value::Text(text)] => text.as_str().is_empty(),
        [Value::Bytes(bytes)] => bytes.is_empty(),
        [Value::List(list)] => list.is_empty(),
        [Value::Map(map)] => map.is_empty(),
        [Value::Duration(span)] => span.is_zero(),
        _ => false,
    };
    if zero {
        Ok(Value::Optional(None))
    } else {
        of(args, meter)
    }
}

fn has_value<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Optional(inner)] => Ok(Value::Bool(inner.is_some())))
}

fn value<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Optional(Some(inner))] => Ok(Value::clone(inner)),
        [Value::Optional(None)] => Err(EvalError::bad("optional.none() dereference")),
        _ => super::mismatch(),
    }
}

fn or<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Optional(None), other] => Ok(other.clone()),
        [some, _] => Ok(some.clone()),
        _ => super::mismatch(),
    }
}

fn or_value<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Optional(None), other] => Ok(other.clone()),
        [Value::Optional(Some(inner)), _] => Ok(Value::clone(inner)),
        _ => super::mismatch(),
    }
}

fn unwrap<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::List(list)] = args else {
        return super::mismatch();
    };
    let mut kept = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(Some(inner)) => kept.push(Value::clone(&inner)),
            Value::Optional(None) => {}
            _ => return super::mismatch(),
        }
    }
    Ok(Value::list(kept))
}
