//! Terms of node selectors, in the words of placement.

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};
use plimsoll_engine::placement::{NodeTerm, Operator, Requirement};

/// A term as written. One with a requirement that placement does not know matches nothing, like an
/// empty one.
pub(crate) fn node_term(wire: NodeSelectorTerm) -> NodeTerm {
    let all = |wire: Option<Vec<_>>| wire.into_iter().flatten().map(requirement).collect();
    let labels: Option<Vec<_>> = all(wire.match_expressions);
    let fields: Option<Vec<_>> = all(wire.match_fields);
    match (labels, fields) {
        (Some(labels), Some(fields)) => NodeTerm { labels, fields },
        _ => NodeTerm::default(),
    }
}

fn requirement(wire: NodeSelectorRequirement) -> Option<Requirement> {
    Some(Requirement {
        key: wire.key,
        operator: Operator::named(&wire.operator)?,
        values: wire.values.unwrap_or_default(),
    })
}
