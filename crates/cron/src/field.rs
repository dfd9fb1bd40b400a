//! One field of five: which values it takes.

use super::CronError;

/// The values of a field as bits, and whether any value will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    bits: u64,
    /// `*` or `?`: where day and weekday both say more, either is enough.
    pub(super) any: bool,
}

impl Field {
    pub(super) fn has(self, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| value < 64 && self.bits & (1 << value) != 0)
    }

    /// The smallest value that is at least this.
    pub(super) fn at_least(self, value: i8) -> Option<i8> {
        let above = u32::try_from(value.max(0)).ok()?;
        let left = self.bits.checked_shr(above)?.checked_shl(above)?;
        (left != 0).then(|| i8::try_from(left.trailing_zeros()).ok())?
    }

    /// The largest value that is at most this.
    pub(super) fn at_most(self, value: i8) -> Option<i8> {
        let kept = u32::try_from(value).ok()?.saturating_add(1);
        let mask = 1_u64.checked_shl(kept).map_or(u64::MAX, |bit| bit - 1);
        let left = self.bits & mask;
        (left != 0).then(|| i8::try_from(left.ilog2()).ok())?
    }
}

/// What a field may say.
pub(super) struct Notation {
    name: &'static str,
    least: u8,
    most: u8,
    /// Names of values, from the smallest on.
    names: &'static [&'static str],
}

pub(super) const MINUTE: Notation = Notation::numbers("minute", 0, 59);
pub(super) const HOUR: Notation = Notation::numbers("hour", 0, 23);
pub(super) const DAY: Notation = Notation::numbers("day of the month", 1, 31);
pub(super) const MONTH: Notation = Notation {
    name: "month",
    least: 1,
    most: 12,
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
};
/// Sunday is 0. Parity: it is not 7 as well.
pub(super) const WEEKDAY: Notation = Notation {
    name: "day of the week",
    least: 0,
    most: 6,
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

impl Notation {
    const fn numbers(name: &'static str, least: u8, most: u8) -> Self {
        Self {
            name,
            least,
            most,
            names: &[],
        }
    }

    /// Reads a list of values, ranges and steps.
    pub(super) fn parse(&self, text: &str) -> Result<Field, CronError> {
        let mut field = Field {
            bits: 0,
            any: false,
        };
        for part in text.split(',') {
            let (bits, any) = self.part(part)?;
            field.bits |= bits;
            field.any |= any;
        }
        Ok(field)
    }

    fn part(&self, part: &str) -> Result<(u64, bool), CronError> {
        let (range, step) = match part.split_once('/') {
            None => (part, None),
            Some((range, step)) => (range, Some(self.step(part, step)?)),
        };
        let any = matches!(range, "*" | "?");
        let (first, last) = if any {
            (self.least, self.most)
        } else if let Some((first, last)) = range.split_once('-') {
            (self.value(first)?, self.value(last)?)
        } else {
            let value = self.value(range)?;
            // `5/10` is `5-MOST/10`.
            (value, if step.is_some() { self.most } else { value })
        };
        if first < self.least || last > self.most || first > last {
            return Err(CronError::Range {
                field: self.name,
                text: range.to_owned(),
                first,
                last,
                least: self.least,
                most: self.most,
            });
        }
        let step = step.unwrap_or(1);
        let values = (first..=last).step_by(usize::from(step));
        let bits = values.fold(0_u64, |bits, value| bits | (1 << value));
        // Parity: `*/2` says something about the day, `*` and `*/1` do not.
        Ok((bits, any && step == 1))
    }

    fn step(&self, part: &str, step: &str) -> Result<u8, CronError> {
        let value = number(step).filter(|&step| step > 0);
        value.ok_or_else(|| CronError::Step {
            field: self.name,
            text: part.to_owned(),
        })
    }

    fn value(&self, text: &str) -> Result<u8, CronError> {
        let named = || {
            let place = self
                .names
                .iter()
                .position(|name| name.eq_ignore_ascii_case(text))?;
            u8::try_from(place).ok()?.checked_add(self.least)
        };
        number(text).or_else(named).ok_or_else(|| CronError::Value {
            field: self.name,
            text: text.to_owned(),
        })
    }
}

/// Digits only, no sign; what is beyond 255 is beyond every field, too.
fn number(text: &str) -> Option<u8> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u8::MAX))
}
