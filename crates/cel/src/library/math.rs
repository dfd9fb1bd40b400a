//! `math.…`.

use super::{Cost, Pat, Row, global};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::{Value, compare};
use std::cmp::Ordering;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const D: Pat = Pat::Double;
const NUMBERS: &[Pat] = &[Pat::List(&Pat::A)];
const ONE: &[Pat] = &[Pat::A];
const I: &[Pat] = &[Pat::Int];
const U: &[Pat] = &[Pat::Uint];
const R: &[Pat] = &[D];
const II: &[Pat] = &[Pat::Int, Pat::Int];
const UU: &[Pat] = &[Pat::Uint, Pat::Uint];
const UI: &[Pat] = &[Pat::Uint, Pat::Int];

pub(super) const TABLE: &[Row] = &[
    (
        "math.greatest",
        global(NUMBERS, Pat::A, greatest).cost(Cost::Items),
    ),
    ("math.greatest", global(ONE, Pat::A, greatest)),
    (
        "math.least",
        global(NUMBERS, Pat::A, least).cost(Cost::Items),
    ),
    ("math.least", global(ONE, Pat::A, least)),
    ("math.ceil", global(R, D, ceil)),
    ("math.floor", global(R, D, floor)),
    ("math.round", global(R, D, round)),
    ("math.trunc", global(R, D, trunc)),
    ("math.sqrt", global(R, D, sqrt)),
    ("math.sqrt", global(I, D, sqrt)),
    ("math.sqrt", global(U, D, sqrt)),
    ("math.abs", global(I, Pat::Int, abs)),
    ("math.abs", global(U, Pat::Uint, abs)),
    ("math.abs", global(R, D, abs)),
    ("math.sign", global(I, Pat::Int, sign)),
    ("math.sign", global(U, Pat::Uint, sign)),
    ("math.sign", global(R, D, sign)),
    ("math.isInf", global(R, Pat::Bool, is_inf)),
    ("math.isNaN", global(R, Pat::Bool, is_nan)),
    ("math.isFinite", global(R, Pat::Bool, is_finite)),
    ("math.bitAnd", global(II, Pat::Int, bit_and)),
    ("math.bitAnd", global(UU, Pat::Uint, bit_and)),
    ("math.bitOr", global(II, Pat::Int, bit_or)),
    ("math.bitOr", global(UU, Pat::Uint, bit_or)),
    ("math.bitXor", global(II, Pat::Int, bit_xor)),
    ("math.bitXor", global(UU, Pat::Uint, bit_xor)),
    ("math.bitNot", global(I, Pat::Int, bit_not)),
    ("math.bitNot", global(U, Pat::Uint, bit_not)),
    ("math.bitShiftLeft", global(II, Pat::Int, shift_left)),
    ("math.bitShiftLeft", global(UI, Pat::Uint, shift_left)),
    ("math.bitShiftRight", global(II, Pat::Int, shift_right)),
    ("math.bitShiftRight", global(UI, Pat::Uint, shift_right)),
];

fn extreme<'a>(args: &[Value<'a>], name: &str, keep: Ordering) -> Outcome<'a> {
    let is_number = |v: &Value<'_>| matches!(v, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    let Some(Value::List(list)) = args.first() else {
        return args
            .first()
            .filter(|v| is_number(v))
            .cloned()
            .ok_or(EvalError::NoSuchOverload);
    };
    let mut best: Option<Value<'a>> = None;
    for item in list.iter() {
        let item = item?;
        if !is_number(&item) {
            return super::mismatch();
        }
        let better = best
            .as_ref()
            .is_none_or(|best| compare(&item, best) == Some(keep));
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| EvalError::bad(format!("math.@{name}(list) argument must not be empty")))
}

fn greatest<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extreme(args, "max", Ordering::Greater)
}

fn least<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extreme(args, "min", Ordering::Less)
}

fn real<'a>(args: &[Value<'a>], of: fn(f64) -> f64) -> Outcome<'a> {
    super::take!(args, [Value::Double(d)] => Ok(Value::Double(of(*d))))
}

fn ceil<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    real(args, f64::ceil)
}

fn floor<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    real(args, f64::floor)
}

fn round<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    real(args, f64::round)
}

fn trunc<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    real(args, f64::trunc)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the nearest number is what is asked for"
)]
fn sqrt<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Double(d)] => Ok(Value::Double(d.sqrt())),
        [Value::Int(n)] => Ok(Value::Double((*n as f64).sqrt())),
        [Value::Uint(n)] => Ok(Value::Double((*n as f64).sqrt())),
        _ => super::mismatch(),
    }
}

fn abs<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(n)] => n
            .checked_abs()
            .map(Value::Int)
            .ok_or(EvalError::Overflow("integer")),
        [Value::Uint(n)] => Ok(Value::Uint(*n)),
        [Value::Double(d)] => Ok(Value::Double(d.abs())),
        _ => super::mismatch(),
    }
}

fn sign<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(n)] => Ok(Value::Int(n.signum())),
        [Value::Uint(n)] => Ok(Value::Uint((*n).min(1))),
        [Value::Double(d)] if *d == 0.0 || d.is_nan() => Ok(Value::Double(*d)),
        [Value::Double(d)] => Ok(Value::Double(d.signum())),
        _ => super::mismatch(),
    }
}

fn is_inf<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Double(d)] => Ok(Value::Bool(d.is_infinite())))
}

fn is_nan<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Double(d)] => Ok(Value::Bool(d.is_nan())))
}

fn is_finite<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Double(d)] => Ok(Value::Bool(d.is_finite())))
}

fn bits<'a>(
    args: &[Value<'a>],
    int: fn(i64, i64) -> i64,
    uint: fn(u64, u64) -> u64,
) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => Ok(Value::Int(int(*a, *b))),
        [Value::Uint(a), Value::Uint(b)] => Ok(Value::Uint(uint(*a, *b))),
        _ => super::mismatch(),
    }
}

fn bit_and<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    bits(args, |a, b| a & b, |a, b| a & b)
}

fn bit_or<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    bits(args, |a, b| a | b, |a, b| a | b)
}

fn bit_xor<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    bits(args, |a, b| a ^ b, |a, b| a ^ b)
}

fn bit_not<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(n)] => Ok(Value::Int(!n)),
        [Value::Uint(n)] => Ok(Value::Uint(!n)),
        _ => super::mismatch(),
    }
}

fn places(by: i64) -> Result<u32, EvalError> {
    u32::try_from(by.min(64))
        .map_err(|_| EvalError::bad(format!("math.bitShift() negative offset: {by}")))
}

#[expect(clippy::cast_possible_wrap, reason = "shifts work on the bits")]
#[expect(clippy::cast_sign_loss, reason = "shifts work on the bits")]
fn shift_left<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(n), Value::Int(by)] => Ok(Value::Int(
            (*n as u64).checked_shl(places(*by)?).unwrap_or_default() as i64,
        )),
        [Value::Uint(n), Value::Int(by)] => {
            Ok(Value::Uint(n.checked_shl(places(*by)?).unwrap_or_default()))
        }
        _ => super::mismatch(),
    }
}

#[expect(clippy::cast_possible_wrap, reason = "shifts work on the bits")]
#[expect(clippy::cast_sign_loss, reason = "shifts work on the bits")]
fn shift_right<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(n), Value::Int(by)] => Ok(Value::Int(
            (*n as u64).checked_shr(places(*by)?).unwrap_or_default() as i64,
        )),
        [Value::Uint(n), Value::Int(by)] => {
            Ok(Value::Uint(n.checked_shr(places(*by)?).unwrap_or_default()))
        }
        _ => super::mismatch(),
    }
}
