//! Events: `events.k8s.io/v1` names against core `v1` names of the same record.

use serde_json::{Map, Value};

/// (name in events.k8s.io/v1, name in core v1).
const NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

pub(super) fn to_core(event: Value) -> Value {
    let mut event = renamed(event, "v1", |name| other(name, |(new, core)| (new, core)));
    // The core form always carries these.
    if let Some(map) = event.as_object_mut() {
        for key in ["reportingComponent", "reportingInstance"] {
            map.entry(key).or_insert_with(|| "".into());
        }
    }
    event
}

pub(super) fn from_core(event: Value) -> Value {
    renamed(event, "events.k8s.io/v1", |name| {
        other(name, |(new, core)| (core, new))
    })
}

type Pair = (&'static str, &'static str);

fn other(name: &str, direction: fn(Pair) -> Pair) -> Option<&'static str> {
    NAMES
        .iter()
        .map(|pair| direction(*pair))
        .find(|(from, _)| *from == name)
        .map(|(_, to)| to)
}

fn renamed(event: Value, version: &str, name: impl Fn(&str) -> Option<&'static str>) -> Value {
    let Value::Object(fields) = event else {
        return event;
    };
    let mut out = Map::new();
    for (key, value) in fields {
        let value = if key == "apiVersion" {
            version.into()
        } else {
            value
        };
        let key = name(&key).map_or(key, str::to_owned);
        out.insert(key, value);
    }
    Value::Object(out)
}
