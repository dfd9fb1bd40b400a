//! Methods of text. Places are counted in characters.

use super::convert::length;
use super::{Cost, Pat, Row, Size, global, method, take};
use crate::budget::{Meter, tenth};
use crate::error::EvalError;
use crate::value::{Text, Value};

type Outcome<'a> = Result<Value<'a>, EvalError>;

const T: Pat = Pat::Text;
const LIST: Pat = Pat::List(&Pat::Text);

pub(super) const TABLE: &[Row] = &[
    (
        "contains",
        method(&[T, T], Pat::Bool, contains).cost(Cost::Search),
    ),
    (
        "startsWith",
        method(&[T, T], Pat::Bool, starts_with).cost(Cost::Smaller),
    ),
    (
        "endsWith",
        method(&[T, T], Pat::Bool, ends_with).cost(Cost::Smaller),
    ),
    (
        "charAt",
        method(&[T, Pat::Int], T, char_at)
            .cost(Cost::Scan)
            .size(Size::Most(4)),
    ),
    (
        "indexOf",
        method(&[T, T], Pat::Int, index_of).cost(Cost::Scan),
    ),
    (
        "indexOf",
        method(&[T, T, Pat::Int], Pat::Int, index_of).cost(Cost::Scan),
    ),
    (
        "lastIndexOf",
        method(&[T, T], Pat::Int, last_index_of).cost(Cost::Scan),
    ),
    (
        "lastIndexOf",
        method(&[T, T, Pat::Int], Pat::Int, last_index_of).cost(Cost::Scan),
    ),
    (
        "lowerAscii",
        method(&[T], T, lower).cost(Cost::Scan).size(Size::First),
    ),
    (
        "upperAscii",
        method(&[T], T, upper).cost(Cost::Scan).size(Size::First),
    ),
    (
        "trim",
        method(&[T], T, trim).cost(Cost::Scan).size(Size::First),
    ),
    (
        "reverse",
        method(&[T], T, reverse).cost(Cost::Scan).size(Size::First),
    ),
    (
        "replace",
        method(&[T, T, T], T, replace)
            .cost(Cost::Scan)
            .size(Size::Replaced),
    ),
    (
        "replace",
        method(&[T, T, T, Pat::Int], T, replace)
            .cost(Cost::Scan)
            .size(Size::Replaced),
    ),
    (
        "split",
        method(&[T, T], LIST, split)
            .cost(Cost::Scan)
            .size(Size::Split),
    ),
    (
        "split",
        method(&[T, T, Pat::Int], LIST, split)
            .cost(Cost::Scan)
            .size(Size::Split),
    ),
    (
        "substring",
        method(&[T, Pat::Int], T, substring)
            .cost(Cost::Scan)
            .size(Size::First),
    ),
    (
        "substring",
        method(&[T, Pat::Int, Pat::Int], T, substring)
            .cost(Cost::Scan)
            .size(Size::First),
    ),
    (
        "join",
        method(&[LIST], T, join).cost(Cost::Items).size(Size::Flat),
    ),
    (
        "join",
        method(&[LIST, T], T, join)
            .cost(Cost::Items)
            .size(Size::Flat),
    ),
    (
        "strings.quote",
        global(&[T], T, quote).cost(Cost::Scan).size(Size::Sum),
    ),
];

fn contains<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Text(a), Value::Text(b)] => Ok(Value::Bool(a.as_str().contains(b.as_str()))))
}

fn starts_with<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Text(a), Value::Text(b)] =>
        Ok(Value::Bool(a.as_str().starts_with(b.as_str()))))
}

fn ends_with<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Text(a), Value::Text(b)] => Ok(Value::Bool(a.as_str().ends_with(b.as_str()))))
}

fn outside(index: i64) -> EvalError {
    EvalError::bad(format!("index out of range: {index}"))
}

/// A place from 0 to `length`.
fn place(index: i64, length: usize) -> Result<usize, EvalError> {
    let place = usize::try_from(index).ok().filter(|place| *place <= length);
    place.ok_or_else(|| outside(index))
}

fn char_at<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::Text(text), Value::Int(index)] = args else {
        return super::mismatch();
    };
    let chars: Vec<char> = text.as_str().chars().collect();
    let place = place(*index, chars.len())?;
    Ok(Value::text(
        chars.get(place).map(char::to_string).unwrap_or_default(),
    ))
}

fn index_of<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let (text, part, from) = match args {
        [Value::Text(text), Value::Text(part)] => (text, part, 0),
        [Value::Text(text), Value::Text(part), Value::Int(from)] => (text, part, *from),
        _ => return super::mismatch(),
    };
    let chars: Vec<char> = text.as_str().chars().collect();
    let start = place(from, chars.len())?;
    let rest: String = chars.get(start..).unwrap_or_default().iter().collect();
    meter.charge(tenth(part.as_str().len() as u64))?;
    let found = rest.find(part.as_str()).and_then(|at| rest.get(..at));
    Ok(found.map_or(Value::Int(-1), |before| {
        length(start + before.chars().count())
    }))
}

fn last_index_of<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let (text, part, until) = match args {
        [Value::Text(text), Value::Text(part)] => (text.as_str(), part.as_str(), None),
        [Value::Text(text), Value::Text(part), Value::Int(until)] => {
            (text.as_str(), part.as_str(), Some(*until))
        }
        _ => return super::mismatch(),
    };
    let total = text.chars().count();
    let until = until.map_or(Ok(total), |until| place(until, total))?;
    let length_of_part = part.chars().count();
    meter.charge(tenth(part.len() as u64))?;
    // A match may start at `until` at the latest.
    let end = (until + length_of_part).min(total);
    let head: String = text.chars().take(end).collect();
    let found = head.rfind(part).and_then(|at| head.get(..at));
    Ok(found.map_or(Value::Int(-1), |before| length(before.chars().count())))
}

fn lower<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Text(text)] => Ok(Value::text(text.as_str().to_ascii_lowercase())))
}

fn upper<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Text(text)] => Ok(Value::text(text.as_str().to_ascii_uppercase())))
}

fn trim<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Text(text)] => Ok(match text {
        Text::Borrowed(text) => Value::Text(Text::Borrowed(text.trim())),
        Text::Shared(text) => Value::text(text.trim()),
    }))
}

fn reverse<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    take!(args, [Value::Text(text)] =>
        Ok(Value::text(text.as_str().chars().rev().collect::<String>())))
}

fn replace<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let (text, from, to, limit) = match args {
        [Value::Text(text), Value::Text(from), Value::Text(to)] => (text, from, to, -1),
        [
            Value::Text(text),
            Value::Text(from),
            Value::Text(to),
            Value::Int(limit),
        ] => (text, from, to, *limit),
        _ => return super::mismatch(),
    };
    let (text, from, to) = (text.as_str(), from.as_str(), to.as_str());
    let count = usize::try_from(limit).unwrap_or(usize::MAX);
    // Charged before it is made: one call may grow the text by the product of two lengths.
    let matches = text.matches(from).take(count).count() as u64;
    meter.charge(tenth(matches.saturating_mul(to.len() as u64)))?;
    Ok(Value::text(text.replacen(from, to, count)))
}

fn split<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let (text, by, limit) = match args {
        [Value::Text(text), Value::Text(by)] => (text.as_str(), by.as_str(), -1),
        [Value::Text(text), Value::Text(by), Value::Int(limit)] => {
            (text.as_str(), by.as_str(), *limit)
        }
        _ => return super::mismatch(),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let parts: Vec<Value<'a>> = match (limit, by) {
        (0, _) => Vec::new(),
        (limit, "") => characters(text, limit),
        (limit, by) => text.splitn(limit, by).map(Value::text).collect(),
    };
    meter.charge(tenth(parts.len() as u64))?;
    Ok(Value::list(parts))
}

/// The characters; the last part holds the rest.
fn characters<'a>(text: &str, limit: usize) -> Vec<Value<'a>> {
    let chars: Vec<char> = text.chars().collect();
    let singles = chars.len().min(limit.saturating_sub(1));
    let mut parts: Vec<Value<'a>> = chars
        .iter()
        .take(singles)
        .map(|c| Value::text(c.to_string()))
        .collect();
    let rest: String = chars.iter().skip(singles).collect();
    if !rest.is_empty() {
        parts.push(Value::text(rest));
    }
    parts
}

fn substring<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let (text, from, to) = match args {
        [Value::Text(text), Value::Int(from)] => (text.as_str(), *from, None),
        [Value::Text(text), Value::Int(from), Value::Int(to)] => (text.as_str(), *from, Some(*to)),
        _ => return super::mismatch(),
    };
    let total = text.chars().count();
    let start = place(from, total)?;
    let end = to.map_or(Ok(total), |to| place(to, total))?;
    if start > end {
        let message = format!("invalid substring range. start: {start}, end: {end}");
        return Err(EvalError::bad(message));
    }
    Ok(Value::text(
        text.chars()
            .skip(start)
            .take(end - start)
            .collect::<String>(),
    ))
}

fn join<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let (list, by) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::Text(by)] => (list, by.as_str()),
        _ => return super::mismatch(),
    };
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let Value::Text(item) = item? else {
            return super::mismatch();
        };
        if index > 0 {
            joined.push_str(by);
        }
        meter.charge(tenth((item.as_str().len() + by.len()) as u64))?;
        joined.push_str(item.as_str());
    }
    Ok(Value::text(joined))
}

fn quote<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::Text(text)] = args else {
        return super::mismatch();
    };
    let mut quoted = String::from("\"");
    for c in text.as_str().chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    Ok(Value::text(quoted))
}
