//! Node selectors and node affinity.

use super::selector::Requirement;
use std::collections::BTreeMap;

/// The one field node selectors know.
pub(super) const NAME_FIELD: &str = "metadata.name";

/// One term: all its requirements must hold. An empty term matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeTerm {
    /// Requirements on labels.
    pub labels: Vec<Requirement>,
    /// Requirements on fields (`metadata.name`).
    pub fields: Vec<Requirement>,
}

impl std::fmt::Display for NodeTerm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, requirement) in self.labels.iter().chain(&self.fields).enumerate() {
            let comma = if at == 0 { "" } else { ", " };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl NodeTerm {
    /// Whether a node with this name and these labels satisfies the term.
    pub fn matches(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.matches_by(name, |key| labels.get(key).map(String::as_str))
    }

    /// The same for labels that are looked up in this way.
    pub fn matches_by<'a>(&self, name: &str, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        if self.labels.is_empty() && self.fields.is_empty() {
            return false;
        }
        self.labels.iter().all(|r| r.holds(label(&r.key)))
            && self
                .fields
                .iter()
                .all(|r| r.key == NAME_FIELD && r.holds(Some(name)))
    }

    /// The node names the term is limited to, if it says so.
    fn names(&self) -> Option<&[String]> {
        let field = self.fields.iter().find(|r| r.key == NAME_FIELD)?;
        (field.operator == super::selector::Operator::In).then_some(&*field.values)
    }
}

/// A term that is liked, with its weight (1–100).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PreferredTerm {
    /// The weight.
    pub weight: i64,
    /// The term.
    pub term: NodeTerm,
}

/// `spec.affinity.nodeAffinity` (the scheduling-time part).
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeAffinity {
    /// One of these terms must match; `None` = no requirement, an empty list matches nothing.
    pub required: Option<Vec<NodeTerm>>,
    /// Terms that add to the score.
    pub preferred: Vec<PreferredTerm>,
}

impl NodeAffinity {
    /// Whether the required part admits the node.
    pub fn admits(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        self.required
            .as_ref()
            .is_none_or(|terms| terms.iter().any(|t| t.matches(name, labels)))
    }

    /// Whether every required term names its nodes (the pods of a DaemonSet), and this one is not
    /// among them. Upstream does not even look at such nodes.
    pub(super) fn names_only_others(&self, name: &str) -> bool {
        let Some(terms) = self.required.as_ref().filter(|terms| !terms.is_empty()) else {
            return false;
        };
        let named: Option<Vec<&[String]>> = terms.iter().map(NodeTerm::names).collect();
        named.is_some_and(|lists| !lists.iter().any(|list| list.iter().any(|n| n == name)))
    }
}
