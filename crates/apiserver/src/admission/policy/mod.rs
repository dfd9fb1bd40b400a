//! Admission policies: rules and changes written in CEL, in force as soon as they are stored.
//!
//! Every request looks at what the store holds, as for webhooks: one comparison when nothing
//! changed, nothing more when nothing is bound.

pub(crate) mod conditions;
mod constraints;
mod definition;
mod expression;
mod inputs;
mod mutate;
mod params;
mod status;
mod types;
mod validate;
mod written;

pub(crate) use mutate::{Changes, mutate};
pub(crate) use status::settle;
pub(crate) use validate::validate;
pub(crate) use written::problems;

use super::follow::Followed;
use super::webhook::{Matched, Subject};
use crate::store::Store;
use definition::{Binding, FailurePolicy, Policy};
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::sync::Arc;

/// Every stored policy and binding.
#[derive(Debug)]
pub(crate) struct Policies {
    validating: Bound,
    mutating: Bound,
}

/// Policies of one kind and what binds them.
#[derive(Debug)]
struct Bound {
    policies: Followed<Policy>,
    bindings: Followed<Binding>,
}

impl Policies {
    /// What the store holds, now and later.
    pub(crate) fn new(store: &Store) -> Self {
        let bound = |policies, bindings| Bound {
            policies: Followed::new(store, policies, Policy::parse),
            bindings: Followed::new(store, bindings, Binding::parse),
        };
        Self {
            validating: bound(
                "admissionregistration.k8s.io/validatingadmissionpolicies",
                "admissionregistration.k8s.io/validatingadmissionpolicybindings",
            ),
            mutating: bound(
                "admissionregistration.k8s.io/mutatingadmissionpolicies",
                "admissionregistration.k8s.io/mutatingadmissionpolicybindings",
            ),
        }
    }
}

/// The form in which a request matched, and the parameters: one evaluation each, `None` for
/// policies without any.
type Form = (Matched, Option<Vec<Value>>);

/// A policy that is about the request, through one of its bindings.
struct Relevant {
    policy: Arc<Policy>,
    binding: Option<Arc<Binding>>,
    /// How it sees the request, or why that cannot be said.
    form: Result<Form, String>,
}

impl Bound {
    /// The policies that are about a request, by name and then by their bindings' names. Those
    /// that cannot be asked and may be ignored are left out.
    fn relevant(&self, subject: &Subject<'_>, objects: (&Value, Option<&Value>)) -> Vec<Relevant> {
        let bindings = self.bindings.in_namespace("");
        if bindings.is_empty() || is_exempt(subject) {
            return Vec::new();
        }
        let mut found = Vec::new();
        for policy in self.policies.in_namespace("") {
            let mut own = bindings
                .iter()
                .filter(|b| b.policy == policy.name)
                .peekable();
            if own.peek().is_none() {
                continue;
            }
            let matched = match policy.constraints.matched(subject, objects) {
                Ok(Some(matched)) => matched,
                Ok(None) => continue,
                Err(error) => {
                    found.push(unsure(&policy, None, configuration("policy", &error)));
                    continue;
                }
            };
            for binding in own {
                let form = form(subject, (&policy, binding, &matched), objects);
                match form {
                    Ok(Some(form)) => found.push(Relevant {
                        policy: Arc::clone(&policy),
                        binding: Some(Arc::clone(binding)),
                        form: Ok(form),
                    }),
                    Ok(None) => {}
                    Err(why) => found.push(unsure(&policy, Some(binding), why)),
                }
            }
        }
        found.retain(|one| one.form.is_ok() || one.policy.on_failure == FailurePolicy::Fail);
        found
    }
}

fn unsure(policy: &Arc<Policy>, binding: Option<&Arc<Binding>>, why: String) -> Relevant {
    Relevant {
        policy: Arc::clone(policy),
        binding: binding.map(Arc::clone),
        form: Err(why),
    }
}

fn configuration(what: &str, why: &impl std::fmt::Display) -> String {
    format!("failed to configure {what}: {why}")
}

/// The form in which a binding lets its policy see the request; `None` if it does not.
fn form(
    subject: &Subject<'_>,
    (policy, binding, matched): (&Policy, &Binding, &Matched),
    objects: (&Value, Option<&Value>),
) -> Result<Option<Form>, String> {
    if let Some(constraints) = &binding.constraints {
        let within: Result<_, ApiError> = constraints.matched(subject, objects);
        if within
            .map_err(|error| configuration("binding", &error))?
            .is_none()
        {
            return Ok(None);
        }
    }
    let params = match (&policy.param_kind, &binding.param_ref) {
        (Some(kind), Some(reference)) => {
            let found = params::find(subject, kind, reference);
            Some(found.map_err(|why| configuration("binding", &why))?)
        }
        (Some(_), None) => Some(vec![Value::Null]),
        (None, _) => None,
    };
    Ok(Some((matched.clone(), params)))
}

/// Policies are not subject to policies: a broken one could not be removed. Nor is what the server
/// does for itself, or it might not start.
fn is_exempt(subject: &Subject<'_>) -> bool {
    let kind = subject.kind;
    let is_policy = kind.group == "admissionregistration.k8s.io"
        && (kind.plural.ends_with("admissionpolicies")
            || kind.plural.ends_with("admissionpolicybindings"));
    is_policy || subject.is_own()
}
