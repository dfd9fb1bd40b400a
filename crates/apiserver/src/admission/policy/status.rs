//! `status` of a ValidatingAdmissionPolicy: what its expressions would trip over, found out by
//! checking them against the kinds they are about.

use super::expression::{Params, policy_environment};
use super::types::Types;
use crate::resource::encode;
use crate::resource::present::parse;
use crate::server::{ApiServer, key};
use crate::store::Expect;
use plimsoll_api::kind::Kind;
use plimsoll_api::meta;
use plimsoll_cel::{Decl, Env, Program, Type};
use serde_json::{Value, json};
use std::sync::Arc;

/// Kinds that one policy is checked against at most.
const MOST_KINDS: usize = 10;

/// Reacts to a write: brings the status of a policy up to date with its spec; does nothing for
/// other kinds.
pub(crate) async fn settle(server: &ApiServer, kind: &Arc<Kind>, name: &str) {
    if !kind.is("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") {
        return;
    }
    let Some(entry) = server.store().get(&key(kind, "", name)) else {
        return;
    };
    let Ok(mut policy) = parse(&entry.json) else {
        return;
    };
    let generation = meta::integer(&policy, &["metadata", "generation"]);
    if generation == meta::integer(&policy, &["status", "observedGeneration"]) {
        return;
    }
    let warnings = warnings(server, policy.get("spec").unwrap_or(&Value::Null));
    let checking = if warnings.is_empty() {
        json!({})
    } else {
        json!({"expressionWarnings": warnings})
    };
    let status = meta::object_mut(&mut policy, &["status"]);
    status.insert(
        "observedGeneration".into(),
        generation.unwrap_or_default().into(),
    );
    status.insert("typeChecking".into(), checking);
    let draft = encode::draft(kind, entry.key.clone(), &policy);
    // A write that came first settles the status itself.
    if let Err(error) = server
        .store()
        .put(draft, Expect::Revision(entry.revision))
        .await
    {
        tracing::debug!(%error, policy = name, "the status was left to a later write");
    }
}

/// The kinds that the policy's rules name without wildcards.
fn kinds(server: &ApiServer, spec: &Value) -> Vec<Arc<Kind>> {
    let mut found: Vec<Arc<Kind>> = Vec::new();
    let rules = meta::list(spec, &["matchConstraints", "resourceRules"]);
    for kind in server.kinds().iter().filter(|kind| kind.custom.is_none()) {
        let lists = |rule: &Value, key: &str, wanted: &str| {
            meta::list(rule, &[key]).iter().any(|name| name == wanted)
        };
        let named = rules.iter().any(|rule| {
            lists(rule, "apiGroups", &kind.group)
                && lists(rule, "apiVersions", &kind.version)
                && lists(rule, "resources", &kind.plural)
        });
        if named && found.len() < MOST_KINDS {
            found.push(Arc::clone(kind));
        }
    }
    found
}

fn warnings(server: &ApiServer, spec: &Value) -> Vec<Value> {
    let kinds = kinds(server, spec);
    let mut types = Types::default();
    let environments: Vec<(String, Env)> = kinds
        .iter()
        .map(|kind| {
            let (group, version) = (&kind.group, &kind.version);
            let apart = if group.is_empty() { "" } else { "/" };
            let label = format!("{group}{apart}{version}, Kind={}", kind.kind);
            (label, environment(spec, types.of(kind.schema)))
        })
        .collect();
    let mut found = Vec::new();
    for (index, rule) in meta::list(spec, &["validations"]).iter().enumerate() {
        for key in ["expression", "messageExpression"] {
            let text = meta::text(rule, &[key]);
            if text.trim().is_empty() {
                continue;
            }
            let mistakes = environments.iter().filter_map(|(label, env)| {
                let error = Program::compile(text, env).err()?;
                Some(format!("{label}: {error}\n"))
            });
            let warning: String = mistakes.collect();
            if !warning.is_empty() {
                let field = format!("spec.validations[{index}].{key}");
                found.push(json!({"fieldRef": field, "warning": warning}));
            }
        }
    }
    found
}

/// The policy's environment with the object's type known.
fn environment(spec: &Value, object: Type) -> Env {
    let params = match spec.get("paramKind").filter(|kind| kind.is_object()) {
        Some(_) => Params::Declared,
        None => Params::Absent,
    };
    let mut env = policy_environment(params)
        .with("object", Decl::new(object.clone()))
        .with("oldObject", Decl::new(object));
    for variable in meta::list(spec, &["variables"]) {
        let text = meta::text(variable, &["expression"]);
        let result = Program::compile(text, &env).map(|program| program.result().clone());
        let declared = result.unwrap_or_else(|_| Decl::new(Type::Dyn));
        env.compose(meta::text(variable, &["name"]), declared);
    }
    env
}
