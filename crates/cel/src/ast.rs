//! Expressions as trees.

use crate::library::Function;
use std::sync::Arc;

/// An expression and where it starts, in characters.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) at: u32,
    /// How many levels are below, this one included.
    pub(crate) depth: u16,
    pub(crate) kind: ExprKind,
}

impl Expr {
    /// An expression over its parts.
    pub(crate) fn new(at: u32, kind: ExprKind) -> Self {
        let mut depth = 0;
        kind.parts(&mut |part| depth = depth.max(part.depth));
        Self {
            at,
            depth: depth.saturating_add(1),
            kind,
        }
    }
}

impl ExprKind {
    /// Shows every direct part.
    pub(crate) fn parts<'a>(&'a self, see: &mut dyn FnMut(&'a Expr)) {
        match self {
            Self::Literal(_) | Self::Ident(_) => {}
            Self::Select { operand, .. } | Self::Has { operand, .. } => see(operand),
            Self::Call(call) => call.args.iter().for_each(see),
            Self::And(terms) | Self::Or(terms) => terms.iter().for_each(see),
            Self::Ternary(terms) => terms.iter().for_each(see),
            Self::List(elements) => elements.iter().for_each(|e| see(&e.value)),
            Self::Map(entries) => entries.iter().for_each(|e| {
                see(&e.key);
                see(&e.value);
            }),
            Self::Struct { fields, .. } => fields.iter().for_each(|f| see(&f.value)),
            Self::Fold(fold) => {
                see(&fold.range);
                fold.filter.iter().for_each(&mut *see);
                see(&fold.body);
            }
            Self::Bind { value, body, .. } => {
                see(value);
                see(body);
            }
        }
    }
}

/// A constant.
#[derive(Debug, Clone)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
}

/// What an expression is.
#[derive(Debug, Clone)]
pub(crate) enum ExprKind {
    Literal(Literal),
    Ident(String),
    /// `a.b`, or `a.?b` when optional.
    Select {
        operand: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(a.b)`.
    Has {
        operand: Box<Expr>,
        field: String,
    },
    /// Operators, functions and methods; a method's target is the first argument.
    Call(Call),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Ternary(Box<[Expr; 3]>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Struct {
        name: String,
        fields: Vec<Field>,
    },
    Fold(Box<Fold>),
    /// `cel.bind(name, value, body)`.
    Bind {
        name: String,
        value: Box<Expr>,
        body: Box<Expr>,
    },
}

/// A call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    /// Whether it was written `a.f(b)`.
    pub(crate) member: bool,
    /// `None` for a function nobody knows, which the checker reports.
    pub(crate) function: Option<&'static Function>,
    pub(crate) args: Vec<Expr>,
}

/// An element of a list literal: `x`, or `?x` when optional.
#[derive(Debug, Clone)]
pub(crate) struct Element {
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// An entry of a map literal.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// A field of an object literal.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) at: u32,
    pub(crate) name: String,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// Which macro walks over a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FoldKind {
    All,
    Exists,
    ExistsOne,
    /// A list of what the body gives.
    Map,
    /// The elements the filter keeps.
    Filter,
    /// A map with the same keys.
    TransformMap,
    /// A map of the single-entry maps the body gives.
    TransformMapEntry,
    /// The range sorted by what the body gives.
    SortBy,
}

/// A macro over a list or a map.
#[derive(Debug, Clone)]
pub(crate) struct Fold {
    pub(crate) kind: FoldKind,
    pub(crate) range: Expr,
    /// The element (list) or key (map); with `second` the index or key.
    pub(crate) first: String,
    /// The element or value, in two-variable forms.
    pub(crate) second: Option<String>,
    /// What keeps an element, in `map` with three arguments and `transform…` with four.
    pub(crate) filter: Option<Expr>,
    pub(crate) body: Expr,
}
