//! `plimsoll run` as a process of its own, beside a cluster.

use crate::Outcome;
use crate::cluster::plimsoll;
use crate::kubectl::wait;
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A `plimsoll run`; killed when dropped.
pub(crate) struct Runner {
    child: Child,
    log: PathBuf,
}

impl Runner {
    /// Starts it with what `configure` adds; its log is in `dir`.
    pub(crate) fn start(
        dir: &Path,
        name: &str,
        kubeconfig: &Path,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Self, Failed> {
        let log = dir.join(format!("{name}.log"));
        let out = std::fs::File::create(&log)?;
        let mut command = plimsoll();
        command
            .args([
                "run",
                "--health-bind-address=127.0.0.1:0",
                "--metrics-bind-address=0",
            ])
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        configure(&mut command);
        let child = command.spawn()?;
        Ok(Self { child, log })
    }

    /// What it logged.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it logs these words.
    pub(crate) fn wait_for(&self, words: &str) -> Outcome {
        wait(60, || self.said().contains(words))
            .map_err(|()| format!("no {words:?} in:\n{}", self.said()).into())
    }

    /// Sends a signal and waits for the end; the exit code, if it had one.
    pub(crate) fn end(mut self, signal: Signal) -> Result<Option<i32>, Failed> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), signal)?;
        let mut status = None;
        wait(30, || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        })
        .map_err(|()| format!("does not end:\n{}", self.said()))?;
        Ok(status.and_then(|status| status.code()))
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
