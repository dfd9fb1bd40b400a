//! Requirements on labels, for selectors of nodes, of pods and of namespaces.

use std::collections::BTreeMap;

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operator {
    /// The value is one of the listed.
    In,
    /// The value is none of the listed; an absent label matches.
    NotIn,
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
    /// The value, as an integer, is greater (nodes only).
    Gt,
    /// The value, as an integer, is less (nodes only).
    Lt,
}

impl Operator {
    /// As manifests write it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::In => "In",
            Self::NotIn => "NotIn",
            Self::Exists => "Exists",
            Self::DoesNotExist => "DoesNotExist",
            Self::Gt => "Gt",
            Self::Lt => "Lt",
        }
    }

    /// The operator of this name, as manifests write it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "In" => Self::In,
            "NotIn" => Self::NotIn,
            "Exists" => Self::Exists,
            "DoesNotExist" => Self::DoesNotExist,
            "Gt" => Self::Gt,
            "Lt" => Self::Lt,
            _ => return None,
        })
    }
}

/// One requirement on a label or field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// Label key (or `metadata.name` for a field).
    pub key: String,
    /// The comparison.
    pub operator: Operator,
    /// What is compared with.
    pub values: Vec<String>,
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, values, .. } = self;
        let list = values.join(",");
        match self.operator {
            Operator::In if values.len() == 1 => write!(f, "{key}={list}"),
            Operator::In => write!(f, "{key} in ({list})"),
            Operator::NotIn => write!(f, "{key} notin ({list})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Gt => write!(f, "{key}>{list}"),
            Operator::Lt => write!(f, "{key}<{list}"),
        }
    }
}

impl Requirement {
    /// `key` has exactly this value.
    pub fn equals(key: &str, value: &str) -> Self {
        Self {
            key: key.to_owned(),
            operator: Operator::In,
            values: vec![value.to_owned()],
        }
    }

    /// Whether a label with this value (`None` = absent) satisfies the requirement.
    pub fn holds(&self, value: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = || self.values.first().and_then(|v| number(v));
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => value
                .and_then(number)
                .zip(bound())
                .is_some_and(|(v, b)| v > b),
            Operator::Lt => value
                .and_then(number)
                .zip(bound())
                .is_some_and(|(v, b)| v < b),
        }
    }
}

/// A label selector: all requirements must hold, so an empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LabelSelector {
    /// `matchLabels` and `matchExpressions` alike.
    pub requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Selects what carries all these labels.
    pub fn of_labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        Self {
            requirements: labels
                .into_iter()
                .map(|(key, value)| Requirement::equals(key, value))
                .collect(),
        }
    }

    /// Whether these labels are selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements
            .iter()
            .all(|r| r.holds(labels.get(&r.key).map(String::as_str)))
    }
}
