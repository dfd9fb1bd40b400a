//! Running a checked expression.

mod fold;

use crate::ast::{Call, Expr, ExprKind, Literal};
use crate::budget::Meter;
use crate::check::{REQUEST_RESOURCE, TYPE_NAMES};
use crate::error::EvalError;
use crate::program::Program;
use crate::value::{Key, Map, Opaque, Text, Value};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

/// The values of the variables, for any number of evaluations over the same data.
#[derive(Debug, Clone, Default)]
pub struct Bindings<'a> {
    values: Vec<(&'a str, Value<'a>)>,
    composed: &'a [(String, Program)],
    /// What composed variables gave, once they were asked for.
    known: RefCell<BTreeMap<&'a str, Outcome<'a>>>,
}

impl<'a> Bindings<'a> {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a variable its value.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: Value<'a>) -> Self {
        self.set(name, value);
        self
    }

    /// Gives a variable its value, instead of the one it has.
    pub fn set(&mut self, name: &'a str, value: Value<'a>) {
        self.values.retain(|(own, _)| *own != name);
        self.values.push((name, value));
    }

    /// Makes `variables.NAME` what these programs give; each is evaluated at most once and only
    /// if it is asked for.
    #[must_use]
    pub fn composed(mut self, programs: &'a [(String, Program)]) -> Self {
        self.composed = programs;
        self.with("variables", Value::Opaque(Opaque::Variables))
    }

    fn get(&self, name: &str) -> Option<Value<'a>> {
        let found = self.values.iter().find(|(own, _)| *own == name);
        found.map(|(_, value)| value.clone())
    }

    fn variable(&self, name: &str, meter: &mut Meter) -> Outcome<'a> {
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let found = self.composed.iter().find(|(own, _)| own == name);
        let (name, program) = found.ok_or_else(|| EvalError::NoSuchKey(name.to_owned()))?;
        let outcome = run(program.expr(), self, meter).map_err(|error| match error {
            EvalError::CostExceeded => EvalError::CostExceeded,
            other => EvalError::bad(format!(
                "composited variable {name:?} fails to evaluate: {other}"
            )),
        });
        self.known.borrow_mut().insert(name, outcome.clone());
        outcome
    }
}

/// Evaluates an expression.
pub(crate) fn run<'a>(expr: &Expr, bindings: &Bindings<'a>, meter: &mut Meter) -> Outcome<'a> {
    Eval {
        bindings,
        scope: Vec::new(),
        meter,
    }
    .eval(expr)
}

struct Eval<'p, 'a> {
    bindings: &'p Bindings<'a>,
    scope: Vec<(&'p str, Value<'a>)>,
    meter: &'p mut Meter,
}

impl<'p, 'a> Eval<'p, 'a> {
    fn eval(&mut self, expr: &'p Expr) -> Outcome<'a> {
        self.meter.enter()?;
        let outcome = match &expr.kind {
            ExprKind::Literal(literal) => Ok(self::literal(literal)),
            ExprKind::Ident(name) => self.ident(name),
            ExprKind::Select {
                operand,
                field,
                optional,
            } => self.select(operand, field, *optional),
            ExprKind::Has { operand, field } => self.has(operand, field),
            ExprKind::Call(call) => self.call(call),
            ExprKind::And(terms) => self.logic(terms, false),
            ExprKind::Or(terms) => self.logic(terms, true),
            ExprKind::Ternary(terms) => self.ternary(terms),
            ExprKind::List(elements) => self.list(elements),
            ExprKind::Map(entries) => self.map(entries),
            ExprKind::Struct { name, fields } => self.structure(name, fields),
            ExprKind::Fold(fold) => self.fold(fold),
            ExprKind::Bind { name, value, body } => self.bind(name, value, body),
        };
        self.meter.leave();
        outcome
    }

    #[inline(never)]
    fn ident(&mut self, name: &str) -> Outcome<'a> {
        self.meter.charge(1)?;
        let local = self.scope.iter().rev().find(|(own, _)| *own == name);
        if let Some((_, value)) = local {
            return Ok(value.clone());
        }
        if let Some(value) = self.bindings.get(name) {
            return Ok(value);
        }
        if TYPE_NAMES.contains(&name) {
            return Ok(Value::Type(name.into()));
        }
        Err(EvalError::bad(format!("no such attribute: {name}")))
    }

    #[inline(never)]
    fn bind(&mut self, name: &'p str, value: &'p Expr, body: &'p Expr) -> Outcome<'a> {
        let value = self.eval(value)?;
        self.scope.push((name, value));
        let outcome = self.eval(body);
        self.scope.pop();
        outcome
    }

    #[inline(never)]
    fn select(&mut self, operand: &'p Expr, field: &str, optional: bool) -> Outcome<'a> {
        let operand = self.eval(operand)?;
        self.meter.charge(1)?;
        let (found, optional) = match &operand {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => (self.field(inner, field)?, true),
            other => (self.field(other, field)?, optional),
        };
        match found {
            found if optional => Ok(Value::Optional(found.map(Arc::new))),
            Some(value) => Ok(value),
            None => Err(EvalError::NoSuchKey(field.to_owned())),
        }
    }

    fn field(&mut self, operand: &Value<'a>, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match operand {
            Value::Map(map) => map.field(name),
            Value::Opaque(Opaque::Variables) => self.bindings.variable(name, self.meter).map(Some),
            Value::Opaque(Opaque::Authorizer(_)) if name == REQUEST_RESOURCE => {
                Ok(self.bindings.get("authorizer.requestResource"))
            }
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    #[inline(never)]
    fn has(&mut self, operand: &'p Expr, field: &str) -> Outcome<'a> {
        let operand = self.eval(operand)?;
        self.meter.charge(1)?;
        let found = match &operand {
            Value::Optional(None) => None,
            Value::Optional(Some(inner)) => self.field(inner, field)?,
            other => self.field(other, field)?,
        };
        Ok(Value::Bool(found.is_some()))
    }

    #[inline(never)]
    fn call(&mut self, call: &'p Call) -> Outcome<'a> {
        let mut args = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            args.push(self.eval(arg)?);
        }
        let overloads = call
            .function
            .map(|f| f.overloads.as_slice())
            .unwrap_or_default();
        let overload = overloads.iter().find(|o| o.takes(call.member, &args));
        let overload = overload.ok_or(EvalError::NoSuchOverload)?;
        let cost = overload
            .cost
            .of(|index| args.get(index).map_or(1, Value::size));
        self.meter.charge(cost)?;
        (overload.code)(&args, self.meter)
    }

    /// `&&` and `||`: a term that decides does so even if another one fails.
    #[inline(never)]
    fn logic(&mut self, terms: &'p [Expr], decisive: bool) -> Outcome<'a> {
        let mut failure = None;
        for term in terms {
            let error = match self.eval(term) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(value)),
                Ok(Value::Bool(_)) => continue,
                Ok(_) => EvalError::NoSuchOverload,
                Err(EvalError::CostExceeded) => return Err(EvalError::CostExceeded),
                Err(error) => error,
            };
            failure.get_or_insert(error);
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    #[inline(never)]
    fn ternary(&mut self, [condition, yes, no]: &'p [Expr; 3]) -> Outcome<'a> {
        match self.eval(condition)? {
            Value::Bool(true) => self.eval(yes),
            Value::Bool(false) => self.eval(no),
            _ => Err(EvalError::NoSuchOverload),
        }
    }

    /// The value of an element; `None` for an optional one that is absent.
    fn element(&mut self, expr: &'p Expr, optional: bool) -> Result<Option<Value<'a>>, EvalError> {
        match self.eval(expr)? {
            Value::Optional(inner) if optional => Ok(inner.map(|inner| Value::clone(&inner))),
            _ if optional => Err(EvalError::NoSuchOverload),
            value => Ok(Some(value)),
        }
    }

    #[inline(never)]
    fn list(&mut self, elements: &'p [crate::ast::Element]) -> Outcome<'a> {
        self.meter.charge(10)?;
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            items.extend(self.element(&element.value, element.optional)?);
        }
        Ok(Value::list(items))
    }

    #[inline(never)]
    fn map(&mut self, entries: &'p [crate::ast::Entry]) -> Outcome<'a> {
        self.meter.charge(30)?;
        let mut made = BTreeMap::new();
        for entry in entries {
            let key = self.eval(&entry.key)?;
            let key = match key {
                Value::Double(_) => None,
                other => Key::of(&other),
            };
            let key = key.ok_or_else(|| EvalError::bad("unsupported key type"))?;
            if let Some(value) = self.element(&entry.value, entry.optional)? {
                made.insert(key, value);
            }
        }
        Ok(Value::Map(Map::entries(made)))
    }

    #[inline(never)]
    fn structure(&mut self, name: &str, fields: &'p [crate::ast::Field]) -> Outcome<'a> {
        self.meter.charge(40)?;
        let mut made = BTreeMap::new();
        for field in fields {
            if let Some(value) = self.element(&field.value, field.optional)? {
                made.insert(Key::Text(field.name.as_str().into()), value);
            }
        }
        Ok(Value::Map(Map::Entries(Arc::new(made), Some(name.into()))))
    }
}

fn literal<'a>(literal: &Literal) -> Value<'a> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(n) => Value::Int(*n),
        Literal::Uint(n) => Value::Uint(*n),
        Literal::Double(d) => Value::Double(*d),
        Literal::Text(text) => Value::Text(Text::Shared(Arc::clone(text))),
        Literal::Bytes(bytes) => Value::Bytes(Arc::clone(bytes)),
    }
}
