//! Replays recorded decisions of the original autoscalers through ours.
//!
//! `cargo xtask vectors PATH [--json]` runs this: PATH is a folder of vector files, a folder of such
//! folders, or one file. The exit code is 0 if everything is as recorded, 1 if something differs, 2
//! if something cannot be read.
//!
//! ```text
//! files ─► vectors ─► engine::horizontal ─┐
//!             └─────► API server ─────────┴─► differences ─► report
//! ```

mod api;
mod bounds;
mod ca;
mod calc;
mod differ;
mod files;
mod input;
mod pass;
mod report;
mod run;
mod series;

use anyhow::{Context, Result, bail};
use report::Report;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask vectors PATH [--json]";

/// How the report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match report(&args) {
        Ok(report) if report.failed() == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn report(args: &[String]) -> Result<Report> {
    let mut form = Form::Text;
    let mut path = None;
    for arg in args {
        match arg.as_str() {
            "--json" => form = Form::Json,
            other if other.starts_with('-') || path.is_some() => bail!(USAGE),
            other => path = Some(Path::new(other)),
        }
    }
    let files = files::read(path.context(USAGE)?)?;
    let report = run::all(&files)?;
    match form {
        Form::Text => report.lines().iter().for_each(|line| say(line)),
        Form::Json => say(&serde_json::to_string_pretty(&report)?),
    }
    Ok(report)
}

/// One line on standard output; a closed pipe is not our error.
fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").ok();
}
