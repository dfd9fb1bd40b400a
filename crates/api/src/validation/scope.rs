//! A value together with its path, so that checks read like the field they check.

use crate::meta;
use crate::status::FieldError;
use plimsoll_quantity::Quantity;
use serde_json::Value;

static NULL: Value = Value::Null;

/// One field of the object under validation.
#[derive(Debug, Clone)]
pub(super) struct Scope<'a> {
    pub(super) path: String,
    pub(super) value: &'a Value,
}

pub(super) type Errors = Vec<FieldError>;

impl<'a> Scope<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self {
            path: String::new(),
            value,
        }
    }

    /// A nested field; null where it is absent.
    pub(super) fn at(&self, key: &str) -> Scope<'a> {
        Scope {
            path: self.join(key),
            value: self.value.get(key).unwrap_or(&NULL),
        }
    }

    /// A field several levels down.
    pub(super) fn path(&self, keys: &[&str]) -> Scope<'a> {
        keys.iter().fold(self.clone(), |scope, key| scope.at(key))
    }

    /// The elements of a list.
    pub(super) fn items(&self, key: &str) -> Vec<Scope<'a>> {
        let path = self.join(key);
        let list = meta::list(self.value, &[key]).iter().enumerate();
        list.map(|(index, value)| Scope {
            path: format!("{path}[{index}]"),
            value,
        })
        .collect()
    }

    /// The entries of a map, each under `path[key]`.
    pub(super) fn entries(&self) -> Vec<(&'a str, Scope<'a>)> {
        let map = self.value.as_object().into_iter().flatten();
        map.map(|(key, value)| {
            (
                key.as_str(),
                Scope {
                    path: format!("{}[{key}]", self.path),
                    value,
                },
            )
        })
        .collect()
    }

    pub(super) fn present(&self) -> bool {
        !self.value.is_null()
    }

    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    pub(super) fn integer(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Absent, null, or an empty text, list or map.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    pub(super) fn invalid(&self, why: impl std::fmt::Display) -> FieldError {
        FieldError::invalid(self.path.clone(), self.value, why)
    }

    /// Like [`Scope::invalid`], showing an absent text as an empty one.
    pub(super) fn invalid_text(&self, why: &str) -> FieldError {
        FieldError::invalid(self.path.clone(), &self.text().into(), why)
    }

    pub(super) fn required(&self, why: &str) -> FieldError {
        FieldError::required(self.path.clone(), why)
    }

    pub(super) fn forbidden(&self, why: &str) -> FieldError {
        FieldError::forbidden(self.path.clone(), why)
    }

    pub(super) fn duplicate(&self) -> FieldError {
        FieldError::duplicate(self.path.clone(), self.value)
    }

    pub(super) fn one_of(&self, allowed: &[&str], errors: &mut Errors) {
        if !allowed.contains(&self.text()) {
            let value = if self.value.is_null() {
                Value::from("")
            } else {
                self.value.clone()
            };
            errors.push(FieldError::not_supported(
                self.path.clone(),
                &value,
                allowed,
            ));
        }
    }

    pub(super) fn require(&self, errors: &mut Errors) -> bool {
        if self.is_empty() {
            errors.push(self.required(""));
        }
        !self.is_empty()
    }

    pub(super) fn not_negative(&self, errors: &mut Errors) {
        if self.integer().is_some_and(|number| number < 0) {
            errors.push(self.invalid("must be greater than or equal to 0"));
        }
    }

    pub(super) fn port(&self, errors: &mut Errors) {
        if !(1..=65_535).contains(&self.integer().unwrap_or_default()) {
            let value = if self.value.is_null() {
                Value::from(0)
            } else {
                self.value.clone()
            };
            let why = "must be between 1 and 65535, inclusive";
            errors.push(FieldError::invalid(self.path.clone(), &value, why));
        }
    }

    pub(super) fn name(&self, rule: fn(&str) -> Result<(), String>, errors: &mut Errors) {
        if let Err(why) = rule(self.text()) {
            errors.push(self.invalid(why));
        }
    }

    /// A port by number or by name.
    pub(super) fn port_or_name(&self, errors: &mut Errors) {
        if self.value.is_string() {
            self.port_name(errors);
        } else {
            self.port(errors);
        }
    }

    pub(super) fn port_name(&self, errors: &mut Errors) {
        let text = self.text();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 15 {
            errors.push(self.invalid("must be no more than 15 characters"));
        }
        if !text.chars().all(plain) {
            let why = "must contain only alphanumeric characters (a-z, 0-9), and hyphens ('-')";
            errors.push(self.invalid(why));
        }
        if !text.chars().any(|c| c.is_ascii_lowercase()) {
            errors.push(self.invalid("must contain at least one letter (a-z)"));
        }
        if text.contains("--") {
            errors.push(self.invalid("must not contain consecutive hyphens"));
        }
        if text.starts_with('-') || text.ends_with('-') {
            errors.push(self.invalid("must not begin or end with a hyphen"));
        }
    }

    /// The quantity, if it is one; numbers are quantities too.
    pub(super) fn quantity(&self) -> Option<Quantity> {
        match self.value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.to_string().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// Refuses any change against the stored object.
    pub(super) fn unchanged(&self, old: &Scope<'_>, errors: &mut Errors) {
        if !same(self.value, old.value) {
            errors.push(self.invalid("field is immutable"));
        }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// Equality that takes null, absent and empty for the same, as upstream's semantic equality does.
pub(super) fn same(left: &Value, right: &Value) -> bool {
    let empty = |value: &Value| Scope::root(value).is_empty();
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let covered = |a: &serde_json::Map<String, Value>,
                           b: &serde_json::Map<String, Value>| {
                a.iter()
                    .all(|(key, value)| same(value, b.get(key).unwrap_or(&NULL)))
            };
            covered(a, b) && covered(b, a)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        _ => left == right || (empty(left) && empty(right)),
    }
}
