//! `sets.contains`, `sets.equivalent`, `sets.intersects`.

use super::{Cost, Pat, Row, global};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::{List, Value, equals};

type Outcome<'a> = Result<Value<'a>, EvalError>;

const LA: Pat = Pat::List(&Pat::A);

pub(super) const TABLE: &[Row] = &[
    (
        "sets.contains",
        global(&[LA, LA], Pat::Bool, contains).cost(Cost::Product),
    ),
    (
        "sets.equivalent",
        global(&[LA, LA], Pat::Bool, equivalent).cost(Cost::Product),
    ),
    (
        "sets.intersects",
        global(&[LA, LA], Pat::Bool, intersects).cost(Cost::Product),
    ),
];

fn has(list: &List<'_>, needle: &Value<'_>, meter: &mut Meter) -> Result<bool, EvalError> {
    for item in list.iter() {
        if equals(&item?, needle, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_all(list: &List<'_>, others: &List<'_>, meter: &mut Meter) -> Result<bool, EvalError> {
    for other in others.iter() {
        if !has(list, &other?, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::List(a), Value::List(b)] => Ok(Value::Bool(has_all(a, b, meter)?)))
}

fn equivalent<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::List(a), Value::List(b)] =>
        Ok(Value::Bool(has_all(a, b, meter)? && has_all(b, a, meter)?)))
}

fn intersects<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let [Value::List(a), Value::List(b)] = args else {
        return super::mismatch();
    };
    for item in b.iter() {
        if has(a, &item?, meter)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}
