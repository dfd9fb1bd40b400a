//! Milli-units, and the number conversions of the original.
//!
//! All quantities enter the arithmetic as 64-bit thousandths, rounded up; ratios are doubles.

use plimsoll_quantity::{Family, Quantity};

/// Which suffixes a status quantity is printed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suffixes {
    /// `m`, none, `k`, `M` …
    Decimal,
    /// `Ki`, `Mi` … where the value is a whole number of at least 1024.
    Binary,
}

impl Suffixes {
    /// Memory prints with binary suffixes, everything else with decimal ones.
    pub fn of_resource(name: &str) -> Self {
        if name == "memory" {
            Self::Binary
        } else {
            Self::Decimal
        }
    }
}

/// Prints thousandths as a canonical quantity: `1500` → `1500m`, `2000` → `2`.
pub fn format(milli: i64, suffixes: Suffixes) -> String {
    let family = match suffixes {
        Suffixes::Decimal => Family::DecimalSi,
        Suffixes::Binary => Family::BinarySi,
    };
    Quantity::from_milli(milli).with_family(family).to_string()
}

/// Parses a quantity into thousandths, rounding away from zero.
pub fn parse(text: &str) -> Option<i64> {
    text.parse::<Quantity>()
        .ok()
        .map(|quantity| quantity.milli())
}

/// An integer as a double, as the original's ratios use it.
#[expect(
    clippy::cast_precision_loss,
    reason = "the original rounds the same way"
)]
pub fn double(value: i64) -> f64 {
    value as f64
}

/// A count as a double.
#[expect(
    clippy::cast_precision_loss,
    reason = "a count of pods is exact in a double"
)]
pub fn count(value: usize) -> f64 {
    value as f64
}

/// A double cut to 32 bits. Parity: the original's processor instruction answers the smallest
/// integer for anything out of range.
#[expect(
    clippy::cast_possible_truncation,
    reason = "range checked before the cast"
)]
pub fn cut32(value: f64) -> i32 {
    let fits = value > f64::from(i32::MIN) - 1.0 && value < f64::from(i32::MAX) + 1.0;
    if fits { value as i32 } else { i32::MIN }
}

/// [`cut32`], but anything above the range becomes the largest integer.
pub fn cap32(value: f64) -> i32 {
    if value > f64::from(i32::MAX) {
        i32::MAX
    } else {
        cut32(value)
    }
}

/// A double cut to 64 bits; out of range and not-a-number become the smallest integer.
#[expect(
    clippy::cast_possible_truncation,
    reason = "range checked before the cast"
)]
pub fn cut64(value: f64) -> i64 {
    let limit = 9_223_372_036_854_775_808.0;
    if value >= -limit && value < limit {
        value as i64
    } else {
        i64::MIN
    }
}

/// Serde for a quantity read as thousandths.
pub(super) fn deserialize_optional<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    let raw: Option<serde_json::Value> = serde::Deserialize::deserialize(deserializer)?;
    let Some(raw) = raw.filter(|r| !r.is_null()) else {
        return Ok(None);
    };
    read(&raw)
        .map(Some)
        .ok_or_else(|| serde::de::Error::custom(format!("bad quantity {raw}")))
}

/// A quantity in JSON (text or number) as thousandths.
pub fn read(raw: &serde_json::Value) -> Option<i64> {
    match raw {
        serde_json::Value::String(text) => parse(text),
        serde_json::Value::Number(number) => parse(&number.to_string()),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => None,
    }
}

/// Serde for a quantity read as a plain number, e.g. a tolerance.
pub(super) fn deserialize_fraction<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<f64>, D::Error> {
    let raw: Option<serde_json::Value> = serde::Deserialize::deserialize(deserializer)?;
    let Some(raw) = raw.filter(|r| !r.is_null()) else {
        return Ok(None);
    };
    let text = raw.as_str().map_or_else(|| raw.to_string(), str::to_owned);
    let quantity: Quantity = text.parse().map_err(serde::de::Error::custom)?;
    Ok(Some(quantity.as_f64()))
}
