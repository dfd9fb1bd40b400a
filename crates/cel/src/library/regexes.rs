//! `matches`, `find`, `findAll`, `replace` by regular expression.

use super::{Cost, Pat, Row, Size, global, method};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::value::Value;
use regex::{Regex, RegexBuilder};
use std::cell::RefCell;
use std::collections::BTreeMap;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const T: Pat = Pat::Text;
/// Bytes a compiled expression may take.
const MAX_SIZE: usize = 1 << 20;
/// Compiled expressions each thread remembers.
const REMEMBERED: usize = 64;
/// What compiling one costs; rules use the same few again and again.
const COMPILE_COST: u64 = 500;

pub(super) const TABLE: &[Row] = &[
    (
        "matches",
        method(&[T, T], Pat::Bool, matches).cost(Cost::Regex),
    ),
    (
        "matches",
        global(&[T, T], Pat::Bool, matches).cost(Cost::Regex),
    ),
    (
        "find",
        method(&[T, T], T, find).cost(Cost::Regex).size(Size::First),
    ),
    (
        "findAll",
        method(&[T, T], Pat::List(&T), find_all)
            .cost(Cost::Regex)
            .size(Size::Split),
    ),
    (
        "findAll",
        method(&[T, T, Pat::Int], Pat::List(&T), find_all)
            .cost(Cost::Regex)
            .size(Size::Split),
    ),
];

thread_local! {
    static COMPILED: RefCell<BTreeMap<String, Regex>> = const { RefCell::new(BTreeMap::new()) };
}

/// A compiled expression.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(pattern)
        .size_limit(MAX_SIZE)
        .dfa_size_limit(MAX_SIZE)
        .build();
    built.map_err(|error| format!("error parsing regexp: {error}"))
}

fn regex(pattern: &Value<'_>, meter: &mut Meter) -> Result<Regex, EvalError> {
    let Value::Text(pattern) = pattern else {
        return Err(EvalError::NoSuchOverload);
    };
    let pattern = pattern.as_str();
    let known = COMPILED.with_borrow(|compiled| compiled.get(pattern).cloned());
    if let Some(known) = known {
        return Ok(known);
    }
    meter.charge(COMPILE_COST)?;
    let regex = compile(pattern).map_err(EvalError::bad)?;
    COMPILED.with_borrow_mut(|compiled| {
        if compiled.len() >= REMEMBERED {
            compiled.clear();
        }
        compiled.insert(pattern.to_owned(), regex.clone());
    });
    Ok(regex)
}

fn matches<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let [Value::Text(text), pattern] = args else {
        return super::mismatch();
    };
    Ok(Value::Bool(regex(pattern, meter)?.is_match(text.as_str())))
}

fn find<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let [Value::Text(text), pattern] = args else {
        return super::mismatch();
    };
    let regex = regex(pattern, meter)?;
    let found = regex.find(text.as_str()).map(|m| m.as_str().to_owned());
    Ok(Value::text(found.unwrap_or_default()))
}

fn find_all<'a>(args: &[Value<'a>], meter: &mut Meter) -> Outcome<'a> {
    let (text, pattern, limit) = match args {
        [Value::Text(text), pattern] => (text, pattern, -1),
        [Value::Text(text), pattern, Value::Int(limit)] => (text, pattern, *limit),
        _ => return super::mismatch(),
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let regex = regex(pattern, meter)?;
    let found = regex.find_iter(text.as_str()).take(limit);
    Ok(Value::list(
        found.map(|m| Value::text(m.as_str())).collect(),
    ))
}
