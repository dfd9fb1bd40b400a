//! Which vectors run how.

use crate::differ::Outcome;
use crate::files::File;
use crate::report::{FileReport, Report};
use crate::{api, bounds, ca, calc, pass, series};
use anyhow::{Context, Result};
use serde_json::Value;

/// Folders of autoscalers that are not built yet.
const NOT_YET: [&str; 2] = ["keda", "vpa"];

/// How a file's vectors run.
enum Suite {
    /// Decisions of the horizontal autoscaler.
    Horizontal,
    /// Requests to the API server.
    Api,
    /// Scenarios of the node autoscaler, all of one family.
    Nodes(String),
    /// Nothing to run them with, and why.
    Skipped(String),
    /// A form nobody knows.
    Unknown(String),
}

/// Runs every file.
///
/// # Errors
/// A file that should hold vectors holds none, or no runtime starts.
pub(crate) fn all(files: &[File]) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .context("starting the runtime")?;
    let mut report = Report::default();
    for file in files {
        let mut found = FileReport::new(&file.name);
        match suite(file) {
            Suite::Horizontal => {
                for vector in vectors(file)? {
                    found.add(id(vector), readable(horizontal(vector)));
                }
            }
            Suite::Api => {
                for vector in vectors(file)? {
                    let outcome = runtime.block_on(Box::pin(api::run(vector)));
                    found.add(id(vector), readable(outcome));
                }
            }
            Suite::Nodes(family) => {
                for scenario in listed(file, "scenarios")? {
                    found.add(id(scenario), readable(ca::run(&family, scenario)));
                }
            }
            Suite::Skipped(reason) => {
                found.skipped = file.count();
                found.reason = Some(reason);
            }
            Suite::Unknown(why) => found.add("schema", failed(&why)),
        }
        report.push(found);
    }
    Ok(report)
}

fn suite(file: &File) -> Suite {
    if file.text("format") == "ca-scenarios/1" {
        return Suite::Nodes(file.text("family").to_owned());
    }
    match file.schema() {
        "hpa-vectors/1" => Suite::Horizontal,
        "hpa-api/1" => Suite::Api,
        _ if NOT_YET.contains(&file.folder.as_str()) => {
            Suite::Skipped(format!("no engine yet: {}", file.folder))
        }
        "" => Suite::Unknown("the file names no schema".to_owned()),
        other => Suite::Unknown(format!("nobody knows the schema {other:?}")),
    }
}

fn vectors(file: &File) -> Result<&[Value]> {
    listed(file, "vectors")
}

fn listed<'a>(file: &'a File, what: &str) -> Result<&'a [Value]> {
    let list = file.content.get(what).and_then(Value::as_array);
    let list = list.with_context(|| format!("{} holds no list of {what}", file.name))?;
    Ok(list)
}

fn id(vector: &Value) -> &str {
    let id = vector.get("id").and_then(Value::as_str);
    id.unwrap_or("(without id)")
}

fn horizontal(vector: &Value) -> Result<Outcome> {
    let kind = vector.get("kind").and_then(Value::as_str);
    match kind.unwrap_or_default() {
        "calc" => calc::calculation(vector),
        "group-pods" => calc::groups(vector),
        "requests" => calc::requests(vector),
        "quantity" => calc::quantity(vector),
        "reconcile" => pass::run(vector),
        "trace" => series::run(vector),
        "clamp" | "rate-limit" => bounds::limited(vector),
        "stabilize-legacy" | "stabilize-behavior" => bounds::stabilized(vector),
        "store-event" => bounds::stored(vector),
        other => Ok(failed(&format!("nobody knows the kind {other:?}"))),
    }
}

/// A vector that cannot be read differs in everything.
fn readable(outcome: Result<Outcome>) -> Outcome {
    outcome.unwrap_or_else(|error| failed(&format!("{error:#}")))
}

fn failed(why: &str) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.check("vector", why, &Value::Null);
    outcome
}

#[cfg(test)]
mod tests {
    use super::all;
    use crate::files::{self, File};
    use crate::report::Report;
    use rstest::rstest;
    use serde_json::{Value, json};

    fn run(folder: &str, content: Value) -> Report {
        all(&[File {
            name: format!("{folder}/x.json"),
            folder: folder.to_owned(),
            content,
        }])
        .unwrap()
    }

    fn hpa(vector: &Value) -> Report {
        run(
            "hpa",
            json!({ "schema": "hpa-vectors/1", "vectors": [vector] }),
        )
    }

    fn clamp(want: i32) -> Value {
        json!({ "id": "c", "kind": "clamp", "input": { "now": "2026-01-01T12:00:00Z",
            "minReplicas": 1, "maxReplicas": 10, "currentReplicas": 3, "desiredReplicas": 9 },
            "expected": { "error": false, "desiredReplicas": want, "reason": "ScaleUpLimit" } })
    }

    #[test]
    fn what_is_as_recorded_passes() {
        let report = hpa(&clamp(6));
        assert_eq!(
            (report.passed, report.failed),
            (1, 0),
            "{:#?}",
            report.lines()
        );
    }

    #[test]
    fn what_differs_is_told_with_field_and_trace() {
        let report = hpa(&clamp(7));
        let lines = report.lines();
        assert_eq!(lines[0], "hpa/x.json: 1 failed");
        assert_eq!(lines[1], "  c desiredReplicas: wanted 7, got 6");
        assert!(lines[2].starts_with("    "), "{lines:#?}");
        assert_eq!(report.failed(), 1);
    }

    #[rstest]
    #[case::an_unknown_kind(
        json!({ "id": "k", "kind": "guess", "input": {}, "expected": {} }),
        "  k vector: wanted null, got \"nobody knows the kind \\\"guess\\\"\""
    )]
    #[case::no_expectation(
        json!({ "id": "k", "kind": "calc", "input": {} }),
        "  k vector: wanted null, got \"no expected\""
    )]
    fn what_cannot_be_replayed_fails(#[case] vector: Value, #[case] want: &str) {
        assert_eq!(hpa(&vector).lines()[1], want);
    }

    #[test]
    fn a_schema_nobody_knows_fails() {
        let report = run("hpa", json!({ "schema": "hpa-vectors/9", "vectors": [] }));
        assert_eq!(report.failed(), 1);
    }

    #[rstest]
    #[case::as_recorded("balance", 2, 0)]
    #[case::otherwise("balance", 3, 1)]
    #[case::of_no_known_family("guess", 2, 1)]
    fn scenarios_of_the_node_autoscaler_are_played(
        #[case] family: &str,
        #[case] size: usize,
        #[case] failed: usize,
    ) {
        let given =
            json!({ "groups": [{ "id": "ng1", "maxSize": 10, "target": 1 }], "newNodes": 1 });
        let scenario =
            json!({ "id": "b", "given": given, "expect": { "newSizes": { "ng1": size } } });
        let content =
            json!({ "format": "ca-scenarios/1", "family": family, "scenarios": [scenario] });
        assert_eq!(run("ca", content).failed(), failed);
    }

    #[test]
    fn folders_without_an_engine_are_skipped_once() {
        let file = |name: &str| File {
            name: format!("vpa/{name}"),
            folder: "vpa".to_owned(),
            content: json!({ "cases": [1, 2] }),
        };
        let report = all(&[file("a.json"), file("b.json")]).unwrap();
        let want = [
            "vpa: 4 skipped in 2 files: no engine yet: vpa",
            "0 passed, 0 failed, 4 skipped",
        ];
        assert_eq!(report.lines(), want);
    }

    #[rstest]
    #[case::as_recorded(201, 0)]
    #[case::otherwise(409, 1)]
    fn requests_go_to_the_api_server(#[case] code: u16, #[case] failed: usize) {
        let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
        let reference = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" });
        let body = json!({ "metadata": { "name": "x" },
            "spec": { "scaleTargetRef": reference, "maxReplicas": 3 } });
        let vector = json!({ "id": "a", "gates": {},
            "request": { "verb": "POST", "path": path, "body": body },
            "expected": { "code": code, "table": {
                "columns": [["Name", "string", 0], ["Reference", "string", 0], ["Targets", "string", 0],
                            ["MinPods", "string", 0], ["MaxPods", "string", 0],
                            ["Replicas", "string", 0], ["Age", "string", 0]],
                "cells": ["x", "Deployment/web", "cpu: <unknown>/80%", "1", 3, 0] } } });
        let report = run("hpa", json!({ "schema": "hpa-api/1", "vectors": [vector] }));
        assert_eq!(report.failed(), failed, "{:#?}", report.lines());
    }

    #[test]
    fn folders_are_walked_and_what_cannot_be_read_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = |text: &str| {
            format!(
                "{:#}",
                files::read(folder.path()).map(drop).expect_err(text)
            )
        };
        assert!(error("empty").contains("no *.json in"));
        let inner = folder.path().join("hpa");
        std::fs::create_dir(&inner).unwrap();
        std::fs::write(inner.join("a.json"), "{}").unwrap();
        let read = files::read(folder.path()).unwrap();
        assert_eq!(
            (read[0].name.as_str(), read[0].folder.as_str()),
            ("hpa/a.json", "hpa")
        );
        std::fs::write(inner.join("b.json"), "{").unwrap();
        assert!(error("broken").contains("b.json"));
        std::fs::remove_file(inner.join("b.json")).unwrap();
        let bare = [File {
            name: "hpa/a.json".into(),
            folder: "hpa".into(),
            content: json!({ "schema": "hpa-vectors/1" }),
        }];
        assert!(all(&bare).is_err());
    }
}
