//! `plimsoll explain --offline` on the files of `examples/explain`: the exercises of the arithmetic,
//! word for word, and what bad files are told.
//!
//! With `PLIMSOLL_UPDATE_GOLDENS=1` the expected output in `tests/offline` is written anew.

use rstest::rstest;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GATE: &[&str] = &["--feature-gates", "HPAScaleToZero=true"];

#[cfg(test)]
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[cfg(test)]
fn explain(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command
        .args(["explain", "--offline"])
        .args(args)
        .current_dir(root());
    command.output().unwrap()
}

#[cfg(test)]
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[rstest]
#[case::three_times_the_target("two-at-300m", &[], 6)]
#[case::at_most_double_under_the_classic_limit("two-at-300m-classic", &[], 4)]
#[case::half_the_target("six-at-50m", &[], 3)]
#[case::a_half_pod_is_rounded_up("three-at-50m", &[], 2)]
#[case::a_sum_of_percentages("sum-of-270-percent", &[], 6)]
#[case::the_largest_of_three_wins("largest-wins", &[], 7)]
#[case::a_low_target("five-percent-target", &[], 6)]
#[case::starting_pods_count_as_idle("starting-pods", &[], 4)]
#[case::nothing_to_do("to-zero", GATE, 0)]
#[case::work_arrives_at_nobody("from-zero", GATE, 4)]
#[case::a_schedule_of_our_own_kind("schedule", &[], 5)]
fn an_exercise_comes_out(#[case] name: &str, #[case] flags: &[&str], #[case] want: i64) {
    let file = format!("examples/explain/{name}.yaml");
    let mut args = vec![file.as_str(), "--now", "2026-01-01T12:00:00Z"];
    args.extend(flags);
    let json = explain(&[&args, ["-o", "json"].as_slice()].concat());
    assert!(json.status.success(), "{}", text(&json.stderr));
    let told: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(told["decision"]["replicas"], want, "{told:#}");

    let shown = explain(&args);
    let got = format!(
        "$ plimsoll explain --offline {}\n{}",
        args.join(" "),
        text(&shown.stdout)
    );
    let golden = root().join(format!("crates/plimsoll/tests/offline/{name}.txt"));
    if std::env::var_os("PLIMSOLL_UPDATE_GOLDENS").is_some() {
        std::fs::write(&golden, &got).unwrap();
    }
    assert_eq!(got, std::fs::read_to_string(&golden).unwrap());
}

#[rstest]
#[case::a_gate_that_is_off(
    include_str!("../../../examples/explain/to-zero.yaml"),
    "x.yaml, document 1: HorizontalPodAutoscaler.autoscaling \"web\" is invalid: spec.minReplicas: \
     Invalid value: 0: must be greater than or equal to 1"
)]
#[case::an_unknown_field(
    "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: web}, \
     spec: {maxReplica: 3}}",
    "x.yaml, document 1: HorizontalPodAutoscaler in version \"v2\" cannot be handled as a \
     HorizontalPodAutoscaler: strict decoding error: unknown field \"spec.maxReplica\""
)]
#[case::a_version_nobody_serves(
    "{apiVersion: autoscaling/v2beta2, kind: HorizontalPodAutoscaler, metadata: {name: web}}",
    "x.yaml, document 1: no matches for kind \"HorizontalPodAutoscaler\" in version \
     \"autoscaling/v2beta2\""
)]
#[case::nothing_to_explain("{kind: Service}", "there is no autoscaler in")]
#[case::no_yaml("---\nkind: {\n", "x.yaml, document 1 is no YAML")]
#[case::no_object("just words", "x.yaml, document 1 names no kind")]
fn bad_files_are_told_where(#[case] content: &str, #[case] want: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.yaml");
    std::fs::write(&file, content).unwrap();
    let output = explain(&[file.to_str().unwrap()]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(want), "{told}");
}

#[rstest]
#[case::no_quantity("{cpu: NaN}", "document 2, item 1: \"NaN\" is no quantity")]
#[case::no_name(
    "{}",
    "document 2, item 1: metadata.name is missing or has the wrong type"
)]
fn bad_samples_are_told_where(#[case] usage: &str, #[case] want: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.yaml");
    let name = if usage == "{}" { "" } else { "name: a" };
    let content = format!(
        "{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: web}}, \
         spec: {{maxReplicas: 3, scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: web}}}}}}\n\
         ---\n{{apiVersion: metrics.k8s.io/v1beta1, kind: PodMetricsList, items: [\
         {{metadata: {{{name}}}, containers: [{{name: app, usage: {usage}}}]}}]}}\n"
    );
    std::fs::write(&file, content).unwrap();
    let output = explain(&[file.to_str().unwrap()]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(want), "{told}");
}

#[test]
fn an_explanation_carries_the_memory_for_the_next() {
    let file = "examples/explain/six-at-50m.yaml";
    let first = explain(&[file, "--now", "2026-01-01T12:00:00Z", "-o", "yaml"]);
    let folder = tempfile::tempdir().unwrap();
    let earlier = folder.path().join("earlier.yaml");
    // As if six had been asked for a minute before.
    let told = text(&first.stdout);
    std::fs::write(
        &earlier,
        told.replace(
            "recommendations: []",
            "recommendations: [{replicas: 6, time: 2026-01-01T11:59:00Z}]",
        ),
    )
    .unwrap();
    let later = [
        file,
        earlier.to_str().unwrap(),
        "--now",
        "2026-01-01T12:00:00Z",
        "-o",
        "json",
    ];
    let told: Value = serde_json::from_slice(&explain(&later).stdout).unwrap();
    assert_eq!(told["decision"]["replicas"], 6, "{told:#}");
}

#[rstest]
#[case::explain(&["explain", "--offline", "examples/explain/to-zero.yaml"])]
#[case::up(&["up", "--ephemeral"])]
fn unknown_features_are_refused_with_the_known_ones(#[case] command: &[&str]) {
    let mut plimsoll = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    plimsoll
        .args(command)
        .args(["--feature-gates", "Nonsense=true"]);
    let output = plimsoll.current_dir(root()).output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let want = "unrecognized feature gate: Nonsense; the known ones are AllAlpha, AllBeta, \
                HPAConfigurableTolerance (BETA, default=true), HPAScaleToZero (ALPHA, \
                default=false), MaxUnavailableStatefulSet (BETA, default=false), \
                PodLevelResources (BETA, default=true)";
    assert!(told.contains(want), "{told}");
}
