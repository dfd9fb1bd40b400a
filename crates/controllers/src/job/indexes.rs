//! Sets of completion indexes, written compressed: `1,3-5,7`.

use std::fmt;

/// A set of completion indexes.
///
/// Closed intervals, in order, with gaps between them; a hundred thousand indexes that succeed in
/// order take one interval.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<(u32, u32)>);

impl Indexes {
    /// Reads the compressed form. What lies at or beyond `below` is left out, as are parts that
    /// cannot be read.
    pub(super) fn parse(text: &str, below: u32) -> Self {
        let interval = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last && first < below).then(|| (first, last.min(below - 1)))
        };
        Self::joined(text.split(',').filter_map(interval).collect())
    }

    /// Sorts intervals and joins those that touch.
    fn joined(mut intervals: Vec<(u32, u32)>) -> Self {
        intervals.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match joined.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => {
                    before.1 = before.1.max(last);
                }
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// Whether the index is in the set.
    pub(super) fn has(&self, index: u32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// How many indexes there are.
    pub(super) fn len(&self) -> usize {
        let count = |(first, last): &(u32, u32)| last - first + 1;
        self.0
            .iter()
            .map(|interval| usize::try_from(count(interval)).unwrap_or(usize::MAX))
            .sum()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is in one of them.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self::joined(self.0.iter().chain(&other.0).copied().collect())
    }

    /// How many indexes are in both.
    pub(super) fn shared(&self, other: &Self) -> usize {
        self.len() + other.len() - self.union(other).len()
    }

    /// The indexes under `below` that are not in the set, in order.
    pub(super) fn missing(&self, below: u32) -> impl Iterator<Item = u32> {
        let starts =
            std::iter::once(0).chain(self.0.iter().map(|(_, last)| last.saturating_add(1)));
        let ends = self.0.iter().map(|(first, _)| *first).chain([below]);
        starts
            .zip(ends)
            .flat_map(move |(start, end)| start..end.min(below))
    }
}

impl FromIterator<u32> for Indexes {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        Self::joined(indexes.into_iter().map(|index| (index, index)).collect())
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            match last - first {
                0 => write!(f, "{first}")?,
                1 => write!(f, "{first},{last}")?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Indexes;
    use proptest::collection::btree_set;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case::none("", 9, "")]
    #[case::one("3", 9, "3")]
    #[case::two_in_a_row("3-4", 9, "3,4")]
    #[case::three_in_a_row("3,4,5", 9, "3-5")]
    #[case::apart("1,3-5,7", 9, "1,3-5,7")]
    #[case::beyond_the_end("1,3-5,7", 5, "1,3,4")]
    #[case::no_index_at_all("0-3", 0, "")]
    #[case::rubbish_is_passed_over("1,x,5-,3", 9, "1,3")]
    #[case::backwards_is_rubbish("5-3,1", 9, "1")]
    fn reads_and_writes(#[case] text: &str, #[case] below: u32, #[case] want: &str) {
        assert_eq!(Indexes::parse(text, below).to_string(), want);
    }

    proptest! {
        #[test]
        fn behaves_as_a_plain_set(a in btree_set(0_u32..60, 0..40), b in btree_set(0_u32..60, 0..40)) {
            let (x, y): (Indexes, Indexes) = (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(&Indexes::parse(&x.to_string(), 60), &x);
            prop_assert_eq!(x.len(), a.len());
            prop_assert_eq!(x.is_empty(), a.is_empty());
            prop_assert_eq!(x.shared(&y), a.intersection(&b).count());
            let both: Indexes = a.union(&b).copied().collect();
            prop_assert_eq!(x.union(&y), both);
            let missing: Vec<u32> = (0..50).filter(|index| !a.contains(index)).collect();
            prop_assert_eq!(x.missing(50).collect::<Vec<_>>(), missing);
            for index in 0..60 {
                prop_assert_eq!(x.has(index), a.contains(&index));
            }
        }
    }
}
