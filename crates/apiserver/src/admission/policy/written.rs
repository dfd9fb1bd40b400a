//! What is wrong with the expressions of a policy or a webhook that is being written.

use super::expression::{
    Expression, Params, environment, json_patch_type, mutation_environment, object_type,
    policy_environment,
};
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_api::status::FieldError;
use plimsoll_cel::{Decl, Env, Program, Type};
use serde_json::{Value, json};

/// Every expression that does not compile, with its path. `old` keeps what was stored before:
/// expressions that did not change are not looked at again.
pub(crate) fn problems(kind: &Kind, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    if kind.group != "admissionregistration.k8s.io" {
        return Vec::new();
    }
    let unchanged = |key: &str| old.is_some_and(|old| old.get(key) == new.get(key));
    match &*kind.kind {
        "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy" if !unchanged("spec") => {
            policy(new.get("spec").unwrap_or(&Value::Null))
        }
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration"
            if !unchanged("webhooks") =>
        {
            webhooks(meta::list(new, &["webhooks"]))
        }
        _ => Vec::new(),
    }
}

/// Collects problems.
#[derive(Default)]
struct Found(Vec<FieldError>);

impl Found {
    /// Looks at the expression at a key; an absent one is a matter of the object's shape.
    fn check(&mut self, path: &str, holder: &Value, (key, env, types): (&str, &Env, &[Type])) {
        let text = meta::text(holder, &[key]);
        if text.trim().is_empty() {
            return;
        }
        if let Err(why) = Expression::compile(text, env, types).program {
            self.0.push(FieldError::invalid(
                format!("{path}.{key}"),
                &json!(text),
                why,
            ));
        }
    }

    fn conditions(&mut self, path: &str, list: &[Value], env: &Env) {
        for (index, condition) in list.iter().enumerate() {
            let path = format!("{path}.matchConditions[{index}]");
            self.check(&path, condition, ("expression", env, &[Type::Bool]));
        }
    }
}

fn webhooks(list: &[Value]) -> Vec<FieldError> {
    let mut found = Found::default();
    let env = environment(Params::Absent);
    for (index, hook) in list.iter().enumerate() {
        let conditions = meta::list(hook, &["matchConditions"]);
        found.conditions(&format!("webhooks[{index}]"), conditions, &env);
    }
    found.0
}

fn policy(spec: &Value) -> Vec<FieldError> {
    let params = match spec.get("paramKind").filter(|kind| kind.is_object()) {
        Some(_) => Params::Declared,
        None => Params::Absent,
    };
    let mut env = policy_environment(params);
    let mut found = Found::default();
    found.conditions("spec", meta::list(spec, &["matchConditions"]), &env);
    for (index, variable) in meta::list(spec, &["variables"]).iter().enumerate() {
        let (name, text) = (
            meta::text(variable, &["name"]),
            meta::text(variable, &["expression"]),
        );
        found.check(
            &format!("spec.variables[{index}]"),
            variable,
            ("expression", &env, &[]),
        );
        // One that does not compile is declared too: its mistake is said once, not by its users.
        let result = Program::compile(text, &env).map(|program| program.result().clone());
        env.compose(name, result.unwrap_or_else(|_| Decl::new(Type::Dyn)));
    }
    for (index, rule) in meta::list(spec, &["validations"]).iter().enumerate() {
        let path = format!("spec.validations[{index}]");
        found.check(&path, rule, ("expression", &env, &[Type::Bool]));
        found.check(&path, rule, ("messageExpression", &env, &[Type::String]));
    }
    for (index, annotation) in meta::list(spec, &["auditAnnotations"]).iter().enumerate() {
        let path = format!("spec.auditAnnotations[{index}]");
        let types: &[Type] = &[Type::String, Type::Null];
        found.check(&path, annotation, ("valueExpression", &env, types));
    }
    let env = mutation_environment(&env);
    let patches = [Type::list(Decl::new(json_patch_type()))];
    for (index, mutation) in meta::list(spec, &["mutations"]).iter().enumerate() {
        for (key, types) in [
            ("applyConfiguration", &[object_type()]),
            ("jsonPatch", &patches),
        ] {
            let holder = mutation.get(key).unwrap_or(&Value::Null);
            let path = format!("spec.mutations[{index}].{key}");
            found.check(&path, holder, ("expression", &env, types));
        }
    }
    found.0
}
