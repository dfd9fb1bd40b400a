//! The text form of Prometheus metrics (version 0.0.4): histograms that count without locks, and
//! the page that parts of the program write their series on.
//!
//! ```
//! use plimsoll_api::exposition::{Kind, Page};
//! let mut page = Page::default();
//! page.family("passes_total", Kind::Counter, "Passes so far.");
//! page.sample("passes_total", &[("outcome", "held")], 3);
//! assert!(page.into_text().ends_with("passes_total{outcome=\"held\"} 3\n"));
//! ```

use std::fmt::{Arguments, Debug, Display, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A part of the program that has metrics to show.
pub trait Exposition: Send + Sync + Debug {
    /// Writes its series. Gauges are computed here, not kept.
    fn expose(&self, page: &mut Page);
}

/// The type of a metric family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// A present value.
    Gauge,
    /// Counts by upper bound.
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Labels of a series, in the order they are shown.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page of metrics being written.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Begins a family; its samples follow.
    pub fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = kind.name();
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One value.
    pub fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl Display) {
        self.put(format_args!("{name}"));
        self.labels(labels, None);
        self.put(format_args!(" {value}\n"));
    }

    /// A family of one value without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help);
        self.sample(name, &[], value);
    }

    /// One series of a histogram.
    pub fn histogram<const N: usize>(
        &mut self,
        name: &str,
        labels: Labels<'_>,
        histogram: &Histogram<N>,
    ) {
        let mut below = 0;
        for (bound, bucket) in histogram.bounds.iter().zip(&histogram.buckets) {
            below += bucket.load(Ordering::Relaxed);
            self.put(format_args!("{name}_bucket"));
            self.labels(labels, Some(&Bound(*bound)));
            self.put(format_args!(" {below}\n"));
        }
        let count = histogram.count();
        self.put(format_args!("{name}_bucket"));
        self.labels(labels, Some(&"+Inf"));
        self.put(format_args!(" {count}\n{name}_sum"));
        self.labels(labels, None);
        self.put(format_args!(
            " {}\n{name}_count",
            histogram.sum().as_secs_f64()
        ));
        self.labels(labels, None);
        self.put(format_args!(" {count}\n"));
    }

    /// The page so far.
    pub fn into_text(self) -> String {
        self.0
    }

    fn labels(&mut self, labels: Labels<'_>, bound: Option<&dyn Display>) {
        if labels.is_empty() && bound.is_none() {
            return;
        }
        let mut before = '{';
        for (name, value) in labels {
            self.0.push(before);
            self.put(format_args!("{name}=\""));
            self.value(value);
            self.0.push('"');
            before = ',';
        }
        if let Some(bound) = bound {
            self.put(format_args!("{before}le=\"{bound}\""));
        }
        self.0.push('}');
    }

    fn value(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }

    fn put(&mut self, text: Arguments<'_>) {
        // Writing to a string cannot fail.
        self.0.write_fmt(text).unwrap_or_default();
    }
}

/// A bound as Prometheus' own clients print it: plain, or with an exponent where it is tiny.
struct Bound(f64);

impl Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let value = self.0;
        if value != 0.0 && value.abs() < 1e-4 {
            // `1e-05`: two digits of exponent, as Go prints them.
            let text = format!("{value:e}");
            return match text.split_once("e-") {
                Some((digits, exponent)) => write!(f, "{digits}e-{exponent:0>2}"),
                None => f.write_str(&text),
            };
        }
        write!(f, "{value}")
    }
}

/// A histogram of durations with fixed upper bounds, in seconds. Counting takes no lock.
#[derive(Debug)]
pub struct Histogram<const N: usize> {
    bounds: &'static [f64; N],
    buckets: [AtomicU64; N],
    count: AtomicU64,
    nanos: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    /// An empty histogram; `bounds` ascend.
    pub const fn new(bounds: &'static [f64; N]) -> Self {
        Self {
            bounds,
            buckets: [const { AtomicU64::new(0) }; N],
            count: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
        }
    }

    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let first = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = self.buckets.get(first) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there have been.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::{Histogram, Kind, Page};
    use std::time::Duration;

    #[test]
    fn a_bucket_counts_everything_up_to_its_bound() {
        static BOUNDS: [f64; 3] = [1e-5, 0.5, 2.0];
        let histogram = Histogram::new(&BOUNDS);
        for millis in [0, 500, 501, 3000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        page.histogram("took_seconds", &[("who", "me")], &histogram);
        let want = "took_seconds_bucket{who=\"me\",le=\"1e-05\"} 1\n\
                    took_seconds_bucket{who=\"me\",le=\"0.5\"} 2\n\
                    took_seconds_bucket{who=\"me\",le=\"2\"} 3\n\
                    took_seconds_bucket{who=\"me\",le=\"+Inf\"} 4\n\
                    took_seconds_sum{who=\"me\"} 4.001\n\
                    took_seconds_count{who=\"me\"} 4\n";
        assert_eq!(page.into_text(), want);
    }

    #[test]
    fn label_values_are_escaped() {
        let mut page = Page::default();
        page.family("f", Kind::Gauge, "Help.");
        page.sample("f", &[("a", "x\"y\\z\n")], 1);
        let want = "# HELP f Help.\n# TYPE f gauge\nf{a=\"x\\\"y\\\\z\\n\"} 1\n";
        assert_eq!(page.into_text(), want);
    }
}
