//! Transcripts: what a person types and what comes back, as tests.
//!
//! A transcript is text. Lines that begin with
//! `$ ` are commands that must succeed, `! ` commands that must fail, `~ ` commands that are
//! repeated until they answer as written (at most 30 s). `$1.37 ` is for that kubectl only.
//! `| ` lines after a command are its standard input. `#` begins a comment. All other lines are
//! the answer (standard output and error), compared word by word: `*` stands for any text within a
//! line, `...` alone for any number of lines. A command without an answer is only checked for
//! success.

use crate::Outcome;
use crate::cluster::{Cluster, plimsoll};
use crate::ending::Ending;
use crate::kubectl::{Kubectl, Printed};
use libtest_mimic::Failed;
use std::time::Duration;
use tokio::time::Instant;

/// How long a repeated command may take to answer as written.
const PATIENCE: Duration = Duration::from_secs(30);

/// The manifest that transcripts call EXAMPLE.
const EXAMPLE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../examples/pod-autoscaler.yaml"
);

/// The chart that helm's transcript calls CHART.
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/chart");

/// What a command has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Must {
    Succeed,
    Fail,
    Become,
}

/// A command and its answer.
#[derive(Debug)]
struct Step {
    line: usize,
    must: Must,
    only: Option<&'static str>,
    command: String,
    input: String,
    answer: Vec<String>,
}

/// Plays a transcript against a cluster with simulated pods.
pub(crate) fn play(kubectl: &Kubectl, name: &str, text: &str) -> Outcome {
    let cluster = Cluster::start(&["--runtime", "simulated", "--nodes", "2"])?;
    let on = kubectl.on(&cluster.kubeconfig());
    let mut wrong = Vec::new();
    for step in steps(text) {
        if step.only.is_some_and(|only| only != kubectl.version) {
            continue;
        }
        if let Err(why) = one(&on, &cluster, &step) {
            let said = why.message().unwrap_or_default();
            let (line, command) = (step.line, &step.command);
            wrong.push(format!("{name}.txt:{line}: {command}\n{said}"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(wrong.join("\n\n").into())
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.starts_with('#') {
            continue;
        }
        let marks = [
            ("$ ", Must::Succeed, None),
            ("! ", Must::Fail, None),
            ("~ ", Must::Become, None),
            ("$1.32 ", Must::Succeed, Some("1.32")),
            ("$1.37 ", Must::Succeed, Some("1.37")),
            ("!1.32 ", Must::Fail, Some("1.32")),
            ("!1.37 ", Must::Fail, Some("1.37")),
        ];
        let mark = marks.iter().find(|(mark, ..)| line.starts_with(mark));
        if let Some((mark, must, only)) = mark {
            steps.push(Step {
                line: index + 1,
                must: *must,
                only: *only,
                command: line.trim_start_matches(mark).to_owned(),
                input: String::new(),
                answer: Vec::new(),
            });
        } else if let (Some(step), Some(input)) = (steps.last_mut(), line.strip_prefix("| ")) {
            step.input.push_str(input);
            step.input.push('\n');
        } else if let Some(step) = steps.last_mut() {
            step.answer.push(line.trim().to_owned());
        }
    }
    for step in &mut steps {
        while step.answer.last().is_some_and(String::is_empty) {
            step.answer.pop();
        }
    }
    steps
}

fn one(kubectl: &Kubectl, cluster: &Cluster, step: &Step) -> Outcome {
    let begun = Instant::now();
    loop {
        let printed = run(kubectl, cluster, step)?;
        let said = format!("{}{}", printed.out, printed.err);
        let wrong = if printed.ok == (step.must == Must::Fail) {
            let what = if printed.ok { "succeeded" } else { "failed" };
            Some(format!("it {what}:\n{said}"))
        } else {
            differs(&step.answer, &said)
        };
        let Some(wrong) = wrong else { return Ok(()) };
        if step.must != Must::Become || begun.elapsed() > PATIENCE {
            return Err(wrong.into());
        }
    }
}

fn run(kubectl: &Kubectl, cluster: &Cluster, step: &Step) -> Result<Printed, Failed> {
    let (program, rest) = step.command.split_once(' ').unwrap_or((&step.command, ""));
    match program {
        "kubectl" => Ok(kubectl.feed(&rest.replace("EXAMPLE", EXAMPLE), &step.input)),
        "helm" => Ok(kubectl.helm(&rest.replace("CHART", CHART))),
        "plimsoll" => {
            let mut command = plimsoll();
            command.args(rest.split_whitespace());
            // Some commands are about any cluster, the others about one of this machine.
            if ["convert", "explain"]
                .iter()
                .any(|name| rest.starts_with(name))
            {
                command.arg("--kubeconfig").arg(cluster.kubeconfig());
            } else {
                command.arg("--data-dir").arg(cluster.dir());
            }
            let output = command.ends()?;
            Ok(crate::kubectl::printed(&output))
        }
        other => Err(format!("no program {other:?} in transcripts").into()),
    }
}

/// What is wrong with an answer.
fn differs(wanted: &[String], said: &str) -> Option<String> {
    if wanted.is_empty() {
        return None;
    }
    let lines: Vec<String> = said.lines().map(normal).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let wanted: Vec<String> = wanted.iter().map(|line| normal(line)).collect();
    let patterns: Vec<&str> = wanted.iter().map(String::as_str).collect();
    let trimmed = match lines.as_slice() {
        [rest @ .., ""] => rest,
        all => all,
    };
    (!lines_match(&patterns, trimmed)).then(|| {
        format!(
            "wanted:\n  {}\nit said:\n  {}",
            patterns.join("\n  "),
            trimmed.join("\n  ")
        )
    })
}

fn normal(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn lines_match(patterns: &[&str], lines: &[&str]) -> bool {
    match (patterns, lines) {
        ([], []) => true,
        (["...", rest @ ..], _) => {
            (0..=lines.len()).any(|skip| lines_match(rest, lines.get(skip..).unwrap_or_default()))
        }
        ([pattern, patterns @ ..], [line, lines @ ..]) => {
            text_matches(pattern, line) && lines_match(patterns, lines)
        }
        _ => false,
    }
}

fn text_matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(rest) = text.strip_prefix(before) else {
        return false;
    };
    let ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    ends.into_iter()
        .any(|at| rest.get(at..).is_some_and(|rest| text_matches(after, rest)))
}
