//! ValidatingAdmissionPolicy: rules that requests must meet.

use super::Relevant;
use super::definition::{Action, FailurePolicy, Policy, Validation};
use super::inputs::Inputs;
use crate::admission::webhook::Subject;
use plimsoll_api::status::ApiError;
use plimsoll_cel::{Bindings, Budget, EvalError, Value as Cel};
use serde_json::{Value, json};

/// Characters of the longest message an expression may give.
const LONGEST_MESSAGE: usize = 5 * 1024;

/// A rule that is not met, or that could not be asked.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    message: String,
    /// `reason` of the rule; empty for the usual one.
    reason: String,
}

impl Violation {
    fn failure(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            reason: String::new(),
        }
    }
}

/// Asks every policy that is about the request.
///
/// # Errors
/// The first violation that a binding denies.
pub(crate) fn validate(
    subject: &Subject<'_>,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), ApiError> {
    let bound = &subject.server.0.policies.validating;
    let mut denied = None;
    for relevant in bound.relevant(subject, (object, old)) {
        for violation in violations(subject, &relevant, (object, old)) {
            let refused = enforce(subject, &relevant, &violation);
            denied = denied.or(refused);
        }
    }
    denied.map_or(Ok(()), Err)
}

/// What the binding does about a violation; the refusal if it denies.
fn enforce(subject: &Subject<'_>, relevant: &Relevant, violation: &Violation) -> Option<ApiError> {
    let policy = &relevant.policy.name;
    let message = &violation.message;
    let Some(binding) = &relevant.binding else {
        let why = format!("ValidatingAdmissionPolicy '{policy}' denied request: {message}");
        return Some(refusal(subject, &why, ""));
    };
    let name = &binding.name;
    let mut refused = None;
    let always = relevant.form.is_err();
    for action in &binding.actions {
        match action {
            Action::Deny => {}
            Action::Warn => subject.remarks.warn([format!(
                "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{name}': {message}"
            )]),
            Action::Audit => subject.remarks.annotate(
                "validation.policy.admission.k8s.io/validation_failure",
                json!([{
                    "message": message, "policy": policy, "binding": name,
                    "expressionIndex": 0, "validationActions": ["Audit"],
                }])
                .to_string(),
            ),
        }
    }
    if always || binding.actions.contains(&Action::Deny) {
        let why = format!(
            "ValidatingAdmissionPolicy '{policy}' with binding '{name}' denied request: {message}"
        );
        refused = Some(refusal(subject, &why, &violation.reason));
    }
    refused
}

/// A refusal in upstream's form: worded as forbidden, with the code of the rule's reason.
fn refusal(subject: &Subject<'_>, why: &str, reason: &str) -> ApiError {
    let kind = subject.kind;
    let (code, reason) = match reason {
        "Unauthorized" => (401, "Unauthorized"),
        "Forbidden" => (403, "Forbidden"),
        "RequestEntityTooLarge" => (413, "RequestEntityTooLarge"),
        _ => (422, "Invalid"),
    };
    let mut error = ApiError::forbidden(&kind.group, &kind.plural, subject.name, why);
    (error.code, error.reason) = (code, reason);
    if let Some(details) = error.details.as_object_mut() {
        details.insert("causes".into(), json!([{"message": why}]));
    }
    error
}

/// The rules of a policy that are not met.
fn violations(
    subject: &Subject<'_>,
    relevant: &Relevant,
    objects: (&Value, Option<&Value>),
) -> Vec<Violation> {
    let (matched, params) = match &relevant.form {
        Ok(form) => form,
        Err(why) => return vec![Violation::failure(why.clone())],
    };
    let policy = &relevant.policy;
    let inputs = Inputs::new(subject, matched, objects);
    let mut found = Vec::new();
    match params {
        None => judge(subject, policy, (&inputs.bindings(None), &mut found)),
        Some(params) => {
            for params in params {
                judge(
                    subject,
                    policy,
                    (&inputs.bindings(Some(params)), &mut found),
                );
            }
        }
    }
    found
}

/// Evaluates a policy for one set of parameters.
fn judge<'a>(
    subject: &Subject<'_>,
    policy: &'a Policy,
    (bindings, found): (&Bindings<'a>, &mut Vec<Violation>),
) {
    let fails = policy.on_failure == FailurePolicy::Fail;
    match policy.conditions.hold_for(bindings) {
        Ok(true) => {}
        Err(why) if fails => return found.push(Violation::failure(why)),
        Ok(false) | Err(_) => return,
    }
    let bindings = bindings.clone().composed(&policy.variables);
    let mut budget = Budget::per_object();
    for validation in &policy.validations {
        let rule = &validation.rule;
        let outcome = match &rule.program {
            Ok(program) => program.holds(&bindings, &mut budget),
            Err(why) => Err(EvalError::BadArgument(why.clone())),
        };
        match outcome {
            Ok(false) => found.push(Violation {
                message: message(validation, &bindings, &mut budget),
                reason: validation.reason.clone(),
            }),
            Err(error) if fails => {
                let text = &rule.text;
                let why = format!("expression '{text}' resulted in error: {error}");
                found.push(Violation::failure(why));
            }
            Ok(true) | Err(_) => {}
        }
        if budget.is_spent() {
            let why = "validation failed due to running out of cost budget, no further validation \
                       rules will be run";
            if fails {
                found.push(Violation::failure(why));
            }
            return;
        }
    }
    for (key, annotation) in &policy.annotations {
        let value = annotation.program.as_ref().ok();
        let value = value.and_then(|program| program.evaluate(&bindings, &mut budget).ok());
        if let Some(Cel::Text(text)) = value {
            subject
                .remarks
                .annotate(format!("{}/{key}", policy.name), text.as_str());
        }
    }
}

/// What a violation of the rule says.
fn message(validation: &Validation, bindings: &Bindings<'_>, budget: &mut Budget) -> String {
    let program = validation
        .message_rule
        .as_ref()
        .and_then(|rule| rule.program.as_ref().ok());
    if let Some(Ok(Cel::Text(text))) = program.map(|program| program.evaluate(bindings, budget)) {
        let text = text.as_str().trim();
        let usable = !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n');
        if usable {
            return text.to_owned();
        }
    }
    if validation.message.is_empty() {
        return format!("failed expression: {}", validation.rule.text);
    }
    validation.message.clone()
}
