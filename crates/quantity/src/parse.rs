//! Reading a quantity.

use crate::{Family, Quantity, divide_away};
use std::str::FromStr;

/// Why a text is no quantity. The messages are the ones Kubernetes users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text has the wrong form.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// There is no number before the suffix.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// The suffix is unknown.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// What the suffix multiplies by.
#[derive(Clone, Copy)]
enum Scale {
    /// 10 to this power.
    Ten(i64),
    /// 2 to this power.
    Two(u32),
}

/// Digits beyond this many cannot change a capped result other than by rounding.
const MAX_DIGITS: usize = 36;

impl FromStr for Quantity {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if unsigned.is_empty() {
            return Err(ParseError::Format);
        }
        let (whole, rest) = split_digits(unsigned);
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), split_digits);
        check_form(suffix)?;
        let (scale, family) = scale_of(suffix)?;
        if whole.is_empty() && fraction.is_empty() {
            return Err(ParseError::Number);
        }
        let nano = match scale {
            Scale::Ten(power) => decimal(whole, fraction, power),
            Scale::Two(power) => binary(whole, fraction, power),
        };
        let nano = if negative { -nano } else { nano };
        let below_one = nano > 0 && nano < crate::NANO;
        let family = if below_one && family == Family::BinarySi {
            Family::DecimalSi
        } else {
            family
        };
        Ok(Self::capped(nano, family))
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text
        .bytes()
        .position(|b| !b.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

/// Whether the suffix has the form `[eEinumkKMGTP]*[-+]?[0-9]*`.
fn check_form(suffix: &str) -> Result<(), ParseError> {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    if rest.bytes().all(|b| b.is_ascii_digit()) {
        Ok(())
    } else {
        Err(ParseError::Format)
    }
}

fn scale_of(suffix: &str) -> Result<(Scale, Family), ParseError> {
    let ten = |power| Ok((Scale::Ten(power), Family::DecimalSi));
    let two = |power| Ok((Scale::Two(power), Family::BinarySi));
    match suffix {
        "n" => ten(-9),
        "u" => ten(-6),
        "m" => ten(-3),
        "" => ten(0),
        "k" => ten(3),
        "M" => ten(6),
        "G" => ten(9),
        "T" => ten(12),
        "P" => ten(15),
        "E" => ten(18),
        "Ki" => two(10),
        "Mi" => two(20),
        "Gi" => two(30),
        "Ti" => two(40),
        "Pi" => two(50),
        "Ei" => two(60),
        other => {
            let digits = other.strip_prefix(['e', 'E']).ok_or(ParseError::Suffix)?;
            let power: i32 = digits.parse().map_err(|_| ParseError::Suffix)?;
            Ok((Scale::Ten(i64::from(power)), Family::DecimalExponent))
        }
    }
}

/// Nano units of `whole.fraction × 10^power`, rounded up, saturating.
fn decimal(whole: &str, fraction: &str, power: i64) -> i128 {
    let mut mantissa: i128 = 0;
    let mut used = 0;
    let mut dropped = 0_i64;
    let mut sticky = false;
    for digit in whole
        .bytes()
        .chain(fraction.bytes())
        .map(|b| i128::from(b - b'0'))
    {
        if used == MAX_DIGITS {
            dropped += 1;
            sticky |= digit != 0;
            continue;
        }
        mantissa = mantissa * 10 + digit;
        used += usize::from(mantissa != 0);
    }
    let fraction_len = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let shift = power
        .saturating_add(9)
        .saturating_add(dropped)
        .saturating_sub(fraction_len);
    if mantissa == 0 {
        return 0;
    }
    if shift >= 0 {
        let factor = u32::try_from(shift)
            .ok()
            .and_then(|s| 10_i128.checked_pow(s));
        let nano = factor
            .and_then(|f| mantissa.checked_mul(f))
            .unwrap_or(crate::MAX_NANO);
        return nano.saturating_add(i128::from(sticky));
    }
    let divisor = u32::try_from(-shift)
        .ok()
        .and_then(|s| 10_i128.checked_pow(s));
    let Some(divisor) = divisor else { return 1 };
    let exact = mantissa % divisor == 0;
    divide_away(mantissa, divisor).saturating_add(i128::from(sticky && exact))
}

/// Nano units of `whole.fraction × 2^power`, rounded up, saturating.
fn binary(whole: &str, fraction: &str, power: u32) -> i128 {
    let factor = 1_i128 << power;
    let whole = decimal(whole, "", 0)
        .min(crate::MAX_NANO)
        .saturating_mul(factor);
    // Eighteen digits keep the product within range: 10¹⁸ × 2⁶⁰ < 2¹²⁷.
    let mut numerator: i128 = 0;
    let mut sticky = false;
    for index in 0..18 {
        let digit = fraction
            .as_bytes()
            .get(index)
            .map_or(0, |b| i128::from(b - b'0'));
        numerator = numerator * 10 + digit;
    }
    for digit in fraction.bytes().skip(18) {
        sticky |= digit != b'0';
    }
    let scaled = numerator * factor;
    let exact = scaled % 1_000_000_000 == 0;
    let part = divide_away(scaled, 1_000_000_000) + i128::from(sticky && exact);
    whole.saturating_add(part)
}
