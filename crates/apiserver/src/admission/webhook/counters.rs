//! Upstream's metrics about webhooks.

use super::review::Role;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Upper bounds of the duration histogram, in seconds; upstream's.
const BOUNDS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
const DURATIONS: &str = "apiserver_admission_webhook_admission_duration_seconds";
const REQUESTS: &str = "apiserver_admission_webhook_request_total";
const REJECTIONS: &str = "apiserver_admission_webhook_rejection_count";
const FAIL_OPEN: &str = "apiserver_admission_webhook_fail_open_count";

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The webhook agreed.
    Allowed,
    /// It refused with this code.
    Refused(u16),
    /// It could not be asked, and the request failed.
    Failed,
    /// It could not be asked, and the request went on.
    Ignored,
}

#[derive(Debug, Default, Clone, Copy)]
struct Durations {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    sum: f64,
}

/// What has been asked so far, by label text. Series exist per configured webhook, so their number
/// is bounded.
#[derive(Debug, Default)]
pub(super) struct Counters {
    durations: Mutex<BTreeMap<String, Durations>>,
    /// By metric and labels.
    totals: Mutex<BTreeMap<(&'static str, String), u64>>,
}

impl Counters {
    /// Counts a question to a webhook about an operation, which took `seconds`.
    pub(super) fn asked(
        &self,
        (name, role, operation): (&str, Role, &str),
        seconds: f64,
        outcome: Outcome,
    ) {
        let (code, rejected) = match outcome {
            Outcome::Allowed => (200, false),
            Outcome::Refused(code) => (code, true),
            Outcome::Failed => (500, true),
            Outcome::Ignored => (500, false),
        };
        let role = match role {
            Role::Mutating => "admit",
            Role::Validating => "validating",
        };
        let who = format!("name=\"{name}\",type=\"{role}\"");
        let about = format!("{who},operation=\"{operation}\"");
        self.took(format!("{about},rejected=\"{rejected}\""), seconds);
        let mut totals = self.totals.lock();
        let mut count = |metric, labels| *totals.entry((metric, labels)).or_default() += 1;
        count(
            REQUESTS,
            format!("{about},code=\"{code}\",rejected=\"{rejected}\""),
        );
        match outcome {
            Outcome::Allowed => {}
            Outcome::Refused(code) => count(
                REJECTIONS,
                format!("{about},error_type=\"no_error\",rejection_code=\"{code}\""),
            ),
            Outcome::Failed => count(
                REJECTIONS,
                format!("{about},error_type=\"calling_webhook_error\",rejection_code=\"0\""),
            ),
            Outcome::Ignored => count(FAIL_OPEN, who),
        }
    }

    fn took(&self, labels: String, seconds: f64) {
        let mut durations = self.durations.lock();
        let series = durations.entry(labels).or_default();
        series.count += 1;
        series.sum += seconds;
        for (bucket, bound) in series.buckets.iter_mut().zip(BOUNDS) {
            *bucket += u64::from(seconds <= bound);
        }
    }

    /// The Prometheus text form; empty if nothing was ever asked.
    pub(super) fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        self.write(&mut out).unwrap_or_default();
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        for (index, (labels, series)) in self.durations.lock().iter().enumerate() {
            if index == 0 {
                writeln!(out, "# TYPE {DURATIONS} histogram")?;
            }
            for (count, bound) in series.buckets.iter().zip(BOUNDS) {
                writeln!(out, "{DURATIONS}_bucket{{{labels},le=\"{bound}\"}} {count}")?;
            }
            let Durations { count, sum, .. } = series;
            writeln!(out, "{DURATIONS}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
            writeln!(out, "{DURATIONS}_sum{{{labels}}} {sum}")?;
            writeln!(out, "{DURATIONS}_count{{{labels}}} {count}")?;
        }
        let mut shown = "";
        for ((metric, labels), count) in self.totals.lock().iter() {
            if *metric != shown {
                writeln!(out, "# TYPE {metric} counter")?;
                shown = metric;
            }
            writeln!(out, "{metric}{{{labels}}} {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_is_counted_where_dashboards_look() {
        let counters = Counters::default();
        assert_eq!(counters.render(), "");
        let about = ("a.b.c", Role::Validating, "CREATE");
        for outcome in [Outcome::Allowed, Outcome::Refused(403), Outcome::Ignored] {
            counters.asked(about, 0.05, outcome);
        }
        counters.asked(about, 30.0, Outcome::Failed);
        let text = counters.render();
        let has = |line: &str| assert!(text.contains(line), "{line} is not in\n{text}");
        let about = "name=\"a.b.c\",type=\"validating\",operation=\"CREATE\"";
        has(&format!(
            "{REQUESTS}{{{about},code=\"403\",rejected=\"true\"}} 1"
        ));
        has(&format!(
            "{REJECTIONS}{{{about},error_type=\"calling_webhook_error\",rejection_code=\"0\"}} 1"
        ));
        has(&format!(
            "{FAIL_OPEN}{{name=\"a.b.c\",type=\"validating\"}} 1"
        ));
        has(&format!(
            "{DURATIONS}_bucket{{{about},rejected=\"false\",le=\"0.1\"}} 2"
        ));
        has(&format!("{DURATIONS}_count{{{about},rejected=\"true\"}} 2"));
    }
}
