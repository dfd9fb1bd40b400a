//! `matchConditions`: expressions that must all hold for a policy or a webhook to care.

use super::expression::{Expression, Params, environment};
use super::inputs::Inputs;
use crate::admission::webhook::{Matched, Subject};
use plimsoll_api::meta;
use plimsoll_cel::{Bindings, Budget, Env, PER_CALL, PER_OBJECT, Type};
use serde_json::Value;

/// What all the conditions of one policy or webhook may cost.
const BUDGET: u64 = PER_OBJECT / 4;

/// Compiled conditions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions(Vec<(String, Expression)>);

impl Conditions {
    /// Compiles the `matchConditions` of a webhook.
    pub(crate) fn of_webhook(list: &[Value]) -> Self {
        Self::compile(list, &environment(Params::Absent))
    }

    /// Compiles conditions over an environment.
    pub(crate) fn compile(list: &[Value], env: &Env) -> Self {
        let compiled = list.iter().map(|condition| {
            let text = meta::text(condition, &["expression"]);
            let name = meta::text(condition, &["name"]).to_owned();
            (name, Expression::compile(text, env, &[Type::Bool]))
        });
        Self(compiled.collect())
    }

    /// Whether there are none, so that nothing needs to be evaluated.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of them hold for a request in the form in which it matched.
    ///
    /// # Errors
    /// What could not be evaluated, unless another condition does not hold anyway.
    pub(crate) fn hold(
        &self,
        subject: &Subject<'_>,
        matched: &Matched,
        objects: (&Value, Option<&Value>),
    ) -> Result<bool, String> {
        if self.is_empty() {
            return Ok(true);
        }
        let inputs = Inputs::new(subject, matched, objects);
        self.hold_for(&inputs.bindings(None))
    }

    /// Whether all of them hold for these values.
    ///
    /// # Errors
    /// As [`Conditions::hold`].
    pub(crate) fn hold_for(&self, bindings: &Bindings<'_>) -> Result<bool, String> {
        let mut budget = Budget::new(BUDGET, PER_CALL);
        let mut failures = Vec::new();
        for (name, condition) in &self.0 {
            let failure = match &condition.program {
                Ok(program) => match program.holds(bindings, &mut budget) {
                    Ok(true) => continue,
                    Ok(false) => return Ok(false),
                    Err(error) => error.to_string(),
                },
                Err(why) => why.clone(),
            };
            failures.push(format!(
                "match condition {name:?} resulted in error: {failure}"
            ));
        }
        match failures.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}
