//! Starts and stops `plimsoll up`.

use crate::kubectl::wait;
use libtest_mimic::Failed;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// The binary under test.
pub(crate) fn plimsoll() -> Command {
    let binary = std::env::var_os("PLIMSOLL_E2E_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_plimsoll")),
        PathBuf::from,
    );
    Command::new(binary)
}

/// A running `plimsoll up`; killed when dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    child: Child,
    dir: PathBuf,
    /// Keeps the directory as long as the cluster.
    scratch: Option<TempDir>,
}

impl Cluster {
    /// An ephemeral cluster on a directory of its own.
    pub(crate) fn start(arguments: &[&str]) -> Result<Self, Failed> {
        let scratch = tempfile::tempdir()?;
        let mut all = vec!["--ephemeral"];
        all.extend(arguments);
        let mut cluster = Self::start_in(scratch.path(), &all)?;
        cluster.scratch = Some(scratch);
        Ok(cluster)
    }

    /// A cluster on `dir`, on any free port.
    pub(crate) fn start_in(dir: &Path, arguments: &[&str]) -> Result<Self, Failed> {
        // What a killed cluster left must not be taken for the new one's.
        std::fs::remove_file(dir.join("run.json")).ok();
        let log = std::fs::File::create(dir.join("up.out"))?;
        let child = plimsoll()
            .args(["up", "--port", "0"])
            .arg("--data-dir")
            .arg(dir)
            .arg("--kubeconfig")
            .arg(dir.join("kubeconfig"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut cluster = Self {
            child,
            dir: dir.to_owned(),
            scratch: None,
        };
        let ready = wait(60, || {
            cluster.dir.join("run.json").exists()
                || cluster.child.try_wait().is_ok_and(|s| s.is_some())
        });
        if ready.is_err() || cluster.child.try_wait()?.is_some() {
            return Err(format!("up did not get ready:\n{}", cluster.said()).into());
        }
        Ok(cluster)
    }

    /// What `up` printed.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.dir.join("up.out")).unwrap_or_default()
    }

    /// The administrator's credentials.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The data directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends it the hard way.
    pub(crate) fn kill_hard(mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
            kill(pid, Signal::SIGTERM).ok();
            if wait(20, || self.child.try_wait().is_ok_and(|s| s.is_some())).is_err() {
                self.child.kill().ok();
            }
        }
        self.child.wait().ok();
        drop(self.scratch.take());
    }
}
