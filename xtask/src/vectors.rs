//! Recorded decisions of the original autoscalers, replayed by the program in `xtask/vectors`.
//!
//! It is a program of its own because it is built from the engine and the API server, and the other
//! chores should start without them.

use crate::say;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

const PACKAGE: &str = "plimsoll-vectors";

/// `cargo xtask vectors …`: the exit code is the program's.
pub(crate) fn run(root: &Path, args: &[&str]) -> ExitCode {
    match replay(root, args) {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            ExitCode::from(code.unwrap_or(2))
        }
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Everything recorded must be as recorded, where the recordings are beside the checkout.
pub(crate) fn gate(root: &Path) -> Result<()> {
    let Some(folder) = recordings(root) else {
        say("vectors: skipped, there is no ../shared/vectors beside the checkout");
        return Ok(());
    };
    let path = folder.display().to_string();
    if !replay(root, &[&path])?.success() {
        bail!("vectors: something is not as recorded");
    }
    Ok(())
}

/// The recordings beside the checkout.
fn recordings(root: &Path) -> Option<PathBuf> {
    let folder = root.parent()?.join("shared/vectors");
    folder.is_dir().then_some(folder)
}

/// Paths are relative to where the user is, so the program runs there, too.
fn replay(root: &Path, args: &[&str]) -> Result<ExitStatus> {
    let manifest = root.join("Cargo.toml");
    Command::new("cargo")
        .args(["run", "--quiet", "--package", PACKAGE, "--manifest-path"])
        .arg(manifest)
        .arg("--")
        .args(args)
        .status()
        .context("starting cargo")
}
