//! `plimsoll up --detach`: the same command again, in a session of its own.

use crate::lifecycle;
use crate::output::say;
use anyhow::{Context, Result, bail};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// How long a start may take before we stop watching it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts the background process and returns once the cluster is ready, or has failed to start.
pub(super) fn run(dir: &Path) -> Result<ExitCode> {
    if let Some(run) = lifecycle::running(dir)? {
        bail!(
            "a cluster already runs on {dir} (pid {}); stop it with `plimsoll down --data-dir \
             {dir}`, or give this one another --data-dir",
            run.pid,
            dir = dir.display()
        );
    }
    let args = std::env::args_os().skip(1).filter(|arg| arg != "--detach");
    let mut child = Command::new(std::env::current_exe().context("finding this program")?)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .context("starting the background process")?;
    let mut ended = None;
    let up = lifecycle::wait(PATIENCE, || {
        ended = child
            .try_wait()
            .context("watching the background process")?;
        Ok(ended.is_some() || lifecycle::running(dir)?.is_some())
    })?;
    if ended.is_some() {
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            stderr.read_to_string(&mut said).ok();
        }
        bail!("{}", said.trim().trim_start_matches("error: "));
    }
    let Some(run) = lifecycle::running(dir)?.filter(|_| up) else {
        bail!(
            "not ready after {} s; see {}",
            PATIENCE.as_secs(),
            lifecycle::log_path(dir).display()
        );
    };
    say(format!(
        "plimsoll is up in the background (pid {}): {}",
        run.pid, run.server
    ));
    say(format!("  kubectl    {}", run.kubectl));
    say(format!(
        "Stop with `plimsoll down --data-dir {}`.",
        dir.display()
    ));
    Ok(ExitCode::SUCCESS)
}
