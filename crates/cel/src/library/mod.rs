//! The functions: one table row for each overload, used by the checker, the cost estimate and the
//! evaluation alike.

mod authorization;
mod convert;
mod encode;
pub(crate) mod format;
pub(crate) mod lists;
mod math;
pub(crate) mod net;
mod operators;
mod optional;
mod printf;
mod quantity;
pub(crate) mod regexes;
pub(crate) mod semver;
mod sets;
mod strings;
pub(crate) mod time;
pub(crate) mod url;

use crate::budget::{Meter, tenth};
use crate::error::EvalError;
use crate::types::OpaqueType;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The type of an argument or a result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pat {
    Any,
    /// Some type, the same wherever it stands.
    A,
    /// Another one.
    B,
    Bool,
    Int,
    Uint,
    Double,
    Text,
    Bytes,
    Time,
    Span,
    Type,
    List(&'static Pat),
    Map(&'static Pat, &'static Pat),
    Opt(&'static Pat),
    Lib(OpaqueType),
}

/// What a call costs, by the sizes of its arguments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Cost {
    /// One.
    Unit,
    /// A tenth of the first argument.
    Scan,
    /// A tenth of the first two arguments.
    ScanBoth,
    /// A tenth of the smaller of the first two.
    Smaller,
    /// The second argument's items.
    Member,
    /// The first argument's items.
    Items,
    /// The first two arguments' items, multiplied.
    Product,
    /// A tenth of each of the first two arguments, multiplied.
    Search,
    /// A regular expression (second argument) over text (first argument).
    Regex,
    /// A question to the authorizer.
    Authorization,
}

/// How large a result is, by the sizes of the arguments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Size {
    /// Numbers, times and what types say themselves.
    Natural,
    /// At most this large.
    Most(u64),
    /// As large as the first argument.
    First,
    /// As large as the first two together.
    Sum,
    /// As large as the first times the third.
    Replaced,
    /// As many as there are characters in the first, each at most that long.
    Split,
    /// All the items of a list of lists.
    Flat,
}

/// The code of an overload.
pub(crate) type Code = for<'a> fn(&[Value<'a>], &mut Meter) -> Result<Value<'a>, EvalError>;

/// One form of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Overload {
    /// Whether it is called as a method of its first argument.
    pub(crate) member: bool,
    pub(crate) args: &'static [Pat],
    pub(crate) result: Pat,
    pub(crate) cost: Cost,
    pub(crate) size: Size,
    pub(crate) code: Code,
}

/// A row of a library's table.
pub(crate) type Row = (&'static str, Overload);

/// A method.
pub(crate) const fn method(args: &'static [Pat], result: Pat, code: Code) -> Overload {
    Overload {
        member: true,
        args,
        result,
        cost: Cost::Unit,
        size: Size::Natural,
        code,
    }
}

/// A function.
pub(crate) const fn global(args: &'static [Pat], result: Pat, code: Code) -> Overload {
    Overload {
        member: false,
        args,
        result,
        cost: Cost::Unit,
        size: Size::Natural,
        code,
    }
}

impl Overload {
    /// The same with another cost.
    pub(crate) const fn cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }

    /// The same with another size of the result.
    pub(crate) const fn size(mut self, size: Size) -> Self {
        self.size = size;
        self
    }

    /// Whether it takes these values.
    pub(crate) fn takes(&self, member: bool, values: &[Value<'_>]) -> bool {
        self.member == member
            && self.args.len() == values.len()
            && self
                .args
                .iter()
                .zip(values)
                .all(|(pat, value)| pat.fits(value))
    }
}

impl Pat {
    fn fits(self, value: &Value<'_>) -> bool {
        match self {
            Self::Any | Self::A | Self::B => true,
            Self::Bool => matches!(value, Value::Bool(_)),
            Self::Int => matches!(value, Value::Int(_)),
            Self::Uint => matches!(value, Value::Uint(_)),
            Self::Double => matches!(value, Value::Double(_)),
            Self::Text => matches!(value, Value::Text(_)),
            Self::Bytes => matches!(value, Value::Bytes(_)),
            Self::Time => matches!(value, Value::Timestamp(_)),
            Self::Span => matches!(value, Value::Duration(_)),
            Self::Type => matches!(value, Value::Type(_)),
            Self::List(_) => matches!(value, Value::List(_)),
            Self::Map(..) => matches!(value, Value::Map(_)),
            Self::Opt(_) => matches!(value, Value::Optional(_)),
            Self::Lib(kind) => matches!(value, Value::Opaque(opaque) if opaque.kind() == kind),
        }
    }
}

impl Cost {
    /// The cost for arguments of these sizes.
    pub(crate) fn of(self, size: impl Fn(usize) -> u64) -> u64 {
        match self {
            Self::Unit => 1,
            Self::Scan => tenth(size(0)).max(1),
            Self::ScanBoth => tenth(size(0).saturating_add(size(1))).max(1),
            Self::Smaller => tenth(size(0).min(size(1))).max(1),
            Self::Member => size(1).max(1),
            Self::Items => size(0).max(1),
            Self::Product => size(0).saturating_mul(size(1)).max(1),
            Self::Search => tenth(size(0)).saturating_mul(tenth(size(1))).max(1),
            Self::Regex => {
                let text = tenth(size(0).saturating_add(1));
                text.saturating_mul(size(1).div_ceil(4).max(1))
            }
            Self::Authorization => 350_000,
        }
    }
}

/// A function: every form it has.
#[derive(Debug, Default)]
pub(crate) struct Function {
    pub(crate) overloads: Vec<Overload>,
}

static FUNCTIONS: LazyLock<BTreeMap<&'static str, Function>> = LazyLock::new(|| {
    let tables: [&[Row]; 18] = [
        operators::TABLE,
        convert::TABLE,
        strings::TABLE,
        printf::TABLE,
        regexes::TABLE,
        lists::TABLE,
        sets::TABLE,
        time::TABLE,
        time::PARTS,
        math::TABLE,
        optional::TABLE,
        encode::TABLE,
        quantity::TABLE,
        net::TABLE,
        semver::TABLE,
        url::TABLE,
        format::TABLE,
        authorization::TABLE,
    ];
    let mut functions: BTreeMap<&'static str, Function> = BTreeMap::new();
    for (name, overload) in tables.into_iter().flatten() {
        functions.entry(name).or_default().overloads.push(*overload);
    }
    functions
});

/// The function of this name.
pub(crate) fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.get(name)
}

/// What code says about arguments its row does not admit.
pub(crate) fn mismatch<'a>() -> Result<Value<'a>, EvalError> {
    Err(EvalError::NoSuchOverload)
}

/// Matches the arguments or fails with "no such overload", and gives the value.
macro_rules! take {
    ($args:expr, [$($pattern:pat),*] => $body:expr) => {
        match $args {
            [$($pattern),*] => $body,
            _ => $crate::library::mismatch(),
        }
    };
}
pub(crate) use take;

/// Both arguments, read the same way.
pub(crate) fn take_pair<T>(
    args: &[Value<'_>],
    read: fn(&Value<'_>) -> Result<T, EvalError>,
) -> Result<(T, T), EvalError> {
    match args {
        [a, b] => Ok((read(a)?, read(b)?)),
        _ => Err(EvalError::NoSuchOverload),
    }
}
