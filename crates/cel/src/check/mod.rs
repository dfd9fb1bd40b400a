//! Types and the estimated cost of an expression, in one walk.

mod assign;
mod calls;

pub(crate) use assign::{assignable, join};

use crate::ast::{Entry, Expr, ExprKind, Field, Fold, FoldKind, Literal};
use crate::lex::Mistake;
use crate::types::{Decl, Env, ListKind, ListType, MapType, OpaqueType, Type, UNBOUNDED};
use std::sync::Arc;

/// What an expression gives and what it may cost.
#[derive(Debug, Clone)]
pub(crate) struct Checked {
    pub(crate) decl: Decl,
    pub(crate) cost: u64,
}

/// Checks an expression; the mistakes are empty if it is sound.
pub(crate) fn check(expr: &Expr, env: &Env) -> (Checked, Vec<Mistake>) {
    let mut checker = Checker {
        env,
        scope: Vec::new(),
        mistakes: Vec::new(),
    };
    let whole = checker.check(expr);
    (whole, checker.mistakes)
}

/// Type names that may stand as values.
pub(crate) const TYPE_NAMES: &[&str] = &[
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
    "optional_type",
];

/// `authorizer.requestResource`: a check of what the request is about.
pub(crate) const REQUEST_RESOURCE: &str = "requestResource";

struct Checker<'e> {
    env: &'e Env,
    scope: Vec<(String, Decl)>,
    mistakes: Vec<Mistake>,
}

/// A value of any type, whose size nobody knows.
fn anything() -> Decl {
    Decl::new(Type::Dyn)
}

fn done(ty: Type, max: u64, cost: u64) -> Checked {
    Checked {
        decl: Decl::sized(ty, max),
        cost,
    }
}

impl Checker<'_> {
    fn wrong(&mut self, at: u32, message: String) -> Decl {
        self.mistakes.push((at, message));
        anything()
    }

    fn check(&mut self, expr: &Expr) -> Checked {
        match &expr.kind {
            ExprKind::Literal(literal) => self::literal(literal),
            ExprKind::Ident(name) => self.ident(expr.at, name),
            ExprKind::Select {
                operand,
                field,
                optional,
            } => self.select(expr.at, operand, (field, *optional)),
            ExprKind::Has { operand, field } => {
                let field = self.select(expr.at, operand, (field, false));
                done(Type::Bool, 1, field.cost)
            }
            ExprKind::Call(call) => self.call(expr.at, call),
            ExprKind::And(terms) => self.logic(expr.at, "_&&_", terms),
            ExprKind::Or(terms) => self.logic(expr.at, "_||_", terms),
            ExprKind::Ternary(terms) => self.ternary(expr.at, terms),
            ExprKind::List(elements) => {
                let values: Vec<&Expr> = elements.iter().map(|e| &e.value).collect();
                let (element, cost) = self.all(&values, elements.iter().any(|e| e.optional));
                done(
                    Type::list(element),
                    elements.len() as u64,
                    cost.saturating_add(10),
                )
            }
            ExprKind::Map(entries) => self.map(entries),
            ExprKind::Struct { name, fields } => self.structure(expr.at, name, fields),
            ExprKind::Fold(fold) => self.fold(expr.at, fold),
            ExprKind::Bind { name, value, body } => {
                let value = self.check(value);
                self.scope.push((name.clone(), value.decl));
                let body = self.check(body);
                self.scope.pop();
                Checked {
                    cost: value.cost.saturating_add(body.cost),
                    ..body
                }
            }
        }
    }

    fn ident(&mut self, at: u32, name: &str) -> Checked {
        let local = self.scope.iter().rev().find(|(own, _)| own == name);
        let decl = match local.map(|(_, decl)| decl).or(self.env.variables.get(name)) {
            Some(decl) => decl.clone(),
            None if TYPE_NAMES.contains(&name) => Decl::sized(Type::Type, 1),
            None => self.wrong(
                at,
                format!("undeclared reference to '{name}' (in container '')"),
            ),
        };
        Checked { decl, cost: 1 }
    }

    fn select(&mut self, at: u32, operand: &Expr, (field, optional): (&str, bool)) -> Checked {
        let operand = self.check(operand);
        let (inner, was_optional) = match &operand.decl.ty {
            Type::Optional(inner) => (Type::clone(inner), true),
            other => (other.clone(), false),
        };
        let found = self.field(at, &inner, field);
        let ty = match found.ty {
            ty @ Type::Optional(_) => ty,
            ty if optional || was_optional => Type::optional(ty),
            ty => ty,
        };
        done(ty, found.max, operand.cost.saturating_add(1))
    }

    fn field(&mut self, at: u32, ty: &Type, name: &str) -> Decl {
        let found = match ty {
            Type::Dyn => Some(anything()),
            Type::Object(object) => match object.fields.get(name) {
                Some(field) => Some(field.decl.clone()),
                None => object.open.then(anything),
            },
            Type::Map(map) if assignable(&map.key.ty, &Type::String) => Some(map.value.clone()),
            Type::Opaque(OpaqueType::Authorizer) if name == REQUEST_RESOURCE => {
                Some(Decl::sized(Type::Opaque(OpaqueType::ResourceCheck), 1))
            }
            Type::Opaque(OpaqueType::Variables) => self.env.composed.get(name).cloned(),
            other => {
                return self.wrong(
                    at,
                    format!("type '{other}' does not support field selection"),
                );
            }
        };
        match found {
            Some(decl) => decl,
            None => self.wrong(at, format!("undefined field '{name}'")),
        }
    }

    fn logic(&mut self, at: u32, name: &str, terms: &[Expr]) -> Checked {
        let checked: Vec<Checked> = terms.iter().map(|term| self.check(term)).collect();
        let wrong = checked.iter().any(|c| !assignable(&Type::Bool, &c.decl.ty));
        if wrong {
            let types: Vec<String> = checked.iter().map(|c| c.decl.ty.to_string()).collect();
            self.no_overload(at, name, &format!("({})", types.join(", ")));
        }
        let cost = checked.iter().map(|c| c.cost).fold(0, u64::saturating_add);
        done(Type::Bool, 1, cost)
    }

    fn ternary(&mut self, at: u32, [condition, yes, no]: &[Expr; 3]) -> Checked {
        let condition = self.check(condition);
        let (yes, no) = (self.check(yes), self.check(no));
        if !assignable(&Type::Bool, &condition.decl.ty) {
            let (ty, yes, no) = (&condition.decl.ty, &yes.decl.ty, &no.decl.ty);
            self.no_overload(at, "_?_:_", &format!("({ty}, {yes}, {no})"));
        }
        let ty = join(&yes.decl.ty, &no.decl.ty);
        let cost = condition.cost.saturating_add(yes.cost.max(no.cost));
        done(ty, yes.decl.max.max(no.decl.max), cost)
    }

    /// The joint type of elements and the sum of their costs.
    fn all(&mut self, values: &[&Expr], optional: bool) -> (Decl, u64) {
        let mut joint: Option<Decl> = None;
        let mut cost = 0_u64;
        for value in values {
            let checked = self.check(value);
            cost = cost.saturating_add(checked.cost);
            let own = match checked.decl.ty {
                Type::Optional(inner) if optional => Type::clone(&inner),
                other => other,
            };
            joint = Some(match joint {
                None => Decl::sized(own, checked.decl.max),
                Some(before) => {
                    Decl::sized(join(&before.ty, &own), before.max.max(checked.decl.max))
                }
            });
        }
        (joint.unwrap_or_else(|| Decl::sized(Type::Dyn, 0)), cost)
    }

    fn map(&mut self, entries: &[Entry]) -> Checked {
        let keys: Vec<&Expr> = entries.iter().map(|e| &e.key).collect();
        let values: Vec<&Expr> = entries.iter().map(|e| &e.value).collect();
        let (key, key_cost) = self.all(&keys, false);
        let (value, value_cost) = self.all(&values, entries.iter().any(|e| e.optional));
        let keyable = matches!(
            key.ty,
            Type::Dyn | Type::Bool | Type::Int | Type::Uint | Type::String
        );
        if let (false, Some(first)) = (keyable, keys.first()) {
            self.wrong(first.at, format!("unsupported key type: {}", key.ty));
        }
        let cost = key_cost.saturating_add(value_cost).saturating_add(30);
        done(
            Type::Map(Arc::new(MapType { key, value })),
            entries.len() as u64,
            cost,
        )
    }

    fn structure(&mut self, at: u32, name: &str, fields: &[Field]) -> Checked {
        let Some(object) = self.env.structure(name) else {
            let message = format!("undeclared reference to '{name}' (in container '')");
            return Checked {
                decl: self.wrong(at, message),
                cost: 0,
            };
        };
        let mut cost = 40_u64;
        for field in fields {
            let given = self.check(&field.value);
            cost = cost.saturating_add(given.cost);
            let given = match given.decl.ty {
                Type::Optional(inner) if field.optional => Type::clone(&inner),
                other => other,
            };
            match object.fields.get(&field.name) {
                Some(declared) if !assignable(&declared.decl.ty, &given) => {
                    let message = format!(
                        "expected type of field '{}' is '{}' but provided type is '{given}'",
                        field.name, declared.decl.ty
                    );
                    self.wrong(field.at, message);
                }
                None if !object.open => {
                    self.wrong(field.at, format!("undefined field '{}'", field.name));
                }
                Some(_) | None => {}
            }
        }
        done(Type::Object(object), fields.len() as u64, cost)
    }

    fn fold(&mut self, at: u32, fold: &Fold) -> Checked {
        let range = self.check(&fold.range);
        let unknown = anything();
        let index = Decl::sized(Type::Int, 1);
        let (first, second) = match (&range.decl.ty, &fold.second) {
            (Type::List(list), None) => (list.element.clone(), index),
            (Type::List(list), Some(_)) => (index, list.element.clone()),
            (Type::Map(map), _) => (map.key.clone(), map.value.clone()),
            (Type::Dyn, _) => (unknown.clone(), unknown),
            (other, _) => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be \
                     list, map, or dynamic)"
                );
                self.wrong(at, message);
                (unknown.clone(), unknown)
            }
        };
        let before = self.scope.len();
        self.scope.push((fold.first.clone(), first.clone()));
        if let Some(name) = &fold.second {
            self.scope.push((name.clone(), second));
        }
        let filter = fold
            .filter
            .as_ref()
            .map(|filter| (filter.at, self.check(filter)));
        let body = self.check(&fold.body);
        self.scope.truncate(before);
        let mut each = body.cost.saturating_add(2);
        if let Some((at, filter)) = filter {
            each = each.saturating_add(filter.cost);
            self.must_be_bool(at, &filter.decl.ty);
        }
        if matches!(
            fold.kind,
            FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne | FoldKind::Filter
        ) {
            self.must_be_bool(fold.body.at, &body.decl.ty);
        }
        let cost = range
            .cost
            .saturating_add(range.decl.max.saturating_mul(each));
        let decl = folded(fold.kind, &range.decl, (first, body.decl));
        Checked {
            decl,
            cost: cost.saturating_add(1),
        }
    }

    fn must_be_bool(&mut self, at: u32, ty: &Type) {
        if !assignable(&Type::Bool, ty) {
            self.wrong(at, format!("expected type 'bool' but found '{ty}'"));
        }
    }

    fn no_overload(&mut self, at: u32, name: &str, applied: &str) -> Decl {
        let message = format!("found no matching overload for '{name}' applied to '{applied}'");
        self.wrong(at, message)
    }
}

/// What a macro gives, by its range, the key or element, and the body.
fn folded(kind: FoldKind, range: &Decl, (first, body): (Decl, Decl)) -> Decl {
    match kind {
        FoldKind::All | FoldKind::Exists | FoldKind::ExistsOne => Decl::sized(Type::Bool, 1),
        FoldKind::Map => Decl::sized(Type::list(body), range.max),
        FoldKind::Filter | FoldKind::SortBy => match &range.ty {
            Type::List(list) => {
                let atomic = ListType {
                    element: list.element.clone(),
                    kind: ListKind::Atomic,
                };
                Decl::sized(Type::List(Arc::new(atomic)), range.max)
            }
            _ => Decl::sized(Type::list(first), range.max),
        },
        FoldKind::TransformMap => Decl::sized(
            Type::Map(Arc::new(MapType {
                key: first,
                value: body,
            })),
            range.max,
        ),
        FoldKind::TransformMapEntry => match body.ty {
            ty @ Type::Map(_) => Decl::sized(ty, range.max),
            _ => anything(),
        },
    }
}

fn literal(literal: &Literal) -> Checked {
    let (ty, max) = match literal {
        Literal::Null => (Type::Null, 1),
        Literal::Bool(_) => (Type::Bool, 1),
        Literal::Int(_) => (Type::Int, 1),
        Literal::Uint(_) => (Type::Uint, 1),
        Literal::Double(_) => (Type::Double, 1),
        Literal::Text(text) => (Type::String, text.len() as u64),
        Literal::Bytes(bytes) => (Type::Bytes, bytes.len() as u64),
    };
    done(ty, max, 0)
}

/// The natural size of a type's values.
pub(crate) fn natural(ty: &Type) -> u64 {
    match ty {
        Type::String | Type::Bytes | Type::List(_) | Type::Map(_) | Type::Dyn => UNBOUNDED,
        _ => 1,
    }
}
