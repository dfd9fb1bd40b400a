//! Equality and order across types.

use super::list::same;
use super::{List, Map, Opaque, Value};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::types::ListKind;
use std::cmp::Ordering;

/// Whether two values are equal. Numbers compare by value whatever their type; values of
/// different types are not equal.
///
/// Departs: costs a tenth for each part that is compared, however deep; upstream looks at the
/// outermost size only.
pub(crate) fn equals(a: &Value<'_>, b: &Value<'_>, meter: &mut Meter) -> Result<bool, EvalError> {
    let text = match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.as_str().len().min(b.as_str().len()) as u64,
        _ => 0,
    };
    meter.charge_tenths(text.saturating_add(1))?;
    Ok(match (a, b) {
        (Value::Null, Value::Null) | (Value::Optional(None), Value::Optional(None)) => true,
        (Value::Bytes(a), Value::Bytes(b)) => a == b,
        (Value::Type(a), Value::Type(b)) => a == b,
        (Value::List(a), Value::List(b)) => return lists(a, b, meter),
        (Value::Map(a), Value::Map(b)) => return maps(a, b, meter),
        (Value::Optional(Some(a)), Value::Optional(Some(b))) => return equals(a, b, meter),
        (Value::Opaque(a), Value::Opaque(b)) => opaque(a, b),
        (a, b) => compare(a, b) == Some(Ordering::Equal),
    })
}

/// The order of two values; `None` where there is none.
pub(crate) fn compare(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (Value::Text(a), Value::Text(b)) => Some(a.as_str().cmp(b.as_str())),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        (a, b) => numbers(a, b),
    }
}

fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Ordering> {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        (Some(a), None) => real(b).and_then(|b| against(a, b)),
        (None, Some(b)) => real(a).and_then(|a| against(b, a)).map(Ordering::reverse),
        (None, None) => real(a)?.partial_cmp(&real(b)?),
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(n) => Some((*n).into()),
        Value::Uint(n) => Some((*n).into()),
        _ => None,
    }
}

fn real(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(d) => Some(*d),
        _ => None,
    }
}

/// An integer of at most 64 bits against a floating point number, exactly.
fn against(whole: i128, real: f64) -> Option<Ordering> {
    if real.is_nan() {
        return None;
    }
    let floor = real.floor();
    if floor > 2e19 {
        return Some(Ordering::Less);
    }
    if floor < -2e19 {
        return Some(Ordering::Greater);
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked to fit")]
    let order = whole.cmp(&(floor as i128));
    Some(if order == Ordering::Equal && real > floor {
        Ordering::Less
    } else {
        order
    })
}

fn lists(a: &List<'_>, b: &List<'_>, meter: &mut Meter) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    let kind = match a.kind() {
        ListKind::Atomic => b.kind(),
        kind => kind,
    };
    if *kind != ListKind::Atomic {
        return unordered(a, b, (kind, meter));
    }
    for (a, b) in a.iter().zip(b.iter()) {
        if !equals(&a?, &b?, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn unordered(
    a: &List<'_>,
    b: &List<'_>,
    (kind, meter): (&ListKind, &mut Meter),
) -> Result<bool, EvalError> {
    let others: Vec<Value<'_>> = b.iter().collect::<Result<_, _>>()?;
    for item in a.iter() {
        let item = item?;
        let mut found = false;
        for other in &others {
            if same(&item, other, (kind, meter))? {
                found = equals(&item, other, meter)?;
                break;
            }
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

fn maps(a: &Map<'_>, b: &Map<'_>, meter: &mut Meter) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for key in a.keys() {
        let equal = match (a.get(&key)?, b.get(&key)?) {
            (Some(a), Some(b)) => equals(&a, &b, meter)?,
            _ => false,
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}

fn opaque(a: &Opaque<'_>, b: &Opaque<'_>) -> bool {
    match (a, b) {
        (Opaque::Quantity(a), Opaque::Quantity(b)) => a == b,
        (Opaque::Url(a), Opaque::Url(b)) => a == b,
        (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
        (Opaque::Cidr(a), Opaque::Cidr(b)) => a == b,
        (Opaque::Semver(a), Opaque::Semver(b)) => a.order(b) == Ordering::Equal,
        (Opaque::Format(a), Opaque::Format(b)) => a == b,
        (Opaque::Decision(a), Opaque::Decision(b)) => a == b,
        _ => false,
    }
}
