//! Operators: arithmetic, order, equality, membership, indexing.

use super::{Cost, Pat, Row, Size, global, take};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::{Key, Text, Value, compare, equals, union};
use std::cmp::Ordering;
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const LA: Pat = Pat::List(&Pat::A);
const MAB: Pat = Pat::Map(&Pat::A, &Pat::B);

pub(super) const TABLE: &[Row] = &[
    (
        "_==_",
        global(&[Pat::A, Pat::A], Pat::Bool, equal).cost(Cost::Smaller),
    ),
    (
        "_!=_",
        global(&[Pat::A, Pat::A], Pat::Bool, unequal).cost(Cost::Smaller),
    ),
    ("!_", global(&[Pat::Bool], Pat::Bool, not)),
    ("-_", global(&[Pat::Int], Pat::Int, negate)),
    ("-_", global(&[Pat::Double], Pat::Double, negate)),
    ("_+_", global(&[Pat::Int, Pat::Int], Pat::Int, add)),
    ("_+_", global(&[Pat::Uint, Pat::Uint], Pat::Uint, add)),
    ("_+_", global(&[Pat::Double, Pat::Double], Pat::Double, add)),
    (
        "_+_",
        global(&[Pat::Text, Pat::Text], Pat::Text, concat)
            .cost(Cost::ScanBoth)
            .size(Size::Sum),
    ),
    (
        "_+_",
        global(&[Pat::Bytes, Pat::Bytes], Pat::Bytes, concat)
            .cost(Cost::ScanBoth)
            .size(Size::Sum),
    ),
    // Departs: upstream calls this one step; a bound on time needs the items.
    (
        "_+_",
        global(&[LA, LA], LA, concat)
            .cost(Cost::ScanBoth)
            .size(Size::Sum),
    ),
    (
        "_+_",
        global(&[Pat::Time, Pat::Span], Pat::Time, super::time::add),
    ),
    (
        "_+_",
        global(&[Pat::Span, Pat::Time], Pat::Time, super::time::add),
    ),
    (
        "_+_",
        global(&[Pat::Span, Pat::Span], Pat::Span, super::time::add),
    ),
    ("_-_", global(&[Pat::Int, Pat::Int], Pat::Int, subtract)),
    ("_-_", global(&[Pat::Uint, Pat::Uint], Pat::Uint, subtract)),
    (
        "_-_",
        global(&[Pat::Double, Pat::Double], Pat::Double, subtract),
    ),
    (
        "_-_",
        global(&[Pat::Time, Pat::Time], Pat::Span, super::time::subtract),
    ),
    (
        "_-_",
        global(&[Pat::Time, Pat::Span], Pat::Time, super::time::subtract),
    ),
    (
        "_-_",
        global(&[Pat::Span, Pat::Span], Pat::Span, super::time::subtract),
    ),
    ("_*_", global(&[Pat::Int, Pat::Int], Pat::Int, multiply)),
    ("_*_", global(&[Pat::Uint, Pat::Uint], Pat::Uint, multiply)),
    (
        "_*_",
        global(&[Pat::Double, Pat::Double], Pat::Double, multiply),
    ),
    ("_/_", global(&[Pat::Int, Pat::Int], Pat::Int, divide)),
    ("_/_", global(&[Pat::Uint, Pat::Uint], Pat::Uint, divide)),
    (
        "_/_",
        global(&[Pat::Double, Pat::Double], Pat::Double, divide),
    ),
    ("_%_", global(&[Pat::Int, Pat::Int], Pat::Int, remainder)),
    ("_%_", global(&[Pat::Uint, Pat::Uint], Pat::Uint, remainder)),
    (
        "@in",
        global(&[Pat::A, LA], Pat::Bool, member_of).cost(Cost::Member),
    ),
    ("@in", global(&[Pat::A, MAB], Pat::Bool, key_of)),
    ("_[_]", global(&[LA, Pat::Int], Pat::A, index)),
    ("_[_]", global(&[LA, Pat::Uint], Pat::A, index)),
    ("_[_]", global(&[LA, Pat::Double], Pat::A, index)),
    ("_[_]", global(&[MAB, Pat::A], Pat::B, index)),
    (
        "_[_]",
        global(
            &[Pat::Opt(&LA), Pat::Int],
            Pat::Opt(&Pat::A),
            index_optional,
        ),
    ),
    (
        "_[_]",
        global(&[Pat::Opt(&MAB), Pat::A], Pat::Opt(&Pat::B), index_optional),
    ),
    (
        "_[?_]",
        global(&[LA, Pat::Int], Pat::Opt(&Pat::A), index_optional),
    ),
    (
        "_[?_]",
        global(&[MAB, Pat::A], Pat::Opt(&Pat::B), index_optional),
    ),
    (
        "_[?_]",
        global(
            &[Pat::Opt(&LA), Pat::Int],
            Pat::Opt(&Pat::A),
            index_optional,
        ),
    ),
    (
        "_[?_]",
        global(&[Pat::Opt(&MAB), Pat::A], Pat::Opt(&Pat::B), index_optional),
    ),
    (
        "_<_",
        global(&[Pat::Any, Pat::Any], Pat::Bool, less).cost(Cost::Smaller),
    ),
    (
        "_<=_",
        global(&[Pat::Any, Pat::Any], Pat::Bool, at_most).cost(Cost::Smaller),
    ),
    (
        "_>_",
        global(&[Pat::Any, Pat::Any], Pat::Bool, greater).cost(Cost::Smaller),
    ),
    (
        "_>=_",
        global(&[Pat::Any, Pat::Any], Pat::Bool, at_least).cost(Cost::Smaller),
    ),
];

fn equal<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    take!(args, [a, b] => equals(a, b, meter).map(Value::Bool))
}

fn unequal<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    take!(args, [a, b] => equals(a, b, meter).map(|equal| Value::Bool(!equal)))
}

fn not<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Bool(b)] => Ok(Value::Bool(!b)))
}

fn order<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Outcome<'a> {
    let [a, b] = args else {
        return super::mismatch();
    };
    match compare(a, b) {
        Some(order) => Ok(Value::Bool(holds(order))),
        None if matches!((a, b), (Value::Double(_), _) | (_, Value::Double(_))) => {
            Ok(Value::Bool(false))
        }
        None => super::mismatch(),
    }
}

fn less<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    order(args, Ordering::is_lt)
}

fn at_most<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    order(args, Ordering::is_le)
}

fn greater<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    order(args, Ordering::is_gt)
}

fn at_least<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    order(args, Ordering::is_ge)
}

fn int<'a>(value: Option<i64>) -> Outcome<'a> {
    value.map(Value::Int).ok_or(EvalError::Overflow("integer"))
}

fn uint<'a>(value: Option<u64>) -> Outcome<'a> {
    value
        .map(Value::Uint)
        .ok_or(EvalError::Overflow("unsigned integer"))
}

fn negate<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(n)] => int(n.checked_neg()),
        [Value::Double(d)] => Ok(Value::Double(-d)),
        _ => super::mismatch(),
    }
}

fn add<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_add(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_add(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a + b)),
        _ => super::mismatch(),
    }
}

fn concat<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Text(a), Value::Text(b)] => {
            let mut text = String::with_capacity(a.as_str().len() + b.as_str().len());
            text.push_str(a.as_str());
            text.push_str(b.as_str());
            Ok(Value::text(text))
        }
        [Value::Bytes(a), Value::Bytes(b)] => Ok(Value::Bytes([&**a, &**b].concat().into())),
        [Value::List(a), Value::List(b)] => union(a, b, meter),
        _ => super::mismatch(),
    }
}

fn subtract<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_sub(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_sub(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        _ => super::mismatch(),
    }
}

fn multiply<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_mul(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_mul(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => super::mismatch(),
    }
}

fn divide<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(EvalError::DivisionByZero)
        }
        [Value::Int(a), Value::Int(b)] => int(a.checked_div(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_div(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => super::mismatch(),
    }
}

fn remainder<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            Err(EvalError::ModulusByZero)
        }
        [Value::Int(a), Value::Int(b)] => int(a.checked_rem(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_rem(*b)),
        _ => super::mismatch(),
    }
}

fn member_of<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let [needle, Value::List(list)] = args else {
        return super::mismatch();
    };
    for item in list.iter() {
        if equals(needle, &item?, meter)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn key_of<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [key, Value::Map(map)] = args else {
        return super::mismatch();
    };
    match Key::of(key) {
        Some(key) => Ok(Value::Bool(map.get(&key)?.is_some())),
        None => Ok(Value::Bool(false)),
    }
}

fn place(index: &Value<'_>) -> Result<i64, EvalError> {
    match Key::of(index) {
        Some(Key::Number(n)) => Ok(i64::try_from(n).unwrap_or(i64::MAX)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn find<'a>(container: &Value<'a>, index: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match container {
        Value::List(list) => match usize::try_from(place(index)?) {
            Ok(index) => list.get(index),
            Err(_) => Ok(None),
        },
        Value::Map(map) => match Key::of(index) {
            Some(key) => map.get(&key),
            None => Err(EvalError::NoSuchOverload),
        },
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn index<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [container, index] = args else {
        return super::mismatch();
    };
    match (find(container, index)?, container) {
        (Some(value), _) => Ok(value),
        (None, Value::List(_)) => Err(EvalError::OutOfBounds(place(index)?)),
        (None, _) => {
            let key = match index {
                Value::Text(Text::Borrowed(text)) => (*text).to_owned(),
                other => Key::of(other)
                    .map(|key| key.to_string())
                    .unwrap_or_default(),
            };
            Err(EvalError::NoSuchKey(key))
        }
    }
}

fn index_optional<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Optional(None), _] => Ok(Value::Optional(None)),
        [Value::Optional(Some(container)), index] => {
            Ok(Value::Optional(find(container, index)?.map(Arc::new)))
        }
        [container, index] => Ok(Value::Optional(find(container, index)?.map(Arc::new))),
        _ => super::mismatch(),
    }
}
