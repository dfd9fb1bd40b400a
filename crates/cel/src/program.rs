//! Compiled expressions.

use crate::ast::Expr;
use crate::budget::Budget;
use crate::check;
use crate::error::{CompileError, EvalError};
use crate::eval::{self, Bindings};
use crate::parse;
use crate::types::{Decl, Env, Type};
use crate::value::Value;
use std::sync::Arc;

/// A compiled expression: syntax and types are sound. Clones share it.
#[derive(Debug, Clone)]
pub struct Program {
    expr: Arc<Expr>,
    decl: Decl,
    cost: u64,
}

impl Program {
    /// Compiles an expression over the variables of `env`.
    ///
    /// # Errors
    /// Every syntax or type mistake with its place.
    pub fn compile(text: &str, env: &Env) -> Result<Self, CompileError> {
        let expr = parse::parse(text)?;
        let (checked, mut mistakes) = check::check(&expr, env);
        if mistakes.is_empty() {
            return Ok(Self {
                expr: Arc::new(expr),
                decl: checked.decl,
                cost: checked.cost,
            });
        }
        mistakes.sort_by_key(|(at, _)| *at);
        let issues = mistakes
            .into_iter()
            .map(|mistake| parse::issue(text, mistake))
            .collect();
        Err(CompileError { issues })
    }

    /// What it gives.
    pub fn result(&self) -> &Decl {
        &self.decl
    }

    /// Whether it may give a value of this type.
    pub fn gives(&self, ty: &Type) -> bool {
        check::assignable(ty, &self.decl.ty)
    }

    /// The most it may cost, by the sizes its variables are declared with; saturates.
    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether it names this variable anywhere.
    pub fn mentions(&self, name: &str) -> bool {
        mentions(&self.expr, name)
    }

    pub(crate) fn expr(&self) -> &Expr {
        &self.expr
    }

    /// Its value.
    ///
    /// # Errors
    /// What went wrong on the way, [`EvalError::CostExceeded`] if the budget did not suffice.
    pub fn evaluate<'a>(
        &self,
        bindings: &Bindings<'a>,
        budget: &mut Budget,
    ) -> Result<Value<'a>, EvalError> {
        let mut meter = budget.meter();
        let outcome = eval::run(&self.expr, bindings, &mut meter);
        budget.settle(&meter);
        outcome
    }

    /// Its value as a truth.
    ///
    /// # Errors
    /// As [`Program::evaluate`]; [`EvalError::NoSuchOverload`] for a value that is none.
    pub fn holds(&self, bindings: &Bindings<'_>, budget: &mut Budget) -> Result<bool, EvalError> {
        match self.evaluate(bindings, budget)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err(EvalError::NoSuchOverload),
        }
    }
}

fn mentions(expr: &Expr, name: &str) -> bool {
    if matches!(&expr.kind, crate::ast::ExprKind::Ident(own) if own == name) {
        return true;
    }
    let mut found = false;
    expr.kind
        .parts(&mut |part| found = found || mentions(part, name));
    found
}
