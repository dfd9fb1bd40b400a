//! Kubernetes quantities: exact values, canonical printing.
//!
//! A quantity is a decimal number with a suffix of one of three families (`m k M G …`,
//! `Ki Mi Gi …`, `e3 E6 …`). The value is held exactly in units of 10⁻⁹; what is finer is rounded
//! away from zero and what is larger than 2⁶³−1 is capped there, as upstream does. The family
//! only decides how the value prints.
//!
//! ```
//! use plimsoll_quantity::Quantity;
//!
//! let limit: Quantity = "1.5Gi".parse()?;
//! assert_eq!(limit.value(), 1_610_612_736);
//! assert_eq!(limit.to_string(), "1536Mi");
//! assert_eq!("0.5".parse::<Quantity>()?.to_string(), "500m");
//! # Ok::<(), plimsoll_quantity::ParseError>(())
//! ```

mod parse;
mod print;

pub use parse::ParseError;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

/// Nano units in one unit.
pub(crate) const NANO: i128 = 1_000_000_000;
/// The largest value, in nano units: 2⁶³−1 units.
pub(crate) const MAX_NANO: i128 = (i64::MAX as i128) * NANO;

/// The suffix family a quantity prints in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// `n u m "" k M G T P E`.
    #[default]
    DecimalSi,
    /// `Ki Mi Gi Ti Pi Ei`; below 1024 printed as decimal.
    BinarySi,
    /// `e3`, `e6` …
    DecimalExponent,
}

/// A parsed quantity. Comparison and hashing look at the value only: `1000m` equals `1`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quantity {
    nano: i128,
    family: Family,
}

impl Quantity {
    /// Zero, decimal.
    pub const ZERO: Self = Self {
        nano: 0,
        family: Family::DecimalSi,
    };

    /// A decimal quantity of `units` whole units.
    pub const fn from_value(units: i64) -> Self {
        Self {
            nano: units as i128 * NANO,
            family: Family::DecimalSi,
        }
    }

    /// A decimal quantity of `milli` thousandths (CPU).
    pub const fn from_milli(milli: i64) -> Self {
        Self {
            nano: milli as i128 * 1_000_000,
            family: Family::DecimalSi,
        }
    }

    /// A decimal quantity of `nano` units of 10⁻⁹, capped at ±(2⁶³−1) units.
    pub fn from_nano(nano: i128) -> Self {
        Self::capped(nano, Family::DecimalSi)
    }

    /// A quantity of `bytes` that prints with `Ki`, `Mi`, `Gi` … (memory).
    pub const fn from_bytes(bytes: i64) -> Self {
        Self {
            nano: bytes as i128 * NANO,
            family: Family::BinarySi,
        }
    }

    /// The same value, printed in another family.
    #[must_use]
    pub const fn with_family(self, family: Family) -> Self {
        Self {
            nano: self.nano,
            family,
        }
    }

    /// The family it prints in.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The exact value in units of 10⁻⁹.
    pub const fn nano(&self) -> i128 {
        self.nano
    }

    /// Thousandths, rounded away from zero and capped to the range of `i64`.
    pub fn milli(&self) -> i64 {
        saturate(divide_away(self.nano, 1_000_000))
    }

    /// Whole units, rounded away from zero.
    pub fn value(&self) -> i64 {
        saturate(divide_away(self.nano, NANO))
    }

    /// The nearest floating-point number of units.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an approximation is what is asked for"
    )]
    pub fn as_f64(&self) -> f64 {
        self.nano as f64 / NANO as f64
    }

    /// Whether the value is zero.
    pub const fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// Whether the value is below zero.
    pub const fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// The sum, capped; keeps this family unless this is zero.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "the name is the contract with callers"
    )]
    pub fn add(self, other: Self) -> Self {
        let family = if self.nano == 0 {
            other.family
        } else {
            self.family
        };
        Self::capped(self.nano.saturating_add(other.nano), family)
    }

    /// The difference, capped; keeps this family unless this is zero.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "the name is the contract with callers"
    )]
    pub fn sub(self, other: Self) -> Self {
        let family = if self.nano == 0 {
            other.family
        } else {
            self.family
        };
        Self::capped(self.nano.saturating_sub(other.nano), family)
    }

    /// The product with a whole number, capped.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "the name is the contract with callers"
    )]
    pub fn mul(self, factor: i64) -> Self {
        Self::capped(self.nano.saturating_mul(i128::from(factor)), self.family)
    }

    pub(crate) fn capped(nano: i128, family: Family) -> Self {
        Self {
            nano: nano.clamp(-MAX_NANO, MAX_NANO),
            family,
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Hash for Quantity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.nano.hash(state);
    }
}

/// Division by a positive number, rounding away from zero.
pub(crate) fn divide_away(value: i128, by: i128) -> i128 {
    let quotient = value / by;
    if value % by == 0 {
        quotient
    } else {
        quotient + value.signum()
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}
