//! Counters for `/metrics`.

use crate::store::Stats;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};

/// What has been asked and answered so far.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    watches: AtomicI64,
}

impl Metrics {
    /// Counts an answered request.
    pub(crate) fn answered(&self, verb: &str, resource: &str, code: u16) {
        *self
            .requests
            .lock()
            .entry((verb.to_owned(), resource.to_owned(), code))
            .or_default() += 1;
    }

    /// Counts watches: +1 when one opens, -1 when it ends.
    pub(crate) fn watching(&self, change: i64) {
        self.watches.fetch_add(change, Ordering::Relaxed);
    }

    /// The Prometheus text form.
    pub(crate) fn render(&self, stats: &Stats) -> String {
        let mut out = String::new();
        out.push_str("# HELP apiserver_request_total Requests by verb, resource and code.\n");
        out.push_str("# TYPE apiserver_request_total counter\n");
        for ((verb, resource, code), count) in self.requests.lock().iter() {
            let labels = format!("verb=\"{verb}\",resource=\"{resource}\",code=\"{code}\"");
            put(
                &mut out,
                format_args!("apiserver_request_total{{{labels}}} {count}\n"),
            );
        }
        let watches = u64::try_from(self.watches.load(Ordering::Relaxed)).unwrap_or_default();
        let gauges = [
            ("apiserver_longrunning_requests", watches),
            ("apiserver_storage_objects", stats.objects as u64),
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
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).unwrap_or_default();
}
