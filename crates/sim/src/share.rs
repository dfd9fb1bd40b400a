//! How pods share their node's CPU.

/// What a pod would use of a node, and its weight when there is too little.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Demand {
    /// As much as it can use.
    pub(crate) wanted: f64,
    /// Its share of a scarce node relative to others, positive.
    pub(crate) weight: f64,
}

/// Divides `capacity` by weight; what one does not want goes to the others (max-min fairness).
pub(crate) fn divide(capacity: f64, demands: &[Demand]) -> Vec<f64> {
    let total: f64 = demands.iter().map(|demand| demand.wanted).sum();
    if total <= capacity {
        return demands.iter().map(|demand| demand.wanted).collect();
    }
    let mut order: Vec<(usize, Demand)> = demands.iter().copied().enumerate().collect();
    // Whoever is satisfied by the smallest share of all is served first.
    order.sort_by(|(_, a), (_, b)| (a.wanted / a.weight).total_cmp(&(b.wanted / b.weight)));
    let (mut left, mut weight): (f64, f64) =
        (capacity, demands.iter().map(|demand| demand.weight).sum());
    let mut given = vec![0.0; demands.len()];
    for (index, demand) in order {
        let fair = left * demand.weight / weight;
        let gets = demand.wanted.min(fair).max(0.0);
        if let Some(slot) = given.get_mut(index) {
            *slot = gets;
        }
        left -= gets;
        weight -= demand.weight;
    }
    given
}

#[cfg(test)]
mod tests {
    use super::{Demand, divide};
    use proptest::prelude::*;
    use rstest::rstest;

    fn demands(of: &[(f64, f64)]) -> Vec<Demand> {
        of.iter()
            .map(|&(wanted, weight)| Demand { wanted, weight })
            .collect()
    }

    #[rstest]
    #[case::enough(100.0, &[(10.0, 1.0), (20.0, 1.0)], &[10.0, 20.0])]
    #[case::even(30.0, &[(100.0, 1.0), (100.0, 1.0)], &[15.0, 15.0])]
    #[case::by_weight(30.0, &[(100.0, 2.0), (100.0, 1.0)], &[20.0, 10.0])]
    #[case::the_rest_goes_to_the_hungry(30.0, &[(100.0, 1.0), (5.0, 1.0)], &[25.0, 5.0])]
    #[case::nothing_there(0.0, &[(1.0, 1.0)], &[0.0])]
    #[case::nobody(5.0, &[], &[])]
    fn cpu_is_divided(#[case] capacity: f64, #[case] of: &[(f64, f64)], #[case] want: &[f64]) {
        assert_eq!(divide(capacity, &demands(of)), want);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_it_wants_nor_all_more_than_there_is(
            capacity in 0.0..1e4_f64,
            of in proptest::collection::vec((0.0..1e4_f64, 0.1..100.0_f64), 0..12),
        ) {
            let demands = demands(&of);
            let given = divide(capacity, &demands);
            prop_assert_eq!(given.len(), demands.len());
            for (gets, demand) in given.iter().zip(&demands) {
                prop_assert!(*gets >= 0.0 && *gets <= demand.wanted);
            }
            let (sum, wanted): (f64, f64) =
                (given.iter().sum(), demands.iter().map(|d| d.wanted).sum());
            prop_assert!((sum - capacity.min(wanted)).abs() < 1e-6);
        }
    }
}
