//! Spreading new nodes over groups alike.

/// A group that may take new nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Its target.
    pub target: usize,
    /// Its maximum.
    pub max: usize,
}

/// New targets of groups alike after `nodes` more, in the order of the groups: each node goes to
/// the smallest group below its maximum, the first of equals.
///
/// What no group has room for is left out; the sum of the targets tells. Groups above their
/// maximum stay as they are.
pub fn balanced(groups: &[Share], nodes: usize) -> Vec<usize> {
    let mut targets: Vec<usize> = groups.iter().map(|group| group.target).collect();
    let mut left = nodes;
    while left > 0 {
        let open = || {
            targets
                .iter()
                .zip(groups)
                .filter(|(t, group)| **t < group.max)
        };
        let Some(lowest) = open().map(|(target, _)| *target).min() else {
            break;
        };
        // As many at a time as keep the lowest the lowest.
        let at_lowest = open().filter(|(target, _)| **target == lowest).count();
        let next = open()
            .map(|(target, _)| *target)
            .filter(|t| *t > lowest)
            .min();
        let bound = open()
            .filter(|(target, _)| **target == lowest)
            .map(|(_, group)| group.max)
            .min();
        let level = next.into_iter().chain(bound).min().unwrap_or(lowest + 1);
        let rise = (level - lowest).min(left / at_lowest);
        let mut odd = if rise == 0 { left } else { 0 };
        left -= if rise == 0 { left } else { rise * at_lowest };
        for (target, group) in targets.iter_mut().zip(groups) {
            if *target != lowest || *target >= group.max {
                continue;
            }
            let one = usize::from(rise == 0 && odd > 0);
            odd -= one;
            *target += rise + one;
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn shares(of: &[(usize, usize)]) -> Vec<Share> {
        let share = |(target, max): &(usize, usize)| Share {
            target: *target,
            max: *max,
        };
        of.iter().map(share).collect()
    }

    /// The rule as it is written, node by node.
    fn one_by_one(groups: &[Share], nodes: usize) -> Vec<usize> {
        let mut targets: Vec<usize> = groups.iter().map(|g| g.target).collect();
        for _ in 0..nodes {
            let open = (0..groups.len()).filter(|at| targets[*at] < groups[*at].max);
            let Some(smallest) = open.min_by_key(|at| targets[*at]) else {
                break;
            };
            targets[smallest] += 1;
        }
        targets
    }

    #[rstest]
    #[case::the_first_of_equals_gets_the_odd_one(&[(2, 10), (5, 10), (9, 10)], 10, &[9, 8, 9])]
    #[case::what_finds_no_room_is_dropped(&[(2, 4), (5, 7), (9, 10)], 10, &[4, 7, 10])]
    #[case::a_group_above_its_maximum_stays(&[(1, 3), (6, 3)], 1, &[2, 6])]
    #[case::nothing_to_spread(&[(1, 3)], 0, &[1])]
    fn spreads(#[case] of: &[(usize, usize)], #[case] nodes: usize, #[case] want: &[usize]) {
        assert_eq!(balanced(&shares(of), nodes), want);
    }

    proptest! {
        #[test]
        fn many_at_a_time_is_one_by_one(
            of in proptest::collection::vec((0usize..12, 0usize..15), 0..6),
            nodes in 0usize..60,
        ) {
            let groups = shares(&of);
            prop_assert_eq!(balanced(&groups, nodes), one_by_one(&groups, nodes));
        }
    }
}
