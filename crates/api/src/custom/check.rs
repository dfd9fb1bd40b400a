//! Checking a value against a schema, with the paths and messages people know.
//!
//! On updates, what equals its old value is not checked again (ratcheting): elements of lists are
//! matched by their map keys, properties by their names.

use super::composite;
use super::formats;
use super::path::Path;
use super::schema::{Limits, ListKind, Schema, Type};
use crate::status::{CauseReason, FieldError};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Everything wrong with a value, in the order of its schema.
pub fn check(schema: &Schema, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut checks = Checks::default();
    checks.value(schema, value, old, &Path::ROOT);
    checks.errors
}

/// Everything wrong with a value at a place that messages name.
pub(super) fn check_at(schema: &Schema, value: &Value, place: &str) -> Vec<FieldError> {
    let mut checks = Checks::default();
    checks.value(schema, value, None, &Path::from_text(place));
    checks.errors
}

/// What a walk finds.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) errors: Vec<FieldError>,
    /// How many schemas were applied: the alternative that got furthest explains a failure best.
    pub(super) applied: usize,
}

impl Checks {
    pub(super) fn value(
        &mut self,
        schema: &Schema,
        value: &Value,
        old: Option<&Value>,
        path: &Path<'_>,
    ) {
        if old == Some(value) {
            return;
        }
        self.applied += 1;
        self.of_type(schema, value, path);
        let limits = schema.limits.as_deref();
        if let Some(limits) = limits {
            self.allowed(limits, value, path);
        }
        if value.is_null() {
            return;
        }
        if let Some(limits) = limits {
            composite::check(self, limits, (value, old), path);
            self.limits(limits, schema, value, path);
        }
        match value {
            Value::Object(map) => self.object(schema, map, old, path),
            Value::Array(items) => self.array(schema, items, old, path),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Adds `path: Invalid value: VALUE: PATH in body WHAT`.
    fn invalid(&mut self, path: &Path<'_>, value: &Value, what: &str) {
        let name = path.text();
        let why = format!("{name} in body {what}");
        self.errors
            .push(FieldError::invalid(named(name), value, why));
    }

    fn wrong_type(&mut self, path: &Path<'_>, expected: &str, found: &Value) {
        let name = path.text();
        let shown = quoted(found);
        let detail =
            format!("Invalid value: {found}: {name} in body must be of type {expected}: {shown}");
        self.errors.push(FieldError {
            field: named(name),
            reason: CauseReason::FieldValueTypeInvalid,
            detail,
        });
    }

    fn of_type(&mut self, schema: &Schema, value: &Value, path: &Path<'_>) {
        let fits = match (schema.ty, value) {
            (None, Value::Null) => schema.nullable || !schema.int_or_string,
            (Some(_), Value::Null) => schema.nullable,
            (None, _) if schema.int_or_string => is_integer(value) || value.is_string(),
            (None, _)
            | (Some(Type::Object), Value::Object(_))
            | (Some(Type::Array), Value::Array(_))
            | (Some(Type::String), Value::String(_))
            | (Some(Type::Boolean), Value::Bool(_))
            | (Some(Type::Number), Value::Number(_)) => true,
            (Some(Type::Integer), value) => is_integer(value),
            (Some(_), _) => false,
        };
        if !fits {
            let expected = schema.ty.map_or("integer,string", Type::name);
            self.wrong_type(path, expected, &type_of(value).into());
        }
    }

    fn allowed(&mut self, limits: &Limits, value: &Value, path: &Path<'_>) {
        if limits.allowed.is_empty() || limits.allowed.iter().any(|allowed| same(allowed, value)) {
            return;
        }
        let list: Vec<String> = limits.allowed.iter().map(quoted).collect();
        self.errors.push(FieldError {
            field: named(path.text()),
            reason: CauseReason::FieldValueNotSupported,
            detail: format!(
                "Unsupported value: {value}: supported values: {}",
                list.join(", ")
            ),
        });
    }

    fn limits(&mut self, limits: &Limits, schema: &Schema, value: &Value, path: &Path<'_>) {
        match value {
            Value::String(text) => self.text(limits, text, path),
            Value::Number(number) => self.number(limits, number, path),
            Value::Array(items) => self.length(limits, items, path),
            Value::Object(map) => self.keys(limits, map, path),
            Value::Null | Value::Bool(_) => {}
        }
        let numeric = matches!(schema.ty, Some(Type::Integer | Type::Number));
        if let Some(format) = &limits.format
            && !formats::accepts(format, value, numeric)
        {
            self.wrong_type(path, format, value);
        }
    }

    fn text(&mut self, limits: &Limits, text: &str, path: &Path<'_>) {
        let length = text.chars().count() as u64;
        if let Some(max) = limits.max_length
            && length > max
        {
            self.errors.push(FieldError {
                field: named(path.text()),
                reason: CauseReason::FieldValueTooLong,
                detail: format!("Too long: may not be more than {max} bytes"),
            });
        }
        if let Some(min) = limits.min_length
            && length < min
        {
            self.invalid(
                path,
                &text.into(),
                &format!("should be at least {min} chars long"),
            );
        }
        if let Some((written, pattern)) = &limits.pattern
            && !pattern.is_match(text)
        {
            self.invalid(path, &text.into(), &format!("should match '{written}'"));
        }
    }

    fn number(&mut self, limits: &Limits, number: &serde_json::Number, path: &Path<'_>) {
        let Some(value) = number.as_f64() else { return };
        let shown = Value::Number(number.clone());
        if let Some(factor) = limits.multiple_of
            && (value / factor).fract() != 0.0
        {
            self.invalid(path, &shown, &format!("should be a multiple of {factor}"));
        }
        match limits.maximum {
            Some((max, true)) if value >= max => {
                self.invalid(path, &shown, &format!("should be less than {max}"));
            }
            Some((max, false)) if value > max => {
                self.invalid(
                    path,
                    &shown,
                    &format!("should be less than or equal to {max}"),
                );
            }
            Some(_) | None => {}
        }
        match limits.minimum {
            Some((min, true)) if value <= min => {
                self.invalid(path, &shown, &format!("should be greater than {min}"));
            }
            Some((min, false)) if value < min => {
                self.invalid(
                    path,
                    &shown,
                    &format!("should be greater than or equal to {min}"),
                );
            }
            Some(_) | None => {}
        }
    }

    fn length(&mut self, limits: &Limits, items: &[Value], path: &Path<'_>) {
        let count = items.len() as u64;
        if let Some(min) = limits.min_items
            && count < min
        {
            self.invalid(
                path,
                &count.into(),
                &format!("should have at least {min} items"),
            );
        }
        if let Some(max) = limits.max_items
            && count > max
        {
            self.too_many(path, count, max);
        }
        let mut seen = BTreeSet::new();
        if limits.unique && !items.iter().all(|item| seen.insert(item.to_string())) {
            self.invalid(
                path,
                &Value::Array(items.to_vec()),
                "shouldn't contain duplicates",
            );
        }
    }

    fn keys(&mut self, limits: &Limits, map: &Map<String, Value>, path: &Path<'_>) {
        let count = map.len() as u64;
        if let Some(min) = limits.min_properties
            && count < min
        {
            self.invalid(
                path,
                &count.into(),
                &format!("should have at least {min} properties"),
            );
        }
        if let Some(max) = limits.max_properties
            && count > max
        {
            self.too_many(path, count, max);
        }
        for name in &limits.required {
            if !map.contains_key(name) {
                self.errors
                    .push(FieldError::required(path.key(name).text(), ""));
            }
        }
    }

    fn too_many(&mut self, path: &Path<'_>, count: u64, max: u64) {
        self.errors.push(FieldError {
            field: named(path.text()),
            reason: CauseReason::FieldValueTooMany,
            detail: format!("Too many: {count}: must have at most {max} items"),
        });
    }

    fn object(
        &mut self,
        schema: &Schema,
        map: &Map<String, Value>,
        old: Option<&Value>,
        path: &Path<'_>,
    ) {
        if schema.embedded {
            self.embedded(map, path);
        }
        for (key, value) in map {
            if let Some(below) = schema.key(key) {
                let old = old.and_then(|old| old.get(key));
                self.value(below, value, old, &path.key(key));
            }
        }
    }

    /// An object inside an object says what it is.
    fn embedded(&mut self, map: &Map<String, Value>, path: &Path<'_>) {
        for key in ["apiVersion", "kind"] {
            let empty = map
                .get(key)
                .is_none_or(|v| v.as_str().is_some_and(str::is_empty));
            if empty {
                let field = path.key(key).text();
                self.errors
                    .push(FieldError::required(field, "must not be empty"));
            }
        }
    }

    fn array(&mut self, schema: &Schema, items: &[Value], old: Option<&Value>, path: &Path<'_>) {
        let before = Before::of(schema, old);
        if let Some(below) = &schema.items {
            for (index, item) in items.iter().enumerate() {
                self.value(below, item, before.find(schema, item), &path.index(index));
            }
        }
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let identity = match &schema.list {
                ListKind::Atomic => return,
                ListKind::Set => item.clone(),
                ListKind::Map(keys) => identity(keys, item),
            };
            if !seen.insert(identity.to_string()) {
                let field = path.index(index).text();
                self.errors.push(FieldError::duplicate(field, &identity));
            }
        }
    }
}

/// The elements of a list's old value by their keys; empty unless the list has keys.
struct Before<'v>(BTreeMap<String, &'v Value>);

impl<'v> Before<'v> {
    fn of(schema: &Schema, old: Option<&'v Value>) -> Self {
        let (ListKind::Map(keys), Some(Value::Array(items))) = (&schema.list, old) else {
            return Self(BTreeMap::new());
        };
        let items = items
            .iter()
            .map(|item| (identity(keys, item).to_string(), item));
        Self(items.collect())
    }

    fn find(&self, schema: &Schema, item: &Value) -> Option<&'v Value> {
        match &schema.list {
            ListKind::Map(keys) if !self.0.is_empty() => {
                self.0.get(&identity(keys, item).to_string()).copied()
            }
            ListKind::Map(_) | ListKind::Set | ListKind::Atomic => None,
        }
    }
}

/// The keys of a list element with their values.
fn identity(keys: &[String], item: &Value) -> Value {
    let present = keys
        .iter()
        .filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Value::Object(present.collect())
}

/// Upstream's word for the path of the whole object.
pub(super) fn named(path: String) -> String {
    if path.is_empty() {
        "<nil>".to_owned()
    } else {
        path
    }
}

/// Whether a value is a whole number, however it is written.
pub(super) fn is_integer(value: &Value) -> bool {
    match value {
        Value::Number(number) if number.is_f64() => number
            .as_f64()
            .is_some_and(|n| n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0),
        Value::Number(_) => true,
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            false
        }
    }
}

/// A value in quotes, texts as they are and others as JSON.
fn quoted(value: &Value) -> String {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), ToOwned::to_owned);
    format!("{text:?}")
}

/// Equality that takes 1 and 1.0 for the same.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => left == right,
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
