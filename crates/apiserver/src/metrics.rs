//! Counters for `/metrics`, under the names that dashboards of Kubernetes know.

use crate::store::Stats;
use parking_lot::Mutex;
use plimsoll_api::kind::{Kind, Text};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// What a request was about. The values are those of served kinds, so their number is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Labels {
    verb: &'static str,
    group: Text,
    version: Text,
    resource: Text,
    subresource: Text,
    scope: &'static str,
    dry_run: &'static str,
}

impl Labels {
    /// Labels of a request that is about no resource.
    pub(crate) fn of_path(verb: &'static str) -> Self {
        Self {
            verb: said(verb),
            ..Self::default()
        }
    }

    /// Labels of a request for a kind: `name` and `subresource` as in its path.
    pub(crate) fn of_kind(
        verb: &'static str,
        kind: &Kind,
        path: &crate::http::route::ResourcePath,
    ) -> Self {
        let sub = path
            .subresource
            .as_deref()
            .and_then(|s| kind.subresource(s));
        let streams = sub.is_some_and(|sub| {
            matches!(
                sub.name.as_ref(),
                "attach" | "exec" | "portforward" | "proxy"
            )
        });
        Self {
            verb: if streams { "CONNECT" } else { said(verb) },
            group: kind.group.clone(),
            version: kind.version.clone(),
            resource: kind.plural.clone(),
            subresource: sub.map(|sub| sub.name.clone()).unwrap_or_default(),
            scope: match (&path.name, &path.namespace) {
                (Some(_), _) => "resource",
                (None, Some(_)) => "namespace",
                (None, None) => "cluster",
            },
            dry_run: "",
        }
    }

    /// Marks a request that stores nothing.
    pub(crate) fn dry(mut self) -> Self {
        self.dry_run = "All";
        self
    }

    fn write(&self, out: &mut String) {
        let texts = [
            ("component", "apiserver"),
            ("dry_run", self.dry_run),
            ("group", &self.group),
            ("resource", &self.resource),
            ("scope", self.scope),
            ("subresource", &self.subresource),
            ("verb", self.verb),
            ("version", &self.version),
        ];
        for (index, (name, value)) in texts.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            put(out, format_args!("{comma}{name}=\"{value}\""));
        }
    }
}

/// A verb as metrics say it.
fn said(verb: &str) -> &'static str {
    match verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "head" => "HEAD",
        _ => "other",
    }
}

/// What has been asked and answered so far.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Labels, Answers>>,
    watches: AtomicI64,
    reading: AtomicI64,
    writing: AtomicI64,
}

#[derive(Debug, Default)]
struct Answers {
    codes: BTreeMap<u16, u64>,
    durations: [u64; BUCKETS.len()],
    count: u64,
    sum: Duration,
}

/// Counts a request as being served while it lives.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a AtomicI64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// Counts a request that begins.
    pub(crate) fn begin(&self, method: &http::Method) -> InFlight<'_> {
        let gauge = if method.is_safe() {
            &self.reading
        } else {
            &self.writing
        };
        gauge.fetch_add(1, Ordering::Relaxed);
        InFlight(gauge)
    }

    /// Counts an answered request; streams count by their beginning only.
    pub(crate) fn answered(&self, labels: &Labels, code: u16, took: Duration) {
        let mut requests = self.requests.lock();
        // Known labels are the rule, so they are not cloned to look them up.
        if !requests.contains_key(labels) {
            requests.insert(labels.clone(), Answers::default());
        }
        let Some(answers) = requests.get_mut(labels) else {
            return;
        };
        *answers.codes.entry(code).or_default() += 1;
        if matches!(labels.verb, "WATCH" | "CONNECT") {
            return;
        }
        answers.count += 1;
        answers.sum += took;
        let seconds = took.as_secs_f64();
        let first = BUCKETS.partition_point(|bound| *bound < seconds);
        if let Some(bucket) = answers.durations.get_mut(first) {
            *bucket += 1;
        }
    }

    /// Counts watches: +1 when one opens, -1 when it ends.
    pub(crate) fn watching(&self, change: i64) {
        self.watches.fetch_add(change, Ordering::Relaxed);
    }

    /// The Prometheus text form. `objects` are the stored objects by resource.
    pub(crate) fn render(&self, stats: &Stats, objects: &[(Arc<str>, usize)]) -> String {
        let mut out = String::new();
        self.render_requests(&mut out);
        let gauge = |value: &AtomicI64| value.load(Ordering::Relaxed).max(0);
        head(
            &mut out,
            "apiserver_current_inflight_requests",
            "gauge",
            "Requests being served, by whether they change something.",
        );
        for (kind, value) in [("mutating", &self.writing), ("readOnly", &self.reading)] {
            let value = gauge(value);
            let name = "apiserver_current_inflight_requests";
            put(
                &mut out,
                format_args!("{name}{{request_kind=\"{kind}\"}} {value}\n"),
            );
        }
        let name = "apiserver_longrunning_requests";
        head(&mut out, name, "gauge", "Watches that are open.");
        let watches = gauge(&self.watches);
        let labels = "component=\"apiserver\",verb=\"WATCH\"";
        put(&mut out, format_args!("{name}{{{labels}}} {watches}\n"));
        let name = "apiserver_storage_objects";
        head(&mut out, name, "gauge", "Stored objects by resource.");
        for (resource, count) in objects {
            // Stored under `group/plural`, said as `plural.group`.
            let said = match resource.split_once('/') {
                Some((group, plural)) => format!("{plural}.{group}"),
                None => resource.to_string(),
            };
            put(
                &mut out,
                format_args!("{name}{{resource=\"{said}\"}} {count}\n"),
            );
        }
        let gauges = [
            ("apiserver_storage_size_bytes", stats.bytes as u64),
            ("plimsoll_store_history_events", stats.events as u64),
            ("plimsoll_store_history_bytes", stats.history_bytes as u64),
            ("plimsoll_store_revision", stats.revision),
        ];
        for (name, value) in gauges {
            put(
                &mut out,
                format_args!("# TYPE {name} gauge\n{name} {value}\n"),
            );
        }
        out
    }

    fn render_requests(&self, out: &mut String) {
        let requests = self.requests.lock();
        let name = "apiserver_request_total";
        head(
            out,
            name,
            "counter",
            "Requests by what they asked for and how they ended.",
        );
        for (labels, answers) in requests.iter() {
            for (code, count) in &answers.codes {
                put(out, format_args!("{name}{{code=\"{code}\","));
                labels.write(out);
                put(out, format_args!("}} {count}\n"));
            }
        }
        let name = "apiserver_request_duration_seconds";
        head(
            out,
            name,
            "histogram",
            "How long requests took, without streams.",
        );
        for (labels, answers) in requests.iter().filter(|(_, a)| a.count > 0) {
            let mut text = String::new();
            labels.write(&mut text);
            let mut below = 0;
            for (bound, count) in BUCKETS.iter().zip(answers.durations) {
                below += count;
                put(
                    out,
                    format_args!("{name}_bucket{{{text},le=\"{bound}\"}} {below}\n"),
                );
            }
            let (count, sum) = (answers.count, answers.sum.as_secs_f64());
            put(
                out,
                format_args!(
                    "{name}_bucket{{{text},le=\"+Inf\"}} {count}\n{name}_sum{{{text}}} {sum}\n{name}_count{{{text}}} {count}\n"
                ),
            );
        }
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    put(
        out,
        format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
    );
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_cumulative_buckets() {
        let metrics = Metrics::default();
        let labels = Labels::of_path("get");
        for millis in [1, 30, 70_000] {
            metrics.answered(&labels, 200, Duration::from_millis(millis));
        }
        let mut text = String::new();
        metrics.render_requests(&mut text);
        let labels = "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"\",scope=\"\",\
                      subresource=\"\",verb=\"GET\",version=\"\"";
        for line in [
            format!("apiserver_request_total{{code=\"200\",{labels}}} 3"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.005\"}} 1"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"0.05\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"60\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 3"),
            format!("apiserver_request_duration_seconds_count{{{labels}}} 3"),
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        }
    }
}
