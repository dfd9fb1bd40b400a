//! What decisions are asked about.

use crate::reach::Target;

/// An autoscaler, a node or a node group; or all of a kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// Kind, e.g. `HorizontalPodAutoscaler`.
    pub(super) kind: &'static str,
    /// Plural in paths of explanations.
    pub(super) plural: &'static str,
    pub(super) name: Option<String>,
    /// The path of the object, if it is one.
    pub(super) path: Option<String>,
    pub(super) namespaced: bool,
    /// Who explains it.
    pub(super) by: &'static str,
}

impl Subject {
    /// An autoscaler of pods.
    pub(super) fn scaler(target: &Target, namespace: &str) -> Self {
        let Target { kind, name } = target;
        Self {
            kind: kind.name(),
            plural: kind.plural(),
            path: name.as_ref().map(|name| kind.path(namespace, name)),
            name: name.clone(),
            namespaced: true,
            by: "horizontal autoscaler",
        }
    }

    /// A node.
    pub(super) fn node(name: Option<String>) -> Self {
        Self {
            kind: "Node",
            plural: "nodes",
            path: name.as_ref().map(|name| format!("/api/v1/nodes/{name}")),
            name,
            namespaced: false,
            by: "node autoscaler",
        }
    }

    /// A node group, which is no object.
    pub(super) fn group(name: Option<String>) -> Self {
        Self {
            kind: "NodeGroup",
            plural: "nodegroups",
            path: None,
            name,
            namespaced: false,
            by: "node autoscaler",
        }
    }
}
