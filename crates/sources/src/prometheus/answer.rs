//! What Prometheus answers.

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One value of an instant query.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The series' labels; `None` for a scalar.
    pub labels: Option<BTreeMap<String, String>>,
    /// When it was evaluated. This is not when it was scraped: that is at most Prometheus' look-back
    /// (5 minutes by default) earlier.
    pub timestamp: Timestamp,
    /// The value, which may be NaN or infinite; `None` for a native histogram, which is not a number.
    pub value: Option<f64>,
}

impl Sample {
    /// The value if it is a number that can be counted with.
    ///
    /// # Errors
    /// What it is instead: `NaN`, `+Inf`, `-Inf` or `a histogram`.
    pub fn finite(&self) -> Result<f64, &'static str> {
        match self.value {
            None => Err("a histogram"),
            Some(value) if value.is_nan() => Err("NaN"),
            Some(f64::INFINITY) => Err("+Inf"),
            Some(f64::NEG_INFINITY) => Err("-Inf"),
            Some(value) => Ok(value),
        }
    }
}

/// A series' name and the names of its labels: all that discovery needs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// `__name__`.
    pub name: String,
    /// Label names without `__name__`.
    pub labels: BTreeSet<String>,
}

/// The frame around every answer.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<T> {
    pub(super) status: String,
    #[serde(default = "Option::default")]
    pub(super) data: Option<T>,
    #[serde(default)]
    pub(super) error_type: String,
    #[serde(default)]
    pub(super) error: String,
    /// What the API server on the way says, whose `Status` fits this frame as well.
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
}

/// The data of an instant query.
#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub(super) enum Instant {
    Vector(Vec<Element>),
    Scalar((f64, String)),
    String(IgnoredAny),
    Matrix(IgnoredAny),
}

#[derive(Debug, Deserialize)]
pub(super) struct Element {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<(f64, String)>,
    #[serde(default)]
    histogram: Option<(f64, IgnoredAny)>,
}

impl Instant {
    /// The samples of a vector or scalar; `None` for other results.
    pub(super) fn samples(self) -> Option<Vec<Sample>> {
        match self {
            Self::Scalar((at, text)) => Some(vec![Sample {
                labels: None,
                timestamp: instant(at)?,
                value: Some(number(&text)?),
            }]),
            Self::Vector(elements) => elements.into_iter().map(Element::sample).collect(),
            Self::String(_) | Self::Matrix(_) => None,
        }
    }
}

impl Element {
    fn sample(self) -> Option<Sample> {
        let (at, value) = match (self.value, self.histogram) {
            (Some((at, text)), _) => (at, Some(number(&text)?)),
            (None, Some((at, _))) => (at, None),
            (None, None) => return None,
        };
        Some(Sample {
            labels: Some(self.metric),
            timestamp: instant(at)?,
            value,
        })
    }
}

/// Prometheus writes `NaN`, `+Inf` and `-Inf` beside decimal numbers.
fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Seconds since the epoch with a fraction; the API's times are exact to milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "what does not fit is refused by Timestamp"
)]
fn instant(seconds: f64) -> Option<Timestamp> {
    if !seconds.is_finite() {
        return None;
    }
    Timestamp::from_millisecond((seconds * 1000.0).round() as i64).ok()
}

/// The data of a question for series, each kind of series once: there may be a hundred thousand
/// that differ in nothing but label values.
#[derive(Debug, Default)]
pub(super) struct Kinds(pub(super) BTreeSet<Series>);

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(KindsVisitor)
    }
}

struct KindsVisitor;

impl<'de> Visitor<'de> for KindsVisitor {
    type Value = Kinds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of label sets")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Kinds, A::Error> {
        let mut kinds = Kinds::default();
        while let Some(OneSeries(series)) = list.next_element()? {
            kinds.0.insert(series);
        }
        Ok(kinds)
    }
}

struct OneSeries(Series);

impl<'de> Deserialize<'de> for OneSeries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SeriesVisitor)
    }
}

struct SeriesVisitor;

impl<'de> Visitor<'de> for SeriesVisitor {
    type Value = OneSeries;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OneSeries, A::Error> {
        let mut series = Series {
            name: String::new(),
            labels: BTreeSet::new(),
        };
        while let Some(label) = map.next_key::<String>()? {
            if label == "__name__" {
                series.name = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
                series.labels.insert(label);
            }
        }
        Ok(OneSeries(series))
    }
}

#[cfg(test)]
mod tests {
    use super::{Envelope, Instant, Kinds};
    use proptest::prelude::*;
    use rstest::rstest;

    fn samples(data: &str) -> Option<Vec<super::Sample>> {
        let text = format!(r#"{{"status":"success","data":{data}}}"#);
        let envelope: Envelope<Instant> = serde_json::from_str(&text).unwrap();
        envelope.data?.samples()
    }

    #[rstest]
    #[case("1.5", Ok(1.5))]
    #[case("1e3", Ok(1000.0))]
    #[case("NaN", Err("NaN"))]
    #[case("+Inf", Err("+Inf"))]
    #[case("-Inf", Err("-Inf"))]
    fn a_value_is_finite_or_says_what_it_is(
        #[case] text: &str,
        #[case] want: Result<f64, &'static str>,
    ) {
        let data = format!(
            r#"{{"resultType":"vector","result":[{{"metric":{{"pod":"a"}},"value":[1435781451.781,"{text}"]}}]}}"#
        );
        let got = samples(&data).unwrap().remove(0);
        assert_eq!(got.finite(), want);
        assert_eq!(got.timestamp.to_string(), "2015-07-01T20:10:51.781Z");
    }

    #[rstest]
    #[case::scalar(r#"{"resultType":"scalar","result":[1,"2"]}"#, true)]
    #[case::histogram(
        r#"{"resultType":"vector","result":[{"metric":{},"histogram":[1,{"count":"1"}]}]}"#,
        true
    )]
    #[case::matrix(r#"{"resultType":"matrix","result":[]}"#, false)]
    #[case::no_value(r#"{"resultType":"vector","result":[{"metric":{}}]}"#, false)]
    #[case::not_a_number(r#"{"resultType":"scalar","result":[1,"x"]}"#, false)]
    fn only_vectors_and_scalars_are_samples(#[case] data: &str, #[case] read: bool) {
        assert_eq!(samples(data).is_some(), read);
    }

    #[test]
    fn series_that_differ_in_values_count_once() {
        let text = r#"{"status":"success","data":[
            {"__name__":"a","pod":"x"},{"__name__":"a","pod":"y"},{"__name__":"a","node":"y"}]}"#;
        let envelope: Envelope<Kinds> = serde_json::from_str(text).unwrap();
        assert_eq!(envelope.data.unwrap().0.len(), 2);
    }

    proptest! {
        #[test]
        fn nothing_that_comes_is_a_panic(text in "\\PC{0,200}") {
            let read = serde_json::from_str::<Envelope<Instant>>(&text);
            drop(read.map(|envelope| envelope.data.and_then(Instant::samples)));
        }
    }
}
