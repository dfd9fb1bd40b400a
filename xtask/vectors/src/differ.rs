//! What differs between a recording and our answer.

use serde::Serialize;
use serde_json::{Map, Value};

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Difference {
    /// Which field.
    pub(crate) field: String,
    /// As recorded.
    pub(crate) wanted: Value,
    /// Ours.
    pub(crate) got: Value,
}

/// Everything that differs in one vector.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) differences: Vec<Difference>,
    /// Our way to the answer, one sentence a step.
    pub(crate) trace: Vec<String>,
}

impl Outcome {
    /// Compares one field.
    pub(crate) fn check(
        &mut self,
        field: impl Into<String>,
        got: impl Into<Value>,
        wanted: &Value,
    ) {
        let got = got.into();
        if got != *wanted {
            self.differences.push(Difference {
                field: field.into(),
                wanted: wanted.clone(),
                got,
            });
        }
    }

    /// Compares one field if the recording has it.
    pub(crate) fn check_given(&mut self, field: &str, got: impl Into<Value>, expected: &Value) {
        if let Some(wanted) = expected.get(field) {
            self.check(field, got, wanted);
        }
    }

    /// Compares a list; one that is not recorded was empty.
    pub(crate) fn check_list(&mut self, field: &str, got: Vec<Value>, expected: &Value) {
        let empty = Value::Array(Vec::new());
        let wanted = expected.get(field).filter(|list| !list.is_null());
        self.check(field, got, wanted.unwrap_or(&empty));
    }

    /// Compares objects field by field, so that the report names the field.
    pub(crate) fn check_tree(&mut self, field: &str, got: &Value, wanted: &Value) {
        match (got, wanted) {
            (Value::Object(got), Value::Object(wanted)) => {
                for key in keys(got, wanted) {
                    let of = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                    let absent = got.contains_key(key) != wanted.contains_key(key);
                    let path = format!("{field}.{key}");
                    if absent {
                        self.differ(path, of(got), of(wanted));
                    } else {
                        self.check_tree(&path, &of(got), &of(wanted));
                    }
                }
            }
            (Value::Array(got), Value::Array(wanted)) if got.len() == wanted.len() => {
                for (index, (got, wanted)) in got.iter().zip(wanted).enumerate() {
                    self.check_tree(&format!("{field}[{index}]"), got, wanted);
                }
            }
            _ => self.check(field, got.clone(), wanted),
        }
    }

    fn differ(&mut self, field: String, got: Value, wanted: Value) {
        self.differences.push(Difference { field, wanted, got });
    }
}

/// The keys of both, those of `got` first.
fn keys<'a>(got: &'a Map<String, Value>, wanted: &'a Map<String, Value>) -> Vec<&'a String> {
    let more = wanted.keys().filter(|key| !got.contains_key(*key));
    got.keys().chain(more).collect()
}

#[cfg(test)]
mod tests {
    use super::Outcome;
    use serde_json::json;

    #[test]
    fn a_tree_is_compared_leaf_by_leaf() {
        let mut outcome = Outcome::default();
        let got = json!({"a": [1, {"b": 2}], "c": null, "d": 4});
        let wanted = json!({"a": [1, {"b": 3}], "d": 4, "e": 5});
        outcome.check_tree("spec", &got, &wanted);
        let fields: Vec<&str> = outcome.differences.iter().map(|d| &*d.field).collect();
        assert_eq!(fields, ["spec.a[1].b", "spec.c", "spec.e"]);
    }
}
