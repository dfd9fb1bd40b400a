//! What an evaluation may cost, and what it has cost.

use crate::error::EvalError;

/// Cost of one evaluation at most, as upstream has it.
pub const PER_CALL: u64 = 1_000_000;
/// Cost of everything that is evaluated for one object at most, as upstream has it.
pub const PER_OBJECT: u64 = 10_000_000;
/// Estimated cost of one rule at most, as upstream has it.
pub const ESTIMATED_PER_RULE: u64 = 10_000_000;
/// Estimated cost of all the rules of one schema at most, as upstream has it.
pub const ESTIMATED_PER_SCHEMA: u64 = 100_000_000;

/// Levels an evaluation may nest, composed variables included.
const MAX_DEPTH: u16 = 400;

/// A budget shared by several evaluations. Cost is counted in steps: one for reading a variable or
/// a field and for most calls, a tenth for each character that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    remaining: u64,
    per_call: u64,
}

impl Budget {
    /// What evaluating everything for one object may cost: [`PER_OBJECT`], each at most
    /// [`PER_CALL`].
    pub fn per_object() -> Self {
        Self::new(PER_OBJECT, PER_CALL)
    }

    /// A total and a limit for each evaluation.
    pub fn new(total: u64, per_call: u64) -> Self {
        Self {
            remaining: total,
            per_call,
        }
    }

    /// What is left of the total.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Whether nothing is left: the last evaluation was cut off by the total, or used it up.
    pub fn is_spent(&self) -> bool {
        self.remaining == 0
    }

    pub(crate) fn meter(&self) -> Meter {
        let limit = self.per_call.min(self.remaining).saturating_mul(10);
        Meter {
            tenths: 0,
            limit,
            depth: 0,
        }
    }

    pub(crate) fn settle(&mut self, meter: &Meter) {
        self.remaining = self.remaining.saturating_sub(meter.tenths.div_ceil(10));
    }
}

/// Counts the cost of one evaluation.
#[derive(Debug)]
pub(crate) struct Meter {
    tenths: u64,
    limit: u64,
    depth: u16,
}

impl Meter {
    /// Adds to the cost, unless that would pass the limit.
    pub(crate) fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.charge_tenths(cost.saturating_mul(10))
    }

    /// Adds tenths to the cost.
    pub(crate) fn charge_tenths(&mut self, tenths: u64) -> Result<(), EvalError> {
        self.tenths = self.tenths.saturating_add(tenths);
        if self.tenths > self.limit {
            return Err(EvalError::CostExceeded);
        }
        Ok(())
    }

    /// One level further down; [`Meter::leave`] follows.
    pub(crate) fn enter(&mut self) -> Result<(), EvalError> {
        if self.depth >= MAX_DEPTH {
            return Err(EvalError::bad("expression is nested too deeply"));
        }
        self.depth += 1;
        Ok(())
    }

    /// One level up.
    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}

/// A tenth, rounded up: what looking at `size` characters costs.
pub(crate) fn tenth(size: u64) -> u64 {
    size.div_ceil(10)
}
