//! Which objects a list, a watch or a deletecollection is about.

use super::write::stored_kind;
use crate::call::Call;
use crate::store::Entry;
use plimsoll_api::kind::{Kind, Text};
use plimsoll_api::kinds;
use plimsoll_api::selector::{FieldRequirement, FieldSelector, LabelSelector};
use plimsoll_api::status::ApiError;
use serde_json::Value;
use std::borrow::Cow;

/// Where a selectable field is found in an entry.
#[derive(Debug, Clone)]
enum Place {
    Name,
    Namespace,
    /// Position in the entry's index.
    Field(usize),
    /// A field of a custom kind.
    Custom(CustomField),
}

/// Definitions change, so the index only counts for objects written since.
#[derive(Debug, Clone)]
struct CustomField {
    path: Vec<Text>,
    index: Option<usize>,
    since: u64,
}

impl CustomField {
    fn value<'e>(&self, entry: &'e Entry) -> Cow<'e, str> {
        if let Some(index) = self.index
            && entry.revision > self.since
        {
            return entry.index.fields.get(index).map_or("", |f| f).into();
        }
        let object: Value = serde_json::from_slice(&entry.json).unwrap_or_default();
        kinds::field_value(&object, &self.path).into_owned().into()
    }
}

/// A parsed label and field selector.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    labels: LabelSelector,
    fields: Vec<(Place, FieldRequirement)>,
}

impl Filter {
    /// Reads the selectors of a request; a name in the path selects that object.
    pub(crate) fn parse(call: &Call) -> Result<Self, ApiError> {
        let labels = LabelSelector::parse(call.query.text("labelSelector"))?;
        let selector = FieldSelector::parse(call.query.text("fieldSelector"))?;
        let stored = stored_kind(&call.server, &call.kind);
        let mut fields = Vec::new();
        for requirement in &selector {
            let place = place(&call.kind, &stored, &requirement.field)?;
            fields.push((place, requirement.clone()));
        }
        if let Some(name) = &call.path.name {
            let field = "metadata.name".to_owned();
            let requirement = FieldRequirement {
                field,
                value: name.clone(),
                negated: false,
            };
            fields.push((Place::Name, requirement));
        }
        Ok(Self { labels, fields })
    }

    /// Whether it selects everything.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether it selects this object.
    pub(crate) fn matches(&self, entry: &Entry) -> bool {
        let by_field = self.fields.iter().all(|(place, requirement)| match place {
            Place::Name => requirement.matches(&entry.key.name),
            Place::Namespace => requirement.matches(&entry.key.namespace),
            Place::Field(index) => {
                requirement.matches(entry.index.fields.get(*index).map_or("", |f| f))
            }
            Place::Custom(field) => requirement.matches(&field.value(entry)),
        });
        by_field && (self.labels.is_empty() || self.labels.matches(|key| label(entry, key)))
    }
}

fn label<'a>(entry: &'a Entry, key: &str) -> Option<&'a str> {
    let labels = &entry.index.labels;
    let index = labels.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
    labels.get(index).map(|(_, value)| &**value)
}

fn place(kind: &Kind, stored: &Kind, field: &str) -> Result<Place, ApiError> {
    match field {
        "metadata.name" => return Ok(Place::Name),
        "metadata.namespace" => return Ok(Place::Namespace),
        _ => {}
    }
    // Paths are those of the stored form, so a label of another version finds its place by path.
    let path = kind
        .selectable
        .iter()
        .find(|(label, _)| label == field)
        .map(|(_, path)| path);
    if let Some(custom) = &kind.custom {
        let path = path.ok_or_else(|| unsupported(field))?;
        return Ok(Place::Custom(CustomField {
            index: custom.indexed.iter().position(|other| other == path),
            path: path.clone(),
            since: custom.since,
        }));
    }
    let index = path.and_then(|p| stored.selectable.iter().position(|(_, other)| other == p));
    index.map(Place::Field).ok_or_else(|| {
        if kind.selectable.is_empty() {
            ApiError::bad_request(format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            ))
        } else {
            unsupported(field)
        }
    })
}

fn unsupported(field: &str) -> ApiError {
    ApiError::bad_request(format!("field label not supported: {field}"))
}
