//! `x-kubernetes-validations`: rules of custom resources, written in CEL beside their schema.
//!
//! A version's rules are compiled when its first object is checked and kept as long as its schema
//! is; a changed definition has another schema, so nothing has to be told.

mod declare;
mod evaluate;
mod node;
mod written;

pub(crate) use written::problems;

use node::Node;
use parking_lot::Mutex;
use plimsoll_api::custom::Schema;
use plimsoll_api::kind::Kind;
use plimsoll_api::status::{CauseReason, FieldError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// A schema and its compiled rules; the schema tells whether they are still the right ones.
type Compiled = (Weak<Schema>, Arc<Node>);

/// Compiled rules by definition and version.
#[derive(Debug, Default)]
pub(crate) struct RuleCache(Mutex<BTreeMap<(String, String), Compiled>>);

impl RuleCache {
    /// What the rules of a custom kind have against an object; nothing for other kinds. Rules are
    /// asked only about objects whose shape is sound.
    pub(crate) fn check(
        &self,
        kind: &Kind,
        (new, old): (&Value, Option<&Value>),
        errors: &mut Vec<FieldError>,
    ) {
        let Some(custom) = kind
            .custom
            .as_ref()
            .filter(|custom| custom.schema.has_rules)
        else {
            return;
        };
        if errors.iter().any(is_about_shape) {
            errors.push(unchecked());
            return;
        }
        let at = (custom.definition.clone(), kind.version.to_string());
        let rules = self.rules(at, &custom.schema);
        errors.extend(evaluate::check(&rules, new, old));
    }

    fn rules(&self, at: (String, String), schema: &Arc<Schema>) -> Arc<Node> {
        let mut compiled = self.0.lock();
        let known = compiled.get(&at);
        if let Some((of, rules)) = known
            && of.as_ptr() == Arc::as_ptr(schema)
        {
            return Arc::clone(rules);
        }
        let rules = Arc::new(Node::root(schema));
        compiled.retain(|_, (of, _)| of.strong_count() > 0);
        compiled.insert(at, (Arc::downgrade(schema), Arc::clone(&rules)));
        rules
    }
}

/// Whether an error may mean that values are not of the types that rules rely on.
fn is_about_shape(error: &FieldError) -> bool {
    !error.field.starts_with("metadata")
        && matches!(
            error.reason,
            CauseReason::FieldValueRequired
                | CauseReason::FieldValueTypeInvalid
                | CauseReason::FieldValueInvalid
                | CauseReason::FieldValueTooLong
                | CauseReason::FieldValueTooMany
                | CauseReason::FieldValueDuplicate
        )
}

fn unchecked() -> FieldError {
    let why = "some validation rules were not checked because the object was invalid; correct the \
               existing errors to complete validation";
    FieldError::invalid("<nil>", &"null".into(), why)
}
