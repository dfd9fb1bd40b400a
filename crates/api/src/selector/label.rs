//! Label selectors: `app=web,tier in (a,b),!canary`.

use super::parse::parse;
use crate::names;
use crate::status::ApiError;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// The operator of a label requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// The label has the value.
    Equals,
    /// The label is absent or has another value.
    NotEquals,
    /// The label has one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The label is an integer above the value.
    GreaterThan,
    /// The label is an integer below the value.
    LessThan,
}

/// One condition of a label selector.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// The operator.
    pub operator: Operator,
    /// The values, sorted.
    pub values: BTreeSet<String>,
}

impl LabelRequirement {
    pub(super) fn new(
        key: &str,
        operator: Operator,
        values: BTreeSet<String>,
    ) -> Result<Self, String> {
        names::is_qualified_name(key)
            .map_err(|why| format!("key: Invalid value: {key:?}: {why}"))?;
        match operator {
            Operator::Equals | Operator::NotEquals if values.len() != 1 => {
                return Err(
                    "values: Invalid value: exact-match compatibility requires one single value"
                        .into(),
                );
            }
            Operator::In | Operator::NotIn if values.is_empty() => {
                return Err(
                    "values: Invalid value: for 'in', 'notin' operators, values set can't be empty"
                        .into(),
                );
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                return Err(
                    "values: Invalid value: values set must be empty for exists and does not exist"
                        .into(),
                );
            }
            Operator::GreaterThan | Operator::LessThan
                if values.len() != 1 || values.iter().any(|v| v.parse::<i64>().is_err()) =>
            {
                return Err(
                    "values: Invalid value: for 'Gt', 'Lt' operators, the value must be an integer"
                        .into(),
                );
            }
            Operator::Equals
            | Operator::NotEquals
            | Operator::In
            | Operator::NotIn
            | Operator::Exists
            | Operator::DoesNotExist
            | Operator::GreaterThan
            | Operator::LessThan => {}
        }
        for value in &values {
            names::is_label_value(value)
                .map_err(|why| format!("values[0][{key}]: Invalid value: {value:?}: {why}"))?;
        }
        Ok(Self {
            key: key.to_owned(),
            operator,
            values,
        })
    }

    /// Whether an object whose label has this value (`None`: no such label) meets the condition.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = value.is_some_and(|v| self.values.contains(v));
        let compared = || {
            let label: i64 = value?.parse().ok()?;
            let bound: i64 = self.values.first()?.parse().ok()?;
            Some(label.cmp(&bound))
        };
        match self.operator {
            Operator::Equals | Operator::In => listed,
            Operator::NotEquals | Operator::NotIn => !listed,
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => compared().is_some_and(std::cmp::Ordering::is_gt),
            Operator::LessThan => compared().is_some_and(std::cmp::Ordering::is_lt),
        }
    }
}

impl fmt::Display for LabelRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let values = || {
            self.values
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(",")
        };
        match self.operator {
            Operator::Equals => write!(f, "{key}={}", values()),
            Operator::NotEquals => write!(f, "{key}!={}", values()),
            Operator::In => write!(f, "{key} in ({})", values()),
            Operator::NotIn => write!(f, "{key} notin ({})", values()),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{}", values()),
            Operator::LessThan => write!(f, "{key}<{}", values()),
        }
    }
}

/// All of its requirements must hold. Ordered by key; prints in upstream's canonical form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<LabelRequirement>,
    nothing: bool,
}

impl LabelSelector {
    /// Parses `app=web,tier in (a,b),!x`; the empty text selects everything.
    ///
    /// # Errors
    ///
    /// 400 `unable to parse requirement: …`.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        let requirements = parse(text)
            .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?;
        Ok(Self::of(requirements))
    }

    /// Reads `matchLabels` and `matchExpressions`. A null selects nothing, `{}` everything.
    ///
    /// # Errors
    ///
    /// 400 naming what is wrong with the key, operator or values.
    pub fn from_object(object: &Value) -> Result<Self, ApiError> {
        if object.is_null() {
            return Ok(Self {
                requirements: Vec::new(),
                nothing: true,
            });
        }
        requirements_of(object)
            .map(Self::of)
            .map_err(ApiError::bad_request)
    }

    fn of(mut requirements: Vec<LabelRequirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            requirements,
            nothing: false,
        }
    }

    /// Whether an object is selected; `label` answers the value of one of its labels.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(label(&r.key)))
    }

    /// Whether an object is selected by its `metadata.labels`.
    pub fn matches_object(&self, object: &Value) -> bool {
        let labels = crate::meta::at(object, &["metadata", "labels"]);
        self.matches(|key| labels?.get(key)?.as_str())
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    /// Its conditions, ordered by key.
    pub fn iter(&self) -> std::slice::Iter<'_, LabelRequirement> {
        self.requirements.iter()
    }
}

impl<'a> IntoIterator for &'a LabelSelector {
    type Item = &'a LabelRequirement;
    type IntoIter = std::slice::Iter<'a, LabelRequirement>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

fn requirements_of(object: &Value) -> Result<Vec<LabelRequirement>, String> {
    let mut requirements = Vec::new();
    for (key, value) in object
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let values = BTreeSet::from([value.as_str().unwrap_or_default().to_owned()]);
        requirements.push(LabelRequirement::new(key, Operator::Equals, values)?);
    }
    for expression in crate::meta::list(object, &["matchExpressions"]) {
        let operator = match crate::meta::text(expression, &["operator"]) {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(format!("{other:?} is not a valid label selector operator")),
        };
        let values = crate::meta::list(expression, &["values"]);
        let values = values
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let key = crate::meta::text(expression, &["key"]);
        requirements.push(LabelRequirement::new(key, operator, values)?);
    }
    Ok(requirements)
}
