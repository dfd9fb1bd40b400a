//! `quantity(…)` and its methods.

use super::{Cost, Pat, Row, global, method};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::types::OpaqueType;
use crate::value::{Opaque, Value};
use plimsoll_quantity::Quantity;
use std::cmp::Ordering;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const Q: Pat = Pat::Lib(OpaqueType::Quantity);
const NANO: i128 = 1_000_000_000;

pub(super) const TABLE: &[Row] = &[
    ("quantity", global(&[Pat::Text], Q, parse).cost(Cost::Scan)),
    (
        "isQuantity",
        global(&[Pat::Text], Pat::Bool, is_quantity).cost(Cost::Scan),
    ),
    ("sign", method(&[Q], Pat::Int, sign)),
    ("isInteger", method(&[Q], Pat::Bool, is_integer)),
    ("asInteger", method(&[Q], Pat::Int, as_integer)),
    ("asApproximateFloat", method(&[Q], Pat::Double, as_float)),
    ("isGreaterThan", method(&[Q, Q], Pat::Bool, is_greater)),
    ("isLessThan", method(&[Q, Q], Pat::Bool, is_less)),
    ("compareTo", method(&[Q, Q], Pat::Int, compare_to)),
    ("add", method(&[Q, Q], Q, add)),
    ("add", method(&[Q, Pat::Int], Q, add)),
    ("sub", method(&[Q, Q], Q, sub)),
    ("sub", method(&[Q, Pat::Int], Q, sub)),
];

fn quantity(value: &Value<'_>) -> Result<Quantity, EvalError> {
    match value {
        Value::Opaque(Opaque::Quantity(quantity)) => Ok(*quantity),
        Value::Int(n) => Ok(Quantity::from_value(*n)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn pair(args: &[Value<'_>]) -> Result<(Quantity, Quantity), EvalError> {
    super::take_pair(args, quantity)
}

fn single(args: &[Value<'_>]) -> Result<Quantity, EvalError> {
    args.first()
        .map_or(Err(EvalError::NoSuchOverload), quantity)
}

fn wrap<'a>(quantity: Quantity) -> Value<'a> {
    Value::Opaque(Opaque::Quantity(quantity))
}

fn parse<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Text(text)] => match text.as_str().parse::<Quantity>() {
        Ok(quantity) => Ok(wrap(quantity)),
        Err(_) => Err(EvalError::bad(
            "quantities must match the regular expression \
             '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        )),
    })
}

fn is_quantity<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Text(text)] =>
        Ok(Value::Bool(text.as_str().parse::<Quantity>().is_ok())))
}

fn sign<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let sign = single(args)?.nano().signum();
    Ok(Value::Int(i64::try_from(sign).unwrap_or_default()))
}

fn is_integer<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    Ok(Value::Bool(single(args)?.nano() % NANO == 0))
}

fn as_integer<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let quantity = single(args)?;
    if quantity.nano() % NANO != 0 {
        return Err(EvalError::bad("cannot convert value to integer"));
    }
    Ok(Value::Int(quantity.value()))
}

fn as_float<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    Ok(Value::Double(single(args)?.as_f64()))
}

fn is_greater<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    pair(args).map(|(a, b)| Value::Bool(a > b))
}

fn is_less<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    pair(args).map(|(a, b)| Value::Bool(a < b))
}

fn compare_to<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    pair(args).map(|(a, b)| order(a.cmp(&b)))
}

/// -1, 0 or 1.
pub(super) fn order<'a>(order: Ordering) -> Value<'a> {
    Value::Int(order as i64)
}

fn add<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    pair(args).map(|(a, b)| wrap(a.add(b)))
}

fn sub<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    pair(args).map(|(a, b)| wrap(a.sub(b)))
}
