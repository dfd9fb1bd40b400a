//! Node selectors and node affinity.

use std::collections::BTreeMap;

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of the listed.
    In,
    /// The value is none of the listed; an absent label matches.
    NotIn,
    /// The label exists.
    Exists,
    /// The label does not exist.
    DoesNotExist,
    /// The value, as an integer, is greater.
    Gt,
    /// The value, as an integer, is less.
    Lt,
}

/// One requirement on a node's label or field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Label key (or `metadata.name` for a field).
    pub key: String,
    /// The comparison.
    pub operator: Operator,
    /// What is compared with.
    pub values: Vec<String>,
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = self.values.first().and_then(|v| number(v));
        match self.operator {
            Operator::In => value.is_some_and(|v| self.values.iter().any(|w| w == v)),
            Operator::NotIn => !value.is_some_and(|v| self.values.iter().any(|w| w == v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => value
                .and_then(number)
                .zip(bound)
                .is_some_and(|(v, b)| v > b),
            Operator::Lt => value
                .and_then(number)
                .zip(bound)
                .is_some_and(|(v, b)| v < b),
        }
    }
}

/// One term: all its requirements must hold. An empty term matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeTerm {
    /// Requirements on labels.
    pub labels: Vec<Requirement>,
    /// Requirements on fields (`metadata.name`).
    pub fields: Vec<Requirement>,
}

impl NodeTerm {
    /// Whether a node with this name and these labels satisfies the term.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        self.labels
            .iter()
            .all(|r| r.holds(labels.get(&r.key).map(String::as_str)))
            && self
                .fields
                .iter()
                .all(|r| r.key == "metadata.name" && r.holds(Some(name)))
    }
}

/// A term that is liked, with its weight (1–100).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferredTerm {
    /// The weight.
    pub weight: i64,
    /// The term.
    pub term: NodeTerm,
}

/// `spec.affinity.nodeAffinity` (the scheduling-time part).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeAffinity {
    /// One of these terms must match; `None` = no requirement, an empty list matches nothing.
    pub required: Option<Vec<NodeTerm>>,
    /// Terms that add to the score.
    pub preferred: Vec<PreferredTerm>,
}
