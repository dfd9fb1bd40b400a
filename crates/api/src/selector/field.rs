//! Field selectors: `metadata.name=x,status.phase!=Running`.

use crate::status::ApiError;
use std::fmt;

/// One condition of a field selector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field's label, e.g. `spec.nodeName`.
    pub field: String,
    /// The value to compare with.
    pub value: String,
    /// Whether the field must differ from the value instead of equalling it.
    pub negated: bool,
}

impl FieldRequirement {
    /// Whether a field with this value (absent: empty) meets the condition.
    pub fn matches(&self, value: &str) -> bool {
        (value == self.value) != self.negated
    }
}

/// All of its requirements must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Parses `a=b,c==d,e!=f`; a backslash escapes `,`, `=` and itself in values.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let (field, rest, negated) = split_operator(term).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                ))
            })?;
            let value = unescape(rest).map_err(|why| {
                ApiError::bad_request(format!("invalid field selector {text:?}: {why}"))
            })?;
            requirements.push(FieldRequirement {
                field: field.to_owned(),
                value,
                negated,
            });
        }
        Ok(Self { requirements })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Its conditions, as written.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldRequirement> {
        self.requirements.iter()
    }

    /// Whether all conditions hold, given the value of each field (absent: empty).
    pub fn matches<'a>(&self, mut value_of: impl FnMut(&str) -> &'a str) -> bool {
        self.requirements
            .iter()
            .all(|r| r.matches(value_of(&r.field)))
    }
}

impl<'a> IntoIterator for &'a FieldSelector {
    type Item = &'a FieldRequirement;
    type IntoIter = std::slice::Iter<'a, FieldRequirement>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, r) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let operator = if r.negated { "!=" } else { "=" };
            let value = r
                .value
                .replace('\\', "\\\\")
                .replace(',', "\\,")
                .replace('=', "\\=");
            write!(f, "{comma}{}{operator}{value}", r.field)?;
        }
        Ok(())
    }
}

/// Splits at commas that no backslash escapes.
fn split_terms(text: &str) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    text.split(move |c| {
        let separates = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        separates
    })
}

fn split_operator(term: &str) -> Option<(&str, &str, bool)> {
    let at = term.find(['=', '!'])?;
    let (field, rest) = term.split_at(at);
    if let Some(value) = rest.strip_prefix("!=") {
        return Some((field, value, true));
    }
    let value = rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?;
    Some((field, value, false))
}

fn unescape(text: &str) -> Result<String, String> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => value.push(next),
                Some(other) => return Err(format!("invalid escape sequence '\\{other}'")),
                None => return Err("incomplete escape sequence".to_owned()),
            },
            '=' => return Err("unescaped '='".to_owned()),
            other => value.push(other),
        }
    }
    Ok(value)
}
