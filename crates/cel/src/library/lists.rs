//! Methods of lists.

use super::convert::length;
use super::{Cost, Pat, Row, Size, global, method};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::{List, Value, compare, equals};
use jiff::SignedDuration;
use std::cmp::Ordering;
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const LA: Pat = Pat::List(&Pat::A);

pub(super) const TABLE: &[Row] = &[
    (
        "isSorted",
        method(&[LA], Pat::Bool, is_sorted).cost(Cost::Items),
    ),
    ("sum", method(&[LA], Pat::A, sum).cost(Cost::Items)),
    ("min", method(&[LA], Pat::A, min).cost(Cost::Items)),
    ("max", method(&[LA], Pat::A, max).cost(Cost::Items)),
    (
        "indexOf",
        method(&[LA, Pat::A], Pat::Int, index_of).cost(Cost::Items),
    ),
    (
        "lastIndexOf",
        method(&[LA, Pat::A], Pat::Int, last_index_of).cost(Cost::Items),
    ),
    (
        "slice",
        method(&[LA, Pat::Int, Pat::Int], LA, slice)
            .cost(Cost::Items)
            .size(Size::First),
    ),
    (
        "flatten",
        method(&[Pat::List(&LA)], LA, flatten)
            .cost(Cost::Items)
            .size(Size::Flat),
    ),
    (
        "flatten",
        method(
            &[Pat::List(&Pat::Any), Pat::Int],
            Pat::List(&Pat::Any),
            flatten,
        )
        .cost(Cost::Items)
        .size(Size::Flat),
    ),
    (
        "sort",
        method(&[LA], LA, sort).cost(Cost::Items).size(Size::First),
    ),
    (
        "distinct",
        method(&[LA], LA, distinct)
            .cost(Cost::Items)
            .size(Size::First),
    ),
    (
        "reverse",
        method(&[LA], LA, reverse)
            .cost(Cost::Items)
            .size(Size::First),
    ),
    ("first", method(&[LA], Pat::Opt(&Pat::A), first)),
    ("last", method(&[LA], Pat::Opt(&Pat::A), last)),
    (
        "lists.range",
        global(&[Pat::Int], Pat::List(&Pat::Int), range),
    ),
];

fn items<'a>(args: &[Value<'a>]) -> Result<Vec<Value<'a>>, EvalError> {
    match args.first() {
        Some(Value::List(list)) => list.iter().collect(),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn ordered(a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, EvalError> {
    compare(a, b).ok_or(EvalError::NoSuchOverload)
}

fn is_sorted<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let items = items(args)?;
    for (a, b) in items.iter().zip(items.iter().skip(1)) {
        if ordered(a, b)? == Ordering::Greater {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let mut items = items(args)?.into_iter();
    let mut sum = items.next().unwrap_or(Value::Int(0));
    if !matches!(
        sum,
        Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_)
    ) {
        return super::mismatch();
    }
    for item in items {
        sum = match (sum, item) {
            (Value::Int(a), Value::Int(b)) => a
                .checked_add(b)
                .map(Value::Int)
                .ok_or(EvalError::Overflow("integer"))?,
            (Value::Uint(a), Value::Uint(b)) => a
                .checked_add(b)
                .map(Value::Uint)
                .ok_or(EvalError::Overflow("unsigned integer"))?,
            (Value::Double(a), Value::Double(b)) => Value::Double(a + b),
            (Value::Duration(a), Value::Duration(b)) => add_spans(a, b)?,
            _ => return super::mismatch(),
        };
    }
    Ok(sum)
}

fn add_spans<'a>(a: SignedDuration, b: SignedDuration) -> Outcome<'a> {
    a.checked_add(b)
        .map(Value::Duration)
        .ok_or(EvalError::Overflow("duration"))
}

fn extreme<'a>(args: &[Value<'a>], name: &str, keep: Ordering) -> Outcome<'a> {
    let mut items = items(args)?.into_iter();
    let empty = || EvalError::bad(format!("{name} called on empty list"));
    let mut best = items.next().ok_or_else(empty)?;
    for item in items {
        if ordered(&item, &best)? == keep {
            best = item;
        }
    }
    Ok(best)
}

fn min<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extreme(args, "min", Ordering::Less)
}

fn max<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extreme(args, "max", Ordering::Greater)
}

fn position<'a>(
    args: &[Value<'a>],
    places: impl Iterator<Item = usize>,
    meter: &mut Meter,
) -> Outcome<'a> {
    let [Value::List(list), needle] = args else {
        return super::mismatch();
    };
    for place in places {
        if let Some(item) = list.get(place)?
            && equals(&item, needle, meter)?
        {
            return Ok(length(place));
        }
    }
    Ok(Value::Int(-1))
}

fn length_of(args: &[Value<'_>]) -> usize {
    match args.first() {
        Some(Value::List(list)) => list.len(),
        _ => 0,
    }
}

fn index_of<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    position(args, 0..length_of(args), meter)
}

fn last_index_of<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    position(args, (0..length_of(args)).rev(), meter)
}

fn slice<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::List(list), Value::Int(from), Value::Int(to)] = args else {
        return super::mismatch();
    };
    let fail = |why: &str| Err(EvalError::bad(format!("cannot slice({from}, {to}), {why}")));
    let (Ok(start), Ok(end)) = (usize::try_from(*from), usize::try_from(*to)) else {
        return fail("negative indexes not supported");
    };
    if start > end {
        return fail("start index must be less than or equal to end index");
    }
    if end > list.len() {
        return fail(&format!("list is length {}", list.len()));
    }
    if let List::Json(items, ty) = list {
        let part = items.get(start..end).unwrap_or_default();
        return Ok(Value::List(List::Json(part, ty.clone())));
    }
    let kept: Result<Vec<_>, _> = list.iter().skip(start).take(end - start).collect();
    Ok(Value::list(kept?))
}

fn flatten<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let depth = match args.get(1) {
        Some(Value::Int(depth)) => *depth,
        _ => 1,
    };
    if depth < 0 {
        return Err(EvalError::bad("level must be non-negative"));
    }
    let mut out = Vec::new();
    spread(&items(args)?, depth, (&mut out, meter))?;
    Ok(Value::list(out))
}

fn spread<'a>(
    items: &[Value<'a>],
    depth: i64,
    (out, meter): (&mut Vec<Value<'a>>, &mut Meter),
) -> Result<(), EvalError> {
    for item in items {
        meter.charge(1)?;
        match item {
            Value::List(inner) if depth > 0 => {
                let inner: Vec<Value<'a>> = inner.iter().collect::<Result<_, _>>()?;
                spread(&inner, depth - 1, (out, meter))?;
            }
            other => out.push(other.clone()),
        }
    }
    Ok(())
}

fn sort<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let items = items(args)?;
    let keys = items.clone();
    sort_by(items, keys)
}

/// The items in the order of their keys; equal keys keep their order.
pub(crate) fn sort_by<'a>(items: Vec<Value<'a>>, keys: Vec<Value<'a>>) -> Outcome<'a> {
    if let Some(first) = keys.first() {
        for key in &keys {
            ordered(first, key)?;
        }
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(items).collect();
    // Every pair was found to have an order, or is a NaN, which stays where it is.
    pairs.sort_by(|(a, _), (b, _)| compare(a, b).unwrap_or(Ordering::Equal));
    Ok(Value::list(
        pairs.into_iter().map(|(_, item)| item).collect(),
    ))
}

fn distinct<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in items(args)? {
        let mut known = false;
        for other in &kept {
            if equals(other, &item, meter)? {
                known = true;
                break;
            }
        }
        if !known {
            kept.push(item);
        }
    }
    Ok(Value::list(kept))
}

fn reverse<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let mut items = items(args)?;
    items.reverse();
    Ok(Value::list(items))
}

fn first<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::List(list)] => Ok(Value::Optional(list.get(0)?.map(Arc::new))))
}

fn last<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::List(list)] => {
        let place = list.len().wrapping_sub(1);
        Ok(Value::Optional(list.get(place)?.map(Arc::new)))
    })
}

fn range<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let [Value::Int(n)] = args else {
        return super::mismatch();
    };
    meter.charge(u64::try_from(*n).unwrap_or_default())?;
    Ok(Value::list((0..*n).map(Value::Int).collect()))
}
