//! MutatingAdmissionPolicy: changes made to what is written.

use super::Relevant;
use super::definition::{FailurePolicy, Mutation, Policy};
use super::inputs::Inputs;
use crate::admission::webhook::{Matched, Subject, replace};
use plimsoll_api::schema::Node;
use plimsoll_api::status::ApiError;
use plimsoll_api::{apply, patch};
use plimsoll_cel::{Bindings, Budget, Value as Cel};
use serde_json::Value;
use std::collections::BTreeSet;

/// What happened so far: policies that ask for it (`reinvocationPolicy: IfNeeded`) see the object
/// once more if it was changed after they had seen it.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Policies and bindings that were asked, and the object as each left it last.
    asked: BTreeSet<(String, String)>,
    left: Option<Value>,
}

/// Asks the mutating policies and changes `object` as they say; whether anything changed. A second
/// call for the same request asks those again that want to be, if the object is another one now.
///
/// # Errors
/// A policy that cannot be evaluated.
pub(crate) fn mutate(
    subject: &Subject<'_>,
    object: &mut Value,
    old: Option<&Value>,
    changes: &mut Changes,
) -> Result<bool, ApiError> {
    let bound = &subject.server.0.policies.mutating;
    let relevant = bound.relevant(subject, (object, old));
    if relevant.is_empty() {
        return Ok(false);
    }
    let again = changes.left.take();
    if again.as_ref() == Some(object) {
        changes.left = again;
        return Ok(false);
    }
    let before = object.clone();
    for one in &relevant {
        let binding = one
            .binding
            .as_ref()
            .map(|b| b.name.clone())
            .unwrap_or_default();
        let id = (one.policy.name.clone(), binding);
        if changes.asked.contains(&id) && !one.policy.reinvocable {
            continue;
        }
        changes.asked.insert(id);
        run(subject, one, (object, old))?;
    }
    changes.left = Some(object.clone());
    Ok(before != *object)
}

fn refusal(subject: &Subject<'_>, relevant: &Relevant, why: &str) -> ApiError {
    let (kind, policy) = (subject.kind, &relevant.policy.name);
    let place = match &relevant.binding {
        Some(binding) => format!("policy '{policy}' with binding '{}'", binding.name),
        None => format!("policy '{policy}'"),
    };
    let why = format!("{place} denied request: {why}");
    let mut error = ApiError::forbidden(&kind.group, &kind.plural, subject.name, &why);
    (error.code, error.reason) = (422, "Invalid");
    error
}

/// One policy through one binding.
fn run(
    subject: &Subject<'_>,
    relevant: &Relevant,
    (object, old): (&mut Value, Option<&Value>),
) -> Result<(), ApiError> {
    let (matched, params) = match &relevant.form {
        Ok(form) => form,
        Err(why) => return Err(refusal(subject, relevant, why)),
    };
    let policy = &relevant.policy;
    let sets: Vec<Option<&Value>> = match params {
        None => vec![None],
        Some(params) => params.iter().map(Some).collect(),
    };
    for params in sets {
        let mut inputs = Inputs::new(subject, matched, (object, old));
        let outcome = change(subject, (policy, matched, params), &mut inputs);
        match outcome {
            Ok(Some(changed)) => {
                let replaced = replace(subject, matched, (changed, object));
                replaced.map_err(|error| refusal(subject, relevant, &error.message))?;
            }
            Err(why) if policy.on_failure == FailurePolicy::Fail => {
                return Err(refusal(subject, relevant, &why));
            }
            Ok(None) | Err(_) => {}
        }
    }
    Ok(())
}

/// The object as the policy wants it; `None` if the policy is not about it after all.
fn change(
    subject: &Subject<'_>,
    (policy, matched, params): (&Policy, &Matched, Option<&Value>),
    inputs: &mut Inputs<'_>,
) -> Result<Option<Value>, String> {
    if !policy.conditions.hold_for(&inputs.bindings(params))? {
        return Ok(None);
    }
    let mut budget = Budget::per_object();
    for mutation in &policy.mutations {
        let expression = mutation.expression();
        let program = expression.program.as_ref().map_err(String::clone)?;
        let bindings: Bindings<'_> = inputs.bindings(params).composed(&policy.variables);
        let value = program
            .evaluate(&bindings, &mut budget)
            .and_then(|value| json(&value));
        let value = value.map_err(|error| {
            format!(
                "expression '{}' resulted in error: {error}",
                expression.text
            )
        })?;
        let next = match mutation {
            Mutation::Apply(_) => merged(subject, matched, (inputs.object(), &value))?,
            Mutation::Patch(_) => {
                let operations = serde_json::to_vec(&value).map_err(|e| e.to_string())?;
                patch::json(inputs.object(), &operations)
                    .map_err(|error| format!("JSON Patch: {}", error.message))?
            }
        };
        drop(bindings);
        inputs.set_object(next);
    }
    Ok(Some(inputs.object().clone()))
}

/// The object with a configuration applied to it.
fn merged(
    subject: &Subject<'_>,
    matched: &Matched,
    (object, configuration): (&Value, &Value),
) -> Result<Value, String> {
    let own = ["apiVersion", "kind"];
    if let Some(key) = own.iter().find(|key| configuration.get(key).is_some()) {
        return Err(format!("invalid ApplyConfiguration: {key} may not be set"));
    }
    let node = match subject.body {
        None => matched.kind().node(),
        Some(_) => Node::Unknown,
    };
    Ok(apply::merge(node, object, configuration))
}

fn json(value: &Cel<'_>) -> Result<Value, plimsoll_cel::EvalError> {
    value.to_json()
}
