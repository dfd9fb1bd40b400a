//! How many new nodes an estimate may add.

use jiff::SignedDuration;

/// One bound: 0 says nothing, a negative one forbids everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Threshold {
    /// Nodes.
    pub nodes: i64,
    /// How long the estimate may take.
    pub duration: SignedDuration,
}

/// The tightest of several bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EstimateLimit {
    /// Nodes; `None` = without limit.
    pub nodes: Option<usize>,
    /// Duration; `None` = without limit.
    pub duration: Option<SignedDuration>,
}

impl EstimateLimit {
    /// Combines bounds.
    pub fn of(thresholds: &[Threshold]) -> Self {
        let forbidden = thresholds
            .iter()
            .any(|t| t.nodes < 0 || t.duration.is_negative());
        if forbidden {
            return Self {
                nodes: Some(0),
                duration: Some(SignedDuration::ZERO),
            };
        }
        let nodes = thresholds
            .iter()
            .map(|t| t.nodes)
            .filter(|nodes| *nodes > 0);
        let durations = thresholds.iter().map(|t| t.duration);
        Self {
            nodes: nodes.min().and_then(|nodes| usize::try_from(nodes).ok()),
            duration: durations.filter(SignedDuration::is_positive).min(),
        }
    }

    /// Whether one more node may be added to so many, after so long.
    pub fn permits(&self, added: usize, taken: SignedDuration) -> bool {
        self.nodes.is_none_or(|most| added < most)
            && self.duration.is_none_or(|longest| taken < longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn limit(of: &[(i64, i64)]) -> EstimateLimit {
        let thresholds: Vec<Threshold> = of
            .iter()
            .map(|(nodes, seconds)| Threshold {
                nodes: *nodes,
                duration: SignedDuration::from_secs(*seconds),
            })
            .collect();
        EstimateLimit::of(&thresholds)
    }

    #[rstest]
    #[case::no_bound(&[], None)]
    #[case::zero_says_nothing(&[(0, 0), (7, 0)], Some(7))]
    #[case::the_tightest(&[(9, 0), (7, 0)], Some(7))]
    #[case::a_negative_duration_forbids(&[(100, -1), (10, 3600)], Some(0))]
    #[case::negative_nodes_forbid(&[(-1, 0), (10, 0)], Some(0))]
    fn bounds_combine(#[case] of: &[(i64, i64)], #[case] nodes: Option<usize>) {
        let limit = limit(of);
        assert_eq!(limit.nodes, nodes);
        assert_eq!(limit.permits(0, SignedDuration::ZERO), nodes != Some(0));
    }

    #[test]
    fn time_runs_out() {
        let limit = limit(&[(0, 10)]);
        assert!(limit.permits(5000, SignedDuration::from_secs(9)));
        assert!(!limit.permits(1, SignedDuration::from_secs(10)));
    }
}
