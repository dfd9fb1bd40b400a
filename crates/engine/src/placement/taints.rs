//! Taints of nodes and what pods tolerate.

/// The taint that reports a cordoned node, tolerated like any other.
pub(super) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What a taint does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// No new pods.
    NoSchedule,
    /// New pods only if nothing better exists.
    PreferNoSchedule,
    /// No new pods, and running ones leave.
    NoExecute,
}

impl Effect {
    /// As it is written.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

/// A node's taint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
    /// Effect.
    pub effect: Effect,
}

impl std::fmt::Display for Taint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.value.is_empty() {
            write!(f, "{}:{}", self.key, self.effect.text())
        } else {
            write!(f, "{}={}:{}", self.key, self.value, self.effect.text())
        }
    }
}

/// How a toleration compares values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TolerationOperator {
    /// The value must be equal.
    Equal,
    /// Any value; with an empty key, any taint.
    Exists,
    /// The taint's value, as an integer, is greater.
    Gt,
    /// The taint's value, as an integer, is less.
    Lt,
}

/// A pod's toleration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Toleration {
    /// Key; empty with `Exists` tolerates everything.
    pub key: String,
    /// Comparison.
    pub operator: TolerationOperator,
    /// Value, for `Equal`.
    pub value: String,
    /// Effect; `None` = all effects.
    pub effect: Option<Effect>,
}

impl Toleration {
    /// Whether this toleration covers the taint.
    pub fn covers(&self, taint: &Taint) -> bool {
        if self.effect.is_some_and(|e| e != taint.effect) {
            return false;
        }
        let numbers = || {
            let taint = taint.value.parse::<i64>().ok()?;
            Some((taint, self.value.parse::<i64>().ok()?))
        };
        let same_key = self.key == taint.key;
        match self.operator {
            TolerationOperator::Exists => self.key.is_empty() || same_key,
            TolerationOperator::Equal => same_key && self.value == taint.value,
            TolerationOperator::Gt => same_key && numbers().is_some_and(|(t, v)| t > v),
            TolerationOperator::Lt => same_key && numbers().is_some_and(|(t, v)| t < v),
        }
    }
}

/// The first taint that keeps a pod with these tolerations away.
pub(super) fn untolerated<'a>(
    tolerations: &[Toleration],
    taints: &'a [Taint],
) -> Option<&'a Taint> {
    taints
        .iter()
        .filter(|taint| taint.effect != Effect::PreferNoSchedule)
        .find(|taint| !tolerations.iter().any(|t| t.covers(taint)))
}

/// How many soft taints are not tolerated. Only tolerations for all effects or for this one count.
pub(super) fn disliked(tolerations: &[Toleration], taints: &[Taint]) -> usize {
    taints
        .iter()
        .filter(|taint| taint.effect == Effect::PreferNoSchedule)
        .filter(|taint| !tolerations.iter().any(|t| t.covers(taint)))
        .count()
}
