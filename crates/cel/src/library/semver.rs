//! `semver(…)` and its methods.

use super::quantity::order;
use super::{Cost, Pat, Row, global, method};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::types::OpaqueType;
use crate::value::{Opaque, Value};
use std::cmp::Ordering;
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const V: Pat = Pat::Lib(OpaqueType::Semver);

pub(super) const TABLE: &[Row] = &[
    ("semver", global(&[Pat::Text], V, parse).cost(Cost::Scan)),
    (
        "semver",
        global(&[Pat::Text, Pat::Bool], V, parse).cost(Cost::Scan),
    ),
    (
        "isSemver",
        global(&[Pat::Text], Pat::Bool, is_semver).cost(Cost::Scan),
    ),
    (
        "isSemver",
        global(&[Pat::Text, Pat::Bool], Pat::Bool, is_semver).cost(Cost::Scan),
    ),
    ("major", method(&[V], Pat::Int, major)),
    ("minor", method(&[V], Pat::Int, minor)),
    ("patch", method(&[V], Pat::Int, patch)),
    ("isGreaterThan", method(&[V, V], Pat::Bool, is_greater)),
    ("isLessThan", method(&[V, V], Pat::Bool, is_less)),
    ("compareTo", method(&[V, V], Pat::Int, compare_to)),
];

/// A semantic version, <https://semver.org>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    before: Vec<String>,
}

impl Semver {
    /// A version; `None` if the text is none.
    pub fn of(text: &str) -> Option<Self> {
        Self::parse(text)
    }

    /// A version; `None` if the text is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (text, build) = match text.split_once('+') {
            Some((text, build)) => (text, Some(build)),
            None => (text, None),
        };
        if build.is_some_and(|build| !build.split('.').all(is_identifier)) {
            return None;
        }
        let (numbers, before) = match text.split_once('-') {
            Some((numbers, before)) => (numbers, before.split('.').map(str::to_owned).collect()),
            None => (text, Vec::new()),
        };
        let valid = |part: &String| is_identifier(part) && (!is_number(part) || no_zeros(part));
        if !before.iter().all(valid) {
            return None;
        }
        let parts: Vec<u64> = numbers
            .split('.')
            .map(|part| {
                if is_number(part) && no_zeros(part) {
                    part.parse().ok()
                } else {
                    None
                }
            })
            .collect::<Option<_>>()?;
        Some(Self {
            numbers: parts.try_into().ok()?,
            before,
        })
    }

    /// The version meant by `v1.2`, ` 01.2.3` and the like.
    fn normalised(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (numbers, rest) = text.split_at_checked(end)?;
        let mut parts: Vec<String> = numbers
            .split('.')
            .map(|part| {
                let short = part.trim_start_matches('0');
                if short.is_empty() && !part.is_empty() {
                    "0".to_owned()
                } else {
                    short.to_owned()
                }
            })
            .collect();
        while parts.len() < 3 {
            parts.push("0".to_owned());
        }
        Self::parse(&format!("{}{rest}", parts.join(".")))
    }

    /// The order of precedence; builds do not count.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        let numbers = self.numbers.cmp(&other.numbers);
        let before = match (self.before.is_empty(), other.before.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.identifiers(other),
        };
        numbers.then(before)
    }

    fn identifiers(&self, other: &Self) -> Ordering {
        for (a, b) in self.before.iter().zip(&other.before) {
            let order = match (is_number(a), is_number(b)) {
                (true, true) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
                (false, false) => a.cmp(b),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        self.before.len().cmp(&other.before.len())
    }
}

fn is_identifier(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.chars().all(|c| c.is_ascii_digit())
}

fn no_zeros(part: &str) -> bool {
    part == "0" || !part.starts_with('0')
}

fn read(args: &[Value<'_>]) -> Result<Option<Semver>, EvalError> {
    match args {
        [Value::Text(text)] | [Value::Text(text), Value::Bool(false)] => {
            Ok(Semver::parse(text.as_str()))
        }
        [Value::Text(text), Value::Bool(true)] => Ok(Semver::normalised(text.as_str())),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn parse<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let version =
        read(args)?.ok_or_else(|| EvalError::bad("No Major.Minor.Patch elements found"))?;
    Ok(Value::Opaque(Opaque::Semver(Arc::new(version))))
}

fn is_semver<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    Ok(Value::Bool(read(args)?.is_some()))
}

fn number<'a>(args: &[Value<'a>], index: usize) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Semver(version))] => {
        let number = version.numbers.get(index).copied().unwrap_or_default();
        i64::try_from(number).map(Value::Int).map_err(|_| EvalError::Overflow("integer"))
    })
}

fn major<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    number(args, 0)
}

fn minor<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    number(args, 1)
}

fn patch<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    number(args, 2)
}

fn ordering(args: &[Value<'_>]) -> Result<Ordering, EvalError> {
    match args {
        [
            Value::Opaque(Opaque::Semver(a)),
            Value::Opaque(Opaque::Semver(b)),
        ] => Ok(a.order(b)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn is_greater<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    ordering(args).map(|order| Value::Bool(order.is_gt()))
}

fn is_less<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    ordering(args).map(|order| Value::Bool(order.is_lt()))
}

fn compare_to<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    ordering(args).map(order)
}
