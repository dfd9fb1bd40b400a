//! Parameters of operations.

use serde_json::{Value, json};

/// Of POST and PUT.
pub(super) const WRITE: [&str; 4] = ["dryRun", "fieldManager", "fieldValidation", "pretty"];
/// Of PATCH.
pub(super) const PATCH: [&str; 5] = [
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "pretty",
];
/// Of LIST and WATCH.
pub(super) const LIST: [&str; 11] = [
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
/// Of DELETE of one object.
pub(super) const DELETE: [&str; 6] = [
    "dryRun",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
];
/// Of DELETE of a collection.
pub(super) const DELETE_MANY: [&str; 14] = [
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "labelSelector",
    "limit",
    "orphanDependents",
    "pretty",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];
/// Of `exec`.
pub(super) const EXEC: [&str; 6] = ["command", "container", "stderr", "stdin", "stdout", "tty"];
/// Of `attach`.
pub(super) const ATTACH: [&str; 5] = ["container", "stderr", "stdin", "stdout", "tty"];
/// Of `log`.
pub(super) const LOG: [&str; 11] = [
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "pretty",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "stream",
    "tailLines",
    "timestamps",
];

/// Name, type and meaning, sorted by name. Anything else is a string.
#[rustfmt::skip]
const KNOWN: &[(&str, &str, &str)] = &[
    ("allowWatchBookmarks", "boolean", "Whether the watch may send BOOKMARK events, which only carry a resourceVersion."),
    ("command", "string", "One word of the command; repeat it for each argument."),
    ("container", "string", "Which container; the only one if there is just one."),
    ("continue", "string", "The token of the previous page, to get the next one."),
    ("dryRun", "string", "All: check everything and store nothing."),
    ("fieldManager", "string", "Who writes, for the record of who owns which field."),
    ("fieldSelector", "string", "Only objects whose fields have these values."),
    ("fieldValidation", "string", "What to do about unknown and duplicate fields: Ignore, Warn or Strict."),
    ("follow", "boolean", "Whether to go on as the log grows."),
    ("force", "boolean", "Whether an apply takes over fields that others own."),
    ("gracePeriodSeconds", "integer", "Seconds until the object goes; 0 means at once."),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Whether an object that cannot be read may be deleted."),
    ("insecureSkipTLSVerifyBackend", "boolean", "Whether the node's certificate goes unchecked."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "The most objects in one answer; the rest comes with continue."),
    ("limitBytes", "integer", "The most bytes of log."),
    ("orphanDependents", "boolean", "Deprecated; use propagationPolicy."),
    ("path", "string", "The path to ask for."),
    ("ports", "integer", "The ports to forward."),
    ("pretty", "string", "If true, the answer is indented."),
    ("previous", "boolean", "Whether to read the log of the container's previous run."),
    ("propagationPolicy", "string", "What becomes of dependents: Orphan, Background or Foreground."),
    ("resourceVersion", "string", "How recent the answer must be, or where a watch starts."),
    ("resourceVersionMatch", "string", "How resourceVersion is meant: Exact or NotOlderThan."),
    ("sendInitialEvents", "boolean", "Whether a watch begins with the objects that exist, and then marks the end of them."),
    ("sinceSeconds", "integer", "Only lines younger than this."),
    ("sinceTime", "string", "Only lines after this time."),
    ("stderr", "boolean", "Whether to send standard error."),
    ("stdin", "boolean", "Whether to take standard input."),
    ("stdout", "boolean", "Whether to send standard output."),
    ("stream", "string", "Which output: All, Stdout or Stderr."),
    ("tailLines", "integer", "Only this many of the last lines."),
    ("timeoutSeconds", "integer", "When the call ends, whatever happens."),
    ("timestamps", "boolean", "Whether each line begins with its time."),
    ("tty", "boolean", "Whether there is a terminal."),
    ("watch", "boolean", "Whether to stream changes instead of listing."),
];

/// A query parameter.
pub(super) fn query(name: &str) -> Value {
    let known = KNOWN.binary_search_by(|(key, _, _)| (*key).cmp(name)).ok();
    let (kind, text) = known
        .and_then(|index| KNOWN.get(index))
        .map_or(("string", ""), |(_, kind, text)| (*kind, *text));
    json!({
        "name": name, "in": "query", "description": text,
        "schema": {"type": kind, "uniqueItems": true},
    })
}

/// Parameters of the path itself.
pub(super) fn in_path(names: &[&str]) -> Value {
    let of = |name: &&str| {
        let text = match *name {
            "name" => "The object's name.",
            _ => "The object's namespace.",
        };
        json!({
            "name": name, "in": "path", "required": true, "description": text,
            "schema": {"type": "string", "uniqueItems": true},
        })
    };
    names.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_says_what_it_means() {
        assert!(KNOWN.is_sorted_by_key(|(name, _, _)| *name));
        let all: [&[&str]; 7] = [&WRITE, &PATCH, &LIST, &DELETE, &DELETE_MANY, &EXEC, &LOG];
        for name in all.into_iter().flatten().chain(&ATTACH) {
            assert_ne!(query(name)["description"], "", "{name}");
        }
    }
}
