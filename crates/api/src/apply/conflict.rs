//! Fields that others own.

use super::managers::Entry;
use super::set::Set;
use crate::status::ApiError;
use serde_json::json;

/// The fields of an applied configuration that other managers own with other values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conflicts(Vec<(String, Set<'static>)>);

impl Conflicts {
    pub(super) fn add(&mut self, entry: &Entry<'_>, fields: Set<'_>) {
        self.0.push((entry.label(), fields.into_owned()));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The conflicts about other fields than the `allowed` ones.
    #[must_use]
    pub fn without(&self, allowed: &Set<'static>) -> Self {
        let left = self
            .0
            .iter()
            .map(|(who, fields)| (who.clone(), fields.difference(allowed)));
        Self(left.filter(|(_, fields)| !fields.is_empty()).collect())
    }

    /// The refusal: 409 with one cause a field.
    pub fn to_error(&self) -> ApiError {
        let mut owners = self.0.clone();
        owners.sort_by(|(a, _), (b, _)| a.cmp(b));
        let owners: Vec<(String, Vec<String>)> = owners
            .into_iter()
            .map(|(who, fields)| (who, fields.paths()))
            .collect();
        let all = owners
            .iter()
            .flat_map(|(who, paths)| paths.iter().map(move |path| (who, path)));
        let causes: Vec<_> = all
            .clone()
            .map(|(who, path)| {
                json!({
                    "reason": "FieldManagerConflict", "message": format!("conflict with {who}"),
                    "field": path,
                })
            })
            .collect();
        let message = match all.collect::<Vec<_>>().as_slice() {
            [(who, path)] => format!("Apply failed with 1 conflict: conflict with {who}: {path}"),
            many => {
                let lines = owners.iter().map(|(who, paths)| {
                    let paths = paths.join(
                        "
- ",
                    );
                    format!("conflicts with {who}:\n- {paths}")
                });
                let lines: Vec<String> = lines.collect();
                let count = many.len();
                format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
            }
        };
        let mut error = ApiError::new(409, "Conflict", message);
        error.details = json!({"causes": causes});
        error
    }
}
