//! What looks like a call and is a loop or a binding.

use super::{Parser, dotted};
use crate::ast::{Call, Element, Expr, ExprKind, Fold, FoldKind};
use crate::lex::Mistake;
use crate::library;

/// The name optional macros bind their target to; no user can write it.
const TARGET: &str = "@target";

impl Parser {
    /// `has(a.b)`.
    pub(super) fn has(at: u32, args: Vec<Expr>) -> Result<Expr, Mistake> {
        let mut args = args.into_iter();
        match (args.next().map(|a| a.kind), args.next()) {
            (
                Some(ExprKind::Select {
                    operand,
                    field,
                    optional: false,
                }),
                None,
            ) => Self::node(at, ExprKind::Has { operand, field }),
            _ => Err((at, "invalid argument to has() macro".to_owned())),
        }
    }

    /// `target.name(args)`: a macro, a function in a namespace, or a method.
    pub(super) fn method(
        target: Expr,
        at: u32,
        (name, mut args): (&str, Vec<Expr>),
    ) -> Result<Expr, Mistake> {
        let space = dotted(&target);
        if space.as_deref() == Some("cel") && name == "bind" && args.len() == 3 {
            return bind(at, args);
        }
        if let Some(space) = space {
            let full = format!("{space}.{name}");
            if library::function(&full).is_some() {
                if matches!(full.as_str(), "math.greatest" | "math.least") && args.len() > 1 {
                    let elements = args.into_iter().map(|value| Element {
                        value,
                        optional: false,
                    });
                    args = vec![Self::node(at, ExprKind::List(elements.collect()))?];
                }
                return Self::call(at, &full, args);
            }
        }
        if let Some((kind, variables, filtered)) = fold_of(name, args.len()) {
            return fold(at, target, (kind, variables, filtered), args);
        }
        if matches!(name, "optMap" | "optFlatMap") && args.len() == 2 {
            return optional(at, target, name, args);
        }
        args.insert(0, target);
        let function = library::function(name);
        let name = name.to_owned();
        Self::node(
            at,
            ExprKind::Call(Call {
                name,
                member: true,
                function,
                args,
            }),
        )
    }
}

/// Which macro, how many variables it names, and whether it filters.
fn fold_of(name: &str, args: usize) -> Option<(FoldKind, usize, bool)> {
    Some(match (name, args) {
        ("all", 2) => (FoldKind::All, 1, false),
        ("all", 3) => (FoldKind::All, 2, false),
        ("exists", 2) => (FoldKind::Exists, 1, false),
        ("exists", 3) => (FoldKind::Exists, 2, false),
        ("exists_one" | "existsOne", 2) => (FoldKind::ExistsOne, 1, false),
        ("exists_one" | "existsOne", 3) => (FoldKind::ExistsOne, 2, false),
        ("map", 2) => (FoldKind::Map, 1, false),
        ("map", 3) => (FoldKind::Map, 1, true),
        ("filter", 2) => (FoldKind::Filter, 1, false),
        ("sortBy", 2) => (FoldKind::SortBy, 1, false),
        ("transformList", 3) => (FoldKind::Map, 2, false),
        ("transformList", 4) => (FoldKind::Map, 2, true),
        ("transformMap", 3) => (FoldKind::TransformMap, 2, false),
        ("transformMap", 4) => (FoldKind::TransformMap, 2, true),
        ("transformMapEntry", 3) => (FoldKind::TransformMapEntry, 2, false),
        ("transformMapEntry", 4) => (FoldKind::TransformMapEntry, 2, true),
        _ => return None,
    })
}

fn simple_name(expr: &Expr) -> Result<String, Mistake> {
    match &expr.kind {
        ExprKind::Ident(name) => Ok(name.clone()),
        _ => Err((expr.at, "argument must be a simple name".to_owned())),
    }
}

fn fold(
    at: u32,
    range: Expr,
    (kind, variables, filtered): (FoldKind, usize, bool),
    args: Vec<Expr>,
) -> Result<Expr, Mistake> {
    let mut args = args.into_iter();
    let missing = || (at, "incorrect argument count to macro".to_owned());
    let first = simple_name(&args.next().ok_or_else(missing)?)?;
    let second = match variables {
        2 => Some(simple_name(&args.next().ok_or_else(missing)?)?),
        _ => None,
    };
    if second.as_ref() == Some(&first) {
        return Err((at, format!("overlapping declaration for name '{first}'")));
    }
    let filter = if filtered { args.next() } else { None };
    let body = args.next().ok_or_else(missing)?;
    let fold = Fold {
        kind,
        range,
        first,
        second,
        filter,
        body,
    };
    Parser::node(at, ExprKind::Fold(Box::new(fold)))
}

fn bind(at: u32, args: Vec<Expr>) -> Result<Expr, Mistake> {
    let mut args = args.into_iter();
    let missing = || (at, "incorrect argument count to macro".to_owned());
    let name = args.next().ok_or_else(missing)?;
    let ExprKind::Ident(name) = name.kind else {
        let message = "cel.bind() variable names must be simple identifiers";
        return Err((name.at, message.to_owned()));
    };
    let value = Box::new(args.next().ok_or_else(missing)?);
    let body = Box::new(args.next().ok_or_else(missing)?);
    Parser::node(at, ExprKind::Bind { name, value, body })
}

/// `x.optMap(v, e)` is `x.hasValue() ? optional.of(e with v = x.value()) : optional.none()`.
fn optional(at: u32, target: Expr, name: &str, args: Vec<Expr>) -> Result<Expr, Mistake> {
    let mut args = args.into_iter();
    let missing = || (at, "incorrect argument count to macro".to_owned());
    let variable = simple_name(&args.next().ok_or_else(missing)?)?;
    let body = args.next().ok_or_else(missing)?;
    let held = || Expr::new(at, ExprKind::Ident(TARGET.to_owned()));
    let ask = |method: &str| {
        let call = Call {
            name: method.to_owned(),
            member: true,
            function: library::function(method),
            args: vec![held()],
        };
        Parser::node(at, ExprKind::Call(call))
    };
    let value = Box::new(ask("value")?);
    let inner = ExprKind::Bind {
        name: variable,
        value,
        body: Box::new(body),
    };
    let mut some = Parser::node(at, inner)?;
    if name == "optMap" {
        some = Parser::call(at, "optional.of", vec![some])?;
    }
    let none = Parser::call(at, "optional.none", Vec::new())?;
    let branch = [ask("hasValue")?, some, none];
    let body = Parser::node(at, ExprKind::Ternary(Box::new(branch)))?;
    let (name, value) = (TARGET.to_owned(), Box::new(target));
    Parser::node(
        at,
        ExprKind::Bind {
            name,
            value,
            body: Box::new(body),
        },
    )
}
