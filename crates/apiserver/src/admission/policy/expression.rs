//! Expressions of policies and webhooks: what they may name, and how they are compiled.

use plimsoll_api::meta;
use plimsoll_cel::{Decl, Env, ObjectType, OpaqueType, Program, Type};
use serde_json::Value;
use std::sync::Arc;

/// A compiled expression with its source.
#[derive(Debug, Clone)]
pub(crate) struct Expression {
    /// As written, without the blanks around it.
    pub(crate) text: String,
    /// The program, or why there is none.
    pub(crate) program: Result<Program, String>,
}

impl Expression {
    /// Compiles an expression that must give one of `types`.
    pub(crate) fn compile(text: &str, env: &Env, types: &[Type]) -> Self {
        let program = match Program::compile(text, env) {
            Ok(program) if types.is_empty() || types.iter().any(|ty| program.gives(ty)) => {
                Ok(program)
            }
            Ok(_) => Err(must_give(types)),
            Err(error) => Err(format!("compilation failed: {error}")),
        };
        Self {
            text: text.trim().to_owned(),
            program,
        }
    }

    /// Compiles the expression at a key, if there is one.
    pub(crate) fn at(object: &Value, key: &str, (env, types): (&Env, &[Type])) -> Option<Self> {
        let text = meta::text(object, &[key]);
        (!text.trim().is_empty()).then(|| Self::compile(text, env, types))
    }
}

fn must_give(types: &[Type]) -> String {
    match types {
        [one] => format!("must evaluate to {one}"),
        many => {
            let names: Vec<String> = many.iter().map(ToString::to_string).collect();
            format!("must evaluate to one of {}", names.join(", "))
        }
    }
}

/// Whether an environment has `params`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Params {
    /// There is no `paramKind`.
    Absent,
    /// There is one.
    Declared,
}

/// The variables every expression about a request has.
pub(crate) fn environment(params: Params) -> Env {
    let anything = || Decl::new(Type::Dyn);
    let env = Env::new()
        .with("object", anything())
        .with("oldObject", anything())
        .with("request", Decl::new(request_type()))
        .with(
            "authorizer",
            Decl::new(Type::Opaque(OpaqueType::Authorizer)),
        );
    match params {
        Params::Absent => env,
        Params::Declared => env.with("params", anything()),
    }
}

/// What policies have beyond it.
pub(crate) fn policy_environment(params: Params) -> Env {
    environment(params).with("namespaceObject", Decl::new(Type::Dyn))
}

/// What mutations have beyond that: the objects they construct.
pub(crate) fn mutation_environment(env: &Env) -> Env {
    let mut env = env.clone();
    env.construct_below("Object");
    if let Type::Object(patch) = json_patch_type() {
        env.construct(patch);
    }
    env
}

/// `JSONPatch{op: …, path: …, from: …, value: …}`.
pub(crate) fn json_patch_type() -> Type {
    Type::record(
        "JSONPatch",
        [
            ("op", Type::String),
            ("path", Type::String),
            ("from", Type::String),
            ("value", Type::Dyn),
        ],
    )
}

/// The type of configurations that are applied.
pub(crate) fn object_type() -> Type {
    Type::Object(Arc::new(ObjectType {
        name: "Object".to_owned(),
        open: true,
        ..ObjectType::default()
    }))
}

/// `request`: an admission request without its objects.
pub(crate) fn request_type() -> Type {
    let names = |last| {
        let fields = [
            ("group", Type::String),
            ("version", Type::String),
            (last, Type::String),
        ];
        Type::record("kubernetes.GroupVersion", fields)
    };
    let texts = Type::list(Decl::new(Type::String));
    let user = Type::record(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", texts.clone()),
            ("extra", Type::map(Decl::new(texts))),
        ],
    );
    Type::record(
        "kubernetes.AdmissionRequest",
        [
            ("kind", names("kind")),
            ("resource", names("resource")),
            ("subResource", Type::String),
            ("requestKind", names("kind")),
            ("requestResource", names("resource")),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}
