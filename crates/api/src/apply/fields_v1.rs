//! FieldsV1: a set of paths as JSON.

use super::set::Set;
use super::step::Step;
use serde_json::{Map, Value};

/// FieldsV1 that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Something else where an object should be.
    #[error("fieldsV1 has a value that is no object at {0:?}")]
    NotAnObject(String),
    /// A key without a known prefix, or with a malformed rest.
    #[error("fieldsV1 has the malformed key {0:?}")]
    Key(String),
}

/// Reads FieldsV1 that anyone may have written.
///
/// # Errors
///
/// Malformed keys and values.
pub fn read(fields: &Value) -> Result<Set<'_>, Malformed> {
    read_with(fields, Step::parse)
}

/// Reads FieldsV1 that this program wrote.
///
/// # Errors
///
/// Malformed keys and values.
pub(super) fn read_own(fields: &Value) -> Result<Set<'_>, Malformed> {
    read_with(fields, Step::trusted)
}

fn read_with<'a>(
    fields: &'a Value,
    parse: fn(&'a str) -> Option<Step<'a>>,
) -> Result<Set<'a>, Malformed> {
    let map = fields
        .as_object()
        .ok_or_else(|| Malformed::NotAnObject(String::new()))?;
    let mut set = Set::default();
    set.children.reserve_exact(map.len());
    for (key, below) in map {
        if key == "." {
            set.member = true;
            continue;
        }
        let step = parse(key).ok_or_else(|| Malformed::Key(key.clone()))?;
        let map = below
            .as_object()
            .ok_or_else(|| Malformed::NotAnObject(key.clone()))?;
        let child = if map.is_empty() {
            Set::here()
        } else {
            read_with(below, parse)?
        };
        set.push(step, child);
    }
    set.tidy();
    Ok(set)
}

/// Writes FieldsV1.
pub fn write(set: &Set<'_>) -> Value {
    let own = set.member && !set.children.is_empty();
    let mut map = Map::with_capacity(set.children.len() + usize::from(own));
    if own {
        map.insert(".".to_owned(), Value::Object(Map::new()));
    }
    for (step, child) in &set.children {
        map.insert(step.text(), write(child));
    }
    Value::Object(map)
}
