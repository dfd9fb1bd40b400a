//! The binary's own commands, as a person types them against a cluster.

use crate::cluster::plimsoll;
use crate::ending::Ending;
use crate::kubectl::wait;
use crate::{Outcome, check};
use libtest_mimic::Failed;
use std::path::Path;
use std::process::Command;

/// A command line, to be started by the caller.
pub(crate) fn command(kubeconfig: &Path, line: &str) -> Command {
    let mut command = plimsoll();
    command.args(line.split_whitespace());
    command.env("KUBECONFIG", kubeconfig);
    command
}

/// Runs a command to its end; its output, or its error.
pub(crate) fn run(kubeconfig: &Path, line: &str) -> Result<String, Failed> {
    let output = command(kubeconfig, line).ends()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("{line}: {said}{why}").into())
}

/// Checks that each is said.
pub(crate) fn says(kubeconfig: &Path, line: &str, wanted: &[&str]) -> Outcome {
    let said = run(kubeconfig, line)?;
    for wanted in wanted {
        check!(said.contains(wanted), "{line} without {wanted:?}:\n{said}");
    }
    Ok(())
}

/// Waits until it is said.
pub(crate) fn until(kubeconfig: &Path, line: &str, wanted: &str) -> Outcome {
    let has = || run(kubeconfig, line).is_ok_and(|said| said.contains(wanted));
    wait(60, has).map_err(|()| {
        let last = run(kubeconfig, line).unwrap_or_default();
        format!("{line} never says {wanted:?}:\n{last}").into()
    })
}

/// Checks that each command fails, and says why.
pub(crate) fn refuses(kubeconfig: &Path, lines: &[(&str, &str)]) -> Outcome {
    for (line, wanted) in lines {
        let output = command(kubeconfig, line).ends()?;
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        check!(
            !output.status.success() && why.contains(wanted),
            "{line}: {why}"
        );
    }
    Ok(())
}
