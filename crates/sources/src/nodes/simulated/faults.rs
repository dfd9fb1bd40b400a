//! What goes wrong.

use plimsoll_api::nodegroup::{NodeGroup, ProviderError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How a group without capacity shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// The call that asks for machines fails.
    Refused,
    /// The call succeeds, and the machines fail one by one.
    PerMachine,
}

/// Calls that fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failing {
    /// How many more; `None` for all.
    left: Option<usize>,
    error: ProviderError,
}

impl Failing {
    /// One call: fails if it is to.
    pub(super) fn strike(slot: &mut Option<Self>) -> Result<(), ProviderError> {
        let Some(failing) = slot else {
            return Ok(());
        };
        let error = failing.error.clone();
        if let Some(left) = &mut failing.left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                *slot = None;
            }
        }
        Err(error)
    }
}

/// What goes wrong; by default nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// How long every call takes.
    pub answer_after: Duration,
    /// Groups that are short of capacity.
    pub short: BTreeMap<Arc<str>, Shortage>,
    /// How many of the next machines run without ever becoming nodes.
    pub never_joining: usize,
    /// Of how many of the next changes the answer is lost: they happen, and the call fails.
    pub answers_lost: usize,
    /// By how much the told target of a group is beside the truth.
    pub target_off: BTreeMap<Arc<str>, isize>,
    /// How many instances of a group are not told, youngest first.
    pub untold: BTreeMap<Arc<str>, usize>,
    /// The provider does not say what new nodes will be.
    pub no_templates: bool,
    pub(super) failing_reads: Option<Failing>,
    pub(super) failing_writes: Option<Failing>,
}

impl Faults {
    /// The next `count` questions fail (all of them with `None`).
    pub fn fail_reads(&mut self, count: Option<usize>, error: ProviderError) {
        self.failing_reads = (count != Some(0)).then_some(Failing { left: count, error });
    }

    /// The next `count` changes fail, and nothing happens (all of them with `None`).
    pub fn fail_writes(&mut self, count: Option<usize>, error: ProviderError) {
        self.failing_writes = (count != Some(0)).then_some(Failing { left: count, error });
    }

    /// A group has no capacity any more.
    pub fn run_short(&mut self, group: &str, shortage: Shortage) {
        self.short.insert(group.into(), shortage);
    }

    /// Nothing goes wrong any more.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Tells of a group what is not so.
    pub(super) fn distort(&self, group: &mut NodeGroup) {
        if let Some(off) = self.target_off.get(&group.id) {
            group.target = group.target.saturating_add_signed(*off);
        }
        if let Some(untold) = self.untold.get(&group.id) {
            let told = group.instances.len().saturating_sub(*untold);
            group.instances.truncate(told);
        }
    }
}
