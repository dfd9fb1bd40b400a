//! From samples to values that may be scaled on.

use crate::custom::{ExternalValue, SourceError};
use crate::prometheus::Sample;
use jiff::{SignedDuration, Timestamp};
use plimsoll_quantity::Quantity;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a question was about, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub(super) metric: &'a str,
    pub(super) subject: &'a str,
}

impl About<'_> {
    pub(super) fn no_value(self, why: impl Into<String>) -> SourceError {
        SourceError::NoValue {
            metric: self.metric.to_owned(),
            subject: self.subject.to_owned(),
            why: why.into(),
        }
    }

    pub(super) fn unknown(self) -> SourceError {
        SourceError::Unknown {
            metric: self.metric.to_owned(),
            subject: self.subject.to_owned(),
        }
    }
}

/// A value and when it was measured.
pub(super) type Dated = (Quantity, Timestamp);

/// The newest moment at which an answer is fresh enough.
#[derive(Debug, Clone, Copy)]
pub(super) struct Freshness {
    pub(super) now: Timestamp,
    pub(super) max_age: Duration,
}

impl Freshness {
    /// # Errors
    /// How old the sample is, in words.
    pub(super) fn check(self, at: Timestamp) -> Result<(), String> {
        let age = self.now.duration_since(at);
        let limit = SignedDuration::try_from(self.max_age).unwrap_or(SignedDuration::MAX);
        if age <= limit {
            return Ok(());
        }
        Err(format!(
            "its newest sample is {} s old, older than {} s",
            age.as_secs(),
            limit.as_secs()
        ))
    }
}

/// Exact to thousandths, the rest cut off, as upstream converts.
#[expect(
    clippy::cast_possible_truncation,
    reason = "saturates, which is what is wanted of numbers beyond 2^63 thousandths"
)]
pub(super) fn quantity(value: f64) -> Quantity {
    Quantity::from_milli((value * 1000.0) as i64)
}

/// Values by the name that `label` carries, and why the names without one have none.
#[derive(Debug, Default)]
pub(super) struct ByName {
    pub(super) values: BTreeMap<String, Dated>,
    pub(super) without: BTreeMap<String, String>,
    /// Names for which there were several series.
    pub(super) repeated: Vec<String>,
}

/// Sorts samples by the name of their object.
///
/// Departs: of several samples for one object the largest counts, not the last, so that the answer
/// does not depend on Prometheus' order and never lowers a metric; NaN is no value, not zero.
pub(super) fn by_name(samples: &[Sample], label: &str, freshness: Freshness) -> ByName {
    let mut sorted = ByName::default();
    for sample in samples {
        let labels = sample.labels.as_ref();
        let Some(name) = labels
            .and_then(|all| all.get(label))
            .filter(|n| !n.is_empty())
        else {
            continue;
        };
        let read = sample.finite().map_err(str::to_owned);
        let read = read.and_then(|value| freshness.check(sample.timestamp).map(|()| value));
        let value = match read {
            Ok(value) => (quantity(value), sample.timestamp),
            Err(why) => {
                sorted.without.insert(name.clone(), why);
                continue;
            }
        };
        if let Some(known) = sorted.values.get(name) {
            sorted.repeated.push(name.clone());
            if known.0 >= value.0 {
                continue;
            }
        }
        sorted.values.insert(name.clone(), value);
    }
    sorted
}

/// All samples as series of an external metric.
///
/// Departs: one series without a usable value makes the answer an error, since autoscalers add
/// series up and would take what is missing for zero.
///
/// # Errors
/// [`SourceError::NoValue`].
pub(super) fn series(
    about: About<'_>,
    samples: &[Sample],
    freshness: Freshness,
) -> Result<Vec<ExternalValue>, SourceError> {
    let mut values = Vec::with_capacity(samples.len());
    for sample in samples {
        let value = sample.finite().map_err(|what| about.no_value(what))?;
        let fresh = freshness.check(sample.timestamp);
        fresh.map_err(|why| about.no_value(why))?;
        values.push(ExternalValue {
            labels: sample.labels.clone(),
            timestamp: sample.timestamp,
            window_seconds: None,
            value: quantity(value),
        });
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::{About, Freshness, by_name, quantity, series};
    use crate::prometheus::Sample;
    use proptest::prelude::*;
    use rstest::rstest;
    use std::time::Duration;

    const ABOUT: About<'_> = About {
        metric: "m",
        subject: "pods",
    };

    fn freshness() -> Freshness {
        Freshness {
            now: "2026-01-01T00:05:00Z".parse().unwrap(),
            max_age: Duration::from_secs(60),
        }
    }

    fn sample(name: &str, value: f64, at: &str) -> Sample {
        Sample {
            labels: Some([("pod".to_owned(), name.to_owned())].into()),
            timestamp: format!("2026-01-01T00:0{at}Z").parse().unwrap(),
            value: Some(value),
        }
    }

    #[rstest]
    #[case(0.5339, "533m")]
    #[case(-0.5339, "-533m")]
    #[case(1500.0, "1500")]
    #[case(2e30, "9223372036854775807m")]
    fn a_value_is_cut_to_thousandths(#[case] value: f64, #[case] want: &str) {
        assert_eq!(quantity(value).to_string(), want);
    }

    #[test]
    fn an_object_without_a_usable_sample_is_left_out_with_the_reason() {
        let samples = [
            sample("a", 1.0, "5:00"),
            sample("b", f64::NAN, "5:00"),
            sample("c", 1.0, "3:59"),
            sample("d", 1.0, "4:00"),
            sample("", 1.0, "5:00"),
        ];
        let got = by_name(&samples, "pod", freshness());
        assert_eq!(got.values.keys().collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(got.without["b"], "NaN");
        assert_eq!(
            got.without["c"],
            "its newest sample is 61 s old, older than 60 s"
        );
    }

    #[test]
    fn of_several_samples_the_largest_counts() {
        let samples = [3.0, 5.0, 4.0].map(|value| sample("a", value, "5:00"));
        let got = by_name(&samples, "pod", freshness());
        assert_eq!(got.values["a"].0, quantity(5.0));
        assert_eq!(got.repeated, ["a", "a"]);
    }

    #[rstest]
    #[case(f64::NAN, "5:00", "no value of metric m for pods: NaN")]
    #[case(f64::INFINITY, "5:00", "no value of metric m for pods: +Inf")]
    #[case(
        1.0,
        "1:00",
        "no value of metric m for pods: its newest sample is 240 s old, older than 60 s"
    )]
    fn one_bad_series_spoils_the_sum(#[case] value: f64, #[case] at: &str, #[case] why: &str) {
        let samples = [sample("a", 1.0, "5:00"), sample("b", value, at)];
        let error = series(ABOUT, &samples, freshness()).unwrap_err();
        assert_eq!(error.to_string(), why);
    }

    proptest! {
        #[test]
        fn no_number_is_a_panic(value in any::<f64>()) {
            let samples = [sample("a", value, "5:00")];
            let got = by_name(&samples, "pod", freshness());
            prop_assert_eq!(got.values.len(), usize::from(value.is_finite()));
        }
    }
}
