//! Repository chores. `cargo xtask check` runs the gates (`--quick`: those that need no build);
//! `cargo xtask schema FILE` derives the schema tables from a file of facts; `cargo xtask vectors
//! PATH` replays recorded decisions of the original autoscalers.

mod layers;
mod links;
mod schema;
mod sources;
mod vectors;

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Something a gate refuses.
#[derive(Debug)]
pub(crate) struct Violation {
    /// The file (or folder) at fault.
    pub(crate) file: String,
    /// What is wrong and what is allowed.
    pub(crate) text: String,
}

impl Violation {
    pub(crate) fn new(file: String, text: String) -> Self {
        Self { file, text }
    }
}

const USAGE: &str = "usage: cargo xtask check [--quick] | schema FILE | vectors PATH [--json]";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["check", "--quick"] => quick(),
        ["check"] => quick().and_then(|()| built()),
        ["vectors", rest @ ..] => return vectors::run(&root(), rest),
        ["schema", file] => schema::generate(Path::new(file), Path::new("crates/api/src/schema")),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

fn quick() -> Result<()> {
    let root = root();
    let files = sources::read(&root)?;
    let (p50, p90, max) = sources::distribution(&files);
    say(&format!(
        "{} Rust files; lines p50 {p50}, p90 {p90}, max {max}",
        files.len()
    ));
    let gates = [
        ("layers", layers::check(&root)?),
        ("sizes", sources::sizes(&files)),
        ("docs", sources::docs(&files)),
        ("orphans", sources::orphans(&files)),
        ("links", links::check(&root)?),
    ];
    let mut bad = 0;
    for (name, violations) in gates {
        say(&format!(
            "{name}: {}",
            if violations.is_empty() {
                "ok"
            } else {
                "FAILED"
            }
        ));
        for violation in &violations {
            say(&format!("  {}: {}", violation.file, violation.text));
        }
        bad += violations.len();
    }
    if bad > 0 {
        bail!("{bad} violation(s)");
    }
    Ok(())
}

fn built() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    run(
        "cargo",
        &[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
    )?;
    vectors::gate(&root())
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    say(&format!("$ {program} {}", args.join(" ")));
    let status = Command::new(program)
        .args(args)
        .current_dir(root())
        .status()
        .context(program.to_owned())?;
    if !status.success() {
        bail!("{program} {} failed", args.join(" "));
    }
    Ok(())
}

/// One line on standard output; a closed pipe is not our error.
fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}
