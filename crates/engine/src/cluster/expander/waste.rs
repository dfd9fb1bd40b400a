//! How much of new nodes would stay unused.

use super::Candidate;

/// Unused shares, 0–1 (below zero where more is asked for than there is).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waste {
    /// Of CPU.
    pub cpu: f64,
    /// Of memory.
    pub memory: f64,
}

impl Waste {
    /// What options are compared by.
    pub fn sum(&self) -> f64 {
        self.cpu + self.memory
    }
}

impl std::fmt::Display for Waste {
    /// Upstream's words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |share: f64| 100.0 * share;
        write!(
            f,
            "would waste {:.2}% CPU, {:.2}% Memory, {:.2}% Blended",
            percent(self.cpu),
            percent(self.memory),
            percent(self.sum() / 2.0)
        )
    }
}

/// The shares of the nodes' capacity that the pods leave.
///
/// Parity: capacity, not allocatable, and what daemons take counts as waste.
#[expect(
    clippy::cast_precision_loss,
    reason = "Parity: computed in floating point"
)]
pub fn waste(option: &Candidate<'_>) -> Waste {
    let capacity = option.group.template.as_ref().map(|t| &t.capacity);
    let nodes = i64::try_from(option.nodes).unwrap_or(i64::MAX);
    let unused = |each: i64, wanted: i64| {
        let there = each.saturating_mul(nodes);
        if there == 0 {
            return 0.0;
        }
        there.saturating_sub(wanted) as f64 / there as f64
    };
    let of = |amount: fn(&crate::placement::Resources) -> i64| {
        unused(capacity.map_or(0, amount), amount(option.requests))
    };
    Waste {
        cpu: of(|resources| resources.cpu_milli),
        memory: of(|resources| resources.memory_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::{group, template};
    use crate::placement::Resources;
    use rstest::rstest;

    #[rstest]
    #[case::small(2000, 4, 5, "would waste 25.00% CPU, 62.50% Memory, 43.75% Blended")]
    #[case::big(8000, 32, 1, "would waste 6.25% CPU, 76.56% Memory, 41.41% Blended")]
    fn the_live_run_of_two_groups(
        #[case] cpu: i64,
        #[case] gib: i64,
        #[case] nodes: usize,
        #[case] said: &str,
    ) {
        let group = group("ng", (0, 10), template("n", cpu, gib << 30));
        let requests = Resources::of(15 * 500, (15 * 512) << 20);
        let option = Candidate {
            group: &group,
            nodes,
            pods: 15,
            requests: &requests,
        };
        assert_eq!(waste(&option).to_string(), said);
    }
}
