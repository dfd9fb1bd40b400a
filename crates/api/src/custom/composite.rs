//! `allOf`, `anyOf`, `oneOf` and `not`.

use super::check::{Checks, named};
use super::path::Path;
use super::schema::{Limits, Schema};
use crate::status::FieldError;
use serde_json::Value;

/// Adds what the combined schemas say about a value.
pub(super) fn check(
    checks: &mut Checks,
    limits: &Limits,
    (value, old): (&Value, Option<&Value>),
    path: &Path<'_>,
) {
    let attempt = |schema: &Schema, old: Option<&Value>| {
        let mut inner = Checks::default();
        inner.value(schema, value, old, path);
        inner
    };
    if !limits.any_of.is_empty() {
        let tried: Vec<Checks> = limits.any_of.iter().map(|s| attempt(s, None)).collect();
        if !tried.iter().any(|t| t.errors.is_empty()) {
            say(checks, path, "must validate at least one schema (anyOf)");
            explain(checks, tried);
        }
    }
    if !limits.one_of.is_empty() {
        let tried: Vec<Checks> = limits.one_of.iter().map(|s| attempt(s, None)).collect();
        match tried.iter().filter(|t| t.errors.is_empty()).count() {
            1 => {}
            0 => {
                let what = "must validate one and only one schema (oneOf). Found none valid";
                say(checks, path, what);
                explain(checks, tried);
            }
            many => {
                let what = format!(
                    "must validate one and only one schema (oneOf). Found {many} valid alternatives"
                );
                say(checks, path, &what);
            }
        }
    }
    let mut valid = 0;
    for schema in &limits.all_of {
        let inner = attempt(schema, old);
        valid += usize::from(inner.errors.is_empty());
        checks.errors.extend(inner.errors);
    }
    if valid < limits.all_of.len() {
        let none = if valid == 0 { ". None validated" } else { "" };
        say(
            checks,
            path,
            &format!("must validate all the schemas (allOf){none}"),
        );
    }
    if let Some(schema) = &limits.not
        && attempt(schema, None).errors.is_empty()
    {
        say(checks, path, "must not validate the schema (not)");
    }
}

/// Upstream reports these about no field in particular.
fn say(checks: &mut Checks, path: &Path<'_>, what: &str) {
    let why = format!("{:?} {what}", path.text());
    let error = FieldError::invalid(named(String::new()), &"".into(), why);
    checks.errors.push(error);
}

/// Adds the errors of the alternative that got furthest, the first of equals.
fn explain(checks: &mut Checks, tried: Vec<Checks>) {
    let furthest = tried.iter().map(|t| t.applied).max().unwrap_or_default();
    let best = tried.into_iter().find(|t| t.applied == furthest);
    checks
        .errors
        .extend(best.into_iter().flat_map(|t| t.errors));
}
