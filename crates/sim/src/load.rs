//! Requests per second as a pure function of time.

use jiff::Timestamp;
use std::f64::consts::TAU;
use std::time::Duration;

const SECONDS_A_DAY: f64 = 86_400.0;

/// A load: a shape, and noise on top.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// The shape without noise.
    pub shape: Shape,
    /// What makes it uneven.
    pub noise: Option<Noise>,
}

/// A load without noise, in requests per second.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Always the same.
    Constant(f64),
    /// From each offset since the start on, this rate; zero before the first. Offsets ascend.
    Steps(Vec<(Duration, f64)>),
    /// A day of a service that people use.
    Diurnal(Diurnal),
}

/// A sine with one peak a day, in UTC:
/// `trough + (peak − trough) · (1 + cos(2π · (hour − peak_hour) / 24)) / 2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diurnal {
    /// Lowest rate, half a day away from the peak.
    pub trough: f64,
    /// Highest rate on a weekday.
    pub peak: f64,
    /// Hour of the peak, 0 to 24.
    pub peak_hour: f64,
    /// What a Saturday's or Sunday's rise above the trough is of a weekday's; 1 for no difference.
    pub weekend: f64,
}

/// Relative noise: a new value each period, straight lines in between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Largest deviation, e.g. 0.1 for ±10 %; small deviations are likelier than large ones.
    pub relative: f64,
    /// Time between two values.
    pub period: Duration,
}

impl Load {
    /// Always the same rate.
    pub fn constant(rate: f64) -> Self {
        Shape::Constant(rate).into()
    }

    /// From each offset since the start on, this rate; zero before the first.
    pub fn steps(steps: impl IntoIterator<Item = (Duration, f64)>) -> Self {
        Shape::Steps(steps.into_iter().collect()).into()
    }

    /// A day of a service that people use.
    pub fn diurnal(day: Diurnal) -> Self {
        Shape::Diurnal(day).into()
    }

    /// The same load with noise.
    #[must_use]
    pub fn with_noise(self, relative: f64, period: Duration) -> Self {
        let noise = Some(Noise { relative, period });
        Self { noise, ..self }
    }

    /// Requests per second at `now`, never negative, for a scenario that began at `start`.
    pub fn at(&self, start: Timestamp, now: Timestamp, seed: u64) -> f64 {
        let rate = self.shape.at(start, now);
        let noise = self.noise.map_or(0.0, |noise| noise.at(now, seed));
        (rate * (1.0 + noise)).max(0.0)
    }
}

impl From<Shape> for Load {
    fn from(shape: Shape) -> Self {
        Self { shape, noise: None }
    }
}

impl Shape {
    fn at(&self, start: Timestamp, now: Timestamp) -> f64 {
        match self {
            Self::Constant(rate) => *rate,
            Self::Steps(steps) => {
                let since = Duration::try_from(now.duration_since(start)).unwrap_or_default();
                let begun = steps.iter().take_while(|(from, _)| *from <= since);
                begun.last().map_or(0.0, |(_, rate)| *rate)
            }
            Self::Diurnal(day) => day.at(now),
        }
    }
}

impl Diurnal {
    fn at(&self, now: Timestamp) -> f64 {
        // Days change at the trough, where a weekend's rise and a weekday's are both zero.
        let since_trough = seconds(now) - (self.peak_hour - 12.0) * 3600.0;
        let day = (since_trough / SECONDS_A_DAY).floor();
        // 1970-01-01, day 0, was a Thursday.
        let weekday = (day + 4.0).rem_euclid(7.0);
        let is_weekend = !(0.5..5.5).contains(&weekday);
        let scale = if is_weekend { self.weekend } else { 1.0 };
        let rise = (1.0 - (TAU * since_trough / SECONDS_A_DAY).cos()) / 2.0;
        self.trough + (self.peak - self.trough) * rise * scale
    }
}

impl Noise {
    /// The relative deviation at a moment, within ±`relative`.
    fn at(&self, now: Timestamp, seed: u64) -> f64 {
        let position = seconds(now) / self.period.as_secs_f64().max(1e-3);
        let (slot, fraction) = (position.floor(), position - position.floor());
        let (before, after) = (triangular(seed, slot), triangular(seed, slot + 1.0));
        self.relative * (before + (after - before) * fraction)
    }
}

fn seconds(now: Timestamp) -> f64 {
    now.as_duration().as_secs_f64()
}

/// A value in −1..1 that only depends on seed and slot; the sum of two uniform ones.
fn triangular(seed: u64, slot: f64) -> f64 {
    let first = scramble(seed ^ scramble(slot.to_bits()));
    uniform(first) + uniform(scramble(first)) - 1.0
}

/// The top 53 bits as a number in 0..1.
fn uniform(bits: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let numerator = (bits >> 11) as f64;
    numerator / 9_007_199_254_740_992.0
}

/// One step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
fn scramble(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{Diurnal, Load};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::time::Duration;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[rstest]
    #[case::thursday_peak("2026-01-01T14:00:00Z", 100.0)]
    #[case::trough("2026-01-02T02:00:00Z", 10.0)]
    #[case::half_way("2026-01-01T08:00:00Z", 55.0)]
    #[case::friday_peak("2026-01-02T14:00:00Z", 100.0)]
    #[case::saturday_peak("2026-01-03T14:00:00Z", 55.0)]
    #[case::sunday_peak("2026-01-04T14:00:00Z", 55.0)]
    #[case::monday_peak("2026-01-05T14:00:00Z", 100.0)]
    fn a_day_rises_to_its_peak_and_less_so_on_weekends(#[case] now: &str, #[case] want: f64) {
        let day = Diurnal {
            trough: 10.0,
            peak: 100.0,
            peak_hour: 14.0,
            weekend: 0.5,
        };
        let got = Load::diurnal(day).at(at("2026-01-01T00:00:00Z"), at(now), 1);
        assert!((got - want).abs() < 1e-6, "{got} at {now}");
    }

    #[rstest]
    #[case(0, 0.0)]
    #[case(9, 0.0)]
    #[case(10, 5.0)]
    #[case(3600, 7.5)]
    fn a_step_holds_until_the_next_one(#[case] after: i64, #[case] want: f64) {
        let start = at("2026-01-01T00:00:00Z");
        let load = Load::steps([
            (Duration::from_secs(10), 5.0),
            (Duration::from_secs(60), 7.5),
        ]);
        let now = start + jiff::SignedDuration::from_secs(after);
        assert!((load.at(start, now, 1) - want).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn noise_stays_within_its_bounds(seed: u64, second in 0_i64..4_000_000_000) {
            let now = Timestamp::from_second(second).unwrap();
            let load = Load::constant(100.0).with_noise(0.1, Duration::from_secs(60));
            let rate = load.at(Timestamp::UNIX_EPOCH, now, seed);
            prop_assert!((90.0..=110.0).contains(&rate));
            prop_assert!(rate.to_bits() == load.at(Timestamp::UNIX_EPOCH, now, seed).to_bits());
        }
    }

    #[test]
    fn another_seed_is_another_noise_around_the_same_mean() {
        let load = Load::constant(100.0).with_noise(0.1, Duration::from_secs(60));
        let rates = |seed: u64| -> Vec<f64> {
            let times = (0..10_000).map(|i| Timestamp::from_second(i * 7).unwrap());
            times.map(|now| load.at(now, now, seed)).collect()
        };
        let (one, two) = (rates(1), rates(2));
        assert_ne!(one, two);
        for rates in [one, two] {
            let mean = rates.iter().sum::<f64>() / 10_000.0;
            assert!((99.0..101.0).contains(&mean), "mean {mean}");
        }
    }
}
