//! Policies and bindings as requests need them: read and compiled once, when they change.

use super::conditions::Conditions;
use super::constraints::Constraints;
use super::expression::{
    Expression, Params, json_patch_type, mutation_environment, object_type, policy_environment,
};
use plimsoll_api::meta;
use plimsoll_cel::{Decl, Env, Program, Type};
use serde_json::Value;

/// What happens when a policy cannot be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailurePolicy {
    /// The request is refused.
    Fail,
    /// The policy says nothing.
    Ignore,
}

/// The kind of a policy's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParamKind {
    pub(super) api_version: String,
    pub(super) kind: String,
}

/// A ValidatingAdmissionPolicy or a MutatingAdmissionPolicy.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) constraints: Constraints,
    pub(super) param_kind: Option<ParamKind>,
    pub(super) conditions: Conditions,
    pub(super) variables: Vec<(String, Program)>,
    pub(super) validations: Vec<Validation>,
    pub(super) mutations: Vec<Mutation>,
    pub(super) annotations: Vec<(String, Expression)>,
    pub(super) on_failure: FailurePolicy,
    /// Whether it is asked again when the object changed after it was (`reinvocationPolicy`).
    pub(super) reinvocable: bool,
}

/// One rule of a policy.
#[derive(Debug)]
pub(super) struct Validation {
    pub(super) rule: Expression,
    pub(super) message: String,
    pub(super) message_rule: Option<Expression>,
    pub(super) reason: String,
}

/// One change a policy makes.
#[derive(Debug)]
pub(super) enum Mutation {
    /// The expression gives a configuration to apply.
    Apply(Expression),
    /// The expression gives the operations of a JSON patch.
    Patch(Expression),
}

impl Mutation {
    /// Its expression.
    pub(super) fn expression(&self) -> &Expression {
        match self {
            Self::Apply(expression) | Self::Patch(expression) => expression,
        }
    }
}

impl Policy {
    /// Reads a stored policy of either kind.
    pub(super) fn parse(object: &Value) -> Self {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let param_kind = spec.get("paramKind").filter(|kind| kind.is_object());
        let params = match param_kind {
            Some(_) => Params::Declared,
            None => Params::Absent,
        };
        let mut env = policy_environment(params);
        let conditions = Conditions::compile(meta::list(spec, &["matchConditions"]), &env);
        let variables = variables(spec, &mut env);
        let list = |key: &'static str| meta::list(spec, &[key]).iter();
        let text = Type::String;
        let mutating = mutation_environment(&env);
        Self {
            name: meta::name(object).to_owned(),
            constraints: Constraints::read(spec.get("matchConstraints").unwrap_or(&Value::Null)),
            param_kind: param_kind.map(|kind| ParamKind {
                api_version: meta::text(kind, &["apiVersion"]).to_owned(),
                kind: meta::text(kind, &["kind"]).to_owned(),
            }),
            conditions,
            variables,
            validations: list("validations")
                .map(|v| Validation::read(v, &env))
                .collect(),
            mutations: list("mutations")
                .map(|m| Mutation::read(m, &mutating))
                .collect(),
            annotations: list("auditAnnotations")
                .filter_map(|annotation| {
                    let types: &[Type] = &[text.clone(), Type::Null];
                    let value = Expression::at(annotation, "valueExpression", (&env, types))?;
                    Some((meta::text(annotation, &["key"]).to_owned(), value))
                })
                .collect(),
            on_failure: match meta::text(spec, &["failurePolicy"]) {
                "Ignore" => FailurePolicy::Ignore,
                _ => FailurePolicy::Fail,
            },
            reinvocable: meta::text(spec, &["reinvocationPolicy"]) == "IfNeeded",
        }
    }
}

/// Compiles `variables`, each over those before it, and declares them. What does not compile is
/// not declared, so that who names it does not compile either.
fn variables(spec: &Value, env: &mut Env) -> Vec<(String, Program)> {
    let mut compiled = Vec::new();
    for variable in meta::list(spec, &["variables"]) {
        let name = meta::text(variable, &["name"]);
        let text = meta::text(variable, &["expression"]);
        if let Ok(program) = Program::compile(text, env) {
            env.compose(name, program.result().clone());
            compiled.push((name.to_owned(), program));
        }
    }
    compiled
}

impl Validation {
    fn read(validation: &Value, env: &Env) -> Self {
        let rule = meta::text(validation, &["expression"]);
        Self {
            rule: Expression::compile(rule, env, &[Type::Bool]),
            message: meta::text(validation, &["message"]).trim().to_owned(),
            message_rule: Expression::at(validation, "messageExpression", (env, &[Type::String])),
            reason: meta::text(validation, &["reason"]).to_owned(),
        }
    }
}

impl Mutation {
    fn read(mutation: &Value, env: &Env) -> Self {
        if meta::text(mutation, &["patchType"]) == "JSONPatch" {
            let text = meta::text(mutation, &["jsonPatch", "expression"]);
            let list = Type::list(Decl::new(json_patch_type()));
            return Self::Patch(Expression::compile(text, env, &[list]));
        }
        let text = meta::text(mutation, &["applyConfiguration", "expression"]);
        Self::Apply(Expression::compile(text, env, &[object_type()]))
    }
}

/// What a binding does about a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The request is refused.
    Deny,
    /// Who asks is told.
    Warn,
    /// The audit log notes it.
    Audit,
}

/// How a binding finds its parameters.
#[derive(Debug, Clone)]
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<Value>,
    /// `parameterNotFoundAction: Allow`.
    pub(super) may_be_absent: bool,
}

/// A binding of either kind.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) param_ref: Option<ParamRef>,
    pub(super) constraints: Option<Constraints>,
    pub(super) actions: Vec<Action>,
}

impl Binding {
    /// Reads a stored binding.
    pub(super) fn parse(object: &Value) -> Self {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let actions = meta::list(spec, &["validationActions"]).iter();
        let param_ref = spec
            .get("paramRef")
            .filter(|r| r.is_object())
            .map(|r| ParamRef {
                name: meta::text(r, &["name"]).to_owned(),
                namespace: meta::text(r, &["namespace"]).to_owned(),
                selector: r.get("selector").filter(|s| s.is_object()).cloned(),
                may_be_absent: meta::text(r, &["parameterNotFoundAction"]) == "Allow",
            });
        Self {
            name: meta::name(object).to_owned(),
            policy: meta::text(spec, &["policyName"]).to_owned(),
            param_ref,
            constraints: spec
                .get("matchResources")
                .filter(|m| m.is_object())
                .map(Constraints::read),
            actions: actions
                .filter_map(|action| match action.as_str()? {
                    "Deny" => Some(Action::Deny),
                    "Warn" => Some(Action::Warn),
                    "Audit" => Some(Action::Audit),
                    _ => None,
                })
                .collect(),
        }
    }
}
