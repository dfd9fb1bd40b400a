//! A value of a definition with its path.

use crate::meta;
use crate::status::FieldError;
use serde_json::Value;

static NULL: Value = Value::Null;

/// One field of the definition under validation.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    pub(super) path: String,
    pub(super) value: &'a Value,
}

impl<'a> Place<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        let path = String::new();
        Self { path, value }
    }

    /// A nested field; null where it is absent.
    pub(super) fn at(&self, key: &str) -> Place<'a> {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        let value = self.value.get(key).unwrap_or(&NULL);
        Place { path, value }
    }

    pub(super) fn path(&self, keys: &[&str]) -> Place<'a> {
        keys.iter().fold(self.clone(), |place, key| place.at(key))
    }

    /// An entry of a map.
    pub(super) fn entry(&self, key: &str) -> Place<'a> {
        Place {
            path: format!("{}[{key}]", self.path),
            value: self.value.get(key).unwrap_or(&NULL),
        }
    }

    /// The entries of a map.
    pub(super) fn entries(&self) -> Vec<(&'a str, Place<'a>)> {
        let map = self.value.as_object().into_iter().flatten();
        map.map(|(key, _)| (key.as_str(), self.entry(key)))
            .collect()
    }

    /// The elements of a list.
    pub(super) fn items(&self, key: &str) -> Vec<Place<'a>> {
        let path = self.at(key).path;
        let list = meta::list(self.value, &[key]).iter().enumerate();
        let item = |(index, value)| Place {
            path: format!("{path}[{index}]"),
            value,
        };
        list.map(item).collect()
    }

    pub(super) fn is_absent(&self) -> bool {
        self.value.is_null()
    }

    pub(super) fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    pub(super) fn invalid(&self, why: impl std::fmt::Display) -> FieldError {
        FieldError::invalid(self.path.clone(), self.value, why)
    }

    pub(super) fn required(&self, why: &str) -> FieldError {
        FieldError::required(self.path.clone(), why)
    }

    pub(super) fn forbidden(&self, why: &str) -> FieldError {
        FieldError::forbidden(self.path.clone(), why)
    }

    pub(super) fn one_of(&self, allowed: &[&str], errors: &mut Vec<FieldError>) {
        if !allowed.contains(&self.text()) {
            errors.push(FieldError::not_supported(
                self.path.clone(),
                self.value,
                allowed,
            ));
        }
    }
}
