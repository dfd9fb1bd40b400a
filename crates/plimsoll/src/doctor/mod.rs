//! `plimsoll doctor`: what would block an installation, before anything is applied. It only reads.
//!
//! ```text
//! API server ──reads──► Facts ──checks (pure)──► findings ──► OK / WARN / FAIL, exit code
//! ```

mod checks;
mod facts;
mod fetch;
mod finding;
mod scalers;
#[cfg(test)]
mod tests;

use crate::output::say;
use crate::run::{ConnectionArgs, connect};
use anyhow::Result;
use clap::{Args, ValueEnum};
use fetch::Patient;
use finding::Level;
use plimsoll_clock::Clock;
use std::process::ExitCode;

/// What to examine.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// Namespace to install into
    #[arg(short, long, value_name = "NAMESPACE", default_value = crate::run::NAMESPACE)]
    namespace: String,
    /// Print the report for programs
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// A machine-readable form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON
    Json,
}

/// Examines a cluster: exit code 0 if nothing fails, else 1.
pub(crate) async fn run(args: DoctorArgs) -> Result<ExitCode> {
    let connection = connect(&args.connection).await?;
    let patient = Patient {
        client: connection.client,
        clock: Clock::system(),
        namespace: args.namespace.clone(),
    };
    let findings = checks::all(&patient.examine().await, &args.namespace);
    match args.output {
        None => finding::lines(&connection.server, &findings)
            .iter()
            .for_each(say),
        Some(Format::Json) => {
            let report = finding::report(&connection.server, &findings);
            say(serde_json::to_string_pretty(&report)?);
        }
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
