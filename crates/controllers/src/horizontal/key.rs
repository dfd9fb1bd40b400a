//! The name of an autoscaler among all kinds of autoscalers.

use crate::runtime::ObjectKey;
use std::fmt;

/// The kinds of objects that the horizontal autoscaler obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScalerKind {
    /// `HorizontalPodAutoscaler` of `autoscaling/v2`.
    Horizontal,
    /// `PodAutoscaler` of `plimsoll.dev/v1alpha1`.
    Pod,
}

impl ScalerKind {
    /// `apiVersion` of the kind.
    pub fn api_version(self) -> &'static str {
        match self {
            Self::Horizontal => "autoscaling/v2",
            Self::Pod => "plimsoll.dev/v1alpha1",
        }
    }

    /// Name of the kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Horizontal => "HorizontalPodAutoscaler",
            Self::Pod => "PodAutoscaler",
        }
    }
}

/// Kind, namespace and name of an autoscaler; orders by namespace, then name, then kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ScalerKey {
    /// Which kind.
    pub kind: ScalerKind,
    /// Namespace and name.
    pub object: ObjectKey,
}

impl ScalerKey {
    /// The key of a `HorizontalPodAutoscaler`.
    pub fn horizontal(object: ObjectKey) -> Self {
        Self {
            kind: ScalerKind::Horizontal,
            object,
        }
    }
}

impl Ord for ScalerKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.object
            .cmp(&other.object)
            .then_with(|| self.kind.cmp(&other.kind))
    }
}

impl PartialOrd for ScalerKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ScalerKey {
    /// Upstream knows one kind, so that one goes without saying.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind == ScalerKind::Horizontal {
            return self.object.fmt(f);
        }
        write!(f, "{} {}", self.kind.kind(), self.object)
    }
}
