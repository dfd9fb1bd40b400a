//! Sizes of groups in machines, and what a change of so many machines is in the group's units.
//!
//! A group with weights (`WeightedCapacity`), or with a desired capacity in vCPUs or memory, has
//! sizes in units, and each machine counts for its weight. What AWS does with them: it launches
//! until the desired capacity is there, also if the last machine goes beyond it; it ends machines
//! only while the rest is at least the desired capacity.
//!
//! Here a machine that is not there yet is one of the least weight, as the template of such a group
//! is the smallest of its types: where larger ones come, fewer come, and hold as much.
//!
//! Departs: upstream takes the units for machines, so that those there seem to be too few, and the
//! group does not grow.

use super::model::{ScalingGroup, Units};

impl ScalingGroup {
    /// What a new machine counts for at least.
    fn step(&self) -> usize {
        match &self.units {
            Units::Weights { least, .. } => (*least).max(1),
            Units::Machines | Units::Lacking { .. } | Units::Unknown => 1,
        }
    }

    /// Units of the machines that count for the desired capacity.
    pub(crate) fn there(&self) -> usize {
        let active = self.machines.iter().filter(|m| m.phase.is_active());
        active.fold(0, |sum, machine| sum.saturating_add(machine.weight))
    }

    /// Units that are asked for and not there.
    fn lacking(&self) -> usize {
        if matches!(self.units, Units::Lacking { .. } | Units::Unknown) {
            // Nobody knows.
            return 0;
        }
        self.desired.saturating_sub(self.there())
    }

    /// How many machines are asked for and not there.
    pub(crate) fn missing(&self) -> usize {
        self.lacking().div_ceil(self.step())
    }

    /// How many machines there are to be.
    pub(crate) fn target(&self) -> usize {
        match &self.units {
            Units::Machines => self.desired,
            Units::Lacking { .. } | Units::Unknown => self.active(),
            // Those beyond the desired capacity are there to stay: AWS goes over it, never under.
            Units::Weights { .. } => self.active().saturating_add(self.missing()),
        }
    }

    /// Units that are asked for, or there beyond that because machines do not add up to it.
    pub(crate) fn asked(&self) -> usize {
        match &self.units {
            Units::Machines | Units::Lacking { .. } | Units::Unknown => self.desired,
            Units::Weights { .. } => self.desired.max(self.there()),
        }
    }

    /// Units of `places` machines that are not there.
    pub(crate) fn units_of(&self, places: usize) -> usize {
        places.saturating_mul(self.step()).min(self.lacking())
    }

    /// The desired capacity that brings `delta` machines more than there were to be `before`.
    /// Where somebody else raised it meanwhile, those machines do as well.
    pub(crate) fn grown(&self, before: &Self, delta: usize) -> usize {
        let base = self.asked().min(before.asked());
        let more = delta.saturating_mul(self.step());
        base.saturating_add(more).max(self.desired)
    }

    /// The smallest and the largest size in machines, where they are `bounds` in units: as many
    /// less than now as may go whichever they are, as many more as fit whatever comes.
    pub(crate) fn in_machines(&self, bounds: (usize, usize)) -> (usize, usize) {
        if !matches!(self.units, Units::Weights { .. }) {
            return bounds;
        }
        let (min, max) = bounds;
        let (target, asked) = (self.target(), self.asked());
        let room = max.saturating_sub(asked) / self.step();
        let spare = asked.saturating_sub(min);
        (
            target.saturating_sub(self.may_go(spare)),
            target.saturating_add(room),
        )
    }

    /// How many machines may go if they count for no more than `spare`, the largest first.
    fn may_go(&self, mut spare: usize) -> usize {
        let active = self.machines.iter().filter(|m| m.phase.is_active());
        let mut weights: Vec<usize> = active.map(|machine| machine.weight).collect();
        weights.extend(std::iter::repeat_n(self.step(), self.missing()));
        weights.sort_unstable_by(|a, b| b.cmp(a));
        let fits = |weight: &usize| {
            let left = spare.checked_sub(*weight);
            spare = left.unwrap_or(spare);
            left.is_some()
        };
        weights.into_iter().take_while(fits).count()
    }
}

#[cfg(test)]
mod tests {
    use crate::nodes::aws::fake::{group, weighted};
    use crate::nodes::aws::model::{Machine, Phase, ScalingGroup};
    use proptest::prelude::*;
    use rstest::rstest;

    /// A group of this desired capacity, whose new machines count for `least` or more, with
    /// machines of these weights.
    fn of(desired: usize, least: usize, weights: &[usize]) -> ScalingGroup {
        let machine = |(number, weight): (usize, &usize)| Machine {
            id: format!("i-{number}").into(),
            zone: "us-east-1a".into(),
            kind: None,
            phase: Phase::Serving,
            weight: *weight,
        };
        ScalingGroup {
            desired,
            units: weighted(least),
            machines: weights.iter().enumerate().map(machine).collect(),
            ..group("workers", desired)
        }
    }

    #[rstest]
    #[case::as_asked(of(8, 4, &[4, 4]), 2, 0)]
    #[case::one_comes(of(12, 4, &[4, 4]), 3, 1)]
    #[case::what_is_left_takes_a_machine(of(9, 4, &[4, 4]), 3, 1)]
    #[case::a_large_one_does_for_two(of(10, 2, &[8, 2]), 2, 0)]
    #[case::beyond_what_was_asked(of(5, 2, &[8]), 1, 0)]
    #[case::none_yet(of(7, 2, &[]), 4, 4)]
    fn counts_machines(#[case] group: ScalingGroup, #[case] target: usize, #[case] missing: usize) {
        assert_eq!((group.target(), group.missing()), (target, missing));
    }

    #[rstest]
    #[case::all_may_go(of(8, 4, &[4, 4]), (0, 16), (0, 4))]
    #[case::the_largest_might_go(of(10, 2, &[8, 2]), (2, 14), (1, 4))]
    #[case::not_even_one(of(10, 2, &[8, 2]), (3, 11), (2, 2))]
    #[case::beyond_what_was_asked(of(5, 2, &[8]), (0, 12), (0, 3))]
    #[case::those_to_come_may_go(of(12, 4, &[4]), (4, 12), (1, 3))]
    fn bounds_are_machines(
        #[case] group: ScalingGroup,
        #[case] units: (usize, usize),
        #[case] machines: (usize, usize),
    ) {
        assert_eq!(group.in_machines(units), machines);
    }

    #[rstest]
    #[case::from_what_is_asked(of(8, 4, &[4, 4]), of(8, 4, &[4, 4]), 1, 12)]
    #[case::from_what_is_there(of(5, 2, &[8]), of(5, 2, &[8]), 2, 12)]
    #[case::somebody_raised_it(of(8, 4, &[4, 4]), of(12, 4, &[4, 4]), 1, 12)]
    #[case::somebody_lowered_it(of(8, 4, &[4, 4]), of(4, 4, &[4]), 1, 8)]
    #[case::far_too_many(of(8, 4, &[4]), of(8, 4, &[4]), usize::MAX, usize::MAX)]
    fn grows_by_units(
        #[case] before: ScalingGroup,
        #[case] now: ScalingGroup,
        #[case] delta: usize,
        #[case] desired: usize,
    ) {
        assert_eq!(now.grown(&before, delta), desired);
    }

    fn groups() -> impl Strategy<Value = ScalingGroup> {
        let weights = proptest::collection::vec(1_usize..20, 0..8);
        (0_usize..100, 1_usize..10, weights).prop_map(|(desired, least, weights)| {
            let weights: Vec<usize> = weights.into_iter().map(|w| w.max(least)).collect();
            of(desired, least, &weights)
        })
    }

    proptest! {
        #[test]
        fn as_many_machines_are_awaited_as_were_asked_for(group in groups(), delta in 1_usize..9) {
            let after = ScalingGroup { desired: group.grown(&group, delta), ..group.clone() };
            let more = after.target() - group.target();
            prop_assert_eq!(more, delta);
        }

        #[test]
        fn the_target_is_within_its_bounds(group in groups(), min in 0_usize..50, more in 0_usize..50) {
            let (smallest, largest) = group.in_machines((min, min + more));
            prop_assert!(smallest <= group.target() && group.target() <= largest);
        }

        #[test]
        fn giving_up_places_keeps_the_machines(group in groups(), places in 0_usize..20) {
            prop_assert!(group.desired - group.units_of(places) >= group.there().min(group.desired));
        }

        #[test]
        fn weights_of_one_are_machines(desired in 0_usize..20, there in 0_usize..20) {
            let ones = of(desired.max(there), 1, &vec![1; there]);
            let plain = ScalingGroup { units: super::Units::Machines, ..ones.clone() };
            prop_assert_eq!((ones.target(), ones.missing()), (plain.target(), plain.missing()));
            prop_assert_eq!(ones.grown(&ones, 3), plain.grown(&plain, 3));
        }
    }
}
