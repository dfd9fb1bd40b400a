//! Compiled rules in the shape of their schema.

use super::declare::{Place, REQUEST_BYTES, declare, most_items, most_properties, smallest};
use plimsoll_api::custom::{ListKind, Schema};
use plimsoll_api::meta;
use plimsoll_cel::{Decl, Env, Program, Type};
use serde_json::Value;
use std::collections::BTreeMap;

/// One level of a schema that has rules, there or below.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) rules: Vec<Rule>,
    /// The type of `self`.
    pub(super) decl: Decl,
    /// The schema's word for it: `object`, `string` …
    pub(super) type_name: &'static str,
    pub(super) properties: BTreeMap<String, Node>,
    pub(super) additional: Option<Box<Node>>,
    pub(super) items: Option<Box<Node>>,
    /// How items are told apart.
    pub(super) list: ListKind,
    /// How many such values one object may have.
    pub(super) cardinality: u64,
    /// Whether a value can be found in the object as it was before.
    pub(super) correlatable: bool,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) text: String,
    /// The program, or why there is none.
    pub(super) program: Result<Program, String>,
    pub(super) message: String,
    pub(super) message_text: String,
    pub(super) message_program: Option<Result<Program, String>>,
    pub(super) reason: String,
    /// Names from here to the field that errors are about.
    pub(super) field_path: Vec<String>,
    /// `optionalOldSelf`: `oldSelf` is optional, and the rule runs without one too.
    pub(super) optional_old: bool,
    /// Whether the rule compares with what was before.
    pub(super) is_transition: bool,
}

/// What levels above say about a level.
#[derive(Debug, Clone, Copy)]
struct Above {
    cardinality: u64,
    bounded: bool,
    correlatable: bool,
    place: Place,
}

impl Node {
    /// The rules of a whole schema.
    pub(super) fn root(schema: &Schema) -> Self {
        let above = Above {
            cardinality: 1,
            bounded: true,
            correlatable: true,
            place: Place::Resource,
        };
        Self::build(schema, above)
    }

    fn build(schema: &Schema, above: Above) -> Self {
        let decl = declare(schema, above.place);
        let known = decl.clone().unwrap_or_else(|| Decl::new(Type::Dyn));
        let room = REQUEST_BYTES / (smallest(schema) + 1);
        // No more of them fit into a request, whatever unbounded levels above would multiply to.
        let most = if above.bounded { u64::MAX } else { room };
        let cardinality = above.cardinality.min(most);
        let inner = Above {
            place: Place::Inner,
            ..above
        };
        let limits = schema.limits.as_deref();
        let times = |count: u64, declared: Option<u64>| Above {
            cardinality: above.cardinality.saturating_mul(count),
            bounded: above.bounded && declared.is_some(),
            ..inner
        };
        let in_items = Above {
            correlatable: above.correlatable && matches!(schema.list, ListKind::Map(_)),
            ..times(
                most_items(schema),
                limits.and_then(|limits| limits.max_items),
            )
        };
        let in_map = times(
            most_properties(schema),
            limits.and_then(|limits| limits.max_properties),
        );
        let ruled = |below: &&Schema| below.has_rules;
        Self {
            rules: schema
                .rules
                .iter()
                .map(|rule| Rule::compile(rule, &known))
                .collect(),
            type_name: schema.ty.map_or("", plimsoll_api::custom::Type::name),
            decl: known,
            properties: schema
                .properties
                .iter()
                .filter(|(_, below)| below.has_rules)
                .map(|(name, below)| (name.clone(), Self::build(below, inner)))
                .collect(),
            additional: schema
                .additional
                .as_deref()
                .filter(ruled)
                .map(|below| Box::new(Self::build(below, in_map))),
            items: schema
                .items
                .as_deref()
                .filter(ruled)
                .map(|below| Box::new(Self::build(below, in_items))),
            list: schema.list.clone(),
            cardinality,
            correlatable: above.correlatable,
        }
    }
}

impl Rule {
    fn compile(rule: &Value, own: &Decl) -> Self {
        let optional_old = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
        let old = if optional_old {
            Decl::sized(Type::optional(own.ty.clone()), own.max)
        } else {
            own.clone()
        };
        let env = Env::new().with("self", own.clone()).with("oldSelf", old);
        let text = meta::text(rule, &["rule"]).trim();
        let message_text = meta::text(rule, &["messageExpression"]).trim();
        let program = compile(
            text,
            &env,
            (&Type::Bool, "cel expression must evaluate to a bool"),
        );
        let must_be_text = (&Type::String, "messageExpression must evaluate to a string");
        Self {
            is_transition: program
                .as_ref()
                .is_ok_and(|program| program.mentions("oldSelf")),
            program: program.map_err(|why| prefixed("", why)),
            message: meta::text(rule, &["message"]).trim().to_owned(),
            message_program: (!message_text.is_empty()).then(|| {
                let compiled = compile(message_text, &env, must_be_text);
                compiled.map_err(|why| prefixed("messageExpression ", why))
            }),
            message_text: message_text.to_owned(),
            reason: meta::text(rule, &["reason"]).to_owned(),
            field_path: path(meta::text(rule, &["fieldPath"])).unwrap_or_default(),
            text: text.to_owned(),
            optional_old,
        }
    }
}

/// Why an expression cannot be used.
enum Unusable {
    Broken(String),
    WrongType(&'static str),
}

fn prefixed(what: &str, why: Unusable) -> String {
    match why {
        Unusable::Broken(issues) => format!("{what}compilation failed: {issues}"),
        Unusable::WrongType(said) => said.to_owned(),
    }
}

fn compile(
    text: &str,
    env: &Env,
    (wanted, otherwise): (&Type, &'static str),
) -> Result<Program, Unusable> {
    match Program::compile(text, env) {
        Ok(program) if program.gives(wanted) => Ok(program),
        Ok(_) => Err(Unusable::WrongType(otherwise)),
        Err(error) => Err(Unusable::Broken(error.to_string())),
    }
}

/// The names of a `fieldPath` such as `.spec.containers['a.b']`; `None` for malformed ones.
pub(super) fn path(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("['") {
            let (name, after) = quoted.split_once("']")?;
            names.push(name.to_owned());
            rest = after;
            continue;
        }
        let plain = rest.strip_prefix('.')?;
        let end = plain.find(['.', '[']).unwrap_or(plain.len());
        let (name, after) = plain.split_at_checked(end)?;
        if name.is_empty() {
            return None;
        }
        names.push(name.to_owned());
        rest = after;
    }
    Some(names)
}
