//! Sets of paths, as a tree.

use super::step::Step;
use std::cmp::Ordering;

/// A set of paths into an object. The tree's node at a path says whether the path itself is in
/// the set; children are sorted and never empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Set<'a> {
    /// Whether the path to here is in the set.
    pub(super) member: bool,
    /// What lies below.
    pub(super) children: Vec<(Step<'a>, Set<'a>)>,
}

impl<'a> Set<'a> {
    /// The set of just the path to here.
    pub(super) const fn here() -> Self {
        Self {
            member: true,
            children: Vec::new(),
        }
    }

    /// Whether no path is in the set.
    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// The part below `step`.
    pub fn get(&self, step: &Step<'_>) -> Option<&Self> {
        let at = self.children.binary_search_by(|(own, _)| own.cmp(step));
        self.children.get(at.ok()?).map(|(_, set)| set)
    }

    /// Adds a child that sorts anywhere; [`Set::tidy`] must follow. Empty ones are dropped.
    pub(super) fn push(&mut self, step: Step<'a>, set: Self) {
        if !set.is_empty() {
            self.children.push((step, set));
        }
    }

    /// Sorts the children after [`Set::push`]; equal steps are merged.
    pub(super) fn tidy(&mut self) {
        if self.children.is_sorted_by(|(a, _), (b, _)| a < b) {
            return;
        }
        self.children.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.children.dedup_by(|(again, more), (first, kept)| {
            let same = again == first;
            if same {
                *kept = kept.union(more);
            }
            same
        });
    }

    /// Adds a path.
    pub fn insert(&mut self, path: &[Step<'a>]) {
        let Some((first, rest)) = path.split_first() else {
            self.member = true;
            return;
        };
        match self.children.binary_search_by(|(own, _)| own.cmp(first)) {
            Ok(at) => {
                if let Some((_, child)) = self.children.get_mut(at) {
                    child.insert(rest);
                }
            }
            Err(at) => {
                let mut child = Self::default();
                child.insert(rest);
                self.children.insert(at, (first.clone(), child));
            }
        }
    }

    /// Whether a path is in the set.
    pub fn contains(&self, path: &[Step<'_>]) -> bool {
        let mut here = self;
        for step in path {
            match here.get(step) {
                Some(child) => here = child,
                None => return false,
            }
        }
        here.member
    }

    /// Paths in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut result = Self {
            member: self.member || other.member,
            children: Vec::with_capacity(self.children.len().max(other.children.len())),
        };
        let (mut mine, mut theirs) = (
            self.children.iter().peekable(),
            other.children.iter().peekable(),
        );
        loop {
            let order = match (mine.peek(), theirs.peek()) {
                (None, None) => return result,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((one, _)), Some((two, _))) => one.cmp(two),
            };
            let left = mine.next_if(|_| order != Ordering::Greater);
            let right = theirs.next_if(|_| order != Ordering::Less);
            result.children.extend(match (left, right) {
                (Some((step, a)), Some((_, b))) => Some((step.clone(), a.union(b))),
                (one, other) => one.or(other).cloned(),
            });
        }
    }

    /// Paths in both.
    #[must_use]
    pub fn intersection(&self, other: &Set<'_>) -> Self {
        let mut result = Self {
            member: self.member && other.member,
            children: Vec::new(),
        };
        for (step, set) in &self.children {
            if let Some(same) = other.get(step) {
                result.push(step.clone(), set.intersection(same));
            }
        }
        result
    }

    /// Paths here that are not in the other. What lies below a removed path stays.
    #[must_use]
    pub fn difference(&self, other: &Set<'_>) -> Self {
        let mut result = Self {
            member: self.member && !other.member,
            children: Vec::with_capacity(self.children.len()),
        };
        for (step, set) in &self.children {
            let left = match other.get(step) {
                Some(same) => set.difference(same),
                None => set.clone(),
            };
            result.push(step.clone(), left);
        }
        result
    }

    /// Whether some path is in both.
    pub fn intersects(&self, other: &Set<'_>) -> bool {
        let mut children = self.children.iter();
        (self.member && other.member)
            || children.any(|(step, set)| other.get(step).is_some_and(|same| set.intersects(same)))
    }

    /// Whether every path of the other is here.
    pub fn covers(&self, other: &Set<'_>) -> bool {
        let mut children = other.children.iter();
        (self.member || !other.member)
            && children.all(|(step, set)| self.get(step).is_some_and(|same| same.covers(set)))
    }

    /// The paths as text, in order: `.spec.containers[name="web"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.walk("", &mut paths);
        paths
    }

    fn walk(&self, prefix: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(prefix.to_owned());
        }
        for (step, set) in &self.children {
            set.walk(&format!("{prefix}{step}"), paths);
        }
    }

    /// The same set without borrows.
    pub fn into_owned(self) -> Set<'static> {
        let children = self.children.into_iter();
        Set {
            member: self.member,
            children: children
                .map(|(step, set)| (step.into_owned(), set.into_owned()))
                .collect(),
        }
    }
}
