//! The canonical form: the largest suffix of the family that leaves a whole number.

use crate::{Family, NANO, Quantity, divide_away};
use std::fmt;

const SI: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        match self.family {
            Family::DecimalSi => decimal_si(self.nano, f),
            Family::BinarySi if self.nano.abs() < 1024 * NANO => decimal_si(self.nano, f),
            Family::BinarySi => {
                let (number, steps) = reduce(divide_away(self.nano, NANO), 1024, BINARY.len() - 1);
                write!(
                    f,
                    "{number}{}",
                    BINARY.get(steps).copied().unwrap_or_default()
                )
            }
            Family::DecimalExponent => {
                let (number, steps) = reduce(self.nano, 1000, usize::MAX);
                match i64::try_from(steps).unwrap_or(i64::MAX).saturating_mul(3) - 9 {
                    0 => write!(f, "{number}"),
                    exponent => write!(f, "{number}e{exponent}"),
                }
            }
        }
    }
}

fn decimal_si(nano: i128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (number, steps) = reduce(nano, 1000, SI.len() - 1);
    write!(f, "{number}{}", SI.get(steps).copied().unwrap_or_default())
}

/// Divides by `base` while that is exact, at most `limit` times; the number is not zero.
fn reduce(mut number: i128, base: i128, limit: usize) -> (i128, usize) {
    let mut steps = 0;
    while steps < limit && number % base == 0 {
        number /= base;
        steps += 1;
    }
    (number, steps)
}
