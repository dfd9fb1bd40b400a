//! Timestamps and durations.

use super::{Cost, Pat, Row, global, method};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::Value;
use jiff::civil::{Date, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, Zoned};

type Outcome<'a> = Result<Value<'a>, EvalError>;
/// One part of a point in time.
type Part = fn(&Zoned) -> i64;

/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, in seconds.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
const INT: Pat = Pat::Int;
const TIME: &[Pat] = &[Pat::Time];
const TIME_IN: &[Pat] = &[Pat::Time, Pat::Text];
const SPAN: &[Pat] = &[Pat::Span];

pub(super) const TABLE: &[Row] = &[
    (
        "timestamp",
        global(&[Pat::Text], Pat::Time, to_timestamp).cost(Cost::Scan),
    ),
    ("timestamp", global(&[Pat::Int], Pat::Time, to_timestamp)),
    ("timestamp", global(&[Pat::Time], Pat::Time, to_timestamp)),
    (
        "duration",
        global(&[Pat::Text], Pat::Span, to_duration).cost(Cost::Scan),
    ),
    ("duration", global(&[Pat::Int], Pat::Span, to_duration)),
    ("duration", global(&[Pat::Span], Pat::Span, to_duration)),
];

pub(super) const PARTS: &[Row] = &[
    ("getFullYear", method(TIME, INT, year)),
    ("getFullYear", method(TIME_IN, INT, year)),
    ("getMonth", method(TIME, INT, month)),
    ("getMonth", method(TIME_IN, INT, month)),
    ("getDate", method(TIME, INT, date)),
    ("getDate", method(TIME_IN, INT, date)),
    ("getDayOfMonth", method(TIME, INT, day_of_month)),
    ("getDayOfMonth", method(TIME_IN, INT, day_of_month)),
    ("getDayOfYear", method(TIME, INT, day_of_year)),
    ("getDayOfYear", method(TIME_IN, INT, day_of_year)),
    ("getDayOfWeek", method(TIME, INT, day_of_week)),
    ("getDayOfWeek", method(TIME_IN, INT, day_of_week)),
    ("getHours", method(TIME, INT, hours)),
    ("getHours", method(TIME_IN, INT, hours)),
    ("getHours", method(SPAN, INT, hours)),
    ("getMinutes", method(TIME, INT, minutes)),
    ("getMinutes", method(TIME_IN, INT, minutes)),
    ("getMinutes", method(SPAN, INT, minutes)),
    ("getSeconds", method(TIME, INT, seconds)),
    ("getSeconds", method(TIME_IN, INT, seconds)),
    ("getSeconds", method(SPAN, INT, seconds)),
    ("getMilliseconds", method(TIME, INT, milliseconds)),
    ("getMilliseconds", method(TIME_IN, INT, milliseconds)),
    ("getMilliseconds", method(SPAN, INT, milliseconds)),
];

/// An RFC 3339 time.
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    if let Ok(date) = text.parse::<Date>()
        && text.len() == 10
    {
        return date
            .to_zoned(TimeZone::UTC)
            .ok()
            .map(|zoned| zoned.timestamp());
    }
    text.parse::<Timestamp>()
        .ok()
        .filter(|at| RANGE.contains(&at.as_second()))
}

/// A duration in Go's form: `1h30m`, `-1.5s`, `100ms`.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let end = tail
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(end)?;
        nanos = nanos.checked_add(component(number, unit)?)?;
        rest = tail;
    }
    let nanos = i64::try_from(nanos * sign).ok()?;
    Some(SignedDuration::from_nanos(nanos))
}

fn component(number: &str, unit: &str) -> Option<i128> {
    let unit: i128 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    let mut value = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.chars().take(20) {
        place /= 10;
        value += i128::from(digit.to_digit(10)?) * place;
    }
    Some(value)
}

/// A point in time as Go prints it.
pub(crate) fn print(at: Timestamp) -> String {
    at.to_string()
}

fn to_timestamp<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Timestamp(at)] => Ok(Value::Timestamp(*at)),
        [Value::Int(seconds)] => in_range(Timestamp::from_second(*seconds).ok()),
        [Value::Text(text)] => match timestamp(text.as_str()) {
            Some(at) => Ok(Value::Timestamp(at)),
            None => Err(EvalError::bad(format!(
                "type conversion error from 'string' to 'google.protobuf.Timestamp': {:?}",
                text.as_str()
            ))),
        },
        _ => super::mismatch(),
    }
}

fn in_range<'a>(at: Option<Timestamp>) -> Outcome<'a> {
    at.filter(|at| RANGE.contains(&at.as_second()))
        .map(Value::Timestamp)
        .ok_or(EvalError::Overflow("timestamp"))
}

fn to_duration<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Duration(span)] => Ok(Value::Duration(*span)),
        [Value::Int(seconds)] => Ok(Value::Duration(SignedDuration::from_secs(*seconds))),
        [Value::Text(text)] => match duration(text.as_str()) {
            Some(span) => Ok(Value::Duration(span)),
            None => Err(EvalError::bad(format!(
                "type conversion error from 'string' to 'google.protobuf.Duration': {:?}",
                text.as_str()
            ))),
        },
        _ => super::mismatch(),
    }
}

fn in_span<'a>(span: Option<SignedDuration>) -> Outcome<'a> {
    // Upstream keeps durations in 64-bit nanoseconds.
    span.filter(|span| i64::try_from(span.as_nanos()).is_ok())
        .map(Value::Duration)
        .ok_or(EvalError::Overflow("duration"))
}

pub(super) fn add<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Timestamp(at), Value::Duration(span)]
        | [Value::Duration(span), Value::Timestamp(at)] => in_range(at.checked_add(*span).ok()),
        [Value::Duration(a), Value::Duration(b)] => in_span(a.checked_add(*b)),
        _ => super::mismatch(),
    }
}

pub(super) fn subtract<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    match args {
        [Value::Timestamp(a), Value::Timestamp(b)] => in_span(Some(a.duration_since(*b))),
        [Value::Timestamp(at), Value::Duration(span)] => in_range(at.checked_sub(*span).ok()),
        [Value::Duration(a), Value::Duration(b)] => in_span(a.checked_sub(*b)),
        _ => super::mismatch(),
    }
}

/// A zone by name, or an offset such as `-08:00`.
fn zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    let Some((hours, minutes)) = name.split_once(':') else {
        return TimeZone::get(name).ok();
    };
    let (sign, hours) = match hours.strip_prefix('-') {
        Some(hours) => (-1, hours),
        None => (1, hours.strip_prefix('+').unwrap_or(hours)),
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let seconds = hours
        .checked_mul(3600)?
        .checked_add(minutes.checked_mul(60)?)?;
    Some(TimeZone::fixed(Offset::from_seconds(sign * seconds).ok()?))
}

fn part<'a>(args: &[Value<'a>], of: Part, of_span: Option<fn(i128) -> i128>) -> Outcome<'a> {
    let (at, name) = match (args, of_span) {
        ([Value::Timestamp(at)], _) => (at, ""),
        ([Value::Timestamp(at), Value::Text(name)], _) => (at, name.as_str()),
        ([Value::Duration(span)], Some(of_span)) => {
            let value = of_span(span.as_nanos());
            return Ok(Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
        }
        _ => return super::mismatch(),
    };
    let zone = zone(name).ok_or_else(|| EvalError::bad(format!("unknown time zone {name}")))?;
    Ok(Value::Int(of(&at.to_zoned(zone))))
}

fn year<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |at| at.year().into(), None)
}

fn month<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |at| i64::from(at.month()) - 1, None)
}

fn date<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |at| at.day().into(), None)
}

fn day_of_month<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |at| i64::from(at.day()) - 1, None)
}

fn day_of_year<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |at| i64::from(at.day_of_year()) - 1, None)
}

fn day_of_week<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(args, |at| at.weekday().since(Weekday::Sunday).into(), None)
}

fn hours<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(
        args,
        |at| at.hour().into(),
        Some(|nanos| nanos / 3_600_000_000_000),
    )
}

fn minutes<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(
        args,
        |at| at.minute().into(),
        Some(|nanos| nanos / 60_000_000_000),
    )
}

fn seconds<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(
        args,
        |at| at.second().into(),
        Some(|nanos| nanos / 1_000_000_000),
    )
}

fn milliseconds<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    part(
        args,
        |at| at.millisecond().into(),
        Some(|nanos| nanos / 1_000_000),
    )
}
