//! Which form of a function a call means.

use super::{Checked, Checker, anything, assignable, join, natural};
use crate::ast::{Call, Expr, ExprKind, Literal};
use crate::library::{Overload, Pat, Size, regexes, time};
use crate::types::{Decl, MapType, Type};
use std::sync::Arc;

/// What the type variables of an overload stand for.
#[derive(Default)]
struct Bound {
    a: Option<Decl>,
    b: Option<Decl>,
}

impl Checker<'_> {
    pub(super) fn call(&mut self, at: u32, call: &Call) -> Checked {
        let args: Vec<Checked> = call.args.iter().map(|arg| self.check(arg)).collect();
        let before = args.iter().map(|arg| arg.cost).fold(0, u64::saturating_add);
        let Some(function) = call.function else {
            let name = &call.name;
            let message = format!("undeclared reference to '{name}' (in container '')");
            return Checked {
                decl: self.wrong(at, message),
                cost: before,
            };
        };
        let decls: Vec<&Decl> = args.iter().map(|arg| &arg.decl).collect();
        let mut found: Option<Checked> = None;
        for overload in &function.overloads {
            let Some(decl) = result(overload, call, &decls) else {
                continue;
            };
            let size = |index: usize| decls.get(index).map_or(1, |decl| decl.max);
            let cost = overload.cost.of(size);
            found = Some(match found {
                None => Checked { decl, cost },
                Some(other) => Checked {
                    decl: Decl::sized(join(&other.decl.ty, &decl.ty), other.decl.max.max(decl.max)),
                    cost: other.cost.max(cost),
                },
            });
        }
        if let Some(found) = found {
            self.literals(call);
            let cost = before.saturating_add(found.cost);
            return Checked {
                decl: found.decl,
                cost,
            };
        }
        let types: Vec<String> = decls.iter().map(|decl| decl.ty.to_string()).collect();
        let applied = match types.split_first() {
            Some((target, rest)) if call.member => format!("{target}.({})", rest.join(", ")),
            _ => format!("({})", types.join(", ")),
        };
        Checked {
            decl: self.no_overload(at, &call.name, &applied),
            cost: before,
        }
    }

    /// Literals that can be seen to be wrong before anything runs.
    fn literals(&mut self, call: &Call) {
        let index = match call.name.as_str() {
            "matches" | "find" | "findAll" => 1,
            "duration" | "timestamp" => 0,
            _ => return,
        };
        let Some(Expr {
            at,
            kind: ExprKind::Literal(Literal::Text(text)),
            ..
        }) = call.args.get(index)
        else {
            return;
        };
        let valid = match call.name.as_str() {
            "duration" => time::duration(text).is_some(),
            "timestamp" => time::timestamp(text).is_some(),
            _ => regexes::compile(text).is_ok(),
        };
        if !valid {
            self.wrong(*at, format!("invalid {} argument", call.name));
        }
    }
}

/// What the overload gives for arguments of these types, if it takes them.
fn result(overload: &Overload, call: &Call, args: &[&Decl]) -> Option<Decl> {
    if overload.member != call.member || overload.args.len() != args.len() {
        return None;
    }
    let compares = matches!(call.name.as_str(), "_==_" | "_!=_");
    // Fields that may be null have the type of what they hold otherwise.
    if compares && args.iter().any(|arg| arg.ty == Type::Null) {
        return Some(Decl::sized(Type::Bool, 1));
    }
    let mut bound = Bound::default();
    for (pat, arg) in overload.args.iter().zip(args) {
        if !fits(*pat, arg, &mut bound) {
            return None;
        }
    }
    if matches!(call.name.as_str(), "_<_" | "_<=_" | "_>_" | "_>=_") && !comparable(args) {
        return None;
    }
    let mut decl = made(overload.result, &bound);
    let size = |index: usize| args.get(index).map_or(1, |arg| arg.max);
    decl.max = match overload.size {
        Size::Natural => decl.max,
        Size::Most(most) => most,
        Size::First => size(0),
        Size::Sum => size(0).saturating_add(size(1)),
        Size::Replaced => size(0).saturating_mul(size(2).max(1)),
        Size::Split => {
            decl.ty = Type::list(Decl::sized(Type::String, size(0)));
            size(0).saturating_add(1)
        }
        Size::Flat => match args.first().map(|arg| &arg.ty) {
            Some(Type::List(list)) => {
                let separator = args.get(1).map_or(0, |arg| arg.max);
                size(0).saturating_mul(list.element.max.saturating_add(separator))
            }
            _ => decl.max,
        },
    };
    Some(decl)
}

/// Whether values of both types have an order.
fn comparable(args: &[&Decl]) -> bool {
    let number = |ty: &Type| matches!(ty, Type::Int | Type::Uint | Type::Double);
    let ordered = |ty: &Type| {
        matches!(
            ty,
            Type::Bool | Type::String | Type::Bytes | Type::Timestamp | Type::Duration
        )
    };
    match args {
        [a, b] => match (&a.ty, &b.ty) {
            (Type::Dyn, ty) | (ty, Type::Dyn) => *ty == Type::Dyn || number(ty) || ordered(ty),
            (a, b) => (number(a) && number(b)) || (ordered(a) && a == b),
        },
        _ => false,
    }
}

fn fits(pat: Pat, arg: &Decl, bound: &mut Bound) -> bool {
    match (pat, &arg.ty) {
        (Pat::A, _) => bind(&mut bound.a, arg),
        (Pat::B, _) => bind(&mut bound.b, arg),
        (Pat::Any, _) | (_, Type::Dyn) => true,
        (Pat::Bool, ty) => *ty == Type::Bool,
        (Pat::Int, ty) => *ty == Type::Int,
        (Pat::Uint, ty) => *ty == Type::Uint,
        (Pat::Double, ty) => *ty == Type::Double,
        (Pat::Text, ty) => *ty == Type::String,
        (Pat::Bytes, ty) => *ty == Type::Bytes,
        (Pat::Time, ty) => *ty == Type::Timestamp,
        (Pat::Span, ty) => *ty == Type::Duration,
        (Pat::Type, ty) => *ty == Type::Type,
        (Pat::List(element), Type::List(list)) => fits(*element, &list.element, bound),
        (Pat::Map(key, value), Type::Map(map)) => {
            fits(*key, &map.key, bound) && fits(*value, &map.value, bound)
        }
        (Pat::Opt(inner), Type::Optional(ty)) => {
            fits(*inner, &Decl::sized(Type::clone(ty), arg.max), bound)
        }
        (Pat::Lib(kind), Type::Opaque(own)) => *own == kind,
        (Pat::List(_) | Pat::Map(..) | Pat::Opt(_) | Pat::Lib(_), _) => false,
    }
}

fn bind(slot: &mut Option<Decl>, arg: &Decl) -> bool {
    match slot {
        None => *slot = Some(arg.clone()),
        Some(own) if assignable(&own.ty, &arg.ty) => {
            own.max = own.max.max(arg.max);
            // What is known only at run time says nothing about the other arguments.
            if own.ty == Type::Null || matches!(&own.ty, Type::List(l) if l.element.ty == Type::Dyn)
            {
                own.ty = arg.ty.clone();
            }
        }
        Some(_) => return false,
    }
    true
}

fn made(pat: Pat, bound: &Bound) -> Decl {
    let simple = |ty: Type| {
        let max = natural(&ty);
        Decl::sized(ty, max)
    };
    match pat {
        Pat::Any => anything(),
        Pat::A => bound.a.clone().unwrap_or_else(anything),
        Pat::B => bound.b.clone().unwrap_or_else(anything),
        Pat::Bool => simple(Type::Bool),
        Pat::Int => simple(Type::Int),
        Pat::Uint => simple(Type::Uint),
        Pat::Double => simple(Type::Double),
        Pat::Text => simple(Type::String),
        Pat::Bytes => simple(Type::Bytes),
        Pat::Time => simple(Type::Timestamp),
        Pat::Span => simple(Type::Duration),
        Pat::Type => simple(Type::Type),
        Pat::List(element) => simple(Type::list(made(*element, bound))),
        Pat::Map(key, value) => {
            let (key, value) = (made(*key, bound), made(*value, bound));
            simple(Type::Map(Arc::new(MapType { key, value })))
        }
        Pat::Opt(inner) => {
            let inner = made(*inner, bound);
            Decl::sized(Type::optional(inner.ty), inner.max)
        }
        Pat::Lib(kind) => simple(Type::Opaque(kind)),
    }
}
