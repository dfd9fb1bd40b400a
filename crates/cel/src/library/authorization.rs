//! `authorizer` and what can be asked of it.

use super::{Cost, Pat, Row, method};
use crate::authorizer::{Authorizer, Check, Question, Stage};
use crate::budget::Meter;
use crate::error::EvalError;
use crate::types::OpaqueType;
use crate::value::{Opaque, Value};
use std::sync::Arc;

type Outcome<'a> = Result<Value<'a>, EvalError>;

const T: Pat = Pat::Text;
const AUTHORIZER: Pat = Pat::Lib(OpaqueType::Authorizer);
const PATH: Pat = Pat::Lib(OpaqueType::PathCheck);
const GROUP: Pat = Pat::Lib(OpaqueType::GroupCheck);
const RESOURCE: Pat = Pat::Lib(OpaqueType::ResourceCheck);
const DECISION: Pat = Pat::Lib(OpaqueType::Decision);

pub(super) const TABLE: &[Row] = &[
    ("path", method(&[AUTHORIZER, T], PATH, path)),
    ("group", method(&[AUTHORIZER, T], GROUP, group)),
    (
        "serviceAccount",
        method(&[AUTHORIZER, T, T], AUTHORIZER, service_account),
    ),
    ("resource", method(&[GROUP, T], RESOURCE, resource)),
    ("subresource", method(&[RESOURCE, T], RESOURCE, subresource)),
    ("namespace", method(&[RESOURCE, T], RESOURCE, namespace)),
    ("name", method(&[RESOURCE, T], RESOURCE, name)),
    (
        "fieldSelector",
        method(&[RESOURCE, T], RESOURCE, field_selector),
    ),
    (
        "labelSelector",
        method(&[RESOURCE, T], RESOURCE, label_selector),
    ),
    (
        "check",
        method(&[PATH, T], DECISION, check).cost(Cost::Authorization),
    ),
    (
        "check",
        method(&[RESOURCE, T], DECISION, check).cost(Cost::Authorization),
    ),
    ("allowed", method(&[DECISION], Pat::Bool, allowed)),
    ("reason", method(&[DECISION], T, reason)),
    ("errored", method(&[DECISION], Pat::Bool, errored)),
    ("error", method(&[DECISION], T, error)),
];

fn start<'a>(value: &Value<'a>) -> Result<(&'a dyn Authorizer, Question), EvalError> {
    match value {
        Value::Opaque(Opaque::Authorizer(authorizer)) => Ok((*authorizer, Question::default())),
        Value::Opaque(Opaque::Check(check)) => Ok((check.authorizer, check.question.clone())),
        _ => Err(EvalError::NoSuchOverload),
    }
}

/// The question with one more detail.
fn extend<'a>(
    args: &[Value<'a>],
    stage: Stage,
    set: impl Fn(&mut Question, String),
) -> Outcome<'a> {
    let [before, Value::Text(text)] = args else {
        return super::mismatch();
    };
    let (authorizer, mut question) = start(before)?;
    set(&mut question, text.as_str().to_owned());
    let check = Check {
        authorizer,
        question,
        stage,
    };
    Ok(Value::Opaque(Opaque::Check(Arc::new(check))))
}

fn path<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    if matches!(args, [_, Value::Text(path)] if path.as_str().is_empty()) {
        return Err(EvalError::bad("path must not be empty"));
    }
    extend(args, Stage::Path, |question, text| question.path = text)
}

fn group<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extend(args, Stage::Group, |question, text| question.group = text)
}

fn service_account<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [before, Value::Text(namespace), Value::Text(name)] = args else {
        return super::mismatch();
    };
    let (authorizer, mut question) = start(before)?;
    question.account = Some((namespace.as_str().to_owned(), name.as_str().to_owned()));
    let check = Check {
        authorizer,
        question,
        stage: Stage::Account,
    };
    Ok(Value::Opaque(Opaque::Check(Arc::new(check))))
}

fn resource<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    if matches!(args, [_, Value::Text(resource)] if resource.as_str().is_empty()) {
        return Err(EvalError::bad("resource must not be empty"));
    }
    extend(args, Stage::Resource, |question, text| {
        question.resource = text;
    })
}

fn subresource<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extend(args, Stage::Resource, |question, text| {
        question.subresource = text;
    })
}

fn namespace<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extend(args, Stage::Resource, |question, text| {
        question.namespace = text;
    })
}

fn name<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extend(args, Stage::Resource, |question, text| question.name = text)
}

fn field_selector<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extend(args, Stage::Resource, |question, text| {
        question.field_selector = text;
    })
}

fn label_selector<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    extend(args, Stage::Resource, |question, text| {
        question.label_selector = text;
    })
}

fn check<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    let [Value::Opaque(Opaque::Check(check)), Value::Text(verb)] = args else {
        return super::mismatch();
    };
    let question = Question {
        verb: verb.as_str().to_owned(),
        ..check.question.clone()
    };
    let decision = check.authorizer.decide(&question);
    Ok(Value::Opaque(Opaque::Decision(Arc::new(decision))))
}

fn allowed<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Decision(d))] => Ok(Value::Bool(d.allowed)))
}

fn reason<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Decision(d))] => Ok(Value::text(d.reason.as_str())))
}

fn errored<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Decision(d))] => Ok(Value::Bool(!d.error.is_empty())))
}

fn error<'a>(args: &[Value<'a>], _: &mut Meter) -> Outcome<'a> {
    super::take!(args, [Value::Opaque(Opaque::Decision(d))] => Ok(Value::text(d.error.as_str())))
}
