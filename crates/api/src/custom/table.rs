//! `kubectl get` of custom resources: the columns of `additionalPrinterColumns`.

use super::jsonpath::JsonPath;
use crate::kind::Column;
use crate::meta;
use crate::print;
use jiff::Timestamp;
use serde_json::Value;

/// One column after the name.
#[derive(Debug, Clone)]
pub struct PrinterColumn {
    /// Heading, type, format and priority.
    pub column: Column,
    /// What it shows.
    pub path: JsonPath,
}

impl PrinterColumn {
    /// The columns of a version; the age where it names none.
    pub(super) fn of(version: &Value) -> Vec<Self> {
        let columns = meta::list(version, &["additionalPrinterColumns"]);
        if columns.is_empty() {
            return Self::read(&serde_json::json!({
                "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp",
                "description": "How long ago the object was created.",
            }))
            .into_iter()
            .collect();
        }
        columns.iter().filter_map(Self::read).collect()
    }

    fn read(column: &Value) -> Option<Self> {
        let text = |key: &str| meta::text(column, &[key]).to_owned();
        let priority = meta::integer(column, &["priority"]).unwrap_or_default();
        Some(Self {
            path: JsonPath::parse(&text("jsonPath")).ok()?,
            column: Column {
                name: text("name").into(),
                kind: text("type").into(),
                format: text("format").into(),
                priority: i32::try_from(priority).unwrap_or_default(),
                description: match text("description") {
                    said if said.is_empty() => format!("The field at {}.", text("jsonPath")).into(),
                    said => said.into(),
                },
            },
        })
    }

    /// The cell of an object; null where there is nothing to show.
    pub(super) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.find(object);
        let Some(value) = found.first() else {
            return Value::Null;
        };
        match (self.column.kind.as_ref(), value) {
            ("string", Value::String(text)) => text.as_str().into(),
            ("string", Value::Null) => "<nil>".into(),
            ("string", other) => other.to_string().into(),
            ("integer", Value::Number(number)) => whole(number),
            ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => (*value).clone(),
            ("date", Value::String(text)) => {
                if text.parse::<Timestamp>().is_ok() {
                    print::since(Some(value), now).into()
                } else {
                    "<invalid>".into()
                }
            }
            (_, _) => Value::Null,
        }
    }
}

/// A number without its fraction.
fn whole(number: &serde_json::Number) -> Value {
    if number.is_i64() || number.is_u64() {
        return Value::Number(number.clone());
    }
    #[expect(
        clippy::cast_possible_truncation,
        reason = "upstream cuts the fraction off; casts saturate"
    )]
    let cut = number.as_f64().unwrap_or_default() as i64;
    cut.into()
}
